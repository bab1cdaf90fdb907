"""What an archive from anybody says of its build: read within limits, or not at all."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import tracemalloc
import zipfile
from typing import TYPE_CHECKING

import pytest
from bundler.create.fetch import sdist_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTENT = b'[build-system]\nrequires = ["a"]\n'


def tar(*before: tuple[bytes, int], name: str = "a-1.0/pyproject.toml") -> bytes:
    """A tar with members of a kind and a size before the file."""
    made = io.BytesIO()
    for kind, size in before:
        info = tarfile.TarInfo("x")
        info.type, info.size = kind, size
        made.write(info.tobuf(tarfile.GNU_FORMAT) + bytes(size + -size % 512))
    with tarfile.open(fileobj=made, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(CONTENT)
        archive.addfile(info, io.BytesIO(CONTENT))
    return made.getvalue()


def odd_header() -> bytes:
    """A tar with an extended header that names a length of thirty digits."""
    record = b"9" * 30 + b" path=x\n"
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, len(record)
    return info.tobuf(tarfile.GNU_FORMAT) + record.ljust(512, b"\0") + tar()


def zipped(change: Callable[[bytearray, int], None] = lambda *_: None) -> bytes:
    """A zip with the file, changed; the number is where its central directory begins."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a-1.0/pyproject.toml", CONTENT)
    data = bytearray(made.getvalue())
    change(data, data.index(b"PK\x01\x02"))
    return bytes(data)


def encrypted(data: bytearray, at: int) -> None:
    data[6] |= 1
    data[at + 8] |= 1


def unknown(data: bytearray, at: int) -> None:
    data[8] = data[at + 10] = 99


def corrupt(data: bytearray, _: int) -> None:
    data[50:58] = b"\xff" * 8


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (tar(), CONTENT),
        (gzip.compress(tar()), CONTENT),
        (bz2.compress(tar()), CONTENT),
        (lzma.compress(tar()), CONTENT),
        (gzip.compress(tar((b"0", 3 << 20))), CONTENT),
        (gzip.compress(tar(name="./a-1.0/pyproject.toml")), CONTENT),
        (gzip.compress(tar(name="a-1.0/b/pyproject.toml")), b""),
        (zipped(), CONTENT),
        (gzip.compress(tar())[:-40], b""),
        (odd_header(), b""),
        (b"", b""),
        (b"\x1f\x8b", b""),
        (zipped(encrypted), b""),
        (zipped(unknown), b""),
        (zipped(corrupt), b""),
    ],
)
def test_a_file_of_an_sdist_is_found_or_not(tmp_path: Path, data: bytes, found: bytes) -> None:
    path = tmp_path / "a-1.0"
    path.write_bytes(data)
    assert sdist_file.pyproject(path) == found


def test_a_file_of_a_subdirectory_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a-1.0.tar.gz"
    path.write_bytes(gzip.compress(tar(name="a-1.0/b/pyproject.toml")))
    assert sdist_file.pyproject(path, "b") == CONTENT


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_what_a_tar_says_of_a_member_takes_a_bounded_memory(tmp_path: Path, kind: bytes) -> None:
    """tarfile reads it whole; 3 MB of gzip took 600 MiB and, of an extended header, 25 seconds."""
    path = tmp_path / "a-1.0.tar.gz"
    path.write_bytes(gzip.compress(tar((kind, 24 << 20)), 1))
    tracemalloc.start()
    try:
        assert sdist_file.pyproject(path) == b""
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_what_a_tar_says_of_all_its_members_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a-1.0.tar.gz"
    path.write_bytes(gzip.compress(tar(*[(b"0", 0)] * 100)))
    assert sdist_file.pyproject(path) == CONTENT
    monkeypatch.setattr(sdist_file, "HEADERS", 50 * 512)
    assert sdist_file.pyproject(path) == b""
