"""Reads the table of real requirement files, `tests/real/sets.toml`."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent.parent
TABLE = ROOT / "tests" / "real" / "sets.toml"


@dataclass(frozen=True, kw_only=True)
class RealSet:
    """One requirements file of a public repository, for one Python."""

    id: str
    python: str
    """Minor version: `3.8`."""
    requirements: Path
    repository: str
    path: str
    commit: str
    use: tuple[str, ...] = ()
    """Statements that a service would run first, each in a process of its own."""
    left_out: int = 0
    """Lines of the original that point at an address outside the index."""

    @property
    def digest(self) -> str:
        """Of all that decides the truth of the set."""
        text = "\n".join([self.python, self.requirements.read_text(encoding="utf-8"), *self.use])
        return hashlib.sha256(text.encode()).hexdigest()


def read(table: Path = TABLE) -> tuple[RealSet, ...]:
    """Return the sets of a table, in its order.

    :raises ValueError: a row lacks something, or an id stands twice.
    """
    rows: list[dict[str, Any]] = tomllib.loads(table.read_text(encoding="utf-8"))["set"]
    found = tuple(_one(row, folder=table.parent / "requirements") for row in rows)
    names = [one.id for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{table}: twice: {', '.join(twice)}")
    return found


def _one(row: dict[str, Any], *, folder: Path) -> RealSet:
    values = {name: value for name, value in row.items() if name != "file"}
    try:
        return RealSet(**{**values, "requirements": folder / row["file"], "use": tuple(row.get("use", ()))})
    except (KeyError, TypeError) as error:
        raise ValueError(f"{row.get('id', row)}: {error}") from error
