"""Saves what a shelf has and the other side of the gap has not: docs/parcel.md has the format.

`bundler.ontarget.load` loads it, here and in the image; both keep to `bundler.ontarget.parcel_format`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import bundler
from bundler.bundle import standalone
from bundler.errors import InputError
from bundler.formats import delta
from bundler.formats.delta import Side
from bundler.lazy_dataclass import dataclass
from bundler.ontarget import parcel_format
from bundler.ontarget.checksums import MANIFEST
from bundler.ontarget.delta_format import DESCRIPTION, read_rows
from bundler.ontarget.parcel_format import (
    BUILDS,
    DELTA_FOLDER,
    INDEX,
    LOADER,
    PARCEL_KIND,
    PARCEL_SCHEMA,
    PART,
    RECEIPT,
    RECORD_FILE,
    SENT,
    Parcel,
)
from bundler.rebuild import record as records
from bundler.rebuild.shelf import run_lock
from bundler.system import files, outside, workspace
from bundler.system.progress import Progress

BLOCK = 1 << 20
Row = Mapping[str, Any]
"""A build as a receipt lists it."""


@dataclass(frozen=True, kw_only=True)
class SaveRequest:
    """What is to be saved."""

    shelf: Path
    """Folder of `rebuild`'s output."""
    output: Path
    """The parcel's folder."""
    since: Path | None
    """A receipt, or what `sent` remembers; `None`: what `sent` says, if it is there."""
    everything: bool
    """Whatever the other side has: whole bundles."""
    part_size: int
    """Bytes."""
    compression: str
    """A key of `delta_format.ENDINGS`."""
    force: bool
    """Replace a parcel that is there."""


@dataclass(frozen=True, kw_only=True)
class Carried:
    """A build in a parcel."""

    name: str
    build: str
    current: bool
    base: str
    """`NAME/ID` of what its delta is made from; empty: the whole bundle, or none of it."""
    size: int
    """Bytes of all its files in the parcel."""
    whole: bool
    """Whether all of the bundle is carried."""


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A parcel."""

    path: Path
    size: int
    """Bytes of its parts."""
    parts: int
    builds: Sequence[Carried]
    """Empty: the other side has everything, and there is no parcel."""


@dataclass(frozen=True, kw_only=True)
class _Planned:
    """A build that is to go into the parcel."""

    row: Row
    folder: Path
    """Of the build."""
    base: Row | None
    carried: bool
    """False: the other side has it, and only what stands beside it is new."""
    beside: Mapping[str, bytes | Path]
    """Name in the parcel → content."""

    def described(self) -> dict[str, Any]:
        """Return its entry in the index, without files."""
        return {
            "name": self.row["name"],
            "build": self.row["build"],
            "manifest_digest": self.row["manifest_digest"],
            "manifest_sha256": files.digest(self.folder / MANIFEST),
            "current": self.row["current"],
            "base": {key: self.base[key] for key in ("name", "build")} if self.base else None,
        }


def save(request: SaveRequest, *, progress: Progress) -> Saved:
    """Write a parcel of what the other side has not; it appears whole, or not at all.

    :raises InputError: no shelf, a build that is not whole, a wrong receipt, or something is in the way.
    :raises MachineError: there is no room to prove what is written.
    """
    if not request.shelf.is_dir():
        raise InputError(f"{request.shelf} is no folder", hint="name the output of `envbundle rebuild`")
    with delta.translated(), run_lock.lock_folders([request.shelf], writing=False, whole=True):
        known = _known(request)
        rows = parcel_format.shelf_rows(str(request.shelf))
        _require_records(request.shelf, rows)
        if not rows:
            raise InputError(f"{request.shelf} has no builds", hint="name the output of `envbundle rebuild`")
        planned = _plan(request.shelf, rows, known)
        if not planned:
            return Saved(path=request.output, size=0, parts=0, builds=())
        if not _is_there(request, planned):
            _write(request, planned, progress=progress)
        saved = _saved(request.output)
        if request.since is None:
            kept = {(row["name"], row["build"]): row for row in (*known, *rows)}
            text = json.dumps(parcel_format.as_receipt([dict(row) for row in kept.values()]), indent=1)
            files.write(request.shelf / SENT, f"{text}\n")
        return saved


def _require_records(shelf: Path, rows: Sequence[Row]) -> None:
    """Require that no build is passed over that is in use, and that a loader takes their names."""
    listed = {row["name"] for row in rows if row["current"]}
    for job in sorted(path for path in shelf.iterdir() if (path / BUILDS).is_dir()):
        if job.name in (RECEIPT, SENT):
            raise InputError(f"{job}: no bundle in a parcel can have this name", hint="give it another one")
        if job.name not in listed and parcel_format.current_build(str(job)):
            raise InputError(
                f"{job}: the current build is gone, or its record", hint="`envbundle rebuild` makes it again"
            )


def _known(request: SaveRequest) -> Sequence[Row]:
    """Return what the other side has."""
    path = request.since or request.shelf / SENT
    if request.everything or (request.since is None and not path.exists()):
        return ()
    return parcel_format.read_receipt(str(path))


def _plan(shelf: Path, rows: Sequence[Row], known: Sequence[Row]) -> list[_Planned]:
    """Return what is to be carried, each behind what it is made from."""
    there = {(row["name"], row["build"], row["manifest_digest"]): row for row in known}
    newest = {
        row["name"]: row["made"] for row in sorted(known, key=lambda row: str(row["made"])) if row["current"]
    }
    planned = []
    bases = [row for row in rows if _key(row) in there]
    for row in rows:
        builds = shelf / str(row["name"]) / BUILDS
        old = there.get(_key(row))
        if old is not None:
            same = all(old[key] == row[key] for key in ("made", "beside"))
            if same and (old["current"] or not row["current"]):
                continue
        elif not row["current"] and row["made"] < newest.get(row["name"], ""):
            continue  # it was removed there (`load --keep`), or is of no use there any more
        base = None if old is not None else _best_base(shelf, row, bases)
        beside: dict[str, bytes | Path] = {
            name: Path(path) for name, path in parcel_format.beside_build(str(builds), row["build"]).items()
        }
        beside[RECORD_FILE] = _record(builds / f"{row['build']}.json")
        folder = builds / str(row["build"])
        planned.append(_Planned(row=row, folder=folder, base=base, carried=old is None, beside=beside))
        if old is None:
            bases.append(row)
    return planned


def _key(row: Row) -> tuple[str, str, str]:
    return row["name"], row["build"], row["manifest_digest"]


def _record(path: Path) -> bytes:
    """Return a record without what belongs to this machine alone."""
    data = outside.read(path, limit=records.LIMIT, hint="it is a record of a build")
    found = records.parse(data, source=str(path))
    return records.render(replace(found, fingerprint="", archives=())).encode()


def _best_base(shelf: Path, row: Row, bases: Sequence[Row]) -> Row | None:
    """Return the build that has most of another one's bytes: of its own name, or else with half of them."""
    new = _contents(shelf, row["name"], row["build"])
    total = sum(new.values())

    def shared(base: Row) -> int:
        old = _contents(shelf, base["name"], base["build"])
        return sum(size for sha256, size in new.items() if sha256 in old)

    own = [base for base in bases if base["name"] == row["name"]]
    # The youngest of equal ones: the last.
    best = max(reversed(own or bases), key=shared, default=None)
    return best if best is not None and (own or shared(best) * 2 >= total) else None


@functools.lru_cache(maxsize=64)
def _contents(shelf: Path, name: str, build: str) -> Mapping[str, int]:
    """Return sha256 → bytes of the files of a build."""
    path = shelf / name / BUILDS / build / MANIFEST
    rows = read_rows(
        outside.read(path, limit=64 << 20, hint="`envbundle verify` says what is wrong"), str(path)
    )
    return {row.sha256: row.size for row in rows.values()}


def _is_there(request: SaveRequest, planned: Sequence[_Planned]) -> bool:
    """Tell whether the parcel is in its place already, whole.

    :raises InputError: something else is.
    """
    output = request.output
    if not os.path.lexists(output):
        return False
    try:
        parcel = parcel_format.read_parcel(str(output))
    except parcel_format.UnusableParcelError as error:
        raise InputError(
            f"{output} exists and is not a parcel: it is not touched", hint="choose another -o"
        ) from error
    if request.force:
        return False
    wanted = [(one.described(), one.carried, _digests(one.beside)) for one in planned]
    if parcel.part_size == request.part_size and wanted == [_told(entry) for entry in parcel.entries]:
        parcel_format.check_parts(parcel)
        return True
    raise InputError(f"{output} exists, and is another parcel", hint="choose another -o; --force replaces it")


def _digests(beside: Mapping[str, bytes | Path]) -> dict[str, str]:
    return {
        name: files.digest(one) if isinstance(one, Path) else hashlib.sha256(one).hexdigest()
        for name, one in beside.items()
    }


def _told(entry: parcel_format.Entry) -> tuple[dict[str, Any], bool, dict[str, str]]:
    """Return of an entry what `_is_there` compares."""
    names = ("name", "build", "manifest_digest", "manifest_sha256", "current", "base")
    beside = {one.path: one.sha256 for one in entry.files if not one.path.startswith(DELTA_FOLDER)}
    return {name: getattr(entry, name) for name in names}, entry.carried, beside


class _Parts:
    """Writes files one behind the other into parts of one size."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder = folder
        self._size = size
        self._digest = hashlib.sha256()
        self._written = 0
        self.parts: list[dict[str, Any]] = []

    def add(self, source: bytes | Path) -> tuple[int, str]:
        """Append a file; return its size and sha256."""
        digest = hashlib.sha256()
        size = 0
        for block in _blocks(source):
            digest.update(block)
            size += len(block)
            self._append(block)
        return size, digest.hexdigest()

    def _append(self, block: bytes) -> None:
        view = memoryview(block)
        while view:
            if self._written in (0, self._size):
                self.end()
                number = len(self.parts) + 1
                if number > parcel_format.MOST_PARTS:
                    raise InputError("the parcel has too many parts", hint="make them larger (--part-size)")
                self.parts.append({"name": PART.format(number)})
                self._digest, self._written = hashlib.sha256(), 0
            piece = view[: self._size - self._written]
            with (self._folder / self.parts[-1]["name"]).open("ab") as file:
                file.write(piece)
            self._digest.update(piece)
            self._written += len(piece)
            view = view[len(piece) :]

    def end(self) -> None:
        """Note what the last part has."""
        if self.parts:
            self.parts[-1].update(size=self._written, sha256=self._digest.hexdigest())


def _blocks(source: bytes | Path) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def _write(request: SaveRequest, planned: Sequence[_Planned], *, progress: Progress) -> None:
    with workspace.claim(request.output) as work:
        parts = _Parts(work.bundle, request.part_size)
        builds = []
        for one in planned:
            sources = dict(one.beside)
            place = work.scratch / "delta"
            if one.carried:
                progress.note(f"{one.row['name']}/{one.row['build']}")
                sources |= _delta(request, one, place, progress=progress)
            rows = [(name, *parts.add(source)) for name, source in sorted(sources.items())]
            builds.append({**one.described(), "files": rows})
            if one.carried:
                shutil.rmtree(place)
        parts.end()
        index = {
            "kind": PARCEL_KIND,
            "schema_version": PARCEL_SCHEMA,
            "tool": {"name": "envbundle", "version": bundler.__version__},
            "part_size": request.part_size,
            "parts": parts.parts,
            "builds": builds,
        }
        (work.bundle / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        (work.bundle / LOADER).write_text(standalone.loader(), encoding="utf-8")
        for path in work.bundle.iterdir():
            path.chmod(0o644)
        files.sync_filesystem(work.bundle)
        files.place(work.bundle, request.output)


def _delta(request: SaveRequest, one: _Planned, place: Path, *, progress: Progress) -> dict[str, Path]:
    """Write the delta of a build; return its files, which are in the parcel without its applier."""
    base = one.base
    olds = (
        [Side(name=_named(base), folder=request.shelf / base["name"] / BUILDS / base["build"])]
        if base
        else []
    )
    delta.write(
        olds,
        Side(name=_named(one.row), folder=one.folder),
        output=place,
        compression=request.compression,
        force=False,
        progress=progress,
    )
    return {
        f"{DELTA_FOLDER}{path.name}": path
        for path in place.iterdir()
        if path.name == DESCRIPTION or path.name.startswith("0.")
    }


def _named(row: Row) -> str:
    return f"{row['name']}/{row['build']}"


def _saved(output: Path) -> Saved:
    parcel: Parcel = parcel_format.read_parcel(str(output))
    builds = [
        Carried(
            name=entry.name,
            build=entry.build,
            current=entry.current,
            base="{name}/{build}".format(**entry.base) if entry.base else "",
            size=sum(file.size for file in entry.files),
            whole=entry.carried and entry.base is None,
        )
        for entry in parcel.entries
    ]
    return Saved(path=output, size=parcel.size, parts=len(parcel.parts), builds=builds)
