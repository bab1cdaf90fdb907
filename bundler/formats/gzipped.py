"""gzip (RFC 1952), written and read as a stream."""

from __future__ import annotations

import contextlib
import zlib
from typing import TYPE_CHECKING, BinaryIO

from bundler.formats import deflated
from bundler.formats.entries import BLOCK, cut_off, damaged, trailing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from bundler.formats.tar import Readable

HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
"""No name, no time, no system that wrote it."""


def write(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Compress a stream; the same bytes for any number of cores."""
    yield HEADER
    checksum = size = 0
    for piece, data in deflated.compressed(deflated.pieces(None, blocks)):
        checksum = zlib.crc32(piece.data, checksum)
        size += len(piece.data)
        yield data
    yield checksum.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")


@contextlib.contextmanager
def opened(path: Path, *, whole: bool) -> Iterator[Readable]:
    """Open a gzip file for reading; what it holds is trusted in nothing.

    :param whole: as for `zstd.opened`; here its end shows when it is reached.
    :raises InputError: while it is read: damaged, cut off, or with something after its end.
    """
    del whole
    with path.open("rb") as file:
        yield _Gunzip(file, path)


class _Gunzip:
    """Reads one gzip member; `gzip` of the standard library would go on with what follows it."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._work = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._input = b""

    def read(self, size: int, /) -> bytes:
        found = bytearray()
        while len(found) < size and not self._work.eof:
            data = self._input or self._file.read(BLOCK)
            try:
                block = self._work.decompress(data, size - len(found))
            except zlib.error as error:
                raise damaged(self._path, str(error)) from error
            if not data and not block:
                raise cut_off(self._path)
            found += block
            self._input = self._work.unconsumed_tail
        if len(found) < size:
            more = len(self._work.unused_data) + len(self._file.read(BLOCK))
            if more:
                raise trailing(self._path, more)
        return bytes(found)
