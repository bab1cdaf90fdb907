"""Which files go where: copies of the bundle, of its packages alone, of a folder of the caller's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from bundler.bundle import manifest
from bundler.deploy.platform import PlanRequest
from bundler.errors import InputError, MachineError
from bundler.model import FileFact
from bundler.ontarget.checksums import walk
from bundler.system.writing import File

LEFT_OUT = frozenset({".git", "__pycache__"})
"""Folders of the caller's that nothing reads in an image."""


def bundle(request: PlanRequest, into: str) -> Iterator[File]:
    """Copy the whole bundle, with manifest and verifier, into a folder of the output."""
    described = request.manifest
    yield from _copies(request, (*described.files, *described.documents), into)
    for name in (manifest.NAME, manifest.SUMS):
        yield File(path=f"{into}/{name}", source=request.bundle / name)


def tree(request: PlanRequest, into: str) -> Iterator[File]:
    """Copy the installed files alone, laid out as in the bundle."""
    return _copies(request, request.manifest.files, into)


def packages(request: PlanRequest, into: str) -> Iterator[File]:
    """Copy what is in site-packages, without the folders above it."""
    return _copies(request, request.manifest.files, into, below=f"{request.site_packages}/")


def _copies(request: PlanRequest, files: Iterable[FileFact], into: str, *, below: str = "") -> Iterator[File]:
    for file in files:
        if file.path.startswith(below):
            yield File(
                path=f"{into}/{file.path.removeprefix(below)}",
                source=request.bundle / file.path,
                sha256=file.sha256,
                executable=file.executable,
            )


def folder(root: Path, into: str, *, without: Path | None = None) -> Iterator[File]:
    """Copy a folder of the caller's, without version control and bytecode.

    :param without: a folder in it that is copied elsewhere.
    :raises InputError: a symlink or special file is in it.
    :raises MachineError: a folder in it cannot be read.
    """
    try:
        files, irregular = walk(str(root))
    except OSError as error:
        raise MachineError(f"{error.filename!s}: {error.strerror}", hint="make it readable") from error
    elsewhere = (
        f"{without.relative_to(root).as_posix()}/" if without and without.is_relative_to(root) else None
    )

    def wanted(path: str) -> bool:
        return LEFT_OUT.isdisjoint(path.split("/")) and not (elsewhere and path.startswith(elsewhere))

    for path in filter(wanted, irregular):
        raise InputError(
            f"{root / path} is a symlink or a special file, which an image cannot take from its context",
            hint="put a copy of the file there, or keep the folder out of the code folder",
        )
    for path, _, mode in files:
        if wanted(path):
            yield File(path=f"{into}/{path}", source=root / path, executable=bool(mode & 0o111))
