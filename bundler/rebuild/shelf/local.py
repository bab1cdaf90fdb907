"""The builds of one job in a folder of this machine: see `shelf` for what stands where."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from bundler.bundle import manifest as manifests
from bundler.bundle.manifest import Manifest
from bundler.errors import InputError, MachineError
from bundler.ontarget import checksums
from bundler.ontarget.parcel_format import BESIDE
from bundler.rebuild import record as records
from bundler.rebuild import wholeness
from bundler.rebuild.record import Record
from bundler.system import files, outside, workspace

CURRENT = "current"
BUILDS = "builds"
_LINK = re.compile(rf"{BUILDS}/({records.IDENTITY.pattern})")


class LocalShelf:
    """Builds below `folder` (OUTPUT/NAME)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.builds = folder / BUILDS
        self.link = folder / CURRENT
        self._seen = ""

    def current(self) -> Record | None:
        """Return the record of the build that `current` points at, see `Shelf`."""
        build = self._points_at()
        return None if build is None else self._record(build)

    def _points_at(self) -> str | None:
        try:
            target = str(self.link.readlink())
        except FileNotFoundError:
            return None
        except OSError:
            target = ""
        found = _LINK.fullmatch(target)
        if found is None:
            raise InputError(
                f"{self.link} is there and is no link to a build: it is not touched",
                hint="move it away; it becomes a link to the current build",
            )
        return found[1]

    def _record(self, build: str) -> Record | None:
        """Return the record of a build; `None` where there is none, or a wrong one."""
        path = self.builds / f"{build}.json"
        try:
            data = outside.read(path, limit=records.LIMIT, hint="it is a record of a build")
            found = records.parse(data, source=str(path))
        except InputError:
            return None
        return found if found.build == build else None

    def damage(self, record: Record, *, full: bool) -> str:
        """Return what is wrong with a build, see `Shelf`; if its fingerprint changed, everything is hashed.

        :raises MachineError: it cannot be read.
        """
        bundle = self.builds / record.build
        if bundle.is_symlink() or not bundle.is_dir():
            return f"{BUILDS}/{record.build} is gone"
        archives = [self.builds / one.name for one in record.archives]
        for path in archives:
            if not os.path.lexists(path):
                return f"{BUILDS}/{path.name} is gone"
        try:
            # Taken before anything is read: so the next run sees what changes meanwhile.
            self._seen = fingerprint(bundle, archives)
            if not full and self._seen == record.fingerprint:
                return ""
            return wholeness.damage(bundle, record, archives)
        except OSError as error:
            raise MachineError(
                f"{error.filename or bundle}: {error.strerror}", hint="see to the disk and to who may read it"
            ) from error

    def refresh(self, record: Record) -> None:
        """Write the new fingerprint of a build that `damage` has just found whole, if it is another one.

        Otherwise every run would read all of a build that was moved or restored.
        """
        if self._seen == record.fingerprint:
            return
        with self.workplace() as work:
            self._write(replace(record, fingerprint=self._seen), work)

    def manifest(self, record: Record) -> Manifest:
        """Read the manifest of a build, see `Shelf`."""
        return manifests.read(self.builds / record.build)

    def where(self, record: Record) -> str:
        """Return the folder of a build."""
        return str(self.builds / record.build)

    @contextlib.contextmanager
    def workplace(self) -> Iterator[Path]:
        """Yield an empty folder beside `current`, see `Shelf`.

        :raises MachineError: it cannot be made.
        """
        with workspace.claim(self.link) as work:
            yield work.scratch

    def sweep(self) -> None:
        """Remove what a killed run has left unfinished.

        :raises InputError: another run is at work here.
        """
        if not self.folder.is_dir():
            return
        left = os.path.lexists(workspace.folder_for(self.link))
        gone = [build for build in self._named() if not (self.builds / build).is_dir()]
        lost = self._recorded(gone)
        current = self._points_at()
        if left or any(one.build != current for one in lost):
            with self.workplace():
                for one in lost:
                    # The record of the current build stays: it says what is to be made again.
                    if one.build != current:
                        self._forget(one)

    def _named(self) -> list[str]:
        """The builds that have a file with the name of a record."""
        try:
            names = [entry.name for entry in os.scandir(self.builds)]
        except (FileNotFoundError, NotADirectoryError):
            return []
        builds = (name.removesuffix(".json") for name in names if name.endswith(".json"))
        return [build for build in builds if records.IDENTITY.fullmatch(build)]

    def _recorded(self, builds: Iterable[str]) -> list[Record]:
        """The records of those of some builds that have one, the youngest first."""
        found = map(self._record, builds)
        return sorted((one for one in found if one is not None), key=lambda one: one.made, reverse=True)

    def _forget(self, record: Record) -> None:
        """Remove what stands beside a build that is gone, its record last."""
        names = [one.name for one in record.archives] + [f"{record.build}.{ending}" for ending in BESIDE]
        for name in names:
            path = self.builds / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        (self.builds / f"{record.build}.json").unlink(missing_ok=True)

    def put(self, bundle: Path, record: Record, extras: Mapping[str, Path]) -> None:
        """Add a proved bundle and make it the current one, see `Shelf`.

        A build with the same ID that is whole stays as it is, for somebody may be using it.

        :raises InputError: something that envbundle did not make has the build's name.
        """
        work = bundle.parent
        if self.builds.is_symlink() or (self.builds.exists() and not self.builds.is_dir()):
            raise InputError(f"{self.builds} is not a folder: it is not touched", hint="move it away")
        self.builds.mkdir(exist_ok=True)
        there = self.builds / record.build
        older = self._record(record.build)
        keep = older is not None and not self.damage(replace(older, archives=()), full=True)
        if not keep and os.path.lexists(there):
            self._require_ours(there, record, recorded=older is not None)
        files.sync_filesystem(work)
        archives = [extras[one.name] for one in record.archives]
        seen = fingerprint(there if keep else bundle, archives)
        self._write(replace(record, fingerprint=seen), work)
        for name, path in extras.items():
            _bring(path, self.builds / name)
        if not keep:
            files.place(bundle, there)
            self._keep_foreign_files(bundle, there)
        self._point(record.build, work=work)

    def _write(self, record: Record, work: Path) -> None:
        (work / "record").write_text(records.render(record), encoding="utf-8")
        _bring(work / "record", self.builds / f"{record.build}.json")

    def _require_ours(self, there: Path, record: Record, *, recorded: bool) -> None:
        """Refuse to replace what envbundle did not make."""
        folder = there.is_dir() and not there.is_symlink()
        if not (folder and (recorded or wholeness.manifest_digest(there) == record.manifest_digest)):
            raise InputError(
                f"{there} is there and was not made by envbundle: it is not touched", hint="move it away"
            )

    def _keep_foreign_files(self, displaced: Path, there: Path) -> None:
        """Keep what somebody has added to a build that was replaced: it is not ours to remove."""
        if not displaced.is_dir():
            return
        for name in wholeness.foreign_files(displaced, there):
            aside = self.builds / f"{there.name}.strangers" / name
            aside.parent.mkdir(parents=True, exist_ok=True)
            (displaced / name).replace(aside)

    def _point(self, build: str, *, work: Path) -> None:
        """Let `current` be this build, in one step."""
        if self._points_at() != build:
            fresh = work / "link"
            fresh.symlink_to(f"{BUILDS}/{build}", target_is_directory=True)
            fresh.replace(self.link)
            files.sync(self.folder)

    def prune(self, keep: int) -> tuple[str, ...]:
        """Remove all builds but the `keep` youngest, see `Shelf`; none that holds files of somebody else."""
        current, others = self._points_at(), max(keep - 1, 0)
        named = [build for build in self._named() if build != current]
        if current is None or len(named) <= others:
            return ()
        old = [one for one in self._recorded(named)[others:] if self._is_ours(one)]
        if not old:
            return ()
        with self.workplace() as work:
            for one in old:
                # Moved away in one step first: half a build would look like a damaged one.
                (self.builds / one.build).replace(work / one.build)
                self._forget(one)
        return tuple(one.build for one in old)

    def _is_ours(self, record: Record) -> bool:
        there = self.builds / record.build
        return (
            there.is_dir()
            and not there.is_symlink()
            and wholeness.manifest_digest(there) == record.manifest_digest
            and not wholeness.foreign_files(there, there)
        )


def _bring(path: Path, there: Path) -> None:
    """Rename a file or a folder into its place; a folder that stood there is left in the workplace."""
    if not path.is_dir():
        files.sync(path)
        path.chmod(0o644)
    files.place(path, there)


def fingerprint(folder: Path, beside: Iterable[Path] = ()) -> str:
    """Return sha256 over what the filesystem says of every file in a folder; reads none, follows no symlink.

    It is over names, sizes, modes and times. The time of the last change of any kind (ctime) counts too,
    since no program can set it back; but not that of a file with several names: one more name changes it.

    :param beside: files and folders outside of it; the ctime of such a file does not count, since renaming
        changes it.
    :raises OSError: it cannot be listed.
    """
    rows = _rows(folder)
    for path in beside:
        status = path.lstat()
        rows.append(path.name)
        if stat.S_ISDIR(status.st_mode):
            rows += _rows(path)
        else:
            rows.append(f"{status.st_size}/{status.st_mtime_ns}/{status.st_mode}")
    return hashlib.sha256("\0".join(rows).encode(errors="surrogateescape")).hexdigest()


def _rows(folder: Path) -> list[str]:
    statuses: dict[str, os.stat_result] = {}
    _, rows = checksums.walk(str(folder), statuses)
    for path, status in sorted(statuses.items()):
        changed = status.st_ctime_ns if status.st_nlink == 1 else 0
        told = f"{status.st_size}/{status.st_mtime_ns}/{changed}/{status.st_mode}"
        rows.append(path if path.endswith("/") else f"{path}/{told}")
    return rows
