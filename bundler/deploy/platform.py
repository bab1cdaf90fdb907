"""The values between `flow` and the platforms' modules: a request in, a plan out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Protocol

from bundler.bundle.manifest import Manifest
from bundler.bundle.wheelhouse import WheelFile
from bundler.deploy.bases import Base
from bundler.deploy.trust import Trust
from bundler.lazy_dataclass import dataclass
from bundler.model import Finding
from bundler.system.writing import Archive, File


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """A bundle to deploy, with the caller's options, checked by the rules of all platforms."""

    bundle: Path
    """Absolute and resolved; its files are those of its manifest."""
    manifest: Manifest
    output: Path
    """Absolute."""
    name: str
    """Of the object on the platform: 3 to 32 characters of `a-z0-9-`."""
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
    """The name under which the image that holds the bundle alone is pushed, without a tag."""
    trust: Trust | None = None
    """What verifies the bundle's signature before the service starts; `None`: nobody asked for it."""
    wheels: tuple[WheelFile, ...] = ()
    """Of the bundle's distributions; filled in where the platform takes wheels."""
    wheels_at: str | None = None
    """Folder of the wheels on the platform; `None`: beside the lock."""

    @property
    def minor(self) -> str:
        """`3.8`."""
        return self.manifest.target.minor

    @property
    def site_packages(self) -> str:
        """Relative to the bundle."""
        return self.manifest.environment["PYTHONPATH"]

    @property
    def source(self) -> Path:
        """The folder that is uploaded: the caller's code folder, or the one that holds the bundle."""
        return self.code or self.bundle.parent


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The files that a platform needs, and what to do with them; nothing is written yet."""

    files: tuple[File, ...] = ()
    archives: tuple[Archive, ...] = ()
    folders: tuple[str, ...] = ()
    """Folders of the output in which only files of the plan may lie."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of the service."""
    commands: tuple[str, ...] = ()
    """What to run next, in the output's folder, for a POSIX shell."""
    findings: tuple[Finding, ...] = ()
    """If one is an error, nothing is written."""
    notes: tuple[str, ...] = ()
    """What the caller should know of the platform."""


class Platform(Protocol):
    """What the module of a platform has."""

    SUMMARY: str
    """One line for `--help`."""
    TAKES: frozenset[str]
    """Fields of `PlanRequest` that the platform uses, beside those of every platform."""

    def plan(self, request: PlanRequest) -> Plan:
        """Return the files to write.

        :raises InputError: an option is missing, or breaks one of the platform's rules.
        """
        ...
