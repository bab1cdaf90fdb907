"""Swaps what stands at two paths in one step, so that at no moment one of them is empty (renameat2(2))."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


def swap(first: Path, second: Path) -> bool:
    """Swap two files or folders of one filesystem; `False` where kernel or filesystem cannot."""
    import ctypes  # noqa: PLC0415 - most who import this swap nothing

    function = getattr(ctypes.CDLL(None), "renameat2", None)
    if function is None:
        return False
    done: int = function(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
    return done == 0
