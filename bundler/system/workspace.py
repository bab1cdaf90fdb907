"""The folder beside the output in which a run works: one run at a time, and nothing stays.

It has a fixed name, so that the next run for the same output, or for another one beside it, finds and
removes what a killed run left. A lock on the folder ends with its process: so a killed run is told from one
that still works.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from bundler.errors import InputError, MachineError
from bundler.lazy_dataclass import dataclass
from bundler.system import files
from bundler.system.files import ENDING, RETIRED, sweep

_NAMES = frozenset({"env", "bundle", "scratch", RETIRED})
"""What can be in a working folder: one that holds anything else is none of ours."""
_PATIENCE = 0.2
"""Seconds in which a run that only cleans up has ended."""


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """Folders of one run, all on the filesystem of the output."""

    environment: Path
    """Where the virtualenv goes; does not exist yet."""
    bundle: Path
    """Where the bundle is put together; empty."""
    scratch: Path
    """HOME and TMPDIR of child processes; empty."""


def folder_for(output: Path) -> Path:
    """Return the working folder of an output."""
    return output.parent / f".{output.name}{ENDING}"


@contextlib.contextmanager
def claim(output: Path) -> Iterator[Workspace]:
    """Give the working folder of an output to this run alone, empty, and remove it afterwards.

    :raises InputError: another run is at work for the same output, or its parent is no folder.
    :raises MachineError: the folder cannot be made.
    """
    folder = folder_for(output)
    new_parents = [parent for parent in output.parents if not parent.exists()]
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(
            f"{output} cannot be made: {error.filename} is not a folder", hint="choose another -o"
        ) from error
    descriptor = _lock(folder, output)
    try:
        ours_alone = _is_ours_alone(descriptor, folder)
    except InputError:
        os.close(descriptor)
        raise
    try:
        if ours_alone:
            _recover(folder / RETIRED, output)
        empty(folder)
        for name in ("bundle", "scratch"):
            (folder / name).mkdir(mode=0o700 if name == "scratch" else 0o755)
        # The umask of the caller must not decide who may read the bundle.
        (folder / "bundle").chmod(0o755)
        _sweep(output.parent, into=folder / "scratch")
        yield Workspace(environment=folder / "env", bundle=folder / "bundle", scratch=folder / "scratch")
    finally:
        files.remove(folder)
        os.close(descriptor)
        # Parents that hold nothing were made in vain; the others stay.
        with contextlib.suppress(OSError):
            for parent in new_parents:
                parent.rmdir()


def _is_ours_alone(descriptor: int, folder: Path) -> bool:
    """Close the folder to other users; tell whether none could put something into it before.

    :raises InputError: it is another user's.
    """
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid():
        raise InputError(
            f"{folder} belongs to another user", hint="choose another -o, in a folder that is yours alone"
        )
    os.fchmod(descriptor, 0o700)
    return not status.st_mode & 0o022


def _recover(retired: Path, output: Path) -> None:
    """Put an old bundle back that a killed run had moved aside without bringing the new one."""
    if retired.is_dir() and not output.exists():
        retired.rename(output)


def _sweep(parent: Path, *, into: Path) -> None:
    """Remove what killed runs of this user left beside their outputs; what cannot be removed stays.

    :param into: an empty folder on the same filesystem, empty afterwards.
    """
    sweep(parent)
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(".") and entry.name.endswith(ENDING) and entry.name != ENDING:
                with contextlib.suppress(OSError):
                    _take_away(Path(entry.path), into / entry.name)
    empty(into)


def _take_away(folder: Path, there: Path) -> None:
    """Move a working folder that no run holds elsewhere, in one step; put its old bundle back first.

    :raises OSError: it is in use, or no folder.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or not {one.name for one in folder.iterdir()} <= _NAMES:
            return
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_still_there(folder, descriptor):
            if not status.st_mode & 0o022:
                output = folder.with_name(folder.name[1:].removesuffix(ENDING))
                _recover(folder / RETIRED, output)
            folder.rename(there)
    finally:
        os.close(descriptor)


def _lock(folder: Path, output: Path) -> int:
    """Make and lock the folder; returns the descriptor that holds the lock."""
    limit = time.monotonic() + _PATIENCE
    while True:
        try:
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
            # Another run can remove it before we open it; a parent that takes no folder is an error.
            descriptor = _open(folder)
            if descriptor is None:
                continue
        except OSError as error:
            raise MachineError(
                f"cannot work beside {output}: {error.strerror} ({folder})",
                hint="the folder that will hold the bundle must be writable",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            if time.monotonic() < limit:
                time.sleep(_PATIENCE / 10)
                continue
            raise InputError(
                f"another run of envbundle is making {output}",
                hint="wait for it to end, or choose another -o",
            ) from None
        if _is_still_there(folder, descriptor):
            return descriptor
        # The run that made it ended between our opening and our locking: begin again.
        os.close(descriptor)


def _open(folder: Path) -> int | None:
    try:
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None


def _is_still_there(folder: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(folder.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def empty(folder: Path) -> None:
    """Remove what is in a folder; links are removed, not followed."""
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
