"""A comparison as text for a terminal or a log: the important first, and short."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from bundler.report.compare import sections
from bundler.report.compare.difference import Difference, DistributionChange
from bundler.report.compare.sections import ALARMS, LONGEST_PATH, SECTIONS, SIGNS, Section, Style, clean

Role = Literal["alarm", "title", "added", "removed", "quiet"]


Paint = Callable[[str, Role], str]
"""Gives a part of the text its colour on a terminal."""
DISTRIBUTIONS = 20
"""Lines of distributions that changed in one way; a change of Python changes all of them."""
LINES = 10
"""Lines of every other section."""
LONGEST_NAME = 50
"""Characters of a name with versions; a longer one must not push the other columns out of sight."""
_FINDING_SIGNS = {"new": "+", "gone": "-", "changed": "~"}


def _names(found: Sequence[str]) -> str:
    return sections.names([clean(one) for one in found])


_STYLE = Style(form="text", show=clean, names=_names, absent="none", unnamed="(none named)")


def as_text(difference: Difference, *, files: bool = False, paint: Paint | None = None) -> str:
    """Return lines for people, without a line end behind the last.

    :param files: list the path of every file that came, went or changed.
    :param paint: gives colours; `None`: none.
    """
    show: Paint = paint or (lambda text, _: text)
    lines = [sections.NO_DIFFERENCE] if difference.empty else _all_lines(difference, files=files, show=show)
    if note := sections.not_compared(difference):
        lines += [*([""] if len(lines) > 1 else []), show(note, "quiet")]
    return "\n".join(lines)


def _all_lines(difference: Difference, *, files: bool, show: Paint) -> list[str]:
    lines = [show(line, "alarm") for line in _some(_alarms(difference), LINES)]
    lines.append(show(sections.headline(difference), "title"))
    parts = [
        ("findings", _some(_findings(difference), LINES)),
        ("distributions", _distributions(difference)),
        *((section.title.text, _lines(section, difference)) for section in SECTIONS),
    ]
    parts = [part for part in parts if part[1]]
    if files and difference.files.paths:
        listed = difference.files.paths.listed
        parts.append(("files", [f"  {SIGNS[way]} {clean(path, LONGEST_PATH)}" for way, path in listed]))
    for title, rows in parts:
        lines += ["", show(title, "title"), *(_painted(row, show) for row in rows)]
    if difference.files.documents and (files or len(lines) == 1):
        lines += ["", f"other beside the tree: {_names(difference.files.documents)}"]
    return lines


def _painted(line: str, show: Paint) -> str:
    sign = line[2:3]
    return show(line, "added" if sign == "+" else "removed") if sign in ("+", "-") else line


def _some(lines: Sequence[str], limit: int, what: str = "") -> list[str]:
    """Cut a list, and say how many lines are left out."""
    rest = len(lines) - limit
    # One line is not left out: the line that says so would take its place.
    return (
        list(lines)
        if rest <= 1
        else [*lines[:limit], f"  … {rest} more{f' {what}' if what else ''}, see --json"]
    )


def _alarms(difference: Difference) -> list[str]:
    lines = [_STYLE.write(ALARMS, row) for row in ALARMS.short(difference)]
    if lines and difference.needs.suspects:
        lines.append(f"  native files are new, gone or changed in {_names(difference.needs.suspects)}")
    return lines


def _lines(section: Section, difference: Difference) -> list[str]:
    """Write the rows of a section; what has no line of its own, a library under another name, is counted."""
    rows = list(section.short(difference))
    written = [line for row in rows if (line := _STYLE.write(section, row))]
    rest = len(rows) - len(written)
    lines = _some([f"  {line}" for line in written], LINES)
    return [*lines, f"  ~ {rest} file{'s' if rest != 1 else ''} under another name"] if rest else lines


def _findings(difference: Difference) -> list[str]:
    lines = []
    for change in difference.findings:
        one = change.finding
        line = (
            f"  {_FINDING_SIGNS[change.way]} {clean(one.code)} {sections.severity(one)}, {clean(one.subject)}"
        )
        if change.new is None:
            line += ": gone"
        elif change.old is not None:
            line += f": was {sections.severity(change.old)}"
        elif one.severity != "info":
            line += f": {clean(one.cause)}"
        lines.append(line)
    return lines


def _distributions(difference: Difference) -> list[str]:
    changes = sections.ordered(difference.distributions)
    rows = [_distribution(one) for one in changes]
    first, second = (max((len(row[column]) for row in rows), default=0) for column in (0, 1))
    first = min(first, LONGEST_NAME)
    found: list[str] = []
    for way in SIGNS:
        lines = [
            f"  {label:<{first}}  {more:>{second}}  {notes}".rstrip()
            for (label, more, notes), one in zip(rows, changes, strict=True)
            if one.change == way
        ]
        found += _some(lines, DISTRIBUTIONS, way)
    return found


def _distribution(change: DistributionChange) -> tuple[str, str, str]:
    """Sign with name and versions (`1.0 → 2.0`), growth, notes."""
    texts = [one.version for one in (change.old, change.new) if one is not None and one.version]
    versions = clean(" → ".join(dict.fromkeys(texts)))
    label = f"{SIGNS[change.change]} {clean(change.name)} {versions}".rstrip()
    notes = sections.notes(change, clean, why=change.change == "added")
    return label, sections.growth(change.growth), notes
