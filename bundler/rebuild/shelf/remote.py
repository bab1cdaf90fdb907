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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundler.bundle import manifest as manifests
from bundler.errors import EnvbundleError, InputError, MachineError
from bundler.rebuild import record as records
from bundler.rebuild.shelf import published
from bundler.rebuild.shelf.published import BUILDS, CURRENT, LIMIT, Entry, Index
from bundler.system.files import digest
from bundler.system.urls.folder import DamagedObjectError, Folder
from bundler.system.urls.local import STALE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from bundler.bundle.manifest import Manifest
    from bundler.rebuild.record import Record
    from bundler.system.urls.local import Stat

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often a build is sent again that another run takes away meanwhile."""


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """A file that belongs to a build, here."""

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
        :param scratch: folder for the workplace and for what is looked at; `None`: the system's.
        :param progress: called with the bytes of each file that was sent, on any thread.
        :param stopped: called before anything is sent and before it becomes current; raises to prevent it.
        """
        self._folder = Folder(url).subfolder(name)
        self._name = name
        self._scratch = scratch
        self._progress = progress
        self._stopped = stopped

    def where(self, record: Record) -> str:
        """Return the URL of a build, without credentials."""
        return f"{self._folder.shown}/{BUILDS}/{record.build}"

    def current(self) -> Record | None:
        """Return the record of the build that `current.json` names; `None`: there is none, or it is lost.

        :raises InputError: `current.json` is not envbundle's.
        :raises MachineError: the URL does not answer.
        """
        build, _ = self._points_at()
        index = self._index(build) if build else None
        return index.record if index else None

    def _points_at(self) -> tuple[str | None, dict[str, Any]]:
        data = self._folder.read(CURRENT)
        if data is None:
            return None, {}
        return published.parse_current(data, source=f"{self._folder.shown}/{CURRENT}")

    def _index(self, build: str) -> Index | None:
        """Read the record of a build; `None` where there is none that holds."""
        name = published.index_name(build)
        data = self._folder.read(name, limit=LIMIT)
        if data is None:
            return None
        try:
            index = published.parse_index(data, source=f"{self._folder.shown}/{name}")
        except InputError as error:
            logger.warning("%s", error.message)
            return None
        return index if index.record.build == build else None

    def damage(self, record: Record, *, full: bool) -> str:
        """Tell what is wrong with a build; empty: every object of it is there, as it was left.

        :param full: fetch everything and hash it; otherwise sizes decide, and what the filesystem tells of
            each object, where that tells of a change.
        :raises MachineError: the URL does not answer.
        """
        index = self._index(record.build)
        if index is None:
            return f"{published.index_name(record.build)} is gone"
        there = self._told(index.entries)
        doubtful = []
        for entry in index.entries:
            stat = there.get(entry.path)
            if stat is None:
                return f"{BUILDS}/{entry.path} is gone"
            if stat.size != entry.size:
                return f"{BUILDS}/{entry.path} has another size"
            if full or stat.version != entry.version:
                doubtful.append(entry)
        return next((f"{BUILDS}/{one.path} has another content" for one in self._other(doubtful)), "")

    def _other(self, entries: Sequence[Entry]) -> Iterator[Entry]:
        """Yield what has another content than it should."""
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
        """Read the manifest of a build.

        :raises InputError: it is damaged or gone.
        :raises MachineError: the URL does not answer.
        """
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
        """Give an empty folder of this machine; it is removed afterwards."""
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
        pieces = _pieces(bundle, manifest, record.build, extras)
        for _ in range(ATTEMPTS):
            self._stopped()
            self._points_at()
            self._complete(record, pieces)
            self._stopped()
            self._point(record, environment)
            # A run that keeps fewer builds may have begun to remove this one before it became current.
            if self._folder.size(published.index_name(record.build)) is not None:
                return
        raise MachineError(
            f"{self.where(record)} was taken away while it was sent",
            hint="another run removes old builds there; run again when it has ended",
        )

    def _complete(self, record: Record, pieces: Sequence[_Piece]) -> None:
        """Have every object there, and the record that lists them."""
        index = self._index(record.build)
        known = {one.path: one for one in index.entries} if index else {}
        there = self._told(pieces)
        lacking = [one for one in pieces if not self._is_there(one, there.get(one.path), known.get(one.path))]
        stale = known.keys() - {one.path for one in pieces}
        note = published.partial_name(record.build)
        if lacking or stale:
            paths = {*stale, *(one.path for one in pieces)}
            self._folder.write(note, published.render_partial(record.build, paths, since=time.time()))
        if lacking:
            _require_unchanged(lacking)
            self._folder.send(
                {f"{BUILDS}/{one.path}": one.source for one in lacking}, progress=self._progress
            )
            self._folder.flush()
            there = self._told(pieces)
            _require_arrived(pieces, there, where=self.where(record))
        entries = tuple(
            Entry(path=one.path, sha256=one.sha256, size=one.size, version=there[one.path].version)
            for one in pieces
        )
        complete = Index(record=record, entries=entries)
        if index != complete:
            self._folder.write(published.index_name(record.build), published.render_index(complete))
        # An upload that broke off after its last object has left the note and lacks nothing.
        if lacking or stale or index != complete:
            self._folder.remove([*(f"{BUILDS}/{path}" for path in stale), note])

    def _told(self, wanted: Iterable[_Piece | Entry]) -> dict[str, Stat]:
        """What the filesystem tells of a build's objects, by their paths below `builds/`."""
        paths = {one.path for one in wanted}
        folders = {path.partition("/")[0] for path in paths if "/" in path}
        told = self._folder.listing(BUILDS, deep=False) if len(folders) < len(paths) else {}
        for folder in sorted(folders):
            told |= self._folder.listing(f"{BUILDS}/{folder}")
        return {name.removeprefix(f"{BUILDS}/"): stat for name, stat in told.items()}

    def _is_there(self, piece: _Piece, stat: Stat | None, known: Entry | None) -> bool:
        """Whether an object need not be sent again: as it was left, else by its hash where one can be had."""
        if stat is None or stat.size != piece.size:
            return False
        if known and (known.sha256, known.version) == (piece.sha256, stat.version):
            return True
        if stat.md5:
            return stat.md5 == digest(piece.source, "md5")
        return self._folder.local_sha256(f"{BUILDS}/{piece.path}") == piece.sha256

    def _point(self, record: Record, environment: Sequence[tuple[str, str]]) -> None:
        content = published.current_document(record, environment=environment)
        older = self._points_at()[1]
        if older != content:
            self._folder.write(CURRENT, (json.dumps(content, indent=2) + "\n").encode())

    def prune(self, keep: int) -> tuple[str, ...]:
        """Remove all builds but the `keep` youngest; never the current one, never what has no record.

        :returns: the IDs of those that were removed.
        :raises MachineError: the URL does not answer.
        """
        builds = self._named(".json")
        if len(builds) <= keep:
            return ()
        found = [index for index in map(self._index, builds) if index is not None]
        found.sort(key=lambda index: index.record.made, reverse=True)
        return tuple(index.record.build for index in found[keep:] if self._withdraw(index))

    def _named(self, ending: str) -> list[str]:
        """IDs of builds that have a file with this ending beside them."""
        names = [name.removeprefix(f"{BUILDS}/") for name in self._folder.listing(BUILDS, deep=False)]
        found = [name.removesuffix(ending) for name in names if name.endswith(ending)]
        return sorted(build for build in found if records.IDENTITY.fullmatch(build))

    def _withdraw(self, index: Index) -> bool:
        """Remove a build, its record first; `False` where it is or becomes the current one.

        Whoever makes it current writes `current.json` and then looks for the record; here the record goes
        and then `current.json` is looked at: so one of the two sees the other.
        """
        build = index.record.build
        name, note = published.index_name(build), published.partial_name(build)
        if self._points_at()[0] == build:
            return False
        paths = [one.path for one in index.entries]
        self._folder.write(note, published.render_partial(build, paths, since=time.time()))
        self._folder.remove([name])
        if self._points_at()[0] == build:
            self._folder.write(name, published.render_index(index))
            self._folder.remove([note])
            return False
        self._folder.remove(f"{BUILDS}/{path}" for path in paths)
        self._folder.remove([note])
        return True

    def sweep(self) -> None:
        """Remove what a sending or a removal has left that nobody brings to its end: after a day.

        :raises MachineError: the URL does not answer.
        """
        for build in self._named(".partial.json"):
            note = published.partial_name(build)
            data = self._folder.read(note, limit=LIMIT) or b""
            try:
                partial = published.parse_partial(data, build, source=f"{self._folder.shown}/{note}")
                if time.time() - partial.since <= STALE or self._points_at()[0] == build:
                    continue
            except EnvbundleError as error:
                logger.warning("%s", error.message)
                continue
            index = self._index(build)
            kept = {one.path for one in index.entries} if index else set()
            self._folder.remove(f"{BUILDS}/{path}" for path in partial.objects if path not in kept)
            self._folder.remove([note])


def _pieces(bundle: Path, manifest: Manifest, build: str, extras: Mapping[str, Path]) -> list[_Piece]:
    """Every file that belongs to a build, with the hash that it must have."""
    pieces = [
        _Piece(path=f"{build}/{one.path}", source=bundle / one.path, sha256=one.sha256, size=one.size)
        for one in (*manifest.files, *manifest.documents)
    ]
    pieces += [_piece(f"{build}/{name}", bundle / name) for name in (manifests.NAME, manifests.SUMS)]
    for name, source in extras.items():
        if not published.belongs(name, build):
            raise InputError(f"{name} does not belong to the build {build}")
        files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
        pieces += [_piece(f"{name}/{path.relative_to(source)}".removesuffix("/."), path) for path in files]
    return sorted(pieces, key=lambda one: one.path)


def _piece(path: str, source: Path) -> _Piece:
    return _Piece(path=path, source=source, sha256=digest(source), size=source.stat().st_size)


def _require_unchanged(pieces: Iterable[_Piece]) -> None:
    """Send nothing but what was proved.

    :raises MachineError: names the file that has changed.
    """
    for one in pieces:
        try:
            found = digest(one.source)
        except OSError as error:
            raise MachineError(f"{one.source}: {error.strerror}", hint="see to the disk") from error
        if found != one.sha256:
            raise MachineError(
                f"{one.source} has changed since it was proved: nothing is sent",
                hint="`envbundle verify` says what is damaged; `envbundle rebuild --full` makes it again",
            )


def _require_arrived(pieces: Iterable[_Piece], there: Mapping[str, Stat], *, where: str) -> None:
    for one in pieces:
        stat = there.get(one.path)
        if stat is None or stat.size != one.size:
            how = "is not there" if stat is None else f"has {stat.size} bytes, not {one.size}"
            raise MachineError(
                f"{where}: {one.path} {how} after it was sent",
                hint="something else writes or removes there; run again",
            )
