"""What was measured, as SVG: one file, nothing fetched, light and dark."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from scripts.benchmark import growth
from scripts.benchmark.tables import seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.benchmark.growth import Point, Series
    from scripts.benchmark.results import Measured, Results

WIDTH = 1000
LABELS = 520
"""Pixels for the names of the rows."""
FIGURES = 70
BAR, STEP, HEAD = 14, 22, 40
STYLE = """\
text { font: 12px system-ui, sans-serif; fill: #1f2328; }
.head { font-weight: 600; font-size: 14px; }
.small { fill: #59636e; }
.ours { fill: #0969da; } .peer { fill: #afb8c1; } .spread, .axis { stroke: #59636e; }
.line { fill: none; stroke-width: 2; }
.c0 { stroke: #0969da; } .c1 { stroke: #bc4c00; } .c2 { stroke: #59636e; stroke-dasharray: 6 4; }
.c3 { stroke: #1a7f37; stroke-dasharray: 2 3; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .small { fill: #9198a1; } .ours { fill: #4493f8; } .peer { fill: #57606a; }
  .spread, .axis { stroke: #9198a1; }
  .c0 { stroke: #4493f8; } .c1 { stroke: #f0883e; } .c2 { stroke: #9198a1; } .c3 { stroke: #3fb950; }
}
"""


def bars(results: Results) -> str:
    """Return a panel a set and Python: a bar a row that makes something, its median and its spread."""
    parts: list[str] = []
    top = 0
    for group in results.groups:
        known = [row for row in results.of(group).values() if row.output]
        if not known or growth.series_of(group[0]):
            continue
        chosen, python, disk = group
        known.sort(key=lambda row: row.median("wall"))
        parts += _panel(f"Set {chosen}, Python {python}, {disk}: seconds, median and spread", known, top)
        top += HEAD + STEP * len(known) + 16
    return _document(WIDTH, max(top, HEAD), parts, title="Time of each row")


def _panel(title: str, rows: Sequence[Measured], top: int) -> list[str]:
    most = max(sample.wall for row in rows for sample in row.samples)
    scale = (WIDTH - LABELS - FIGURES - 10) / most
    parts = [_text(0, top + 22, title, kind="head")]
    for number, row in enumerate(rows):
        y = top + HEAD + number * STEP
        median = row.median("wall")
        walls = [sample.wall for sample in row.samples]
        kind = "ours" if row.title.startswith("`envbundle") else "peer"
        low, high = (LABELS + value * scale for value in (min(walls), max(walls)))
        middle = y + BAR / 2
        parts += [
            _text(LABELS - 8, y + 11, row.title.replace("`", ""), anchor="end"),
            f'<rect class="{kind}" x="{LABELS}" y="{y}" width="{median * scale:.1f}" height="{BAR}" rx="2"/>',
            f'<line class="spread" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>',
            _text(round(high) + 6, y + 11, f"{seconds(median)} s"),
        ]
    return parts


def lines(results: Results) -> str:
    """Return a panel a series and Python: what it took as multiples of what its smallest set took."""
    parts: list[str] = []
    top = 0
    for series in growth.SERIES:
        for place in growth.places(results, series):
            known = growth.points(results, series, place)
            if len(known) < 2:
                continue
            parts += _growth(series, ", ".join(place), known, top)
            top += 420
    return _document(WIDTH, max(top, HEAD), parts, title="Growth")


def _growth(series: Series, where: str, known: list[Point], top: int) -> list[str]:
    left, right, high, low = 60, WIDTH - 190, top + 60, top + 370
    first, last = known[0], known[-1]
    most = max(growth.times(known, member) for member, _ in series.members)

    def x(count: int) -> float:
        return left + (right - left) * count / last.count

    def y(value: float) -> float:
        return low - (low - high) * value / most

    head = f"{series.title}, Python {where}: times as much as for {first.count} of the {series.what}"
    parts = [_text(0, top + 22, head, kind="head")]
    parts.append(f'<path class="line axis" d="M{left},{high} V{low} H{right}"/>')
    for point in known:
        label = f"{point.count}: {seconds(point.seconds)} s, {point.memory:.0f} MiB"
        below, anchor = (34 if point is first else 18), ("end" if point is last else "middle")
        parts.append(_text(round(x(point.count)), low + below, label, kind="small", anchor=anchor))
    parts += [
        _text(left - 8, round(y(value)) + 4, f"{value:g}x", kind="small", anchor="end")
        for value in _ticks(most)
    ]
    ends = _apart([y(growth.times(known, member)) for member, _ in series.members])
    for number, ((member, name), end) in enumerate(zip(series.members, ends, strict=True)):
        base = getattr(first, member)
        places = " ".join(f"{x(one.count):.1f},{y(getattr(one, member) / base):.1f}" for one in known)
        parts.append(f'<polyline class="line c{number}" points="{places}"/>')
        parts.append(_text(right + 8, round(end) + 4, f"{name} {growth.times(known, member):.1f}x"))
    return parts


def _ticks(most: float) -> list[float]:
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 1000) if most / step <= 8)
    return [step * number for number in range(int(most / step) + 1)]


def _apart(places: list[float], least: float = 16) -> list[float]:
    """Move labels down until none stands on another."""
    moved = list(places)
    before = float("-inf")
    for number in sorted(range(len(places)), key=places.__getitem__):
        before = moved[number] = max(places[number], before + least)
    return moved


def _text(x: int, y: int, words: str, *, kind: str = "", anchor: str = "start") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{named}>{escape(words)}</text>'


def _document(width: int, height: int, parts: Sequence[str], *, title: str) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
    return (
        "\n".join([head, f"<title>{escape(title)}</title>", f"<style>\n{STYLE}</style>", *parts, "</svg>"])
        + "\n"
    )
