"""Tar and zip files that somebody made up: each is refused with one clear error, and nothing is written."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import time
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from bundler.bundle import manifest
from bundler.errors import InputError
from bundler.formats import checking, reading, streams, tar
from bundler.formats import zip as zips
from bundler.formats.entries import EPOCH, Entry

from tests.support.archivemaker import codes, open_it, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

pytest_plugins = ["tests.support.archive_fixtures"]


def described(bundle: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    """The manifest as the first member of a tar, as envbundle writes it."""
    data = (bundle / manifest.NAME).read_bytes()
    return [(member(manifest.NAME, len(data)), data)]


def member(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, **values: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.mtime = size, kind, EPOCH
    for key, value in values.items():
        setattr(info, key, value)
    return info


def write_tar(path: Path, members: Iterable[tuple[tarfile.TarInfo, bytes]], format: int) -> Path:  # noqa: A002 - tarfile's word
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=format) as made:
        for info, data in members:
            made.addfile(info, io.BytesIO(data))
    members_alone = raw.getvalue().rstrip(b"\0")
    padded = members_alone + bytes(-len(members_alone) % 512)
    path.write_bytes(b"".join(streams.gzip([padded, bytes(1024)])))
    return path


LINK: dict[str, Any] = {"linkname": "/etc/passwd"}
TARS: Mapping[str, tuple[list[tuple[tarfile.TarInfo, bytes]], str]] = {
    "absolute": ([(member("/etc/cron.d/x", 1), b"x")], "leaves its folder"),
    "above": ([(member("lib/../../x", 1), b"x")], "leaves its folder"),
    "dot": ([(member("./x", 1), b"x")], "not normal"),
    "empty": ([(member("", 1), b"x")], "is no path"),
    "symlink": ([(member("lib/x", kind=tarfile.SYMTYPE, **LINK), b"")], "is a symlink"),
    "hard link": ([(member("lib/x", kind=tarfile.LNKTYPE, **LINK), b"")], "is a hard link"),
    "device": ([(member("x", kind=tarfile.BLKTYPE, devmajor=8), b"")], "is a device"),
    "pipe": ([(member("x", kind=tarfile.FIFOTYPE), b"")], "is a pipe"),
    "contiguous": ([(member("x", kind=tarfile.CONTTYPE), b"")], "neither file nor folder"),
    "twice": ([(member("x", 1), b"x"), (member("x", 1), b"y")], "is there twice"),
    "manifest twice": ([(member(manifest.NAME, 1), b"{")], "is there twice"),
    "below a file": ([(member("x", 1), b"x"), (member("x/y", 1), b"y")], "below a file"),
    "file as a folder": ([(member("x/y", 1), b"x"), (member("x", 1), b"y")], "is there twice"),
    "setuid": ([(member("x", 1, mode=0o4755), b"x")], "header that envbundle does not write"),
    "owner": ([(member("x", 1, uid=1000), b"x")], "header that envbundle does not write"),
    "owner's name": ([(member("x", 1, uname="me"), b"x")], "header that envbundle does not write"),
    "time": ([(member("x", 1, mtime=1700000000), b"x")], "header that envbundle does not write"),
    "half a second": ([(member("x", 1, mtime=EPOCH + 0.5), b"x")], "envbundle does not write"),
    "attributes": ([(member("x", pax_headers={"SCHILY.xattr.user.x": "y"}), b"")], "does not write"),
}  # fmt: skip


@pytest.mark.parametrize("name", TARS)
def test_hostile_tar(bundle: Path, tmp_path: Path, name: str) -> None:
    members, problem = TARS[name]
    path = write_tar(tmp_path / "x.tar.gz", [*described(bundle), *members], tarfile.PAX_FORMAT)
    refused(path, "tar.gz", problem, tmp_path)


def test_members_that_are_announced_and_huge(bundle: Path, tmp_path: Path) -> None:
    data = (bundle / manifest.NAME).read_bytes()
    head = tar.header(Entry(path=manifest.NAME, size=len(data))) + data + bytes(-len(data) % 512)
    for size in (1 << 30, 1 << 34, 1 << 60):
        path = tmp_path / "x.tar.zst"
        path.write_bytes(
            b"".join(streams.zstd([head, tar.header(Entry(path="x", size=size)), bytes(1 << 20)]))
        )
        refused(path, "tar.zst", "far more than the manifest lists", tmp_path)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT])
def test_tars_of_others_are_not_ours(bundle: Path, tmp_path: Path, format: int) -> None:  # noqa: A002 - tarfile's word
    long = member("lib/" + "x" * 90 + "/" + "y" * 90, 1, mode=0o664)
    path = write_tar(tmp_path / "x.tar.gz", [*described(bundle), (long, b"x")], format)
    if format == tarfile.GNU_FORMAT:
        assert reading.kind_of(path) is None, "its very first header is another one"
    else:
        refused(path, "tar.gz", "header that envbundle does not write", tmp_path)
    plain = write_tar(tmp_path / "y.tar.gz", [(member("a.txt", 1), b"x")], format)
    assert reading.kind_of(plain) is None
    with pytest.raises(InputError, match="is not a bundle"):
        reading.read_document(plain, manifest.NAME)


@pytest.mark.thorough
def test_far_too_many_members(bundle: Path, tmp_path: Path) -> None:
    data = (bundle / manifest.NAME).read_bytes()
    head = tar.header(Entry(path=manifest.NAME, size=len(data))) + data + bytes(-len(data) % 512)
    more = (tar.header(Entry(path=f"x{number}")) for number in range(50_000))
    path = tmp_path / "x.tar.zst"
    path.write_bytes(b"".join(streams.zstd([head, *more, bytes(1024)])))
    started = time.process_time()
    refused(path, "tar.zst", "far more than the manifest lists", tmp_path)
    assert time.process_time() - started < 10


def test_a_manifest_without_end(tmp_path: Path) -> None:
    """Nobody's memory holds what the header announces."""
    path = tmp_path / "x.tar.zst"
    head = tar.header(Entry(path=manifest.NAME, size=1 << 33))
    path.write_bytes(b"".join(streams.zstd([head, *[bytes(1 << 20)] * 3])))
    with pytest.raises(InputError, match="at most 67108864 are read"):
        checking.check(path, kind="tar.zst")
    path.write_bytes(
        b"".join(streams.zstd([tar.header(Entry(path=manifest.NAME, size=2)), b"{}", bytes(510)]))
    )
    with pytest.raises(InputError, match="lacks 'files'"):
        checking.check(path, kind="tar.zst")


def write_zip(
    path: Path, records: Iterable[tuple[zips.Record, bytes]], *, before: bytes = b"", comment: bytes = b""
) -> Path:
    """Write records as given, each with its data."""
    data, directory, count = bytearray(before), b"", 0
    for given, content in records:
        record = replace(given, offset=len(data))
        data += record.local() + content
        directory += record.central()
        count += 1
    end = zips._end(count, len(directory), len(data))
    path.write_bytes(data + directory + end[:-2] + len(comment).to_bytes(2, "little") + comment)
    return path


def stored(path: str, content: bytes, **values: Any) -> tuple[zips.Record, bytes]:
    work = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = work.compress(content) + work.flush()
    fields: dict[str, Any] = {
        "entry": Entry(path=path, size=len(content)),
        "checksum": zlib.crc32(content),
        "compressed": len(data),
    }
    return zips.Record(**(fields | values)), data


ZIPS: Mapping[str, tuple[Callable[[bytes], bytes], str]] = {
    "absolute": (lambda data: data.replace(b"lib/xyz.py", b"/etc/xyz.p"), "leaves its folder"),
    "above": (lambda data: data.replace(b"lib/xyz.py", b"../../xyzp"), "leaves its folder"),
    "other name inside": (lambda data: data.replace(b"lib/xyz", b"lib/abc", 1), "differs from the central"),
    "symlink": (lambda data: _central(data, 38, (stat.S_IFLNK | 0o777) << 16, 4), "is a symlink"),
    "setuid": (lambda data: _central(data, 38, (stat.S_IFREG | 0o4755) << 16, 4), "does not write"),
    "encrypted": (lambda data: _central(data, 8, 1, 2), "does not write"),
    "other method": (lambda data: _central(data, 10, 0, 2), "does not write"),
    "time": (lambda data: _central(data, 12, 7, 2), "does not write"),
    "other checksum": (lambda data: _central(data, 16, 7, 4), "differs from the central"),
    "larger": (lambda data: _both(data, 24, 22, 9), "size or checksum differs"),
    "another size": (lambda data: _both(data, 24, 22, 2), "size or checksum differs"),
    "huge": (lambda data: _both(data, 24, 22, 0xFFFFFF00), "does not write|far more"),
    "other offset": (lambda data: _central(data, 42, 3, 4), "does not follow"),
    "comment": (lambda data: data[:-2] + b"\1\0x", "its end|no end"),
    "before it": (lambda data: b"MZ" + data, "its end|no end"),
    "directory elsewhere": (lambda data: data[:-10] + b"\xff\xff\xff\x7f" + data[-6:], "its end is not"),
    "one member less": (lambda data: data[:-14] + b"\1\0\1\0" + data[-10:], "not what its end says"),
}  # fmt: skip


def _central(data: bytes, at: int, value: int, size: int) -> bytes:
    """Change a field of the last entry of the central directory."""
    start = data.rindex(b"PK\1\2") + at
    return data[:start] + value.to_bytes(size, "little") + data[start + size :]


def _both(data: bytes, central: int, local: int, value: int) -> bytes:
    data = _central(data, central, value, 4)
    start = data.rindex(b"PK\3\4") + local
    return data[:start] + value.to_bytes(4, "little") + data[start + 4 :]


@pytest.mark.parametrize("name", ZIPS)
def test_hostile_zip(bundle: Path, tmp_path: Path, name: str) -> None:
    content = (bundle / manifest.NAME).read_bytes()
    path = write_zip(tmp_path / "x.zip", [stored(manifest.NAME, content), stored("lib/xyz.py", b"x = 1")])
    assert ("EB513", "lib/xyz.py") in codes(path), "it is sound as a zip"
    change, problem = ZIPS[name]
    path.write_bytes(change(path.read_bytes()))
    if name == "before it":
        assert reading.kind_of(path) is None
        with pytest.raises(InputError, match=problem):
            checking.check(path, kind="zip")
        return
    refused(path, "zip", problem, tmp_path)


def test_zip_with_two_members_of_one_name(bundle: Path, tmp_path: Path) -> None:
    content = (bundle / manifest.NAME).read_bytes()
    members = [stored(manifest.NAME, content), stored("x", b"1"), stored("x", b"2")]
    refused(write_zip(tmp_path / "x.zip", members), "zip", "is there twice", tmp_path)


@pytest.mark.parametrize("name", ["nothing", "text", "folder", "pipe", "dangling"])
def test_what_is_no_archive_at_all(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x"
    if name == "text":
        path.write_text("hello")
    elif name == "folder":
        path.mkdir()
    elif name == "pipe":
        os.mkfifo(path)
    elif name == "dangling":
        path.symlink_to("nowhere")
    assert reading.kind_of(path) is None
    with pytest.raises(InputError, match=r"does not exist|is not a bundle"):
        reading.read_document(path, manifest.NAME)
    with pytest.raises(InputError, match=r"does not exist|is not a bundle"):
        open_it(path, tmp_path)


@pytest.mark.parametrize("digits", ["9" * 5004, "9" * 20, "²", "-1"])
def test_a_size_of_many_digits(bundle: Path, tmp_path: Path, digits: str) -> None:
    info = member("x", 0)
    record = f" size={digits}\n".encode()
    length = next(n for n in range(len(record), len(record) + 9) if n == len(str(n)) + len(record))
    data = f"{length}".encode() + record
    info.type, info.size = tarfile.XHDTYPE, len(data)
    blocks = info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)
    path = tmp_path / "x.tar.gz"
    first, content = described(bundle)[0]
    head = first.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)
    with path.open("wb") as file:
        work = zlib.compressobj(wbits=-15)
        file.write(streams.GZIP_HEADER + work.compress(head + blocks) + work.flush())
    with pytest.raises(InputError, match=r"extended header|header that envbundle does not write"):
        checking.check(path, kind="tar.gz")
