"""Where the builds of one job stand: on this machine (`local`) or at a URL (`remote`).

    NAME/current -> builds/ID        the bundle that is in use; a symlink, replaced in one step
    NAME/builds/ID                   a bundle
    NAME/builds/ID.json              its record; without one, nothing here is envbundle's
    NAME/builds/ID.tar.zst …         its archives, and what changed since the build before
    NAME/builds/ID.signatures        who gives the yes for it

The record is written before the build that it describes, and removed after it: so it is known what a killed
run has left.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from bundler.bundle.manifest import Manifest
from bundler.rebuild.record import Record


class Shelf(Protocol):
    """Where the builds of one job stand."""

    def current(self) -> Record | None:
        """Return the record of the current build; `None`: there is none, or its record is lost.

        :raises InputError: something that envbundle did not make has its name.
        :raises MachineError: it cannot be read.
        """

    def damage(self, record: Record, *, full: bool) -> str:
        """Return what is wrong with a build or its archives; empty: it is whole.

        :param full: hash everything; otherwise files whose name, size and times did not change are not read.
        :returns: `lib/python3.8/site-packages/six.py has another content`, for people.
        """

    def manifest(self, record: Record) -> Manifest:
        """Read the manifest of a build.

        :raises InputError: it is damaged.
        """

    def workplace(self) -> AbstractContextManager[Path]:
        """Yield an empty folder for one build, of this run alone; remove it afterwards.

        :raises InputError: another run is at work here.
        """

    def put(self, bundle: Path, record: Record, extras: Mapping[str, Path]) -> None:
        """Add a proved bundle and make it the current one: whole, then in one step.

        :param bundle: its folder in the workplace, which is moved away.
        :param record: without fingerprint.
        :param extras: name in `builds/` → file or folder (signatures, an `oci` layout) in the workplace.
        """

    def prune(self, keep: int) -> tuple[str, ...]:
        """Remove all builds but the `keep` youngest; never the current one, never what has no record.

        :returns: the IDs of those that were removed.
        """

    def sweep(self) -> None:
        """Remove what a killed run has left unfinished."""

    def where(self, record: Record) -> str:
        """Return the place of a build, for people: a path, or a URL without credentials."""
