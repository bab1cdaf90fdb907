"""The dependency graph: why each distribution is there, and a drawing that reads from left to right.

What was asked for stands in the first column, and every other distribution one column right of the nearest
that requires it: a shortest chain goes from column to column. The order in a column keeps lines short. A tall
column is folded into several side by side.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

from bundler.bundle.manifest.values import ManifestDistribution
from bundler.lazy_dataclass import dataclass
from bundler.report import requirers
from bundler.report.pages.treemap import BOLD, LETTER

ROW = 24
GAP = 40
"""Between two columns, for the lines."""
FOLD = 12
"""Between the parts of a folded column."""
FONT = 13
PADDING = 8
ROWS = (30, 40, 60, 90, 130, 200)
"""A column with more is folded; the first of these with which the drawing is narrow enough counts."""
WIDEST = 1340
"""A wider drawing has letters that are too small on a page of 1072 pixels."""
SWEEPS = 6
LONGEST_NAME = 22


@dataclass(frozen=True, kw_only=True)
class Node:
    """A distribution in the drawing; the position is the middle of its left edge."""

    name: str
    label: str
    requested: bool
    x: float
    y: float
    width: float


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line from a distribution to one that it requires."""

    parent: str
    child: str
    path: str
    """The `d` of an SVG path."""
    near: bool
    """It is the last step of the child's chain (`chains`)."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """The graph: `width` and `height` are those of its viewBox."""

    width: int
    height: int
    nodes: tuple[Node, ...]
    lines: tuple[Line, ...]


def parents(distributions: Sequence[ManifestDistribution]) -> dict[str, tuple[str, ...]]:
    """Return for each distribution, sorted by name, the distributions of the bundle that require it."""
    names = {dist.name for dist in distributions}
    return {
        dist.name: tuple(sorted({one for one in dist.required_by if one in names and one != dist.name}))
        for dist in sorted(distributions, key=lambda dist: dist.name)
    }


def chains(distributions: Sequence[ManifestDistribution]) -> dict[str, tuple[str, ...]]:
    """Return for each distribution a shortest chain from a requested one down to it.

    Of several chains it is the first by name. A distribution that no requested one leads to, since what was
    left to the image requires it, has a chain of itself alone.
    """
    requested = sorted(dist.name for dist in distributions if dist.requested)
    return requirers.chains(parents(distributions), requested)


def draw(distributions: Sequence[ManifestDistribution]) -> Drawing:
    """Lay out the graph."""
    above = parents(distributions)
    chain = chains(distributions)
    columns = _ordered(_columns(chain), above)
    requested = {dist.name for dist in distributions if dist.requested}
    for rows in ROWS:
        nodes, width = _placed(_folded(columns, rows), requested)
        if width <= WIDEST:
            break
    lines = tuple(
        Line(
            parent=parent,
            child=child,
            path=_curve(nodes[parent], nodes[child]),
            near=chain[child][-2:] == (parent, child),
        )
        for child, required_by in above.items()
        for parent in required_by
    )
    return Drawing(
        width=width,
        height=round(max((node.y for node in nodes.values()), default=-ROW / 2) + ROW / 2),
        nodes=tuple(nodes.values()),
        lines=lines,
    )


def _folded(columns: Sequence[list[str]], rows: int) -> list[list[list[str]]]:
    """Cut each column into the columns that stand side by side for it.

    Neighbours of the one column come to stand at one height, so that lines stay as short.
    """
    cut = [-(-len(column) // rows) for column in columns]
    return [[column[at::many] for at in range(many)] for column, many in zip(columns, cut, strict=True)]


def _placed(columns: Sequence[list[list[str]]], requested: Container[str]) -> tuple[dict[str, Node], int]:
    """Return the nodes by name, and the width of the drawing."""
    tallest = max((len(part) for folded in columns for part in folded), default=0)
    nodes: dict[str, Node] = {}
    left = 1.0
    for folded in columns:
        for part in folded:
            top = (tallest - len(part)) * ROW / 2
            for row, name in enumerate(part):
                label = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
                nodes[name] = Node(
                    name=name,
                    label=label,
                    requested=name in requested,
                    x=left,
                    y=top + (row + 0.5) * ROW,
                    width=2 * PADDING + len(label) * FONT * (BOLD if name in requested else LETTER),
                )
            left += max(nodes[name].width for name in part) + (FOLD if part is not folded[-1] else GAP)
    return nodes, round(left - GAP / 2) if nodes else 0


def _columns(chain: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Put each name into the column of its distance from what was asked for."""
    columns: list[list[str]] = [[] for _ in range(max(map(len, chain.values()), default=0))]
    for name, path in chain.items():
        columns[len(path) - 1].append(name)
    return columns


def _ordered(columns: list[list[str]], above: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Sort each column by the mean place of its neighbours, to and fro (Sugiyama's barycentres)."""
    below: dict[str, list[str]] = {name: [] for name in above}
    for name, required_by in above.items():
        for parent in required_by:
            below[parent].append(name)
    place = {name: _middle(row, column) for column in columns for row, name in enumerate(column)}
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for column in columns if down else reversed(columns):
            near = above if down else below
            mean = {
                name: sum(place[one] for one in near[name]) / len(near[name]) if near[name] else place[name]
                for name in column
            }
            column.sort(key=lambda name: (mean[name], name))
            place.update((name, _middle(row, column)) for row, name in enumerate(column))
    return columns


def _middle(row: int, column: Sequence[str]) -> float:
    """Place in a column as it is drawn, around the middle."""
    return row - (len(column) - 1) / 2


def _curve(parent: Node, child: Node) -> str:
    """Return a path to the left edge of a child further right, else around from right edge to right edge."""
    start, end = parent.x + parent.width, child.x
    if child.x > parent.x:
        bend = (end - start) / 2
        bends = (start + bend, end - bend)
    else:
        end = child.x + child.width
        bends = (max(start, end) + GAP * 0.75,) * 2
    return (
        f"M{start:.0f} {parent.y:.0f}C{bends[0]:.0f} {parent.y:.0f} "
        f"{bends[1]:.0f} {child.y:.0f} {end:.0f} {child.y:.0f}"
    )
