"""A bundle as one file or image: the same bytes for the same bundle, read without belief (docs/archives.md).

Writing: `packing` → `contents` → `tar`, `zip`, `squashfs`, `oci`. Reading: `reading`, and over it `checking`
and `unpacking`. They are imported when they are used: most commands need none of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from bundler.formats.kinds import NAMES, Packed, path_for

if TYPE_CHECKING:
    from bundler.formats.checking import Checked, check
    from bundler.formats.packing import pack, require
    from bundler.formats.reading import document as read_document
    from bundler.formats.reading import kind_of
    from bundler.formats.unpacking import opened

__all__ = [
    "NAMES",
    "Checked",
    "Packed",
    "check",
    "kind_of",
    "opened",
    "pack",
    "path_for",
    "read_document",
    "require",
]

_HOMES = {
    "Checked": ("checking", "Checked"),
    "check": ("checking", "check"),
    "kind_of": ("reading", "kind_of"),
    "opened": ("unpacking", "opened"),
    "pack": ("packing", "pack"),
    "read_document": ("reading", "document"),
    "require": ("packing", "require"),
}


def __getattr__(name: str) -> Any:
    """Import what is asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
