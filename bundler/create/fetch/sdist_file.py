"""Reads the pyproject.toml of an sdist, without unpacking it: anybody may have written the archive."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

LARGEST = 1 << 20
"""Bytes of a pyproject.toml, and of what a tar says of one member: `tarfile` reads that whole into memory."""
HEADERS = 64 << 20
"""Bytes of all that a tar says of its members."""
MOST = 4 << 30
"""Bytes of a decompressed tar that are looked at."""
_COMPRESSED: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZ": bz2.open,
    b"\xfd7": lzma.open,
}
"""First bytes of a file → what opens it."""
_UNREADABLE = (
    *(OSError, EOFError, ValueError, OverflowError, RuntimeError, NotImplementedError),
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
"""What reading raises of an archive that is damaged, encrypted, oddly compressed or beyond a limit."""


def pyproject(sdist: Path, subdirectory: str = "") -> bytes:
    """Return what an sdist has as its pyproject.toml; empty where it has none, or cannot be read."""
    name = f"{subdirectory}/pyproject.toml".lstrip("/")
    try:
        return _of_zip(sdist, name) if zipfile.is_zipfile(sdist) else _of_tar(sdist, name)
    except _UNREADABLE:
        return b""  # pip says what is wrong with it


def _of_zip(sdist: Path, name: str) -> bytes:
    with zipfile.ZipFile(sdist) as archive:
        for member in archive.namelist():
            if member.partition("/")[2] == name:
                with archive.open(member) as stream:
                    return stream.read(LARGEST)
    return b""


def _of_tar(sdist: Path, name: str) -> bytes:
    with sdist.open("rb") as file:
        opened = _COMPRESSED.get(file.read(2))
    with opened(sdist) if opened else sdist.open("rb") as whole:
        limited = cast("IO[bytes]", _Limited(whole))
        with tarfile.open(fileobj=limited, mode="r:") as tar:
            for entry in tar:
                if entry.isreg() and entry.name.removeprefix("./").partition("/")[2] == name:
                    stream = tar.extractfile(entry)
                    return stream.read(LARGEST) if stream else b""
    return b""


class _Limited(io.RawIOBase):
    """A stream of which no long piece is read at once, not much in all, and nothing behind a place."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._left = HEADERS

    def read(self, size: int = -1, /) -> bytes:
        """Read; raises ValueError where that is more than may be."""
        self._left -= size
        if not 0 <= size <= LARGEST + tarfile.BLOCKSIZE or self._left < 0:
            raise ValueError("more than is read of an sdist")
        return self._stream.read(size)

    def seek(self, place: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place; raises ValueError where that is behind the last one."""
        if whence != io.SEEK_SET or place > MOST:
            raise ValueError("more than is read of an sdist")
        return self._stream.seek(place)

    def tell(self) -> int:
        """Return the place."""
        return self._stream.tell()
