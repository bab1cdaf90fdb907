"""Compares every member of an archive with the manifest in it, as a stream: nothing is written to disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.bundle import manifest
from bundler.bundle.manifest import file_rows
from bundler.formats.reading import reading
from bundler.model import FileFact, Finding
from bundler.ontarget.checksums import manifest_digest, sums_text, tree_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from bundler.formats.reading import Archive

COPY_AGAIN = "get the archive again, whole, from where it was made"


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What came of it."""

    manifest: bytes
    files: int
    """That the manifest lists."""
    findings: tuple[Finding, ...]


def check(path: Path, *, kind: str) -> Checked:
    """Compare an archive with its manifest; the findings are those of `verify.py` on a folder.

    :raises InputError: damaged, cut off, or with a member that no archive of a bundle has.
    """
    with reading(path, kind=kind) as archive:
        there = {file.path: file for file in _hashed(archive)}
        findings = (*_digests(archive), *_differences(archive.listed, there), *_sums(archive, there))
        return Checked(manifest=archive.manifest, files=len(archive.listed), findings=findings)


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
    files = file_rows.read(described["files"], forbidden=())
    if tree_digest(file_rows.rows(files)) != described["digest"].text():
        yield _finding("EB515", manifest.NAME, "its list of files does not fit its digest")


def _differences(listed: Mapping[str, FileFact], there: Mapping[str, FileFact]) -> Iterator[Finding]:
    for path in sorted(listed.keys() - there.keys()):
        yield _finding("EB511", path, "the manifest lists this file, and it is not here")
    for path in sorted(listed.keys() & there.keys()):
        if cause := _difference(there[path], listed[path]):
            yield _finding("EB512", path, cause)
    for path in sorted(there.keys() - listed.keys() - {manifest.NAME, manifest.SUMS}):
        yield _finding("EB513", path, "is in no list of the manifest")


def _difference(real: FileFact, expected: FileFact) -> str:
    if real.size != expected.size:
        return f"has {real.size} bytes, the manifest says {expected.size}"
    if real.sha256 != expected.sha256:
        return "its content differs from the manifest"
    # Unlike a file share, an archive keeps the modes.
    return "it must be executable, or must not be" if real.executable != expected.executable else ""


def _sums(archive: Archive, there: Mapping[str, FileFact]) -> Iterable[Finding]:
    if manifest.SUMS not in there:
        return (_finding("EB511", manifest.SUMS, "is not here"),)
    rows = [(file.path, file.sha256) for file in archive.listed.values()]
    sums = sums_text([*rows, (manifest.NAME, hashlib.sha256(archive.manifest).hexdigest())])
    if hashlib.sha256(sums.encode()).hexdigest() == there[manifest.SUMS].sha256:
        return ()
    return (_finding("EB512", manifest.SUMS, "does not fit manifest.json: one of the two was changed"),)


def _finding(code: str, subject: str, cause: str) -> Finding:
    return Finding(code=code, severity="error", subject=subject, cause=cause, remedy=COPY_AGAIN)
