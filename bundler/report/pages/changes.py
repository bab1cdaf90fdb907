"""What changed since another bundle, in the words and order of a report: what may hurt stands first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.report.pages.wording import ASPECTS
from bundler.system.sizes import NO_BREAK, in_units

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bundler.model import Finding
    from bundler.report.compare.difference import (
        Difference,
        Direction,
        DistributionChange,
        FindingChange,
        NeedsChange,
    )

MOST_NAMES = 8
MINUS = "\N{MINUS SIGN}"
_ORDER: tuple[Direction, ...] = ("added", "removed", "upgraded", "downgraded", "changed")


@dataclass(frozen=True, kw_only=True)
class Change:
    """A row of the table of distributions."""

    name: str
    word: str
    """`added`, `upgraded` …"""
    step: str
    """`major`, `minor`, `patch`; empty: none."""
    old: str
    new: str
    """Versions; empty: none."""
    what: str
    """What else differs than the version."""
    growth: str
    """`+1.2 MB`; empty: not known."""
    chain: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FindingMove:
    """A finding that came or went."""

    word: str
    finding: Finding


@dataclass(frozen=True, kw_only=True)
class Changes:
    """All that a report says of a difference."""

    empty: bool
    since: str
    """What the older one is called; may be empty."""
    headline: str
    """`2 upgraded, 1 added; +3.1 MB; 120 files`."""
    alarms: tuple[str, ...]
    """What the image must have now and did not need before."""
    distributions: tuple[Change, ...]
    findings: tuple[FindingMove, ...]
    lists: tuple[tuple[str, tuple[str, ...]], ...]
    """Title and lines of what else changed."""
    not_compared: str
    """What one side alone knows; empty: nothing."""


def changed(difference: Difference) -> Changes:
    """Put a difference into a report's words."""
    return Changes(
        empty=difference.empty,
        since=difference.old.name,
        headline=headline(difference),
        alarms=_alarms(difference.needs),
        distributions=tuple(_change(one) for one in difference.distributions),
        findings=tuple(_move(one) for one in difference.findings),
        lists=tuple((title, lines) for title, lines in _lists(difference) if lines),
        not_compared=", ".join(ASPECTS.get(one, one) for one in difference.not_compared),
    )


def headline(difference: Difference) -> str:
    """Return a line that counts what changed: `2 upgraded, 1 added; +3.1 MB`."""
    counts = Counter(one.change for one in difference.distributions)
    parts = [", ".join(f"{counts[word]:,} {word}" for word in _ORDER if counts[word])]
    if difference.growth:
        parts.append(_signed(difference.growth))
    files = difference.files
    moved = files.added + files.removed + files.changed
    if moved:
        parts.append(f"{moved:,} file{'s' if moved != 1 else ''}")
    return "; ".join(part for part in parts if part) or ("nothing" if difference.empty else "no distribution")


def versions(difference: Difference) -> tuple[str, ...]:
    """Return a short line for each distribution: `numpy 1.24.3 → 1.24.4`, `+ six 1.17.0`."""
    return tuple(_short(one) for one in difference.distributions)


def _short(one: DistributionChange) -> str:
    old = one.old.version if one.old else ""
    new = one.new.version if one.new else ""
    if one.old is None:
        return f"+ {one.name} {new}".rstrip()
    if one.new is None:
        return f"{MINUS} {one.name} {old}".rstrip()
    return (
        f"{one.name} {old} → {new}"
        if old != new
        else f"{one.name} {new} ({', '.join(one.what) or 'changed'})"
    )


def _change(one: DistributionChange) -> Change:
    return Change(
        name=one.name,
        word=one.change,
        step=one.step if one.step != "other" else "",
        old=one.old.version if one.old else "",
        new=one.new.version if one.new else "",
        what=", ".join(word for word in one.what if word != "version"),
        growth=_signed(one.growth) if one.growth else "",
        chain=one.chain,
    )


def _signed(growth: int) -> str:
    return f"{'+' if growth > 0 else MINUS}{in_units(abs(growth), space=NO_BREAK)}"


def _alarms(needs: NeedsChange) -> tuple[str, ...]:
    sentences = [
        f"{one.new} is needed of the image, {f'{one.old} was' if one.old else 'nothing of its kind was'}."
        for one in needs.symbols
        if one.movement in {"new", "rose"}
    ]
    sentences += [f"The library {one} is needed of the image, and was not." for one in needs.libraries_added]
    if sentences and needs.suspects:
        sentences.append(f"Native files that are new or changed: {_few(needs.suspects)}.")
    return tuple(sentences)


def _few(names: Sequence[str]) -> str:
    rest = len(names) - MOST_NAMES
    return ", ".join(names) if rest <= 1 else f"{', '.join(names[:MOST_NAMES])} and {rest} more"


def _move(one: FindingChange) -> FindingMove:
    old, new = one.old, one.new
    if old is None or new is None:
        found = new or old
        if found is None:
            raise ValueError("a change of a finding has neither side")
        return FindingMove(word="gone" if new is None else "new", finding=found)
    if (old.accepted is None) != (new.accepted is None):
        return FindingMove(word="no longer accepted" if new.accepted is None else "accepted", finding=new)
    return FindingMove(word=f"was {old.severity}", finding=new)


def _lists(difference: Difference) -> Iterable[tuple[str, tuple[str, ...]]]:
    needs, licences = difference.needs, difference.licences
    yield (
        "No longer needed of the image",
        (
            *(_arrow(one.old, one.new) for one in needs.symbols if one.movement in {"fell", "gone"}),
            *needs.libraries_removed,
        ),
    )
    yield "What was asked for", _lines(difference.requirements.added, difference.requirements.removed)
    yield "Constraints", _lines(difference.constraints.added, difference.constraints.removed)
    yield (
        "Licences",
        (
            *(f"new: {one.licence or 'none named'} ({_few(one.names)})" for one in licences.new),
            *(f"gone: {one.licence or 'none named'} ({_few(one.names)})" for one in licences.gone),
            *(
                f"{one.name}: {_arrow(one.old or 'none named', one.new or 'none named')}"
                for one in licences.changed
            ),
        ),
    )
    yield "Native files", tuple(_path(one.distribution, one.old, one.new) for one in difference.native)
    yield (
        "Entry points",
        tuple(f"{one.entry}: {_arrow(one.old, one.new)}" for one in difference.entry_points),
    )
    yield "Settings", tuple(f"{one.name}: {_arrow(one.old, one.new)}" for one in difference.settings)
    files = difference.files
    counts = ((files.added, "added"), (files.removed, "removed"), (files.changed, "changed"))
    words = ", ".join(f"{many:,} {word}" for many, word in counts if many)
    yield "Files", (f"{words}; {files.unchanged:,} unchanged",) if words else ()
    yield "Documents", (", ".join(files.documents),) if files.documents else ()


def _lines(added: Iterable[str], removed: Iterable[str]) -> tuple[str, ...]:
    return (*(f"+ {line}" for line in added), *(f"{MINUS} {line}" for line in removed))


def _path(distribution: str, old: str | None, new: str | None) -> str:
    before, after = ((path or "").rpartition("/")[2] for path in (old, new))
    if old is None:
        return f"+ {after} ({distribution})"
    return (
        f"{MINUS} {before} ({distribution})" if new is None else f"{_arrow(before, after)} ({distribution})"
    )


def _arrow(old: str | None, new: str | None) -> str:
    return f"{old or 'none'} → {new or 'none'}"
