"""Reads an archive of any format as a stream of members; anybody may have made it."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.bundle import manifest
from bundler.bundle.manifest.values import read_files
from bundler.errors import InputError
from bundler.formats import NAMES, oci, squashfs, streams, tar
from bundler.formats import zip as zips
from bundler.formats.entries import MANIFEST, Entry, admitted, cut_off, refused
from bundler.lazy_dataclass import dataclass
from bundler.model import FileFact
from bundler.ontarget.bounded import open_regular
from bundler.system import json_values, outside
from bundler.system.json_values import Value

if TYPE_CHECKING:
    Members = Iterator[tuple[Entry, Iterator[bytes]]]

DOCUMENT_LIMIT = 64 << 20
"""Bytes of a manifest or lock in an archive that anybody may have made."""
ZIP_MAGIC = b"PK\3\4"


@dataclass(frozen=True, kw_only=True)
class Archive:
    """An archive that is being read."""

    path: Path
    manifest: bytes
    described: Value
    """The manifest's content: an object of which only the lists of files are known to be sound."""
    listed: Mapping[str, FileFact]
    """Path → file, of all that the manifest lists."""
    members: Members
    """All of them, the manifest first. Each content must be used before the next member, or is lost."""


def kind_of(path: Path) -> str | None:
    """Tell by content, not by name, which of `NAMES` a path is.

    A folder is a bundle if a manifest of ours is in it. A file counts if its first member is the manifest (a
    squashfs image: if its time is the fixed one of ours), even if it is damaged behind that.

    :return: `None` where it is none of them, or cannot be read.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            if manifest.is_bundle(path):
                return "dir"
            return "oci" if (path / oci.LAYOUT).is_file() and (path / oci.INDEX).is_file() else None
        return _kind_of_file(path) if stat.S_ISREG(mode) else None
    except (OSError, InputError):
        return None


def _kind_of_file(path: Path) -> str | None:
    with os.fdopen(open_regular(path, 0), "rb") as file:
        head = file.read(64)
        if head[:4] == squashfs.MAGIC:
            return "squashfs" if squashfs.superblock(file) else None
    if head[:4] == ZIP_MAGIC:
        return "zip" if head[30:].startswith(MANIFEST.encode()) else None
    for magic, kind in ((streams.GZIP_HEADER[:2], "tar.gz"), (streams.ZSTD_MAGIC, "tar.zst")):
        if head.startswith(magic):
            with _members(path, kind, whole=False) as members:
                entry, _ = next(members, (None, None))
                return kind if entry is not None and entry.path == MANIFEST else None
    return None


def require(path: Path) -> str:
    """Return the kind of a path.

    :raises InputError: it is no bundle in any format.
    """
    kind = kind_of(path)
    if kind is None:
        problem = "is not a bundle" if path.exists() else "does not exist"
        raise InputError(
            f"{path} {problem}",
            hint=f"name the folder that `create` made, or an archive of it ({', '.join(NAMES[1:])})",
        )
    return kind


def stem(path: Path) -> Path:
    """Return the path of a bundle without the ending of an archive: `x/env.tar.zst` → `x/env`.

    :raises InputError: it is no bundle in any format.
    """
    return path.with_name(path.name.removesuffix(f".{require(path)}"))


@contextlib.contextmanager
def reading(path: Path, *, kind: str, whole: bool = True) -> Iterator[Archive]:
    """Open an archive.

    :param kind: what `kind_of` says; not `dir`.
    :param whole: every member will be read, so compare what can be compared only then.
    :raises InputError: here, or while members are read: damaged, cut off, or with a member that no archive of
        a bundle has.
    """
    with _members(path, kind, whole=whole) as members:
        entry, content = next(members, (None, iter(())))
        if entry is None or entry.path != MANIFEST or entry.folder:
            raise refused(path, entry.path if entry else "", "stands where the manifest must be")
        data = _read_member(entry, content, path, DOCUMENT_LIMIT)
        described = json_values.parse(data, source=f"{path}: {MANIFEST}")
        rows = [read_files(described[key]) for key in ("files", "documents")]
        listed = {file.path: file for row in rows for file in row}
        size = sum(file.size for file in listed.values())
        every = itertools.chain([(entry, iter((data,)))], members)
        yield Archive(
            path=path,
            manifest=data,
            described=described,
            listed=listed,
            members=admitted(every, path, files=len(listed), size=size),
        )


def _read_member(entry: Entry, content: Iterator[bytes], path: Path, limit: int) -> bytes:
    if entry.size > limit:
        raise InputError(
            f"{path}: {entry.path} has {entry.size} bytes, and at most {limit} are read",
            hint="get the archive again from where it was made",
        )
    data = b"".join(content)
    if len(data) != entry.size:
        raise cut_off(path)
    return data


def read_document(path: Path, name: str, *, limit: int = DOCUMENT_LIMIT) -> bytes:
    """Return a file that stands at the top of a bundle in any format.

    :param limit: bytes.
    :raises InputError: no bundle, damaged, no such file in it, or larger than `limit`.
    """
    kind = require(path)
    if kind == "dir":
        return outside.read(path / name, limit=limit, hint="`envbundle verify` says what is wrong")
    with reading(path, kind=kind, whole=False) as archive:
        for entry, content in archive.members:
            if entry.path == name and not entry.folder:
                return _read_member(entry, content, path, limit)
    raise InputError(f"{path} has no {name}", hint="make it again with this version of envbundle")


@contextlib.contextmanager
def _members(path: Path, kind: str, *, whole: bool) -> Iterator[Members]:
    with contextlib.ExitStack() as stack:
        if kind == "oci":
            yield stack.enter_context(oci.opened(path, whole=whole))
        elif kind.startswith("tar."):
            opening = streams.open_gzip(path) if kind == "tar.gz" else streams.open_zstd(path, whole=whole)
            yield tar.members(stack.enter_context(opening), path)
        else:
            file = stack.enter_context(os.fdopen(open_regular(path, 0), "rb"))
            yield (zips if kind == "zip" else squashfs).members(file, path)
