"""EB4xx: modules of the bundle that stand before those of Python and of the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.markers import InvalidMarker
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from bundler.checks.rules.codes import finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundler.checks.imports.evidence import ImportEvidence
    from bundler.model import Finding, Interpreter, Lock, Severity, Target, WheelFacts

CODES = ("EB402", "EB406", "EB407")
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
