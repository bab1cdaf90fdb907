"""Private folders for work that has no output beside which it could lie; what a killed run left is removed.

A lock on the folder ends with its process: so a killed run is told from one that still works.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bundler.system import files

PREFIX = "envbundle-run-"


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Make an empty folder in the folder for temporary files, and remove it afterwards.

    :raises OSError: it cannot be made.
    """
    path, descriptor = _claimed()
    try:
        yield path
    finally:
        files.remove(path)
        os.close(descriptor)


def _claimed() -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        # Another run can take it for a killed one's before it is locked: then there is another.
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(path.lstat(), os.fstat(descriptor)):
                    return path, descriptor
            os.close(descriptor)


def sweep() -> None:
    """Remove the folders of killed runs of this user; those in use, and what cannot be removed, stay."""
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX):
                with contextlib.suppress(OSError):
                    _remove(entry.path)


def _remove(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_uid == os.geteuid():
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(descriptor)
