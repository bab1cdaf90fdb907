"""Where envbundle must be: a median of ratios pair by pair, or an absolute peak; and whether it is."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scripts.benchmark.results import Measured

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Rows of ours against those of a peer."""

    name: str
    ours: tuple[str, ...]
    """A row; of memory several, the highest of which counts."""
    peers: tuple[str, ...] = ()
    """Rows whose times are added; empty: our own memory is held against the limit."""
    most: Mapping[str, float] = field(default_factory=dict)
    """Set → the most that it may be; `*`: any set. A set that is not named has no limit, and is told."""
    quoted: bool = False
    """The README shows it, met or not."""

    def limit(self, chosen: str) -> float | None:
        """Return the most that it may be in a set; `None`: it has no limit there."""
        return self.most.get(chosen, self.most.get("*"))

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of all rows that it needs."""
        return (*self.ours, *self.peers)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A goal, measured."""

    goal: Goal
    value: float
    """Median ratio; of memory the highest peak, MiB."""
    lowest: float
    highest: float
    pairs: int
    limit: float | None

    @property
    def word(self) -> str:
        """Whether it is met; a dash, where there is no limit."""
        if self.limit is None:
            return "-"
        return "met" if self.value <= self.limit else "**not met**"


GOALS = (
    Goal(
        name="lock:uv",
        ours=("lock-warm",),
        peers=("uv-bytecode-warm",),
        most={"S": 0.8, "M": 0.20, "L": 0.30},
        quoted=True,
    ),
    Goal(name="lock:uv-plain", ours=("lock-warm",), peers=("uv-synced-warm",), most={"M": 1.0}, quoted=True),
    Goal(name="linked:uv", ours=("lock-linked",), peers=("uv-linked-warm",), most={"M": 1.5}, quoted=True),
    Goal(name="lock:pip", ours=("lock-warm",), peers=("pip-warm",), most={"M": 0.12}),
    Goal(name="lock:pex", ours=("lock-warm",), peers=("pex-flat-warm",), most={"M": 0.15}),
    Goal(name="prove:uv", ours=("lock-prove",), peers=("uv-bytecode-warm",)),
    Goal(name="asked:uv", ours=("asked-warm",), peers=("uv-compile", "uv-bytecode-warm"), most={"M": 0.50}),
    Goal(name="changed:uv", ours=("changed",), peers=("uv-bytecode-warm",), most={"M": 0.6}),
    Goal(name="cold:pip", ours=("asked-cold",), peers=("pip-cold",), most={"M": 0.5, "U": 0.5}, quoted=True),
    Goal(
        name="cold:uv",
        ours=("asked-cold",),
        peers=("uv-bytecode-cold",),
        most={"S": 1.3, "M": 1.1, "U": 1.1},
        quoted=True,
    ),
    Goal(name="rebuild:uv", ours=("rebuild",), peers=("uv-compile",), most={"*": 1.2}),
    Goal(
        name="rebuild-local:uv",
        ours=("rebuild-local",),
        peers=("uv-compile-local",),
        most={"*": 1.2},
        quoted=True,
    ),
    Goal(name="nights:uv", ours=("nights",), peers=("nights-compile",), most={"nights-50": 1.2}, quoted=True),
    Goal(name="pack:tar", ours=("pack-tar",), peers=("tar",), most={"M": 1.15}, quoted=True),
    Goal(
        name="pack:mksquashfs", ours=("pack-squashfs",), peers=("mksquashfs",), most={"M": 1.15}, quoted=True
    ),
    Goal(name="rebuild-locked:version", ours=("rebuild-locked",), peers=("version",), most={"M": 15.0}),
    Goal(name="verify:sha256sum", ours=("verify",), peers=("sha256sum",), most={"M": 1.2}),
    Goal(name="import:bare", ours=("import",), peers=("import-bare",), most={"M": 0.5}),
    Goal(
        name="memory",
        ours=("lock-warm", "lock-prove", "asked-warm", "asked-cold", "changed"),
        most={"M": 160.0, "L": 200.0},
        quoted=True,
    ),
    Goal(name="start", ours=("version",), peers=("pass",), most={"*": 3.0}),
    Goal(name="help", ours=("help",), peers=("pass",), most={"*": 5.0}, quoted=True),
    Goal(name="complete", ours=("complete",), peers=("pass",), most={"*": 5.0}),
)


def judge(goal: Goal, rows: Mapping[str, Measured], *, chosen: str) -> Verdict | None:
    """Return what the samples say of a goal; `None`: they do not, since a row of it was not run.

    :param rows: of one set on one Python, by name.
    :param chosen: the set.
    """
    limit = goal.limit(chosen)
    if not goal.peers:
        peaks = [sample.own / MIB for name in goal.ours if name in rows for sample in rows[name].samples]
        if not peaks:
            return None
        return Verdict(
            goal=goal, value=max(peaks), lowest=min(peaks), highest=max(peaks), pairs=len(peaks), limit=limit
        )
    if any(name not in rows for name in goal.rows):
        return None
    ratios = pair_by_pair([rows[name] for name in goal.ours], [rows[name] for name in goal.peers])
    if not ratios:
        return None
    return Verdict(
        goal=goal,
        value=statistics.median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        pairs=len(ratios),
        limit=limit,
    )


def pair_by_pair(ours: Sequence[Measured], peers: Sequence[Measured]) -> list[float]:
    """Return the ratios of the added times, turn by turn: a turn in which one is missing makes no pair."""
    tables = [{sample.turn: sample.wall for sample in row.samples} for row in (*ours, *peers)]
    turns = sorted(set.intersection(*(set(table) for table in tables)))
    mine, theirs = tables[: len(ours)], tables[len(ours) :]
    return [sum(table[turn] for table in mine) / sum(table[turn] for table in theirs) for turn in turns]
