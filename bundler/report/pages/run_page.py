"""The report of a run over many bundles: what was built, what was not, and what is new."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal
from urllib.parse import quote

from bundler.lazy_dataclass import dataclass
from bundler.model import Finding
from bundler.report.compare.difference import Difference
from bundler.report.pages import treemap
from bundler.report.pages.changes import Changes, changed, versions
from bundler.report.pages.page import render

State = Literal["unchanged", "built", "would-build", "not-proved", "failed", "skipped"]
BROKEN: tuple[State, ...] = ("not-proved", "failed")
WORDS: dict[State, str] = {
    "failed": "failed",
    "not-proved": "not proved",
    "built": "built",
    "would-build": "would be built",
    "unchanged": "unchanged",
    "skipped": "skipped",
}
"""Every state as it is called, in the order of the report: what somebody must act on first."""
WHO = {
    1: "the bundle's owner",
    2: "whoever wrote the requirements",
    3: "whoever looks after the machine or the network",
    4: "the makers of envbundle",
}
"""Who must act, by exit code: see the README."""
MOST_VERSIONS = 4


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """What became of one bundle in a run."""

    name: str
    """`scoring-py38`: unique in the run."""
    bundle: str
    """`scoring`, as the file names it; the picture puts those of one name together."""
    state: State
    place: str = ""
    """`envbundle.toml:17`."""
    reason: str = ""
    """Why it was built, or would be: a part of a sentence."""
    build: str = ""
    """The build that is current after the run; empty: there is none."""
    size: int = 0
    """Bytes of the current build."""
    seconds: float | None = None
    """`None`: not known."""
    findings: tuple[Finding, ...] = ()
    not_isolated: tuple[str, ...] = ()
    """Parts of the isolation that were not in force during the proof of the current build."""
    error: str = ""
    hint: str = ""
    exit_code: int = 0
    changes: Difference | None = None
    report: str = ""
    """Path of the bundle's own report, relative to this one; empty: there is none."""


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """A row of the table."""

    key: str
    row: RunRow
    word: str
    href: str
    """Of the bundle's own report, quoted; empty: there is none."""
    versions: tuple[str, ...]
    """What changed, as far as it fits a table."""
    more: int
    """How many more distributions changed."""
    findings: tuple[Finding, ...]
    """The worst first."""
    counts: str
    """`1 error, 2 warnings`; empty: nothing is open."""
    changes: Changes | None


def run_html(
    rows: Sequence[RunRow],
    *,
    title: str = "",
    when: str = "",
    seconds: float | None = None,
    dry: bool = False,
) -> str:
    """Return the report of a run, a whole HTML file.

    :param rows: what became of each bundle.
    :param title: what was run: the file's name, for instance.
    :param when: the day and time of the run, as it is to be shown; empty: not shown.
    :param seconds: how long the run took; `None`: not shown.
    :param dry: nothing was built (`--dry-run`).
    """
    lines = _lines(rows)
    counts = Counter(row.state for row in rows)
    broken = sum(counts[state] for state in BROKEN)
    return render(
        "run.html",
        title=title,
        when=when,
        seconds=seconds,
        dry=dry,
        state="bad" if broken else "good",
        headline=_headline(len(rows), broken, counts, dry=dry),
        counts=[(word, counts[state], state) for state, word in WORDS.items() if counts[state]],
        who=WHO,
        lines=lines,
        broken=[line for line in lines if line.row.state in BROKEN],
        with_changes=[line for line in lines if line.changes is not None and not line.changes.empty],
        timed=any(row.seconds is not None for row in rows),
        total=sum(row.size for row in rows),
        treemaps=_treemaps(lines),
    )


def _headline(total: int, broken: int, counts: Counter[State], *, dry: bool) -> str:
    if not total:
        return "There was nothing to do"
    if broken:
        return f"{broken} of {total} bundles failed" if total > 1 else "The bundle failed"
    if dry and counts["would-build"]:
        return f"{counts['would-build']} of {total} bundles would be built"
    if counts["built"] == total:
        return "Every bundle built and proved"
    if counts["built"]:
        return f"{counts['built']} of {total} bundles built, every one proved"
    return "Nothing changed"


def _lines(rows: Sequence[RunRow]) -> list[TableRow]:
    order = tuple(WORDS)
    ordered = sorted(enumerate(rows), key=lambda pair: (order.index(pair[1].state), pair[1].name))
    return [_line(row, f"b-{number}") for number, row in ordered]


def _line(row: RunRow, key: str) -> TableRow:
    every = versions(row.changes) if row.changes is not None else ()
    shown = every if len(every) <= MOST_VERSIONS + 1 else every[:MOST_VERSIONS]
    return TableRow(
        key=key,
        row=row,
        word=WORDS[row.state],
        # Quoted as a path, a colon included, it can be no other scheme.
        href=quote(row.report, safe="/"),
        versions=shown,
        more=len(every) - len(shown),
        findings=tuple(sorted(row.findings, key=lambda one: one.rank)),
        counts=_counts(row.findings),
        changes=changed(row.changes) if row.changes is not None else None,
    )


def _counts(findings: Iterable[Finding]) -> str:
    counts = Counter("accepted" if one.accepted is not None else one.severity for one in findings)
    words = [
        f"{counts[severity]} {severity}{'s' if counts[severity] != 1 else ''}"
        for severity in ("error", "warning")
        if counts[severity]
    ]
    return ", ".join([*words, *([f"{counts['accepted']} accepted"] if counts["accepted"] else [])])


def _treemaps(lines: Sequence[TableRow]) -> dict[str, treemap.Treemap]:
    """Return treemaps of the bundles by size; those with one name stand together."""
    groups: dict[str, list[TableRow]] = {}
    for line in lines:
        groups.setdefault(line.row.bundle, []).append(line)
    items = [
        treemap.Item(
            label=name,
            bytes=sum(line.row.size for line in group),
            key=group[0].key,
            kind="requested" if all(line.row.state == "built" for line in group) else "needed",
            parts=tuple(
                treemap.Item(
                    label=line.row.name.removeprefix(f"{name}-"),
                    title=line.row.name,
                    bytes=line.row.size,
                    key=line.key,
                    kind="requested" if line.row.state == "built" else "needed",
                )
                for line in sorted(group, key=lambda line: line.row.name)
            ),
        )
        for name, group in groups.items()
    ]
    return {
        "wide": treemap.make(items, width=1040, height=420),
        "narrow": treemap.make(items, width=343, height=420, smallest=500),
    }
