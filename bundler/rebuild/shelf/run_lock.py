"""One run at a time for an output folder: a lock that ends with the last process of the run."""

from __future__ import annotations

import fcntl
import os
import time

from bundler.errors import InputError, MachineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from bundler.rebuild.shelf.fingerprint import StrPath

PATIENCE = 2.0
"""Seconds for the processes of a run that was killed a moment ago to go."""


class claim:  # noqa: N801 - a context manager, named for how it reads
    """Give the output folders of a run to it alone.

    Runs that only look may do so together, and so may shards, which have different bundles to do; where two
    runs of one shard meet at a bundle, the workplace is one's alone.

    The claim ends with the last process of the run, however that ends; nothing of it is left on the disk.

    :param writing: make folders that are not there; otherwise those are passed over.
    :param whole: the run is no shard.
    :raises InputError: another run is at work there, or one of them is no folder.
    :raises MachineError: one cannot be made or locked.
    """

    def __init__(self, folders: Iterable[StrPath], *, writing: bool, whole: bool) -> None:
        self._folders = sorted({os.fspath(one) for one in folders})
        self._writing = writing
        self._kind = fcntl.LOCK_EX if writing and whole else fcntl.LOCK_SH
        self._descriptors: list[int] = []

    def __enter__(self) -> None:
        try:
            for folder in self._folders:
                if self._writing:
                    _make(folder)
                elif not os.path.exists(folder):  # noqa: PTH110 - no pathlib for `--locked`
                    continue
                self._descriptors.append(_locked(folder, self._kind))
        except BaseException:
            self._release()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._release()

    def _release(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())


def _make(folder: str) -> None:
    try:
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - no pathlib for `--locked`
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{error.filename} is not a folder", hint="choose another output") from error
    except OSError as error:
        raise MachineError(
            f"{error.filename} cannot be made: {error.strerror}", hint="the output folder must be writable"
        ) from error


def _locked(folder: str, kind: int) -> int:
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
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        with open("/proc/locks", encoding="ascii") as locks:  # noqa: PTH123 - no pathlib for `--locked`
            found = [words[4] for words in map(str.split, locks) if words[1] == "FLOCK" and place in words]
    except (OSError, IndexError):
        return ""
    return f" (process {found[0]})" if found and found[0] != "0" else ""
