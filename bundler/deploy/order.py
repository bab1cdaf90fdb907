"""What a platform is asked for, and what it answers: values without I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bundler.bundle.manifest import Manifest
    from bundler.bundle.wheelhouse import WheelFile
    from bundler.deploy.bases import Base
    from bundler.model import Finding
    from bundler.system.writing import Archive, File


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the caller wants deployed, checked as far as it is the same for every platform."""

    bundle: Path
    """Absolute, resolved, and found to be what its manifest says."""
    manifest: Manifest
    output: Path
    """Absolute."""
    name: str
    """Of what is made on the platform: 3 to 32 characters of `a-z0-9-`."""
    code: Path | None = None
    """The folder of the service, absolute; `None`: the caller named none."""
    entry: str = "score.py"
    """Scoring script, relative to the code folder."""
    model: Path | None = None
    base: Base | None = None
    python: str | None = None
    """The interpreter in the image."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """The caller's own, for the service."""
    bundle_image: str | None = None
    """Under which name the image that holds the bundle alone is pushed."""
    wheels: tuple[WheelFile, ...] = ()
    """Of the bundle's distributions; filled in where the platform takes wheels."""
    wheels_at: str | None = None
    """Folder of the wheels on the platform; `None`: beside the lock."""

    @property
    def minor(self) -> str:
        """`3.8`."""
        return ".".join(self.manifest.target.python.split(".")[:2])

    @property
    def site_packages(self) -> str:
        """Relative to the bundle."""
        return self.manifest.environment["PYTHONPATH"]

    @property
    def source(self) -> Path:
        """The folder that is uploaded: the caller's, or the one that holds the bundle."""
        return self.code or self.bundle.parent


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a platform needs; nothing is written yet."""

    files: tuple[File, ...] = ()
    archives: tuple[Archive, ...] = ()
    folders: tuple[str, ...] = ()
    """Folders of the output that belong to the plan alone: nothing else may lie there."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What the service runs with."""
    commands: tuple[str, ...] = ()
    """What to run next, in the output's folder, for a POSIX shell."""
    findings: tuple[Finding, ...] = ()
    """One of severity error, and nothing is written."""
    notes: tuple[str, ...] = ()
    """What the platform does that one would not expect."""


class Platform(Protocol):
    """A module of this package: one platform."""

    SUMMARY: str
    """One line for `--help`."""
    TAKES: frozenset[str]
    """Fields of `Order` that the caller may set for it, beside those of every platform."""

    def plan(self, order: Order) -> Plan:
        """Say what to write.

        :raises InputError: an option is missing, or breaks one of the platform's rules.
        """
        ...
