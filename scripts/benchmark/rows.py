"""One way to do the work, and what may be said of it."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Step = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What the benchmark installed, and nothing else."""

    envbundle: Path
    """Its virtualenv."""
    peers: Path
    """The virtualenv of uv, virtualenv and pex."""
    shiv: Path
    """A virtualenv of the target's Python: shiv resolves for the Python that runs it."""
    pip: Path
    """The last pip that the target's Python takes, unpacked."""
    versions: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the rows of one set on one Python work."""

    work: Path
    python: Path
    """The target's interpreter."""
    full: str
    """3.8.18"""
    tools: Tools
    ignored: tuple[str, ...] = ()
    """Findings that are accepted, as `--ignore` takes them."""
    bundles: int = 0
    """Bundles of a night; 0: the rows of one bundle."""
    environ: Mapping[str, str]
    """What every program gets: certificates, the index."""

    @property
    def version(self) -> str:
        """3.8 of 3.8.18."""
        return self.full.rpartition(".")[0]

    @property
    def out(self) -> Path:
        """Where a row makes what it makes; gone after each run."""
        return self.work / "out"

    @property
    def requirements(self) -> Path:
        """What is asked for."""
        return self.work / "requirements.txt"

    @property
    def lock(self) -> Path:
        """What it was resolved to."""
        return self.work / "pylock.toml"

    @property
    def hashed(self) -> Path:
        """The same lock as requirements with hashes."""
        return self.work / "hashed.txt"

    @property
    def changed(self) -> Path:
        """The folder of the same files with one pin changed."""
        return self.work / "changed"


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one gets for the time; empty, where the question does not arise."""

    bytecode: str = ""
    """Does it ship bytecode?"""
    verifies: str = ""
    """What of what it made has it verified?"""
    hashes: str = ""
    """Does it write down the hashes of what it made?"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way to do the work."""

    name: str
    title: str
    """What is run, in Markdown."""
    peer: str
    """Whose caches and home it has; with `local_index.ENDING` it asks the benchmark's own index."""
    steps: tuple[Step, ...]
    """Programs, one after the other; their times are added."""
    before: tuple[Step, ...] = ()
    """Programs that are run before each run, and not timed."""
    needs: tuple[str, ...] = ()
    """What must be there: names in `prepare.MAKERS`, in their order."""
    cold: bool = False
    """It finds its caches empty each time."""
    output: str = ""
    """What it makes: `tree`, `file`, `archive` (in a folder), or nothing."""
    imports: str = ""
    """How a line of the requirements begins that the set must have."""
    work: Work = field(default_factory=Work)
    proved: bool = False
    """It makes a bundle, which is verified after the timing."""
    expects: str = ""
    """What it must print at last: that there was nothing to do."""
    repeat: int = 1
    """How often it is run for one sample: what takes milliseconds is taken several times."""
    said: bool = False
    """It takes its own time."""


def choose(rows: Sequence[Row], wanted: Sequence[str], *, requirements: str) -> tuple[Row, ...]:
    """Return the rows of which a name or a pattern is wanted; all, if nothing is.

    :param requirements: of the set: what it does not have cannot be imported.

    :raises ValueError: nothing is called so.
    """
    for name in wanted:
        if not fnmatch.filter([row.name for row in rows], name):
            raise ValueError(f"no row is called {name}; see --list")
    return tuple(
        row
        for row in rows
        if (not wanted or any(fnmatch.fnmatchcase(row.name, name) for name in wanted))
        and f"\n{row.imports}" in f"\n{requirements}"
    )
