"""squashfs: made by mksquashfs (squashfs-tools 4.4 or later), read without mounting or unpacking it.

The format: Linux, Documentation/filesystems/squashfs.rst. The reader takes files and folders alone,
compressed with zstd or zlib; whatever else an image can hold is refused.
"""

from __future__ import annotations

import errno
import functools
import os
import shutil
import stat
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple

import zstandard

from bundler.bundle import tree
from bundler.bundle.tree import Stamp
from bundler.errors import CommandError, InputError, MachineError
from bundler.formats.entries import (
    EPOCH,
    MANIFEST,
    Contents,
    Entry,
    cut_off,
    damaged,
    on_disk,
    refused,
    trailing,
)
from bundler.lazy_dataclass import dataclass
from bundler.system import process

PROGRAM = "mksquashfs"
COMPRESSION = ("-comp", "zstd", "-Xcompression-level", "9", "-b", "128K")
"""Measured on pandas and scikit-learn (295 MB, two cores), with the first `import pandas, sklearn` from the
mount: 87 MB in 3 s, import 0.95 s. gzip: 92 MB in 4.4 s, import 1.5 s; xz: 77 MB in 31 s; zstd in blocks of
1 MB: 80 MB, import 1.2 s."""
ALIKE = (
    *("-noappend", "-no-xattrs", "-no-exports", "-no-hardlinks", "-all-root", "-root-mode", "755"),
    *("-mkfs-time", str(EPOCH), "-all-time", str(EPOCH)),
)
"""What makes the same tree the same bytes, and nothing of the machine a part of them. Threads change nothing
since 4.4 (its CHANGES: "reproducible by default")."""
MEMORY = "512M"
RENAME = "copy the bundle to a file system that keeps modes, or choose another format"
MAGIC = b"hsqs"
SUPERBLOCK = struct.Struct("<4s4I6H8Q")
METADATA = 8192
"""Most bytes of a metadata block."""
ZLIB, ZSTD = 1, 6
NOTHING = (1 << 64) - 1
"""Stands for a table that is not there."""
NO_FRAGMENT = (1 << 32) - 1
PLAIN_METADATA, PLAIN_DATA = 1 << 15, 1 << 24
"""Set in the length of a block that is not compressed."""
PAGE = 4096
KINDS = {3: "is a symlink", 4: "is a device", 5: "is a device", 6: "is a pipe", 7: "is a socket"}
"""Of inodes, in their basic form; seven more stands for the extended one."""
DEPTH = 64
"""Folders below each other."""
MOST_MEMBERS = 1 << 19


def require() -> str:
    """Return the path of mksquashfs.

    :raises MachineError: it is not installed.
    """
    program = shutil.which(PROGRAM, path=process.SYSTEM_PATH)
    if program is None:
        raise MachineError(
            f"{PROGRAM} is not installed, and squashfs is made with it",
            hint="install squashfs-tools (Debian, Ubuntu, Fedora, Alpine: the package has that name)",
        )
    return program


def write(contents: Contents, path: Path, *, scratch: Path) -> None:
    """Write the image of a bundle.

    mksquashfs reads the files itself, so they are hashed beside it, and none may be touched meanwhile.

    :param scratch: an empty folder.
    :raises InputError: a file is not what the manifest lists.
    :raises MachineError: mksquashfs is missing or failed, or a file changes while it is packed.
    """
    before = tree.stamps(contents.bundle)
    definitions = scratch / "modes"
    definitions.write_text("".join(_modes(contents, before)), encoding="utf-8")
    with ThreadPoolExecutor(1) as pool:
        hashed = pool.submit(contents.read_all)
        _make(contents, path, definitions, _empty_folders(contents, before))
        hashed.result()
    after = tree.stamps(contents.bundle)
    if touched := sorted(one for one in before.keys() | after.keys() if before.get(one) != after.get(one)):
        raise contents.changed(touched[0])


def _make(contents: Contents, path: Path, definitions: Path, empty: Sequence[Path]) -> None:
    """Run mksquashfs.

    :param definitions: of modes, in a file in a private folder.
    :param empty: folders that are left out.
    """
    excluded: list[str | Path] = ["-e", *empty] if empty else []
    try:
        process.run(
            [
                *(require(), contents.bundle, path, *ALIKE, *COMPRESSION),
                *("-pf", definitions, "-mem", MEMORY, "-no-progress", "-quiet", "-exit-on-error"),
                *excluded,
            ],
            env=process.clean_environment(home=definitions.parent),
        )
    except CommandError as error:
        reason = " ".join(error.stderr.split())[-300:]
        full = os.strerror(errno.ENOSPC) in reason
        raise MachineError(
            f"{PROGRAM} failed: {reason or error.message}",
            hint="make space on the disk" if full else "squashfs-tools must be 4.4 or later, with zstd",
        ) from error


def _modes(contents: Contents, stamps: Mapping[str, Stamp]) -> Iterator[str]:
    """Yield a pseudo file definition for each mode that this disk has otherwise (a file share, a umask)."""
    for entry in contents.entries:
        found = stamps.get(f"{entry.path}/" if entry.folder else entry.path)
        if found is None:
            raise contents.changed(entry.path)
        if stat.S_IMODE(found[1]) == entry.mode:
            continue
        if "\n" in entry.path:
            raise InputError(
                f"{str(on_disk(contents.bundle, entry.path))!r}: {PROGRAM} cannot be told of a name with "
                "a line end",
                hint=RENAME,
            )
        quoted = entry.path.replace("\\", "\\\\").replace('"', '\\"')
        yield f'"{quoted}" m {entry.mode:o} 0 0\n'


def _empty_folders(contents: Contents, there: Iterable[str]) -> list[Path]:
    """Return folders that hold no file of the bundle, which no manifest lists and no other format has.

    :param there: paths of files, and of folders with a slash at the end.
    """
    expected = {f"{entry.path}/" for entry in contents.entries if entry.folder}
    extra = {path for path in there if path.endswith("/")} - expected
    topmost = (path for path in extra if f"{path.rstrip('/').rpartition('/')[0]}/" not in extra)
    return [on_disk(contents.bundle, path.rstrip("/")) for path in sorted(topmost)]


class Superblock(NamedTuple):
    """The first bytes of an image."""

    magic: bytes
    inode_count: int
    time: int
    block_size: int
    fragment_count: int
    compression: int
    block_log: int
    flags: int
    id_count: int
    major: int
    minor: int
    root: int
    used: int
    id_table: int
    xattr_table: int
    inode_table: int
    folder_table: int
    fragment_table: int
    export_table: int


@dataclass(frozen=True, kw_only=True)
class _Inode:
    folder: bool
    executable: bool
    size: int
    """Of the content; of a folder, of its listing."""
    start: int
    """Of a file: where its first block stands; of a folder: its block in the table of folders."""
    offset: int
    """In the fragment; in that block."""
    fragment: int = NO_FRAGMENT
    lengths: _Reader | None = None
    """Of a file: where the lengths of its blocks on disk stand."""


def superblock(file: BinaryIO) -> Superblock | None:
    """Read the superblock; `None` where it is not one that `squashfs.write` has mksquashfs make."""
    file.seek(0)
    raw = file.read(SUPERBLOCK.size)
    if len(raw) < SUPERBLOCK.size:
        return None
    found = Superblock(*SUPERBLOCK.unpack(raw))
    ours = (found.magic, found.major, found.minor, found.time) == (MAGIC, 4, 0, EPOCH)
    return found if ours and found.compression in (ZLIB, ZSTD) else None


def members(file: BinaryIO, archive: Path) -> Iterator[tuple[Entry, Iterator[bytes]]]:
    """Yield each file and folder and its content, which may be passed over; the manifest comes first.

    :param archive: for messages.
    :raises InputError: damaged, cut off, or with something in it that no bundle has.
    """
    image = _Image(file, archive)
    root = dict(image.listing(image.root, ""))
    if MANIFEST in root:
        yield image.member(MANIFEST, root.pop(MANIFEST))
    yield from image.below(root.items(), DEPTH)


class _Image:
    def __init__(self, file: BinaryIO, archive: Path) -> None:
        found = superblock(file)
        if found is None:
            raise damaged(archive, "no superblock as envbundle has it written")
        self._file, self._archive, self._super = file, archive, found
        length = os.fstat(file.fileno()).st_size
        padded = found.used + -found.used % PAGE
        if length < padded:
            raise cut_off(archive)
        file.seek(found.used)
        if length > padded or any(file.read(PAGE)):
            raise trailing(archive, length - found.used)
        if found.xattr_table != NOTHING or not 12 <= found.block_log <= 20:
            raise damaged(archive, "it has attributes or blocks that envbundle does not have written")
        if found.block_size != 1 << found.block_log:
            raise damaged(archive, "the sizes of its blocks contradict each other")
        self.metadata = functools.lru_cache(maxsize=256)(self._metadata)
        self._fragment_block = functools.lru_cache(maxsize=4)(self._data)
        self._members = MOST_MEMBERS
        self.root = self._inode(found.root, "")

    def below(
        self, listing: Iterable[tuple[str, _Inode]], depth: int
    ) -> Iterator[tuple[Entry, Iterator[bytes]]]:
        """Yield what a folder lists, and what is below it."""
        for path, inode in listing:
            yield self.member(path, inode)
            if inode.folder:
                if not depth:
                    raise refused(self._archive, path, "lies too deep")
                yield from self.below(self.listing(inode, f"{path}/"), depth - 1)

    def member(self, path: str, inode: _Inode) -> tuple[Entry, Iterator[bytes]]:
        """Return a member and its content."""
        size = 0 if inode.folder else inode.size
        entry = Entry(path=path, size=size, executable=inode.executable, folder=inode.folder)
        return entry, iter(()) if inode.folder else self._content(path, inode)

    def listing(self, folder: _Inode, prefix: str) -> Iterator[tuple[str, _Inode]]:
        """Yield path and inode of what a folder lists."""
        reader = _Reader(self, self._super.folder_table + folder.start, folder.offset)
        before = b""
        left = folder.size - 3  # `.` and `..`, which are not written
        while left > 0:
            count, start, _ = reader.unpack("<3I")
            left -= 12
            if count >= 256:
                raise self.damaged(prefix, "a header of a folder")
            for _ in range(count + 1):
                offset, _, _, length = reader.unpack("<HhHH")
                name = reader.take(length + 1)
                left -= 8 + len(name)
                if name <= before:  # the kernel finds another file by such a name than we read
                    raise refused(self._archive, f"{prefix}{name!r}", "is out of order, or there twice")
                before = name
                try:
                    path = prefix + name.decode()
                except UnicodeDecodeError as error:
                    raise refused(self._archive, repr(name), "is not UTF-8") from error
                if "/" in path[len(prefix) :]:
                    raise refused(self._archive, path, "has a slash in its name")
                self._members -= 1
                if self._members < 0:
                    raise refused(self._archive, path, "is one of too many")
                yield path, self._inode(start << 16 | offset, path)

    def _inode(self, reference: int, path: str) -> _Inode:
        reader = _Reader(self, self._super.inode_table + (reference >> 16), reference & 0xFFFF)
        kind, mode, _, _, _, _ = reader.unpack("<4H2I")
        if mode & 0o7000:
            raise refused(self._archive, path, "runs as another user")
        if kind == 1:
            start, _, size, offset, _ = reader.unpack("<2I2HI")
            return _Inode(folder=True, executable=False, size=size, start=start, offset=offset)
        if kind == 8:
            _, size, start, _, _, offset, _ = reader.unpack("<4I2HI")
            return _Inode(folder=True, executable=False, size=size, start=start, offset=offset)
        if kind == 2:
            start, fragment, offset, size = reader.unpack("<4I")
        elif kind == 9:
            start, size, _, _, fragment, offset, _ = reader.unpack("<3Q4I")
        else:
            raise refused(self._archive, path, KINDS.get((kind - 1) % 7 + 1, "is neither file nor folder"))
        return _Inode(
            folder=False,
            executable=bool(mode & 0o111),
            size=size,
            start=start,
            offset=offset,
            fragment=fragment,
            lengths=reader,
        )

    def _content(self, path: str, inode: _Inode) -> Iterator[bytes]:
        position, left = inode.start, inode.size
        tail = left % self._super.block_size if inode.fragment != NO_FRAGMENT else 0
        while left > tail and inode.lengths:
            (length,) = inode.lengths.unpack("<I")
            size = min(left, self._super.block_size)
            # A block without length is one of zeros.
            block = self._data(position, length) if length else bytes(size)
            if len(block) != size:
                raise self.damaged(path, "a block of another size")
            position += length & ~PLAIN_DATA
            left -= size
            yield block
        if left:
            block = self._fragment(path, inode.fragment)[inode.offset : inode.offset + left]
            if len(block) != left:
                raise self.damaged(path, "a fragment of another size")
            yield block

    def _fragment(self, path: str, number: int) -> bytes:
        if number >= self._super.fragment_count:
            raise self.damaged(path, "no such fragment")
        block, row = divmod(number, METADATA // 16)
        (at,) = struct.unpack("<Q", self._raw(self._super.fragment_table + 8 * block, 8))
        start, length = struct.unpack_from("<QI", self.metadata(at)[0].ljust(METADATA, b"\0"), 16 * row)
        return self._fragment_block(start, length)

    def _data(self, position: int, length: int) -> bytes:
        raw = self._raw(position, length & ~PLAIN_DATA)
        return raw if length & PLAIN_DATA else self._expanded(raw, self._super.block_size)

    def _metadata(self, position: int) -> tuple[bytes, int]:
        """Return the content of a metadata block, and where the next one begins."""
        (word,) = struct.unpack("<H", self._raw(position, 2))
        length = word & ~PLAIN_METADATA
        raw = self._raw(position + 2, length)
        return raw if word & PLAIN_METADATA else self._expanded(raw, METADATA), position + 2 + length

    def _raw(self, position: int, length: int) -> bytes:
        if position + length > self._super.used or length > max(METADATA, self._super.block_size):
            raise self.damaged("", "something points behind its end")
        self._file.seek(position)
        return self._file.read(length)

    def _expanded(self, raw: bytes, limit: int) -> bytes:
        """Decompress a block, in the memory that it may have."""
        try:
            if self._super.compression == ZSTD:
                if not 0 <= zstandard.frame_content_size(raw) <= limit:
                    raise self.damaged("", "a block that is too large")
                return zstandard.ZstdDecompressor().decompress(raw, max_output_size=limit)
            work = zlib.decompressobj()
            block = work.decompress(raw, limit)
            if not work.eof:
                raise self.damaged("", "a block that is too large")
        except (zlib.error, zstandard.ZstdError) as error:
            raise self.damaged("", str(error)) from error
        return block

    def damaged(self, path: str, problem: str) -> Exception:
        """Return the error of an image that cannot be read."""
        return damaged(self._archive, f"{path}: {problem}" if path else problem)


class _Reader:
    """Reads on through metadata blocks."""

    def __init__(self, image: _Image, position: int, offset: int) -> None:
        self._image = image
        self._block, self._next = image.metadata(position)
        self._at = offset

    def take(self, count: int) -> bytes:
        found = self._block[self._at : self._at + count]
        self._at += count
        while len(found) < count:
            self._block, self._next = self._image.metadata(self._next)
            if not self._block:
                raise self._image.damaged("", "an empty block")
            self._at = count - len(found)
            found += self._block[: self._at]
        return found

    def unpack(self, words: str) -> tuple[int, ...]:
        return struct.unpack(words, self.take(struct.calcsize(words)))
