"""zip (PKWARE's APPNOTE.TXT 6.3.10), with zip64 where a size or a count needs it.

As with tar, the reader takes what the writer writes and nothing else: members follow each other without a
gap, the header of each says what the central directory says, and nothing stands before, between or behind.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bundler.formats import streams
from bundler.formats.entries import BLOCK, Contents, Entry, cut_off, damaged, refused
from bundler.lazy_dataclass import dataclass

STORED, DEFLATED = 0, 8
UNIX = 3
PLAIN, LARGE = 20, 45
"""Versions of the format that a reader must know: 2.0, and 4.5 for zip64."""
UTF8 = 0x800
DATE = 1 << 5 | 1
"""1980-01-01 in the form of MS-DOS; its time is 0."""
FULL = 0xFFFFFFFF
MANY = 0xFFFF
LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s2B5H3L5H2L")
END = struct.Struct("<4s4H2LH")
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")
LARGEST_DIRECTORY = 64 << 20
FOLDER_BIT = 0x10
"""Of MS-DOS."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the headers say of a member."""

    entry: Entry
    checksum: int = 0
    compressed: int = 0
    offset: int = 0

    @property
    def _name(self) -> bytes:
        return (f"{self.entry.path}/" if self.entry.folder else self.entry.path).encode()

    @property
    def _method(self) -> int:
        return STORED if self.entry.folder else DEFLATED

    @property
    def _words(self) -> tuple[int, int, int, int]:
        """Flags, method, time and date."""
        return 0 if self._name.isascii() else UTF8, self._method, 0, DATE

    def local(self) -> bytes:
        """Return the header before the data, of the same length before and after the data is known."""
        large = _large(self.entry.size)
        extra = struct.pack("<2H2Q", 1, 16, self.entry.size, self.compressed) if large else b""
        version = LARGE if large else PLAIN
        sizes = (FULL, FULL) if large else (self.compressed, self.entry.size)
        lengths = (len(self._name), len(extra))
        return (
            LOCAL.pack(b"PK\3\4", version, *self._words, self.checksum, *sizes, *lengths) + self._name + extra
        )

    def central(self) -> bytes:
        """Return the entry in the central directory."""
        large = [size for size in (self.entry.size, self.compressed, self.offset) if size >= FULL]
        extra = struct.pack(f"<2H{len(large)}Q", 1, 8 * len(large), *large) if large else b""
        version = LARGE if large or _large(self.entry.size) else PLAIN
        kind, bit = (stat.S_IFDIR, FOLDER_BIT) if self.entry.folder else (stat.S_IFREG, 0)
        return (
            CENTRAL.pack(
                *(b"PK\1\2", version, UNIX, version, *self._words, self.checksum),
                *(min(self.compressed, FULL), min(self.entry.size, FULL), len(self._name), len(extra)),
                *(0, 0, 0, (kind | self.entry.mode) << 16 | bit, min(self.offset, FULL)),
            )
            + self._name
            + extra
        )


def _large(size: int) -> bool:
    """Whether a member may need zip64: deflate can make content that does not compress a little larger."""
    return size + (size >> 10) + 1024 >= FULL


def write(contents: Contents, file: BinaryIO) -> None:
    """Write the archive of a bundle into a file that can be read back from (it is sought in)."""
    directory = bytearray()
    count = 0
    running = Record(entry=Entry(path=""))
    for piece, data in streams.deflated(_pieces(contents)):
        if piece.owner is not running.entry:
            running = Record(entry=piece.owner, offset=file.tell())
            file.write(running.local())
        if not piece.owner.folder:
            file.write(data)
            running = Record(
                entry=piece.owner,
                checksum=zlib.crc32(piece.data, running.checksum),
                compressed=running.compressed + len(data),
                offset=running.offset,
            )
        if piece.last:
            position = file.tell()
            file.seek(running.offset)
            file.write(running.local())
            file.seek(position)
            directory += running.central()
            count += 1
    position = file.tell()
    file.write(directory)
    file.write(_end(count, len(directory), position))


def _pieces(contents: Contents) -> Iterator[streams.Piece[Entry]]:
    for entry in contents.entries:
        yield from streams.pieces(entry, iter(()) if entry.folder else contents.read(entry))


def _end(count: int, size: int, position: int) -> bytes:
    """Return what stands behind the central directory."""
    large = b""
    if count >= MANY or size >= FULL or position >= FULL:
        large = END64.pack(b"PK\6\6", END64.size - 12, LARGE, LARGE, 0, 0, count, count, size, position)
        large += LOCATOR.pack(b"PK\6\7", 0, position + size, 1)
    few = min(count, MANY)
    return large + END.pack(b"PK\5\6", 0, 0, few, few, min(size, FULL), min(position, FULL), 0)


def members(file: BinaryIO, archive: Path) -> Iterator[tuple[Entry, Iterator[bytes]]]:
    """Yield each member and its content, which may be passed over.

    :param archive: for messages.
    :raises InputError: damaged, cut off, or not as `write` writes it.
    """
    directory, count, start = _directory(file, archive)
    at = expected = 0
    while at < len(directory):
        record, length = _record(directory, at, archive)
        at += length
        count -= 1
        if record.offset != expected:
            raise refused(archive, record.entry.path, "does not follow the member before it")
        local = record.local()
        expected += len(local) + record.compressed
        file.seek(record.offset)
        if expected > start or file.read(len(local)) != local:
            raise refused(archive, record.entry.path, "has a header that differs from the central directory")
        yield record.entry, _content(file, record, archive)
    if expected != start or count:
        raise damaged(archive, "its members are not what its end says")


def _directory(file: BinaryIO, archive: Path) -> tuple[bytes, int, int]:
    """Return the central directory, how many members it has, and where it begins."""
    length = file.seek(0, 2)
    tail = END64.size + LOCATOR.size + END.size
    file.seek(max(0, length - tail))
    raw = file.read(tail)
    if len(raw) < END.size or raw[-END.size :][:4] != b"PK\5\6":
        raise damaged(archive, "no end of a zip file: it was cut off, or something follows after its end")
    _, _, _, _, count, size, position, _ = END.unpack(raw[-END.size :])
    if count == MANY or FULL in (size, position):
        if len(raw) < tail or raw[:4] != b"PK\6\6":
            raise damaged(archive, "no end of a zip64 file")
        *_, count, size, position = END64.unpack(raw[: END64.size])
    end = _end(count, size, position)
    if size > LARGEST_DIRECTORY or position + size + len(end) != length or not raw.endswith(end):
        raise damaged(archive, "its end is not as envbundle writes it")
    file.seek(position)
    directory = file.read(size)
    if len(directory) < size:
        raise cut_off(archive)
    return directory, count, position


def _record(directory: bytes, at: int, archive: Path) -> tuple[Record, int]:
    """Read one entry of the central directory, and return its length too."""
    problem = "an entry of the central directory that envbundle does not write"
    if len(directory) < at + CENTRAL.size:
        raise damaged(archive, problem)
    words = CENTRAL.unpack_from(directory, at)
    checksum, compressed, size, name_length, extra_length = words[8:13]
    attributes, offset = words[16:]
    end = at + CENTRAL.size + name_length + extra_length
    name = directory[at + CENTRAL.size : at + CENTRAL.size + name_length]
    extra = directory[at + CENTRAL.size + name_length : end]
    values = [value for (value,) in struct.iter_unpack("<Q", extra[4:])] if len(extra) % 8 == 4 else []
    sizes = [values.pop(0) if values and one == FULL else one for one in (size, compressed, offset)]
    try:
        path = name.decode()
    except UnicodeDecodeError as error:
        raise damaged(archive, problem) from error
    if stat.S_ISLNK(attributes >> 16):
        raise refused(archive, path, "is a symlink")
    entry = Entry(
        path=path.removesuffix("/"),
        size=sizes[0],
        executable=not path.endswith("/") and bool(attributes >> 16 & 0o111),
        folder=path.endswith("/"),
    )
    record = Record(entry=entry, checksum=checksum, compressed=sizes[1], offset=sizes[2])
    if record.central() != directory[at:end]:
        raise refused(archive, path, "has an entry in the central directory that envbundle does not write")
    return record, end - at


def _content(file: BinaryIO, record: Record, archive: Path) -> Iterator[bytes]:
    if record.entry.folder:
        return
    left, size, checksum = record.compressed, 0, 0
    position = record.offset + len(record.local())
    work = zlib.decompressobj(-zlib.MAX_WBITS)
    data = b""
    while not work.eof:
        if not data and left:
            file.seek(position)
            data = file.read(min(BLOCK, left))
            position += len(data)
            left -= len(data)
        try:
            block = work.decompress(data, BLOCK)
        except zlib.error as error:
            raise damaged(archive, f"{record.entry.path}: {error}") from error
        if not data and not block and not work.eof:
            raise cut_off(archive)
        data = work.unconsumed_tail
        size += len(block)
        checksum = zlib.crc32(block, checksum)
        if size > record.entry.size:
            break
        yield block
    if size != record.entry.size or checksum != record.checksum or left or work.unused_data:
        raise damaged(archive, f"{record.entry.path}: size or checksum differs")
