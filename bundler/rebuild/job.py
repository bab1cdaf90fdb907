"""One bundle to make or to keep: what the plan hands to the run, to other processes and to other machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from bundler.create.request import CreateRequest


@dataclass(frozen=True, kw_only=True)
class Job:
    """One cell of the matrix; picklable, so that a worker elsewhere can do it."""

    name: str
    """`scoring-py38`, with an image `scoring-py38-IMAGE`: unique in its file, and a safe folder name."""
    bundle: str
    """`scoring`, as the file names it."""
    folder: Path
    """OUTPUT/name, absolute."""
    request: CreateRequest
    """Its output is `folder / "current"`; its lock file is that of the bundle's key `lock`, else `None`."""
    formats: tuple[str, ...]
    """Archives to make beside the folder; `dir` is always made."""
    keep: int
    """Builds to keep, at least 1."""
    note: str
    """The schedule note."""
    place: str
    """`envbundle.toml:17`, for messages."""
