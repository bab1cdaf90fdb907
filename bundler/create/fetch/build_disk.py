"""Holds the disk that a build fills: neither it nor the file system below it may be filled without end.

The size of each file is limited by the kernel (`Room.largest`), that of all together by looking: after each
second, or ten times as long as the last look took. What no look finds (files that are open and deleted, paths
that are too long to be walked) is met by what must stay free.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from bundler.errors import DiskLimitError

LEAST_FREE = 1 << 30
"""Bytes that stay free on the file system, where a tenth of what is free when a build begins is not less."""
_RARELY = 10
_BLOCK = 512
"""Bytes, of `st_blocks` (man 3 stat)."""


class DiskWatch:
    """Ends a build that fills more than it may; called each second while it runs."""

    def __init__(self, folder: Path, *, mebibytes: int, on_wait: Callable[[float], None]) -> None:
        """Look at what is there before the build begins: that is not the build's.

        :param folder: all that the build can write to on disk.
        """
        self._folder = folder
        self._most = mebibytes
        self._on_wait = on_wait
        self._before = used(folder)
        free, inodes = _free(folder)
        self._reserve = min(LEAST_FREE, free // _RARELY), inodes // _RARELY
        self._next = 0.0

    def __call__(self, seconds: float) -> None:
        """Call what the build's caller wants to be called, and look.

        :raises DiskLimitError: the build fills more than it may.
        """
        self._on_wait(seconds)
        if time.monotonic() >= self._next:
            began = time.monotonic()
            self.look()
            self._next = time.monotonic() + _RARELY * (time.monotonic() - began)

    def look(self) -> None:
        """Compare what is filled with what may be.

        :raises DiskLimitError: it is more.
        """
        free, inodes = _free(self._folder)
        if free < self._reserve[0] or inodes < self._reserve[1]:
            raise DiskLimitError("left next to nothing free on its disk")
        if used(self._folder) - self._before > self._most << 20:
            raise DiskLimitError(f"filled more than {self._most} MiB of disk")


def used(folder: Path) -> int:
    """Return the bytes on disk of all that is in a folder; what goes meanwhile does not count."""
    found = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                found += os.lstat(os.path.join(parent, name)).st_blocks * _BLOCK  # noqa: PTH118 - many
    return found


def _free(folder: Path) -> tuple[int, int]:
    """Return how many bytes and inodes are free on a file system."""
    said = os.statvfs(folder)
    return said.f_bavail * said.f_frsize, said.f_favail
