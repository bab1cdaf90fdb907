"""EB4xx: what gets into another's way: files, modules, and what the image has."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from bundler.checks.imports.evidence import ImportEvidence, ImportFailure
from bundler.checks.rules import same_text
from bundler.checks.rules.codes import finding
from bundler.checks.rules.lost import DOCUMENTS
from bundler.model import Finding, Interpreter, Lock, Severity, Target, WheelFacts
from bundler.system.files import folders_above
from bundler.targets import fit

if TYPE_CHECKING:
    from bundler.targets.image import Image, Installed

CODES = ("EB401", "EB402", "EB403", "EB404", "EB405", "EB406", "EB407")
STRAY = frozenset(
    {
        "benchmark",
        "benchmarks",
        "conftest",
        "demo",
        "demos",
        "doc",
        "docs",
        "example",
        "examples",
        "noxfile",
        "notebooks",
        "sample",
        "samples",
        "scripts",
        "setup",
        "test",
        "testing",
        "tests",
        "tutorials",
    }
)
"""Top-level folders and modules that many wheels bring by mistake; nobody imports them from there."""
CODE = (".py", ".so", ".pyd")
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
"""Normalised name of a backport → the Python that has its module already.

Some still serve (argparse 1.4.0): they are judged by what the imports show, and by a first use of theirs.
"""
FORWARD = frozenset({"configparser"})
"""Backports that hold the module of a newer Python, and are kept compatible with those before it."""
UNUSED = frozenset({"antigravity", "idlelib", "lib2to3", "test", "this", "turtledemo"})
"""Modules of the standard library that no program imports; stray `test` folders are common."""
SEEDS = frozenset({"pip", "setuptools", "wheel"})
CUSTOMIZERS = ("sitecustomize", "usercustomize")
KNOWN_BREAKS = (
    ("flask", "<2.2.4", "werkzeug", ">=3", "cannot import name 'url_quote' from 'werkzeug.urls'"),
)
"""(Of the image, its versions, of the bundle, its versions, what happens): what no requirement states."""


def shared_paths(
    lock: Lock, facts: Mapping[str, WheelFacts], *, site_packages: str, read: Callable[[str, str], bytes]
) -> Iterator[Finding]:
    """Report pairs of distributions that bring different contents for one path (EB401).

    One finding a pair, which names the first paths: two builds of one library share thousands. It is
    information where no path is code that is imported (stray `tests`, a top-level LICENSE).

    :param facts: normalised name → facts of its wheel.
    :param read: returns the content of a file (distribution, path); called for the few that differ.
    """
    owners: dict[str, tuple[str, str]] = {}
    pairs: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in sorted(facts):
        for file in facts[name].files:
            other, sha256 = owners.setdefault(file.path, (name, file.sha256))
            # Bytecode differs where its source does, which is compared as well.
            if other == name or sha256 == file.sha256 or file.path.endswith(".pyc"):
                continue
            if not same_text.same(file.path, read(other, file.path), read(name, file.path)):
                pairs[other, name].append(file.path)
    for (other, name), paths in sorted(pairs.items()):
        harmful = sorted(
            path
            for path in paths
            if not _harmless(path, site_packages) and not _for_type_checkers(path, owners, read)
        )
        shown = harmful or sorted(paths)
        count = f"{len(paths)} files" if len(paths) > 1 else "a file"
        yield finding(
            "EB401",
            subject=name,
            cause=f"{other} and {name} both bring {count} with different contents: "
            f"{', '.join(shown[:3])}{' …' if len(paths) > 3 else ''}",
            remedy=f"keep {other} or {name}, not both" if harmful else "nothing: nobody imports these files",
            lock=lock,
            severity=_severity_of_shared(harmful),
        )


def _severity_of_shared(harmful: Sequence[str]) -> Severity:
    """Two programs of one name stop no import, and a mount does not put them on the path."""
    if all(path.startswith("bin/") for path in harmful):
        return "warning" if harmful else "info"
    return "error"


def _for_type_checkers(
    path: str, owners: Mapping[str, tuple[str, str]], read: Callable[[str, str], bytes]
) -> bool:
    """Tell whether a file is a stub that nothing reads while the service runs (pandas and pandas-stubs).

    lazy_loader takes the names of a package from its stub, where the package says so (scikit-image).
    """
    module = path.removesuffix("i")
    if not path.endswith(".pyi"):
        return path.endswith("/py.typed")
    return module not in owners or b"attach_stub" not in read(owners[module][0], module)


def _harmless(path: str, site_packages: str) -> bool:
    inner = path.removeprefix(site_packages + "/")
    if inner == path:
        return DOCUMENTS.match(path) is not None
    top, slash, _ = inner.partition("/")
    return top.removesuffix(".py") in STRAY or not (slash or inner.endswith(CODE))


def case_twins(
    lock: Lock, facts: Mapping[str, WheelFacts], paths: Iterable[str], *, site_packages: str
) -> Iterator[Finding]:
    """Report files and folders whose names differ in case only (EB403).

    A file share that ignores case keeps one of them: a warning where code is lost, else information.

    :param facts: normalised name → facts of its wheel.
    :param paths: every file of the tree.
    """
    spellings: dict[str, set[str]] = {}
    listed = list(paths)
    every = {*listed, *folders_above(listed)}
    if len({path.casefold() for path in every}) == len(every):
        return
    for path in every:
        spellings.setdefault(path.casefold(), set()).add(path)
    twins = {folded: sorted(found) for folded, found in spellings.items() if len(found) > 1}
    owners = {file.path: name for name in sorted(facts) for file in facts[name].files} if twins else {}
    for folded, (first, second, *_) in sorted(twins.items()):
        if folded.rpartition("/")[0] in twins:
            continue  # it is reported with its folder
        below = [path for path in owners if f"{path}/".startswith((f"{first}/", f"{second}/"))]
        found = sorted({owners[path] for path in below})
        harmful = any(path.endswith(CODE) and not _harmless(path, site_packages) for path in below)
        name = found[-1] if found else ""
        yield finding(
            "EB403",
            subject=name or second,
            cause=f"{' and '.join(found) or 'the tree'}: {first} and {second}",
            remedy=None if harmful else "Nothing: these are no code.",
            lock=lock if name else None,
            name=name,
            severity="warning" if harmful else "info",
        )


def shadows(
    lock: Lock, facts: Mapping[str, WheelFacts], python: Interpreter, evidence: ImportEvidence
) -> Iterator[Finding]:
    """Report modules that hide the standard library of that very Python (EB402).

    :param facts: normalised name → facts of its wheel.
    """
    broken = evidence.standard
    hiding = [
        (name, module)
        for name in sorted(facts)
        for module in _top_modules(facts[name])
        if module in python.stdlib_modules
    ]
    named = {module for _, module in hiding if _blaming(module, evidence)}
    blamed = False
    for name, module in hiding:
        cause = f"its module {module!r} hides the standard library's"
        severity = _severity(name, module, python, blamed=module in named or bool(broken and not named))
        remedy = "Nothing." if severity == "info" else _remedy(lock, facts, name)
        if severity == "warning":
            cause += "; what was tried works with it, though it is older than the standard library's"
        elif severity == "error":
            blamed = True
            if failure := _blaming(module, evidence) or next(iter(broken), None):
                cause += f", and `import {failure.module.partition(':')[0]}` fails:\n{failure.detail}"
        yield finding("EB402", subject=name, cause=cause, remedy=remedy, lock=lock, severity=severity)
    for failure in () if blamed else broken:
        cause = f"with the bundle on the path, `import {failure.module}` fails:\n{failure.detail}"
        yield finding("EB402", subject=failure.module, cause=cause)


def _top_modules(facts: WheelFacts) -> tuple[str, ...]:
    """The modules of a distribution that hide others of their name, and its packages that only share one.

    `concurrent/__init__.py` of the futures backport hides the standard library, though it extends its path.
    The parts of a namespace package without `__init__` (`concurrent.x`) hide nothing.
    """
    paths = {file.path.partition("/site-packages/")[2] for file in facts.files}
    shared = {one.partition(".")[0] for one in facts.modules if "." in one}
    return tuple(sorted({*facts.modules, *(top for top in shared if f"{top}/__init__.py" in paths)}))


def _severity(name: str, module: str, python: Interpreter, *, blamed: bool) -> Severity:
    if name in FORWARD or module in UNUSED or not _has_file(python, module):
        return "info"
    return "error" if blamed or name not in SINCE else "warning"


def _blaming(module: str, evidence: ImportEvidence) -> ImportFailure | None:
    """Return what fails that is this module or whose traceback names it; `None`: nothing does."""
    reached = (failure for one in evidence.reached for failure in one.failures)
    named = re.compile(rf"[/'\"]{re.escape(module)}[/.'\"]")
    failures = (*evidence.standard, *evidence.failures, *reached)
    own = (one for one in failures if one.module.partition(".")[0] == module)
    return next(own, None) or next((one for one in failures if named.search(one.detail)), None)


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


def seeds(lock: Lock, facts: Mapping[str, WheelFacts], target: Target) -> Iterator[Finding]:
    """Report a pip, setuptools or wheel in the bundle: an error where nothing asks for it (EB406).

    `PYTHONPATH` puts it before the image's own, whose commands then run the bundle's.
    """
    for dist in lock.distributions:
        if dist.name not in SEEDS:
            continue
        parents = dist.required_by or [
            name
            for name in sorted(facts)
            for one in fit.demands_of(facts[name].requires, (name,), target.markers)
            if one.name == dist.name != name
        ]
        asked = "no requirement asks for it"
        if dist.requested:
            asked = "the requirements ask for it"
        elif parents:
            asked = f"{', '.join(dict.fromkeys(parents))} requires it"
        wanted = dist.requested or bool(parents)
        yield finding(
            "EB406",
            subject=dist.name,
            cause=f"{asked}; it comes before the image's own {dist.name}",
            remedy="Nothing." if wanted else None,
            lock=lock,
            severity="info" if wanted else "error",
        )


def customizers(lock: Lock, facts: Mapping[str, WheelFacts]) -> Iterator[Finding]:
    """Report modules that every start of Python in the image would run (EB407)."""
    for name in sorted(facts):
        for module in CUSTOMIZERS:
            if module in facts[name].modules:
                cause = f"its module {module!r} runs at every start of Python, and hides the image's own"
                yield finding("EB407", subject=name, cause=cause, lock=lock)


def image(lock: Lock, image: Image, target: Target) -> Iterator[Finding]:
    """Compare the bundle with the distributions of an image, where they are known (EB404, EB405).

    The bundle is first on the path, so the image's distributions run with the bundle's versions. A
    requirement of theirs that was met and is not any more is an error. Another major version, or an
    older one, than one of them was installed with is a warning; any other change is information.
    """
    installed = image.distributions or {}
    effect = fit.shadows(lock, image, target.markers)
    for one in effect.breaks if installed else ():
        name, asking = one.demand.name, one.demand.chain[-1]
        had = installed[name].version if name in installed else "none"
        yield finding(
            "EB404",
            subject=name,
            cause=f"the image's {asking} requires {one.demand.text}, and the bundle puts {name} {one.brings} "
            f"before the image's {had}",
            remedy=f"pin {one.demand.text}, or bring an own {asking.partition(' ')[0]} that fits",
            lock=lock,
        )
    broken = {one.demand.name for one in effect.breaks}
    users: dict[str, list[str]] = defaultdict(list)
    brought = {dist.name for dist in lock.distributions}
    for demand in fit.in_force(fit.image_demands(installed, target.markers), brought):
        users[demand.name].append(demand.chain[-1].partition(" ")[0])
    for name, had, brings in effect.changed:
        if name not in broken:
            yield _changed(lock, installed, name=name, had=had, brings=brings, users=users[name])


def _changed(
    lock: Lock, installed: Mapping[str, Installed], *, name: str, had: str, brings: str, users: Sequence[str]
) -> Finding:
    """:param users: the distributions of the image that require it."""
    cause = f"the image has {name} {had}, the bundle puts {brings} before it"
    for owner, owners, subject, versions, effect in KNOWN_BREAKS:
        known = subject == name and owner in users and fit.met(SpecifierSet(versions), brings)
        if known and fit.met(SpecifierSet(owners), installed[owner].version):
            cause += f"; the image's {owner} {installed[owner].version} then fails: {effect}"
            remedy = f"pin {name}=={had}, or bring a {owner} that fits"
            return finding("EB404", subject=name, cause=cause, remedy=remedy, lock=lock)
    if users and _is_major(had, brings):
        cause += f"; the image's {', '.join(users)} was installed with the former"
        return finding("EB405", subject=name, cause=cause, lock=lock)
    return finding("EB405", subject=name, cause=cause, remedy="Nothing.", lock=lock, severity="info")


def _is_major(had: str, brings: str) -> bool:
    """Tell whether a version is older than another, or of another major release."""
    try:
        before, after = Version(had), Version(brings)
    except InvalidVersion:
        return True
    return after < before or after.release[:1] != before.release[:1]


def server(lock: Lock, image: Image, target: Target) -> Iterator[Finding]:
    """Compare the bundle with what the image's server requires, where no more is known of it (EB404)."""
    if image.distributions is not None:
        return  # each of their requirements is compared by `image`
    for one in fit.breaks(lock, fit.server_demands(image, target.markers)):
        yield finding(
            "EB404",
            subject=one.demand.name,
            cause=f"the image's {' → '.join(one.demand.chain)} requires {one.demand.text}, and the bundle "
            f"puts {one.demand.name} {one.brings} before the image's",
            remedy=f"pin {one.demand.text}, or create it with --image",
            lock=lock,
        )
