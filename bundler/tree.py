"""Reads the tree that a bundle is made of: every file once, with its hash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.errors import MachineError
from bundler.model import FileFact
from bundler.ontarget.files import THREADS, hash_files, walk

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Tree:
    """What stands on disk below one folder."""

    files: tuple[FileFact, ...]
    """Sorted by path."""
    irregular: tuple[str, ...] = ()
    """Paths of symlinks, devices, sockets and pipes: a bundle has none."""


def scan(prefix: Path, *, threads: int = THREADS) -> Tree:
    """List and hash every file below `prefix`; follow no symlink.

    The verifier that travels with the bundle does the work, so both sides see the same.

    :raises MachineError: a folder or a file cannot be read.
    """
    try:
        listed, irregular = walk(str(prefix))
    except OSError as error:
        raise MachineError(f"{error.filename!s}: {error.strerror}", hint="make it readable") from error
    hashed = hash_files(str(prefix), listed, threads)
    files = []
    for path, _, mode in listed:
        sha256, size = hashed[path]
        if size < 0:
            raise MachineError(f"{prefix / path}: {sha256}", hint="make it readable")
        files.append(FileFact(path=path, sha256=sha256, size=size, executable=bool(mode & 0o111)))
    return Tree(files=tuple(files), irregular=tuple(irregular))


def folders(paths: Iterable[str]) -> frozenset[str]:
    """Return every folder above the given paths."""
    found: set[str] = set()
    for path in paths:
        parent = path.rpartition("/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return frozenset(found)
