"""The builds of one job at a URL: see `shelf` for what a shelf is, `remote_files` for what stands where.

Objects come first, then the record that lists them, then `current.json`: whoever follows that one finds a
whole build, whenever the sending ends. Any number of machines may send and remove at once: `notes` says how
they keep out of each other's way.
"""

from __future__ import annotations

import contextlib
import json
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bundler.bundle import manifest as manifests
from bundler.bundle.manifest import Manifest
from bundler.errors import InputError, MachineError
from bundler.lazy_dataclass import dataclass
from bundler.rebuild import record as records
from bundler.rebuild.record import Record
from bundler.rebuild.shelf import notes, remote_files
from bundler.rebuild.shelf.remote_files import (
    BUILDS,
    CURRENT,
    LIMIT,
    PARTIAL,
    REMOVING,
    SENDING,
    Entry,
    Index,
    Partial,
)
from bundler.system.files import digest
from bundler.system.urls.disk import Stat
from bundler.system.urls.folder import DamagedObjectError, Folder

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often a build is sent again that another run takes away meanwhile."""


@dataclass(frozen=True, kw_only=True)
class _Upload:
    """A file of a build on this machine, to be at the URL."""

    path: str
    """Below `builds/`."""
    source: Path
    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True)
class _Survey:
    """What is there of a build that is to be there."""

    index: Index | None
    wanted: Index | None
    """What the record must say; `None` as long as objects are lacking."""
    lacking: Sequence[_Upload]

    @property
    def is_complete(self) -> bool:
        return self.wanted is not None and self.wanted == self.index


class RemoteShelf:
    """Builds at URL/NAME."""

    def __init__(
        self,
        url: str,
        name: str,
        *,
        scratch: Path | None = None,
        progress: Callable[[int], None] = lambda _: None,
        stopped: Callable[[], None] = lambda: None,
    ) -> None:
        """Make a shelf.

        :param url: of the output, as the caller gave it.
        :param name: of the job.
        :param scratch: folder for the workplace and for what is fetched; `None`: the system's.
        :param progress: called with the bytes of each file that was sent, on any thread.
        :param stopped: called before anything is sent and before it becomes current; raises to prevent it.
        """
        self._folder = Folder(url).subfolder(name)
        self._scratch = scratch
        self._progress = progress
        self._stopped = stopped

    def where(self, record: Record) -> str:
        """Return the URL of a build, without credentials."""
        return f"{self._folder.shown}/{BUILDS}/{record.build}"

    def current(self) -> Record | None:
        """Return the record of the build that `current.json` names, see `Shelf`."""
        build, _ = self._points_at()
        index = self._index(build) if build else None
        return index.record if index else None

    def _points_at(self) -> tuple[str | None, dict[str, Any]]:
        data = self._folder.read(CURRENT)
        if data is None:
            return None, {}
        return remote_files.parse_current(data, source=f"{self._folder.shown}/{CURRENT}")

    def _index(self, build: str) -> Index | None:
        """Read the record of a build; `None` where there is none, or a wrong one."""
        name = remote_files.index_name(build)
        data = self._folder.read(name, limit=LIMIT)
        if data is None:
            return None
        try:
            index = remote_files.parse_index(data, source=f"{self._folder.shown}/{name}")
        except InputError as error:
            logger.warning("%s", error.message)
            return None
        return index if index.record.build == build else None

    def damage(self, record: Record, *, full: bool) -> str:
        """Return what is wrong with a build, see `Shelf`.

        :param full: fetch and hash everything; otherwise only objects of which the filesystem says that they
            have changed.
        """
        index = self._index(record.build)
        if index is None:
            return f"{remote_files.index_name(record.build)} is gone"
        there = self._listing(index.entries)
        suspects = []
        for entry in index.entries:
            stat = there.get(entry.path)
            if stat is None:
                return f"{BUILDS}/{entry.path} is gone"
            if stat.size != entry.size:
                return f"{BUILDS}/{entry.path} has another size"
            if full or stat.version != entry.version:
                suspects.append(entry)
        return next((f"{BUILDS}/{one.path} has another content" for one in self._changed(suspects)), "")

    def _changed(self, entries: Sequence[Entry]) -> Iterator[Entry]:
        """Fetch objects, and yield those that have another content than they should."""
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            for entry in entries:
                path = Path(folder) / "object"
                try:
                    found = self._folder.fetch(f"{BUILDS}/{entry.path}", path, sha256=entry.sha256)
                except DamagedObjectError:
                    found = False
                path.unlink(missing_ok=True)
                if not found:
                    yield entry

    def manifest(self, record: Record) -> Manifest:
        """Read the manifest of a build, see `Shelf`."""
        name = f"{BUILDS}/{record.build}/{manifests.NAME}"
        source = f"{self._folder.shown}/{name}"
        data = self._folder.read(name, limit=LIMIT)
        if data is None:
            raise InputError(f"{source} is gone", hint="the next run makes the build again")
        manifest = manifests.parse(data, source=source)
        if json.loads(data)["manifest_digest"] != record.manifest_digest:
            raise InputError(f"{source} is of another build", hint="the next run makes the build again")
        return manifest

    @contextlib.contextmanager
    def workplace(self) -> Iterator[Path]:
        """Yield an empty folder of this machine, see `Shelf`."""
        with tempfile.TemporaryDirectory(dir=self._scratch, prefix="envbundle-") as folder:
            yield Path(folder)

    def put(self, bundle: Path, record: Record, extras: Mapping[str, Path]) -> None:
        """Send a proved bundle and make it the current one; what is there already is not sent again.

        :param bundle: its folder, which stays.
        :param extras: name in `builds/` → file, or an `oci` layout's folder.
        :raises InputError: `current.json` is not envbundle's.
        :raises MachineError: a file has changed since the proof, or the URL does not take it.
        """
        record = replace(record, fingerprint="")
        manifest = manifests.read(bundle)
        environment = tuple(sorted(manifest.environment.items()))
        content = remote_files.current_document(record, environment=environment)
        uploads = _uploads(bundle, manifest, record.build, extras)
        self._stopped()
        if self._points_at()[1] == content and self._is_done(record, uploads):
            return
        index = self._index(record.build)
        unlisted = {one.path for one in index.entries} if index else set()
        note = notes.Note(self._folder, record.build, SENDING, unlisted.union(one.path for one in uploads))
        for _ in range(ATTEMPTS):
            notes.wait_for_removers(self._folder, record.build, stopped=self._stopped)
            unlisted |= self._complete(record, uploads)
            try:
                self._stopped()
            except BaseException:
                note.end()
                raise
            if self._points_at()[1] != content:
                self._folder.write(CURRENT, (json.dumps(content, indent=2) + "\n").encode())
            if self._stands(record.build, uploads, note):
                note.end()
                # What broke off earlier has left notes beside a build that lacks nothing now.
                beside = notes.found(self._folder, record.build)
                left: dict[str, Partial | None] = {one.name: None for one in beside if one.kind == PARTIAL}
                left |= {one.name: partial for one, partial in notes.stale(self._folder, beside).items()}
                self._clear(record.build, unlisted.difference(one.path for one in uploads), left)
                return
        raise MachineError(
            f"{self.where(record)} was taken away while it was sent",
            hint="another run removes old builds there; run again when it has ended",
        )

    def _is_done(self, record: Record, uploads: Sequence[_Upload]) -> bool:
        """Tell whether a build lacks nothing, and nobody is at it or has left a note of it."""
        return not notes.found(self._folder, record.build) and self._survey(record, uploads).is_complete

    def _stands(self, build: str, uploads: Sequence[_Upload], note: notes.Note) -> bool:
        """Tell, once a build is current, whether it still lacks nothing and nobody removes it.

        The records of others that send it at the same time are as good.
        """
        beside = notes.found(self._folder, build)
        if any(one.kind == REMOVING for one in beside) or all(one.name != note.name for one in beside):
            return False
        index = self._index(build)
        listed = {(one.path, one.sha256) for one in index.entries} if index else set()
        there = self._listing(uploads)
        return all(
            (one.path, one.sha256) in listed and one.path in there and there[one.path].size == one.size
            for one in uploads
        )

    def _survey(self, record: Record, uploads: Sequence[_Upload]) -> _Survey:
        """Look at what is there of a build."""
        index = self._index(record.build)
        known = {one.path: one for one in index.entries} if index else {}
        there = self._listing(uploads)
        lacking = [
            one for one in uploads if not self._is_there(one, there.get(one.path), known.get(one.path))
        ]
        return _Survey(
            index=index,
            wanted=None if lacking else _index_of(record, uploads, there),
            lacking=lacking,
        )

    def _complete(self, record: Record, uploads: Sequence[_Upload]) -> set[str]:
        """Send what is lacking at the URL: objects, then the record that lists them.

        :returns: the objects that the record listed until then.
        """
        survey = self._survey(record, uploads)
        wanted = survey.wanted
        if survey.lacking:
            _require_unchanged(survey.lacking)
            self._folder.send(
                {f"{BUILDS}/{one.path}": one.source for one in survey.lacking}, progress=self._progress
            )
            self._folder.flush()
            there = self._listing(uploads)
            _require_arrived(uploads, there, where=self.where(record))
            wanted = _index_of(record, uploads, there)
        if wanted is not None and survey.index != wanted:
            self._folder.write(remote_files.index_name(record.build), remote_files.render_index(wanted))
        return {one.path for one in survey.index.entries} if survey.index else set()

    def _listing(self, wanted: Iterable[_Upload | Entry]) -> dict[str, Stat]:
        """Return what the filesystem says of a build's objects, by their paths below `builds/`."""
        paths = {one.path for one in wanted}
        folders = {path.partition("/")[0] for path in paths if "/" in path}
        found = self._folder.listing(BUILDS, deep=False) if len(folders) < len(paths) else {}
        for folder in sorted(folders):
            found |= self._folder.listing(f"{BUILDS}/{folder}")
        return {name.removeprefix(f"{BUILDS}/"): stat for name, stat in found.items()}

    def _is_there(self, upload: _Upload, stat: Stat | None, known: Entry | None) -> bool:
        """Return whether an object is there unchanged: by its version, else by its hash if there is one."""
        if stat is None or stat.size != upload.size:
            return False
        if known and (known.sha256, known.version) == (upload.sha256, stat.version):
            return True
        if stat.md5:
            return stat.md5 == digest(upload.source, "md5")
        return self._folder.local_sha256(f"{BUILDS}/{upload.path}") == upload.sha256

    def prune(self, keep: int) -> tuple[str, ...]:
        """Remove all builds but the `keep` youngest, see `Shelf`."""
        names = [name.removeprefix(f"{BUILDS}/") for name in self._folder.listing(BUILDS, deep=False)]
        ids = sorted(name.removesuffix(".json") for name in names if name.endswith(".json"))
        builds = [build for build in ids if records.IDENTITY.fullmatch(build)]
        if len(builds) <= keep:
            return ()
        found = [index for index in map(self._index, builds) if index is not None]
        found.sort(key=lambda index: index.record.made, reverse=True)
        return tuple(index.record.build for index in found[keep:] if self._withdraw(index))

    def _withdraw(self, index: Index) -> bool:
        """Remove a build; `False` where it is or becomes the current one, or somebody sends it."""
        build = index.record.build
        if self._points_at()[0] == build:
            return False
        paths = [one.path for one in index.entries]
        note = notes.Note(self._folder, build, REMOVING, paths)
        if notes.is_sent(self._folder, build) or self._points_at()[0] == build or self._index(build) != index:
            note.end()
            return False
        note.remove([remote_files.index_name(build)])
        note.remove(f"{BUILDS}/{path}" for path in paths)
        note.end()
        return True

    def sweep(self) -> None:
        """Remove what an upload or a removal that broke off has left: after a day."""
        old = notes.stale(self._folder, notes.found(self._folder))
        for build in sorted({one.build for one in old}):
            left = {note.name: partial for note, partial in old.items() if note.build == build}
            try:
                if self._points_at()[0] != build:
                    self._clear(build, (), left)
            except InputError as error:
                logger.warning("%s", error.message)

    def _clear(self, build: str, unlisted: Iterable[str], left: Mapping[str, Partial | None]) -> None:
        """Remove objects that no record lists, unless somebody sends the build.

        :param unlisted: what may be there, below `builds/`.
        :param left: notes of dead runs by their names; `None` for those that nobody reads.
        """
        paths = {*unlisted, *(path for one in left.values() if one for path in one.objects)}
        if not paths and not left:
            return
        note = notes.Note(self._folder, build, REMOVING, paths)
        if not notes.is_sent(self._folder, build, but=left):
            index = self._index(build)
            if index is None and self._points_at()[0] == build:
                paths = set()  # its record is lost: whoever sends it next puts it right
            kept = {one.path for one in index.entries} if index else set()
            note.remove(f"{BUILDS}/{path}" for path in sorted(paths - kept))
            note.remove(sorted(left))
        note.end()


def _uploads(bundle: Path, manifest: Manifest, build: str, extras: Mapping[str, Path]) -> list[_Upload]:
    """Return every file of a build, with the hash that it must have."""
    uploads = [
        _Upload(path=f"{build}/{one.path}", source=bundle / one.path, sha256=one.sha256, size=one.size)
        for one in (*manifest.files, *manifest.documents)
    ]
    uploads += [_upload(f"{build}/{name}", bundle / name) for name in (manifests.NAME, manifests.SUMS)]
    for name, source in extras.items():
        if not remote_files.belongs(name, build):
            raise InputError(f"{name} does not belong to the build {build}")
        paths = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
        uploads += [_upload(f"{name}/{path.relative_to(source)}".removesuffix("/."), path) for path in paths]
    return sorted(uploads, key=lambda one: one.path)


def _index_of(record: Record, uploads: Iterable[_Upload], there: Mapping[str, Stat]) -> Index:
    entries = (
        Entry(path=one.path, sha256=one.sha256, size=one.size, version=there[one.path].version)
        for one in uploads
    )
    return Index(record=record, entries=tuple(entries))


def _upload(path: str, source: Path) -> _Upload:
    return _Upload(path=path, source=source, sha256=digest(source), size=source.stat().st_size)


def _require_unchanged(uploads: Iterable[_Upload]) -> None:
    """Send nothing but what was proved.

    :raises MachineError: names the file that has changed.
    """
    for one in uploads:
        try:
            found = digest(one.source)
        except OSError as error:
            raise MachineError(f"{one.source}: {error.strerror}", hint="see to the disk") from error
        if found != one.sha256:
            raise MachineError(
                f"{one.source} has changed since it was proved: nothing is sent",
                hint="`envbundle verify` says what is damaged; `envbundle rebuild --full` makes it again",
            )


def _require_arrived(uploads: Iterable[_Upload], there: Mapping[str, Stat], *, where: str) -> None:
    for one in uploads:
        stat = there.get(one.path)
        if stat is None or stat.size != one.size:
            how = "is not there" if stat is None else f"has {stat.size} bytes, not {one.size}"
            raise MachineError(
                f"{where}: {one.path} {how} after it was sent",
                hint="something else writes or removes there; run again",
            )
