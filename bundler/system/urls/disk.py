"""A folder of this machine or of a mounted disk, for `bundler.system.urls.folder`."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
import uuid
from pathlib import Path

from bundler.errors import MachineError
from bundler.lazy_dataclass import dataclass
from bundler.system.files import sync

INCOMING = ".incoming"
"""The subfolder where files are written before they are renamed."""
STALE = 86400
"""Seconds after which a file in `INCOMING` is a killed run's, and is removed."""
ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True)
class Stat:
    """What a filesystem says of a file without reading it."""

    size: int
    """Bytes."""
    version: str
    """An entity tag or a time, which changes whenever the file is written; empty where unknown."""
    md5: str = ""
    """Hexadecimal; empty where unknown (S3: objects in parts, or encrypted with a key)."""
    changed: float = 0
    """Seconds since the epoch; 0 where unknown."""


def listing(root: Path, top: Path, *, deep: bool = True) -> dict[str, Stat]:
    """Return the files below `top` by their paths relative to `root`; symlinks are left out."""
    found: dict[str, Stat] = {}
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if deep and name != INCOMING]
        for name in files:
            path = Path(folder, name)
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                if not path.is_symlink():
                    found[path.relative_to(root).as_posix()] = Stat(
                        size=status.st_size, version=str(status.st_mtime_ns), changed=status.st_mtime
                    )
    return found


def put(root: Path, there: Path, *, source: Path | None, data: bytes) -> None:
    """Write a file below `INCOMING` and rename it into place; an executable file stays so.

    :param source: the file to copy; `None`: write and flush `data`.
    """
    require_inside(root, there)
    for _ in range(ATTEMPTS):
        # Another run may remove the folder while it is empty.
        with contextlib.suppress(FileNotFoundError):
            _put(root / INCOMING, there, source=source, data=data)
            return
    _put(root / INCOMING, there, source=source, data=data)


def _put(incoming: Path, there: Path, *, source: Path | None, data: bytes) -> None:
    _make_folders(there.parent)
    _make_folders(incoming)
    beside = incoming / uuid.uuid4().hex
    try:
        if source is None:
            beside.write_bytes(data)
            sync(beside)
        else:
            shutil.copyfile(source, beside)
        executable = source is not None and source.stat().st_mode & 0o111
        beside.chmod(0o755 if executable else 0o644)
        beside.replace(there)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def flush(root: Path) -> None:
    """Flush everything to the disk, and remove what killed runs left in `INCOMING`."""
    os.sync()
    incoming = root / INCOMING
    # Another run may remove it at any moment.
    with contextlib.suppress(FileNotFoundError):
        for left in incoming.iterdir():
            with contextlib.suppress(OSError):
                if time.time() - left.stat().st_mtime > STALE:
                    left.unlink()
        # It fails where another run is writing there.
        with contextlib.suppress(OSError):
            incoming.rmdir()


def require_inside(root: Path, path: Path) -> None:
    """Refuse a path below a symlink, which may lead out of the folder.

    :raises MachineError: names the symlink.
    """
    for parent in path.parents:
        if parent == root:
            return
        if parent.is_symlink():
            raise MachineError(
                f"{parent} is a symlink, which is not followed", hint="remove it, or publish elsewhere"
            )


def _make_folders(folder: Path) -> None:
    """Make a folder and those above it with mode 755, whatever the umask of the caller."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        with contextlib.suppress(FileExistsError):
            one.mkdir()
            one.chmod(0o755)
