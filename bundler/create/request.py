"""What a command asks of the pipeline, and what it gets: frozen values, without I/O."""

from __future__ import annotations

from dataclasses import field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.checks.imports.service_code import CodeImport
from bundler.checks.rules.publishers import PublisherRules, Publishing
from bundler.create.mend.pins import Limits, Pin
from bundler.formats import Packed
from bundler.lazy_dataclass import dataclass
from bundler.model import (
    BUILD_DISK,
    Evidence,
    Finding,
    IndexSettings,
    Interpreter,
    LinkMode,
    Lock,
    LockedDistribution,
    Note,
    Policy,
    Requirements,
    Resolver,
    RoomLimits,
    Target,
)

if TYPE_CHECKING:
    from bundler.targets.fit import Shadows
    from bundler.targets.image import Image


@dataclass(frozen=True, kw_only=True)
class LockRequest:
    """What the caller wants locked."""

    requirement_files: tuple[Path, ...] = ()
    constraint_files: tuple[Path, ...] = ()
    build_constraint_files: tuple[Path, ...] = ()
    """What builds from source may use."""
    arguments: tuple[str, ...] = ()
    """Requirements given on the command line."""
    from_env: Path | None = None
    """An environment that works: what was asked for there, in its versions."""
    extras: tuple[str, ...] = ()
    """Of the project whose pyproject.toml is among the files."""
    groups: tuple[str, ...] = ()
    """Dependency groups (PEP 735) of that project."""
    wanted: Requirements | None = None
    """The content of files and arguments, where another machine has read them; then none is named here."""
    lock_file: Path | None = None
    """Build from this lock exactly; then there are no requirements."""
    python: str | None
    """`3.8`, `3.8.18` or a path; `None` only where the image or the lock says it."""
    glibc: str | None = None
    image: str | None = None
    """Name or file of the profile of the image where it will run."""
    fit: bool = True
    """Choose versions with which the image's server can live."""
    server: str | None = None
    """Version of the image's server, where the caller knows it."""
    resolver: Resolver = "uv"
    patience: float | None = None
    """Seconds that pip may take to resolve, where it is the resolver; `None`: all the time it wants."""
    index: IndexSettings = field(default_factory=IndexSettings)
    """Index options of the command line; they win over requirements files and configuration."""
    no_binary: tuple[str, ...] = ()
    only_binary: tuple[str, ...] = ()
    pre: bool = False
    exclude_newer: str | None = None
    no_build: bool = False
    require_isolation: bool = False
    """Refuse a machine that cannot isolate imports, freezes and builds."""
    build_network: bool = False
    """Let builds see the network."""
    provenance: PublisherRules | None = None
    """Ask the index who published the files, and verify it; `None`: nobody asks."""
    policy: Policy = field(default_factory=Policy)
    """What of the findings is accepted, and what stops."""
    prefer_binary: bool = False
    """Take an older version that has a wheel rather than build a newer one."""
    build_timeout: int = 900
    """Seconds that the build of one distribution may take."""
    build_disk: int = BUILD_DISK
    """MiB of disk that it may fill."""
    limits: RoomLimits = field(default_factory=RoomLimits)
    """Of imports, freezes and builds."""
    refresh: bool = False
    """Resolve even where the resolver's last output is kept and no index page has changed."""
    asked_since: float | None = None
    """Seconds since the epoch: what an index has said since then, to an equal question, is not asked again.

    `None`: it is asked. A run over many bundles says when it began."""
    python_downloads: bool = True
    job: str = ""
    """Name of the job of a run of `rebuild`: it is in the names of log files; empty: there is no such run."""
    cache_dir: Path

    @property
    def question(self) -> tuple[object, ...] | None:
        """What decides what it resolves to, but for the files that it names and the index.

        `None`: it also depends on what was made of it before (who published the files then).
        """
        if self.provenance is not None:
            return None
        return tuple(getattr(self, one.name) for one in fields(LockRequest) if one.name != "job")


@dataclass(frozen=True, kw_only=True)
class CreateRequest(LockRequest):
    """What the caller wants made."""

    output: Path
    written_to: Path | None = None
    """Where the bundle is written if not to `output`, which then becomes a link to it (`bundler.rebuild`)."""
    force: bool = False
    link_mode: LinkMode = "copy"
    thin: bool = False
    """Leave out what the image has in the very version of the lock."""
    formats: tuple[str, ...] = ("dir",)
    """Of `bundler.formats.NAMES`; without `dir` only archives are left."""
    wheelhouse: Path | None = None
    """Folder for the wheels and a lock that pip installs from them alone; `None`: not wanted."""
    service: tuple[CodeImport, ...] = ()
    """What the service's own code imports, where it is given."""
    prove: bool = False
    """Import everything even if this very tree was imported before, by this interpreter on this machine."""
    mend: Limits | None = None
    """Look for versions that hold where a failure is one of versions; `None`: fail at once."""

    @property
    def destination(self) -> Path:
        """Where the bundle is written."""
        return self.written_to or self.output


@dataclass(frozen=True, kw_only=True)
class CreateResult:
    """A proved bundle."""

    bundle: Path
    interpreter: Interpreter
    target: Target
    lock: Lock
    findings: tuple[Finding, ...]
    """Warnings and information; an error would have stopped the emission."""
    evidence: Evidence
    size: int
    """Bytes of all files."""
    digest: str
    """Of the tree."""
    files: int
    relies_on: tuple[LockedDistribution, ...] = ()
    """What was left to the image."""
    proved_at: str = ""
    """When the same tree was imported before (ISO 8601, UTC); empty: it was imported now."""
    frozen_at: str = ""
    """When `pip freeze` was asked of the same tree (ISO 8601, UTC); empty: it was asked now."""
    shadows: Shadows | None = None
    """What becomes of the image's distributions; `None`: no image was named."""
    archives: tuple[Packed, ...] = ()
    """What was packed, in the order of `CreateRequest.formats`."""
    mended: tuple[Pin, ...] = ()
    """What was pinned besides what the caller asked for (`CreateRequest.mend`)."""
    notes: tuple[Note, ...] = ()
    """What the inputs told besides their requirements."""
    publishing: Publishing | None = None
    """What is known of the files' publishers; `None`: nobody asked."""


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What a request resolves to today, before anything is fetched, built or written."""

    lock: Lock
    target: Target
    interpreter: Interpreter
    image: Image | None
    extra_indexes: tuple[str, ...]
    """Further indexes that were asked, without credentials."""
    build_constraints: tuple[str, ...] = ()
    publishing: Publishing | None = None
    """What is known of the files' publishers; `None`: nobody asked."""


@dataclass(frozen=True, kw_only=True)
class LockResult:
    """A lock that was written."""

    lock: Lock
    target: Target
    findings: tuple[Finding, ...] = ()
    """Of those who published the files; an error would have stopped it."""
    publishing: Publishing | None = None
    """As in `CreateResult`."""
