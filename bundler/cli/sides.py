"""Reads the two sides of a comparison: a bundle in any format, its manifest alone, or a lock."""

from __future__ import annotations

import codecs
from pathlib import Path

from bundler.bundle import manifest
from bundler.bundle.manifest import Manifest
from bundler.errors import InputError
from bundler.report.compare.compare import compare
from bundler.report.compare.difference import Difference
from bundler.report.compare.sides import Side, of_manifest

LIMIT = 64 << 20
"""Bytes of a manifest or a lock; the manifest of a bundle of 12,000 files has two million."""
HEAD = 4096
"""Bytes at the beginning of a file that are enough to tell an archive from text."""
_HINT = "name a bundle's folder or archive, a manifest.json, a pylock.toml, or requirements with hashes"


def compare_paths(old: Path, new: Path) -> Difference:
    """Compare two bundles or locks.

    :raises InputError: one of them cannot be read, or is neither.
    """
    before, after = _read(old), _read(new)
    return compare(_side(old, before, other=after), _side(new, after, other=before))


def _read(path: Path) -> Manifest | bytes:
    """Return a bundle's manifest, or the bytes of a lock."""
    data = _document(path)
    if not data.lstrip().startswith(b"{"):
        return data
    try:
        return manifest.parse(data, source=str(path))
    except InputError as error:
        raise InputError(error.message, hint=error.hint or _HINT) from error


def _side(path: Path, document: Manifest | bytes, *, other: Manifest | bytes) -> Side:
    if not isinstance(document, bytes):
        return of_manifest(document, name=str(path))
    from bundler.report.compare import locks

    if (path.name.startswith("pylock.") and path.suffix == ".toml") or locks.is_pylock(document):
        target = None if isinstance(other, bytes) else other.target
        return locks.of_pylock(document, name=str(path), target=target)
    return locks.of_requirements(document, name=str(path))


def _document(path: Path) -> bytes:
    """Return the bytes of a bundle's manifest, or of a lock."""
    try:
        if path.is_dir():
            return _bounded(path / manifest.NAME) if manifest.is_bundle(path) else _of_archive(path)
        # It need not be a regular file: `envbundle diff <(git show main:pylock.toml) pylock.toml`.
        data = _bounded(path, part=HEAD) if path.is_file() else b""
        return _of_archive(path) if _is_binary(data) else _bounded(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", hint=_HINT) from error


def _of_archive(path: Path) -> bytes:
    # Imported here: comparing text does not need the libraries of archives.
    from bundler.formats import reading

    if reading.kind_of(path) is None:
        what = "holds no bundle" if path.is_dir() else "is neither a bundle nor a lock"
        raise InputError(f"{path} {what}", hint=_HINT)
    return reading.read_document(path, manifest.NAME, limit=LIMIT)


def _is_binary(head: bytes) -> bool:
    """Tell whether a file begins like an archive; manifests and locks are UTF-8."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return True
    return b"\0" in head


def _bounded(path: Path, *, part: int | None = None) -> bytes:
    """Return a file, or its first part."""
    with path.open("rb") as stream:
        data = stream.read(part or LIMIT + 1)
    if len(data) > LIMIT:
        raise InputError(f"{path} is larger than {LIMIT >> 20} MiB, which no manifest or lock is", hint=_HINT)
    return data
