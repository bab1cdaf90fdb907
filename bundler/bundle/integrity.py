"""Compares the files of a bundle, in a folder or in an archive, with those that its manifest lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from bundler.bundle import manifest, tree
from bundler.bundle.manifest import Manifest
from bundler.bundle.tree import Tree
from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.model import FileFact
from bundler.ontarget.checksums import sums_text
from bundler.system import json_values, outside


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """A path at which a bundle is not as its manifest says."""

    path: str
    listed: FileFact | None
    """`None`: nothing lists the path."""
    found: FileFact | None
    """`None`: no regular file is there."""

    @property
    def is_mode(self) -> bool:
        """Whether only the executable bit differs, which file shares do not keep."""
        one, other = self.listed, self.found
        return one is not None and other is not None and (one.size, one.sha256) == (other.size, other.sha256)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A bundle's folder compared with its manifest."""

    manifest: Manifest
    files: Mapping[str, FileFact]
    """Path → file, of all that the bundle must have: see `files_of`."""
    tree: Tree
    mismatches: tuple[Mismatch, ...]
    """Sorted by path."""


def files_of(listed: Iterable[FileFact], text: str) -> dict[str, FileFact]:
    """Return path → file of a whole bundle: all that the manifest lists, manifest.json and SHA256SUMS.

    :param text: of manifest.json.
    """
    files = (*listed, manifest.document(manifest.NAME, text))
    sums = manifest.document(manifest.SUMS, sums_text((file.path, file.sha256) for file in files))
    return {file.path: file for file in (*files, sums)}


def mismatches(expected: Mapping[str, FileFact], found: Iterable[FileFact]) -> tuple[Mismatch, ...]:
    """Compare files with those that must be there; sorted by path."""
    there = {file.path: file for file in found}
    return tuple(
        Mismatch(path=path, listed=expected.get(path), found=there.get(path))
        for path in sorted(expected.keys() | there.keys())
        if expected.get(path) != there.get(path)
    )


def compare(bundle: Path, *, contents: bool = True) -> Comparison:
    """Read the manifest of a bundle's folder and compare every file with it.

    :param contents: hash the files; otherwise names, kinds, sizes and modes alone are compared.
    :raises InputError: no bundle, or a manifest that cannot be read.
    :raises MachineError: a file cannot be read.
    """
    described = manifest.read(bundle)
    text = outside.read_text(bundle / manifest.NAME, limit=json_values.MAX_BYTES, hint="name a bundle")
    files = files_of((*described.files, *described.documents), text)
    scanned = tree.scan(
        bundle,
        sizes={path: file.size for path, file in files.items()},
        told=None if contents else {path: file.sha256 for path, file in files.items()},
    )
    return Comparison(
        manifest=described, files=files, tree=scanned, mismatches=mismatches(files, scanned.files)
    )


def require(bundle: Path, *, contents: bool = True) -> Comparison:
    """Compare a bundle's folder with its manifest and refuse one that is not whole.

    :param contents: as for `compare`.
    :raises InputError: no bundle, or a file is missing, changed or too many; its mode does not matter.
    :raises MachineError: a file cannot be read.
    """
    compared = compare(bundle, contents=contents)
    wrong = {one.path for one in compared.mismatches if not one.is_mode} | set(compared.tree.irregular)
    if wrong:
        raise InputError(
            f"{bundle} is not as it was made: {min(wrong)}"
            + (f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""),
            hint="`envbundle verify` says what is wrong; copy or create it again",
        )
    return compared
