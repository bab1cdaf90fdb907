"""The unpacked pip that drives a target: without its metadata, and beside it what poses as the image."""

from __future__ import annotations

import contextlib
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from bundler.wheels.store import Store

_COMPLETE = "complete"
"""A file that is written last into an unpacked pip."""

_POSE = '''\
"""Reports the image's glibc to whoever asks for manylinux tags (PEP 600)."""

import os

_LIMIT = tuple(int(part) for part in os.environ["ENVBUNDLE_GLIBC"].split("."))

def manylinux_compatible(major, minor, arch):
    return (major, minor) <= _LIMIT
'''


def is_whole(folder: Path) -> bool:
    """Tell whether a pip has been unpacked there to its end."""
    return (folder / _COMPLETE).is_file()


def unpack(wheel: Path, folder: Path, *, store: Store) -> None:
    """Unpack pip without its .dist-info, so that no `freeze` sees it; the pose stands beside it."""
    with store.incoming() as made:
        with zipfile.ZipFile(wheel) as archive:
            members = [name for name in archive.namelist() if name.startswith("pip/")]
            archive.extractall(made, members)
        (made / "_manylinux.py").write_text(_POSE, encoding="utf-8")
        (made / _COMPLETE).write_text("", encoding="utf-8")
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists() and not is_whole(folder):
            store.drop(folder)
        # Another run may have been first; its copy is the same, by hash.
        with contextlib.suppress(OSError):
            made.rename(folder)
