"""EB4xx: what gets into another's way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.markers import InvalidMarker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bundler.bundle.tree import folders
from bundler.checks.rules.codes import finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from bundler.checks.imports.evidence import ImportEvidence
    from bundler.model import Finding, Interpreter, Lock, Severity, Target, WheelFacts


CODES = ("EB401", "EB402", "EB403", "EB404", "EB405", "EB406", "EB407")
STRAY = frozenset({"test", "tests", "testing", "doc", "docs", "example", "examples", "benchmarks", "scripts"})
"""Top-level folders that many wheels bring by mistake; nobody imports them from there."""
CODE = (".py", ".so", ".pyd")


def shared_paths(
    lock: Lock, facts: Mapping[str, WheelFacts], *, site_packages: str, read: Callable[[str, str], bytes]
) -> tuple[Finding, ...]:
    """Report pairs of distributions that bring different contents for one path (EB401).

    One finding a pair, which names the first paths: two builds of one library share thousands. It is
    information where the paths are nobody's code (stray `tests`, a top-level LICENSE).

    :param facts: normalised name → facts of its wheel.
    :param read: returns the content of a file (distribution, path); called for the few that differ.
    """
    owners: dict[str, tuple[str, str]] = {}
    pairs: dict[tuple[str, str], list[str]] = {}
    for name in sorted(facts):
        for file in facts[name].files:
            other, sha256 = owners.setdefault(file.path, (name, file.sha256))
            # Bytecode follows its source, and is compared there.
            if other == name or sha256 == file.sha256 or file.path.endswith(".pyc"):
                continue
            if not _same_text(read(other, file.path), read(name, file.path)):
                pairs.setdefault((other, name), []).append(file.path)
    findings = []
    for (other, name), paths in sorted(pairs.items()):
        harmful = sorted(path for path in paths if not _harmless(path, site_packages))
        shown = harmful or sorted(paths)
        count = f"{len(paths)} files" if len(paths) > 1 else "a file"
        cause = (
            f"{other} and {name} both bring {count} with different contents: "
            f"{', '.join(shown[:3])}{' …' if len(paths) > 3 else ''}"
        )
        severity: Severity = "error" if harmful else "info"
        remedy = f"keep {other} or {name}, not both" if harmful else "nothing: nobody imports these files"
        findings.append(
            finding("EB401", subject=name, cause=cause, remedy=remedy, lock=lock, severity=severity)
        )
    return tuple(findings)


def _same_text(left: bytes, right: bytes) -> bool:
    """Tell whether two files say the same.

    The parts of a namespace each bring its `__init__.py`, and differ in line ends (opencensus 0.11.4 and
    opencensus-ext-azure 1.1.15).
    """
    if b"\0" in left or b"\0" in right:
        return left == right
    return left.replace(b"\r\n", b"\n").strip() == right.replace(b"\r\n", b"\n").strip()


def _harmless(path: str, site_packages: str) -> bool:
    inner = path.removeprefix(site_packages + "/")
    if inner == path:
        return path.startswith(("share/doc/", "share/man/"))
    top, slash, _ = inner.partition("/")
    return top in STRAY if slash else not inner.endswith(CODE)


def case_twins(
    lock: Lock, facts: Mapping[str, WheelFacts], paths: Iterable[str], *, site_packages: str
) -> tuple[Finding, ...]:
    """Report files and folders whose names differ in case only (EB403).

    A share without regard to case keeps one of them: a warning where code is lost, information otherwise.

    :param facts: normalised name → facts of its wheel, for who brings them.
    :param paths: every file of the tree.
    """
    spellings: dict[str, set[str]] = {}
    listed = list(paths)
    every = {*listed, *folders(listed)}
    if len({path.casefold() for path in every}) == len(every):
        return ()
    for path in every:
        spellings.setdefault(path.casefold(), set()).add(path)
    twins = {folded: sorted(found) for folded, found in spellings.items() if len(found) > 1}
    owners = {file.path: name for name in sorted(facts) for file in facts[name].files} if twins else {}
    findings = []
    for folded, (first, second, *_) in sorted(twins.items()):
        if folded.rpartition("/")[0] in twins:
            continue  # a part of what is told already
        below = [path for path in owners if f"{path}/".startswith((f"{first}/", f"{second}/"))]
        found = sorted({owners[path] for path in below})
        harmful = any(path.endswith(CODE) and not _harmless(path, site_packages) for path in below)
        name = found[-1] if found else ""
        findings.append(
            finding(
                "EB403",
                subject=name or second,
                cause=f"{' and '.join(found) or 'the tree'}: {first} and {second}",
                remedy=None if harmful else "Nothing: these are no code.",
                lock=lock if name else None,
                name=name,
                severity="warning" if harmful else "info",
            )
        )
    return tuple(findings)


SINCE = {
    "argparse": "3.2",
    "asyncio": "3.4",
    "contextvars": "3.7",
    "dataclasses": "3.7",
    "enum34": "3.4",
    "functools32": "3.2",
    "futures": "3.2",
    "graphlib": "3.9",
    "hmac": "3.0",
    "importlib": "3.1",
    "ipaddress": "3.3",
    "pathlib": "3.4",
    "selectors": "3.4",
    "statistics": "3.4",
    "typing": "3.5",
    "uuid": "3.0",
    "zoneinfo": "3.9",
}
"""Normalised name of a backport → the Python that has its module already."""
FORWARD = frozenset({"configparser"})
"""Backports that hold the module of a newer Python, and are kept compatible with those before it."""
UNUSED = frozenset({"antigravity", "idlelib", "lib2to3", "test", "this", "turtledemo"})
"""Modules of the standard library that no program imports; stray `test` folders are common."""
SEEDS = frozenset({"pip", "setuptools", "wheel"})
CUSTOMIZERS = ("sitecustomize", "usercustomize")


def shadows(
    lock: Lock, facts: Mapping[str, WheelFacts], python: Interpreter, evidence: ImportEvidence
) -> tuple[Finding, ...]:
    """Report modules that hide the standard library of that very Python (EB402).

    :param facts: normalised name → facts of its wheel.
    :param evidence: what the imports showed.
    """
    broken = evidence.standard
    findings = []
    for name in sorted(facts):
        for module in facts[name].modules:
            # The parts of a namespace package without `__init__` (`concurrent.x`) hide nothing.
            if module not in python.stdlib_modules:
                continue
            cause = f"its module {module!r} hides the standard library's"
            severity = _severity(name, module, python)
            if broken and severity == "error":
                first = broken[0]
                cause += f", and `import {first.module}` fails:\n{first.detail}"
            findings.append(
                finding(
                    "EB402",
                    subject=name,
                    cause=cause,
                    remedy=_remedy(lock, facts, name) if severity == "error" else "Nothing.",
                    lock=lock,
                    severity=severity,
                )
            )
    if broken and not any(one.severity == "error" for one in findings):
        for failure in broken:
            cause = f"with the bundle on the path, `import {failure.module}` fails:\n{failure.detail}"
            findings.append(finding("EB402", subject=failure.module, cause=cause))
    return tuple(findings)


def _severity(name: str, module: str, python: Interpreter) -> Severity:
    if name in FORWARD or module in UNUSED or not _has_file(python, module):
        return "info"
    return "error"


def _has_file(python: Interpreter, module: str) -> bool:
    """Tell whether the interpreter's own module is a file; built-in ones come before every path."""
    return any(
        (folder / module).is_dir() or next(folder.glob(f"{module}.*"), None) is not None
        for folder in python.stdlib
    )


def _remedy(lock: Lock, facts: Mapping[str, WheelFacts], name: str) -> str:
    dist = next((one for one in lock.distributions if one.name == name), None)
    since = SINCE.get(name)
    line = f'{name}; python_version < "{since}"' if since else ""
    if dist is None or dist.requested or not dist.required_by:
        return f"write `{line}` in the requirements, or leave it out" if line else f"leave {name} out"
    asking = ", ".join(_described(facts, parent) for parent in dist.required_by)
    wish = f", or asks for it with a marker (`{line}`)" if line else ""
    return f"{asking} requires it: choose a version that does not{wish}"


def _described(facts: Mapping[str, WheelFacts], name: str) -> str:
    return f"{name} {facts[name].version}" if name in facts else name


def seeds(lock: Lock, facts: Mapping[str, WheelFacts], target: Target) -> tuple[Finding, ...]:
    """Report a pip, setuptools or wheel in the bundle: unasked it is an error (EB406).

    `PYTHONPATH` puts it before the image's own, whose commands then run the bundle's.
    """
    findings = []
    for dist in lock.distributions:
        if dist.name not in SEEDS:
            continue
        parents = dist.required_by or _requirers(facts, dist.name, target)
        if dist.requested:
            cause, severity = "the requirements ask for it", "info"
        elif parents:
            cause, severity = f"{', '.join(parents)} requires it", "info"
        else:
            cause, severity = "no requirement asks for it", "error"
        cause = f"{cause}; it comes before the image's own {dist.name}"
        findings.append(
            finding(
                "EB406",
                subject=dist.name,
                cause=cause,
                remedy=None if severity == "error" else "Nothing.",
                lock=lock,
                severity="error" if severity == "error" else "info",
            )
        )
    return tuple(findings)


def _requirers(facts: Mapping[str, WheelFacts], wanted: str, target: Target) -> tuple[str, ...]:
    return tuple(
        name
        for name in sorted(facts)
        if name != wanted and any(_asks(text, wanted, target) for text in facts[name].requires)
    )


def _asks(text: str, wanted: str, target: Target) -> bool:
    try:
        requirement = Requirement(text)
    except (InvalidRequirement, InvalidMarker):
        return False
    if canonicalize_name(requirement.name) != wanted:
        return False
    return requirement.marker is None or requirement.marker.evaluate({**target.markers, "extra": ""})


def customizers(lock: Lock, facts: Mapping[str, WheelFacts]) -> tuple[Finding, ...]:
    """Report modules that every start of Python in the image would run (EB407)."""
    return tuple(
        finding(
            "EB407",
            subject=name,
            cause=f"its module {module!r} runs at every start of Python, and hides the image's own",
            lock=lock,
        )
        for name in sorted(facts)
        for module in CUSTOMIZERS
        if module in facts[name].modules
    )


KNOWN = (("flask", "<2.2.4", "werkzeug", ">=3", "cannot import name 'url_quote' from 'werkzeug.urls'"),)
"""(of the image, its versions, of the bundle, its versions, what happens): what no requirement states."""


def changes(
    lock: Lock,
    target: Target,
    *,
    distributions: Mapping[str, str],
    requires: Mapping[str, Sequence[str]],
) -> tuple[Finding, ...]:
    """Compare the bundle with what an image has installed (EB404, EB405).

    What the bundle brings comes first, so the image's distributions run with the bundle's versions. A
    requirement of the image that was met and is not any more is an error. Another major version, or an
    older one, than a distribution of the image was installed with is a warning; any other change is
    what the bundle was made for.

    :param distributions: of the image: normalised name → version.
    :param requires: of the image: normalised name → its Requires-Dist lines.
    """
    brought = {dist.name: dist.version for dist in lock.distributions}
    users: dict[str, list[str]] = {}  # who of the image requires what the bundle brings
    findings = []
    for owner in sorted(set(distributions) - set(brought)):
        for text in requires.get(owner, ()):
            requirement = _applying(text, target)
            if requirement is None:
                continue
            name = canonicalize_name(requirement.name)
            if name not in brought or brought[name] == distributions.get(name):
                continue
            users.setdefault(name, []).append(owner)
            if _met(requirement.specifier, brought[name]):
                continue
            had = distributions.get(name)
            if had is not None and not _met(requirement.specifier, had):
                continue  # it was not met before, and the image runs
            cause = (
                f"the image's {owner} {distributions[owner]} requires {name}{requirement.specifier}, "
                f"and the bundle puts {name} {brought[name]} before the image's {had or 'none'}"
            )
            remedy = f"pin {name}{requirement.specifier}, or bring an own {owner} that fits"
            findings.append(finding("EB404", subject=name, cause=cause, remedy=remedy, lock=lock))
    broken = {one.subject for one in findings}
    for changed in sorted(set(brought) & set(distributions) - broken):
        one = _changed(lock, changed, brought[changed], users.get(changed, []), distributions)
        findings += [one] if one else []
    return tuple(findings)


def _changed(
    lock: Lock, name: str, version: str, users: Sequence[str], distributions: Mapping[str, str]
) -> Finding | None:
    had = distributions[name]
    if version == had:
        return None
    cause = f"the image has {name} {had}, the bundle puts {version} before it"
    for owner, owners, subject, versions, effect in KNOWN:
        known = subject == name and owner in users and _met(SpecifierSet(versions), version)
        if known and _met(SpecifierSet(owners), distributions[owner]):
            cause += f"; the image's {owner} {distributions[owner]} then fails: {effect}"
            remedy = f"pin {name}=={had}, or bring a {owner} that fits"
            return finding("EB404", subject=name, cause=cause, remedy=remedy, lock=lock)
    if users and _grave(had, version):
        cause += f"; the image's {', '.join(users)} was installed with the former"
        return finding("EB405", subject=name, cause=cause, lock=lock)
    return finding("EB405", subject=name, cause=cause, remedy="Nothing.", lock=lock, severity="info")


def _grave(had: str, version: str) -> bool:
    try:
        before, after = Version(had), Version(version)
    except InvalidVersion:
        return True
    return after < before or after.release[:1] != before.release[:1]


def _applying(text: str, target: Target) -> Requirement | None:
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return None
    if requirement.marker and not requirement.marker.evaluate({**target.markers, "extra": ""}):
        return None
    return requirement


def _met(specifier: SpecifierSet, version: str) -> bool:
    try:
        return specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return True
