"""What was measured, as JSON: written after every turn, read again and merged."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from scripts.benchmark.rows import Row

Group = tuple[str, str, str]
"""Set, Python and file system: what is measured together."""
FORMAT = "envbundle benchmark 2"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What a row took in one turn; see `measure.Usage`."""

    turn: str
    """Session and number: what was measured in the same turn makes a pair."""
    wall: float
    cpu: float
    own: int
    together: int
    largest: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A row with its samples."""

    chosen: str
    """S, M, L or growth-50."""
    python: str
    """3.8"""
    disk: str
    """The type of the file system."""
    name: str
    title: str
    bytecode: str
    verifies: str
    hashes: str
    output: str
    samples: tuple[Sample, ...] = ()
    files: int = 0
    """Of what it made: the last run's; directories do not count."""
    size: int = 0
    """Bytes."""
    pyc: int = 0
    """Files of bytecode among them."""
    failed: str = ""
    """Why there are no more samples."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What samples are put together by."""
        return self.chosen, self.python, self.disk, self.name

    def median(self, member: str) -> float:
        """Median of a member of the samples."""
        return float(statistics.median(getattr(sample, member) for sample in self.samples))


@dataclass(frozen=True, kw_only=True)
class Session:
    """One run of scripts/bench."""

    name: str
    date: str
    """2026-11-21"""
    chosen: str
    python: str
    """3.8.18"""
    runs: int
    pause: float
    """Seconds before each run."""
    distributions: int
    """In the lock."""
    machine: Mapping[str, str]
    """What is measured on, in words, by what it is: kernel, processor …"""
    tools: Mapping[str, str]
    """Name → version."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """All that is known."""

    sessions: tuple[Session, ...] = ()
    rows: tuple[Measured, ...] = ()

    def of(self, group: Group) -> dict[str, Measured]:
        """Rows with samples, by name."""
        return {row.name: row for row in self.rows if row.key[:3] == group and row.samples}

    @property
    def groups(self) -> list[Group]:
        """In the order in which they were measured."""
        return list(dict.fromkeys(row.key[:3] for row in self.rows))


def begin(row: Row, *, chosen: str, python: str, disk: str) -> Measured:
    """Return a row without samples."""
    return Measured(
        chosen=chosen,
        python=python,
        disk=disk,
        name=row.name,
        title=row.title,
        bytecode=row.work.bytecode,
        verifies=row.work.verifies,
        hashes=row.work.hashes,
        output=row.output,
    )


def merge(parts: Iterable[Results]) -> Results:
    """Return all sessions and rows; the samples of a row that stands in several are put together.

    What the last part says of a row (its title, what it made) holds.
    """
    sessions: dict[str, Session] = {}
    rows: dict[tuple[str, str, str, str], Measured] = {}
    for part in parts:
        known = set(sessions)
        sessions |= {session.name: session for session in part.sessions}
        for row in part.rows:
            before = rows[row.key].samples if row.key in rows else ()
            fresh = tuple(one for one in row.samples if one.turn.rpartition("/")[0] not in known)
            rows[row.key] = replace(row, samples=(*before, *fresh))
    return Results(sessions=tuple(sessions.values()), rows=tuple(rows.values()))


def write(results: Results, path: Path) -> None:
    """Write JSON, whole or not at all."""
    document = {"format": FORMAT, **asdict(results)}
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)


def read(path: Path) -> Results:
    """Read what `write` wrote.

    :raises ValueError: it is no such file.
    """
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if document.get("format") != FORMAT:
        raise ValueError(f"{path} is no {FORMAT!r}")
    return Results(
        sessions=tuple(Session(**session) for session in document["sessions"]),
        rows=tuple(
            Measured(**{**row, "samples": tuple(Sample(**sample) for sample in row["samples"])})
            for row in document["rows"]
        ),
    )
