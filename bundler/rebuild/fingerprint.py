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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    StrPath: TypeAlias = str | os.PathLike[str]

_by_name = attrgetter("name")


def fingerprint(folder: StrPath, beside: Iterable[StrPath] = ()) -> str:
    """Return sha256 over what the filesystem tells of every file in a folder; no symlink is followed.

    The time of the last change of any kind (ctime) counts as well, which no program can set back; but not of
    a file that has several names, since a further one changes it.

    :param beside: files and folders outside of it, of which that time does not count: renaming changes it.
    :raises OSError: it cannot be listed.
    """
    names: list[str] = []
    numbers: list[int] = []
    _folder(os.fspath(folder), names, numbers)
    for path in [os.fspath(one) for one in beside]:
        names.append(f"\0{path.rpartition('/')[2]}")
        status = os.lstat(path)
        if S_ISDIR(status.st_mode):
            _folder(path, names, numbers)
        else:
            numbers += (status.st_size, status.st_mtime_ns, status.st_mode)
    digest = hashlib.sha256(os.fsencode("\0".join(names)))
    digest.update(array("q", numbers))
    return digest.hexdigest()


def _folder(root: str, names: list[str], numbers: list[int]) -> None:
    """One loop without calls: half of its time is the system's, and it is the whole time of `--locked`."""
    folders = [(root, "")]
    while folders:
        folder, shown = folders.pop()
        names.append(f"{shown}/")
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=_by_name):
                if entry.is_dir(follow_symlinks=False):
                    folders.append((entry.path, f"{shown}/{entry.name}"))
                    continue
                status = entry.stat(follow_symlinks=False)
                names.append(entry.name)
                changed = status.st_ctime_ns if status.st_nlink == 1 else 0
                numbers += (status.st_size, status.st_mtime_ns, changed, status.st_mode)
