"""Reads ELF files as the loader does: by program headers, so that stripped section headers do not matter.

The format: https://refspecs.linuxfoundation.org/elf/gabi4+/contents.html; symbol versions:
https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/symversion.html.
Files are hostile: every number read is checked before it is used, and every list has a limit.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bundler.lazy_dataclass import dataclass
from bundler.model import FileFact, NativeFact

MAGIC = b"\x7fELF"
NAMED_SO = re.compile(r"\.so(\.[0-9][0-9A-Za-z]*)*$")
TEXT = (
    *(".py", ".pyc", ".pyi", ".txt", ".md", ".rst", ".json"),
    *(".h", ".hpp", ".pyx", ".pxd", ".c", ".js", ".css"),
)
"""Suffixes of most files, which are neither programs nor libraries and are not opened."""
MACHINES = {
    3: "i686",
    8: "mips",
    20: "ppc",
    22: "s390x",
    40: "armv7l",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}
"""e_machine → `platform.machine()`; ppc64 depends on the byte order."""
PPC64 = 21
STACK_EXECUTABLE_BY_DEFAULT = frozenset({"i686", "x86_64"})
"""Where a file that does not say so gets an executable stack (DEFAULT_STACK_PERMS of glibc)."""

LINUX = frozenset({0, 3})
"""ELFOSABI_SYSV and ELFOSABI_GNU: the only ones that glibc loads."""
ET_EXEC, ET_DYN = 2, 3
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_GNU_STACK = 1, 2, 3, 0x6474E551
PF_X, PF_W = 1, 2
DT_NULL, DT_NEEDED, DT_STRTAB, DT_STRSZ, DT_SONAME, DT_RPATH, DT_RUNPATH = 0, 1, 5, 10, 14, 15, 29
DT_VERNEED, DT_VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
SINGLE = frozenset({DT_STRTAB, DT_STRSZ, DT_VERNEED, DT_VERNEEDNUM})
DT_HASH, DT_SYMTAB, DT_GNU_HASH, DT_VERSYM, DT_VERDEF = 4, 6, 0x6FFFFEF5, 0x6FFFFFF0, 0x6FFFFFFC
OF_SYMBOLS = frozenset({DT_HASH, DT_SYMTAB, DT_GNU_HASH, DT_VERSYM, DT_VERDEF})
VER_FLG_WEAK = 2
SHN_UNDEF, STB_GLOBAL = 0, 1
VERSION_NUMBER = 0x7FFF
"""The bits of an entry of DT_VERSYM that number a version; 0 and 1 are none."""

NOT_ELF = "it is not an ELF file"
NAME_LIMIT = 4096
"""Bytes of a name of a library or version (PATH_MAX)."""
PATH_LIMIT = 64 << 10
"""Bytes of a search path."""
ENTRY_LIMIT = 64 << 10
"""Entries of a dynamic section."""
PAGE = 4096
LIST_LIMIT = 4096
"""Libraries, search paths and versions that one file may name; real ones have a few hundred at most."""
SYMBOL_LIMIT = 1 << 20
"""Entries of a symbol table; the libraries of PyTorch have some 200,000."""
OF_THE_RUNTIME = re.compile(rb"_Z(?:T[ISTV])?N?K?S[tsiod]|_Z(?:n[wa]|d[la])|__[a-z]")
"""How names of the C++ runtime begin (namespace std, new, delete), and those that are reserved for the
compiler and the C library (`__cxa_throw`, `__libc_single_threaded`)."""


class _UnloadableError(Exception):
    """The loader cannot take a file; the message says why."""


@dataclass(frozen=True, kw_only=True)
class _Segment:
    kind: int
    flags: int
    offset: int
    address: int
    size: int
    """Bytes in the file."""
    memory: int
    """Bytes once it is loaded."""


@dataclass(frozen=True, kw_only=True)
class _Image:
    """An ELF file and what its header says."""

    data: mmap.mmap
    size: int
    order: str
    bits: int
    system: int
    """EI_OSABI."""
    machine: str
    kind: int
    segments: tuple[_Segment, ...]

    def unpack(self, layout: str, offset: int, end: int) -> tuple[int, ...]:
        """Read numbers at an offset of the file, where they must end before `end`."""
        if offset + struct.calcsize(self.order + layout) > min(end, self.size):
            raise _UnloadableError("a table in it reaches beyond its segment")
        return struct.unpack_from(self.order + layout, self.data, offset)

    def place(self, address: int) -> tuple[int, int]:
        """Return where an address lies in the file, and where what is mapped from there on ends."""
        for one in self.segments:
            if one.kind == PT_LOAD and one.address <= address < one.address + one.size:
                return one.offset + address - one.address, self._end(one)
        for one in self.segments:
            # Whole pages are mapped: patchelf leaves a dynamic section behind the end of its segment.
            end = -(-(one.address + one.size) // PAGE) * PAGE
            if one.kind == PT_LOAD and one.memory == one.size and one.address <= address < end:
                return one.offset + address - one.address, one.offset + end - one.address
        raise _UnloadableError(f"the address {address:#x} in it lies in no segment")

    def _end(self, segment: _Segment) -> int:
        """Return where a segment ends in the file, with those that adjoin it there and in memory.

        patchelf leaves tables that begin in one segment and end in the next (plasma_store_server of pyarrow).
        """
        loaded = {(one.address, one.offset): one for one in self.segments if one.kind == PT_LOAD and one.size}
        end = (segment.address + segment.size, segment.offset + segment.size)
        while following := loaded.pop(end, None):
            end = (following.address + following.size, following.offset + following.size)
        return end[1]


def scan(tree: Path, files: Iterable[FileFact]) -> tuple[NativeFact, ...]:
    """Read every ELF file of a wheel's tree, in the order of `files`."""
    root = f"{tree}/"
    found = (
        read(root + file.path, path=file.path) for file in files if file.size and not file.path.endswith(TEXT)
    )
    return tuple(fact for fact in found if fact is not None)


def read(file: str, *, path: str) -> NativeFact | None:
    """Read one file.

    :param file: where it is.
    :param path: for the fact.
    :return: `None` for what is neither a program or library nor named like one.
    """
    named = NAMED_SO.search(file) is not None
    stream = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        if os.read(stream, 4) != MAGIC:
            return NativeFact(path=path, problem=NOT_ELF) if named else None
        with mmap.mmap(stream, 0, access=mmap.ACCESS_READ) as data:
            try:
                image = _image(data)
            except _UnloadableError as error:
                return NativeFact(path=path, problem=str(error))
            if image.kind not in {ET_EXEC, ET_DYN} and not named:
                return None  # an object file or a core dump: nobody loads it
            return _fact(image, path=path, named=named)
    finally:
        os.close(stream)


def _image(data: mmap.mmap) -> _Image:
    size = len(data)
    if size < 52 or data[4] not in {1, 2} or data[5] not in {1, 2}:
        raise _UnloadableError("its ELF header is damaged")
    bits, order = (64 if data[4] == 2 else 32), ("<" if data[5] == 1 else ">")
    head = struct.Struct(order + ("HHIQQQIHHH" if bits == 64 else "HHIIIIIHHH"))
    if size < 16 + head.size:
        raise _UnloadableError("its ELF header is cut off")
    kind, machine, _, _, start, _, _, _, entry_size, count = head.unpack_from(data, 16)
    row = struct.Struct(order + ("IIQQQQQQ" if bits == 64 else "IIIIIIII"))
    if entry_size != row.size and count:
        raise _UnloadableError("its program headers have an unknown size")
    if start + count * row.size > size:
        raise _UnloadableError("it is cut off within its program headers")
    name = MACHINES.get(machine, f"machine {machine}")
    if machine == PPC64:
        name = "ppc64le" if order == "<" else "ppc64"
    return _Image(
        data=data,
        size=size,
        order=order,
        bits=bits,
        system=data[7],
        machine=name,
        kind=kind,
        segments=tuple(_segments(data[start : start + count * row.size], row, bits)),
    )


def _segments(table: bytes, row: struct.Struct, bits: int) -> Iterator[_Segment]:
    for values in row.iter_unpack(table):
        if bits == 64:
            kind, flags, offset, address, _, size, memory, _ = values
        else:
            kind, offset, address, _, size, memory, flags, _ = values
        yield _Segment(kind=kind, flags=flags, offset=offset, address=address, size=size, memory=memory)


def _fact(image: _Image, *, path: str, named: bool) -> NativeFact:
    stack = next((one for one in image.segments if one.kind == PT_GNU_STACK), None)
    interpreted = any(one.kind == PT_INTERP for one in image.segments)
    problem = ""
    dynamic: dict[str, Any] = {}
    try:
        _check_header(image, library=named)
        dynamic = _dynamic(image, library=named)
    except _UnloadableError as error:
        problem = str(error)
    return NativeFact(
        path=path,
        problem=problem,
        machine=image.machine,
        bits=image.bits,
        program=image.kind == ET_EXEC or (interpreted and not named),
        executable_stack=bool(stack.flags & PF_X)
        if stack
        else image.machine in STACK_EXECUTABLE_BY_DEFAULT and not problem,
        writable_code=any(
            one.kind == PT_LOAD and one.flags & PF_X and one.flags & PF_W for one in image.segments
        ),
        **dynamic,
    )


def _check_header(image: _Image, *, library: bool) -> None:
    if image.kind not in {ET_EXEC, ET_DYN}:
        raise _UnloadableError("it is an object file, not a shared library")
    if library and image.system not in LINUX:
        raise _UnloadableError("it is for another operating system")
    loads = [one for one in image.segments if one.kind == PT_LOAD]
    if not loads:
        raise _UnloadableError("it has no segments to load")
    end = max(one.offset + one.size for one in loads)
    if end > image.size:
        # The loader maps it all the same, and the process dies of SIGBUS on the first missing page.
        raise _UnloadableError(f"it is cut off: {image.size} bytes of at least {end}")


def _dynamic(image: _Image, *, library: bool) -> dict[str, Any]:
    """Return the members of a `NativeFact` that the dynamic section tells; none for a static program."""
    # glibc passes over an empty one, which a file of debug information has.
    segments = [one for one in image.segments if one.kind == PT_DYNAMIC and one.size]
    if not segments:
        if library:
            raise _UnloadableError("it has no dynamic section")
        return {}
    texts, tags = _collect(image, segments[-1])
    if DT_STRTAB not in tags:
        if not any(texts.values()) and DT_VERNEED not in tags:
            return {}
        raise _UnloadableError("it has no string table")
    strings = _Strings(image, tags[DT_STRTAB], tags.get(DT_STRSZ))
    paths = {
        # Some linkers wrote several: the last of a kind is the one that the loader keeps.
        tag: tuple(part for offset in texts[tag][-1:] for part in strings.at(offset, PATH_LIMIT).split(":"))
        for tag in (DT_RPATH, DT_RUNPATH)
    }
    if sum(map(len, paths.values())) > LIST_LIMIT:
        raise _UnloadableError("its search path is too long")
    return {
        "soname": strings.at(texts[DT_SONAME][-1]) if texts[DT_SONAME] else None,
        "needed": tuple(strings.at(offset) for offset in texts[DT_NEEDED]),
        "rpath": paths[DT_RPATH],
        "runpath": paths[DT_RUNPATH],
        "versions": tuple(sorted(_versions(image, tags, strings))),
        "unversioned": _unversioned(image, tags, strings),
    }


def _collect(image: _Image, segment: _Segment) -> tuple[dict[int, list[int]], dict[int, int]]:
    """Return the offsets of names by tag, and the other tags that matter with their values."""
    start, end = image.place(segment.address)
    if start != segment.offset:
        raise _UnloadableError("its dynamic section is not where its headers say")
    texts: dict[int, list[int]] = {DT_NEEDED: [], DT_SONAME: [], DT_RPATH: [], DT_RUNPATH: []}
    tags: dict[int, int] = {}
    for tag, value in _entries(image, start, end):
        if tag in texts:
            texts[tag].append(value)
            if len(texts[tag]) > LIST_LIMIT:
                raise _UnloadableError("it names too many libraries")
        elif tag in SINGLE:
            if tag in tags:
                raise _UnloadableError("its dynamic section contradicts itself")
            tags[tag] = value
        elif tag in OF_SYMBOLS:
            tags[tag] = value
    return texts, tags


def _entries(image: _Image, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield tags and values up to DT_NULL: the loader asks for no size."""
    layout = "QQ" if image.bits == 64 else "II"
    step = struct.calcsize(image.order + layout)
    for index in range(ENTRY_LIMIT):
        tag, value = image.unpack(layout, start + index * step, end)
        if tag == DT_NULL:
            return
        yield tag, value
    raise _UnloadableError("its dynamic section is too long")


class _Strings:
    """The dynamic string table."""

    def __init__(self, image: _Image, address: int, size: int | None) -> None:
        self._data = image.data
        self._start, end = image.place(address)
        end = min(end, len(image.data))
        self._end = min(end, self._start + size) if size is not None else end

    def at(self, offset: int, limit: int = NAME_LIMIT) -> str:
        start = self._start + offset
        # Compared first: a number of 64 bits is more than `find` takes.
        end = self._data.find(b"\0", start, min(self._end, start + limit + 1)) if start < self._end else -1
        if end < 0:
            raise _UnloadableError("a name in it does not end")
        text = self._data[start:end].decode("utf-8", errors="replace")
        if any(ord(char) < 32 or ord(char) == 127 for char in text):
            raise _UnloadableError("a name in it holds control characters")
        return text

    def raw(self, offset: int) -> bytes:
        """Return a name as it is; empty where it does not end within the limit."""
        start = self._start + offset
        end = self._data.find(b"\0", start, min(self._end, start + NAME_LIMIT)) if start < self._end else -1
        return self._data[start:end] if end > 0 else b""


def _versions(image: _Image, tags: dict[int, int], strings: _Strings) -> set[str]:
    """Follow DT_VERNEED (the structures Verneed and Vernaux); weak needs do not stop the loader."""
    found: set[str] = set()
    if DT_VERNEED not in tags:
        return found
    at, end = image.place(tags[DT_VERNEED])
    files = total = 0
    following = 1
    while following:
        _, count, file, first, following = image.unpack("HHIII", at, end)
        library = strings.at(file)
        aux, onward = at + first, 1
        for _ in range(count):
            if not onward:
                raise _UnloadableError("its table of versions contradicts itself")
            _, flags, _, name, onward = image.unpack("IHHII", aux, end)
            if not flags & VER_FLG_WEAK:
                found.add(f"{library}:{strings.at(name)}")
            aux += onward
            total += 1
        files += 1
        at += following
        if onward or files > tags.get(DT_VERNEEDNUM, 0):
            raise _UnloadableError("its table of versions contradicts itself")
        if total > LIST_LIMIT:
            raise _UnloadableError("it needs too many versions")
    if files != tags.get(DT_VERNEEDNUM):
        raise _UnloadableError("its table of versions contradicts itself")
    return found


def _unversioned(image: _Image, tags: dict[int, int], strings: _Strings) -> tuple[str, ...]:
    """Return the names of the runtime that the file needs in no version, sorted.

    The linker writes no version where the library that it was shown lacks the name, as with objects that a
    newer compiler made. The loader refuses such a file all the same where nothing defines the name.
    """
    found = set()
    try:
        symbols = _Symbols(image, tags)
        for index in range(1, symbols.before_defined()):
            name, defined, bind, version = symbols.at(index)
            if not defined and bind == STB_GLOBAL and version < 2:
                text = strings.raw(name)
                if OF_THE_RUNTIME.match(text):
                    found.add(text.decode("ascii", errors="replace"))
    except _UnloadableError:
        return ()  # the loader looks names up in another way: this is no reason to refuse the file
    return tuple(sorted(found)[:LIST_LIMIT])


def defined(file: Path, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return which of some symbols a library defines, with the versions in which it does, sorted.

    What is no library defines none.
    """
    found: dict[str, tuple[str, ...]] = {}
    try:
        stream = os.open(file, os.O_RDONLY)
    except OSError:
        return found
    try:
        if os.read(stream, 4) != MAGIC:
            return found
        with mmap.mmap(stream, 0, access=mmap.ACCESS_READ) as data:
            image = _image(data)
            segments = [one for one in image.segments if one.kind == PT_DYNAMIC and one.size]
            tags = _collect(image, segments[-1])[1]
            strings, symbols = _Strings(image, tags[DT_STRTAB], tags.get(DT_STRSZ)), _Symbols(image, tags)
            versions = _defined_versions(image, tags, strings)
            for name in names:
                rows = [symbols.at(index) for index in symbols.hashed(name.encode())]
                numbers = [row[3] for row in rows if row[1] and strings.raw(row[0]) == name.encode()]
                if numbers:
                    found[name] = tuple(sorted({versions[one] for one in numbers if one in versions}))
    except (_UnloadableError, IndexError, KeyError):
        pass  # damaged: it is refused for that
    finally:
        os.close(stream)
    return found


class _Symbols:
    """The dynamic symbol table, which has no length: the hash tables tell what is in it."""

    def __init__(self, image: _Image, tags: dict[int, int]) -> None:
        self._image, self._tags = image, tags
        self._layout = "IBBHQQ" if image.bits == 64 else "IIIBBH"
        self._size = struct.calcsize(image.order + self._layout)
        self._rows = image.place(tags[DT_SYMTAB]) if DT_SYMTAB in tags else None
        self._versions = image.place(tags[DT_VERSYM]) if DT_VERSYM in tags else None

    def at(self, index: int) -> tuple[int, bool, int, int]:
        """Return an entry's name (an offset), whether it is defined, its binding, its version's number."""
        if self._rows is None:
            raise _UnloadableError("it has no symbol table")
        start, end = self._rows
        row = self._image.unpack(self._layout, start + index * self._size, end)
        name, kind, section = (row[0], row[1], row[3]) if self._image.bits == 64 else (row[0], row[3], row[5])
        number = 0
        if self._versions is not None:
            (number,) = self._image.unpack("H", self._versions[0] + 2 * index, self._versions[1])
        return name, section != SHN_UNDEF, kind >> 4, number & VERSION_NUMBER

    def before_defined(self) -> int:
        """Return how many entries there are before the first that GNU's hash table has: undefined ones."""
        table = DT_GNU_HASH if DT_GNU_HASH in self._tags else DT_HASH
        if table not in self._tags:
            return 0
        at, end = self._image.place(self._tags[table])
        return min(self._image.unpack("II", at, end)[1], SYMBOL_LIMIT)

    def hashed(self, name: bytes) -> Iterator[int]:
        """Yield the entries that a hash table has for a name, and maybe others."""
        if DT_GNU_HASH in self._tags:
            yield from self._in_gnu_hash(name)
        elif DT_HASH in self._tags:
            yield from self._in_hash(name)

    def _in_gnu_hash(self, name: bytes) -> Iterator[int]:
        at, end = self._image.place(self._tags[DT_GNU_HASH])
        buckets, first, words, _ = self._image.unpack("IIII", at, end)
        wanted = 5381
        for char in name:
            wanted = (wanted * 33 + char) & 0xFFFFFFFF
        start = at + 16 + words * (8 if self._image.bits == 64 else 4)
        (index,) = self._image.unpack("I", start + 4 * (wanted % max(buckets, 1)), end)
        for number in range(index, SYMBOL_LIMIT) if index >= max(first, 1) else ():
            (digest,) = self._image.unpack("I", start + 4 * (buckets + number - first), end)
            if digest | 1 == wanted | 1:
                yield number
            if digest & 1:
                return

    def _in_hash(self, name: bytes) -> Iterator[int]:
        at, end = self._image.place(self._tags[DT_HASH])
        buckets, count = self._image.unpack("II", at, end)
        wanted = 0
        for char in name:
            wanted = (wanted << 4) + char
            high = wanted & 0xF0000000
            wanted = (wanted ^ (high >> 24)) & ~high & 0xFFFFFFFF
        (index,) = self._image.unpack("I", at + 8 + 4 * (wanted % max(buckets, 1)), end)
        for _ in range(min(count, SYMBOL_LIMIT)):
            if not index:
                return
            yield index
            (index,) = self._image.unpack("I", at + 8 + 4 * (buckets + index), end)


def _defined_versions(image: _Image, tags: dict[int, int], strings: _Strings) -> dict[int, str]:
    """Follow DT_VERDEF (the structures Verdef and Verdaux): number → name."""
    found: dict[int, str] = {}
    if DT_VERDEF not in tags:
        return found
    at, end = image.place(tags[DT_VERDEF])
    for _ in range(LIST_LIMIT):
        _, _, number, _, _, aux, following = image.unpack("HHHHIII", at, end)
        if number & VERSION_NUMBER > 1:  # the first is the library itself
            found[number & VERSION_NUMBER] = strings.at(image.unpack("I", at + aux, end)[0])
        if not following:
            break
        at += following
    return found
