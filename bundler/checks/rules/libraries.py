"""EB303 and EB120: the libraries that native files need, and the folders in which they look for them."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.bundle.needs import fits
from bundler.checks.rules import loader, system_libraries
from bundler.checks.rules.codes import finding
from bundler.model import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from bundler.checks.imports.evidence import ImportEvidence
    from bundler.checks.rules.loader import Resolution
    from bundler.model import Finding, Lock, NativeFact, Severity, Target, WheelFacts
    from bundler.targets.image import Image

CODES = ("EB120", "EB303")
SHOWN = 3
"""Files that a finding names."""
UNSEEN = "nothing loaded it while everything was imported"
TAG = re.compile(r"\.(?P<tag>cpython-\d+[a-z]*(-[\w-]+)?|pypy[\w-]+|graalpy[\w-]+|abi3)\.so$")
SYSTEM = re.compile(r"/(usr/)?lib(32|64|x32)?(/[a-z0-9_]+-linux-gnu)?/*$")
"""Where the loader looks anyway."""
_WANTED = re.compile(r"(?:^|[\s:])([^\s:/]+\.so[\w.]*): cannot open shared object file")


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the image is known to have besides the core, and what the import proof saw."""

    profile: Image | None = None
    assumed: tuple[str, ...] = ()
    """SONAMEs that the caller says are there."""
    mapped: tuple[str, ...] = ()
    """SONAMEs of the system's libraries that the imports loaded or asked for."""
    loaded: tuple[str, ...] = ()
    """Files of the bundle that the imports loaded."""
    without: tuple[str, ...] = ()
    """`distribution:SONAME` of what only an optional part misses (`without.retry`)."""

    def has(self, library: str) -> bool:
        """Tell whether the image has a library, as far as anybody says so."""
        known = self.profile.libraries if self.profile else None
        return (
            system_libraries.CORE.fullmatch(library) is not None
            or library in self.assumed
            or (known is not None and library in known)
        )

    def wants(self, library: str) -> bool:
        """Tell whether the imports loaded or asked for a library; `libgomp.so.1` is libgomp.so.1.0.0 too."""
        return any(library == one or library.startswith(f"{one}.") for one in self.mapped)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The native files of a bundle and what the loader makes of them."""

    target: Target
    resolution: Resolution
    around: Surroundings
    built: frozenset[str]
    """Names of the distributions that were built here."""
    reached: frozenset[str]
    """Paths of what an import can load: extension modules, what was seen, and what these need."""
    aside: frozenset[str]
    """Paths of plug-ins and tests, and what these need: no import loads them unasked."""


def scene(
    facts: Mapping[str, WheelFacts], *, target: Target, around: Surroundings, built: Collection[str]
) -> Scene:
    """Follow what every native file needs.

    :param facts: normalised name → facts of its wheel.
    """
    native = [fact for one in facts.values() for fact in one.native]
    resolution = loader.resolve(native)
    aside = {fact.path for fact in native if in_optional_folder(fact.path)}
    modules = {
        fact.path for one in facts.values() for fact in one.native if is_extension(fact.path, one, target)
    }
    return Scene(
        target=target,
        resolution=resolution,
        around=around,
        built=frozenset(built),
        reached=loader.closure(resolution, (modules - aside) | set(around.loaded)),
        aside=loader.closure(resolution, aside),
    )


def asked_for(proof: ImportEvidence) -> tuple[str, ...]:
    """Return the SONAMEs of the system that the imports loaded, or failed for want of."""
    wanted = {match[1] for failure in proof.failures for match in _WANTED.finditer(failure.detail)}
    return (*proof.libraries, *sorted(wanted))


def is_extension(path: str, facts: WheelFacts, target: Target) -> bool:
    """Tell whether a file is named as a module that the target's Python imports."""
    if match := TAG.search(path):
        return match["tag"] in accepted_tags(target)
    inner = path.removeprefix(f"{target.site_packages}/").removesuffix(".so")
    return path.endswith(".so") and inner.replace("/", ".") in facts.modules


def accepted_tags(target: Target) -> frozenset[str]:
    """Return the tags of `importlib.machinery.EXTENSION_SUFFIXES` there: cp37m is spelled cpython-37m."""
    return frozenset({f"cpython-{target.abi.removeprefix('cp')}-{target.machine}-linux-gnu", "abi3"})


@dataclass(frozen=True, kw_only=True)
class _Lack:
    """A library that a file needs and nothing gives."""

    library: str
    file: NativeFact
    severity: Severity
    reason: str
    """Why it is no error; empty where it is one."""


def shown(paths: Collection[str]) -> str:
    """Return the first few of some paths, in words."""
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(sorted(paths)[:SHOWN]) + more


def missing(lock: Lock, facts: Mapping[str, WheelFacts], scene: Scene) -> tuple[Finding, ...]:
    """Report every library that a distribution needs and that nothing is known to give (EB303).

    :param facts: normalised name → facts of its wheel.
    """
    findings = []
    for name in sorted(facts):
        by_library: dict[str, list[_Lack]] = defaultdict(list)
        for fact in facts[name].native:
            for lack in _lacks(name, fact, scene):
                by_library[lack.library].append(lack)
        for library, lacks in sorted(by_library.items()):
            worst = min(lacks, key=lambda one: SEVERITIES.index(one.severity))
            files = [one.file.path for one in lacks if one.severity == worst.severity]
            verb = "needs" if len(files) == 1 else "need"
            cause = f"{shown(files)} {verb} {library}, which {_where_not(worst, scene)}"
            if worst.reason:
                cause += f"; {worst.reason}"
            remedy = _remedy(library, built=name in scene.built) if worst.severity != "info" else "nothing"
            findings.append(
                finding(
                    "EB303",
                    subject=name,
                    cause=cause,
                    remedy=remedy,
                    lock=lock,
                    severity=worst.severity,
                )
            )
    return tuple(findings)


def lacking(facts: Mapping[str, WheelFacts], scene: Scene) -> frozenset[tuple[str, str]]:
    """Return (distribution, SONAME) of every library whose absence is an error."""
    return frozenset(
        (name, lack.library)
        for name, one in facts.items()
        for fact in one.native
        for lack in _lacks(name, fact, scene)
        if lack.severity == "error"
    )


def _lacks(name: str, fact: NativeFact, scene: Scene) -> Iterator[_Lack]:
    if not fits(fact, scene.target):
        return
    for library in dict.fromkeys(fact.needed):
        if (fact.path, library) in scene.resolution.found or scene.around.has(library):
            continue
        severity, reason = _weigh(name, fact, library, scene)
        yield _Lack(library=library, file=fact, severity=severity, reason=reason)


def _weigh(name: str, fact: NativeFact, library: str, scene: Scene) -> tuple[Severity, str]:
    if scene.resolution.provides(library, fact) and not scene.around.wants(library):
        # What is loaded already is not looked for again: many packages load theirs by path beforehand.
        return "info", "the bundle has it in another folder, for code that loads it beforehand"
    if system_libraries.DRIVER.fullmatch(library):
        return "info", "the platform brings it where there is a device"
    if why := system_libraries.optional(name, library):
        return "info", why
    if fact.path in scene.aside and fact.path not in scene.reached:
        return "info", "it is a plug-in or a test, which no import loads"
    if fact.program:
        return "warning", "it is a program, and will not start"
    if fact.path not in scene.reached and not scene.around.wants(library):
        return "warning", UNSEEN
    if f"{name}:{library}" in scene.around.without:
        return "warning", "everything imports without it, but for that optional part"
    return "error", ""


def in_optional_folder(path: str) -> bool:
    """Tell whether a file lies where plug-ins and tests do."""
    return not system_libraries.OPTIONAL_FOLDERS.isdisjoint(path.split("/")[:-1])


def _where_not(lack: _Lack, scene: Scene) -> str:
    around = scene.around
    if scene.resolution.provides(lack.library, lack.file):
        return "no search path of it leads to"
    if around.profile and around.profile.libraries is not None:
        return f"is neither in the bundle nor in the image {around.profile.name}"
    return "is neither in the bundle nor in every image"


def _remedy(library: str, *, built: bool) -> str:
    known = system_libraries.advice(library)
    steps = ["pin a version that has wheels, for this one was built here against this machine's library"]
    steps = [*(steps if built else ()), *([known] if known else ())]
    steps = steps or ["choose another distribution or version, or an image that has it"]
    return f"{'; or '.join(steps)}; if the image has it: --assume-lib {library}"


def search_paths(lock: Lock, facts: Mapping[str, WheelFacts], scene: Scene) -> tuple[Finding, ...]:
    """Report search paths that lead out of the bundle (EB120).

    An error where only they can find a library; else they are dead, as in many public wheels.

    :param facts: normalised name → facts of its wheel.
    """
    findings = []
    for name in sorted(facts):
        live: dict[str, set[str]] = defaultdict(set)
        dead: dict[str, set[str]] = defaultdict(set)
        for fact in facts[name].native:
            if not fits(fact, scene.target):
                continue
            used = any(_found_outside(lack, built=name in scene.built) for lack in _lacks(name, fact, scene))
            for folder in loader.search_path(fact):
                if folder.place != "inside":
                    found = used and folder.place != "relative" and not SYSTEM.match(folder.written)
                    (live if found else dead)[folder.written or "(the current folder)"].add(fact.path)
        if live:
            findings.append(_leading_out(lock, name, live, severity="error"))
        if dead:
            severity: Severity = "warning" if name in scene.built else "info"
            findings.append(_leading_out(lock, name, dead, severity=severity))
    return tuple(findings)


def _found_outside(lack: _Lack, *, built: bool) -> bool:
    """Tell whether a library may come from such a path: one that systems have comes from there."""
    return lack.severity == "error" and (built or system_libraries.advice(lack.library) is None)


def _leading_out(
    lock: Lock, name: str, entries: Mapping[str, Collection[str]], *, severity: Severity
) -> Finding:
    files = {path for paths in entries.values() for path in paths}
    what = "needs a library that can be only in" if severity == "error" else "would look for libraries in"
    cause = f"{shown(files)} {what} a folder out of the bundle: {', '.join(sorted(entries))}"
    remedy = None if severity == "error" else "nothing: no library comes from there"
    return finding("EB120", subject=name, cause=cause, remedy=remedy, lock=lock, severity=severity)
