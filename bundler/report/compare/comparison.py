"""Compares two bundles or locks: what a reviewer of a change must see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import Version

from bundler.report.compare import bundles
from bundler.report.compare.difference import (
    ASPECTS,
    Difference,
    Direction,
    DistributionChange,
    EntryPointChange,
    FilesChange,
    FindingChange,
    LicenceArrival,
    LicenceChange,
    LicencesChange,
    LinesChange,
    NativeChange,
    NeedsChange,
    Paths,
    Release,
    SettingChange,
    Step,
    Summary,
    SymbolChange,
)
from bundler.report.compare.sides import Side, of_lock, of_manifest, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "ASPECTS",
    "Difference",
    "DistributionChange",
    "EntryPointChange",
    "FilesChange",
    "FindingChange",
    "LicenceArrival",
    "LicenceChange",
    "LicencesChange",
    "LinesChange",
    "NativeChange",
    "NeedsChange",
    "Paths",
    "Release",
    "SettingChange",
    "Side",
    "Summary",
    "SymbolChange",
    "compare",
    "of_lock",
    "of_manifest",
]

_STEPS: tuple[Step, ...] = ("major", "minor", "patch")


def compare(old: Side, new: Side) -> Difference:
    """Compare two sides in whatever both of them know."""
    both = old.knows & new.knows
    difference = Difference(
        old=_summary(old),
        new=_summary(new),
        not_compared=tuple(aspect for aspect in ASPECTS if aspect in old.knows ^ new.knows),
        distributions=tuple(_distributions(old, new)),
        requirements=_lines(old.requirements, new.requirements) if "requirements" in both else LinesChange(),
        constraints=_lines(old.constraints, new.constraints) if "requirements" in both else LinesChange(),
        settings=_settings(old, new),
    )
    if old.manifest and new.manifest:
        return bundles.completed(difference, old.manifest, new.manifest, known=both)
    return difference


def _summary(side: Side) -> Summary:
    manifest = side.manifest
    if manifest is None:
        return Summary(name=side.name, kind=side.kind, distributions=len(side.releases))
    return Summary(
        name=side.name,
        kind=side.kind,
        distributions=len(side.releases),
        digest=manifest.digest,
        size=sum(file.size for file in manifest.files),
        files=len(manifest.files),
        verdict=verdict(manifest),
    )


def _distributions(old: Side, new: Side) -> Iterator[DistributionChange]:
    for name in sorted(old.releases.keys() | new.releases.keys()):
        before, after = old.releases.get(name), new.releases.get(name)
        chain = new.chains.get(name) or old.chains.get(name, ())
        change: Direction = "removed" if after is None else "added"
        what: tuple[str, ...] = ()
        step: Step = ""
        if _left_to_image(name, old, new):
            continue
        if before is not None and after is not None:
            change, step = _direction(before.version, after.version)
            what = tuple(_what(before, after))
            if not what:
                continue
        yield DistributionChange(
            name=name, change=change, step=step, what=what, old=before, new=after, chain=chain
        )


def _left_to_image(name: str, old: Side, new: Side) -> bool:
    """Tell whether a lock has what a bundle made of it leaves to the image (`--thin`)."""
    versions = [one.settings.get(f"relies_on.{name}") for one in (old, new) if name not in one.releases]
    locked = [one.releases[name].version for one in (old, new) if one.kind == "lock" and name in one.releases]
    return bool(locked) and versions == locked


def _direction(old: str, new: str) -> tuple[Direction, Step]:
    """Tell an upgrade from a downgrade, and which number of the version differs first."""
    before, after = _version(old), _version(new)
    if before is None or after is None or before == after:
        return "changed", ""
    return ("upgraded" if before < after else "downgraded"), _step(before, after)


def _step(old: Version, new: Version) -> Step:
    if old.epoch != new.epoch:
        return "major"
    length = max(len(old.release), len(new.release), len(_STEPS))
    before = (*old.release, *(0,) * (length - len(old.release)))
    after = (*new.release, *(0,) * (length - len(new.release)))
    first = next((number for number in range(length) if before[number] != after[number]), length)
    return _STEPS[first] if first < len(_STEPS) else "other"


def _what(old: Release, new: Release) -> Iterator[str]:
    """Yield what differs between two releases of a distribution, as far as both sides say it."""
    same = _same_version(old.version, new.version)
    if not same:
        yield "version"
    elif not _same_file(old, new):
        yield "file"
    if _both_differ(old.source, new.source):
        yield "source"
    if _both_differ(old.index, new.index):
        yield "index"
    if same and _both_differ(old.commit, new.commit):
        yield "commit"
    if old.bytes is not None and new.bytes is not None and _built_otherwise(old, new, same=same):
        yield "build"
    # What does not say what was asked for says nothing of extras and withdrawn files either.
    if old.requested is not None and new.requested is not None:
        pairs = {
            "requested": (old.requested, new.requested),
            "extras": (old.extras, new.extras),
            "yanked": (old.yanked is None, new.yanked is None),
        }
        yield from (what for what, (before, after) in pairs.items() if before != after)


def _both_differ(old: str | None, new: str | None) -> bool:
    return bool(old and new) and old != new


def _same_version(old: str, new: str) -> bool:
    return old == new or (_version(old) or old) == (_version(new) or new)


def _version(text: str) -> Version | None:
    """Return a version; `None` where a lock for several targets has several, or it is none at all."""
    try:
        return Version(text)
    except ValueError:  # InvalidVersion, and numbers of ten thousand digits
        return None


def _same_file(old: Release, new: Release) -> bool:
    """Tell whether both sides may take the same file; a lock may name the files of many platforms."""
    if old.hashes and new.hashes:
        if 1 in (len(old.hashes), len(new.hashes)):
            return bool(set(old.hashes) & set(new.hashes))
        return old.hashes == new.hashes
    return not (old.filename and new.filename) or old.filename == new.filename


def _built_otherwise(old: Release, new: Release, *, same: bool) -> bool:
    """Tell whether a bundle built what was fetched before, or the reverse, or built it of another source."""
    if same:
        return old.built_from != new.built_from
    return (old.built_from is None) != (new.built_from is None)


def _lines(old: Sequence[str], new: Sequence[str]) -> LinesChange:
    return LinesChange(
        added=tuple(sorted(set(new).difference(old))), removed=tuple(sorted(set(old).difference(new)))
    )


def _settings(old: Side, new: Side) -> tuple[SettingChange, ...]:
    names = [name for name in old.target if name in new.target]
    pairs = [(name, old.target.get(name), new.target.get(name)) for name in names]
    if "setting" in old.knows & new.knows:
        rest = [*old.settings, *(name for name in new.settings if name not in old.settings)]
        pairs += [(name, old.settings.get(name), new.settings.get(name)) for name in rest]
    return tuple(
        SettingChange(name=name, old=before, new=after) for name, before, after in pairs if before != after
    )
