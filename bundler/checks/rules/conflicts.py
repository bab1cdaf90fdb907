"""EB4xx: what gets into another's way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.bundle.tree import folders
from bundler.checks.rules.codes import finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from bundler.model import Finding, Lock, Severity, WheelFacts

CODES = ("EB401", "EB403")
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
