"""EB6xx: where the content of the bundle comes from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from packaging.requirements import InvalidRequirement
from packaging.version import Version

from bundler.checks.rules.codes import finding
from bundler.model import Built, Finding, Lock, Severity, StoredWheel, WheelFacts
from bundler.system import pep508, redact

CODES = ("EB601", "EB602", "EB603", "EB604", "EB605", "EB606")
_GLIBC = re.compile(r".*:GLIBC_(\d+(?:\.\d+)+)")


def yanked(lock: Lock) -> Iterator[Finding]:
    """Report releases that their publisher has yanked (EB601)."""
    for dist in lock.distributions:
        if dist.yanked is not None:
            cause = f"{dist.name} {dist.version} is yanked: {dist.yanked or 'no reason is given'}"
            yield finding("EB601", subject=dist.name, cause=cause, lock=lock)


def built(lock: Lock, wheels: Iterable[StoredWheel]) -> Iterator[Finding]:
    """Report what was built here from source (EB602): a warning where it has native files."""
    for wheel in wheels:
        if wheel.built_from is None:
            continue
        native = wheel.facts.native
        cause = f"{wheel.locked.name} {wheel.locked.version} was built on this machine from source"
        made = wheel.locked.built
        severity: Severity = "info"
        remedy: str | None = "Nothing: it is pure Python."
        if native:
            floor = _floor(wheel.facts)
            cause += f", with {len(native)} native files" + (f" that need glibc {floor}" if floor else "")
            severity, remedy = "warning", None
        if made and made.tools:
            cause += f" (with {', '.join(f'{one.name} {one.version}' for one in made.tools)})"
        if made and (other := difference(made)):
            cause += f"; {other}"
            severity, remedy = "warning", "Hand on the wheel itself (--wheelhouse), not its source."
        yield finding(
            "EB602", subject=wheel.locked.name, cause=cause, remedy=remedy, lock=lock, severity=severity
        )


def difference(built: Built) -> str:
    """Say in words that a build is not reproducible; empty where nothing is known of that."""
    if built.unlike is None:
        return ""
    return (
        "the build is not reproducible: the same tools made another wheel of the same source "
        f"(sha256 {built.unlike[:12]}…, this one {built.sha256[:12]}…)"
    )


def _floor(facts: WheelFacts) -> str:
    """Return the highest glibc that a wheel's native files need."""
    found = (_GLIBC.fullmatch(version) for one in facts.native for version in one.versions)
    return max((match[1] for match in found if match), key=Version, default="")


def unpinned(lock: Lock) -> Iterator[Finding]:
    """Report requirements without a fixed version (EB603)."""
    for text in lock.requirements:
        try:
            requirement = pep508.requirement(text)
        except InvalidRequirement:
            continue  # a path or a URL
        pinned = any(
            one.operator in {"==", "==="} and not one.version.endswith(".*") for one in requirement.specifier
        )
        if not pinned and not requirement.url:
            yield finding("EB603", subject=requirement.name, cause=f"the requirement is {text!r}")


def direct(lock: Lock) -> Iterator[Finding]:
    """Report what comes from a URL or a repository and not from an index (EB604)."""
    for dist in lock.distributions:
        if dist.source not in {"url", "vcs"}:
            continue
        commit = f" at {dist.artifact.commit}" if dist.artifact.commit else ""
        cause = f"{dist.name} {dist.version} comes from {redact.url(dist.artifact.url or '')}{commit}"
        yield finding("EB604", subject=dist.name, cause=cause, lock=lock)


def indexes(lock: Lock, *, extra: Sequence[str]) -> Iterator[Finding]:
    """Warn that names were looked up on several indexes, and more than one could serve them (EB605).

    Both resolvers take the best version of all indexes: whoever publishes a higher version of a private
    name on the public index wins. No finding where one index is known to have served everything.

    :param extra: further indexes that were asked, without credentials; empty where the files came from
        a lock with hashes, which decides by itself.
    """
    indexed = [dist for dist in lock.distributions if dist.source == "index"]
    served = {dist.index for dist in indexed}
    if not extra or not indexed or (len(served) == 1 and None not in served):
        return
    groups = {
        index: [dist.name for dist in indexed if dist.index == index]
        for index in sorted(served, key=lambda one: (one is None, one or ""))
    }
    parts = [
        f"{', '.join(found[:5])}{' …' if found[5:] else ''} from {index or 'the default index, or unknown'}"
        for index, found in groups.items()
    ]
    cause = f"{1 + len(extra)} indexes were asked, and each could serve every name: {'; '.join(parts)}"
    yield finding("EB605", subject="indexes", cause=cause)


def licences(lock: Lock, facts: Mapping[str, WheelFacts], *, denied: Sequence[str]) -> Iterator[Finding]:
    """Report licences that the caller denies, and distributions that state none (EB606).

    Of `MIT OR GPL-2.0` one may be chosen: it is denied only if both are.

    :param denied: words such as `AGPL`, matched without case at the start of a word: `GPL` is in
        `GPLv3` and in `GPL-2.0-only`, not in `LGPL`.
    """
    for name in sorted(facts):
        licence = facts[name].licence
        if not licence:
            cause = f"the metadata of {name} {facts[name].version} says nothing of a licence"
            yield finding("EB606", subject=name, cause=cause, lock=lock, severity="info")
            continue
        choices = re.split(r"\s+or\s+", licence, flags=re.IGNORECASE)
        words = [[word for word in denied if _says(choice, word)] for choice in choices]
        if all(words):
            cause = f"{name} {facts[name].version} is under {licence!r}, and {words[0][0]!r} is denied"
            yield finding("EB606", subject=name, cause=cause, lock=lock)


def _says(licence: str, word: str) -> bool:
    return re.search(rf"(?<![a-z0-9]){re.escape(word)}", licence, re.IGNORECASE) is not None
