"""A comparison as Markdown for a pull request: a line, tables, and details folded.

What comes from wheels and locks stands in code spans, where nothing is Markdown, HTML, a link or a mention
(https://github.github.com/gfm/#code-spans); sentences are escaped. docs/diff.md says what is shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.report.compare import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bundler.model import Finding
    from bundler.report.compare.difference import Difference, DistributionChange

LIMIT = 65_536
"""Characters that GitHub takes as the body of a pull request or a comment."""
UNFOLDED = 25
"""Rows of distributions that are shown without a click."""
_RESERVE = 400
"""Characters kept for saying what was cut."""
_ROW_RESERVE = 60
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
# GitHub looks for these in the text that is left when escapes are gone; a zero-width space hides them.
_MARKS = re.compile(r"(@|#|:(?=//)|\bwww(?=\.)|\bGH(?=-\d))", re.IGNORECASE)
_GAP = "\u200b"


@dataclass(frozen=True, kw_only=True)
class _Block:
    title: str
    head: str
    rows: Sequence[str]
    tail: str = ""


def as_markdown(difference: Difference, *, files: bool = False, limit: int = LIMIT) -> str:
    """Return Markdown (GitHub's flavour), with a line end behind the last line.

    :param files: list the path of every file that came, went or changed.
    :param limit: characters; rows that would not fit are left out, and it is said how many. At least 2,000.
    """
    title = prose(difference.new.name) or "What changed"
    if difference.empty:
        return f"### {title}\n\n{words.NO_DIFFERENCE.capitalize()}.\n{_note(difference)}"
    top = "\n".join([f"### {title}", "", *_alarms(difference), f"**{words.headline(difference)}**", ""])
    note = _note(difference)
    blocks = list(_blocks(difference, files=files))
    whole = "".join([top, *(_fitted(block, limit) for block in blocks), note])
    return whole if len(whole) <= limit else _cut(top, blocks, note, limit)


def _cut(text: str, blocks: Iterable[_Block], note: str, limit: int) -> str:
    """Put together what there is room for; no block takes more than half of what is left."""
    left_out: list[str] = []
    for block in blocks:
        fitted = _fitted(block, (limit - _RESERVE - len(text) - len(note)) // 2)
        text += fitted
        if not fitted:
            left_out.append(block.title)
    names = f": {', '.join(left_out)} left out" if left_out else ""
    return f"{text}{note}\n*Cut, since there is room for {limit:,} characters{names}.*\n"


def code(value: str, *, limit: int = words.LONGEST_VALUE) -> str:
    """Return a value as a code span that is safe in a cell of a table; empty for an empty value."""
    text = words.clean(value, limit)
    if not text:
        return ""
    # A pipe would end the cell even here, and whether `\\|` does, parsers do not agree on.
    text = re.sub(r"\\(?=\|)", r"\\ ", text).replace("|", "\\|")
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    gap = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{gap}{text}{gap}{fence}"


def prose(value: str, *, limit: int = words.LONGEST_VALUE) -> str:
    """Return a sentence in which nothing is markup, a link, a mention or a reference."""
    marked = _MARKS.sub(rf"\1{_GAP}", words.clean(value, limit))
    return _PUNCTUATION.sub(r"\\\1", marked)


def _said(notes: Iterable[words.Note]) -> str:
    return words.sentence(notes, code)


def _note(difference: Difference) -> str:
    note = words.not_compared(difference)
    return f"\n*{note}*\n" if note else ""


def _alarms(difference: Difference) -> list[str]:
    alarms = [_said(notes) for notes in words.alarms(difference.needs)]
    if not alarms:
        return []
    rest = len(alarms) - words.NAMES
    lines = [f"- **{line}**" for line in alarms[: words.NAMES]]
    lines += [f"- and {rest} more"] if rest > 0 else []
    suspects = difference.needs.suspects
    if suspects:
        shown = ", ".join(code(one) for one in suspects[: words.NAMES])
        rest = len(suspects) - words.NAMES
        more = f" and {rest} more" if rest > 0 else ""
        lines.append(f"- native files are new, gone or changed in {shown}{more}")
    return ["⚠️ **The image must have more than before:**", "", *lines, ""]


def _blocks(difference: Difference, *, files: bool) -> Iterator[_Block]:
    """Yield what there is to show, in the order in which a reviewer needs it."""
    if difference.findings:
        yield _findings(difference)
    changes = words.ordered(difference.distributions)
    if changes:
        rows = [_distribution(one) for one in changes]
        head = _table("", "distribution", "old", "new", "size", "")
        folded = len(rows) > UNFOLDED
        title = f"distributions: {len(rows)}"
        yield _folded(title, head, rows) if folded else _Block(title=title, head=f"\n{head}", rows=rows)
    yield from (block for block in _smaller(difference) if block.rows)
    paths = difference.files.paths
    if files and paths is not None:
        listed = (("added", paths.added), ("removed", paths.removed), ("changed", paths.changed))
        rows = [f"| {way} | {code(path, limit=4096)} |" for way, found in listed for path in found]
        if rows:
            yield _folded(f"files: {len(rows)}", _table("", "path"), rows)


def _smaller(difference: Difference) -> Iterator[_Block]:
    licences = difference.licences
    rows = [
        f"| new | | {_licence(one.licence)} | {_names(one.names)} |"
        for one in words.arrivals(licences.new, licences)
    ]
    rows += [
        f"| changed | {_licence(one.old)} | {_licence(one.new)} | {code(one.name)} |"
        for one in licences.changed
    ]
    rows += [
        f"| gone | {_licence(one.licence)} | | {_names(one.names)} |"
        for one in words.arrivals(licences.gone, licences)
    ]
    yield _folded(f"licences: {len(rows)}", _table("", "old", "new", "distributions"), rows)

    asked = (("", difference.requirements), ("constraint ", difference.constraints))
    rows = [
        f"| {kind}{way} | {code(line)} |"
        for kind, change in asked
        for way, lines in (("removed", change.removed), ("added", change.added))
        for line in lines
    ]
    yield _folded(f"requirements: {len(rows)}", _table("", "as written"), rows)

    rows = [
        f"| {code(one.name)} | {code(one.old or '')} | {code(one.new or '')} |" for one in difference.settings
    ]
    yield _folded(f"target, proof and tool: {len(rows)}", _table("", "old", "new"), rows)

    rows = [f"| {_said(notes)} |" for notes in words.reliefs(difference.needs)]
    yield _folded(f"no longer needed of the system: {len(rows)}", _table("need"), rows)

    rows = [
        f"| {code(one.distribution)} | {code(one.entry)} | {code(one.old or '')} | {code(one.new or '')} |"
        for one in difference.entry_points
    ]
    yield _folded(f"entry points: {len(rows)}", _table("distribution", "entry point", "old", "new"), rows)

    rows = [
        f"| {code(one.distribution)} | {code(one.old or '')} | {code(one.new or '')} |"
        for one in sorted(difference.native, key=lambda one: (one.old is not None, one.new is not None))
    ]
    yield _folded(f"native libraries: {len(rows)}", _table("distribution", "old", "new"), rows)


def _findings(difference: Difference) -> _Block:
    rows = []
    for change in difference.findings:
        one = change.new or change.old
        if one is None:
            continue
        way = "changed" if change.old and change.new else "new" if change.new else "gone"
        severity = words.finding(one)
        if change.old and change.new:
            severity = f"{severity}, was {words.finding(change.old)}"
        rows.append(f"| {way} | {code(one.code)} | {severity} | {code(one.subject)} | {_cause(one)} |")
    new = sum(1 for one in difference.findings if one.old is None)
    head = _table("", "code", "severity", "subject", "cause")
    title = f"findings: {len(rows)}"
    # What is new must be seen without a click.
    return _Block(title=title, head=f"\n{head}", rows=rows) if new else _folded(title, head, rows)


def _cause(finding: Finding) -> str:
    chain = f" (brought in by {code(' → '.join(finding.chain))})" if len(finding.chain) > 1 else ""
    return f"{prose(finding.cause)}{chain}"


def _distribution(change: DistributionChange) -> str:
    old = code(change.old.version) if change.old else ""
    new = code(change.new.version) if change.new else ""
    notes = words.notes(change)
    why = words.reason(change)
    if why:
        notes.append(why)
    said = ", ".join(_said([note]) for note in notes)
    return (
        f"| {change.change} | {code(change.name)} | {old} | {new} | {words.growth(change.growth)} | {said} |"
    )


def _licence(text: str) -> str:
    return code(text, limit=60) or "none named"


def _names(names: Sequence[str]) -> str:
    rest = len(names) - words.NAMES
    return ", ".join(code(one) for one in names[: words.NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _table(*titles: str) -> str:
    marks = ["--:" if title == "size" else "---" for title in titles]
    return f"| {' | '.join(titles)} |\n| {' | '.join(marks)} |\n"


def _folded(title: str, head: str, rows: Sequence[str]) -> _Block:
    # The empty line behind the summary makes what follows Markdown again.
    return _Block(
        title=title,
        head=f"\n<details><summary>{title}</summary>\n\n{head}",
        rows=rows,
        tail="\n</details>\n",
    )


def _fitted(block: _Block, room: int) -> str:
    """Return a block with as many rows as there is room for; empty where there is none for a single one."""
    room -= len(block.head) + len(block.tail) + _ROW_RESERVE
    taken = 0
    for row in block.rows:
        room -= len(row) + 1
        if room < 0:
            break
        taken += 1
    if not taken:
        return ""
    rows = "".join(f"{row}\n" for row in block.rows[:taken])
    rest = len(block.rows) - taken
    more = f"\n*… and {rest} more {'row' if rest == 1 else 'rows'}*\n" if rest else ""
    return f"{block.head}{rows}{more}{block.tail}"
