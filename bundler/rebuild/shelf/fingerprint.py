"""Tells at a glance whether a folder is as it was left: names, sizes and times of all files, as one digest.

Ten thousand files are looked at in the time that an interpreter needs to start; nothing is read. Where the
fingerprint differs, only hashing can tell whether anything really changed.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from operator import attrgetter
from stat import S_ISDIR

# `typing`, `re` and `pathlib` take as long as half of the work: nothing that this needs has them.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    StrPath: TypeAlias = str | os.PathLike[str]
    Half: TypeAlias = Callable[[], bytes]
    Both: TypeAlias = Callable[[Half, Half], tuple[bytes, bytes]]

BRANCHES = 64
"""A folder of at least so many branches is worth being looked at by two processes."""
_by_name = attrgetter("name")


def one_by_one(first: Half, second: Half) -> tuple[bytes, bytes]:
    """Look at one half of a folder, then at the other."""
    return first(), second()


def fingerprint(folder: StrPath, beside: Iterable[StrPath] = (), *, both: Both = one_by_one) -> str:
    """Return sha256 over what the filesystem tells of every file in a folder; no symlink is followed.

    The time of the last change of any kind (ctime) counts as well, which no program can set back; but not of
    a file that has several names, since a further one changes it.

    :param beside: files and folders outside of it, of which that time does not count: renaming changes it.
    :param both: does the two halves of the work.
    :raises OSError: it cannot be listed.
    """
    root = os.fspath(folder)
    names: list[str] = []
    numbers: list[int] = []
    pending = [root]
    # Wide before deep, until there is enough for two.
    while pending and len(pending) < BRANCHES:
        pending += _list(pending.pop(0), root, names, numbers)
    for path in [os.fspath(one) for one in beside]:
        names.append(f"\0{path.rpartition('/')[2]}")
        status = os.lstat(path)
        if S_ISDIR(status.st_mode):
            _walk([path], path, names, numbers)
        else:
            numbers += (status.st_size, status.st_mtime_ns, status.st_mode)
    digest = hashlib.sha256(_told(names, numbers))
    for half in both(lambda: _half(pending[::2], root), lambda: _half(pending[1::2], root)):
        digest.update(half)
    return digest.hexdigest()


def _half(folders: list[str], root: str) -> bytes:
    names: list[str] = []
    numbers: list[int] = []
    _walk(folders, root, names, numbers)
    return hashlib.sha256(_told(names, numbers)).digest()


def _told(names: list[str], numbers: list[int]) -> bytes:
    return os.fsencode("\0".join(names)) + array("q", numbers).tobytes()


def _walk(folders: list[str], root: str, names: list[str], numbers: list[int]) -> None:
    while folders:
        folders += _list(folders.pop(), root, names, numbers)


def _list(folder: str, root: str, names: list[str], numbers: list[int]) -> list[str]:
    """Note what is told of the files in a folder, and return the folders in it."""
    below: list[str] = []
    names.append(f"{folder[len(root) :]}/")
    # From a descriptor a file is found by its name alone, which takes a quarter less than by its path.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with os.scandir(descriptor) as entries:
            for entry in sorted(entries, key=_by_name):
                if entry.is_dir(follow_symlinks=False):
                    below.append(f"{folder}/{entry.name}")
                    continue
                status = entry.stat(follow_symlinks=False)
                names.append(entry.name)
                changed = status.st_ctime_ns if status.st_nlink == 1 else 0
                numbers += (status.st_size, status.st_mtime_ns, changed, status.st_mode)
    finally:
        os.close(descriptor)
    return below
