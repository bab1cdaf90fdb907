"""Makes an interpreter that was built with a newer glibc run on an older one, without building it again.

The loader refuses a file that requires a version of a symbol which the C library lacks. Here such a
requirement is replaced by that of the oldest version, and a symbol bound to no version takes the library's
default one (https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/symversion.html).
What moved into libc.so.6 with 2.33 and 2.34 is brought by a small library that /etc/ld.so.preload names. Only
the interpreter and the libraries that its own modules load are treated so; the files of a bundle never are.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from bundler.system import process

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

VERSYM, VERNEED = 0x6FFFFFFF, 0x6FFFFFFE
OLDEST, OLDEST_HASH = b"GLIBC_2.2.5\0", 0x09691A75
"""Every library of glibc on x86_64 defines it; its hash is that of the ELF specification."""
WEAK = 0x2
"""A version that may be missing; the loader mentions it, and goes on."""
ANY_VERSION = 1
"""VER_NDX_GLOBAL: the symbol asks for no version."""
SECTION = struct.Struct("<IIQQQQIIQQ")
NEED, AUXILIARY = struct.Struct("<HHIII"), struct.Struct("<IHHII")
MOVED = ("libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1")
"""Libraries whose functions stand in libc.so.6 since glibc 2.34."""
COMPILE = ("-O1", "-w", "-fPIC", "-shared", "-nostdlib", "-fno-builtin", "-Wl,--no-as-needed")
SHIM = """
struct stat;
typedef unsigned int mode;
typedef unsigned long device;
extern int __xstat64(int, const char *, struct stat *), __lxstat64(int, const char *, struct stat *);
extern int __fxstat64(int, int, struct stat *), __fxstatat64(int, int, const char *, struct stat *, int);
extern int __xmknod(int, const char *, mode, device *), __xmknodat(int, int, const char *, mode, device *);
char __libc_single_threaded;
int stat64(const char *p, struct stat *s) { return __xstat64(1, p, s); }
int stat(const char *p, struct stat *s) { return __xstat64(1, p, s); }
int lstat64(const char *p, struct stat *s) { return __lxstat64(1, p, s); }
int lstat(const char *p, struct stat *s) { return __lxstat64(1, p, s); }
int fstat64(int f, struct stat *s) { return __fxstat64(1, f, s); }
int fstat(int f, struct stat *s) { return __fxstat64(1, f, s); }
int fstatat64(int d, const char *p, struct stat *s, int g) { return __fxstatat64(1, d, p, s, g); }
int fstatat(int d, const char *p, struct stat *s, int g) { return __fxstatat64(1, d, p, s, g); }
int mknod(const char *p, mode m, device d) { return __xmknod(0, p, m, &d); }
int mknodat(int f, const char *p, mode m, device d) { return __xmknodat(0, f, p, m, &d); }
"""


def lower(path: Path, *, minor: int) -> bool:
    """Let a 64-bit ELF file load where glibc is 2.`minor`; says whether anything had to change.

    :raises ValueError: it is no such file, or damaged.
    """
    data = bytearray(path.read_bytes())
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError(f"{path} is no 64-bit ELF file")
    try:
        newer = set(_age(data, minor=minor))
        for kind, offset, size, _ in _sections(data):
            if kind == VERSYM:
                _unbind(data, offset=offset, size=size, versions=newer)
    except struct.error as error:
        raise ValueError(f"{path} is damaged") from error
    if newer:
        mode = path.stat().st_mode
        path.unlink()  # never through a hard link
        path.write_bytes(data)
        path.chmod(mode)
    return bool(newer)


def preload(root: Path, *, libraries: Path, env: Mapping[str, str]) -> None:
    """Build the library of the moved functions into a root file system and name it in ld.so.preload.

    :param libraries: the folder of `root` that holds its C library.
    """
    source, target = root / "tmp" / "moved.c", root / "usr" / "lib" / "moved.so"
    source.write_text(SHIM, encoding="ascii")
    moved = [libraries / name for name in MOVED]
    process.run(["gcc", *COMPILE, "-o", target, source, *moved], env=env)
    source.unlink()
    (root / "etc" / "ld.so.preload").write_text(f"/{target.relative_to(root)}\n", encoding="ascii")


def _sections(data: bytearray) -> Iterator[tuple[int, int, int, int]]:
    """Each section's type, offset and size, and the offset of the section it is linked with."""
    start, size, count = _u64(data, 0x28), *struct.unpack_from("<HH", data, 0x3A)
    rows = [SECTION.unpack_from(data, start + number * size) for number in range(count)]
    for row in rows:
        yield row[1], row[4], row[5], rows[row[6]][4] if row[6] < count else 0


def _u64(data: bytearray, offset: int) -> int:
    value: int = struct.unpack_from("<Q", data, offset)[0]
    return value


def _age(data: bytearray, *, minor: int) -> Iterator[int]:
    """Replace each requirement of a newer glibc; yields the numbers that symbols refer to them by."""
    for kind, start, _, names in _sections(data):
        if kind != VERNEED:
            continue
        oldest = data.find(b"\0" + OLDEST, names) + 1 - names
        for at in _requirements(data, start):
            digest, flags, number, name, following = AUXILIARY.unpack_from(data, at)
            text = bytes(data[names + name : data.index(b"\0", names + name)]).decode("ascii", "replace")
            version = re.fullmatch(r"GLIBC_2\.([0-9]+)(\.[0-9]+)?", text)
            if version and int(version[1]) > minor:
                if oldest > 0:
                    digest, name = OLDEST_HASH, oldest
                else:
                    flags |= WEAK
                AUXILIARY.pack_into(data, at, digest, flags, number, name, following)
                yield number


def _requirements(data: bytearray, offset: int) -> Iterator[int]:
    """Where each required version stands, of every library that the file needs."""
    step = -1
    while step:
        _, count, _, first, step = NEED.unpack_from(data, offset)
        at = offset + first
        for _ in range(count):
            yield at
            at += AUXILIARY.unpack_from(data, at)[4]
        offset += step


def _unbind(data: bytearray, *, offset: int, size: int, versions: set[int]) -> None:
    for at in range(offset, offset + size, 2):
        (number,) = struct.unpack_from("<H", data, at)
        if number & 0x7FFF in versions:
            struct.pack_into("<H", data, at, ANY_VERSION)
