"""Gives a folder with the tree of an archive: mounted read-only where that can be, else unpacked."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.errors import MachineError
from bundler.formats import mounting
from bundler.formats.entries import on_disk
from bundler.formats.reading import reading, require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundler.formats.reading import Archive


@contextlib.contextmanager
def opened(path: Path, *, scratch: Path) -> Iterator[Path]:
    """Give a folder with a bundle's tree: itself, or an archive mounted read-only or unpacked in `scratch`.

    A squashfs image is mounted where this process may: in a mount namespace that only the calling thread and
    what it starts are in, until the end.

    :param scratch: a private folder; left as it was.
    :raises InputError: no bundle, damaged, or with members that no archive of a bundle has.
    :raises MachineError: it cannot be unpacked here.
    """
    kind = require(path)
    if kind == "dir":
        yield path
        return
    with tempfile.TemporaryDirectory(dir=scratch, prefix="opened-") as name:
        folder = Path(name, "bundle")
        folder.mkdir()
        if kind == "squashfs":
            with reading(path, kind=kind) as archive:
                for _ in archive.members:
                    pass  # looked at, not read: no kernel shall meet what no bundle has
            with mounting.mounted(path, folder, home=Path(name)) as done:
                if done:
                    yield folder
                    return
        with reading(path, kind=kind) as archive:
            unpack(archive, folder)
        yield folder


def unpack(archive: Archive, folder: Path) -> None:
    """Write every member into an empty folder.

    :raises MachineError: there is no room for what the manifest lists.
    """
    size = sum(file.size for file in archive.listed.values())
    free = shutil.disk_usage(folder).free
    if size > free:
        raise MachineError(
            f"{archive.path} needs {size:,} bytes to be unpacked, and {folder} has {free:,} left",
            hint="set TMPDIR to a folder on a larger disk, or use --no-imports, which unpacks nothing",
        )
    for entry, content in archive.members:
        path = on_disk(folder, entry.path)
        if entry.folder:
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(entry.mode)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb", buffering=0) as file:
            for block in content:
                file.write(block)
            os.fchmod(file.fileno(), entry.mode)
