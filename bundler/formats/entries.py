"""The members of an archive, their order, and the errors of archives that are damaged or refused."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from bundler.bundle import integrity
from bundler.bundle.manifest import Manifest
from bundler.errors import InputError, MachineError
from bundler.lazy_dataclass import dataclass
from bundler.model import FileFact
from bundler.system.files import folders_above
from bundler.system.json_values import path_problem

EPOCH = 315532800
"""1980-01-01T00:00:00Z, the time of every member: the oldest that a zip file can hold."""
FILE_MODE, PROGRAM_MODE, FOLDER_MODE = 0o644, 0o755, 0o755
BLOCK = 1 << 20
"""Bytes that are read, compressed and written at a time."""
MANIFEST = "manifest.json"
MORE_MEMBERS = 10_000
MORE_BYTES = 256 << 20
"""Members and bytes beyond those that the manifest lists; an archive with more is refused."""
COPY = "copy it here again, or make it again with `envbundle pack`"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A member of an archive."""

    path: str
    """POSIX, without a slash at the end."""
    size: int = 0
    executable: bool = False
    folder: bool = False
    sha256: str = ""
    """Of the content that is packed; empty for a member that was read from an archive."""

    @property
    def mode(self) -> int:
        """Permission bits."""
        if self.folder:
            return FOLDER_MODE
        return PROGRAM_MODE if self.executable else FILE_MODE


def on_disk(folder: Path, path: str) -> Path:
    """Return the path of a member below a folder. Names on disk are UTF-8, whatever the locale is."""
    return Path(os.fsdecode(os.fsencode(folder) + b"/" + path.encode("utf-8", "surrogateescape")))


def ordered(tree_files: Iterable[FileFact], documents: Iterable[FileFact]) -> tuple[Entry, ...]:
    """Return all members in the order of every archive: manifest, other documents, then the tree by path.

    A reader of the stream knows from its first member what must follow.
    """
    beside, below = ([_entry(file) for file in files] for files in (documents, tree_files))
    folders = folders_above(entry.path for entry in below)
    below += [Entry(path=path, folder=True) for path in folders]
    # That of the attestations, say, where no distribution has the same.
    others = folders_above(entry.path for entry in beside) - folders
    beside += [Entry(path=path, folder=True) for path in others]
    return (
        *sorted(beside, key=lambda entry: (entry.path != MANIFEST, entry.path)),
        *sorted(below, key=lambda entry: entry.path),
    )


def _entry(file: FileFact) -> Entry:
    return Entry(path=file.path, size=file.size, executable=file.executable, sha256=file.sha256)


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What is packed: a bundle whose files have the names, kinds and sizes that its manifest lists."""

    bundle: Path
    manifest: Manifest
    entries: tuple[Entry, ...]
    """In the order of every archive."""
    advance: Callable[[int], None] = lambda _: None
    """Told of the bytes of each block that was read."""

    def read(self, entry: Entry) -> Iterator[bytes]:
        """Yield the content of a file in blocks, and hash it on the way.

        :raises InputError: it is not what the manifest lists.
        :raises MachineError: it cannot be read, or changes while it is packed.
        """
        path = os.fsencode(self.bundle) + b"/" + entry.path.encode()
        left, digest = entry.size, hashlib.sha256()
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                while left >= 0 and (block := os.read(descriptor, min(BLOCK, left + 1))):
                    left -= len(block)
                    digest.update(block)
                    yield block
                    self.advance(len(block))
            finally:
                os.close(descriptor)
        except OSError as error:
            raise MachineError(f"{os.fsdecode(path)}: {error.strerror}", hint="make it readable") from error
        if left or digest.hexdigest() != entry.sha256:
            integrity.require(self.bundle)
            raise self.changed(entry.path)

    def read_all(self) -> None:
        """Hash every file, for a packer that reads them itself; see `read` for the errors."""
        for entry in self.entries:
            if not entry.folder:
                for _ in self.read(entry):
                    pass

    def changed(self, path: str) -> MachineError:
        """Return the error of a file or folder of the bundle that changes while it is packed."""
        return MachineError(
            f"{on_disk(self.bundle, path)} has changed while it was packed", hint="run it again"
        )


def admitted(
    members: Iterable[tuple[Entry, Iterator[bytes]]], archive: Path, *, files: int, size: int
) -> Iterator[tuple[Entry, Iterator[bytes]]]:
    """Yield members one after another, as long as unpacking them can do no harm.

    :param files: that the manifest lists.
    :param size: bytes of all those.
    :raises InputError: a path leaves the folder or is taken, or there is too much altogether.
    """
    folders_seen: set[str] = set()
    files_seen: set[str] = set()
    members_left, bytes_left = MORE_MEMBERS + 2 * files, MORE_BYTES + size
    for entry, content in members:
        path = entry.path
        if problem := path_problem(path):
            raise refused(archive, path, problem)
        if path in files_seen or (path in folders_seen and not entry.folder):
            raise refused(archive, path, "is there twice")
        above = folders_above([path])
        if above & files_seen:
            raise refused(archive, path, "lies below a file")
        folders_seen |= above
        (folders_seen if entry.folder else files_seen).add(path)
        members_left -= 1
        bytes_left -= entry.size
        if members_left < 0 or bytes_left < 0:
            raise refused(archive, path, "is far more than the manifest lists")
        yield entry, content


def refused(archive: Path, path: str, problem: str) -> InputError:
    """Return the error of a member that no archive of a bundle has."""
    return InputError(
        f"{archive}: {path[:200]!r} {problem}",
        hint="envbundle did not write this archive; get it again from where it was made",
    )


def cut_off(archive: Path) -> InputError:
    """Return the error of an archive that ends too early."""
    return InputError(f"{archive} ends too early: it was cut off", hint=COPY)


def damaged(archive: Path, problem: str) -> InputError:
    """Return the error of an archive that cannot be read."""
    return InputError(f"{archive} is damaged: {problem}", hint=COPY)


def trailing(archive: Path, count: int) -> InputError:
    """Return the error of an archive behind whose end something follows."""
    return InputError(f"{archive} is damaged: {count} bytes follow after its end", hint=COPY)
