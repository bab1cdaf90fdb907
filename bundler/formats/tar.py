"""tar: ustar headers, and pax ones for names that those cannot hold (POSIX.1-2017, pax, "ustar").

The reader takes what the writer writes and nothing else: each header that it meets is made again from what
was understood of it, and must have the same bytes. So no other reading of the archive is possible.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.formats.entries import BLOCK, EPOCH, Contents, Entry, cut_off, damaged, refused, trailing

if TYPE_CHECKING:
    from bundler.formats.streams import Readable


HEADER = tarfile.BLOCKSIZE
END = bytes(2 * HEADER)
LONGEST_PAX = 64 << 10
"""Bytes of an extended header: a path, which has at most 4096."""
KINDS = {
    tarfile.LNKTYPE: "is a hard link",
    tarfile.SYMTYPE: "is a symlink",
    tarfile.CHRTYPE: "is a device",
    tarfile.BLKTYPE: "is a device",
    tarfile.FIFOTYPE: "is a pipe",
}


def blocks(contents: Contents) -> Iterator[bytes]:
    """Yield the bytes of the archive of a bundle."""
    for entry in contents.entries:
        yield header(entry)
        if not entry.folder:
            yield from contents.read(entry)
            yield bytes(-entry.size % HEADER)
    yield END


def header(entry: Entry) -> bytes:
    """Return a member's header, with the extended one before it if there must be one."""
    info = tarfile.TarInfo(f"{entry.path}/" if entry.folder else entry.path)
    info.type = tarfile.DIRTYPE if entry.folder else tarfile.REGTYPE
    info.size = entry.size
    info.mode = entry.mode
    info.mtime = EPOCH
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def members(stream: Readable, archive: Path) -> Iterator[tuple[Entry, Iterator[bytes]]]:
    """Yield each member and its content, which must be used up before the next one, or is passed over.

    :param archive: for messages.
    :raises InputError: damaged, cut off, or not as `blocks` writes it.
    """
    while True:
        found, raw = _next(stream, archive)
        if found is None:
            break
        content = _content(stream, found, archive)
        yield found, content
        for _ in content:
            pass
        if any(_exactly(stream, -found.size % HEADER, archive)):
            raise refused(archive, found.path, "is not padded with zeros")
    if _exactly(stream, len(END) - len(raw), archive).strip(b"\0"):
        raise damaged(archive, "its end is not marked")
    if more := stream.read(BLOCK):
        raise trailing(archive, len(more))


def _next(stream: Readable, archive: Path) -> tuple[Entry | None, bytes]:
    """Read a header; `None` for the first block of the end."""
    raw = _exactly(stream, HEADER, archive)
    if raw == bytes(HEADER):
        return None, raw
    info = _parse(raw, archive)
    path, size = info.name, info.size
    if info.type == tarfile.XHDTYPE:
        if not 0 < info.size <= LONGEST_PAX:
            raise damaged(archive, f"an extended header of {info.size} bytes")
        extended = _exactly(stream, info.size + -info.size % HEADER, archive)
        records = _extended(extended[: info.size], archive)
        second = _exactly(stream, HEADER, archive)
        raw += extended + second
        info = _parse(second, archive)
        path, size = records.get("path", info.name), int(records.get("size", info.size))
    if info.type not in (tarfile.REGTYPE, tarfile.DIRTYPE):
        raise refused(archive, path, KINDS.get(info.type, "is neither file nor folder"))
    folder = info.type == tarfile.DIRTYPE
    entry = Entry(
        path=path.removesuffix("/") if folder else path,
        size=size,
        executable=not folder and bool(info.mode & 0o111),
        folder=folder,
    )
    if header(entry) != raw:
        raise refused(archive, path, "has a header that envbundle does not write")
    return entry, raw


def _parse(raw: bytes, archive: Path) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(raw, "utf-8", "strict")
    except (tarfile.HeaderError, UnicodeDecodeError, ValueError) as error:
        raise damaged(archive, f"no header of a member where one must be ({error})") from error


def _extended(data: bytes, archive: Path) -> dict[str, str]:
    """Return what an extended header says: lines of the form `LENGTH KEYWORD=VALUE`."""
    found = {}
    while data:
        length, _, rest = data.partition(b" ")
        end = int(length) if length.isdigit() and len(length) < 6 else 0
        keyword, _, value = rest[: max(0, end - len(length) - 2)].partition(b"=")
        try:
            found[keyword.decode()] = value.decode()
        except UnicodeDecodeError as error:
            raise damaged(archive, "an extended header that is not UTF-8") from error
        if not 0 < end <= len(data) or keyword not in (b"path", b"size"):
            raise damaged(archive, "an extended header that envbundle does not write")
        data = data[end:]
    size = found.get("size", "0")
    if not (size.isascii() and size.isdecimal() and len(size) < 20):
        raise damaged(archive, "an extended header without a number for the size")
    return found


def _content(stream: Readable, entry: Entry, archive: Path) -> Iterator[bytes]:
    left = entry.size
    while left:
        block = stream.read(min(BLOCK, left))
        if not block:
            raise cut_off(archive)
        left -= len(block)
        yield block


def _exactly(stream: Readable, count: int, archive: Path) -> bytes:
    data = stream.read(count)
    while len(data) < count:
        more = stream.read(count - len(data))
        if not more:
            raise cut_off(archive)
        data += more
    return data
