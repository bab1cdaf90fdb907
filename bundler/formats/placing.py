"""Brings archives into their places: each whole or not at all, and never over what envbundle did not make."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from bundler.errors import InputError
from bundler.formats.reading import kind_of
from bundler.system import files

if TYPE_CHECKING:
    from pathlib import Path


def check(path: Path, *, force: bool) -> None:
    """Refuse early what could never be replaced.

    :raises InputError: something stands there that is no archive of a bundle, or one does without `force`.
    """
    if not os.path.lexists(path):
        return
    if path.is_symlink() or kind_of(path) in (None, "dir"):
        raise InputError(
            f"{path} exists and is not an archive of a bundle: it is not touched", hint="choose another -o"
        )
    if not force:
        raise InputError(f"{path} exists", hint="--force replaces an archive of a bundle")


def flush(path: Path) -> None:
    """Write a file, or a folder and all in it, to disk."""
    if path.is_dir():
        for below in path.iterdir():
            flush(below)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def place(staged: Path, path: Path, *, force: bool) -> None:
    """Rename what is staged on the same filesystem into its place, and remove what was there.

    :raises InputError: something else has appeared there meanwhile.
    """
    check(path, force=force)
    if not os.path.lexists(path) or not (staged.is_dir() or path.is_dir()):
        staged.replace(path)
    elif not files.swap(staged, path):
        # No exchange on this filesystem: the old one waits until the new one is there.
        retired = staged.with_name(f"{staged.name}.retired")
        path.rename(retired)
        try:
            staged.rename(path)
        except OSError:
            retired.rename(path)
            raise
    elif staged.is_dir():
        shutil.rmtree(staged)
    flush_name(path)


def flush_name(path: Path) -> None:
    """Write the folder that a path stands in to disk, so that its name survives a power cut."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
