"""How time and memory grow with the number of distributions, beside the bytes and files that they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scripts.benchmark.results import Measured, Results

PREFIX = "growth-"
OURS, PEER = "lock-warm", "uv-bytecode-warm"
ROWS = (OURS, PEER)
MIB = 1024 * 1024
MEMBERS = ("seconds", "memory", "size", "files")


@dataclass(frozen=True, kw_only=True)
class Point:
    """A number of distributions, and what their bundle took."""

    count: int
    seconds: float
    """Median."""
    memory: float
    """MiB, the highest peak of envbundle's own process."""
    size: float
    """MB of the bundle."""
    files: int
    peer: float | None
    """Seconds of the peer; `None`: it was not run."""


def pythons(results: Results) -> list[str]:
    """Pythons on which growth was measured."""
    return list(dict.fromkeys(python for chosen, python in results.groups if chosen.startswith(PREFIX)))


def points(results: Results, python: str) -> list[Point]:
    """Return the points of one Python, the smallest first."""
    rows = {
        row.chosen: row for row in results.rows if row.python == python and row.name == OURS and row.samples
    }
    peers = {
        row.chosen: row for row in results.rows if row.python == python and row.name == PEER and row.samples
    }
    found = [_point(row, peers.get(chosen)) for chosen, row in rows.items() if chosen.startswith(PREFIX)]
    return sorted(found, key=lambda point: point.count)


def _point(row: Measured, peer: Measured | None) -> Point:
    return Point(
        count=int(row.chosen.removeprefix(PREFIX)),
        seconds=row.median("wall"),
        memory=max(sample.own for sample in row.samples) / MIB,
        size=row.size / 1e6,
        files=row.files,
        peer=peer.median("wall") if peer else None,
    )


def times(known: list[Point], member: str) -> float:
    """Return how many times as much the largest has of something as the smallest."""
    return float(getattr(known[-1], member) / getattr(known[0], member))


def table(results: Results, python: str) -> str:
    """Return the points as a Markdown table, and what they say of the growth."""
    known = points(results, python)
    head = "| distributions | files | MB | wall s | own MiB | uv with bytecode, wall s |"
    lines = [head, "|--:|--:|--:|--:|--:|--:|"]
    for one in known:
        peer = f"{one.peer:.2f}" if one.peer is not None else ""
        lines.append(
            f"| {one.count} | {one.files} | {one.size:.1f} | {one.seconds:.2f} | {one.memory:.0f} | {peer} |"
        )
    if len(known) < 2:
        return "\n".join(lines) + "\n"
    least = min(times(known, "size"), times(known, "files"))
    words = [
        f"{name} {grown:.1f} times ({'met' if grown <= least else '**not met**'})"
        for name, grown in (("the time", times(known, "seconds")), ("the memory", times(known, "memory")))
    ]
    said = (
        f"From {known[0].count} to {known[-1].count} distributions the bytes grow"
        f" {times(known, 'size'):.1f} times and the files {times(known, 'files'):.1f} times;"
        f" {' and '.join(words)}."
    )
    return "\n".join([*lines, "", said]) + "\n"
