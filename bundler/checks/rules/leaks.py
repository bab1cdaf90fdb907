"""EB1xx: what the bundle has or uses besides what was resolved."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from bundler.checks.observed import same_version
from bundler.checks.rules.codes import finding

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from bundler.checks.imports.evidence import Elsewhere
    from bundler.checks.observed import Observed
    from bundler.model import Finding, Lock

NEVER_FROZEN = frozenset({"argparse", "wsgiref", "python"})
"""pip's `stdlib_pkgs` (pip/_internal/utils/compat.py): no listing of pip shows them, `--all` or not."""
CODES = ("EB101", "EB102", "EB103", "EB104", "EB105", "EB106", "EB107", "EB110")


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """The lines of a `pip freeze`, parsed."""

    versions: Mapping[str, str | None]
    """Normalised name → version; `None` where the line gives a URL instead."""
    editable: tuple[str, ...] = ()
    """`-e …` lines."""


def parse_freeze(lines: Iterable[str]) -> Frozen:
    """Parse `pip freeze --all`: `name==version`, `name @ URL`, `-e …` and comments."""
    versions: dict[str, str | None] = {}
    editable = []
    for line in lines:
        text = line.strip()
        pinned = re.fullmatch(r"([A-Za-z0-9._-]+)\s*={2,3}\s*(\S+)", text)
        direct = re.match(r"([A-Za-z0-9._-]+)\s*@\s", text)
        if text.startswith(("-e ", "--editable")):
            editable.append(text)
        elif pinned:
            versions[canonicalize_name(pinned[1])] = pinned[2]
        elif direct:
            versions[canonicalize_name(direct[1])] = None
    return Frozen(versions=versions, editable=tuple(editable))


def installed(lock: Lock, observed: Observed) -> tuple[Finding, ...]:
    """Compare what our own reader found with the lock (EB101, EB102, EB103)."""
    seen = {one.name: one.version for one in observed.distributions}
    return _compare(lock, seen, hidden=frozenset(), source="its folder of metadata")


def freeze(lock: Lock, lines: Sequence[str]) -> tuple[Finding, ...]:
    """Compare `pip freeze --all` with the lock (EB101, EB102, EB103; EB106 for editable installs)."""
    frozen = parse_freeze(lines)
    findings = [
        finding("EB106", subject=line, cause="`pip freeze` shows an editable install")
        for line in frozen.editable
    ]
    return (*_compare(lock, frozen.versions, hidden=NEVER_FROZEN, source="`pip freeze`"), *findings)


def _compare(
    lock: Lock, seen: Mapping[str, str | None], *, hidden: frozenset[str], source: str
) -> tuple[Finding, ...]:
    expected = {dist.name: dist.version for dist in lock.distributions}
    findings = []
    for name, version in expected.items():
        if name in seen:
            real = seen[name]
            if real is not None and not same_version(version, real):
                cause = f"the lock says {version}, {source} says {real}"
                findings.append(finding("EB103", subject=name, cause=cause, lock=lock))
        elif name not in hidden:
            cause = f"the lock has {name} {version}; {source} does not show it"
            findings.append(finding("EB101", subject=name, cause=cause, lock=lock))
    for name in sorted(set(seen) - set(expected)):
        cause = f"{source} shows {name} {seen[name] or ''}".rstrip() + "; nothing in the lock brings it"
        findings.append(finding("EB102", subject=name, cause=cause))
    return tuple(findings)


def baseline(lines: Sequence[str]) -> tuple[Finding, ...]:
    """Check that the environment was empty before anything was installed (EB104)."""
    return tuple(
        finding("EB104", subject=line, cause=f"`pip freeze` of the new environment already showed {line}")
        for line in lines
        if line.strip() and not line.startswith("#")
    )


def unowned(paths: Iterable[str], *, owned: Collection[str]) -> tuple[Finding, ...]:
    """Check that every file of the prefix is in a RECORD (EB105)."""
    return tuple(
        finding("EB105", subject=path, cause="is in no distribution's RECORD")
        for path in paths
        if path not in owned
    )


def odd_entries(
    observed: Observed, *, site_packages: str, owned: Collection[str], irregular: Iterable[str] = ()
) -> tuple[Finding, ...]:
    """Check the entries that are no sound distribution (EB106, EB107), and for symlinks (EB514).

    An egg-info that a wheel itself brings is nobody's harm: what a RECORD owns is passed over.
    """
    findings = [
        finding("EB514", subject=path, cause="is a symlink or no ordinary file") for path in irregular
    ]
    folders = {path[len(site_packages) + 1 :].split("/", 1)[0] for path in owned}
    for one in observed.odd:
        if one.kind == "metadata":
            findings.append(finding("EB107", subject=one.entry, cause=one.reason))
        elif one.entry not in folders:
            findings.append(finding("EB106", subject=one.entry, cause=one.reason))
    return tuple(findings)


def loaded_elsewhere(elsewhere: Sequence[Elsewhere]) -> tuple[Finding, ...]:
    """Report the code that the import proof saw coming from outside (EB110)."""
    return tuple(
        finding("EB110", subject=one.name, cause=f"the {one.kind} {one.name} was loaded from {one.path}")
        for one in elsewhere
    )
