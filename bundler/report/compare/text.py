"""A comparison as text for a terminal or a log: the important first, and short."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from bundler.report.compare import words
from bundler.report.compare.markdown import as_markdown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bundler.report.compare.difference import Difference, DistributionChange, LinesChange

__all__ = ["Paint", "Role", "as_markdown", "as_text"]

Role = Literal["alarm", "title", "added", "removed", "quiet"]


class Paint(Protocol):
    """How a terminal shows a part of the text."""

    def __call__(self, text: str, role: Role, /) -> str:
        """Return the text with what gives it a colour."""


DISTRIBUTIONS = 20
"""Lines of distributions that changed in one way; a change of Python changes all of them."""
LINES = 10
"""Lines of every other section."""
_PATHS = {"added": "+", "removed": "-", "changed": "~"}


def as_text(difference: Difference, *, files: bool = False, paint: Paint | None = None) -> str:
    """Return lines for people, without a line end behind the last.

    :param files: list the path of every file that came, went or changed.
    :param paint: gives colours; `None`: none.
    """
    show = paint or _plain
    if difference.empty:
        return "\n".join(_with_note([words.NO_DIFFERENCE], difference, show))
    alarms = _alarms(difference)
    lines = [show(line, "alarm") for line in _some(alarms, LINES)]
    lines.append(show(words.headline(difference), "title"))
    for title, section in _sections(difference):
        if section:
            lines += ["", show(title, "title"), *(_painted(line, show) for line in section)]
    if files and difference.files.paths:
        lines += ["", show("files", "title"), *_files(difference, show)]
    if difference.files.documents and (files or len(lines) == 1):
        documents = words.names([words.clean(one) for one in difference.files.documents])
        lines += ["", f"other beside the tree: {documents}"]
    return "\n".join(_with_note(lines, difference, show))


def _plain(text: str, _: Role, /) -> str:
    return text


def _with_note(lines: list[str], difference: Difference, show: Paint) -> list[str]:
    note = words.not_compared(difference)
    return (
        [*lines, *(["", show(note, "quiet")] if len(lines) > 1 else [show(note, "quiet")])] if note else lines
    )


def _painted(line: str, show: Paint) -> str:
    sign = line[2:3]
    if sign in ("+", "-"):
        return show(line, "added" if sign == "+" else "removed")
    return line


def _some(lines: Sequence[str], limit: int, what: str = "") -> list[str]:
    """Cut a list, and say so."""
    rest = len(lines) - limit
    # A line that says that one is left out is as long as that one.
    return (
        list(lines)
        if rest <= 1
        else [*lines[:limit], f"  … {rest} more{f' {what}' if what else ''}, see --json"]
    )


def _said(notes: Iterable[words.Note]) -> str:
    return words.sentence(notes, words.clean)


def _alarms(difference: Difference) -> list[str]:
    lines = [_said(notes) for notes in words.alarms(difference.needs)]
    suspects = difference.needs.suspects
    if lines and suspects:
        lines.append(
            f"  native files are new, gone or changed in {words.names(list(map(words.clean, suspects)))}"
        )
    return lines


def _sections(difference: Difference) -> Iterable[tuple[str, list[str]]]:
    """Yield the sections in the order in which a reviewer needs them."""
    yield "findings", _some(_findings(difference), LINES)
    yield "distributions", _distributions(difference)
    yield "licences", _some(_licences(difference), LINES)
    yield "requirements", _some(_lines(difference.requirements), LINES)
    yield "constraints", _some(_lines(difference.constraints), LINES)
    yield "target, proof and tool", _some(_settings(difference), LINES)
    reliefs = [f"  {_said(notes)}" for notes in words.reliefs(difference.needs)]
    yield "needs of the system", _some(reliefs, LINES)
    yield "entry points", _some(_entry_points(difference), LINES)
    yield "native libraries", _native(difference)


def _findings(difference: Difference) -> list[str]:
    lines = []
    for change in difference.findings:
        one = change.new or change.old
        if one is None:
            continue
        sign = "~" if change.old and change.new else "+" if change.new else "-"
        line = f"  {sign} {words.clean(one.code)} {words.finding(one)}, {words.clean(one.subject)}"
        if change.new is None:
            line += ": gone"
        elif change.old is not None:
            line += f": was {words.finding(change.old)}"
        elif one.severity != "info":
            line += f": {words.clean(one.cause)}"
        lines.append(line)
    return lines


def _distributions(difference: Difference) -> list[str]:
    changes = words.ordered(difference.distributions)
    lines = _columns([_distribution(one) for one in changes])
    found: list[str] = []
    for way in words.SIGNS:
        found += _some(
            [line for line, one in zip(lines, changes, strict=True) if one.change == way], DISTRIBUTIONS, way
        )
    return found


def _distribution(change: DistributionChange) -> tuple[str, str, str]:
    """Sign with name and versions, growth, notes."""
    notes = words.notes(change)
    why = words.reason(change)
    if why and change.change == "added":
        notes.append(why)
    label = f"{words.SIGNS[change.change]} {words.clean(change.name)} {words.clean(words.versions(change))}"
    return label.rstrip(), words.growth(change.growth), ", ".join(_said([note]) for note in notes)


def _columns(rows: Sequence[tuple[str, str, str]]) -> list[str]:
    wide = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    # One long name must not push the other columns out of sight.
    first = min(wide[0], 50)
    return [f"  {one:<{first}}  {more:>{wide[1]}}  {notes}".rstrip() for one, more, notes in rows]


def _licences(difference: Difference) -> list[str]:
    licences = difference.licences
    lines = [
        f"  + {_licence(one.licence)}: {words.names(list(map(words.clean, one.names)))}"
        for one in words.arrivals(licences.new, licences)
    ]
    lines += [
        f"  ~ {words.clean(one.name)}: {_licence(one.old)} → {_licence(one.new)}" for one in licences.changed
    ]
    lines += [
        f"  - {_licence(one.licence)}: {words.names(list(map(words.clean, one.names)))}"
        for one in words.arrivals(licences.gone, licences)
    ]
    return lines


def _licence(text: str) -> str:
    return words.clean(text, 60) or "(none named)"


def _lines(change: LinesChange) -> list[str]:
    return [f"  - {words.clean(one)}" for one in change.removed] + [
        f"  + {words.clean(one)}" for one in change.added
    ]


def _settings(difference: Difference) -> list[str]:
    return [
        f"  {words.clean(one.name)}: {words.clean(one.old or 'none')} → {words.clean(one.new or 'none')}"
        for one in difference.settings
    ]


def _entry_points(difference: Difference) -> list[str]:
    lines = []
    for one in difference.entry_points:
        entry = f"{words.clean(one.entry)} ({words.clean(one.distribution)})"
        if one.old is not None and one.new is not None:
            lines.append(f"  ~ {entry}: {words.clean(one.old)} → {words.clean(one.new)}")
        else:
            lines.append(f"  {'-' if one.new is None else '+'} {entry}")
    return lines


def _native(difference: Difference) -> list[str]:
    """List what came and went; libraries under a new number are a count."""
    come = [f"  + {words.clean(one.new or '')}" for one in difference.native if one.old is None]
    gone = [f"  - {words.clean(one.old or '')}" for one in difference.native if one.new is None]
    renamed = len(difference.native) - len(come) - len(gone)
    lines = _some([*come, *gone], LINES)
    return [*lines, f"  ~ {words.counted(renamed, 'file')} under another name"] if renamed else lines


def _files(difference: Difference, show: Paint) -> list[str]:
    paths = difference.files.paths
    if paths is None:
        return []
    rows = {"added": paths.added, "removed": paths.removed, "changed": paths.changed}
    return [
        _painted(f"  {_PATHS[way]} {words.clean(path, 4096)}", show)
        for way, found in rows.items()
        for path in found
    ]
