"""EB3xx: what does not fit the target: tags, Python, processor, symbol versions, names of modules."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from bundler.bundle.needs import fits, symbols
from bundler.checks.rules import libraries, system_libraries
from bundler.checks.rules.codes import finding
from bundler.checks.rules.libraries import Surroundings, shown
from bundler.targets.target import supports
from bundler.wheels import elf

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from bundler.checks.rules.libraries import Scene
    from bundler.model import Finding, Lock, NativeFact, Severity, Target, WheelFacts

CODES = (*libraries.CODES, "EB301", "EB302", "EB304", "EB305", "EB306", "EB307", "EB310")


def check(
    lock: Lock,
    facts: Mapping[str, WheelFacts],
    *,
    target: Target,
    built: Collection[str] = (),
    around: Surroundings | None = None,
) -> tuple[Finding, ...]:
    """Run every check of native files, tags and Requires-Python.

    :param facts: normalised name → facts of its wheel.
    :param built: names of the distributions that were built here.
    """
    scene = libraries.scene(facts, target=target, around=around or Surroundings(), built=built)
    return (
        *tags(lock, facts, target),
        *requires_python(lock, facts, target),
        *unloadable(lock, facts, target),
        *extension_names(lock, facts, target),
        *symbol_versions(lock, facts, scene),
        *libraries.missing(lock, facts, scene),
        *libraries.search_paths(lock, facts, scene),
        *executable_memory(lock, facts, target),
    )


def tags(lock: Lock, facts: Mapping[str, WheelFacts], target: Target) -> tuple[Finding, ...]:
    """Check every wheel's tags, as its filename has them (EB306)."""
    return tuple(
        finding(
            "EB306",
            subject=name,
            cause=f"{one.filename} is not for CPython {target.minor} on {target.machine} with glibc "
            f"{_dotted(target.glibc)}",
            lock=lock,
        )
        for name, one in sorted(facts.items())
        if not supports(target, one.filename)
    )


def requires_python(lock: Lock, facts: Mapping[str, WheelFacts], target: Target) -> tuple[Finding, ...]:
    """Check every wheel's Requires-Python; what is no specifier counts for nothing, as with pip (EB307)."""
    findings = []
    for name, one in sorted(facts.items()):
        try:
            specifiers = SpecifierSet(one.requires_python or "")
        except InvalidSpecifier:
            continue
        if not specifiers.contains(target.python_version, prereleases=True):
            cause = (
                f"{name} {one.version} requires Python {specifiers}; the target has {target.python_version}"
            )
            findings.append(finding("EB307", subject=name, cause=cause, lock=lock))
    return tuple(findings)


def symbol_versions(lock: Lock, facts: Mapping[str, WheelFacts], scene: Scene) -> tuple[Finding, ...]:
    """Compare the symbol versions that files need with what the target has (EB301, EB302).

    One finding for the highest version of a kind; files that no import loads count only by themselves.
    """
    limits = _limits(scene)
    findings = []
    for name in sorted(facts):
        above: dict[tuple[str, Severity], dict[tuple[int, ...], set[str]]] = {}
        for fact in facts[name].native:
            if not fits(fact, scene.target):
                continue
            severity = _danger(fact, scene)
            for library, family, version in symbols(fact):
                # A copy of the library that comes with the bundle has what it needs.
                if version > limits[family] and (fact.path, library) not in scene.resolution.found:
                    files = above.setdefault((family, severity), {}).setdefault(version, set())
                    files.add(fact.path)
        for (family, severity), versions in sorted(above.items()):
            if severity == "error" or (family, "error") not in above:
                findings.append(_too_new(lock, name, family, versions, scene, severity=severity))
    return tuple(findings)


def _danger(fact: NativeFact, scene: Scene) -> Severity:
    """Tell what it means that a file cannot be loaded."""
    if fact.program or fact.path in scene.reached:
        return "error"
    return "info" if libraries.in_optional_folder(fact.path) else "warning"


def _limits(scene: Scene) -> dict[str, tuple[int, ...]]:
    """The newest version of each kind: of the image as far as it is known, else of images with that glibc."""
    compiler = system_libraries.compiler(scene.target.glibc)
    return {
        "GLIBC": scene.target.glibc,
        "GLIBCXX": compiler.glibcxx,
        "CXXABI": compiler.cxxabi,
        "GCC": compiler.gcc,
        **_known(scene),
    }


def _known(scene: Scene) -> dict[str, tuple[int, ...]]:
    profile = scene.around.profile
    said = {"GLIBCXX": profile.target.glibcxx, "CXXABI": profile.target.cxxabi} if profile else {}
    return {family: version for family, version in said.items() if version}


def _too_new(
    lock: Lock,
    name: str,
    family: str,
    versions: Mapping[tuple[int, ...], Collection[str]],
    scene: Scene,
    *,
    severity: Severity,
) -> Finding:
    glibc = _dotted(scene.target.glibc)
    highest = max(versions)
    files = versions[highest]
    needs = f"{shown(files)} {'needs' if len(files) == 1 else 'need'} {family}_{_dotted(highest)}"
    if family == "GLIBC":
        has = f"the target has glibc {glibc} ({scene.target.glibc_reason})"
    else:
        limit = _dotted(_limits(scene)[family])
        source = system_libraries.compiler(scene.target.glibc).source
        has = f"an image with glibc {glibc} has {family}_{limit} ({source})"
        if scene.around.profile and family in _known(scene):
            has = f"the image {scene.around.profile.name} has {family}_{limit}"
    remedy = None
    if severity == "info":
        remedy = "nothing: it is a plug-in or a test, which no import loads"
    elif name in scene.built:
        remedy = "it was built here, by this machine's compiler and libraries: pin a version that has wheels"
    return finding(
        "EB301" if family == "GLIBC" else "EB302",
        subject=name,
        cause=f"{needs}; {has}" + ("" if severity == "error" else f"; {libraries.UNSEEN}"),
        remedy=remedy,
        lock=lock,
        severity=severity,
    )


def unloadable(lock: Lock, facts: Mapping[str, WheelFacts], target: Target) -> tuple[Finding, ...]:
    """Report files that the loader cannot take: of another processor, cut off, no ELF (EB304).

    One finding a distribution and severity. Files that nothing loads here (firmware, the libraries for
    other processors beside those for this one) are information.
    """
    needed = {library for one in facts.values() for fact in one.native for library in fact.needed}
    findings = []
    for name, one in sorted(facts.items()):
        by_severity: dict[Severity, list[str]] = defaultdict(list)
        ours = any(fits(fact, target) for fact in one.native)
        executable = {file.path for file in one.files if file.executable}
        for fact in one.native:
            if fits(fact, target):
                continue
            why = fact.problem or f"it is for {fact.machine}, {fact.bits} bits"
            imported = (
                libraries.is_extension(fact.path, one, target) or posixpath.basename(fact.path) in needed
            )
            severity = _gravity(fact, imported=imported, executable=fact.path in executable, ours=ours)
            by_severity[severity].append(f"{fact.path}: {why}")
        for severity, said in sorted(by_severity.items()):
            remedy = "nothing: nobody loads it on the target" if severity == "info" else None
            findings.append(
                finding("EB304", subject=name, cause=shown(said), remedy=remedy, lock=lock, severity=severity)
            )
    return tuple(findings)


def _gravity(fact: NativeFact, *, imported: bool, executable: bool, ours: bool) -> Severity:
    if libraries.in_optional_folder(fact.path):
        return "info"
    if imported:
        return "error"
    if fact.problem:
        damaged = fact.problem != elf.NOT_ELF and (executable or elf.NAMED_SO.search(fact.path))
        return "error" if damaged else "info"
    return "info" if fact.program or ours else "warning"


def extension_names(lock: Lock, facts: Mapping[str, WheelFacts], target: Target) -> tuple[Finding, ...]:
    """Report extension modules that are named for another Python or platform (EB305).

    Information where the distribution has the same module for this Python, or in Python, as well.
    """
    accepted = libraries.accepted_tags(target)
    findings = []
    for name, one in sorted(facts.items()):
        foreign: dict[str, str] = {}
        known = {file.path.removesuffix(".py") for file in one.files if file.path.endswith(".py")}
        known_names: set[str] = set()
        for fact in one.native:
            match = libraries.TAG.search(fact.path)
            if match and match["tag"] not in accepted:
                foreign[fact.path] = fact.path[: match.start()]
            elif fact.path.endswith(".so"):
                known_names.add(posixpath.basename(fact.path[: match.start()] if match else fact.path[:-3]))
        useless = {
            path
            for path, stem in foreign.items()
            if stem in known or posixpath.basename(stem) in known_names or libraries.in_optional_folder(path)
        }
        groups: list[tuple[set[str], Severity | None]] = [(set(foreign) - useless, None), (useless, "info")]
        for paths, severity in groups:
            if paths:
                cause = f"{shown(paths)}: CPython {target.minor} does not import a file of that name"
                remedy = "nothing: the module is there for this Python as well" if severity else None
                findings.append(
                    finding("EB305", subject=name, cause=cause, remedy=remedy, lock=lock, severity=severity)
                )
    return tuple(findings)


def executable_memory(lock: Lock, facts: Mapping[str, WheelFacts], target: Target) -> tuple[Finding, ...]:
    """Report libraries that ask for an executable stack, or are writable and executable (EB310)."""
    findings = []
    for name, one in sorted(facts.items()):
        loaded = [fact for fact in one.native if fits(fact, target) and not fact.program]
        stacks = {fact.path for fact in loaded if fact.executable_stack}
        writable = {fact.path for fact in loaded if fact.writable_code}
        refused = stacks and target.glibc >= system_libraries.STRICT_STACK
        if stacks:
            cause = f"{shown(stacks)} asks for an executable stack"
            cause += f", which glibc {_dotted(target.glibc)} refuses" if refused else ""
            severity: Severity = "error" if refused else "warning"
            findings.append(finding("EB310", subject=name, cause=cause, lock=lock, severity=severity))
        if writable:
            cause = f"{shown(writable)} has a segment that is both writable and executable"
            findings.append(finding("EB310", subject=name, cause=cause, lock=lock))
    return tuple(findings)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
