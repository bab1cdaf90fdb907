"""The content of an image's profile: what the image has (docs/images.md).

`None` means unknown, never that there is none; an empty list means that there is none. The types of the
fields say what the file may contain; `profile_file` reads it by them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from bundler.lazy_dataclass import dataclass
from bundler.system.json_values import Value

Certainty = Literal["read", "inferred", "ran", "probed"]
Answer = Literal["yes", "no", "unknown"]
Order = Literal["prepend", "append"]

_LINE = r"[^\0-\x1f\x7f]{0,2000}"
Line = Annotated[str, _LINE]
Word = Annotated[str, r"\w{1,50}"]
Folder = Annotated[str, r"/[^\0\n]*"]
Variable = Annotated[str, r"[A-Za-z_][A-Za-z0-9_]*"]
Distribution = Annotated[str, r"[a-z0-9]+(-[a-z0-9]+)*"]
"""A normalised name."""


def _version(value: Value) -> str:
    text = value.text(_LINE)
    try:
        Version(text)
    except InvalidVersion:
        value.fail(f"{text[:80]!r} is no version")
    return text


def _specifiers(value: Value) -> str:
    text = value.text(_LINE)
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        value.fail(f"{text[:80]!r} is no set of version specifiers")
    return text


def _numbers(value: Value) -> tuple[int, ...]:
    return tuple(int(part) for part in value.text(r"\d{1,4}(\.\d{1,4}){1,3}").split("."))


def _pair(value: Value) -> tuple[int, int]:
    major, minor = value.text(r"\d{1,4}\.\d{1,4}").split(".")
    return int(major), int(minor)


VersionText = Annotated[str, _version]
Specifiers = Annotated[str, _specifiers]
Numbers = Annotated[tuple[int, ...], _numbers]
"""In the file a text, `3.4.28`."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The source of statements in a profile."""

    about: tuple[Annotated[str, r"\*|[a-z_]+(\.[a-z_]+)*"], ...]
    """The members of the profile that it supports: `target.glibc`, `server`; `*`: all."""
    url: Annotated[str, r"https://[^\s]+"] | None
    """`None` where the probe ran in the image."""
    certainty: Certainty
    says: Line


@dataclass(frozen=True, kw_only=True)
class ImageTarget:
    """The Python and the C library of an image."""

    python: Annotated[str, r"\d\.\d{1,3}(\.\d{1,3}((a|b|rc)\d+)?)?"] | None = None
    """`3.8`, or the full version where it is known."""
    implementation: Word | None = None
    abi: Word | None = None
    machine: Word | None = None
    libc: Literal["glibc", "musl"] | None = None
    glibc: Annotated[tuple[int, int], _pair] | None = None
    glibcxx: Numbers | None = None
    """The newest GLIBCXX version of the libstdc++ that is loaded, (3, 4, 28)."""
    cxxabi: Numbers | None = None


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A distribution that an image has."""

    version: Annotated[str, r"[^\s/\\\0]{1,200}"]
    """As METADATA has it, which need be no version; nothing is then compared with it."""
    requires: tuple[Line, ...] = ()
    """Requires-Dist lines."""


@dataclass(frozen=True, kw_only=True)
class ServerRange:
    """The inference server of an image; its version lies between two."""

    name: Distribution
    at_least: VersionText | None = None
    at_most: VersionText | None = None

    @property
    def version(self) -> str | None:
        """The newest version that the image can have; `None`: unknown."""
        return self.at_most

    @property
    def exact(self) -> bool:
        """Whether the version is known exactly."""
        return self.at_most is not None and self.at_least == self.at_most


@dataclass(frozen=True, kw_only=True)
class Conda:
    """The conda environment in which the service runs."""

    name: Annotated[str, r"[\w.-]{1,100}"] | None
    prefix: Folder


@dataclass(frozen=True, kw_only=True)
class Mount:
    """How a folder of packages gets on the import path."""

    variables: tuple[Variable, ...]
    """Environment variables that name the folder; none where its path alone decides."""
    base: Folder | None = None
    """The folder that a relative value is relative to; the folder of the scoring script is below it."""
    order: Order | None = None
    """Before or after what is on the path already."""
    trailing_colon: bool | None = None
    """An empty PYTHONPATH becomes `FOLDER:`, and the working folder is on the path as well."""


@dataclass(frozen=True, kw_only=True)
class User:
    """The user that runs the service."""

    name: Annotated[str, r"[\w.$-]{1,100}"] | None = None
    uid: int | None = None
    root: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Image:
    """The content of a profile."""

    name: Annotated[str, r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"]
    target: ImageTarget
    os: Line | None = None
    references: tuple[Annotated[str, r"[\w./:-]+"], ...] = ()
    """References to pull it by, without tags."""
    tags: tuple[Annotated[str, r"[\w.-]{1,128}"], ...] = ()
    """Some of its tags."""
    distributions: Mapping[Distribution, Installed] | None = None
    """All installed distributions."""
    named: Mapping[Distribution, Specifiers] = field(default_factory=dict)
    """Distributions that a source names, where it does not name all."""
    server: ServerRange | None = None
    libraries: frozenset[Annotated[str, r"[\w.+-]{1,200}"]] | None = None
    """The SONAMEs and file names by which the loader finds libraries."""
    stdlib_modules: frozenset[Annotated[str, r"\w{1,100}"]] | None = None
    environment: Mapping[Variable, Line] | None = None
    """Variables that matter to Python and to the loader."""
    conda: Conda | None = None
    mount: Mount | None = None
    honours_variables: Answer = "unknown"
    """Whether its start script does what `mount` says."""
    user: User | None = None
    writable: tuple[Folder, ...] | None = None
    """Folders in which that user can write."""
    sources: tuple[Source, ...] = ()

    @property
    def minor(self) -> str | None:
        """`3.8`: the Python to look for on the builder; all its releases have the same ABI."""
        return ".".join(self.target.python.split(".")[:2]) if self.target.python else None

    @property
    def probed(self) -> bool:
        """Whether the probe ran in the image."""
        return any(source.certainty == "probed" for source in self.sources)


@dataclass(frozen=True, kw_only=True)
class Demand:
    """A requirement of a distribution in the image."""

    name: str
    """Normalised name of what is required."""
    text: str
    """The requirement as a constraint, without extras and markers: `flask<=2.3.2`."""
    chain: tuple[str, ...]
    """`name version` of the distributions that require it, outermost first."""


@dataclass(frozen=True, kw_only=True)
class InstalledBeside(Installed):
    """A distribution that is installed with a release of a server."""

    distribution: Distribution


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release of a server, as its metadata says."""

    version: VersionText
    requires_python: Specifiers
    requires: tuple[str, ...]
    beside: tuple[InstalledBeside, ...] = ()
    """The distributions that are most likely installed with it."""
