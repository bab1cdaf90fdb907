"""Compares a build with its manifest, by its hashes: says what is wrong, and what does not belong to it."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from bundler.bundle import manifest, tree
from bundler.bundle.manifest import file_rows
from bundler.errors import InputError, MachineError
from bundler.ontarget import checksums as ontarget_files
from bundler.system import json_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bundler.bundle.manifest import Manifest
    from bundler.model import FileFact
    from bundler.rebuild.record import Record


def manifest_digest(bundle: Path) -> str | None:
    """Return the digest of a bundle's manifest.json as it is now; `None` where there is none of ours."""
    try:
        value = json_values.load(bundle / manifest.NAME)
        if value["kind"].text() != manifest.KIND:
            return None
        return ontarget_files.manifest_digest(value.raw)
    except InputError:
        return None


def damage(bundle: Path, record: Record, archives: Sequence[Path]) -> str:
    """Hash a build and its archives, and tell what is wrong; empty: it is whole.

    :raises MachineError: a file cannot be read.
    :raises OSError: a folder cannot be listed.
    """
    if manifest_digest(bundle) != record.manifest_digest:
        return f"{manifest.NAME} is not as it was written"
    described = manifest.read(bundle)
    expected = {file.path: file for file in _listed(described, bundle)}
    scanned = tree.scan(bundle)
    found = {file.path: file for file in scanned.files}
    problems = [f"{path} is missing" for path in expected.keys() - found.keys()]
    problems += [f"{path} does not belong to it" for path in found.keys() - expected.keys()]
    problems += [f"{path} is no regular file" for path in scanned.irregular]
    problems += [f"{path}/ does not belong to it" for path in _folders(bundle) - tree.folders(expected)]
    problems += [
        f"{path} {_difference(expected[path], found[path])}"
        for path in expected.keys() & found.keys()
        if expected[path] != found[path]
    ]
    problems += [
        f"{path.name} is not as it was written"
        for path, archive in zip(archives, record.archives, strict=True)
        if _digest(path) != archive.sha256
    ]
    if not problems:
        return ""
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"{min(problems)}{more}"


def _listed(described: Manifest, bundle: Path) -> Iterable[FileFact]:
    """Every file of a bundle, its manifest and its checksums included."""
    text = (bundle / manifest.NAME).read_text(encoding="utf-8")
    own = manifest.document(manifest.NAME, text)
    sums = manifest.document(manifest.SUMS, manifest.checksums(described, text))
    return file_rows.ordered((*described.files, *described.documents, own, sums))


def _difference(expected: FileFact, found: FileFact) -> str:
    if expected.size != found.size:
        return f"has {found.size} bytes, not {expected.size}"
    if expected.sha256 != found.sha256:
        return "has another content"
    return "is executable" if found.executable else "is not executable"


def _folders(bundle: Path) -> frozenset[str]:
    """All folders of a tree, empty ones included; no symlink is followed."""
    return frozenset(
        os.path.relpath(os.path.join(above, name), bundle)  # noqa: PTH118 - a thousand of them
        for above, names, _ in os.walk(bundle)
        for name in names
        if not os.path.islink(os.path.join(above, name))  # noqa: PTH114, PTH118 - a thousand of them
    )


def _digest(archive: Path) -> str:
    """Sha256 of an archive; of an `oci` layout, that of its index, which holds the digest of all else."""
    if not archive.is_dir():
        return _sha256(archive)
    for blob in sorted((archive / "blobs" / "sha256").iterdir()):
        if _sha256(blob) != blob.name:
            return f"{blob.name} is damaged"
    return _sha256(archive / "index.json")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def strangers(folder: Path, bundle: Path) -> list[str]:
    """Return the paths in a folder that are no part of a bundle; bytecode of other Pythons does not count.

    :param folder: is, or was, the bundle.
    :param bundle: tells what belongs to it.
    """
    try:
        described = manifest.read(bundle)
    except InputError:
        # Nothing tells what belongs to it: so all of it may be somebody's.
        described = None
    try:
        files, irregular = ontarget_files.walk(str(folder))
    except OSError as error:
        raise MachineError(f"{error.filename}: {error.strerror}", hint="make it readable") from error
    ours = {manifest.NAME, manifest.SUMS}
    if described is not None:
        ours |= {file.path for file in (*described.files, *described.documents)}
    return [
        path
        for path in (*(path for path, _, _ in files), *irregular)
        if path not in ours and not (path.endswith(".pyc") and "__pycache__/" in path)
    ]
