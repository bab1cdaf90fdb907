"""A comparison as Markdown for a pull request: a line, tables, and details folded.

What comes from wheels and locks stands in code spans, where nothing is Markdown, HTML, a link or a mention
(https://github.github.com/gfm/#code-spans); sentences are escaped. docs/diff.md says what is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from bundler.lazy_dataclass import dataclass
from bundler.report.compare import sections
from bundler.report.compare.difference import Difference, DistributionChange, FindingChange
from bundler.report.compare.sections import ALARMS, LONGEST_PATH, LONGEST_VALUE, NAMES, SECTIONS, Style, clean

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
        return f"### {title}\n\n{sections.NO_DIFFERENCE.capitalize()}.\n{_note(difference)}"
    top = "\n".join([f"### {title}", "", *_alarms(difference), f"**{sections.headline(difference)}**", ""])
    note = _note(difference)
    blocks = [block for block in _blocks(difference, files=files) if block.rows]
    whole = "".join([top, *(_fitted(block, limit) for block in blocks), note])
    return whole if len(whole) <= limit else _cut(top, blocks, note, limit)


def _cut(text: str, blocks: Iterable[_Block], note: str, limit: int) -> str:
    """Join what there is room for; no block takes more than half of the room that is left."""
    left_out: list[str] = []
    for block in blocks:
        fitted = _fitted(block, (limit - _RESERVE - len(text) - len(note)) // 2)
        text += fitted
        if not fitted:
            left_out.append(block.title)
    names = f": {', '.join(left_out)} left out" if left_out else ""
    return f"{text}{note}\n*Cut, since there is room for {limit:,} characters{names}.*\n"


def code(value: str, limit: int = LONGEST_VALUE) -> str:
    """Return a value as a code span that is safe in a cell of a table; empty for an empty value."""
    text = clean(value, limit)
    if not text:
        return ""
    # A pipe would end the cell even here, and whether `\\|` does, parsers do not agree on.
    text = re.sub(r"\\(?=\|)", r"\\ ", text).replace("|", "\\|")
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    gap = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{gap}{text}{gap}{fence}"


def prose(value: str, limit: int = LONGEST_VALUE) -> str:
    """Return a sentence in which nothing is markup, a link, a mention or a reference."""
    marked = _MARKS.sub(rf"\1{_GAP}", clean(value, limit))
    return _PUNCTUATION.sub(r"\\\1", marked)


def _names(found: Sequence[str]) -> str:
    return sections.names([code(one) for one in found])


_STYLE = Style(form="markdown", show=code, names=_names, absent="", unnamed="none named")


def _note(difference: Difference) -> str:
    note = sections.not_compared(difference)
    return f"\n*{note}*\n" if note else ""


def _alarms(difference: Difference) -> list[str]:
    alarms = [_STYLE.write(ALARMS, row) for row in ALARMS.short(difference)]
    if not alarms:
        return []
    rest = len(alarms) - NAMES
    lines = [*alarms[:NAMES], *([f"- and {rest} more"] if rest > 0 else [])]
    if difference.needs.suspects:
        lines.append(f"- native files are new, gone or changed in {_names(difference.needs.suspects)}")
    return ["⚠️ **The image must have more than before:**", "", *lines, ""]


def _blocks(difference: Difference, *, files: bool) -> Iterator[_Block]:
    """Yield what there is to show, in the order in which a reviewer needs it."""
    # What is new must be seen without a click.
    new = any(one.way == "new" for one in difference.findings)
    headings: tuple[str, ...] = ("", "code", "severity", "subject", "cause")
    yield _block("findings", headings, [_finding(one) for one in difference.findings], folded=not new)
    rows = [_distribution(one) for one in sections.ordered(difference.distributions)]
    headings = ("", "distribution", "old", "new", "size", "")
    yield _block("distributions", headings, rows, folded=len(rows) > UNFOLDED)
    for (summary, headings), group in groupby(SECTIONS, key=lambda one: (one.title.markdown, one.headings)):
        rows = [_STYLE.write(section, row) for section in group for row in section.short(difference)]
        yield _block(summary, headings, rows)
    if files and difference.files.paths:
        listed = difference.files.paths.listed
        yield _block(
            "files", ("", "path"), [f"| {way} | {code(path, LONGEST_PATH)} |" for way, path in listed]
        )


def _finding(change: FindingChange) -> str:
    one = change.finding
    severity = sections.severity(one)
    if change.old and change.new:
        severity += f", was {sections.severity(change.old)}"
    chain = f" (brought in by {code(' → '.join(one.chain))})" if len(one.chain) > 1 else ""
    return (
        f"| {change.way} | {code(one.code)} | {severity} | {code(one.subject)} | {prose(one.cause)}{chain} |"
    )


def _distribution(change: DistributionChange) -> str:
    old = code(change.old.version) if change.old else ""
    new = code(change.new.version) if change.new else ""
    more, notes = sections.growth(change.growth), sections.notes(change, code, why=True)
    return f"| {change.change} | {code(change.name)} | {old} | {new} | {more} | {notes} |"


def _block(summary: str, headings: Sequence[str], rows: Sequence[str], *, folded: bool = True) -> _Block:
    marks = ["--:" if heading == "size" else "---" for heading in headings]
    head = f"\n| {' | '.join(headings)} |\n| {' | '.join(marks)} |\n"
    title = f"{summary}: {len(rows)}"
    if not folded:
        return _Block(title=title, head=head, rows=rows)
    # The empty line behind the summary makes what follows Markdown again.
    head = f"\n<details><summary>{title}</summary>\n{head}"
    return _Block(title=title, head=head, rows=rows, tail="\n</details>\n")


def _fitted(block: _Block, room: int) -> str:
    """Return a block with as many rows as there is room for; empty if there is no room for one."""
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
