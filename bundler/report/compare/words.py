"""What the text and the Markdown of a comparison say alike: sentences, sizes, and harmless characters."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bundler.system.sizes import in_units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bundler.model import Finding
    from bundler.report.compare.difference import (
        Difference,
        Direction,
        DistributionChange,
        LicenceArrival,
        LicencesChange,
        NeedsChange,
        Release,
    )

SIGNS: dict[Direction, str] = {
    "added": "+",
    "removed": "-",
    "downgraded": "↓",
    "upgraded": "↑",
    "changed": "~",
}
"""In the order in which they are told: what came and went first."""
ASPECTS = {
    "needs": "needs of the system",
    "findings": "findings",
    "chains": "what brings what in",
    "sizes": "sizes",
    "licences": "licences",
    "native": "native libraries",
    "entry_points": "entry points",
    "requirements": "requirements",
    "target": "target",
    "setting": "proof, image and tool",
    "files": "files",
}
NO_DIFFERENCE = "no difference"
LONGEST_VALUE = 200
"""Characters; a licence may be a whole text, a cause a page."""
SHORT_HASH = 12
NAMES = 6
"""Names in one line."""

_STEPS = ("major", "minor", "patch", "other", "")
Note = tuple[str, str]
"""Words of ours, and a value that somebody else wrote, which may be empty."""


def clean(text: str, limit: int = LONGEST_VALUE) -> str:
    """Return text that a terminal shows as it is: one line, no control or invisible characters, not long.

    Names, licences and causes come from wheels: an escape sequence in one could hide lines of the output.
    """
    shown = "".join(
        one if one.isprintable() else " " if one.isspace() else f"\\u{ord(one):04x}"
        for one in text[: limit * 4]
    )
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"


def growth(count: int | None) -> str:
    """Bytes that something grew by, with a sign; empty where that is nothing or not known."""
    return f"{'+' if count > 0 else '-'}{in_units(abs(count))}" if count else ""


def counted(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def headline(difference: Difference) -> str:
    """One line: how many distributions changed in which way, the size, the files."""
    parts = [f"{len(found)} {way}" for way in SIGNS if (found := difference.of(way))]
    text = ", ".join(parts) or "no distribution changed"
    old, new = difference.old, difference.new
    if old.size is not None and new.size is not None:
        more = growth(difference.growth)
        text += (
            f"; {in_units(old.size)} → {in_units(new.size)} ({more})" if more else f"; {in_units(new.size)}"
        )
    files = difference.files
    counts = [
        f"{number} {way}"
        for number, way in ((files.added, "added"), (files.removed, "removed"), (files.changed, "changed"))
        if number
    ]
    if counts:
        text += f"; files: {', '.join(counts)}"
    return text


def alarms(needs: NeedsChange) -> list[list[Note]]:
    """What the image must have and need not have had before, the gravest first."""
    lines: list[list[Note]] = []
    for one in needs.symbols:
        if one.movement == "rose":
            lines.append([("needs", one.new or ""), (", was", one.old or "")])
        elif one.movement == "new":
            lines.append([("needs", one.new or ""), (", and needed nothing of that family before", "")])
    lines += [[("needs", one), (" of the system, and did not before", "")] for one in needs.libraries_added]
    return lines


def reliefs(needs: NeedsChange) -> list[list[Note]]:
    """What the image no longer must have."""
    lines: list[list[Note]] = []
    for one in needs.symbols:
        if one.movement == "fell":
            lines.append([("needs", one.new or ""), (" only, was", one.old or "")])
        elif one.movement == "gone":
            lines.append([("no longer needs", one.old or "")])
    lines += [[("no longer needs", one)] for one in needs.libraries_removed]
    return lines


def ordered(changes: Iterable[DistributionChange]) -> list[DistributionChange]:
    """Put what came and went first, then what a version says most of."""
    ways = list(SIGNS)
    return sorted(changes, key=lambda one: (ways.index(one.change), _STEPS.index(one.step), one.name))


def versions(change: DistributionChange) -> str:
    """`1.0`, or `1.0 → 2.0`."""
    texts = [one.version for one in (change.old, change.new) if one is not None and one.version]
    return " → ".join(dict.fromkeys(texts))


def notes(change: DistributionChange) -> list[Note]:
    """What there is to say of a changed distribution beside its versions."""
    found: list[Note] = []
    if change.step == "major":
        found.append(("major", ""))
    old, new = change.old, change.new
    if old is not None and new is not None:
        for what in change.what:
            found += _told(what, old, new)
    elif new is not None:
        found += [("yanked:", new.yanked or "no reason given")] if new.yanked is not None else []
        found += [("built from source", "")] if new.built_from else []
    return found


def arrivals(found: Iterable[LicenceArrival], licences: LicencesChange) -> list[LicenceArrival]:
    """Leave out of new or gone licences what the change of a distribution's licence says already."""
    changed = {one.name for one in licences.changed}
    rest = [replace(one, names=tuple(name for name in one.names if name not in changed)) for one in found]
    return [one for one in rest if one.names]


def reason(change: DistributionChange) -> Note | None:
    """Why a distribution is there; `None`: nobody knows."""
    was = "was " if change.new is None else ""
    if len(change.chain) > 1:
        return (f"{was}brought in by", " → ".join(change.chain))
    release = change.new or change.old
    return (f"{was}asked for", "") if change.chain and release is not None and release.requested else None


def _told(what: str, old: Release, new: Release) -> list[Note]:
    match what:
        case "file":
            same = old.filename == new.filename or not (old.filename and new.filename)
            return [("the same version, another file:", _files(old, new) if same else f"{new.filename}")]
        case "source":
            return [("from", f"{old.source} → {new.source}")]
        case "index":
            return [("index", f"{old.index} → {new.index}")]
        case "commit":
            return [("commit", f"{_short(old.commit)} → {_short(new.commit)}")]
        case "build":
            return [("built from source" if new.built_from else "no longer built from source", "")]
        case "requested":
            return [("asked for now" if new.requested else "no longer asked for", "")]
        case "extras":
            return [("extras", f"{', '.join(old.extras) or 'none'} → {', '.join(new.extras) or 'none'}")]
        case "yanked":
            return (
                [("no longer yanked", "")]
                if new.yanked is None
                else [("yanked:", new.yanked or "no reason given")]
            )
    return []


def _files(old: Release, new: Release) -> str:
    if len(old.hashes) == len(new.hashes) == 1:
        return f"{_short(old.hashes[0])} → {_short(new.hashes[0])}"
    return f"{len(old.hashes)} → {len(new.hashes)} hashes"


def _short(digits: str | None) -> str:
    return (digits or "")[:SHORT_HASH]


def sentence(notes: Iterable[Note], show: Callable[[str], str]) -> str:
    """Put words and values into a row.

    :param show: makes a value harmless where the sentence is to stand.
    """
    text = ""
    for label, value in notes:
        gap = " " if text and not label.startswith((",", " ")) else ""
        text += f"{gap}{label}{f' {show(value)}' if value else ''}"
    return text


def finding(one: Finding) -> str:
    """Severity, and whether it is accepted."""
    return f"{one.severity}, accepted" if one.accepted is not None else one.severity


def names(found: Sequence[str], limit: int = NAMES) -> str:
    """The first names of a list."""
    rest = len(found) - limit
    return ", ".join(found[:limit]) + (f" and {rest} more" if rest > 0 else "")


def not_compared(difference: Difference) -> str:
    """Say what was left out, and who does not tell it; empty where nothing was."""
    what = ", ".join(ASPECTS[one] for one in difference.not_compared if one in ASPECTS)
    who = (
        "a lock does not tell" if difference.old.kind != difference.new.kind else "only one of the two tells"
    )
    return f"not compared, since {who} it: {what}" if what else ""
