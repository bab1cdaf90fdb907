"""Which files go where: copies of the bundle, of its packages alone, of a folder of the caller's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.bundle import manifest
from bundler.errors import InputError, MachineError
from bundler.ontarget.checksums import walk
from bundler.system.writing import File

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from bundler.deploy.order import Order
    from bundler.model import FileFact

LEFT_OUT = frozenset({".git", "__pycache__"})
"""Folders of the caller's that nothing reads in an image."""


def bundle(order: Order, place: str) -> Iterator[File]:
    """The whole bundle, with manifest and verifier."""
    yield from _copies(order.bundle, (*order.manifest.files, *order.manifest.documents), place)
    for name in (manifest.NAME, manifest.SUMS):
        yield File(path=f"{place}/{name}", source=order.bundle / name)


def tree(order: Order, place: str) -> Iterator[File]:
    """The installed files alone, laid out as in the bundle."""
    yield from _copies(order.bundle, order.manifest.files, place)


def packages(order: Order, place: str) -> Iterator[File]:
    """What is in site-packages, without the folders above it."""
    prefix = f"{order.site_packages}/"
    for file in order.manifest.files:
        if file.path.startswith(prefix):
            yield File(
                path=f"{place}/{file.path.removeprefix(prefix)}",
                source=order.bundle / file.path,
                sha256=file.sha256,
                executable=file.executable,
            )


def _copies(root: Path, files: Iterable[FileFact], place: str) -> Iterator[File]:
    for file in files:
        yield File(
            path=f"{place}/{file.path}",
            source=root / file.path,
            sha256=file.sha256,
            executable=file.executable,
        )


def folder(root: Path, place: str, *, without: Path | None = None) -> Iterator[File]:
    """A folder of the caller's, without version control and bytecode.

    :param without: a folder in it that is copied elsewhere.
    :raises InputError: a symlink or special file is in it.
    """
    try:
        files, irregular = walk(str(root))
    except OSError as error:
        raise MachineError(f"{error.filename!s}: {error.strerror}", hint="make it readable") from error
    inside = f"{without.relative_to(root).as_posix()}/" if without and without.is_relative_to(root) else None
    for path in irregular:
        if not (_skipped(path) or (inside and path.startswith(inside))):
            raise InputError(
                f"{root / path} is a symlink or a special file, which an image cannot take from its context",
                hint="put a copy of the file there, or keep the folder out of the code folder",
            )
    for path, _, mode in files:
        if not (_skipped(path) or (inside and path.startswith(inside))):
            yield File(path=f"{place}/{path}", source=root / path, executable=bool(mode & 0o111))


def _skipped(path: str) -> bool:
    return not LEFT_OUT.isdisjoint(path.split("/"))
