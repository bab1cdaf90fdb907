"""Hashes files; brings files and folders into their places whole, in one step, and on the disk."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from bundler.model import FileFact
from bundler.ontarget.bounded import open_regular

RETIRED = "retired"
"""Where an old folder waits, beside the new one, on a filesystem that cannot swap the two in one step."""
ENDING = ".envbundle"
"""Of the names of what is worked on beside an output."""
BLOCK = 1 << 20
_DYING = 1.0
"""Seconds in which a killed program is gone."""
_BEGUN = re.compile(r"\..+-[a-z0-9_]{8}\.envbundle")
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


def digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the hexadecimal hash of a file, read in blocks.

    :param algorithm: one of `hashlib`'s; MD5 only to compare with what an object store tells.
    """
    # `hashlib.file_digest` needs Python 3.11.
    running = hashlib.new(algorithm, usedforsecurity=False)
    with os.fdopen(open_regular(path, 0), "rb") as file:
        while block := file.read(BLOCK):
            running.update(block)
    return running.hexdigest()


def remove(folder: Path) -> None:
    """Remove a folder and all that is in it, also what a program that was just killed still writes there.

    What cannot be removed within a second stays. A signal that ends the run meanwhile waits for it.
    """
    try:
        _remove_all(folder)
    except BaseException:
        _remove_all(folder)  # after the first signal no other one interrupts
        raise


def _remove_all(folder: Path) -> None:
    end = time.monotonic() + _DYING
    shutil.rmtree(folder, ignore_errors=True)
    while os.path.lexists(folder) and time.monotonic() < end:
        time.sleep(_DYING / 20)
        shutil.rmtree(folder, ignore_errors=True)


def sync(path: Path) -> None:
    """Write a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_filesystem(path: Path) -> None:
    """Write all of the filesystem that holds `path` to the disk: one call instead of one a file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)


def write(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, whole or not at all, flushed, and readable for everybody.

    What killed runs have left beside it goes.
    """
    folder = path.absolute().parent
    sweep(folder)
    descriptor, part = _begin(folder, path.name)
    with os.fdopen(descriptor, "wb") as stream:
        try:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(descriptor)
            part.chmod(0o644)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _begin(folder: Path, name: str) -> tuple[int, Path]:
    """Make and lock a file beside one that is to be written; the lock ends with the process."""
    while True:
        # Of a long name a part, so that this one is not too long.
        descriptor, path = tempfile.mkstemp(dir=folder, prefix=f".{name[:50]}-", suffix=ENDING)
        with contextlib.suppress(OSError):  # a file share without locks: there nothing is swept either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Another run can take it for a killed one's before it is locked: then there is another.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.lstat(path), os.fstat(descriptor)):
                return descriptor, Path(path)
        os.close(descriptor)


def sweep(folder: Path) -> None:
    """Remove files that killed runs of this user had begun to write; what cannot be removed stays."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _BEGUN.fullmatch(entry.name):
                with contextlib.suppress(OSError):
                    _remove(Path(entry.path))


def _remove(path: Path) -> None:
    descriptor = open_regular(path, os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    finally:
        os.close(descriptor)


def exists(path: Path) -> bool:
    """Tell whether something is at a path from outside; at one that is too long to be one nothing is."""
    return os.path.exists(path)  # noqa: PTH110 - `Path.exists` raises then


def is_folder(path: Path) -> bool:
    """Tell whether a folder is at a path from outside, as `exists` does."""
    return os.path.isdir(path)  # noqa: PTH112 - as above


def is_file(path: Path) -> bool:
    """Tell whether a file is at a path from outside, as `exists` does."""
    return os.path.isfile(path)  # noqa: PTH113 - as above


def real_path(path: Path) -> Path:
    """Return an absolute path without symlinks, as `Path.resolve` does from Python 3.13 on.

    Links that lead to each other stay, and whoever reads the file says so: before, that was a RuntimeError.
    """
    return Path(os.path.realpath(path))


def at_home(name: str) -> Path:
    """Return a path whose `~` or `~user` in front is put in place; where there is no such user, as it is."""
    return Path(os.path.expanduser(name))  # noqa: PTH111 - `Path.expanduser` raises then


def place(staged: Path, destination: Path) -> None:
    """Rename a flushed file or folder into its place, and flush its name there.

    A folder that stood at `destination` is at `staged` afterwards. At every moment one of the two is at
    `destination`, where the filesystem can swap them; elsewhere the old one waits as `RETIRED` beside
    `staged`, and stays there if the run is killed.

    :param staged: on the filesystem of `destination`.
    """
    if not os.path.lexists(destination) or not (staged.is_dir() or destination.is_dir()):
        staged.replace(destination)
    elif not swap(staged, destination):
        retired = staged.with_name(RETIRED)
        destination.rename(retired)
        try:
            staged.rename(destination)
        except OSError:
            retired.rename(destination)
            raise
        retired.rename(staged)
    sync(destination.parent)


def swap(first: Path, second: Path) -> bool:
    """Swap two files or folders (renameat2(2)); `False` where kernel or filesystem cannot."""
    function = getattr(ctypes.CDLL(None), "renameat2", None)
    if function is None:
        return False
    done: int = function(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
    return done == 0


def folders_above(paths: Iterable[str]) -> frozenset[str]:
    """Return every folder above POSIX paths."""
    found: set[str] = set()
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return frozenset(found)


def write_new(
    target: Path,
    path: str,
    blocks: Iterable[bytes],
    *,
    executable: bool,
) -> FileFact:
    """Write a new file with a normalised mode; never through a link, never over a file.

    :param path: for the fact.
    """
    digest = hashlib.sha256()
    size = 0
    mode = 0o755 if executable else 0o644
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "wb") as file:
        for block in blocks:
            digest.update(block)
            size += file.write(block)
        os.fchmod(file.fileno(), mode)
    return FileFact(path=path, sha256=digest.hexdigest(), size=size, executable=executable)
