"""The values that pass between the stages: frozen, keyword-only, without I/O.

Sizes are bytes, times are seconds, hashes are lower-case hexadecimal sha256. Paths inside a bundle
are POSIX strings relative to the prefix (`lib/python3.8/site-packages/six.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
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
LinkMode = Literal["copy", "hardlink"]
Resolver = Literal["uv", "pip"]
CheckCode = Annotated[str, r"EB\d{3}"]
"""Stable; `bundler.checks.codes` explains each."""


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """A CPython found on the builder, as it described itself (`ontarget/describe_python.py`)."""

    executable: Path
    """The base interpreter's real path, never that of a virtualenv or a shim."""
    version: Annotated[str, r"3\.[0-9]+\.[0-9]+((a|b|rc)[0-9]+)?"]
    """Full version, `3.8.18`: a bare `3.8` means 3.8.0 to a resolver."""
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
    """The builder's glibc as this interpreter sees it, `2.36`; empty where it is not glibc."""
    base_prefix: Path
    stdlib: tuple[Path, ...]
    """The folders of its standard library (stdlib, platstdlib, lib-dynload)."""
    stdlib_modules: frozenset[str]
    """Names of top-level modules of its standard library, built-in ones included."""
    markers: Mapping[str, str]
    """The environment of PEP 508 markers, from the interpreter itself."""
    conda: bool
    origin: str = ""
    """How it was found: `given`, `PATH`, `pyenv`, `uv`, `/opt/python`, `managed` …"""

    @property
    def minor(self) -> str:
        """`3.8`: what names the library folder."""
        return ".".join(self.version.split(".")[:2])


@dataclass(frozen=True, kw_only=True)
class Target:
    """The place where the bundle will run."""

    python_version: str
    """Full version."""
    implementation: str
    abi: str
    machine: str
    glibc: tuple[int, int]
    glibc_reason: str
    """Where the glibc figure comes from, in words for the user and the manifest."""
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
class IndexSettings:
    """Where distributions come from. URLs here may carry credentials: never print or write them."""

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
    """Names of settings of the caller's pip that were kept out, such as `target` or `user`."""


@dataclass(frozen=True, kw_only=True)
class Requirement:
    """One requirement as the caller wrote it, with the place where it stands."""

    text: str
    """PEP 508 text, a URL or an absolute local path; environment variables are expanded."""
    name: str | None
    """Normalised name; `None` for a path or a URL that does not tell."""
    extras: tuple[str, ...] = ()
    hashes: tuple[str, ...] = ()
    """`sha256:…`, as `--hash` gave them."""
    origin: str
    """`requirements.txt:7` or `the command line`."""
    constraint: bool = False


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """All that the requirements files, constraints files and the command line say, flattened."""

    requirements: tuple[Requirement, ...]
    constraints: tuple[Requirement, ...] = ()
    no_binary: tuple[str, ...] = ()
    only_binary: tuple[str, ...] = ()
    prefer_binary: bool = False
    pre: bool = False
    require_hashes: bool = False
    index: IndexSettings = field(default_factory=IndexSettings)
    """Index options found in the files; they win over the caller's configuration."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """The one file (or source) that was chosen for a distribution."""

    kind: Literal["wheel", "sdist", "vcs", "directory"]
    filename: str
    """Of the file; empty for a VCS or a directory."""
    url: str | None
    """Without credentials once it is in a lock; `None` for a local path."""
    path: str | None = None
    """Of a local file or project on the builder; never leaves it."""
    sha256: str | None = None
    """Of the file; `None` only where there is no file (VCS, directory)."""
    size: int | None = None
    commit: str | None = None
    """Of a VCS."""
    subdirectory: str | None = None


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


def chains(parents: Mapping[str, Iterable[str]], starts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return for each name, sorted, a shortest chain from a start down to it.

    Of several the first, in the order of the starts and of the names; the name alone where there is none.

    :param parents: name → what requires it.
    """
    children: dict[str, list[str]] = {}
    for name in sorted(parents):
        for parent in parents[name]:
            children.setdefault(parent, []).append(name)
    found: dict[str, tuple[str, ...]] = {name: (name,) for name in starts}
    frontier = list(found)
    while frontier:
        reached = []
        for parent in frontier:
            for child in children.get(parent, ()):
                if child not in found:
                    found[child] = (*found[parent], child)
                    reached.append(child)
        frontier = reached
    return {name: found.get(name, (name,)) for name in sorted(parents)}


@dataclass(frozen=True, kw_only=True)
class FileFact:
    """A file that a wheel puts into the prefix."""

    path: str
    sha256: str
    size: int
    executable: bool = False


@dataclass(frozen=True, kw_only=True)
class NativeFact:
    """An ELF file of a wheel, read from its program headers as the loader does."""

    path: str
    problem: str = ""
    """Why the loader cannot take it (truncated, not ELF though it is named so); empty: it can."""
    machine: str = ""
    """`x86_64`, as `platform.machine()` would say it."""
    bits: int = 64
    program: bool = False
    """It is run, not loaded into a process."""
    soname: str | None = None
    needed: tuple[str, ...] = ()
    """DT_NEEDED, in order."""
    rpath: tuple[str, ...] = ()
    """DT_RPATH; void where there is a RUNPATH."""
    runpath: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    """Symbol versions that it needs of others: `libc.so.6:GLIBC_2.17`, sorted."""
    executable_stack: bool = False
    writable_code: bool = False
    """A segment that is both writable and executable."""


@dataclass(frozen=True, kw_only=True)
class StartupFact:
    """A .pth file of a wheel, which a mount never runs."""

    path: str
    lines: tuple[str, ...]
    """Without comments and empty lines, the first hundred."""


@dataclass(frozen=True, kw_only=True)
class WheelFacts:
    """What is known of a wheel once it is unpacked; depends on the wheel and the Python alone."""

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
    """What `import` must find: top-level modules, and the first real packages of namespaces."""
    scripts: tuple[str, ...]
    """Names of what it puts into bin/."""
    files: tuple[FileFact, ...]
    """All that it installs, but for RECORD, INSTALLER, REQUESTED and direct_url.json."""
    native: tuple[NativeFact, ...] = ()
    startup: tuple[StartupFact, ...] = ()
    build_paths: tuple[tuple[str, str], ...] = ()
    """(path of the file, path of the machine that built it that stands in its content)."""
    licence: str = ""
    """License-Expression, else License or the classifiers, as METADATA has them."""
    entry_points: tuple[str, ...] = ()
    """Of every group, as `console_scripts: flask = flask.cli:main`, sorted."""


@dataclass(frozen=True, kw_only=True)
class StoredWheel:
    """A wheel in the store: the file, its unpacked tree and its facts."""

    locked: LockedDistribution
    facts: WheelFacts
    tree: Path
    """Unpacked, laid out as the prefix will be; read-only by convention."""
    built_from: str | None = None
    """sha256 of the source (or commit) that it was built from on this machine; `None`: fetched."""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The virtualenv that poses as the image."""

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
    """One thing that a check has to say."""

    code: CheckCode
    severity: Severity
    subject: str
    """The distribution, file or module that it is about."""
    cause: str
    remedy: str
    chain: tuple[str, ...] = ()
    """The requirements that brought the subject in, outermost first."""
    accepted: str | None = None
    """The reason why the caller accepts it (`--ignore`); it then stops nothing. `None`: not accepted."""

    @property
    def rank(self) -> tuple[bool, int, str, str]:
        """Sorts findings: what is accepted last, and the worst first."""
        return self.accepted is not None, SEVERITIES.index(self.severity), self.code, self.subject


@dataclass(frozen=True, kw_only=True)
class Ignore:
    """A finding that the caller accepts beforehand: `EB501:coloredlogs=reason`."""

    code: str
    subject: str
    """Of the finding, or its distribution; `*` for all."""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What the caller decides about findings."""

    strict: bool = False
    """Warnings stop the emission as errors do."""
    ignores: tuple[Ignore, ...] = ()
    assumed_libraries: tuple[str, ...] = ()
    """SONAMEs that the image is said to have; the verifier checks them on the target."""
    denied_licences: tuple[str, ...] = ()
    """Words of licences that must not be in the bundle, without regard to case."""


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What came of one check."""

    code: CheckCode
    outcome: Outcome


@dataclass(frozen=True, kw_only=True)
class Isolation:
    """What was kept out of the build, by name only, and how the import proof was isolated."""

    variables: tuple[str, ...] = ()
    """Names of environment variables of the caller that no child process saw."""
    pip_settings: tuple[str, ...] = ()
    """Names of settings of the caller's pip that were not passed on."""
    proof: tuple[str, ...] = ()
    """`no-network`, `read-only`, `moved`: what the machine allowed."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was compared with what; goes into the manifest."""

    baseline_freeze: tuple[str, ...]
    freeze: tuple[str, ...]
    """`pip freeze --all` after installation."""
    expected: tuple[str, ...]
    """`name==version` of the lock."""
    modules: tuple[str, ...]
    """Imported in mount mode."""
    libraries: tuple[str, ...]
    """Shared objects of the system that the imports mapped (names, not paths)."""
    without: tuple[str, ...] = ()
    """`distribution:SONAME` of libraries that were hidden from a second proof and that only an optional
    part of the distribution missed."""
    isolation: Isolation
