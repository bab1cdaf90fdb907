"""EB3xx: what does not fit the target: tags, Python, processor, symbol versions, names of modules."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from bundler import elf
from bundler.checks import libraries, loader, systemlibs
from bundler.checks.codes import finding
from bundler.checks.libraries import Surroundings, fits, shown
from bundler.target import supports

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from bundler.checks.loader import Resolution
    from bundler.model import Finding, Lock, NativeFact, Severity, Target, WheelFacts

CODES = (*libraries.CODES, "EB301", "EB302", "EB304", "EB305", "EB306", "EB307", "EB310")
_VERSION = re.compile(r"(?P<library>[^:]+):(?P<family>GLIBC|GLIBCXX|CXXABI|GCC)_(?P<number>\d+(\.\d+)*)")
_FEATURE = re.compile(r"(?P<library>[^:]+):GLIBC_(?P<feature>ABI_\w+)")
_TAG = re.compile(r"\.(?P<tag>cpython-\d+[a-z]*(-[\w-]+)?|pypy[\w-]+|graalpy[\w-]+|abi3)\.so$")


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
    resolution = loader.resolve(fact for one in facts.values() for fact in one.native)
    around = around or Surroundings()
    return (
        *tags(lock, facts, target),
        *requires_python(lock, facts, target),
        *unloadable(lock, facts, target),
        *extension_names(lock, facts, target),
        *symbol_versions(lock, facts, target, resolution=resolution, built=built),
        *libraries.missing(lock, facts, target=target, resolution=resolution, around=around, built=built),
        *libraries.search_paths(
            lock, facts, target=target, resolution=resolution, around=around, built=built
        ),
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


def symbol_versions(
    lock: Lock,
    facts: Mapping[str, WheelFacts],
    target: Target,
    *,
    resolution: Resolution,
    built: Collection[str],
) -> tuple[Finding, ...]:
    """Compare the symbol versions that files need with what the target has (EB301, EB302)."""
    limits = _limits(target.glibc)
    findings = []
    for name in sorted(facts):
        above: dict[str, dict[tuple[int, ...], set[str]]] = defaultdict(lambda: defaultdict(set))
        for fact in facts[name].native:
            if not fits(fact, target):
                continue
            for library, family, version in _needs(fact):
                # A copy of the library that comes with the bundle has what it needs.
                if version > limits[family] and (fact.path, library) not in resolution.found:
                    above[family][version].add(fact.path)
        for family, versions in sorted(above.items()):
            highest = max(versions)
            findings.append(
                _too_new(lock, name, family, highest, versions[highest], target=target, built=name in built)
            )
    return tuple(findings)


def _limits(glibc: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    compiler = systemlibs.compiler(glibc)
    return {
        "GLIBC": glibc,
        "GLIBCXX": compiler.glibcxx,
        "CXXABI": compiler.cxxabi,
        "GCC": compiler.gcc,
    }


def _needs(fact: NativeFact) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Yield library, family and number of the versions that are compared."""
    for text in fact.versions:
        if match := _VERSION.fullmatch(text):
            yield match["library"], match["family"], tuple(map(int, match["number"].split(".")))
        elif feature := _FEATURE.fullmatch(text):
            yield feature["library"], "GLIBC", systemlibs.GLIBC_ABI.get(feature["feature"], (0,))


def _too_new(
    lock: Lock,
    name: str,
    family: str,
    version: tuple[int, ...],
    files: Collection[str],
    *,
    target: Target,
    built: bool,
) -> Finding:
    needs = f"{shown(files)} needs {family}_{_dotted(version)}"
    remedy = None
    if family == "GLIBC":
        cause = f"{needs}; the target has glibc {_dotted(target.glibc)} ({target.glibc_reason})"
        if built:
            remedy = "it was built here, with this machine's C library: pin a version that has wheels"
    else:
        source = systemlibs.compiler(target.glibc).source
        limit = _dotted(_limits(target.glibc)[family])
        cause = f"{needs}; an image with glibc {_dotted(target.glibc)} has {family}_{limit} ({source})"
        if built:
            remedy = "it was built here, with this machine's compiler: pin a version that has wheels"
    code = "EB301" if family == "GLIBC" else "EB302"
    return finding(code, subject=name, cause=cause, remedy=remedy, lock=lock)


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
            imported = _is_extension(fact.path, one, target) or posixpath.basename(fact.path) in needed
            severity = _gravity(fact, imported=imported, executable=fact.path in executable, ours=ours)
            by_severity[severity].append(f"{fact.path}: {why}")
        for severity, said in sorted(by_severity.items()):
            remedy = "nothing: nobody loads it on the target" if severity == "info" else None
            findings.append(
                finding("EB304", subject=name, cause=shown(said), remedy=remedy, lock=lock, severity=severity)
            )
    return tuple(findings)


def _gravity(fact: NativeFact, *, imported: bool, executable: bool, ours: bool) -> Severity:
    if systemlibs.OPTIONAL_FOLDERS & set(fact.path.split("/")[:-1]):
        return "info"
    if imported:
        return "error"
    if fact.problem:
        damaged = fact.problem != elf.NOT_ELF and (executable or elf.NAMED_SO.search(fact.path))
        return "error" if damaged else "info"
    return "info" if fact.program or ours else "warning"


def _is_extension(path: str, facts: WheelFacts, target: Target) -> bool:
    """Tell whether a file is named as a module that the target's Python imports."""
    if match := _TAG.search(path):
        return match["tag"] in _accepted(target)
    inner = path.removeprefix(f"{target.site_packages}/").removesuffix(".so")
    return path.endswith(".so") and inner.replace("/", ".") in facts.modules


def _accepted(target: Target) -> frozenset[str]:
    """Return the tags of `importlib.machinery.EXTENSION_SUFFIXES` there: cp37m is spelled cpython-37m."""
    return frozenset({f"cpython-{target.abi.removeprefix('cp')}-{target.machine}-linux-gnu", "abi3"})


def extension_names(lock: Lock, facts: Mapping[str, WheelFacts], target: Target) -> tuple[Finding, ...]:
    """Report extension modules that are named for another Python or platform (EB305).

    Information where the distribution has the same module for this Python, or in Python, as well.
    """
    accepted = _accepted(target)
    findings = []
    for name, one in sorted(facts.items()):
        foreign: dict[str, str] = {}
        known = {file.path.removesuffix(".py") for file in one.files if file.path.endswith(".py")}
        known_names: set[str] = set()
        for fact in one.native:
            match = _TAG.search(fact.path)
            if match and match["tag"] not in accepted:
                foreign[fact.path] = fact.path[: match.start()]
            elif fact.path.endswith(".so"):
                known_names.add(posixpath.basename(fact.path[: match.start()] if match else fact.path[:-3]))
        useless = {
            path
            for path, stem in foreign.items()
            if stem in known
            or posixpath.basename(stem) in known_names
            or systemlibs.OPTIONAL_FOLDERS & set(path.split("/")[:-1])
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
        refused = stacks and target.glibc >= systemlibs.STRICT_STACK
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
