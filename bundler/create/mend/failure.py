"""Reads what a run failed with: the defects that other versions could cure, and whose they are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import Literal

from packaging.utils import canonicalize_name

from bundler.checks.rules import providers
from bundler.checks.rules.providers import Provider
from bundler.create.mend.observed import Observed
from bundler.errors import EnvbundleError, InputError, MachineError, ProofError
from bundler.lazy_dataclass import dataclass
from bundler.model import Finding

_FRAME = re.compile(r'File "(?P<path>lib/python[\d.]+/site-packages/[^"]+)", line \d+')
_FROM = (
    re.compile(r"cannot import name '[^']+' from (?:partially initialized module )?'(?P<module>[\w.]+)'"),
    re.compile(r"module '(?P<module>[\w.]+)' has no attribute"),
    re.compile(r"No module named '(?P<module>[\w.]+)'"),
)
_MISSING = _FROM[-1]
_NAMESPACE = re.compile(r"cannot import name '(?P<name>\w+)' from '(?P<module>[\w.]+)' \(unknown location\)")
"""Of a namespace, which has no file of its own."""
_BUILD = (
    re.compile(r"^(?P<name>[A-Za-z0-9][\w.-]*) (?P<version>\S+) has no wheel for the target, and building"),
    re.compile(r"[Ff]ailed to (?:download and )?build `(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[^`]+)`"),
    re.compile(r"no wheel for the target: (?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[^\s,]+)"),
)
_LIBRARY = re.compile(r"[\w.+-]+\.so[\w.]*: cannot open shared object file")
_UNFIT = frozenset({"EB301", "EB302", "EB306", "EB307"})
"""Codes of files that do not fit the target, which another version may."""
OFFER = "--mend looks for versions with which it is proved"
OFFER_TO_ADD = "--mend adds what is missing and proves it"
Kind = Literal["import", "unfit", "build"]


@dataclass(frozen=True, kw_only=True)
class Defect:
    """One thing that is wrong and that other versions may cure."""

    kind: Kind
    text: str
    """The end of the traceback, or what a build printed."""
    culprit: str = ""
    """Normalised name of the distribution that lacks what another one wants; empty: not known."""
    importer: str = ""
    """Of that other one."""
    roots: tuple[str, ...] = ()
    """What was asked for and brought it in."""
    version: str = ""
    """Of the culprit, where the lock does not tell it."""
    lacks: Provider | None = None
    """What is known to bring the module that it lacks, and is not in the lock."""

    def versions(self, observed: Observed) -> dict[str, str]:
        """Normalised name → version: of the lock, or of the culprit where there is none yet."""
        own = {self.culprit: self.version} if self.culprit and self.version else {}
        return {**own, **observed.versions}

    @property
    def last_line(self) -> str:
        """The last line of the text: two failures are the same where it is."""
        lines = [line for line in self.text.splitlines() if not line.startswith("the same stops: ")]
        return lines[-1].strip() if lines else ""


def defects(error: EnvbundleError, observed: Observed) -> tuple[Defect, ...]:
    """Return what other versions may cure."""
    if isinstance(error, ProofError):
        found = [of_finding(one, observed) for one in _errors(error)]
        return tuple(one for one in found if one)
    if isinstance(error, MachineError | InputError):
        said = f"{error.message}\n{error.hint or ''}"
        for pattern in _BUILD:
            if match := pattern.search(said):
                name = canonicalize_name(match["name"])
                return (Defect(kind="build", text=said, culprit=name, version=match["version"]),)
    return ()


def others(error: EnvbundleError, observed: Observed) -> frozenset[tuple[str, str]]:
    """Return code and subject of the findings that no other version cures, as far as is known."""
    if not isinstance(error, ProofError):
        return frozenset()
    return frozenset((one.code, one.subject) for one in _errors(error) if of_finding(one, observed) is None)


def _errors(error: ProofError) -> list[Finding]:
    return [one for one in error.findings if one.severity == "error" and one.accepted is None]


def of_finding(finding: Finding, observed: Observed) -> Defect | None:
    """Return what other versions may cure in a finding; `None`: they cannot, as far as is known."""
    roots = finding.chain[:1]
    if finding.code in _UNFIT:
        name = canonicalize_name(finding.subject)
        return Defect(kind="unfit", text=finding.cause, culprit=name, roots=roots)
    if finding.code == "EB206":
        lacks = _provider([finding.subject], observed)
        return Defect(kind="import", text=finding.cause, lacks=lacks) if lacks else None
    if finding.code not in ("EB201", "EB208"):
        return None
    defect = Defect(kind="import", text=finding.cause, roots=roots)
    if _LIBRARY.search(defect.last_line):
        return None
    owners = [observed.owner_of_file(match["path"]) for match in _FRAME.finditer(finding.cause)]
    frames = [owner for owner in owners if owner] or [*finding.chain[-1:]]
    named = next((match["module"] for one in _FROM if (match := one.search(defect.last_line))), "")
    culprit = observed.owner_of_module(named) if named else (frames[-1] if frames else "")
    importer = next((one for one in reversed(frames) if one != culprit), frames[-1] if frames else "")
    lacks = None if culprit else _provider(_lacking(defect), observed)
    return Defect(
        kind="import", text=finding.cause, culprit=culprit, importer=importer, roots=roots, lacks=lacks
    )


def _lacking(defect: Defect) -> list[str]:
    """The modules of which one is missing, as its traceback tells: the statement may say more than the error.

    Of `from google.cloud import storage` the error names `google` where nothing brings any of it.
    """
    if unknown := _NAMESPACE.search(defect.last_line):
        return [f"{unknown['module']}.{unknown['name']}"]
    missing = _MISSING.search(defect.last_line)
    if not missing:
        return []
    lines = [line.strip() for line in defect.text.splitlines()]
    statement = lines[lines.index(defect.last_line) - 1]
    try:
        nodes = ast.parse(statement).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        nodes = []
    named = [one.name for node in nodes if isinstance(node, ast.Import) for one in node.names]
    named += [
        f"{node.module}.{one.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for one in node.names
    ]
    module = missing["module"]
    return [*(one for one in named if one.startswith(f"{module}.")), module]


def _provider(modules: Iterable[str], observed: Observed) -> Provider | None:
    """Return what certainly brings one of the modules, where the lock has neither it nor the module."""
    for module in modules:
        row = providers.known(module)
        if row and row.seen and row.distribution not in observed.versions and not observed.brings(row.module):
            return row
    return None


def with_offer(error: EnvbundleError, observed: Observed) -> None:
    """Say in the hint of an error that mending exists, where versions may have caused it."""
    found = defects(error, observed)
    if found and not others(error, observed):
        offer = OFFER_TO_ADD if all(one.lacks for one in found) else OFFER
        error.hint = f"{error.hint}; {offer}" if error.hint else offer
