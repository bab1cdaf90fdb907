"""Compares every member of an archive with the manifest in it, as a stream: nothing is written to disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from bundler.bundle import integrity, manifest
from bundler.bundle.integrity import Mismatch
from bundler.bundle.manifest.values import file_rows, read_files
from bundler.formats.reading import Archive, reading
from bundler.lazy_dataclass import dataclass
from bundler.model import FileFact, Finding
from bundler.ontarget.checksums import manifest_digest, tree_digest

COPY_AGAIN = "get the archive again, whole, from where it was made"


@dataclass(frozen=True, kw_only=True)
class Checked:
    """The result of comparing an archive with its manifest."""

    manifest: bytes
    files: int
    """That the manifest lists."""
    findings: tuple[Finding, ...]


def check(path: Path, *, kind: str) -> Checked:
    """Compare an archive with its manifest; the findings are those of `verify.py` on a folder.

    :raises InputError: damaged, cut off, or with a member that no archive of a bundle has.
    """
    with reading(path, kind=kind) as archive:
        expected = integrity.files_of(archive.listed.values(), archive.manifest.decode())
        found = [_mismatch(one) for one in integrity.mismatches(expected, _hashed(archive))]
        found.sort(key=lambda one: (one.subject == manifest.SUMS, one.code))
        return Checked(
            manifest=archive.manifest, files=len(archive.listed), findings=(*_digests(archive), *found)
        )


def _hashed(archive: Archive) -> Iterator[FileFact]:
    for entry, content in archive.members:
        if entry.folder:
            continue
        digest = hashlib.sha256()
        for block in content:
            digest.update(block)
        yield FileFact(
            path=entry.path, sha256=digest.hexdigest(), size=entry.size, executable=entry.executable
        )


def _digests(archive: Archive) -> Iterator[Finding]:
    described = archive.described
    if manifest_digest(described.raw) != described["manifest_digest"].text():
        yield _finding("EB515", manifest.NAME, "its content does not fit its own digest")
    files = read_files(described["files"])
    if tree_digest(file_rows(files)) != described["digest"].text():
        yield _finding("EB515", manifest.NAME, "its list of files does not fit its digest")


def _mismatch(one: Mismatch) -> Finding:
    sums = one.path == manifest.SUMS
    if one.found is None:
        return _finding(
            "EB511", one.path, "is not here" if sums else "the manifest lists this file, and it is not here"
        )
    if one.listed is None:
        return _finding("EB513", one.path, "is in no list of the manifest")
    if sums and not one.is_mode:
        cause = "does not fit manifest.json: one of the two was changed"
    elif one.listed.size != one.found.size:
        cause = f"has {one.found.size} bytes, the manifest says {one.listed.size}"
    elif one.is_mode:
        # Unlike a file share, an archive keeps the modes.
        cause = "it must be executable, or must not be"
    else:
        cause = "its content differs from the manifest"
    return _finding("EB512", one.path, cause)


def _finding(code: str, subject: str, cause: str) -> Finding:
    return Finding(code=code, severity="error", subject=subject, cause=cause, remedy=COPY_AGAIN)
