"""The values of a manifest.json. Members are explained in docs/manifest.md.

The file is read by the types of the fields here; `Annotated` says what more must hold of one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Literal, NamedTuple

from bundler.lazy_dataclass import dataclass
from bundler.model import Built, CheckResult, Evidence, FileFact, Finding, Isolation, Obligation
from bundler.ontarget import checksums
from bundler.ontarget.verify import SONAME
from bundler.system.json_values import LIMIT, SHA256, Value, from_json, path_problem

KIND = "envbundle-manifest"
SCHEMA_VERSION = "1.2"
NAME = checksums.MANIFEST
SUMS = checksums.SUMS

RelativePath = Annotated[str, Value.path]
"""POSIX, and stays below its folder."""
Sha256 = Annotated[str, Value.sha256]
Word = Annotated[str, r"\w+"]
Version = Annotated[str, r"[^\s/\\\0]+"]
Soname = Annotated[str, SONAME.pattern]
"""A library as the loader looks for it: never a path."""


class FileRow(NamedTuple):
    """A file as a row of the manifest."""

    path: RelativePath
    sha256: Sha256
    size: int
    mode: Literal["0644", "0755"]


def ordered(files: Iterable[FileFact]) -> tuple[FileFact, ...]:
    """Return files sorted by path."""
    return tuple(sorted(files, key=lambda file: file.path))


def file_rows(files: Iterable[FileFact]) -> list[FileRow]:
    """Return files as rows."""
    return [
        FileRow(file.path, file.sha256, file.size, "0755" if file.executable else "0644") for file in files
    ]


def render_rows(listed: Sequence[FileRow]) -> str:
    """Return rows as a JSON array with a line a row."""
    # A row begins with its path, and no JSON string has a quote without a backslash before it.
    lines = json.dumps(listed)[1:-1].replace('], ["', '],\n    ["')
    return f"[\n    {lines}\n  ]" if listed else "[]"


def read_files(value: Value) -> tuple[FileFact, ...]:
    """Read the rows of files in order of their paths, none of them twice, nor the manifest or its checksums.

    :raises InputError: names the place.
    """
    files = []
    before = ""
    for row in value:
        file = _plain_file(row.raw) or _read_file(row)
        if file.path <= before or file.path in (NAME, SUMS):
            value.fail(f"{file.path!r} is out of order, there twice, or must not be listed")
        before = file.path
        files.append(file)
    return tuple(files)


def _plain_file(raw: object) -> FileFact | None:
    """Read a row that has nothing wrong; ten thousand of them must not take long."""
    match raw:
        case [str() as path, str() as sha256, int() as size, "0644" | "0755" as mode]:
            sound = type(size) is int and 0 <= size < LIMIT and SHA256.fullmatch(sha256)
            if sound and not path_problem(path):
                return FileFact(path=path, sha256=sha256, size=size, executable=mode == "0755")
    return None


def _read_file(row: Value) -> FileFact:
    path, sha256, size, mode = from_json(FileRow, row)
    return FileFact(path=path, sha256=sha256, size=size, executable=mode == "0755")


@dataclass(frozen=True, kw_only=True)
class Tool:
    """What made the bundle."""

    name: Literal["envbundle"] = "envbundle"
    version: str


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What was asked for, as written, without credentials and local paths."""

    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    sha256: Sha256
    """Of both lists: tells at a glance whether two bundles were asked for alike."""
    notes: tuple[str, ...] = ()
    """What the inputs told besides: a distribution that conda had installed, a file that was edited."""


@dataclass(frozen=True, kw_only=True)
class ManifestTarget:
    """The target as the verifier compares it."""

    python: Annotated[str, r"\d+\.\d+\.\d+[a-z0-9+.]*"]
    """Full version."""
    implementation: Word
    abi: Word
    machine: Word
    glibc: Annotated[str, r"\d{1,4}\.\d{1,4}"]
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


def _top_name(value: Value) -> str:
    name = value.text()
    if name != "./" and ("/" in name[:-1] or path_problem(name.removesuffix("/"))):
        value.fail(f"{name[:80]!r} is no name of a file or folder")
    return name


class Content(NamedTuple):
    """What a distribution puts at one place: a row `[name, files, bytes]` of the file."""

    name: Annotated[str, _top_name]
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

    name: Annotated[str, r"[a-z0-9]+(-[a-z0-9]+)*"]
    version: Version
    source: Literal["index", "url", "vcs", "local"]
    kind: Literal["wheel", "sdist", "vcs", "directory"]
    filename: Annotated[str, r"[^/\0]*"]
    url: str | None
    index: str | None
    commit: str | None
    sha256: Sha256 | None
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
    native: tuple[RelativePath, ...] = ()
    """Paths of its ELF files, sorted."""
    root: bool = False
    """Requested, and no other requested distribution requires it."""
    contents: tuple[Content, ...] = ()
    """Sorted by name; adds up to `files` and `bytes`. What a manifest of schema 1.0 lacks is empty."""
    built: Built | None = None
    """How its wheel was made, and with what; `None`: a wheel was fetched."""


@dataclass(frozen=True, kw_only=True)
class ManifestAttestations:
    """Who published the file of a distribution, as its attestations prove it."""

    name: Annotated[str, r"[a-z0-9]+(-[a-z0-9]+)*"]
    """Of the distribution."""
    sha256: Sha256
    """Of the wheel or source distribution that is attested."""
    document: RelativePath
    """The provenance object (PEP 740) that was verified, as the index offered it."""
    identities: tuple[Mapping[str, str], ...]
    """The publishers, as the lock has them."""


def _needs(value: Value) -> Needs:
    return Needs(libraries=value["libraries"].texts(), symbols=value["symbols"].texts())


_LISTS = ("baseline_freeze", "freeze", "expected", "modules", "libraries", "without")
"""Those members of the evidence that every manifest has."""


def _evidence(value: Value) -> Evidence:
    lists = {name: value[name].texts() for name in _LISTS}
    reached, unproved = value.get("reached"), value.get("unproved")
    return Evidence(
        **lists,
        reached=tuple(from_json(Obligation, one) for one in reached) if reached else (),
        unproved=unproved.texts() if unproved else (),
        isolation=Isolation(proof=value["proof"].texts()),
    )


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of a manifest.json."""

    tool: Tool
    target: ManifestTarget
    interpreter: Builder
    inputs: Inputs
    environment: Mapping[str, RelativePath]
    """Variable → path relative to the bundle."""
    distributions: tuple[ManifestDistribution, ...]
    checks: tuple[CheckResult, ...]
    findings: tuple[Finding, ...]
    evidence: Annotated[Evidence, _evidence]
    assumed_libraries: tuple[Soname, ...]
    """SONAMEs that the image is said to have; the verifier looks for them there."""
    relies_on: Mapping[str, Version]
    """Normalised name → version of what the image must have (`--thin`); the verifier looks for it there."""
    image: str | None
    """Name of the image's profile; `None`: none was named."""
    needs: Annotated[Needs, _needs] = Needs()
    attestations: tuple[ManifestAttestations, ...] = ()
    """Sorted by name; the file has the member only where somebody asked who published the files."""
    documents: Annotated[tuple[FileFact, ...], read_files]
    """The files beside the tree: lock, verifier …, without manifest and checksums."""
    files: Annotated[tuple[FileFact, ...], read_files]
    """The tree."""

    @property
    def roots(self) -> tuple[str, ...]:
        """Names of the distributions that were asked for and that nothing else asked for brings."""
        roots = tuple(dist.name for dist in self.distributions if dist.root)
        # A manifest before 1.2 does not say.
        return roots or tuple(dist.name for dist in self.distributions if dist.requested)

    @cached_property
    def digest(self) -> str:
        """The one digest of the tree: the same for the same lock and target."""
        return checksums.tree_digest(file_rows(self.files))

    def with_documents(self, documents: Iterable[FileFact]) -> Manifest:
        """Return the same with other documents; the tree stays, and is not hashed again."""
        changed = replace(self, documents=ordered(documents))
        changed.__dict__["digest"] = self.digest
        return changed
