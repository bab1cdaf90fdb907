"""The values of a manifest.json; the file is read by `manifestfile` and made by `manifest`.

Members are explained in docs/manifest.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from bundler.bundle.manifest import file_rows
from bundler.ontarget import checksums as ontarget_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bundler.model import CheckResult, Evidence, FileFact, Finding

KIND = "envbundle-manifest"
SCHEMA_VERSION = "1.1"
NAME = ontarget_files.MANIFEST
SUMS = ontarget_files.SUMS


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What was asked for, as written, without credentials and local paths."""

    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    sha256: str
    """Of both lists: tells at a glance whether two bundles were asked for alike."""


@dataclass(frozen=True, kw_only=True)
class ManifestTarget:
    """The target as the verifier compares it."""

    python: str
    """Full version."""
    implementation: str
    abi: str
    machine: str
    glibc: str
    glibc_reason: str

    @property
    def minor(self) -> str:
        """`3.8`."""
        return ".".join(self.python.split(".")[:2])


@dataclass(frozen=True, kw_only=True)
class Builder:
    """The interpreter that built it, as far as that is no fact of the builder's disk."""

    version: str
    conda: bool
    managed: bool
    """Fetched by envbundle, not found on the machine."""


class Content(NamedTuple):
    """What a distribution puts at one place: a row `[name, files, bytes]` of the file."""

    name: str
    """Of what stands directly below site-packages (`sklearn`, `six.py`); `bin/`, `share/` … for what stands
    in that folder beside it, and `./` for files at the top of the bundle."""
    files: int
    """Bytecode included, which counts as its source does."""
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What the native files need that no file of the bundle gives: the image must."""

    libraries: tuple[str, ...] = ()
    """SONAMEs, sorted; glibc's own are among them."""
    symbols: tuple[str, ...] = ()
    """The highest version of each family, sorted: `CXXABI_1.3.7`, `GLIBCXX_3.4.19`, `GLIBC_2.17`."""


@dataclass(frozen=True, kw_only=True)
class ManifestDistribution:
    """A distribution of the bundle."""

    name: str
    version: str
    source: str
    kind: str
    filename: str
    url: str | None
    index: str | None
    commit: str | None
    sha256: str | None
    size: int | None
    requested: bool
    extras: tuple[str, ...]
    required_by: tuple[str, ...]
    yanked: str | None
    built_from: str | None
    """sha256 or commit of the source that it was built from by envbundle; `None`: a wheel was fetched."""
    files: int
    bytes: int
    """Installed."""
    licence: str = ""
    """License-Expression, else License or the classifiers, as METADATA has them; empty: it says nothing."""
    entry_points: tuple[str, ...] = ()
    """`console_scripts: flask = flask.cli:main`, sorted."""
    native: tuple[str, ...] = ()
    """Paths of its ELF files, sorted."""
    contents: tuple[Content, ...] = ()
    """Sorted by name; adds up to `files` and `bytes`. What a manifest of schema 1.0 lacks is empty."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of a manifest.json."""

    tool_version: str
    inputs: Inputs
    target: ManifestTarget
    interpreter: Builder
    environment: Mapping[str, str]
    """Variable → path relative to the bundle."""
    distributions: tuple[ManifestDistribution, ...]
    checks: tuple[CheckResult, ...]
    findings: tuple[Finding, ...]
    evidence: Evidence
    assumed_libraries: tuple[str, ...]
    """SONAMEs that the image is said to have; the verifier looks for them there."""
    relies_on: Mapping[str, str]
    """Normalised name → version of what the image must have (`--thin`); the verifier looks for it there."""
    image: str | None
    """Name of the image's profile; `None`: none was named."""
    needs: Needs = Needs()
    documents: tuple[FileFact, ...]
    """The files beside the tree: lock, verifier …, without manifest and checksums."""
    files: tuple[FileFact, ...]
    """The tree."""

    @cached_property
    def digest(self) -> str:
        """The one digest of the tree: the same for the same lock and target."""
        return ontarget_files.tree_digest(file_rows.rows(self.files))

    def with_documents(self, documents: Iterable[FileFact]) -> Manifest:
        """Return the same with other documents; the tree stays, and is not hashed again."""
        changed = replace(self, documents=file_rows.ordered(documents))
        changed.__dict__["digest"] = self.digest
        return changed
