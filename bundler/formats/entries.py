"""What stands in an archive, in which order, and what is refused there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.bundle import tree
from bundler.errors import InputError, MachineError
from bundler.system.json_values import path_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bundler.bundle.manifest import Manifest
    from bundler.model import FileFact

EPOCH = 315532800
"""1980-01-01T00:00:00Z, the time of every member: the oldest that a zip file can hold."""
FILE_MODE, PROGRAM_MODE, FOLDER_MODE = 0o644, 0o755, 0o755
BLOCK = 1 << 20
"""Bytes that are read, compressed and written at a time."""
MANIFEST = "manifest.json"
MORE_MEMBERS = 10_000
MORE_BYTES = 256 << 20
"""How much of what the manifest does not list is read before it is taken for a trap."""
COPY = "copy it here again, or make it again with `envbundle pack`"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A member of an archive."""

    path: str
    """POSIX, without a slash at the end."""
    size: int = 0
    executable: bool = False
    folder: bool = False

    @property
    def mode(self) -> int:
        """Permission bits."""
        if self.folder:
            return FOLDER_MODE
        return PROGRAM_MODE if self.executable else FILE_MODE


def on_disk(folder: Path, path: str) -> Path:
    """Return where a member stands below a folder: names are UTF-8 on disk, whatever the locale says."""
    return Path(os.fsdecode(os.fsencode(folder) + b"/" + path.encode()))


def ordered(tree_files: Iterable[FileFact], documents: Iterable[FileFact]) -> tuple[Entry, ...]:
    """Return all members in the order of every archive: manifest, other documents, then the tree by path.

    So whoever reads a stream knows from its first member what must follow.
    """
    beside = sorted(documents, key=lambda file: (file.path != MANIFEST, file.path))
    below = [_entry(file) for file in tree_files]
    below += [Entry(path=path, folder=True) for path in tree.folders(entry.path for entry in below)]
    return (*map(_entry, beside), *sorted(below, key=lambda entry: entry.path))


def _entry(file: FileFact) -> Entry:
    return Entry(path=file.path, size=file.size, executable=file.executable)


def _unheard(count: int) -> None:
    del count


@dataclass(frozen=True, kw_only=True)
class Contents:
    """A bundle that is as it was made."""

    bundle: Path
    manifest: Manifest
    entries: tuple[Entry, ...]
    """In the order of every archive."""
    advance: Callable[[int], None] = _unheard
    """Told of the bytes of each block that was read."""

    def read(self, entry: Entry) -> Iterator[bytes]:
        """Yield the content of a file in blocks.

        :raises MachineError: it cannot be read, or has changed since it was compared.
        """
        path = on_disk(self.bundle, entry.path)
        left = entry.size
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                while block := file.read(min(BLOCK, left + 1)):
                    left -= len(block)
                    if left < 0:
                        break
                    yield block
                    self.advance(len(block))
        except OSError as error:
            raise MachineError(f"{path}: {error.strerror}", hint="make it readable") from error
        if left:
            raise MachineError(f"{path} has changed while it was packed", hint="run it again")


class Guard:
    """Admits members one after another, and no trap among them."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._folders: set[str] = set()
        self._files: set[str] = set()
        self._members = MORE_MEMBERS
        self._bytes = MORE_BYTES

    def expect(self, files: int, size: int) -> None:
        """Allow for what the manifest lists.

        :param size: bytes of all files.
        """
        self._members += 2 * files
        self._bytes += size

    def admit(self, entry: Entry) -> None:
        """Take note of a member.

        :raises InputError: its path leaves the folder or is taken, or there is too much altogether.
        """
        path = entry.path
        if problem := path_problem(path):
            raise refused(self._archive, path, problem)
        if path in self._files or (path in self._folders and not entry.folder):
            raise refused(self._archive, path, "is there twice")
        parents = tuple(_parents(path))
        if any(parent in self._files for parent in parents):
            raise refused(self._archive, path, "lies below a file")
        self._folders.update(parents)
        (self._folders if entry.folder else self._files).add(path)
        self._members -= 1
        self._bytes -= entry.size
        if self._members < 0 or self._bytes < 0:
            raise refused(self._archive, path, "is far more than the manifest lists")


def _parents(path: str) -> Iterator[str]:
    parent = path.rpartition("/")[0]
    while parent:
        yield parent
        parent = parent.rpartition("/")[0]


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
