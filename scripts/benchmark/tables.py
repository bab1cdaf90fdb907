"""What was measured, as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scripts.benchmark import goals, growth

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scripts.benchmark.goals import Goal, Verdict
    from scripts.benchmark.results import Group, Measured, Results, Session

MIB = 1024 * 1024
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
WORK = ("bytecode", "verified", "hashes written")
NOTES = """\
Wall time and CPU time (user and system, children included) are medians. `own` is the most memory that the
started process itself had, `together` the most that it and its children had at once, in MiB; pages that they
share count in each. A ratio is the median of the ratios pair by pair, each of two runs in the same turn.
"""


def markdown(results: Results) -> str:
    """Return everything as a part of a page: the surroundings, and tables of rows and goals for each set."""
    parts = [_surroundings(results.sessions), NOTES]
    for group in results.groups:
        if growth.series_of(group[0]):
            continue
        rows = [row for row in results.rows if row.key[:3] == group]
        parts += [f"### {_heading(results, group)}\n", rows_table(rows)]
        if table := goals_table(results, group):
            parts.append(table)
    for series in growth.SERIES:
        for python, disk in growth.places(results, series):
            parts.append(f"### Growth with the number of {series.what}, Python {python}, {disk}\n")
            parts.append(growth.table(results, series, (python, disk)))
            limited = (goals_table(results, one, limited=True) for one in results.groups
                       if growth.series_of(one[0]) is series and one[1:] == (python, disk))  # fmt: skip
            parts += filter(None, limited)
    return "\n".join(parts)


def into(page: str, text: str) -> str:
    """Return a page with the text in place of what stands between its two marks.

    :raises ValueError: the marks are not there.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} … {END} in the page")
    return f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}"


def _surroundings(sessions: Sequence[Session]) -> str:
    dates = sorted({session.date for session in sessions})
    lines = [f"Measured {' to '.join(dict.fromkeys([dates[0], dates[-1]]))}.\n"] if dates else []
    for what in ("machine", "tools"):
        said = {
            name: _values(getattr(session, what).get(name) for session in sessions)
            for name in _names(sessions, what)
        }
        lines.append(f"- {what}: " + "; ".join(f"{name} {value}" for name, value in said.items()))
    lines.append(f"- targets: CPython {_values(session.python for session in sessions)}")
    lines.append(
        f"- seconds of rest before each run: {_values(f'{session.pause:g}' for session in sessions)}"
    )
    return "\n".join(lines) + "\n"


def _names(sessions: Sequence[Session], what: str) -> list[str]:
    return list(dict.fromkeys(name for session in sessions for name in getattr(session, what)))


def _values(values: Iterable[str | None]) -> str:
    return " and ".join(sorted({value for value in values if value}))


def _heading(results: Results, group: Group) -> str:
    chosen, python, disk = group
    mine = [one for one in results.sessions if one.chosen == chosen and one.python.startswith(f"{python}.")]
    counts = _values(str(one.distributions) for one in mine if one.distributions)
    return f"Set {chosen}, Python {python}, {disk}" + (f" ({counts} distributions)" if counts else "")


def line(*cells: object) -> str:
    """Return a line of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def rows_table(rows: Sequence[Measured]) -> str:
    """Return a table of rows, in the order of their time; those that failed are the last."""
    lines = [
        line("row", "runs", "wall s", "CPU s", "own", "together", "files", "MB", *WORK),
        "|---|--:|--:|--:|--:|--:|--:|--:|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: (not row.samples, row.median("wall") if row.samples else 0)):
        figures: tuple[object, ...] = (row.failed or "not run", "", "", "")
        if row.samples:
            figures = (seconds(row.median("wall")), seconds(row.median("cpu")), *_memory(row))
        made = (row.files, f"{row.size / 1e6:.1f}") if row.output else ("", "")
        work = (word or "-" for word in (row.bytecode, row.verifies, row.hashes))
        lines.append(line(row.title, len(row.samples), *figures, *made, *work))
    return "\n".join(lines) + "\n"


def _memory(row: Measured) -> tuple[str, str]:
    own, together = (max(getattr(one, name) for one in row.samples) / MIB for name in ("own", "together"))
    return (f"{own:.0f}", f"{together:.0f}") if own else ("-", "-")


def seconds(value: float) -> str:
    """Return seconds with three digits that count, but no more than milliseconds."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def goals_table(results: Results, group: Group, *, limited: bool = False) -> str:
    """Return a table of the goals of which all rows were run; empty, if there is none.

    :param limited: only those that have a limit in this set.
    """
    rows = results.of(group)
    judged = (goals.judge(goal, rows, chosen=group[0]) for goal in goals.GOALS)
    verdicts = [one for one in judged if one and (not limited or one.limit is not None)]
    if not verdicts:
        return ""
    lines = [
        line("work", "against", "pairs", "median", "lowest-highest", "at most", ""),
        "|---|---|--:|--:|--:|--:|---|",
    ]
    for one in verdicts:
        limit = "" if one.limit is None else f"{one.limit:g}{_unit(one.goal)}"
        spread = f"{figure(one, one.lowest)}-{figure(one, one.highest)}"
        median = f"{figure(one, one.value)}{_unit(one.goal)}"
        lines.append(line(*_sides(one.goal, rows), one.pairs, median, spread, limit, one.word))
    return "\n".join(lines) + "\n"


def brief(results: Results) -> str:
    """Return the table of the README: the goals that it quotes, a column for each disk."""
    disks = list(dict.fromkeys(disk for _, _, disk in results.groups))
    lines = [line("set", "work", "against", *disks, "at most"), f"|---|---|---|{'--:|' * len(disks)}--:|"]
    sets = list(dict.fromkeys((chosen, python) for chosen, python, _ in results.groups))
    for goal in (one for one in goals.GOALS if one.quoted):
        for chosen, python in (one for one in sets if goal.limit(one[0]) is not None):
            found = {
                disk: (verdict, rows)
                for disk in disks
                if (rows := results.of((chosen, python, disk)))
                and (verdict := goals.judge(goal, rows, chosen=chosen))
            }
            if found:
                figures = [_brief(found[disk][0]) if disk in found else "" for disk in disks]
                sides = _sides(goal, next(iter(found.values()))[1])
                lines.append(line(chosen, *sides, *figures, f"{goal.limit(chosen):g}{_unit(goal)}"))
    return "\n".join(lines) + "\n"


def _brief(verdict: Verdict) -> str:
    text = f"{figure(verdict, verdict.value)}{_unit(verdict.goal)}"
    return text if verdict.word == "met" else f"**{text}**"


def _sides(goal: Goal, rows: dict[str, Measured]) -> tuple[str, str]:
    if not goal.peers:
        return "highest memory of envbundle's own process", "-"
    ours, peers = ([rows[name].title for name in names] for names in (goal.ours, goal.peers))
    return " + ".join(ours), " + ".join(peers)


def _unit(goal: Goal) -> str:
    return "" if goal.peers else " MiB"


def figure(verdict: Verdict, value: float) -> str:
    """Return a ratio with three decimals, a memory with none."""
    return f"{value:.3f}" if verdict.goal.peers else f"{value:.0f}"
