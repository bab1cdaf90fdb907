"""Compares two bundles or locks: finds what a reviewer of a change must see."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

from packaging.version import Version

from bundler.bundle.manifest.values import Manifest
from bundler.model import FileFact, Finding
from bundler.report.compare.difference import (
    Difference,
    Direction,
    DistributionChange,
    EntryPointChange,
    FilesChange,
    FindingChange,
    LicenceChange,
    LicenceGroup,
    LicencesChange,
    LinesChange,
    Movement,
    NativeChange,
    NeedsChange,
    Paths,
    Release,
    SettingChange,
    Step,
    Summary,
    SymbolChange,
)
from bundler.report.compare.sections import ASPECTS
from bundler.report.compare.sides import Side, verdict

_STEPS: tuple[Step, ...] = ("major", "minor", "patch")
_SYMBOL = re.compile(r"(?P<family>\w+)_(?P<number>[0-9]{1,6}(?:\.[0-9]{1,6})*)")
_HASH_IN_NAME = re.compile(r"-[0-9a-f]{8}(?=[.-])")
"""auditwheel puts one into the name of each library that it copies into a wheel."""
_EXTENSION = re.compile(r"(?:[.-][0-9.]+)?\.(?:[a-z0-9_-]+\.)?so(?:\.[0-9.]+)?$")
_WAYS = ("new", "changed", "gone")
_MOVEMENTS: tuple[Movement, ...] = ("rose", "new", "fell", "gone")

_Number = tuple[int, ...]


def compare(old: Side, new: Side) -> Difference:
    """Compare two sides in all that both of them know."""
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
    return _with_manifests(difference, old.manifest, new.manifest, known=both)


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
    """Tell whether a lock has a distribution that the bundle made of it leaves to the image (`--thin`)."""
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
    numbers = enumerate(zip_longest(old.release, new.release, fillvalue=0))
    first = next((place for place, (before, after) in numbers if before != after), len(_STEPS))
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
    # One that becomes known is no change of who it is.
    if old.publishers and old.publishers != new.publishers:
        yield "publisher"


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


def _with_manifests(
    difference: Difference, old: Manifest | None, new: Manifest | None, *, known: Collection[str]
) -> Difference:
    """Add what only two manifests tell: no lock knows it.

    :param known: aspects that both sides know.
    """
    if old is None or new is None:
        return difference
    return replace(
        difference,
        needs=_needs(old, new) if "needs" in known else NeedsChange(),
        findings=_findings(old, new),
        licences=_licences(old, new) if "licences" in known else LicencesChange(),
        native=_native(old, new) if "native" in known else (),
        entry_points=_entry_points(old, new) if "entry_points" in known else (),
        files=_files(old, new),
    )


def _needs(old: Manifest, new: Manifest) -> NeedsChange:
    before, after = set(old.needs.libraries), set(new.needs.libraries)
    change = NeedsChange(
        symbols=_symbols(_highest(old.needs.symbols), _highest(new.needs.symbols)),
        libraries_added=tuple(sorted(after - before)),
        libraries_removed=tuple(sorted(before - after)),
    )
    return replace(change, suspects=_suspects(old, new)) if change.alarming else change


def _highest(symbols: Iterable[str]) -> dict[str, tuple[_Number, str]]:
    """Return the highest version of each family, with its text; what has no number is a family of its own."""
    found: dict[str, tuple[_Number, str]] = {}
    for text in symbols:
        match = _SYMBOL.fullmatch(text)
        family = match["family"] if match else text
        number = tuple(map(int, match["number"].split("."))) if match else ()
        found[family] = max((number, text), found.get(family, ((), "")))
    return found


def _symbols(
    old: Mapping[str, tuple[_Number, str]], new: Mapping[str, tuple[_Number, str]]
) -> tuple[SymbolChange, ...]:
    changes = []
    for family in old.keys() | new.keys():
        before, after = old.get(family), new.get(family)
        if before == after:
            continue
        movement: Movement = "new" if before is None else "gone"
        if before and after:
            movement = "rose" if after > before else "fell"
        texts = [one[1] if one else None for one in (before, after)]
        changes.append(SymbolChange(family=family, old=texts[0], new=texts[1], movement=movement))
    # Nobody can give the image another glibc: its family stands before those of the compilers.
    changes.sort(key=lambda one: (_MOVEMENTS.index(one.movement), one.family != "GLIBC", one.family))
    return tuple(changes)


def _suspects(old: Manifest, new: Manifest) -> tuple[str, ...]:
    """Return the distributions whose native files are new, changed or gone."""
    before = {file.path: file.sha256 for file in old.files}
    after = {file.path: file.sha256 for file in new.files}
    changed = {
        dist.name
        for dist in new.distributions
        if any(path not in before or before[path] != after.get(path) for path in dist.native)
    }
    kept = {dist.name for dist in new.distributions}
    # The others may have used a library of such a distribution, and now use the system's.
    gone = {dist.name for dist in old.distributions if dist.native and dist.name not in kept}
    return tuple(sorted(changed | gone))


def _findings(old: Manifest, new: Manifest) -> tuple[FindingChange, ...]:
    """Compare findings by code and subject: those that came, those that changed, those that went."""
    before, after = _by_subject(old.findings), _by_subject(new.findings)
    changes = [
        FindingChange(old=before.get(key), new=after.get(key))
        for key in sorted(before.keys() | after.keys())
        if _standing(before.get(key)) != _standing(after.get(key))
    ]
    return tuple(sorted(changes, key=lambda one: (_WAYS.index(one.way), one.finding.rank)))


def _standing(finding: Finding | None) -> tuple[str, bool] | None:
    return None if finding is None else (finding.severity, finding.accepted is None)


def _by_subject(found: Iterable[Finding]) -> dict[tuple[str, str, int], Finding]:
    """Number findings of the same code and subject, so that none hides another."""
    counts: Counter[tuple[str, str]] = Counter()
    result: dict[tuple[str, str, int], Finding] = {}
    for one in sorted(found, key=lambda one: (one.code, one.subject, one.cause)):
        counts[one.code, one.subject] += 1
        result[one.code, one.subject, counts[one.code, one.subject]] = one
    return result


def _licences(old: Manifest, new: Manifest) -> LicencesChange:
    """Compare the licences of each distribution, and find licences that only one side has."""
    before = {dist.name: dist.licence for dist in old.distributions}
    after = {dist.name: dist.licence for dist in new.distributions}
    return LicencesChange(
        changed=tuple(
            LicenceChange(name=name, old=before[name], new=licence)
            for name, licence in sorted(after.items())
            if before.get(name, licence) != licence
        ),
        new=_only_in(after, other=before),
        gone=_only_in(before, other=after),
    )


def _only_in(licences: Mapping[str, str], *, other: Mapping[str, str]) -> tuple[LicenceGroup, ...]:
    names: dict[str, list[str]] = {}
    for name, licence in sorted(licences.items()):
        names.setdefault(licence, []).append(name)
    known = set(other.values())
    return tuple(
        LicenceGroup(licence=licence, names=tuple(names[licence]))
        for licence in sorted(names)
        if licence not in known
    )


def _native(old: Manifest, new: Manifest) -> tuple[NativeChange, ...]:
    """Compare the native files of each distribution by path; a library under a new number is one change."""
    before, after = ({dist.name: set(dist.native) for dist in one.distributions} for one in (old, new))
    changes: list[NativeChange] = []
    for name in sorted(before.keys() | after.keys()):
        gone = _by_stem(before.get(name, set()) - after.get(name, set()))
        come = _by_stem(after.get(name, set()) - before.get(name, set()))
        for stem in sorted(gone.keys() | come.keys()):
            pairs = zip_longest(gone.get(stem, []), come.get(stem, []))
            changes += [NativeChange(distribution=name, old=left, new=right) for left, right in pairs]
    return tuple(changes)


def _by_stem(paths: Iterable[str]) -> dict[str, list[str]]:
    """Group paths by their names without numbers, hashes and the ABI."""
    found: dict[str, list[str]] = {}
    for path in sorted(paths):
        folder, name = posixpath.split(path)
        # The folder of site-packages has the version of Python in its name.
        folder = re.sub(r"^lib/python[0-9.]+/", "", folder)
        found.setdefault(f"{folder}/{_EXTENSION.sub('', _HASH_IN_NAME.sub('', name))}", []).append(path)
    return found


def _entry_points(old: Manifest, new: Manifest) -> tuple[EntryPointChange, ...]:
    before, after = (
        {
            (dist.name, entry): value
            for dist in one.distributions
            for entry, _, value in (text.partition(" = ") for text in dist.entry_points)
        }
        for one in (old, new)
    )
    return tuple(
        EntryPointChange(distribution=key[0], entry=key[1], old=before.get(key), new=after.get(key))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    )


def _files(old: Manifest, new: Manifest) -> FilesChange:
    """Compare the trees file by file, and name the documents that are not the same."""
    before, after = _content(old.files), _content(new.files)
    added = sorted(after.keys() - before.keys())
    removed = sorted(before.keys() - after.keys())
    changed = sorted(path for path, content in after.items() if before.get(path, content) != content)
    documents = set(_content(old.documents).items()) ^ set(_content(new.documents).items())
    return FilesChange(
        added=len(added),
        removed=len(removed),
        changed=len(changed),
        unchanged=len(after) - len(added) - len(changed),
        documents=tuple(sorted({path for path, _ in documents})),
        paths=Paths(added=tuple(added), removed=tuple(removed), changed=tuple(changed)),
    )


def _content(listed: Iterable[FileFact]) -> dict[str, tuple[str, bool]]:
    return {file.path: (file.sha256, file.executable) for file in listed}
