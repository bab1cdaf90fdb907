"""What fetching and building work with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from pathlib import Path

from bundler.create.fetch.prefetch import Prefetcher
from bundler.create.target_pip import Pip
from bundler.lazy_dataclass import dataclass
from bundler.model import (
    BUILD_DISK,
    BuildTool,
    Built,
    Environment,
    IndexSettings,
    Interpreter,
    Requirements,
    Resolver,
    RoomLimits,
    Target,
)
from bundler.system.progress import Progress
from bundler.wheels.store import Store

Tools = Mapping[BuildTool, Path]
"""What a build uses, and the wheel of each."""


@dataclass(frozen=True, kw_only=True)
class FetchContext:
    """What fetching and building work with."""

    store: Store
    interpreter: Interpreter
    target: Target
    environment: Callable[[], Environment] = field(repr=False)
    """Returns the environment that poses as the target: called only where something is built in it."""
    pip: Pip
    settings: IndexSettings
    requirements: Requirements | None
    """For credentials in direct URLs, which no lock holds; `None` where a pylock.toml says all."""
    scratch: Path
    no_build: bool
    build_tools: Callable[[FetchContext, Sequence[str], Built | None], Tools] = field(repr=False)
    """Returns the wheels of what a build needs, or of what a lock says that it used; the context may be
    changed."""
    build_network: bool = False
    """Whether builds see the network."""
    exclude_newer: str | None = None
    """As of a `ResolveRequest`: for what builds need."""
    resolver: Resolver = "uv"
    depth: int = 0
    """How many builds wait for this one."""
    build_constraints: tuple[str, ...]
    """What builds from source may use."""
    build_timeout: int
    """Seconds that the build of one distribution may take."""
    build_disk: int = BUILD_DISK
    """MiB that a build may fill."""
    limits: RoomLimits = field(default_factory=RoomLimits)
    """Of builds."""
    ends: tuple[threading.Event, ...] = ()
    """Set where a build that waits for one of this context, or runs beside it, has failed."""
    job: str
    """As of a `LockRequest`."""
    progress: Progress
    prefetcher: Prefetcher
    """Downloads pinned distributions while the rest is resolved, and unpacks what has been downloaded."""
