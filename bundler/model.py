"""The frozen values that pass between the rooms; nothing here reads or writes files.

Sizes are bytes, times are seconds, hashes are lower-case hexadecimal sha256. Paths inside a bundle
are POSIX strings relative to the prefix (`lib/python3.8/site-packages/six.py`).
"""

from __future__ import annotations

import functools
from dataclasses import field
from typing import TYPE_CHECKING, Annotated, Literal

from bundler.lazy_dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""The worst first."""
Outcome = Literal["passed", "warned", "failed"]
SourceKind = Literal["index", "url", "vcs", "local"]
FAMILIES = {
    "EB1": "leaks from the builder",
    "EB2": "incomplete",
    "EB3": "does not fit the target",
    "EB4": "shadows and conflicts",
    "EB5": "lost by the mount or the upload",
    "EB6": "supply chain",
}
"""How a check's code begins → what the checks of its family find."""
FROZEN = 0.5
"""A list that names more than this share of its own closure is no list of wishes but a frozen environment."""
LinkMode = Literal["copy", "hardlink"]
Resolver = Literal["uv", "pip"]
Claims = tuple[tuple[str, str], ...]
"""A publisher's keys and values, as attestations prove them (`bundler.bundle.identities`)."""
CheckCode = Annotated[str, r"EB\d{3}"]
"""Stable; `bundler.checks.rules.codes` has the text of each."""


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """A CPython found on the builder, as it described itself (`ontarget/describe_python.py`)."""

    executable: Path
    """The base interpreter's real path, never that of a virtualenv or a shim."""
    version: Annotated[str, r"3\.[0-9]+\.[0-9]+((a|b|rc)[0-9]+)?"]
    """Full version, `3.8.18`; a resolver takes `3.8` for 3.8.0."""
    implementation: str
    """`cpython`."""
    cache_tag: str
    """`sys.implementation.cache_tag`, the middle of `x.cpython-38.pyc`."""
    magic: Annotated[str, "[0-9a-f]*"]
    """`importlib.util.MAGIC_NUMBER` in hexadecimal."""
    abi: str
    """The ABI tag of its extension modules, `cp38` or `cp37m`."""
    extension_suffixes: tuple[str, ...]
    machine: str
    """`platform.machine()`: `x86_64`."""
    glibc: Annotated[str, r"([0-9]+\.[0-9]+.*)?"]
    """The builder's glibc, `2.36`; empty where the interpreter uses another libc."""
    base_prefix: Path
    stdlib: tuple[Path, ...]
    """The folders of its standard library (stdlib, platstdlib, lib-dynload)."""
    stdlib_modules: frozenset[str]
    """Names of top-level modules of its standard library, built-in ones included."""
    markers: Mapping[str, str]
    """The environment of PEP 508 markers."""
    conda: bool
    origin: str = ""
    """How it was found: `given`, `PATH`, `pyenv`, `uv`, `/opt/python`, `managed` …"""

    @property
    def minor(self) -> str:
        """`3.8`, as in the name of the library folder."""
        return ".".join(self.version.split(".")[:2])


@dataclass(frozen=True, kw_only=True)
class Target:
    """The Python, machine and glibc that the bundle will run with."""

    python_version: str
    """Full version."""
    implementation: str
    abi: str
    machine: str
    glibc: tuple[int, int]
    glibc_reason: str
    """The source of the glibc version, in words for the user and the manifest."""
    markers: Mapping[str, str]

    @property
    def minor(self) -> str:
        """`3.8`."""
        return ".".join(self.python_version.split(".")[:2])

    @property
    def site_packages(self) -> str:
        """Path of site-packages relative to the prefix."""
        return f"lib/python{self.minor}/site-packages"


@dataclass(frozen=True, kw_only=True)
class RoomLimits:
    """What code on trial may use: an import, a freeze, a build, a rehearsed service."""

    memory_mib: int | None = None
    """Of each process; `None`: what the machine has."""
    processes: int | None = None
    """Of the user as whom it runs, threads included; `None`: 4,096, or 512 a processor."""
    output_mib: int = 64
    """What a program may print."""
    import_seconds: int = 300
    """Of each process that imports."""


DEFAULT_LIMITS = RoomLimits()
BUILD_DISK = 16 << 10
"""MiB of disk that the build of a distribution may fill, unless the caller says it."""


@dataclass(frozen=True, kw_only=True)
class IndexSettings:
    """Indexes and how to reach them. The URLs may contain credentials: never print or write them."""

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    trusted_hosts: tuple[str, ...] = ()
    cert: str | None = None
    client_cert: str | None = None
    proxy: str | None = None
    timeout: float | None = None
    """Seconds."""
    retries: int | None = None
    keyring_provider: str | None = None
    ignored: tuple[str, ...] = ()
    """Names of settings of the caller's pip that are not passed on, such as `target` or `user`."""


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """A requirement as the caller wrote it, and where."""

    text: str
    """PEP 508 text, a URL or an absolute local path; environment variables are expanded."""
    name: str | None
    """Normalised name; `None` for a path or a URL without a name."""
    extras: tuple[str, ...] = ()
    hashes: tuple[str, ...] = ()
    """`sha256:…`, as `--hash` gave them."""
    origin: str
    """`requirements.txt:7` or `the command line`."""
    constraint: bool = False


@dataclass(frozen=True, kw_only=True)
class Note:
    """What people should know of an input, and its requirements do not say."""

    subject: str
    """The distribution, file or module that it is about; no path of this machine."""
    text: str
    """What is the matter, and what the bundle has instead; no path of this machine either."""
    place: str = ""
    """The path on this machine: for the terminal alone, never written down."""

    def __str__(self) -> str:
        """Return it as a line."""
        return f"{self.subject}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What a wheel says that was built from source: nobody has to build it again to learn that."""

    name: str
    """Normalised."""
    version: str
    requires: tuple[str, ...]
    """Lines of Requires-Dist."""
    requires_python: str | None
    extras: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project whose requirements are asked for, and what remains to be asked or compared."""

    name: str
    """Empty: only its build knows it."""
    folder: Path
    origin: str
    """The file that was named: `./pyproject.toml`."""
    requires_python: str = ""
    """As the file says it; empty: it does not."""
    dynamic: tuple[Literal["dependencies", "optional-dependencies"], ...] = ()
    """Keys of PEP 621 that are wanted and that only its build knows."""
    extras: tuple[str, ...] = ()
    """Those that are wanted."""


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """The requirements, constraints and options of all files and of the command line."""

    requirements: tuple[Requirement, ...] = ()
    constraints: tuple[Requirement, ...] = ()
    no_binary: tuple[str, ...] = ()
    only_binary: tuple[str, ...] = ()
    build_constraints: tuple[str, ...] = ()
    """What builds from source may use: `setuptools<58`."""
    prefer_binary: bool = False
    pre: bool = False
    require_hashes: bool = False
    closed_by: str = ""
    """The lock of another tool that pins whatever may come in; empty: more may."""
    index: IndexSettings = field(default_factory=IndexSettings)
    """Index options in the files, which override the caller's configuration."""
    notes: tuple[str, ...] = ()
    """What stands in the files and has no effect: place and words."""
    told: tuple[Note, ...] = ()
    """What people should know of the inputs; stands in the manifest too."""
    learned: tuple[Learned, ...] = ()
    """What an earlier try has built from the same indexes."""
    projects: tuple[Project, ...] = ()
    """What is not yet known of them is asked once there is a target (`bundler.create.inputs.asked_build`)."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """The file or source that was chosen for a distribution."""

    kind: Literal["wheel", "sdist", "vcs", "directory"]
    filename: str
    """Of the file; empty for a VCS or a directory."""
    url: str | None
    """In a lock without credentials; `None` for a local path."""
    path: str | None = None
    """Of a local file or project on the builder; never written down."""
    sha256: str | None = None
    """Of the file; `None` only where there is no file (VCS, directory)."""
    size: int | None = None
    commit: str | None = None
    """Of a VCS."""
    subdirectory: str | None = None


@dataclass(frozen=True, kw_only=True)
class BuildTool:
    """A distribution that a build used."""

    name: Annotated[str, r"[a-z0-9]+(-[a-z0-9]+)*"]
    version: Annotated[str, r"[A-Za-z0-9][A-Za-z0-9.!+_-]*"]
    filename: Annotated[str, r"[^/\\\0]{1,255}"]
    """Of the wheel, or of the sdist from which that was itself built; the hash is that of this file."""
    sha256: Annotated[str, r"[0-9a-f]{64}"]


@dataclass(frozen=True, kw_only=True)
class Built:
    """How a wheel was made from source."""

    sha256: Annotated[str, r"[0-9a-f]{64}"]
    """Of the wheel."""
    tools: tuple[BuildTool, ...]
    """All that its build could use, sorted by name."""
    unlike: Annotated[str, r"[0-9a-f]{64}"] | None = None
    """sha256 of another wheel that the same tools made of the same source; `None`: none is known."""


@dataclass(frozen=True, kw_only=True)
class LockedDistribution:
    """A distribution in a lock."""

    name: str
    """Normalised (PEP 503)."""
    version: str
    artifact: Artifact
    source: SourceKind = "index"
    requested: bool = False
    extras: tuple[str, ...] = ()
    """Extras that the requirements ask of it."""
    required_by: tuple[str, ...] = ()
    """Normalised names of the distributions that require it."""
    yanked: str | None = None
    """The reason; an empty string where none was given; `None`: not yanked."""
    index: str | None = None
    """The index that serves it, without credentials."""
    built: Built | None = None
    """How its wheel was made; `None`: it was not, or the lock does not say."""
    identities: tuple[Claims, ...] = ()
    """Those for which its file's attestations were verified (PEP 740)."""


@dataclass(frozen=True, kw_only=True)
class Lock:
    """Every distribution for one target, sorted by name."""

    python_version: str
    machine: str
    glibc: tuple[int, int]
    distributions: tuple[LockedDistribution, ...]
    requirements: tuple[str, ...] = ()
    """What was asked for, as written, without credentials and local paths."""
    constraints: tuple[str, ...] = ()

    def chain(self, name: str) -> tuple[str, ...]:
        """The requirements that brought `name` in, from the one that was asked for down to it."""
        by_name = {dist.name: dist for dist in self.distributions}
        frontier: list[tuple[str, ...]] = [(name,)]
        seen = {name}
        while frontier:
            path = frontier.pop(0)
            dist = by_name.get(path[0])
            if dist is None or dist.requested:
                return path
            for parent in dist.required_by:
                if parent not in seen:
                    seen.add(parent)
                    frontier.append((parent, *path))
        return (name,)

    @functools.cached_property
    def roots(self) -> tuple[str, ...]:
        """The distributions that were asked for for their own sake, sorted.

        Of a list that was written by hand these are all that it names: with Flask and a plug-in that requires
        Flask, the service uses both. Where most distributions are requested, `pip freeze` or a resolver
        wrote the list, and its roots are those that no other requested distribution requires; of requested
        distributions that require each other in a circle all. A lock that does not say what was requested has
        for roots what nothing requires.
        """
        requested = {dist.name for dist in self.distributions if dist.requested}
        if not requested:
            return tuple(sorted(dist.name for dist in self.distributions if not dist.required_by))
        if len(requested) <= len(self.distributions) * FROZEN:
            return tuple(sorted(requested))
        above = {name: self._requiring(name) & requested for name in requested}
        return tuple(sorted(name for name in requested if all(name in above[other] for other in above[name])))

    def _requiring(self, name: str) -> set[str]:
        """The distributions that require one, directly or through others; itself only in a circle."""
        by_name = {dist.name: dist for dist in self.distributions}
        found: set[str] = set()
        waiting = list(by_name[name].required_by)
        while waiting:
            parent = waiting.pop()
            if parent not in found:
                found.add(parent)
                waiting += by_name[parent].required_by if parent in by_name else ()
        return found


@dataclass(frozen=True, kw_only=True)
class FileFact:
    """A file that a wheel installs."""

    path: str
    sha256: str
    size: int
    executable: bool = False


@dataclass(frozen=True, kw_only=True)
class NativeFact:
    """An ELF file of a wheel, as the loader sees it."""

    path: str
    problem: str = ""
    """Why the loader cannot load it (truncated, not ELF despite its name); empty: it can."""
    machine: str = ""
    """`x86_64`, as `platform.machine()` would say it."""
    bits: int = 64
    program: bool = False
    """It is a program, not a library."""
    soname: str | None = None
    needed: tuple[str, ...] = ()
    """DT_NEEDED, in order."""
    rpath: tuple[str, ...] = ()
    """DT_RPATH; the loader ignores it where there is a RUNPATH."""
    runpath: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    """Symbol versions that it needs of other libraries: `libc.so.6:GLIBC_2.17`, sorted."""
    unversioned: tuple[str, ...] = ()
    """Names of the C++ runtime and the C library's own that it needs in no version, sorted."""
    executable_stack: bool = False
    writable_code: bool = False
    """A segment that is both writable and executable."""


@dataclass(frozen=True, kw_only=True)
class StartupFact:
    """A .pth or .start file (PEP 829) of a wheel; in mount mode Python does not read it."""

    path: str
    lines: tuple[str, ...]
    """Without comments and empty lines, the first hundred."""


@dataclass(frozen=True, kw_only=True)
class WheelFacts:
    """What an unpacked wheel contains; depends on the wheel and the Python alone."""

    name: str
    """As METADATA spells it."""
    version: str
    filename: str
    sha256: str
    dist_info: str
    """Name of its .dist-info folder."""
    tags: tuple[str, ...]
    requires_python: str | None
    requires: tuple[str, ...]
    """Requires-Dist lines."""
    extras: tuple[str, ...]
    """Provides-Extra names."""
    modules: tuple[str, ...]
    """Modules that must be importable: top-level ones, and the first real packages of namespaces."""
    scripts: tuple[str, ...]
    """Names of its files in bin/."""
    files: tuple[FileFact, ...]
    """The files that it installs, without RECORD, INSTALLER, REQUESTED and direct_url.json."""
    native: tuple[NativeFact, ...] = ()
    startup: tuple[StartupFact, ...] = ()
    build_paths: tuple[tuple[str, str], ...] = ()
    """(Path of a file, path of the machine that built the wheel in its content)."""
    licence: str = ""
    """License-Expression of METADATA, else License, else the classifiers."""
    entry_points: tuple[str, ...] = ()
    """Entry points of every group: `console_scripts: flask = flask.cli:main`, sorted."""
    imports: tuple[tuple[str, str], ...] = ()
    """(Top-level name that the wheel does not bring, path of a file that seems to import it), sorted."""
    imported_names: tuple[str, ...] = ()
    """A module that the wheel does not bring, and what lines seem to import from it: `os.path join split`."""
    misrecorded: tuple[tuple[str, str], ...] = ()
    """(Path in the archive, what the wheel's own RECORD says wrongly of it); those of its metadata last."""


@dataclass(frozen=True, kw_only=True)
class StoredWheel:
    """A wheel in the store: the file, its unpacked tree and its facts."""

    locked: LockedDistribution
    facts: WheelFacts
    tree: Path
    """Unpacked in the layout of a prefix; nobody changes it."""
    built_from: str | None = None
    """sha256 or commit of the source that this machine built it from; `None`: fetched."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The virtualenv that poses as the image: its `_manylinux` module reports the image's glibc."""

    prefix: Path
    python: Path
    site_packages: Path


@dataclass(frozen=True, kw_only=True)
class Code:
    """A thing that a check can find. Codes are stable: one that is given up is never used again."""

    code: str
    """`EB101`."""
    severity: Severity
    title: str
    cause: str
    """Why it happens and what follows from it."""
    remedy: str
    example: str = ""
    """A real case, in a sentence or two."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A defect or a fact that a check reports."""

    code: CheckCode
    severity: Severity
    subject: str
    """The distribution, file or module that it is about."""
    cause: str
    remedy: str
    chain: tuple[str, ...] = ()
    """The requirements that brought the subject in, outermost first."""
    accepted: str | None = None
    """The caller's reason for accepting it (`--ignore`), so that it stops nothing; `None`: not accepted."""

    @property
    def rank(self) -> tuple[bool, int, str, str]:
        """Sorts findings: what is accepted last, and the worst first."""
        return self.accepted is not None, SEVERITIES.index(self.severity), self.code, self.subject


@dataclass(frozen=True, kw_only=True)
class Ignore:
    """Findings that the caller accepts: `EB501:coloredlogs=reason`."""

    code: str
    subject: str
    """The subject of the finding, or its distribution; `*` for all."""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the caller decides about findings."""

    strict: bool = False
    """Warnings prevent the bundle as errors do."""
    ignores: tuple[Ignore, ...] = ()
    assumed_libraries: tuple[str, ...] = ()
    """SONAMEs that the caller says the image has; the verifier checks them on the target."""
    denied_licences: tuple[str, ...] = ()
    """Words in licences that must not be in the bundle, in any case of letters."""


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The outcome of a check."""

    code: CheckCode
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class Isolation:
    """The names of settings that were kept out of the build, and how the import proof was isolated."""

    variables: tuple[str, ...] = ()
    """Environment variables of the caller that no child process saw."""
    pip_settings: tuple[str, ...] = ()
    """Settings of the caller's pip that were not passed on."""
    proof: tuple[str, ...] = ()
    """What the machine allowed, of `moved`, `no-network`, `own-processes`, `own-root` and `read-only`."""


@dataclass(frozen=True, kw_only=True)
class Obligation:
    """Modules that the service reaches: they must import, in one process of their own, in this order."""

    kind: Literal["main", "script", "service"]
    """Main modules of a distribution that is asked for, the target of its script or what its other entry
    points name, the service's own code."""
    subject: str
    """The distribution, or the file of the service's code: `score.py`."""
    modules: tuple[str, ...]
    """Dotted names; `a.b:c` for `from a.b import c`."""
    reason: str
    """In words, for a finding: `flask is asked for`."""
    places: tuple[str, ...] = ()
    """Of `service`: file and line for each of the modules."""
    optional: bool = False
    """A failure is told and stops nothing, unless most of the modules of `main`, or of entry points, fail."""

    @property
    def of_entry_points(self) -> bool:
        """Whether other distributions load it, by entry points; of a script only the module is named."""
        return self.kind == "script" and ":" in self.modules[0]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the checks compared; goes into the manifest."""

    baseline_freeze: tuple[str, ...]
    freeze: tuple[str, ...]
    """`pip freeze --all` after installation."""
    expected: tuple[str, ...]
    """`name==version` of the lock."""
    modules: tuple[str, ...]
    """Imported in mount mode."""
    reached: tuple[Obligation, ...] = ()
    """What the service reaches."""
    unproved: tuple[str, ...] = ()
    """Modules that the service reaches and that this machine could not import: it lacks a library that the
    image is said to have."""
    libraries: tuple[str, ...]
    """SONAMEs of the system's shared objects that the reached imports mapped."""
    without: tuple[str, ...] = ()
    """Of `libraries`: each was hidden once, and all that is reached imported without it."""
    isolation: Isolation
