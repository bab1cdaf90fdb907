"""Reads the tree that a bundle is made of: every file once, with its hash."""

from __future__ import annotations

import operator
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from bundler.errors import MachineError
from bundler.lazy_dataclass import dataclass
from bundler.model import FileFact
from bundler.ontarget.checksums import THREADS, hash_files, walk

Stamp = tuple[int, int, int, int, int]
"""Inode, mode, size, and the times of the last change to content and inode (ns): any write moves the last."""


class HashedFile(NamedTuple):
    """A file whose content was hashed while it was written."""

    fact: FileFact
    stamp: Stamp
    """Of the open file, once all was written."""


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The files and folders below one folder on disk."""

    files: tuple[FileFact, ...]
    """Sorted by path."""
    irregular: tuple[str, ...] = ()
    """Paths of symlinks, devices, sockets and pipes: a bundle has none."""
    empty: tuple[str, ...] = ()
    """Folders with nothing in them."""
    closed: tuple[tuple[str, int], ...] = ()
    """Files and folders that not everybody may read, with their modes."""


stamp: Callable[[os.stat_result], Stamp] = operator.attrgetter(
    "st_ino", "st_mode", "st_size", "st_mtime_ns", "st_ctime_ns"
)
"""Returns what changes when a file is written or replaced."""


def scan(
    prefix: Path,
    *,
    threads: int = THREADS,
    seen: Mapping[str, HashedFile] | None = None,
    sizes: Mapping[str, int] | None = None,
    told: Mapping[str, str] | None = None,
) -> Tree:
    """List and hash every file below `prefix`; follow no symlink.

    The code is that of the verifier that travels with the bundle, so both find the same.

    :param seen: path → what was hashed as it was written; read again only if it was touched since.
    :param sizes: path → size that a file must have: one of another size, or of none, is not read (a file of a
        terabyte without content takes no disk, but hours), and its sha256 is empty.
    :param told: path → sha256 that is believed: whoever reads the file later compares it.
    :raises MachineError: a folder or a file cannot be read.
    """
    listed, irregular, statuses = _walk(prefix)
    known = _untouched(statuses, seen or {})
    hashed: dict[str, tuple[str, int]] = {}
    if told is not None:
        hashed = {path: (told[path], size) for path, size, _ in listed if path in told}
    if sizes is not None:
        hashed |= {path: ("", size) for path, size, _ in listed if sizes.get(path) != size}
    unread = [row for row in listed if row[0] not in known and row[0] not in hashed]
    hashed |= hash_files(str(prefix), unread, threads)
    files = []
    for path, _, mode in listed:
        if (fact := known.get(path)) is None:
            sha256, size = hashed[path]
            if size < 0:
                raise MachineError(f"{prefix / path}: {sha256}", hint="make it readable")
            fact = FileFact(path=path, sha256=sha256, size=size, executable=bool(mode & 0o111))
        files.append(fact)
    return Tree(
        files=tuple(files),
        irregular=tuple(irregular),
        empty=_empty(statuses, irregular),
        closed=tuple(sorted(_closed(statuses))),
    )


def stamps(prefix: Path) -> dict[str, Stamp]:
    """Return the stamp of every file and folder below `prefix`; the path of a folder ends with a slash.

    :raises MachineError: a folder cannot be read.
    """
    return {path: stamp(status) for path, status in _walk(prefix)[2].items()}


def _walk(prefix: Path) -> tuple[list[tuple[str, int, int]], list[str], dict[str, os.stat_result]]:
    statuses: dict[str, os.stat_result] = {}
    try:
        listed, irregular = walk(str(prefix), statuses)
    except OSError as error:
        raise MachineError(f"{error.filename!s}: {error.strerror}", hint="make it readable") from error
    return listed, irregular, statuses


def _untouched(statuses: Mapping[str, os.stat_result], seen: Mapping[str, HashedFile]) -> dict[str, FileFact]:
    """Return the facts of those files that are as they were when they were written."""
    known = {}
    for path, (fact, written) in seen.items():
        status = statuses.get(path)
        # Not every file system keeps the mode that a file was given.
        if (
            status is not None
            and stamp(status) == written
            and fact.executable == (status.st_mode & 0o111 != 0)
        ):
            known[path] = fact
    return known


def _empty(statuses: Iterable[str], irregular: Iterable[str]) -> tuple[str, ...]:
    """Return the folders without an entry; `.` for the tree itself."""
    parents = {f"{path.rstrip('/').rpartition('/')[0]}/" for path in (*statuses, *irregular)}
    return tuple(
        sorted(
            path.rstrip("/") or "." for path in ("/", *statuses) if path.endswith("/") and path not in parents
        )
    )


def _closed(statuses: Mapping[str, os.stat_result]) -> Iterator[tuple[str, int]]:
    for path, status in statuses.items():
        wanted = 0o755 if path.endswith("/") else 0o644
        if status.st_mode & wanted != wanted:
            yield path.rstrip("/"), stat.S_IMODE(status.st_mode)
