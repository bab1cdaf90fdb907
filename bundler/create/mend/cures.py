"""What may cure a failure, the likeliest first: the table, the time of release, then older versions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import field
from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bundler.create.mend import breakages
from bundler.create.mend.failure import Defect
from bundler.create.mend.observed import Observed
from bundler.create.mend.pins import Pin
from bundler.lazy_dataclass import dataclass
from bundler.model import Lock, Requirement, Requirements
from bundler.system import pep508

if TYPE_CHECKING:
    from bundler.create.releases import Release, Releases

GRACE = timedelta(days=14)
"""How long after a release its dependencies may have been uploaded: whoever installed it then had them."""
OLDER = 4
"""Minor versions of a culprit that are tried."""


@dataclass(frozen=True, kw_only=True)
class Cure:
    """Constraints that may cure a failure."""

    label: str
    """In words, for the progress."""
    pins: tuple[Pin, ...]


@dataclass(kw_only=True)
class Situation:
    """A failure, and what is known of it."""

    defects: tuple[Defect, ...]
    observed: Observed
    releases: Releases
    wanted: Requirements
    blocked: list[str] = field(default_factory=list)
    """What would cure it, if the caller had not fixed it: in words."""

    @property
    def fixed(self) -> dict[str, Requirement]:
        """What the caller fixed to one version or place: it is never changed."""
        return {
            one.name: one
            for one in (*self.wanted.requirements, *self.wanted.constraints)
            if one.name and is_fixed(one)
        }

    @property
    def lock(self) -> Lock | None:
        """What was resolved; `None`: nothing yet."""
        return self.observed.lock


def is_fixed(requirement: Requirement) -> bool:
    """Tell whether the caller leaves no choice: one version, a URL or a path."""
    try:
        parsed = pep508.requirement(requirement.text)
    except InvalidRequirement:
        return True  # a path or a URL
    return bool(parsed.url) or any(one.operator in {"==", "==="} for one in parsed.specifier)


def cures(situation: Situation) -> Iterator[Cure]:
    """Yield what may cure a failure, each within what the caller asked for."""
    known = [*_of_table(situation)]
    if known:
        yield Cure(label="what is known", pins=tuple(known))
    yield from _of_wheels(situation)
    if situation.lock is None or all(one.kind == "build" for one in situation.defects):
        return
    situation.releases.read_ahead(dist.name for dist in situation.lock.distributions)
    for label, pins in (
        ("what the failing roots had when they were released", _of_roots(situation, situation.lock)),
        ("what there was when the newest pin was released", _of_newest_pin(situation, situation.lock)),
    ):
        if pins:
            yield Cure(label=label, pins=(*pins, *known))
    yield from _of_older(situation, known)


def _of_table(situation: Situation) -> Iterator[Pin]:
    fixed = situation.fixed
    seen: set[str] = set()
    for defect in situation.defects:
        versions = defect.versions(situation.observed)
        for row in breakages.matching(defect.text, versions):
            if defect.kind == "build":
                yield from _for_build(row)
            for name, specifier in row.cures(versions).items():
                if name in fixed:
                    _block(situation, name, specifier, row.why)
                elif name not in seen:
                    seen.add(name)
                    yield Pin(
                        name=name,
                        specifier=specifier,
                        reason=row.why,
                        source=row.sources[0],
                        added=name == row.adds and name not in versions,
                    )
    yield from _of_missing(situation, seen)


def _of_missing(situation: Situation, cured: Collection[str]) -> Iterator[Pin]:
    """What a machine may add for modules that nothing brings: only what is known to bring them.

    :param cured: names that known breakages have pinned already.
    """
    added: set[str] = set(cured)
    for defect in situation.defects:
        row = defect.lacks
        if row is None or row.distribution in added or _is_cured(defect, situation):
            continue
        who = defect.importer or "the service"
        if situation.wanted.closed_by:
            lock = situation.wanted.closed_by
            said = f"{who} imports {row.module}: add {row.distribution} to what {lock} pins"
            situation.blocked += [said] if said not in situation.blocked else []
            continue
        added.add(row.distribution)
        yield Pin(
            name=row.distribution,
            specifier=_declared(situation, defect.importer, row.distribution),
            reason=f"{who} imports {row.module}, and nothing that was asked for brings it",
            source=row.source,
            added=True,
        )


def _is_cured(defect: Defect, situation: Situation) -> bool:
    """Whether a known breakage says more of it, and the caller has not fixed what it pins."""
    versions = defect.versions(situation.observed)
    rows = breakages.matching(defect.text, versions)
    return any(name not in situation.fixed for row in rows for name in row.cures(versions))


def _declared(situation: Situation, importer: str, name: str) -> str:
    """The versions with which a distribution declares another one, if only for an extra; empty for any."""
    facts = situation.observed.facts.get(importer)
    for text in facts.requires if facts else ():
        try:
            parsed = pep508.requirement(text)
        except InvalidRequirement:
            continue
        if canonicalize_name(parsed.name) == name and parsed.specifier:
            return str(parsed.specifier)
    return ""


def _for_build(row: breakages.Breakage) -> Iterator[Pin]:
    for name, specifier in row.builds.items():
        yield Pin(name=name, specifier=specifier, reason=row.why, source=row.sources[0], build=True)


def _block(situation: Situation, name: str, specifier: str, why: str) -> None:
    own = situation.fixed[name]
    said = f"{own.text} ({own.origin}) is yours, and {name}{specifier} would cure it: {why}"
    if said not in situation.blocked:
        situation.blocked.append(said)


def _of_wheels(situation: Situation) -> Iterator[Cure]:
    """What does not build or does not fit: the last version that has a wheel for the target."""
    pins = []
    for defect in situation.defects:
        if defect.kind == "import" or not defect.culprit:
            continue
        version = situation.observed.versions.get(defect.culprit, defect.version)
        older = [
            one for one in situation.releases.of(defect.culprit) if one.wheel and _is_older(one, version)
        ]
        if not older:
            continue
        specifier = f"<={older[0].version}"
        why = (
            f"{defect.culprit} {version} has no wheel for the target, {older[0].version} is the last that has"
        )
        if defect.culprit in situation.fixed:
            _block(situation, defect.culprit, specifier, why)
        else:
            pins.append(Pin(name=defect.culprit, specifier=specifier, reason=why))
    if pins:
        yield Cure(label="the last version with a wheel for the target", pins=tuple(pins))


def _of_roots(situation: Situation, lock: Lock) -> list[Pin]:
    """What the failing roots had when they were released: their dependencies as of then."""
    limits: dict[str, tuple[datetime, str]] = {}
    roots = {root for one in situation.defects for root in (*one.roots, one.importer) if root}
    for root in sorted(roots):
        version = situation.observed.versions.get(root)
        released = _released(situation, root, version)
        if released is None:
            continue
        reason = f"{root} {version} was released on {released:%Y-%m-%d}"
        for name in _below(lock, root) - {root}:
            if name not in limits or limits[name][0] < released:
                limits[name] = (released, reason)
    return _as_of(situation, limits)


def _of_newest_pin(situation: Situation, lock: Lock) -> list[Pin]:
    """What there was when the newest of the caller's pins was released, for all that is not pinned."""
    dates = {
        name: released
        for name in situation.fixed
        if (released := _released(situation, name, situation.observed.versions.get(name)))
    }
    if not dates:
        return []
    newest = max(dates, key=lambda name: dates[name])
    version = situation.observed.versions[newest]
    reason = f"{newest} {version}, the newest pin, was released on {dates[newest]:%Y-%m-%d}"
    return _as_of(situation, {dist.name: (dates[newest], reason) for dist in lock.distributions})


def _as_of(situation: Situation, limits: Mapping[str, tuple[datetime, str]]) -> list[Pin]:
    """Pin to what there was at a time those distributions of which the lock has a later release."""
    pins = []
    for name, (released, reason) in sorted(limits.items()):
        version = situation.observed.versions.get(name, "")
        then = next(
            (
                one
                for one in situation.releases.of(name)
                if one.wheel and (at := _moment(one.uploaded)) and at <= released + GRACE
            ),
            None,
        )
        if name not in situation.fixed and then and _is_older(then, version):
            pins.append(Pin(name=name, specifier=f"<={then.version}", reason=f"as it was when {reason}"))
    return pins


def _of_older(situation: Situation, known: Iterable[Pin]) -> Iterator[Cure]:
    """Older minor versions of a culprit, else of what imports it; one distribution at a time."""
    names: dict[str, Defect] = {}
    for defect in situation.defects:
        fixed = situation.fixed
        free = [name for name in (defect.culprit, defect.importer) if name and name not in fixed]
        for name in free[:1]:
            names.setdefault(name, defect)
        if defect.culprit in fixed and not free:
            _block(situation, defect.culprit, "<another version>", defect.last_line)
    for name, defect in names.items():
        version = situation.observed.versions.get(name, "")
        for release in older_minors(situation.releases.of(name), version)[:OLDER]:
            reason = f"{name} {version} fails: {defect.last_line}"
            pin = Pin(name=name, specifier=f"<={release.version}", reason=reason)
            yield Cure(label=f"{pin.text}", pins=(pin, *(one for one in known if one.name != name)))


def older_minors(releases: Iterable[Release], version: str) -> list[Release]:
    """Return the last release of each older minor version that has a wheel for the target.

    The last one of the major version before comes second, since that is where most things went.
    """
    older = [one for one in releases if one.wheel and _is_older(one, version)]
    minors = [next(iter(same)) for _, same in groupby(older, key=lambda one: one.version.release[:2])]
    try:
        major = Version(version).major
    except InvalidVersion:
        return minors
    before = next((one for one in minors if one.version.major < major), None)
    if before is None or minors[0] is before:
        return minors
    return [minors[0], before, *(one for one in minors[1:] if one is not before)]


def _below(lock: Lock, root: str) -> set[str]:
    """What a distribution requires, directly or through others, and itself."""
    found, waiting = {root}, [root]
    while waiting:
        name = waiting.pop()
        for dist in lock.distributions:
            if name in dist.required_by and dist.name not in found:
                found.add(dist.name)
                waiting.append(dist.name)
    return found


def _released(situation: Situation, name: str, version: str | None) -> datetime | None:
    for one in situation.releases.of(name):
        if str(one.version) == version:
            return _moment(one.uploaded)
    return None


def _moment(uploaded: str) -> datetime | None:
    """Read a time of upload, to the second; `None`: there is none."""
    return datetime.fromisoformat(f"{uploaded[:19]}+00:00") if uploaded else None


def _is_older(release: Release, version: str) -> bool:
    try:
        return release.version < Version(version)
    except InvalidVersion:
        return False
