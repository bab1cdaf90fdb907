"""How time and memory grow: with the number of distributions of a bundle, and of bundles of a night."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scripts.benchmark import goals, nights

if TYPE_CHECKING:
    from scripts.benchmark.results import Measured, Results

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Series:
    """Sets of growing size."""

    prefix: str
    """Of their names."""
    what: str
    """What there is more and more of."""
    ours: str
    """The row that is measured."""
    peer: str
    title: str
    against: str
    """The peer, for the head of a column."""
    members: tuple[tuple[str, str], ...]
    """What is drawn: member of a point, and its name."""

    @property
    def rows(self) -> tuple[str, str]:
        """Names of the rows that are run."""
        return self.ours, self.peer


TIME, MEMORY = ("seconds", "time"), ("memory", "own memory")
DISTRIBUTIONS = Series(
    prefix="growth-",
    what="distributions",
    ours="lock-warm",
    peer="uv-bytecode-warm",
    title="envbundle create --lock, warm",
    against="uv with bytecode",
    members=(TIME, MEMORY, ("size", "bytes"), ("files", "files")),
)
BUNDLES = Series(
    prefix=nights.PREFIX,
    what="bundles",
    ours=nights.OURS,
    peer=nights.PEER,
    title="envbundle rebuild, unchanged",
    against="uv pip compile, once for each of the five sets",
    members=(TIME, ("cpu", "CPU time"), MEMORY),
)
SERIES = (DISTRIBUTIONS, BUNDLES)


@dataclass(frozen=True, kw_only=True)
class Point:
    """A number of distributions or bundles, and what they took."""

    count: int
    seconds: float
    """Median."""
    cpu: float
    """Median, seconds."""
    memory: float
    """MiB, the highest peak of envbundle's own process."""
    size: float
    """MB of the bundle."""
    files: int
    peer: float | None
    """Seconds of the peer; `None`: it was not run."""
    ratio: float | None
    """Median of the ratios pair by pair."""


def series_of(chosen: str) -> Series | None:
    """Return the series to which a set belongs."""
    return next((one for one in SERIES if chosen.startswith(one.prefix)), None)


def places(results: Results, series: Series) -> list[tuple[str, str]]:
    """Pythons and file systems on which a series was measured."""
    found = ((python, disk) for chosen, python, disk in results.groups if series_of(chosen) is series)
    return list(dict.fromkeys(found))


def points(results: Results, series: Series, place: tuple[str, str]) -> list[Point]:
    """Return the points of one Python and file system, the smallest first."""
    found = []
    for group in results.groups:
        rows = results.of(group)
        if group[1:] == place and series_of(group[0]) is series and series.ours in rows:
            found.append(_point(rows[series.ours], rows.get(series.peer), series))
    return sorted(found, key=lambda point: point.count)


def _point(row: Measured, peer: Measured | None, series: Series) -> Point:
    ratios = goals.pair_by_pair([row], [peer]) if peer else []
    return Point(
        count=int(row.chosen.removeprefix(series.prefix)),
        seconds=row.median("wall"),
        cpu=row.median("cpu"),
        memory=max(sample.own for sample in row.samples) / MIB,
        size=row.size / 1e6,
        files=row.files,
        peer=peer.median("wall") if peer else None,
        ratio=statistics.median(ratios) if ratios else None,
    )


def times(known: list[Point], member: str) -> float:
    """Return how many times as much the largest has of something as the smallest."""
    return float(getattr(known[-1], member) / getattr(known[0], member))


def table(results: Results, series: Series, place: tuple[str, str]) -> str:
    """Return the points as a Markdown table, and what they say of the growth."""
    known = points(results, series, place)
    made = series is DISTRIBUTIONS
    head = [series.what, *(("files", "MB") if made else ()), "wall s", "CPU s", "own MiB"]
    head += [f"{series.against}, wall s", "ratio"]
    lines = [f"| {' | '.join(head)} |", f"|{'--:|' * len(head)}"]
    for one in known:
        cells = [str(one.count), *((str(one.files), f"{one.size:.1f}") if made else ())]
        cells += [f"{one.seconds:.2f}", f"{one.cpu:.2f}", f"{one.memory:.0f}"]
        cells += [
            "" if one.peer is None else f"{one.peer:.2f}",
            "" if one.ratio is None else f"{one.ratio:.3f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if len(known) >= 2:
        lines += ["", f"From {known[0].count} to {known[-1].count} {series.what} {_said(known, series)}."]
    return "\n".join(lines) + "\n"


def _said(known: list[Point], series: Series) -> str:
    grown = (("the time", times(known, "seconds")), ("the memory", times(known, "memory")))
    if series is not DISTRIBUTIONS:
        return " and ".join(f"{name} grows {count:.1f} times" for name, count in grown)
    least = min(times(known, "size"), times(known, "files"))
    words = [
        f"{name} {count:.1f} times ({'met' if count <= least else '**not met**'})" for name, count in grown
    ]
    return (
        f"the bytes grow {times(known, 'size'):.1f} times and the files {times(known, 'files'):.1f} times;"
        f" {' and '.join(words)}"
    )
