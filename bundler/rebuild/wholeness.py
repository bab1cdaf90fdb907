"""Compares a build with its manifest and its record, by hashes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bundler.bundle import integrity, manifest
from bundler.bundle.integrity import Mismatch
from bundler.errors import InputError, MachineError
from bundler.formats import oci
from bundler.ontarget import checksums as ontarget_files
from bundler.rebuild.record import Record
from bundler.system import files, json_values


def manifest_digest(bundle: Path) -> str | None:
    """Return the digest of a bundle's manifest.json; `None`: there is none, or it is not envbundle's."""
    try:
        value = json_values.load(bundle / manifest.NAME)
        if value["kind"].text() != manifest.KIND:
            return None
        return ontarget_files.manifest_digest(value.raw)
    except InputError:
        return None


def damage(bundle: Path, record: Record, archives: Sequence[Path]) -> str:
    """Hash a build and its archives, and return what is wrong; empty: it is whole.

    :raises MachineError: a file cannot be read.
    :raises OSError: a folder cannot be listed.
    """
    if manifest_digest(bundle) != record.manifest_digest:
        return f"{manifest.NAME} is not as it was written"
    compared = integrity.compare(bundle)
    problems = [f"{one.path} {_problem(one)}" for one in compared.mismatches]
    problems += [f"{path} is no regular file" for path in compared.tree.irregular]
    extra = set(compared.tree.empty) - files.folders_above(compared.files)
    problems += [f"{path}/ does not belong to it" for path in extra]
    problems += [
        f"{path.name} is not as it was written"
        for path, archive in zip(archives, record.archives, strict=True)
        if _digest(path) != archive.sha256
    ]
    if not problems:
        return ""
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"{min(problems)}{more}"


def _problem(one: Mismatch) -> str:
    if one.found is None:
        return "is missing"
    if one.listed is None:
        return "does not belong to it"
    if one.listed.size != one.found.size:
        return f"has {one.found.size} bytes, not {one.listed.size}"
    if one.listed.sha256 != one.found.sha256:
        return "has another content"
    return "is executable" if one.found.executable else "is not executable"


def _digest(archive: Path) -> str:
    """Return sha256 of an archive; of an `oci` layout, that of its image, if all its blobs are whole."""
    if not archive.is_dir():
        return files.digest(archive)
    for blob in sorted((archive / "blobs" / "sha256").iterdir()):
        if files.digest(blob) != blob.name:
            return f"{blob.name} is damaged"
    try:
        return oci.image_digest(archive)
    except InputError as error:
        return error.message


def foreign_files(folder: Path, bundle: Path) -> list[str]:
    """Return the files in a folder that do not belong to a bundle; added bytecode does not count.

    :param folder: is, or was, the bundle.
    :param bundle: its manifest lists what belongs to it.
    """
    try:
        described = manifest.read(bundle)
    except InputError:
        # Nothing says what belongs to it: so all of it may be somebody else's.
        described = None
    try:
        listed, irregular = ontarget_files.walk(str(folder))
    except OSError as error:
        raise MachineError(f"{error.filename}: {error.strerror}", hint="make it readable") from error
    ours = {manifest.NAME, manifest.SUMS}
    if described is not None:
        ours |= {file.path for file in (*described.files, *described.documents)}
    return [
        path
        for path in (*(path for path, _, _ in listed), *irregular)
        if path not in ours and not (path.endswith(".pyc") and "__pycache__/" in path)
    ]
