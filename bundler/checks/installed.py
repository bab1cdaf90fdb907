"""Reads what is installed in a tree: its distributions, their RECORDs, and the facts of their wheels.

pip's own listing hides distributions named `argparse`, `wsgiref` and `python`, invents versions where
METADATA is missing and shows one of two duplicates. This reader shows every .dist-info folder as it is.
Format: https://packaging.python.org/en/latest/specifications/recording-installed-packages/
"""

from __future__ import annotations

import binascii
import csv
import os
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from bundler.lazy_dataclass import dataclass
from bundler.model import FileFact, LockedDistribution, StoredWheel, WheelFacts
from bundler.ontarget.bounded import open_regular
from bundler.wheels.facts import INSTALLER_FILES, describe

if TYPE_CHECKING:
    from packaging.metadata import RawMetadata

HEAD = 65536
"""Bytes at the beginning of a METADATA that are searched for name and version."""
METADATA_LIMIT = 16 << 20
"""Bytes; a description may contain pictures."""
RECORD_LIMIT = 64 << 20
ODD = {
    ".egg-link": "an editable install",
    ".egg-info": "installed by a legacy setup.py",
    ".egg": "installed by easy_install",
}


@dataclass(frozen=True, kw_only=True)
class ObservedDistribution:
    """A .dist-info folder."""

    name: str
    """Normalised, as METADATA spells it, or as the folder does where there is no METADATA."""
    version: str
    dist_info: str
    """Name of the folder."""


@dataclass(frozen=True, kw_only=True)
class OddEntry:
    """A directory entry that no sound installation of a wheel leaves."""

    entry: str
    """Its name in site-packages."""
    kind: Literal["installation", "metadata"]
    """Not installed from a wheel, or a .dist-info folder with wrong metadata."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What is installed in a site-packages folder."""

    distributions: tuple[ObservedDistribution, ...]
    odd: tuple[OddEntry, ...] = ()


class RecordRow(NamedTuple):
    """A line of a RECORD; its path is relative to the prefix."""

    owner: str
    """Normalised name of the distribution."""
    path: str
    sha256: str | None
    """`None` where the line gives none (bytecode, RECORD itself) or another algorithm."""
    size: int | None


def read(site_packages: Path) -> Observed:
    """Read the entries of a site-packages folder; nothing in it is imported, no symlink is followed.

    :raises OSError: the folder itself cannot be listed.
    """
    distributions = []
    odd = []
    with os.scandir(site_packages) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        name, suffix = entry.name, posixpath.splitext(entry.name)[1]
        if name.startswith("~"):
            reason = "left by a removal that did not finish"
            odd.append(OddEntry(entry=name, kind="installation", reason=reason))
        elif suffix == ".dist-info":
            found, problem = _read_dist_info(entry)
            distributions.append(found)
            if problem:
                odd.append(OddEntry(entry=name, kind="metadata", reason=problem))
        elif suffix in ODD:
            odd.append(OddEntry(entry=name, kind="installation", reason=ODD[suffix]))
    first: dict[str, str] = {}
    for one in distributions:
        before = first.setdefault(one.name, one.dist_info)
        if before != one.dist_info:
            reason = f"the same distribution as {before}"
            odd.append(OddEntry(entry=one.dist_info, kind="metadata", reason=reason))
    return Observed(distributions=tuple(distributions), odd=tuple(odd))


def _read_dist_info(entry: os.DirEntry[str]) -> tuple[ObservedDistribution, str]:
    folder_name, _, folder_version = entry.name.removesuffix(".dist-info").rpartition("-")
    as_folder = ObservedDistribution(
        name=canonicalize_name(folder_name or folder_version),
        version=folder_version if folder_name else "",
        dist_info=entry.name,
    )
    if not entry.is_dir(follow_symlinks=False):
        return as_folder, "is no folder"
    try:
        head = read_bytes(f"{entry.path}/METADATA", HEAD)
    except OSError:
        return as_folder, "has no METADATA that could be read"
    fields = _head_fields(head)
    name, version = fields.get("name", ""), fields.get("version", "")
    if not name or not version:
        return as_folder, "its METADATA names no distribution or no version"
    found = ObservedDistribution(name=canonicalize_name(name), version=version, dist_info=entry.name)
    if found.name != as_folder.name or not same_version(version, as_folder.version):
        return found, f"its METADATA says {name} {version}"
    return found, ""


def read_bytes(path: str, limit: int) -> bytes:
    """Read up to `limit` bytes of a regular file without following a symlink.

    :raises OSError: it is missing, no regular file, or unreadable.
    """
    with os.fdopen(open_regular(path), "rb") as stream:
        return stream.read(limit)


def _head_fields(head: bytes) -> dict[str, str]:
    """Return Name and Version of a METADATA; the parser of `email` is twenty times slower."""
    fields: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").splitlines():
        if not line:
            break
        key, separator, value = line.partition(":")
        if separator and key.lower() in ("name", "version"):
            fields.setdefault(key.lower(), value.strip())
    return fields


def named_modules(dist_info: Path) -> tuple[str, ...]:
    """Return the modules that a distribution names as its own: Import-Name (PEP 794), else top_level.txt.

    :param dist_info: its .dist-info folder.
    """
    try:
        head = read_bytes(str(dist_info / "METADATA"), HEAD).decode("utf-8", "replace")
    except OSError:
        head = ""
    named = re.findall(r"^Import-Name: *([\w.]+) *$", head.partition("\n\n")[0], re.MULTILINE)
    try:
        text = "" if named else read_bytes(str(dist_info / "top_level.txt"), HEAD).decode("utf-8", "replace")
    except OSError:
        text = ""
    return (*named, *text.split())


def same_version(left: str, right: str) -> bool:
    """Tell whether two versions are equal under PEP 440, or as text where one is not of that form."""
    if left == right:
        return True
    try:
        # Folder names escape a dash of the version to an underscore.
        return Version(left) == Version(right.replace("_", "-"))
    except InvalidVersion:
        return left.replace("-", "_") == right.replace("-", "_")


def read_records(prefix: Path, site_packages: str, observed: Observed) -> tuple[RecordRow, ...]:
    """Read the RECORD of every distribution; a RECORD that is missing or unreadable has no rows.

    :param site_packages: relative to the prefix.
    """
    rows: list[RecordRow] = []
    for one in observed.distributions:
        path = f"{prefix}/{site_packages}/{one.dist_info}/RECORD"
        try:
            text = read_bytes(path, RECORD_LIMIT).decode("utf-8", "surrogateescape")
            rows += _record_rows(text, owner=one.name, site_packages=site_packages)
        except (OSError, csv.Error):
            continue
    return tuple(rows)


def _record_rows(text: str, *, owner: str, site_packages: str) -> list[RecordRow]:
    rows = []
    lines = text.splitlines()
    # `split` is much faster than `csv`, and almost no name is quoted.
    for line in csv.reader(lines) if '"' in text else (line.split(",") for line in lines if line):
        if not line:
            continue
        name, digest, size = line if len(line) == 3 else [*line, "", ""][:3]
        path = f"{site_packages}/{name}"
        if name.startswith(("/", ".")) or "/." in name or "//" in name:
            # A path that leaves the prefix keeps its `..` and is reported as missing.
            path = posixpath.normpath(posixpath.join(site_packages, name))
        # Python reads no number of ten thousand digits; no file has a size of forty.
        known = int(size.lstrip("0")[:40] or "0") if size.isascii() and size.isdigit() else None
        rows.append(RecordRow(owner, path, _hexadecimal(digest), known))
    return rows


def _hexadecimal(digest: str) -> str | None:
    algorithm, separator, value = digest.partition("=")
    if not separator or algorithm != "sha256":
        return None
    try:
        return binascii.a2b_base64(value.replace("-", "+").replace("_", "/") + "=" * (-len(value) % 4)).hex()
    except (binascii.Error, ValueError):
        return "unreadable"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A tree with what is needed to read wheels from it."""

    prefix: Path
    site_packages: str
    """Relative to the prefix."""
    files: Mapping[str, FileFact]
    """Path → its fact, for ordinary files only: nothing else is opened."""
    extension_suffixes: tuple[str, ...]


def read_wheels(
    tree: Layout, distributions: Iterable[LockedDistribution], *, built_from: Mapping[str, str]
) -> tuple[StoredWheel, ...]:
    """Describe the wheels of those distributions that have a .dist-info folder.

    Versions and files are not compared with the distributions' own: that is for the checks.

    :param built_from: normalised name → source, for what was built and not fetched.
    """
    seen = read(tree.prefix / tree.site_packages)
    owned: dict[str, list[str]] = defaultdict(list)
    for row in read_records(tree.prefix, tree.site_packages, seen):
        if row.path in tree.files and not _is_installers(row.path):
            owned[row.owner].append(row.path)
    installed = {one.name: one for one in seen.distributions}
    return tuple(
        StoredWheel(
            locked=dist,
            facts=_facts(tree, installed[dist.name], dist, sorted(set(owned[dist.name]))),
            tree=tree.prefix,
            built_from=built_from.get(dist.name),
        )
        for dist in distributions
        if dist.name in installed
    )


def _is_installers(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return folder.endswith(".dist-info") and name in INSTALLER_FILES


def _facts(
    tree: Layout, seen: ObservedDistribution, dist: LockedDistribution, paths: list[str]
) -> WheelFacts:
    folder = f"{tree.site_packages}/{seen.dist_info}"
    metadata = _fields(tree, f"{folder}/METADATA")[0]
    files = tuple(tree.files[path] for path in paths)
    filename = dist.artifact.filename
    tags = _tags(filename)
    if not tags:  # it was built here, from a source
        tags = tuple(sorted(_fields(tree, f"{folder}/WHEEL")[1].get("tag", ())))
        filename = _wheel_name(seen.dist_info, tags)
    return describe(
        tree.prefix,
        files,
        metadata,
        site_packages=tree.site_packages,
        extension_suffixes=tree.extension_suffixes,
        entry_points=_entry_points(tree, f"{folder}/entry_points.txt"),
        name=metadata.get("name") or seen.name,
        version=metadata.get("version") or seen.version,
        filename=filename,
        sha256=dist.artifact.sha256 or "",
        dist_info=seen.dist_info,
        tags=tags,
    )


def _entry_points(tree: Layout, path: str) -> tuple[str, ...]:
    if path not in tree.files:
        return ()
    from bundler.wheels import launchers  # noqa: PLC0415 - `create` knows them of the store

    text = read_bytes(f"{tree.prefix}/{path}", METADATA_LIMIT).decode("utf-8", "replace")
    try:
        return launchers.declared(text)
    except launchers.EntryPointError:  # it was changed after the installation, which its hash shows
        return ()


def _fields(tree: Layout, path: str) -> tuple[RawMetadata, dict[str, list[str]]]:
    """Return the fields of a METADATA or WHEEL: those that the specification knows, and the rest."""
    if path not in tree.files:
        return {}, {}
    from packaging.metadata import parse_email  # noqa: PLC0415 - it brings email: 10 ms

    return parse_email(read_bytes(f"{tree.prefix}/{path}", METADATA_LIMIT))


def _wheel_name(dist_info: str, tags: tuple[str, ...]) -> str:
    """Return the filename of a wheel with these tags, compressed as PEP 425 says."""
    parts = zip(*(tag.split("-") for tag in tags if tag.count("-") == 2), strict=True)
    pressed = "-".join(".".join(sorted(set(part))) for part in parts)
    return f"{dist_info.removesuffix('.dist-info')}-{pressed}.whl"


def _tags(filename: str) -> tuple[str, ...]:
    try:
        return tuple(sorted(map(str, parse_wheel_filename(filename)[3])))
    except InvalidWheelFilename:
        return ()
