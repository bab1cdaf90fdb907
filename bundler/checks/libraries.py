"""EB303 and EB120: the libraries that native files need, and the folders in which they look for them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.checks import loader, systemlibs
from bundler.checks.codes import finding

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from bundler.checks.loader import Resolution
    from bundler.model import Finding, ImageProfile, Lock, NativeFact, Severity, Target, WheelFacts

CODES = ("EB120", "EB303")
_GRAVITY: dict[Severity, int] = {"error": 0, "warning": 1, "info": 2}
SHOWN = 3
"""Files that a finding names."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the image is known to have besides the core, and what the import proof saw."""

    profile: ImageProfile | None = None
    assumed: tuple[str, ...] = ()
    """SONAMEs that the caller says are there."""
    mapped: tuple[str, ...] = ()
    """SONAMEs of the builder's system that the imports loaded."""

    def has(self, library: str) -> bool:
        """Tell whether the image has a library, as far as anybody says so."""
        known = self.profile.libraries if self.profile else None
        return (
            systemlibs.CORE.fullmatch(library) is not None
            or library in self.assumed
            or (known is not None and library in known)
        )


@dataclass(frozen=True, kw_only=True)
class _Lack:
    """A library that a file needs and nothing gives."""

    library: str
    file: NativeFact
    severity: Severity
    reason: str
    """Why it is no error; empty where it is one."""


def fits(fact: NativeFact, target: Target) -> bool:
    """Tell whether a file is for the target's processor."""
    return not fact.problem and (fact.machine, fact.bits) == (target.machine, target_bits(target))


def target_bits(target: Target) -> int:
    """Return the width of the target's addresses."""
    return 32 if target.machine in {"i686", "armv7l"} else 64


def shown(paths: Collection[str]) -> str:
    """Return the first few of some paths, in words."""
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(sorted(paths)[:SHOWN]) + more


def missing(
    lock: Lock,
    facts: Mapping[str, WheelFacts],
    *,
    target: Target,
    resolution: Resolution,
    around: Surroundings,
    built: Collection[str],
) -> tuple[Finding, ...]:
    """Report every library that a distribution needs and that nothing is known to give (EB303).

    :param facts: normalised name → facts of its wheel.
    :param built: names of the distributions that were built here.
    """
    findings = []
    for name in sorted(facts):
        by_library: dict[str, list[_Lack]] = defaultdict(list)
        for fact in facts[name].native:
            if fits(fact, target):
                for lack in _lacks(name, fact, resolution, around):
                    by_library[lack.library].append(lack)
        for library, lacks in sorted(by_library.items()):
            worst = min(lacks, key=lambda one: _GRAVITY[one.severity])
            files = [one.file.path for one in lacks if one.severity == worst.severity]
            cause = f"{shown(files)} needs {library}, which {_where_not(library, around, resolution)}"
            if worst.reason:
                cause += f"; {worst.reason}"
            remedy = _remedy(library, built=name in built) if worst.severity != "info" else "nothing"
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


def _lacks(name: str, fact: NativeFact, resolution: Resolution, around: Surroundings) -> Iterator[_Lack]:
    for library in dict.fromkeys(fact.needed):
        if (fact.path, library) in resolution.found or around.has(library):
            continue
        severity, reason = _weigh(name, fact, library, resolution, around)
        yield _Lack(library=library, file=fact, severity=severity, reason=reason)


def _weigh(
    name: str, fact: NativeFact, library: str, resolution: Resolution, around: Surroundings
) -> tuple[Severity, str]:
    if library in resolution.provided and library not in around.mapped:
        # What is loaded already is not looked for again: many packages load theirs by path beforehand.
        return "info", "the bundle has it in another folder, for code that loads it beforehand"
    if systemlibs.DRIVER.fullmatch(library):
        return "info", "the platform brings it where there is a device"
    if (name, library) in systemlibs.OPTIONAL:
        return "info", systemlibs.OPTIONAL[name, library]
    if systemlibs.OPTIONAL_FOLDERS & set(fact.path.split("/")[:-1]):
        return "info", "it is a plug-in or a test, which no import loads"
    if fact.program:
        return "warning", "it is a program, and will not start"
    return "error", ""


def _where_not(library: str, around: Surroundings, resolution: Resolution) -> str:
    if library in resolution.provided:
        return "no search path of it leads to"
    if around.profile and around.profile.libraries is not None:
        return f"is neither in the bundle nor in the image {around.profile.name}"
    return "is neither in the bundle nor in every image"


def _remedy(library: str, *, built: bool) -> str:
    known = systemlibs.advice(library)
    steps = ["pin a version that has wheels, for this one was built here against this machine's library"]
    steps = [*(steps if built else ()), *([known] if known else ())]
    steps = steps or ["choose another distribution or version, or an image that has it"]
    return f"{'; or '.join(steps)}; if the image has it: --assume-lib {library}"


def search_paths(
    lock: Lock,
    facts: Mapping[str, WheelFacts],
    *,
    target: Target,
    resolution: Resolution,
    around: Surroundings,
    built: Collection[str],
) -> tuple[Finding, ...]:
    """Report search paths that lead out of the bundle (EB120).

    An error where a library is found by them alone; else they are dead, which many public wheels' are.

    :param facts: normalised name → facts of its wheel.
    :param built: names of the distributions that were built here.
    """
    findings = []
    for name in sorted(facts):
        live: dict[str, set[str]] = defaultdict(set)
        dead: dict[str, set[str]] = defaultdict(set)
        for fact in facts[name].native:
            if not fits(fact, target):
                continue
            leading_out = sorted(
                {folder.written for folder in loader.search_path(fact) if folder.place != "inside"}
            )
            lacks = [one for one in _lacks(name, fact, resolution, around) if one.severity != "info"]
            for entry in leading_out:
                (live if lacks else dead)[entry or "(the current folder)"].add(fact.path)
        if live:
            findings.append(_leading_out(lock, name, live, severity="error"))
        if dead:
            severity: Severity = "warning" if name in built else "info"
            findings.append(_leading_out(lock, name, dead, severity=severity))
    return tuple(findings)


def _leading_out(
    lock: Lock, name: str, entries: Mapping[str, Collection[str]], *, severity: Severity
) -> Finding:
    files = {path for paths in entries.values() for path in paths}
    verb = "finds libraries only by" if severity == "error" else "has"
    cause = f"{shown(files)} {verb} a search path that leads out of the bundle: {', '.join(sorted(entries))}"
    remedy = None if severity == "error" else "nothing: every library is found without it"
    return finding("EB120", subject=name, cause=cause, remedy=remedy, lock=lock, severity=severity)
