"""The builds of one job at a URL: see `shelf` for what a shelf is, `published` for what stands where.

Objects come first, then the record that lists them, then `current.json`: whoever follows that one finds a
whole build, whenever the sending ends. Any number of machines may send the same build at once, for each name
below `builds/ID` has one content.
"""

from __future__ import annotations

import contextlib
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bundler.bundle import manifest as manifests
from bundler.bundle.manifest import Manifest
from bundler.errors import EnvbundleError, InputError, MachineError
from bundler.rebuild import record as records
from bundler.rebuild.record import Record
from bundler.rebuild.shelf import remote_files
from bundler.rebuild.shelf.remote_files import BUILDS, CURRENT, LIMIT, Entry, Index
from bundler.system.files import digest
from bundler.system.urls.disk import STALE, Stat
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
        uploads = _uploads(bundle, manifest, record.build, extras)
        for _ in range(ATTEMPTS):
            self._stopped()
            self._points_at()
            self._complete(record, uploads)
            self._stopped()
            self._point(record, environment)
            # A run that keeps fewer builds may have begun to remove this one before it became current.
            if self._folder.size(remote_files.index_name(record.build)) is not None:
                return
        raise MachineError(
            f"{self.where(record)} was taken away while it was sent",
            hint="another run removes old builds there; run again when it has ended",
        )

    def _complete(self, record: Record, uploads: Sequence[_Upload]) -> None:
        """Send what is lacking at the URL: objects, then the record that lists them."""
        index = self._index(record.build)
        known = {one.path: one for one in index.entries} if index else {}
        there = self._listing(uploads)
        lacking = [
            one for one in uploads if not self._is_there(one, there.get(one.path), known.get(one.path))
        ]
        stale = known.keys() - {one.path for one in uploads}
        note = remote_files.partial_name(record.build)
        if lacking or stale:
            paths = {*stale, *(one.path for one in uploads)}
            self._folder.write(note, remote_files.render_partial(record.build, paths, since=time.time()))
        if lacking:
            _require_unchanged(lacking)
            self._folder.send(
                {f"{BUILDS}/{one.path}": one.source for one in lacking}, progress=self._progress
            )
            self._folder.flush()
            there = self._listing(uploads)
            _require_arrived(uploads, there, where=self.where(record))
        entries = tuple(
            Entry(path=one.path, sha256=one.sha256, size=one.size, version=there[one.path].version)
            for one in uploads
        )
        complete = Index(record=record, entries=entries)
        if index != complete:
            self._folder.write(remote_files.index_name(record.build), remote_files.render_index(complete))
        # An upload or a removal that broke off may have left the note beside a build that lacks nothing.
        if lacking or stale or self._folder.size(note) is not None:
            self._folder.remove([*(f"{BUILDS}/{path}" for path in stale), note])

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

    def _point(self, record: Record, environment: Sequence[tuple[str, str]]) -> None:
        content = remote_files.current_document(record, environment=environment)
        older = self._points_at()[1]
        if older != content:
            self._folder.write(CURRENT, (json.dumps(content, indent=2) + "\n").encode())

    def prune(self, keep: int) -> tuple[str, ...]:
        """Remove all builds but the `keep` youngest, see `Shelf`."""
        builds = self._named(".json")
        if len(builds) <= keep:
            return ()
        found = [index for index in map(self._index, builds) if index is not None]
        found.sort(key=lambda index: index.record.made, reverse=True)
        return tuple(index.record.build for index in found[keep:] if self._withdraw(index))

    def _named(self, ending: str) -> list[str]:
        """Return the IDs of builds that have a file with this ending beside them."""
        names = [name.removeprefix(f"{BUILDS}/") for name in self._folder.listing(BUILDS, deep=False)]
        found = [name.removesuffix(ending) for name in names if name.endswith(ending)]
        return sorted(build for build in found if records.IDENTITY.fullmatch(build))

    def _withdraw(self, index: Index) -> bool:
        """Remove a build, its record first; `False` where it is or becomes the current one.

        Whoever makes it current writes `current.json` and then looks for the record; here the record goes
        and then `current.json` is looked at: so one of the two sees the other.
        """
        build = index.record.build
        name, note = remote_files.index_name(build), remote_files.partial_name(build)
        if self._points_at()[0] == build:
            return False
        paths = [one.path for one in index.entries]
        self._folder.write(note, remote_files.render_partial(build, paths, since=time.time()))
        self._folder.remove([name])
        if self._points_at()[0] == build:
            self._folder.write(name, remote_files.render_index(index))
            self._folder.remove([note])
            return False
        self._folder.remove(f"{BUILDS}/{path}" for path in paths)
        self._folder.remove([note])
        return True

    def sweep(self) -> None:
        """Remove what an upload or a removal that broke off has left: after a day."""
        for build in self._named(".partial.json"):
            note = remote_files.partial_name(build)
            data = self._folder.read(note, limit=LIMIT) or b""
            try:
                partial = remote_files.parse_partial(data, build, source=f"{self._folder.shown}/{note}")
                if time.time() - partial.since <= STALE or self._points_at()[0] == build:
                    continue
            except EnvbundleError as error:
                logger.warning("%s", error.message)
                continue
            index = self._index(build)
            kept = {one.path for one in index.entries} if index else set()
            self._folder.remove(f"{BUILDS}/{path}" for path in partial.objects if path not in kept)
            self._folder.remove([note])


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
