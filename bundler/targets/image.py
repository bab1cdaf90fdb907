"""What an image's profile says: frozen, keyword-only, without I/O. Format: docs/images.md.

`None` is "nobody says so" throughout, never "there is none"; an empty list says that there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Certainty = Literal["read", "inferred", "ran", "probed"]
Answer = Literal["yes", "no", "unknown"]
Order = Literal["prepend", "append"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a statement comes from."""

    about: tuple[str, ...]
    """Members of the profile that it is about: `target.glibc`, `server`."""
    url: str | None
    """`None` where the image itself was asked."""
    certainty: Certainty
    says: str


@dataclass(frozen=True, kw_only=True)
class ImageTarget:
    """The Python and the C library of an image."""

    python: str | None = None
    """`3.8`, or the full version where it is known."""
    implementation: str | None = None
    abi: str | None = None
    machine: str | None = None
    libc: str | None = None
    """`glibc` or `musl`."""
    glibc: tuple[int, int] | None = None
    glibcxx: tuple[int, ...] | None = None
    """The newest GLIBCXX version of the libstdc++ that is loaded, (3, 4, 28)."""
    cxxabi: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A distribution that an image has."""

    version: str
    requires: tuple[str, ...] = ()
    """Requires-Dist lines."""


@dataclass(frozen=True, kw_only=True)
class ServerRange:
    """The server of an image, as near as its version is known."""

    name: str
    """Normalised name of its distribution."""
    at_least: str | None = None
    at_most: str | None = None

    @property
    def version(self) -> str | None:
        """The version to reckon with: the newest that the image can hold; `None`: not known."""
        return self.at_most

    @property
    def exact(self) -> bool:
        """Whether it is this very version."""
        return self.at_most is not None and self.at_least == self.at_most


@dataclass(frozen=True, kw_only=True)
class Conda:
    """The conda environment in which the service runs."""

    name: str | None
    prefix: str


@dataclass(frozen=True, kw_only=True)
class Mount:
    """How a folder of packages gets on the import path."""

    variables: tuple[str, ...]
    """Environment variables that name it; none where the place alone decides."""
    base: str | None = None
    """What a relative value is joined to (the folder of the scoring script stands below it)."""
    order: Order | None = None
    """Before or behind what is on the path already."""
    trailing_colon: bool | None = None
    """An empty PYTHONPATH becomes `FOLDER:`, and the working folder is on the path as well."""


@dataclass(frozen=True, kw_only=True)
class User:
    """Who runs the service."""

    name: str | None = None
    uid: int | None = None
    root: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Image:
    """The content of a profile."""

    name: str
    target: ImageTarget
    os: str | None = None
    references: tuple[str, ...] = ()
    """Where it is pulled from, without tags."""
    tags: tuple[str, ...] = ()
    """Some that are known."""
    distributions: Mapping[str, Installed] | None = None
    """Normalised name → what is installed."""
    named: Mapping[str, str]
    """Normalised name → specifiers, of distributions that a source names without telling all."""
    server: ServerRange | None = None
    libraries: frozenset[str] | None = None
    """Names by which the loader finds libraries."""
    stdlib_modules: frozenset[str] | None = None
    environment: Mapping[str, str] | None = None
    """Variables that matter to Python and to the loader."""
    conda: Conda | None = None
    mount: Mount | None = None
    honours_variables: Answer = "unknown"
    """Whether its start script still does what `mount` says."""
    user: User | None = None
    writable: tuple[str, ...] | None = None
    """Folders in which that user can write."""
    sources: tuple[Source, ...] = ()

    @property
    def probed(self) -> bool:
        """Whether the image itself was asked."""
        return any(source.certainty == "probed" for source in self.sources)


@dataclass(frozen=True, kw_only=True)
class Demand:
    """A requirement that something in the image has, of what stands beside it there."""

    name: str
    """Normalised name of what is required."""
    text: str
    """As a constraint: without extras and markers, `flask<=2.3.2`."""
    chain: tuple[str, ...]
    """`name version` of who asks, outermost first."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release of a server, as its metadata says."""

    version: str
    requires_python: str
    requires: tuple[str, ...]
    beside: tuple[tuple[str, Installed], ...] = ()
    """(Normalised name, what is installed beside it, as near as that is known)."""
