"""EB3xx: what does not fit the target: tags, Python, processor, symbol versions, names of modules."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from bundler.bundle.needs import fits, symbols
from bundler.checks.rules import libraries, system_libraries
from bundler.checks.rules.codes import finding
from bundler.checks.rules.libraries import Linkage, shown
from bundler.model import Finding, Lock, LockedDistribution, NativeFact, Severity, Target, WheelFacts
from bundler.targets.target import permits, supports
from bundler.wheels import elf

if TYPE_CHECKING:
    from bundler.checks.rules.unversioned import Needs
    from bundler.targets.image import Image

CODES = (*libraries.CODES, "EB301", "EB302", "EB304", "EB305", "EB306", "EB307", "EB310")


def check(
    lock: Lock, facts: Mapping[str, WheelFacts], linkage: Linkage, *, unversioned: Needs | None = None
) -> Iterator[Finding]:
    """Run every check of native files, tags and Requires-Python.

    :param facts: normalised name → facts of its wheel.
    :param unversioned: what files need besides, and name no version of.
    """
    yield from tags(lock, facts, linkage)
    yield from requires_python(lock, facts, linkage.target)
    yield from unloadable(lock, facts, linkage.target)
    yield from extension_names(lock, facts, linkage.target)
    yield from symbol_versions(lock, facts, linkage, unversioned or {})
    yield from libraries.missing(lock, facts, linkage)
    yield from libraries.search_paths(lock, facts, linkage)
    yield from executable_memory(lock, facts, linkage.target)


def tags(lock: Lock, facts: Mapping[str, WheelFacts], linkage: Linkage) -> Iterator[Finding]:
    """Check every wheel's tags, as its filename has them (EB306).

    What the target's Python built here without machine code is for it, whatever tag of Python its author
    fixed: kinto 4.3.1 becomes `cp2.cp3-none-any`, and pip installs what it built without a look at the tag.
    """
    target = linkage.target
    for name, one in sorted(facts.items()):
        own = name in linkage.built and one.filename.endswith("-none-any.whl")
        if not own and not supports(target, one.filename):
            cause = f"{one.filename} is not for CPython {target.minor} on {target.machine} with glibc "
            yield finding("EB306", subject=name, cause=cause + _dotted(target.glibc), lock=lock)


def requires_python(lock: Lock, facts: Mapping[str, WheelFacts], target: Target) -> Iterator[Finding]:
    """Check every wheel's Requires-Python; an invalid specifier counts as none, as with pip (EB307)."""
    for name, one in sorted(facts.items()):
        if not permits(one.requires_python or "", target.python_version):
            cause = f"{name} {one.version} requires Python {one.requires_python}; "
            cause += f"the target has {target.python_version}"
            yield finding("EB307", subject=name, cause=cause, lock=lock)


def symbol_versions(
    lock: Lock, facts: Mapping[str, WheelFacts], linkage: Linkage, unversioned: Needs
) -> Iterator[Finding]:
    """Compare the symbol versions that files need with what the target has (EB301, EB302).

    One finding a distribution and family, for the highest version. Files that no import loads are reported
    only where no others of the distribution are.
    """
    limits = _limits(linkage)
    for name in sorted(facts):
        above: dict[tuple[str, Severity, str], dict[tuple[int, ...], set[str]]] = {}
        for fact in facts[name].native:
            if not fits(fact, linkage.target):
                continue
            severity, reason = _severity(fact, linkage)
            unnamed = unversioned.get(fact.path, ())
            for library, family, version in (*symbols(fact), *(row[1:] for row in unnamed)):
                # A copy of the library in the bundle has what the file needs.
                if version > limits[family][0] and (fact.path, library) not in linkage.resolution.found:
                    above.setdefault((family, severity, reason), {}).setdefault(version, set()).add(fact.path)
        for (family, severity, reason), versions in sorted(above.items()):
            if severity != "error" and (family, "error", "") in above:
                continue
            highest, files = max(versions.items())
            cause = f"{shown(files)} {'needs' if len(files) == 1 else 'need'} {family}_{_dotted(highest)}"
            cause += _of_unnamed(unversioned, files, (family, highest)) + "; "
            remedy = None
            if severity == "info":
                remedy = "nothing: it is a plug-in or a test, which no import loads"
            elif name in linkage.built:
                remedy = "it was built here, by this machine's compiler and libraries: "
                remedy += "pin a version that has wheels, or build its wheel in an image like the target and "
                remedy += "give it with --find-links"
            yield finding(
                "EB301" if family == "GLIBC" else "EB302",
                subject=name,
                cause=cause + limits[family][1] + (f"; {reason}" if reason else ""),
                remedy=remedy,
                lock=lock,
                severity=severity,
            )


def _of_unnamed(unversioned: Needs, files: Iterable[str], wanted: tuple[str, tuple[int, ...]]) -> str:
    """Return which symbols of a version the files need without naming it, in words."""
    names = {row[0] for path in files for row in unversioned.get(path, ()) if row[2:] == wanted}
    return f" ({shown(names)}, without naming that version)" if names else ""


def _severity(fact: NativeFact, linkage: Linkage) -> tuple[Severity, str]:
    """Return how bad it is that a file cannot be loaded, and why it is no error."""
    if fact.program:
        return linkage.weigh_program(fact)
    if fact.path in linkage.reached:
        return "error", ""
    return ("info" if libraries.in_optional_folder(fact.path) else "warning"), libraries.UNSEEN


def newest_versions(linkage: Linkage) -> dict[str, tuple[int, ...]]:
    """Return for each family of symbols the newest version that the target has."""
    return {family: version for family, (version, _) in _limits(linkage).items()}


def _limits(linkage: Linkage) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return for each family of symbols the newest version that the target has, and the same in words.

    They are the image's where its profile tells, else those of the distributions with that glibc.
    """
    target, image = linkage.target, linkage.known.image
    glibc, compiler = _dotted(target.glibc), system_libraries.compiler(target.glibc)
    limits: dict[str, tuple[tuple[int, ...], str]] = {
        "GLIBC": (target.glibc, f"the target has glibc {glibc} ({target.glibc_reason})")
    }
    for family, usual in (("GLIBCXX", compiler.glibcxx), ("CXXABI", compiler.cxxabi), ("GCC", compiler.gcc)):
        words = f"an image with glibc {glibc} has {family}_{_dotted(usual)} ({compiler.source})"
        limits[family] = usual, words
    known = (("GLIBCXX", image.target.glibcxx), ("CXXABI", image.target.cxxabi)) if image else ()
    for family, own in known:
        if own and image:
            limits[family] = own, f"the image {image.name} has {family}_{_dotted(own)}"
    return limits


def unloadable(lock: Lock, facts: Mapping[str, WheelFacts], target: Target) -> Iterator[Finding]:
    """Report files that the loader refuses: for another processor, cut off, no ELF (EB304).

    One finding a distribution and severity. Files that nothing loads here (firmware, the libraries for
    other processors beside those for this one) are information.
    """
    needed = {library for one in facts.values() for fact in one.native for library in fact.needed}
    for name, one in sorted(facts.items()):
        by_severity: dict[Severity, list[str]] = defaultdict(list)
        ours = any(fits(fact, target) for fact in one.native)
        executable = {file.path for file in one.files if file.executable}
        for fact in one.native:
            if fits(fact, target):
                continue
            why = fact.problem or f"it is for {fact.machine}, {fact.bits} bits"
            imported = libraries.is_extension(fact.path, one, target)
            imported = imported or posixpath.basename(fact.path) in needed
            severity = _severity_of_unloadable(
                fact, imported=imported, executable=fact.path in executable, ours=ours
            )
            by_severity[severity].append(f"{fact.path}: {why}")
        for severity, said in sorted(by_severity.items()):
            remedy = "nothing: nobody loads it on the target" if severity == "info" else None
            yield finding(
                "EB304", subject=name, cause=shown(said), remedy=remedy, lock=lock, severity=severity
            )


def _severity_of_unloadable(fact: NativeFact, *, imported: bool, executable: bool, ours: bool) -> Severity:
    if libraries.in_optional_folder(fact.path):
        return "info"
    if imported:
        return "error"
    if fact.problem:
        library = elf.NAMED_SO.search(fact.path) is not None
        if fact.problem == elf.NOT_ELF or not (library or executable):
            return "info"
        return "error" if library else "warning"  # a program of its own: no import loads it
    return "info" if fact.program or ours else "warning"


def extension_names(lock: Lock, facts: Mapping[str, WheelFacts], target: Target) -> Iterator[Finding]:
    """Report extension modules that are named for another Python or platform (EB305).

    Information where the distribution also has the module for this Python, or in Python.
    """
    accepted = libraries.accepted_tags(target)
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
                yield finding("EB305", subject=name, cause=cause, remedy=remedy, lock=lock, severity=severity)


def executable_memory(lock: Lock, facts: Mapping[str, WheelFacts], target: Target) -> Iterator[Finding]:
    """Report libraries that ask for an executable stack, or are writable and executable (EB310).

    The stack is information where the target's glibc grants it: onnxruntime 1.8 asks for one, and works.
    """
    for name, one in sorted(facts.items()):
        loaded = [fact for fact in one.native if fits(fact, target) and not fact.program]
        stacks = {fact.path for fact in loaded if fact.executable_stack}
        writable = {fact.path for fact in loaded if fact.writable_code}
        refused = stacks and target.glibc >= system_libraries.STRICT_STACK
        if stacks:
            cause = f"{shown(stacks)} asks for an executable stack"
            cause += f", which glibc {_dotted(target.glibc)} refuses" if refused else ""
            severity: Severity = "error" if refused else "info"
            yield finding("EB310", subject=name, cause=cause, lock=lock, severity=severity)
        if writable:
            cause = f"{shown(writable)} has a segment that is both writable and executable"
            yield finding("EB310", subject=name, cause=cause, lock=lock)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def relied(distributions: Iterable[LockedDistribution], image: Image) -> Iterator[Finding]:
    """Report what was left to the image and is not in this one, as far as that is known (EB364)."""
    if image.distributions is None:
        return
    had = {name: one.version for name, one in image.distributions.items()}
    for dist in distributions:
        if had.get(dist.name) != dist.version:
            yield finding(
                "EB364",
                subject=dist.name,
                cause=f"the bundle was made without {dist.name} {dist.version}; the image {image.name} has "
                f"{had.get(dist.name, 'none')}",
                remedy="make the bundle without --thin, or with the profile of this image",
            )
