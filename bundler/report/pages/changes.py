"""What changed since another bundle, in the words and order of a report: what may hurt stands first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from bundler.lazy_dataclass import dataclass
from bundler.model import Finding
from bundler.report.compare.difference import Difference, Direction, DistributionChange, FindingChange
from bundler.report.compare.sections import ALARMS, ASPECTS, MINUS, PAGE_SECTIONS, Style
from bundler.system.sizes import NO_BREAK, in_units

MOST_NAMES = 8
_ORDER: tuple[Direction, ...] = ("added", "removed", "upgraded", "downgraded", "changed")


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
    distributions: tuple[DistributionChange, ...]
    findings: tuple[tuple[str, Finding], ...]
    """What became of a finding, in a word, and the finding."""
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
        alarms=tuple(_alarms(difference)),
        distributions=difference.distributions,
        findings=tuple((_way(one), one.finding) for one in difference.findings),
        lists=tuple((title, lines) for title, lines in _lists(difference) if lines),
        not_compared=", ".join(ASPECTS[one][1] for one in difference.not_compared),
    )


def headline(difference: Difference) -> str:
    """Return a line that counts what changed: `2 upgraded, 1 added; +3.1 MB`."""
    counts = Counter(one.change for one in difference.distributions)
    parts = [", ".join(f"{counts[word]:,} {word}" for word in _ORDER if counts[word])]
    if difference.growth:
        parts.append(signed(difference.growth))
    if moved := sum(many for _, many in difference.files.counts):
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


def signed(growth: int) -> str:
    """Bytes that something grew by: `+1.2 MB`."""
    return f"{'+' if growth > 0 else MINUS}{in_units(abs(growth), space=NO_BREAK)}"


def _few(names: Sequence[str]) -> str:
    rest = len(names) - MOST_NAMES
    return ", ".join(names) if rest <= 1 else f"{', '.join(names[:MOST_NAMES])} and {rest} more"


_STYLE = Style(form="page", show=lambda value, _: value, names=_few, absent="none", unnamed="none named")


def _alarms(difference: Difference) -> Iterator[str]:
    yield from (_STYLE.write(ALARMS, row) for row in ALARMS.rows(difference))
    if difference.needs.suspects:
        yield f"Native files that are new or changed: {_few(difference.needs.suspects)}."


def _way(one: FindingChange) -> str:
    if one.old is None or one.new is None:
        return one.way
    if (one.old.accepted is None) == (one.new.accepted is None):
        return f"was {one.old.severity}"
    return "no longer accepted" if one.new.accepted is None else "accepted"


def _lists(difference: Difference) -> Iterator[tuple[str, tuple[str, ...]]]:
    for section in PAGE_SECTIONS:
        yield section.title.page, tuple(_STYLE.write(section, row) for row in section.rows(difference))
    files = difference.files
    counts = ", ".join(f"{many:,} {way}" for way, many in files.counts if many)
    yield "Files", (f"{counts}; {files.unchanged:,} unchanged",) if counts else ()
    yield "Documents", (", ".join(files.documents),) if files.documents else ()
