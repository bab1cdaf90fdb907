"""EB62x: who published the files, as far as attestations prove it (PEP 740)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field

from bundler.bundle import identities
from bundler.checks.rules.codes import finding
from bundler.lazy_dataclass import dataclass
from bundler.model import Claims, Finding, Lock, Severity

CODES = ("EB621", "EB622", "EB623", "EB624", "EB625", "EB626")
_STATUS: Mapping[str, Severity] = {"archived": "info", "deprecated": "warning", "quarantined": "error"}
"""What an index may say of a project (PEP 792) beside that it is active."""


@dataclass(frozen=True, kw_only=True)
class PublisherRules:
    """What the caller demands of those who published the files."""

    require: tuple[str, ...] = ()
    """Patterns of names of which somebody must be proved: `numpy`, `internal-*`."""
    publishers: tuple[tuple[str, str], ...] = ()
    """(Normalised name, the only publisher whom it may have: `GitHub:numpy/numpy`)."""
    trusted_root: str = ""
    """Content of the trust root; empty: the one that sigstore ships."""


@dataclass(frozen=True, kw_only=True)
class Attested:
    """What is known of the one who published a file: an identity, or why none."""

    identities: tuple[Claims, ...] = ()
    document: str = ""
    """The provenance object for which they were verified, word for word."""
    unknown: str = ""
    """Why nothing is known: the index offers none."""
    problem: str = ""
    """Why what the index offers is not to be believed."""
    status: str = ""
    """What the index says of the whole project (PEP 792): `archived`; empty: nothing."""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Publishing:
    """What is known of a lock's files, and what was known of the files before them."""

    rules: PublisherRules
    attested: Mapping[str, Attested]
    """Normalised name → what is known of its file."""
    before: Mapping[str, tuple[Claims, ...]] = field(default_factory=dict)
    """Normalised name → the identities that the last lock has."""


def check(lock: Lock, known: Publishing) -> Iterator[Finding]:
    """Report whom nobody has proved although it is demanded, and who is another one than it should be."""
    pinned = dict(known.rules.publishers)
    for dist in lock.distributions:
        one = known.attested.get(dist.name, Attested(unknown="nothing was asked of it"))
        if severity := _STATUS.get(one.status):
            cause = f"the index says that the project {dist.name} is {one.status}: "
            cause += one.reason[:500] or "no reason is given"
            yield finding("EB626", subject=dist.name, cause=cause, lock=lock, severity=severity)
        what = f"{dist.artifact.filename or dist.name}"
        if one.problem:
            cause = f"the provenance that the index offers for {what} does not verify: {one.problem}"
            yield finding("EB621", subject=dist.name, cause=cause, lock=lock)
            continue
        now = _spelled(one.identities)
        pin, before = pinned.get(dist.name), known.before.get(dist.name, ())
        if now and pin and not any(identities.meets(claims, pin) for claims in one.identities):
            cause = f"{what} was published by {now}, and {dist.name} is pinned to {pin}"
            yield finding("EB622", subject=dist.name, cause=cause, lock=lock)
        elif now and before and not _texts(before) & _texts(one.identities):
            cause = f"{what} was published by {now}; the one before by {_spelled(before)}"
            yield finding("EB623", subject=dist.name, cause=cause, lock=lock)
        if not now and before:
            cause = f"the file before was published by {_spelled(before)}; of {what} that is not known: "
            yield finding("EB624", subject=dist.name, cause=cause + one.unknown, lock=lock)
        if not now and (pin or identities.is_required(dist.name, known.rules.require)):
            cause = f"who published {what} is not known: {one.unknown}"
            yield finding("EB625", subject=dist.name, cause=cause, lock=lock)


def _texts(found: Iterable[Claims]) -> set[str]:
    return {identities.spelled(claims) for claims in found}


def _spelled(found: Iterable[Claims]) -> str:
    return " and ".join(sorted(_texts(found)))
