"""One run at a time for an output folder: a lock that ends with the last process of the run."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from bundler.errors import InputError, MachineError

PATIENCE = 2.0
"""Seconds for the processes of a run that was killed a moment ago to go."""


@contextlib.contextmanager
def lock_folders(folders: Iterable[Path], *, writing: bool, whole: bool) -> Iterator[None]:
    """Lock the output folders of a run.

    Runs that only read may share the lock, and so may shards, which have different bundles to do; where two
    runs of one shard meet at a bundle, its workspace belongs to one of them alone.

    The lock ends with the last process of the run, however that ends; it leaves nothing on the disk.

    :param writing: make folders that do not exist; otherwise they are passed over.
    :param whole: the run is no shard.
    :raises InputError: another run holds the lock, or one of them is no folder.
    :raises MachineError: a folder cannot be made or locked.
    """
    kind = fcntl.LOCK_EX if writing and whole else fcntl.LOCK_SH
    with contextlib.ExitStack() as held:
        for folder in sorted(set(folders)):
            if writing:
                _make(folder)
            if writing or folder.exists():
                held.callback(os.close, _lock(folder, kind))
        yield


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{error.filename} is not a folder", hint="choose another output") from error
    except OSError as error:
        raise MachineError(
            f"{error.filename} cannot be made: {error.strerror}", hint="the output folder must be writable"
        ) from error


def _lock(folder: Path, kind: int) -> int:
    """Lock a folder; returns the descriptor that holds the lock."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise MachineError(f"{folder}: {error.strerror}", hint="it must be a readable folder") from error
    limit = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < limit:
                time.sleep(0.05)
                continue
            who = _holder(descriptor)
            os.close(descriptor)
            raise InputError(
                f"another run of envbundle{who} is at work in {folder}", hint="wait for it to end"
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise MachineError(
                f"{folder} cannot be locked: {error.strerror}",
                hint="put the output on a filesystem that knows locks (flock)",
            ) from error
        return descriptor


def _holder(descriptor: int) -> str:
    """Name the process that holds the lock, as far as the kernel tells (man 5 proc_locks)."""
    status = os.fstat(descriptor)
    inode = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        with Path("/proc/locks").open(encoding="ascii") as locks:
            found = [words[4] for words in map(str.split, locks) if words[1] == "FLOCK" and inode in words]
    except (OSError, IndexError):
        return ""
    return f" (process {found[0]})" if found and found[0] != "0" else ""
