"""EB303 and EB120: the libraries that native files need, and the folders in which they look for them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from packaging.version import Version

from bundler.bundle.needs import fits
from bundler.checks.imports.evidence import ImportEvidence, LibraryNeed
from bundler.checks.rules import loader, system_libraries
from bundler.checks.rules.codes import finding
from bundler.checks.rules.loader import Resolution
from bundler.lazy_dataclass import dataclass
from bundler.model import SEVERITIES, Finding, Lock, NativeFact, Severity, Target, WheelFacts

if TYPE_CHECKING:
    from bundler.targets.image import Image

CODES = ("EB120", "EB303")
SHOWN = 3
"""Files that a finding names."""
PROGRAM = "it is a program, and will not start"
UNSEEN = "nothing that was asked for loads it"
TAG = re.compile(r"\.(?P<tag>cpython-\d+[a-z]*(-[\w-]+)?|pypy[\w-]+|graalpy[\w-]+|abi3t?(-[\w-]+)?)\.so$")
SYSTEM = re.compile(r"/(usr/)?lib(32|64|x32)?(/[a-z0-9_]+-linux-gnu)?/*$")
"""Folders that the loader searches anyway."""
_WANTED = re.compile(r"(?:^|[\s:])([^\s:/]+\.so[\w.]*): cannot open shared object file")


@dataclass(frozen=True, kw_only=True)
class KnownLibraries:
    """The libraries that the image is known to have besides the core, and those that the imports used."""

    image: Image | None = None
    assumed: tuple[str, ...] = ()
    """SONAMEs that the caller says are there."""
    mapped: tuple[str, ...] = ()
    """SONAMEs of the system's libraries that the reached imports loaded or asked for."""
    loaded: tuple[str, ...] = ()
    """Files of the bundle that the imports loaded."""
    without: tuple[str, ...] = ()
    """Of `mapped`: what is reached imports without them (`library_needs`)."""
    needs: tuple[LibraryNeed, ...] = ()
    """Of `mapped`: what is reached does not import without them."""

    def has(self, library: str) -> bool:
        """Tell whether the image is known to have a library."""
        known = (self.image.libraries if self.image else None) or ()
        core = system_libraries.CORE.fullmatch(library) is not None
        return core or library in self.assumed or library in known

    def wants(self, library: str) -> bool:
        """Tell whether the imports loaded or asked for a library; `libgomp.so.1` is libgomp.so.1.0.0 too."""
        return any(library == one or library.startswith(f"{one}.") for one in self.mapped)


@dataclass(frozen=True, kw_only=True)
class Linkage:
    """How the native files of a bundle are linked: what the loader finds for each of them."""

    target: Target
    resolution: Resolution
    known: KnownLibraries
    built: frozenset[str]
    """Names of the distributions that were built here."""
    loadable: frozenset[str]
    """Paths of what an import can load: extension modules, what the imports loaded, and what these need."""
    reached: frozenset[str]
    """Of `loadable`: what was loaded, the extension modules of what was asked for, and what these need."""
    aside: frozenset[str]
    """Paths of plug-ins and tests, and what these need: an ordinary import does not load them."""
    starting: frozenset[str] = frozenset()
    """Paths of programs that a service is started with."""

    def weigh_program(self, fact: NativeFact) -> tuple[Severity, str]:
        """Return how bad it is that a program does not start, and why."""
        if fact.path in self.starting:
            return "error", "it is the program that the distribution was asked for"
        return "warning", PROGRAM


def linkage(
    facts: Mapping[str, WheelFacts],
    *,
    target: Target,
    known: KnownLibraries,
    built: Collection[str],
    roots: Collection[str] | None = None,
) -> Linkage:
    """Find what every native file needs.

    :param facts: normalised name → facts of its wheel.
    :param roots: the distributions that were asked for, whose extension modules the service imports sooner or
        later (lxml's are loaded by its submodules alone); by default all are.
    """
    native = [fact for one in facts.values() for fact in one.native]
    resolution = loader.resolve(native)
    aside = {fact.path for fact in native if in_optional_folder(fact.path)}
    modules = {
        fact.path: name
        for name, one in facts.items()
        for fact in one.native
        if is_extension(fact.path, one, target) and fact.path not in aside
    }
    asked = {path for path, name in modules.items() if roots is None or name in roots}
    return Linkage(
        target=target,
        resolution=resolution,
        known=known,
        built=frozenset(built),
        loadable=loader.closure(resolution, modules.keys() | set(known.loaded)),
        reached=loader.closure(resolution, asked | set(known.loaded)),
        aside=loader.closure(resolution, aside),
        starting=frozenset(
            path
            for name, one in facts.items()
            if roots is None or name in roots
            for path in _own_programs(name, one)
        ),
    )


def _own_programs(name: str, facts: WheelFacts) -> Iterator[str]:
    """Yield the program that bears the distribution's name, if no module does, as in uwsgi."""
    if name in {canonicalize_name(module) for module in facts.modules}:
        return
    for fact in facts.native:
        folder, _, program = fact.path.rpartition("/")
        if fact.program and folder == "bin" and canonicalize_name(program) == name:
            yield fact.path


def asked_for(evidence: ImportEvidence) -> tuple[str, ...]:
    """Return the SONAMEs of system libraries that the reached imports loaded, or failed to load."""
    failures = [failure for one in evidence.reached for failure in one.failures]
    wanted = {match[1] for failure in failures for match in _WANTED.finditer(failure.detail)}
    return (*evidence.libraries, *sorted(wanted))


def doubtful(evidence: ImportEvidence, facts: Mapping[str, WheelFacts], linkage: Linkage) -> tuple[str, ...]:
    """Return the SONAMEs of system libraries that the reached imports loaded and the image may lack, sorted.

    What another library of the system needs comes with that one, unless the bundle needs it as well.

    :param facts: normalised name → facts of its wheel.
    """
    linked = _linked(facts, linkage)
    return tuple(
        library
        for library in evidence.libraries
        if not linkage.known.has(library)
        and not system_libraries.DRIVER.fullmatch(library)
        and (library in linked or library not in evidence.indirect)
    )


def _linked(facts: Mapping[str, WheelFacts], linkage: Linkage) -> frozenset[str]:
    """The libraries that native files of the bundle name in their headers."""
    native = (fact for one in facts.values() for fact in one.native if fits(fact, linkage.target))
    return frozenset(library for fact in native for library in fact.needed)


def is_extension(path: str, facts: WheelFacts, target: Target) -> bool:
    """Tell whether a file is named as a module that the target's Python imports."""
    if match := TAG.search(path):
        return match["tag"] in accepted_tags(target)
    inner = path.removeprefix(f"{target.site_packages}/").removesuffix(".so")
    return path.endswith(".so") and inner.replace("/", ".") in facts.modules


def accepted_tags(target: Target) -> frozenset[str]:
    """Return the tags of `importlib.machinery.EXTENSION_SUFFIXES` there: cp37m is spelled cpython-37m.

    Python 3.15 has abi3t as well, a free-threaded build (cp315t) no other (PEP 803), also with the platform.
    """
    platform = f"{target.machine}-linux-gnu"
    own = f"cpython-{target.abi.removeprefix('cp')}-{platform}"
    if Version(target.python_version).release < (3, 15):
        return frozenset({own, "abi3"})
    stable = ("abi3t",) if target.abi.endswith("t") else ("abi3", "abi3t")
    return frozenset({own, *stable, *(f"{tag}-{platform}" for tag in stable)})


@dataclass(frozen=True, kw_only=True)
class _Missing:
    """A library that a file needs, and that neither the bundle nor the image is known to have."""

    library: str
    file: NativeFact
    severity: Severity
    reason: str
    """Why it is no error; empty where it is one."""


def shown(paths: Collection[str]) -> str:
    """Return the first few of some paths, in words."""
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(sorted(paths)[:SHOWN]) + more


def missing(lock: Lock, facts: Mapping[str, WheelFacts], linkage: Linkage) -> Iterator[Finding]:
    """Report every library that neither the bundle nor the image is known to have (EB303).

    :param facts: normalised name → facts of its wheel.
    """
    for name in sorted(facts):
        by_library: dict[str, list[_Missing]] = defaultdict(list)
        for fact in facts[name].native:
            for lack in _missing(name, fact, linkage):
                by_library[lack.library].append(lack)
        for library, found in sorted(by_library.items()):
            worst = min(found, key=lambda one: SEVERITIES.index(one.severity))
            files = [one.file.path for one in found if one.severity == worst.severity]
            verb = "needs" if len(files) == 1 else "need"
            cause = f"{shown(files)} {verb} {library}, which {_where_not(worst, linkage)}"
            if worst.reason:
                cause += f"; {worst.reason}"
            remedy = _remedy(name, library, linkage) if worst.severity != "info" else "nothing"
            yield finding(
                "EB303", subject=name, cause=cause, remedy=remedy, lock=lock, severity=worst.severity
            )
    linked = _linked(facts, linkage)
    for library in sorted({need.library for need in linkage.known.needs} - linked):
        need = next(one for one in linkage.known.needs if one.library == library)
        yield finding(
            "EB303",
            subject=need.subject,
            cause=f"{need.reason}, and its import loads {library} of this machine, which "
            f"{_is_where(linkage.known)}; without it: {need.detail}",
            remedy=_remedy(need.subject, library, linkage),
            lock=lock,
            name=need.subject,
        )


def _missing(name: str, fact: NativeFact, linkage: Linkage) -> Iterator[_Missing]:
    if not fits(fact, linkage.target):
        return
    for library in dict.fromkeys(fact.needed):
        if (fact.path, library) in linkage.resolution.found or linkage.known.has(library):
            continue
        severity, reason = _weigh(name, fact, library, linkage)
        yield _Missing(library=library, file=fact, severity=severity, reason=reason)


def _weigh(name: str, fact: NativeFact, library: str, linkage: Linkage) -> tuple[Severity, str]:
    if linkage.resolution.provides(library, fact) and not linkage.known.wants(library):
        # The loader does not search for what is loaded already: many packages load theirs by path before.
        return "info", "the bundle has it in another folder, for code that loads it beforehand"
    if system_libraries.DRIVER.fullmatch(library):
        return "info", "the platform brings it where there is a device"
    if why := system_libraries.optional(name, library):
        return "info", why
    if fact.path in linkage.aside and fact.path not in linkage.reached:
        return "info", "it is a plug-in or a test, which no import loads"
    if fact.program:
        return linkage.weigh_program(fact)
    if fact.path not in linkage.reached and not linkage.known.wants(library):
        return "warning", UNSEEN
    if library in linkage.known.without:
        return "warning", "all that is reached imports without it"
    return "error", ""


def in_optional_folder(path: str) -> bool:
    """Tell whether a file is in a folder of plug-ins or tests."""
    return not system_libraries.OPTIONAL_FOLDERS.isdisjoint(path.split("/")[:-1])


def _where_not(lack: _Missing, linkage: Linkage) -> str:
    known = linkage.known
    if linkage.resolution.provides(lack.library, lack.file):
        return "no search path of it leads to"
    return _is_where(known)


def _is_where(known: KnownLibraries) -> str:
    if known.image and known.image.libraries is not None:
        return f"is neither in the bundle nor in the image {known.image.name}"
    return "is neither in the bundle nor in every image"


def _remedy(name: str, library: str, linkage: Linkage) -> str:
    known = system_libraries.advice(library, distribution=name)
    steps = ["pin a version that has wheels, for this one was built here against this machine's library"]
    steps = [*(steps if name in linkage.built else ()), *([known] if known else ())]
    steps = steps or ["choose another distribution or version, or an image that has it"]
    return f"{'; or '.join(steps)}; if the image has it: --assume-lib {library}"


def search_paths(lock: Lock, facts: Mapping[str, WheelFacts], linkage: Linkage) -> Iterator[Finding]:
    """Report search paths that lead out of the bundle (EB120).

    An error where a library can be found only there; otherwise they have no effect, as in many public wheels.

    :param facts: normalised name → facts of its wheel.
    """
    for name in sorted(facts):
        live: dict[str, set[str]] = defaultdict(set)
        dead: dict[str, set[str]] = defaultdict(set)
        for fact in facts[name].native:
            if not fits(fact, linkage.target):
                continue
            used = any(
                _found_outside(lack, built=name in linkage.built) for lack in _missing(name, fact, linkage)
            )
            for folder in loader.search_path(fact):
                if folder.kind != "inside":
                    found = used and folder.kind != "relative" and not SYSTEM.match(folder.written)
                    (live if found else dead)[folder.written or "(the current folder)"].add(fact.path)
        if live:
            yield _leading_out(lock, name, live, severity="error")
        if dead:
            severity: Severity = "warning" if name in linkage.built else "info"
            yield _leading_out(lock, name, dead, severity=severity)


def _found_outside(lack: _Missing, *, built: bool) -> bool:
    """Tell whether a library may be found only by such a path; well-known ones are found by the system."""
    return lack.severity == "error" and (built or system_libraries.advice(lack.library) is None)


def _leading_out(
    lock: Lock, name: str, entries: Mapping[str, Collection[str]], *, severity: Severity
) -> Finding:
    files = {path for paths in entries.values() for path in paths}
    what = "needs a library that can be only in" if severity == "error" else "would look for libraries in"
    cause = f"{shown(files)} {what} a folder out of the bundle: {', '.join(sorted(entries))}"
    remedy = None if severity == "error" else "nothing: no library comes from there"
    return finding("EB120", subject=name, cause=cause, remedy=remedy, lock=lock, severity=severity)
