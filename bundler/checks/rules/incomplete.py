"""EB2xx: what the bundle lacks."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from packaging.markers import Marker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bundler.checks.imports.evidence import ImportEvidence, ImportFailure, Reached
from bundler.checks.imports.reach import GIVEN_BACK
from bundler.checks.imports.service_code import CodeImport
from bundler.checks.rules import system_libraries, system_programs
from bundler.checks.rules.codes import finding
from bundler.checks.rules.providers import (
    advised,
    distributions,
    gone_since,
    of_a_newer_python,
    of_an_older_python,
    provider_of,
)
from bundler.checks.rules.root_causes import WITH_SETTINGS
from bundler.lazy_dataclass import dataclass
from bundler.model import SEVERITIES, Finding, Lock, Obligation, Severity, Target, WheelFacts
from bundler.system import pep508, room

CODES = ("EB201", "EB202", "EB203", "EB204", "EB205", "EB206", "EB207", "EB208")
_LIBRARY = re.compile(r"(?P<library>[\w.+-]+\.so[\w.]*): cannot open shared object file")
_SURROUNDINGS = re.compile(
    r"ImproperlyConfigured|AppRegistryNotReady|DJANGO_SETTINGS_MODULE|settings are not configured"
    r"|\bDISPLAY\b|[Nn]o display|(connect to|acquire) (X|display)|cannot open display|Bad display name"
    r"|libcuda\.so|libnvidia|[Nn]o (CUDA|GPU|NVIDIA)|CUDA driver|cuInit"
)
"""Exceptions of modules that ask for Django's settings, a display or a device."""
_NETBASE = re.compile(r"OSError: (protocol|service/proto) not found")
"""/etc/protocols and /etc/services are in no slim image: Debian's and Ubuntu's netbase brings them."""
_NO_ARGUMENTS = re.compile(r'/(?:argparse|optparse)\.py", line \d+, in error\b')
_BROKEN = frozenset({"AttributeError", "NameError", "SyntaxError", "IndentationError", "TypeError"})
_DEFECT = re.compile(
    r"cannot import name|undefined symbol|invalid ELF|wrong ELF|file too short|symbol lookup"
    r"|not found \(required|binary incompatib|multiarray failed|was compiled (using|against)|ABI"
)
_PLACE = re.compile(r'^File "(?P<folder>[^"]+)/(?P<file>[^"/]+)", line \d+, in ', re.MULTILINE)
"""Where a frame of a traceback is, relative to the prefix."""
TESTS = frozenset({"test", "tests"})
"""Tests in a wheel may need files that it does not have: mpl_toolkits.tests of matplotlib 3.5.3 does."""
TEST_TOOLS = frozenset({"_pytest", "hypothesis", "mock", "nose", "pytest", "testtools", "unittest2"})
"""What only tests import: a module beside others that lacks one of them is no module of use."""


def imports(
    evidence: ImportEvidence, lock: Lock, facts: Mapping[str, WheelFacts], *, assumed: Collection[str] = ()
) -> Iterator[Finding]:
    """Report every module that did not import in mount mode (EB201).

    An error where the service reaches it. A failure that follows from another one is part of its finding, and
    one that a module of the standard library has as well is passed over: what hides that one is reported by
    `conflicts.shadows`.

    :param facts: normalised name → facts of its wheel.
    :param assumed: SONAMEs of libraries that the image is said to have.
    """
    if evidence.startup:
        yield finding(
            "EB201",
            subject="python",
            cause=f"with the bundle on its path the interpreter does not start:\n{evidence.startup}",
            remedy="one distribution hides a module of the standard library: see the traceback, and leave it "
            "out",
        )
        return
    owners = {module: name for name, one in facts.items() for module in one.modules}
    known = _Known(lock=lock, facts=facts, owners=owners, assumed=frozenset(assumed))
    told = {_told_by(failure) for failure in evidence.standard}
    same: dict[str, list[tuple[ImportFailure, Reached]]] = {}
    lesser: dict[str, ImportFailure] = {}
    for one in evidence.reached:
        failures = one.failures
        if one.obligation.kind == "main" and one.obligation.optional and not _stops(one, known):
            lesser.update({_told_by(failure): failure for failure in reversed(failures)})
            failures = tuple(part for part in failures if _dead_requirement(part, one, evidence, known))
        for failure in failures:
            if _told_by(failure) not in told:
                same.setdefault(_told_by(failure), []).append((failure, one))
    for rows in same.values():
        # What is information for one may stop another.
        found = [_reached(failure, one, evidence, known) for failure, one in rows]
        yield min(found, key=lambda one: SEVERITIES.index(one.severity))
    left = [
        failure
        for failure in (*reversed(lesser.values()), *evidence.failures)
        if _told_by(failure) not in told | same.keys()
    ]
    yield from _unreached(left, known, {failure.module for failure in evidence.failures})


def _also(last: str, said: Reached, evidence: ImportEvidence) -> list[str]:
    """For whose sake else the last line of a failure is told, and which unreached modules show it."""
    others = [one for one in evidence.reached if one is not said]
    reasons = [
        one.obligation.reason for one in others if any(_told_by(same) == last for same in one.failures)
    ]
    return reasons + [one.module for one in evidence.failures if _told_by(one) == last]


def _stops(parts: Reached, known: _Known) -> bool:
    """Whether so much below an empty package fails that the distribution is of no use.

    Where a module imports that bears the name of an extra, or of what extras bring, the service has chosen
    that one, and the others are for other choices (apispec_webframeworks: flask, aiohttp, bottle, tornado).
    """
    failures = tuple(one for one in parts.failures if not _asks_for_surroundings(one))
    owner, failed = parts.obligation.subject, {one.module for one in parts.failures}
    works = {module.rpartition(".")[2] for module in parts.obligation.modules if module not in failed}
    if {canonicalize_name(name) for name in works} & _choices(known.facts.get(owner)):
        failures = tuple(one for one in failures if not _of_an_extra(one, owner, known))
    return replace(parts, failures=failures).fails


def _dead_requirement(failure: ImportFailure, said: Reached, evidence: ImportEvidence, known: _Known) -> str:
    """What a distribution always requires, of which nothing imports, and with which a part of it fails.

    Empty for none. That part is for whoever uses what is required for it: botbuilder.ai.luis.
    """
    if said.obligation.subject not in known.facts:
        return ""
    failed = {one.module for one in evidence.failures if _told_by(one) == _told_by(failure)}
    required = map(_requirement, known.facts[said.obligation.subject].requires)
    for name in [canonicalize_name(one.name) for one in required if one and "extra" not in str(one.marker)]:
        modules = known.facts[name].modules if name in known.facts else ()
        if modules and failed.issuperset(modules):
            return name
    return ""


def _choices(facts: WheelFacts | None) -> set[str]:
    """Return the names of a distribution's extras and of what they bring."""
    if facts is None:
        return set()
    required = [one for text in facts.requires if (one := _requirement(text))]
    brought = [one.name for one in required if "extra" in str(one.marker)]
    return {canonicalize_name(name) for name in (*facts.extras, *brought)}


def unproved(evidence: ImportEvidence, assumed: Collection[str]) -> tuple[str, ...]:
    """Return the modules that are reached and that this machine cannot import for want of an assumed library.

    :param assumed: SONAMEs of libraries that the image is said to have.
    """
    return tuple(
        sorted(
            failure.module
            for one in evidence.reached
            for failure in one.failures
            if _assumed_library(failure, assumed)
        )
    )


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What is known of the modules of a bundle."""

    lock: Lock
    facts: Mapping[str, WheelFacts]
    owners: Mapping[str, str]
    """Module → the distribution that brings it."""
    assumed: frozenset[str]

    def owner(self, module: str) -> str:
        """The distribution that brings a module or a package above it; empty for none."""
        while module and module not in self.owners:
            module = module.rpartition(".")[0]
        return self.owners.get(module, "")

    def brings(self, module: str) -> bool:
        """Tell whether the bundle has anything below a top-level name."""
        return module.partition(".")[0] in {name.partition(".")[0] for name in self.owners}

    def later(self, name: str) -> str:
        """Say in which file a root imports a distribution, as its lines look, though not at its start."""
        tops = {module.partition(".")[0]: owner for module, owner in self.owners.items()}
        for root in self.lock.roots:
            for top, path in self.facts[root].imports if root in self.facts else ():
                if tops.get(top) == name:
                    return f" yet, but {root} does, in {path.partition('/site-packages/')[2]}"
        return ""


def _cause(failure: ImportFailure, said: Reached, evidence: ImportEvidence, known: _Known) -> str:
    """Say for whose sake it is imported, with what it fails, and what else that stops."""
    by = said.obligation
    place = by.places[by.modules.index(failure.module)] if by.places else ""
    most = "most of that " if by.optional else ""
    if most and by.kind == "main" and not _stops(said, known):
        most = f"a part for which it requires {_dead_requirement(failure, said, evidence, known)} "
    cause = f"{by.reason}, and {most}does not import:" if by.kind == "main" else ""
    cause = cause or f"{f'{place} imports it' if place else by.reason}, and it does not import:"
    cause += f"\n{failure.detail}"
    also = _also(_told_by(failure), said, evidence)
    return cause + (f"\nthe same stops: {'; '.join(also)}" if also else "")


def _reached(failure: ImportFailure, said: Reached, evidence: ImportEvidence, known: _Known) -> Finding:
    by = said.obligation
    module = failure.module.partition(":")[0]
    owner = known.owner(module) or (by.subject if by.kind != "service" else "")
    cause = _cause(failure, said, evidence, known)
    severity: Severity | None = None
    remedy = _remedy(failure, owner, known)
    if library := _assumed_library(failure, known.assumed):
        severity = "warning"
        remedy = f"run verify.py in the image: not proved here, where {library} is missing, which the image "
        remedy += "is said to have"
    elif _asks_for_surroundings(failure):
        severity, remedy = "info", "set in the image what it asks for; the bundle lacks nothing"
        if failure.behind:
            cause += f"\n{WITH_SETTINGS}\n{failure.behind}"
            severity, remedy = "warning", "see the last lines: pin another version of what they name"
    elif why := _of_a_program(failure, by, owner, known):
        severity, remedy = "info", f"nothing: {why}"
    elif by.kind == "script" and _asks_for_an_extra(failure, owner, known):
        severity = "info"  # the only script of strawberry-graphql is for those who ask for [cli]
    elif by.kind == "main" and len(by.modules) > 1 and failure.missing.partition(".")[0] in TEST_TOOLS:
        severity, remedy = "info", "nothing: only those who develop it import its tests"
    elif by.kind == "main" and not by.optional and _is_aside(failure, said, known):
        severity = "info"
        remedy = f"nothing, unless the service imports {failure.module}: {remedy or 'see the traceback'}"
    elif by.optional and by.kind != "main":
        severity = _of_optional(failure, said, known)
    return finding(
        "EB201",
        subject=failure.module,
        cause=cause,
        remedy=remedy,
        lock=known.lock if owner in known.facts else None,
        name=owner,
        severity=severity,
    )


def _of_optional(failure: ImportFailure, said: Reached, known: _Known) -> Severity:
    """How bad it is that a helper script fails, or what others load by entry points."""
    others = said.obligation.of_entry_points
    if _misses_something(failure, known) or (others and not _is_broken(failure)):
        return "info"
    return "error" if others and said.fails else "warning"


def _is_aside(failure: ImportFailure, said: Reached, known: _Known) -> bool:
    """Whether it lacks something that most modules beside it do without (google.cloud.obsolete).

    None of them bears the name of the distribution, which does not require what this one lacks.
    """
    few = 2 * len(said.failures) < len(said.obligation.modules)
    return few and bool(failure.missing) and not known.brings(failure.missing)


def _unreached(
    failures: Sequence[ImportFailure], known: _Known, failed: Collection[str]
) -> Iterator[Finding]:
    """Failures that stop nothing that was asked for: warnings where the distributions themselves are broken.

    Of several broken ones with one cause that nearest to it is told.
    """
    warned: dict[str, list[ImportFailure]] = {}
    for failure in failures:
        if _of_unreached(failure, known, failed) is None:
            warned.setdefault(_told_by(failure), []).append(failure)
    for failure in failures:
        owner, note = known.owner(failure.module), _of_unreached(failure, known, failed)
        rows = sorted(warned.get(_told_by(failure), []), key=lambda one: len(one.detail))
        later = also = ""
        if note is None:
            if failure is not rows[0]:
                continue
            later = known.later(owner)
            also = f"\nthe same stops: {'; '.join(one.module for one in rows[1:])}" if rows[1:] else ""
        yield finding(
            "EB201",
            subject=failure.module,
            cause=f"nothing that was asked for imports it{later}; by itself it fails:\n"
            f"{failure.detail}{also}",
            remedy=_remedy(failure, owner, known) if note is None else note,
            lock=known.lock if owner else None,
            name=owner,
            severity="warning" if note is None else "info",
        )


def _of_unreached(failure: ImportFailure, known: _Known, failed: Collection[str]) -> str | None:
    """The remedy of a failure that is mere information; `None`: it is a warning.

    Of a module that no distribution brings, nothing says what it can do without.
    """
    owner = known.owner(failure.module)
    others = set(known.facts[owner].modules) - set(failed) if owner else set()
    if others and failure.module.rpartition(".")[2] in TESTS:
        return "nothing: only those who develop it import its tests"
    if not owner and not _asks_for_surroundings(failure):
        return None
    if _asks_for_surroundings(failure) or _misses_something(failure, known) or not _is_broken(failure):
        remedy = _remedy(failure, owner, known)
        return f"nothing, unless the service imports {failure.module}: {remedy or 'see the traceback'}"
    return None


def _remedy(failure: ImportFailure, owner: str, known: _Known) -> str | None:
    """What to do about a failed import, where more is known than the code says.

    :param owner: the distribution of the module; may be empty.
    """
    if _NETBASE.search(_last_line(failure.detail)):
        has = f"if the image has /etc/protocols: --ignore EB201:{failure.module}"
        return f"install netbase in the image, or pin another version; {has}"
    if (library := _lacking_library(failure)) and (
        advice := system_libraries.advice(library, distribution=owner)
    ):
        return f"{advice}; if the image has it: --assume-lib {library}"
    if program := system_programs.lacking(failure.detail):
        return system_programs.advice(program, module=failure.module)
    # A process that has died printed why; the lines of a traceback are code, which may name anything.
    said = _last_line(failure.detail) if failure.exception else failure.detail
    if hit := room.limit_hit(f"{failure.exception}\n{said}"):
        return hit
    if owner and (named := _named_extra(failure, known.facts[owner])):
        return f"ask for {owner}[{named}], as its message says"
    missing = failure.missing.partition(".")[0]
    package, _, name = failure.module.partition(":")
    wanted = failure.missing or (f"{package}.{name}" if name and not known.owner(package) else "")
    if "." in wanted and known.brings(wanted) and not known.owner(wanted):
        return _of_namespace(failure, wanted)
    if not missing or known.brings(missing):
        return of_a_newer_python(said, known.lock.python_version, importer=owner)
    return _of_a_missing_module(failure, missing, owner, known)


def _of_a_missing_module(failure: ImportFailure, missing: str, owner: str, known: _Known) -> str:
    """What to do about a top-level module that no distribution of the lock brings."""
    if gone := of_an_older_python(missing, known.lock.python_version, importer=owner):
        return gone
    provider = provider_of(missing)
    if _of_an_extra(failure, owner, known):
        return f"add {provider} to the requirements, which an extra of {owner} brings"
    if missing not in distributions() and (hint := _of_python_2(failure, missing, known)):
        return hint
    required = [one for text in known.facts[owner].requires if (one := _requirement(text))] if owner else []
    names = {canonicalize_name(one.name) for one in required}
    undeclared = f" ({owner} uses it and does not require it)" if owner and provider not in names else ""
    asked = advised(failure.missing)
    if missing == "pkg_resources" and Version(known.lock.python_version) >= Version("3.9"):
        asked = "setuptools<81"  # later ones are for 3.9 and up, and are to have none
    add = f"nothing in the lock brings a module {missing!r}: add {asked} to the requirements{undeclared}"
    return f"{add}, or pin a version of {owner} that works without it" if owner else add


def _of_python_2(failure: ImportFailure, missing: str, known: _Known) -> str:
    """What to do where a file beside the importing one has the name: Python 2 took that. Empty for none.

    `from _gexf import Gexf` in gexf/__init__.py of pygexf lacks no distribution.
    """
    frames = list(_PLACE.finditer(failure.detail))
    if not frames or frames[-1]["folder"].endswith("/site-packages"):
        return ""  # that folder is on the path itself
    folder, importer = frames[-1]["folder"], frames[-1]["file"]
    meant = {f"{folder}/{missing}.py", f"{folder}/{missing}/__init__.py"} - {f"{folder}/{importer}"}
    for name, one in known.facts.items():
        for file in one.files:
            if file.path in meant:
                path = file.path.partition("/site-packages/")[2]
                says = f"{name} means its {path}, as Python 2 read the import, and lacks no distribution"
                return f"{says}: pin a version of it that is for Python 3, or leave it out"
    return ""


def _of_namespace(failure: ImportFailure, missing: str) -> str:
    """What to do about a part of a namespace (google.cloud.storage) that nothing brings."""
    wanted = failure.module.replace(":", ".")
    parts = wanted.split(".") if f"{wanted}.".startswith(f"{missing}.") else missing.split(".")
    name = canonicalize_name(".".join(part for part in parts[:3] if part.islower()))
    return f"nothing in the lock brings {missing!r}: add the distribution that does, such as {name}"


def _named_extra(failure: ImportFailure, facts: WheelFacts) -> str:
    """An extra of the distribution that its own message names as what is lacking; empty for none."""
    last = _last_line(failure.detail)
    said = [one for one in facts.extras if re.search(rf"\[{re.escape(one)}\]|'{re.escape(one)}'", last)]
    own = [one for one in said if one == failure.module.rpartition(".")[2]]
    return [*own, *said][0] if said and not failure.missing else ""


def _asks_for_an_extra(failure: ImportFailure, owner: str, known: _Known) -> bool:
    named = owner in known.facts and _named_extra(failure, known.facts[owner])
    return bool(named) or "MissingOptional" in failure.exception or _of_an_extra(failure, owner, known)


def _of_an_extra(failure: ImportFailure, owner: str, known: _Known) -> bool:
    """Whether it lacks what only an extra of the distribution brings: evaluate[template] has cookiecutter."""
    top = failure.missing.partition(".")[0]
    if not top or known.brings(top) or owner not in known.facts:
        return False
    required = [_requirement(text) for text in known.facts[owner].requires]
    brought = [one for one in required if one and canonicalize_name(one.name) == provider_of(top)]
    return any("extra" in str(one.marker) for one in brought)


def _misses_something(failure: ImportFailure, known: _Known) -> bool:
    """Whether it fails for want of a module, library or program that the bundle does not have at all."""
    if failure.missing:
        return not known.brings(failure.missing)
    return (_lacking_library(failure) or system_programs.lacking(failure.detail)) is not None


def _assumed_library(failure: ImportFailure, assumed: Collection[str]) -> str:
    """The library for want of which it fails and that the image is said to have; empty for none."""
    library = _lacking_library(failure)
    return library if library and library in assumed else ""


def _lacking_library(failure: ImportFailure) -> str | None:
    """The SONAME of the library that it could not load or find."""
    match = _LIBRARY.search(_last_line(failure.detail))
    return match["library"] if match else system_libraries.looked_for(failure.detail)


def _asks_for_surroundings(failure: ImportFailure) -> bool:
    """Whether it asks for a setting, a display or a device: that is no defect of the bundle."""
    if failure.exception == "KeyError" and re.search(r"/os\.py\", line \d+, in __getitem__", failure.detail):
        return True  # an environment variable
    return _SURROUNDINGS.search(_last_line(failure.detail)) is not None


def _of_a_program(failure: ImportFailure, by: Obligation, owner: str, known: _Known) -> str:
    """Why its failure is none where a program runs it; empty where it is one.

    uwsgi alone has what uwsgidecorators imports. pint-convert reads its arguments at its top.
    """
    native = known.facts[owner].native if owner in known.facts else ()
    if any(fact.program and fact.path == f"bin/{failure.missing}" for fact in native):
        return f"the program {failure.missing} has the module in it, where it runs"
    exits = failure.exception == "SystemExit" and _NO_ARGUMENTS.search(failure.detail)
    return "it reads its command line while it is imported" if by.kind == "script" and exits else ""


def _is_broken(failure: ImportFailure) -> bool:
    """Whether the distribution itself is at fault: its own code or machine code does not fit the rest."""
    if not failure.exception or failure.missing:
        return True
    return failure.exception in _BROKEN or _DEFECT.search(_last_line(failure.detail)) is not None


def _told_by(failure: ImportFailure) -> str:
    """Two failures are the same where this line is."""
    return _last_line(failure.behind or failure.detail)


def _last_line(text: str) -> str:
    return text.rpartition("\n")[2]


def service(missing: Iterable[CodeImport], *, python: str) -> Iterator[Finding]:
    """Report what the service's own code imports and neither the bundle nor the image brings (EB206).

    :param python: the target's version.
    """
    for one in missing:
        remedy = f"add {advised(one.module)} to the requirements"
        if since := gone_since(one.top, python):
            remedy = f"Python has no {one.top} since {since}: take the import out, or use an older Python"
            if giver := GIVEN_BACK.get(one.top):
                remedy += f"; or add {giver} to the requirements and import it first"
        yield finding(
            "EB206",
            subject=one.module,
            cause=f"{one.where} imports it, and no distribution of the bundle brings a module {one.top!r}",
            remedy=f"{remedy}; if the image has it: --ignore EB206:{one.module}",
        )


def closure(lock: Lock, facts: Mapping[str, WheelFacts], target: Target) -> Iterator[Finding]:
    """Check that every requirement of every distribution is met by the lock (EB204).

    Markers are the target's. An extra counts where the requirements ask for it, or where a requirement
    that counts asks for it. Lines that are not valid are passed over, as pip does.

    :param facts: normalised name → facts of its wheel.
    """
    versions = {dist.name: dist.version for dist in lock.distributions}
    asked = {(dist.name, "") for dist in lock.distributions}
    asked |= {(dist.name, canonicalize_name(extra)) for dist in lock.distributions for extra in dist.extras}
    work = sorted(asked)
    found: dict[tuple[str, str], Finding] = {}
    while work:
        name, extra = work.pop()
        for text in facts[name].requires if name in facts else ():
            requirement = _requirement(text)
            if requirement is None or not _applies(requirement.marker, target, extra):
                continue
            needed = canonicalize_name(requirement.name)
            cause = _unmet(requirement, versions.get(needed))
            if cause:
                via = f"{name}[{extra}]" if extra else name
                cause = f"{via} requires {_plain(requirement)}, {cause}"
                found.setdefault((name, needed), finding("EB204", subject=name, cause=cause, lock=lock))
                continue
            for further in sorted(requirement.extras):
                pair = (needed, canonicalize_name(further))
                if pair not in asked:
                    asked.add(pair)
                    work.append(pair)
    yield from (found[key] for key in sorted(found))


@functools.lru_cache(maxsize=4096)
def _requirement(text: str) -> Requirement | None:
    try:
        return pep508.requirement(text)
    except InvalidRequirement:
        return None


def _applies(marker: Marker | None, target: Target, extra: str) -> bool:
    if marker is None:
        return not extra  # already counted for the distribution without extras
    without = marker.evaluate({**target.markers, "extra": ""})
    return marker.evaluate({**target.markers, "extra": extra}) and not without if extra else without


def _unmet(requirement: Requirement, version: str | None) -> str:
    if version is None:
        return "which is not in the bundle"
    if requirement.url:
        return ""
    try:
        # Pre-releases count: whoever asked for one got it.
        met = requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        met = True
    return "" if met else f"the bundle has {version}"


def _plain(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


def extras(lock: Lock, facts: Mapping[str, WheelFacts]) -> Iterator[Finding]:
    """Check that every extra that the requirements ask for exists (EB205).

    One that is misspelt is an error: what it would bring is missing. One that the distribution has not, or no
    longer (`typer[all]`), is a warning, as of installers: there is nothing that it could bring.

    :param facts: normalised name → facts of its wheel.
    """
    for dist in lock.distributions:
        if not dist.extras or dist.name not in facts:
            continue
        known = known_extras(facts[dist.name])
        for extra in dist.extras:
            if canonicalize_name(extra) in known:
                continue
            near = difflib.get_close_matches(canonicalize_name(extra), sorted(known), n=3)
            if near:
                remedy = f"did you mean {' or '.join(near)}?"
            elif known:
                remedy = f"it has: {', '.join(sorted(known))}"
            else:
                remedy = "it has no extras at all: ask for it without"
            yield finding(
                "EB205",
                subject=f"{dist.name}[{extra}]",
                cause=f"{dist.name} {dist.version} has no extra {extra!r}",
                remedy=remedy,
                severity="error" if near else "warning",
            )


def known_extras(facts: WheelFacts) -> frozenset[str]:
    """Return the normalised extras of a wheel: those it provides, and those that its requirements name."""
    named = {canonicalize_name(extra) for extra in facts.extras}
    for text in facts.requires:
        _, _, marker = text.partition(";")
        if "extra" not in marker:
            continue
        words = marker.replace("(", " ").replace(")", " ").replace("==", " == ").split()
        for before, equals, value in zip(words, words[1:], words[2:], strict=False):
            if equals == "==" and before == "extra":
                named.add(canonicalize_name(value.strip("\"'")))
    return frozenset(named)
