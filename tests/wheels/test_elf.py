"""The reader of ELF files; pyelftools is the oracle: the same answer or a problem, whatever the bytes."""

from __future__ import annotations

import os
import random
import re
import struct
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from bundler.model import FileFact, NativeFact
from bundler.wheels import elf
from elftools.construct import Container
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

from tests.support.nativemaker import compile_c, library

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PLAIN = "int f(void) { return 1; }\n"
THREADS = """
#include <pthread.h>
#include <math.h>
int f(double x) { pthread_t t; pthread_create(&t, 0, 0, 0); return exp(x); }
"""
PROGRAM = "int main(void) { return 0; }\n"


def read(path: Path) -> NativeFact:
    fact = elf.read(str(path), path=path.name)
    assert fact is not None
    return fact


def oracle(path: Path) -> dict[str, Any]:
    """What pyelftools makes of the segments; nothing of it is our code."""
    said: dict[str, Any] = {"needed": (), "soname": None, "rpath": (), "runpath": (), "versions": ()}
    with path.open("rb") as stream:
        file = ELFFile(stream)
        said["bits"] = file.elfclass
        segments = list(file.iter_segments())
        stack = [one for one in segments if one["p_type"] == "PT_GNU_STACK"]
        said["executable_stack"] = bool(stack[0]["p_flags"] & 1) if stack else True
        loads = [one for one in segments if one["p_type"] == "PT_LOAD"]
        said["writable_code"] = any(one["p_flags"] & 3 == 3 for one in loads)
        dynamic: Any
        for dynamic in [one for one in segments if one["p_type"] == "PT_DYNAMIC"][-1:]:
            tags: dict[str, int] = {}
            for tag in dynamic.iter_tags():
                tags[tag.entry.d_tag] = tag.entry.d_val
                match tag.entry.d_tag:
                    case "DT_NEEDED":
                        said["needed"] += (tag.needed,)
                    case "DT_SONAME":
                        said["soname"] = tag.soname
                    case "DT_RPATH":
                        said["rpath"] = tuple(tag.rpath.split(":"))
                    case "DT_RUNPATH":
                        said["runpath"] = tuple(tag.runpath.split(":"))
            if "DT_VERNEED" in tags:
                said["versions"] = _versions(file, dynamic, tags)
    return said


def _versions(file: ELFFile, dynamic: Any, tags: dict[str, int]) -> tuple[str, ...]:
    (offset,) = file.address_offsets(tags["DT_VERNEED"])
    header = Container(sh_offset=offset, sh_info=tags["DT_VERNEEDNUM"], sh_type="SHT_GNU_verneed")
    header.update({"sh_size": 0, "sh_flags": 0, "sh_addralign": 1})
    section = GNUVerNeedSection(header, ".gnu.version_r", file, dynamic._get_stringtable())
    pairs = (
        (need.name, aux.name)
        for need, every in section.iter_versions()
        for aux in every
        if not aux["vna_flags"] & 2
    )
    return tuple(sorted({f"{name}:{version}" for name, version in pairs}))


def compared(fact: NativeFact, said: dict[str, Any]) -> dict[str, Any]:
    return {key: getattr(fact, key) for key in said}


def native_files(root: Path) -> list[Path]:
    found = []
    for folder, _, names in os.walk(root):
        for name in names:
            path = root.__class__(folder, name)
            if path.is_file() and not path.is_symlink() and not name.endswith(elf.TEXT):
                with path.open("rb") as stream:
                    if stream.read(4) == elf.MAGIC:
                        found.append(path)
    return found


def test_interpreter_agrees_with_the_oracle(target_python: Path) -> None:
    prefix = target_python.resolve().parent.parent
    minor = target_python.name.removeprefix("python")
    files = [
        *native_files(prefix / "lib" / f"python{minor}" / "lib-dynload"),
        *native_files(prefix / "bin"),
    ]
    assert len(files) > 40
    for path in files:
        fact = read(path)
        assert fact.problem == ""
        assert fact.machine == "x86_64"
        assert fact.program is (path.parent.name == "bin")
        said = oracle(path)
        assert compared(fact, said) == said, path


BUILDS: dict[str, tuple[str, list[str], dict[str, Any]]] = {
    "plain": (PLAIN, [], {"soname": None, "executable_stack": False, "writable_code": False}),
    "soname": (PLAIN, ["-Wl,-soname,libx.so.3"], {"soname": "libx.so.3"}),
    "RUNPATH": (
        PLAIN,
        ["-Wl,--enable-new-dtags,-rpath,$ORIGIN/../x.libs:/opt/lib"],
        {"runpath": ("$ORIGIN/../x.libs", "/opt/lib"), "rpath": ()},
    ),
    "RPATH": (PLAIN, ["-Wl,--disable-new-dtags,-rpath,/a::b"], {"rpath": ("/a", "", "b"), "runpath": ()}),
    "executable stack": (PLAIN, ["-z", "execstack"], {"executable_stack": True}),
    "stripped": (THREADS, ["-s", "-lm"], {}),
    "threads": (THREADS, ["-lm", "-Wl,--no-as-needed"], {}),
    "old hash": (PLAIN, ["-Wl,--hash-style=sysv"], {}),
}


@pytest.mark.parametrize(("source", "flags", "expected"), BUILDS.values(), ids=BUILDS)
def test_built_files(tmp_path: Path, source: str, flags: list[str], expected: dict[str, Any]) -> None:
    path = compile_c(tmp_path / "x.so", source, *flags)
    fact = read(path)
    said = oracle(path)
    assert fact.problem == ""
    assert compared(fact, said) == said
    assert {key: getattr(fact, key) for key in expected} == expected


def test_writable_code(tmp_path: Path) -> None:
    path = compile_c(tmp_path / "x.so", PLAIN)
    content = bytearray(path.read_bytes())
    (start,), (size, count) = struct.unpack_from("<Q", content, 32), struct.unpack_from("<HH", content, 54)
    rows = [start + size * number for number in range(count)]
    (code,) = (row for row in rows if struct.unpack_from("<II", content, row) == (1, 5))
    struct.pack_into("<I", content, code + 4, 7)
    path.write_bytes(content)
    assert read(path).writable_code
    assert oracle(path)["writable_code"]


def test_needed_and_versions(tmp_path: Path) -> None:
    path = compile_c(tmp_path / "x.so", THREADS, "-Wl,--no-as-needed", library(tmp_path), "-lm")
    fact = read(path)
    assert "libfoo.so.1" in fact.needed
    assert {"libm.so.6", "libc.so.6"} <= set(fact.needed)
    assert any(re.fullmatch(r"libm\.so\.6:GLIBC_2\.\d+", one) for one in fact.versions)


UNVERSIONED = """
extern int __late(void), late(void), _ZSt4latev(void), __has_version(void);
extern int __weak_one(void) __attribute__((weak));
int __own(void) { return 1; }
int f(void) { return __late() + late() + _ZSt4latev() + __has_version() + __own() + (__weak_one ? 1 : 0); }
"""
DEFINING = (
    "int __late(void) { return 1; }\nint __twice(void) { return 1; }\nint __plain(void) { return 1; }\n"
)


@pytest.mark.parametrize("style", ["gnu", "sysv", "both"])
def test_names_without_a_version(tmp_path: Path, style: str) -> None:
    script = tmp_path / "versions"
    script.write_text("FOO_1 { __has_version; };\n")
    flags = [f"-Wl,--version-script={script}", "-Wl,-soname,libv.so.1"]
    versioned = compile_c(tmp_path / "libv.so.1", "int __has_version(void) { return 1; }\n", *flags)
    hashed = f"-Wl,--hash-style={style}"
    fact = read(compile_c(tmp_path / "x.so", UNVERSIONED, versioned, hashed))
    assert fact.unversioned == ("_ZSt4latev", "__late")  # neither the caller's names, nor weak ones
    assert "libv.so.1:FOO_1" in fact.versions
    assert read(compile_c(tmp_path / "y.so", PLAIN, hashed)).unversioned == ()


@pytest.mark.parametrize("style", ["gnu", "sysv", "both"])
def test_names_that_a_library_defines(tmp_path: Path, style: str) -> None:
    script = tmp_path / "versions"
    script.write_text("GLIBC_2.9 { __late; };\nGLIBC_2.30 { __twice; };\n")
    flags = (f"-Wl,--version-script={script}", f"-Wl,--hash-style={style}")
    path = compile_c(tmp_path / "x.so", DEFINING, *flags)
    asked = ["__late", "__twice", "__plain", "__no_such"]
    said = {"__late": ("GLIBC_2.9",), "__twice": ("GLIBC_2.30",), "__plain": ()}
    assert elf.defined(path, asked) == said
    user = compile_c(tmp_path / "user.so", UNVERSIONED, "-Wl,--unresolved-symbols=ignore-all")
    assert elf.defined(user, ["__late", "__own"]) == {"__own": ()}  # it needs the other one
    for content in (b"", b"no library", path.read_bytes()[:3000]):
        path.write_bytes(content)
        assert elf.defined(path, asked) == {}
    assert elf.defined(tmp_path / "none.so", asked) == {}


def section_headers_gone(content: bytes) -> bytes:
    """Cut the section headers off and say that there are none, as packers do."""
    (at,) = struct.unpack_from("<Q", content, 40)
    blank = struct.pack("<HHH", 0, 0, 0)
    return content[:40] + bytes(8) + content[48:58] + blank + content[64:at]


def test_section_headers_are_not_needed(tmp_path: Path) -> None:
    path = compile_c(tmp_path / "x.so", THREADS, "-lm", "-Wl,-rpath,/opt/lib")
    whole = read(path)
    path.write_bytes(section_headers_gone(path.read_bytes()))
    assert read(path) == whole
    assert whole.versions


def test_programs(tmp_path: Path) -> None:
    dynamic = read(compile_c(tmp_path / "tool", PROGRAM, shared=False))
    static = read(compile_c(tmp_path / "static", PROGRAM, "-static", shared=False))
    fixed = read(compile_c(tmp_path / "fixed", PROGRAM, "-no-pie", shared=False))
    assert [one.program for one in (dynamic, static, fixed)] == [True, True, True]
    assert [one.problem for one in (dynamic, static, fixed)] == ["", "", ""]
    assert (static.needed, dynamic.needed, fixed.needed) == ((), ("libc.so.6",), ("libc.so.6",))


@pytest.mark.parametrize(
    ("order", "bits", "number", "machine"),
    [
        ("<", 64, 183, "aarch64"),
        ("<", 32, 3, "i686"),
        (">", 32, 20, "ppc"),
        (">", 64, 22, "s390x"),
        ("<", 64, 21, "ppc64le"),
        (">", 64, 21, "ppc64"),
        ("<", 64, 4711, "machine 4711"),
    ],
)
def test_other_machines(tmp_path: Path, order: str, bits: int, number: int, machine: str) -> None:
    path = tmp_path / "libx.so"
    path.write_bytes(handmade(order=order, bits=bits, machine=number))
    fact = read(path)
    assert (fact.problem, fact.machine, fact.bits) == ("", machine, bits)
    assert (fact.soname, fact.needed) == ("libx.so.1", ("liby.so", "libz.so.2"))
    # Of several search paths the loader keeps the last.
    assert (fact.rpath, fact.runpath) == (("/second",), ())
    said = oracle(path)
    del said["executable_stack"]  # what a file gets that says nothing depends on the machine
    assert compared(fact, said) == said
    assert fact.executable_stack is (machine == "i686")


def handmade(
    *,
    order: str,
    bits: int,
    machine: int,
    extra: Sequence[tuple[int, int]] = (),
    loaded: tuple[int, int] | None = None,
    gap: int | None = None,
) -> bytes:
    """A shared library of one loaded segment that begins with the file.

    :param loaded: its size in the file and in memory; by default all of it.
    :param gap: make it two, so many bytes of memory apart, of which the second begins within the names.
    """
    strings = b"\0libx.so.1\0liby.so\0libz.so.2\0/first\0/second\0"
    offsets = {
        name: strings.index(name.encode()) for name in ("libx.so.1", "liby", "libz", "/first", "/second")
    }
    word = "Q" if bits == 64 else "I"
    head_size, row_size = (64, 56) if bits == 64 else (52, 32)
    count = 2 if gap is None else 3
    dynamic_at = head_size + count * row_size
    rows = [
        (14, offsets["libx.so.1"]),
        (1, offsets["liby"]),
        (15, offsets["/first"]),
        (1, offsets["libz"]),
        (15, offsets["/second"]),
        (10, len(strings)),
        *extra,
    ]
    strings_at = dynamic_at + (len(rows) + 2) * 2 * (bits // 8)
    rows += [(5, strings_at), (0, 0)]
    dynamic = b"".join(struct.pack(f"{order}{word}{word}", *row) for row in rows)
    size = strings_at + len(strings)
    head = struct.pack(
        f"{order}HHI{word}{word}{word}IHHHHHH",
        3, machine, 1, 0, head_size, 0, 0, head_size, row_size, count, 0, 0, 0,
    )  # fmt: skip
    ident = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    segments = b""
    in_file, in_memory = loaded or (size, size)
    parts = [(1, 0, 0, in_file, in_memory)]
    if gap is not None:
        seam = strings_at + offsets["liby"] + 2
        parts = [(1, 0, 0, seam, seam), (1, seam, seam + gap, size - seam, size - seam)]
    for kind, at, address, length, memory in (
        *parts,
        (2, dynamic_at, dynamic_at, len(dynamic), len(dynamic)),
    ):
        values = (
            (kind, 6, at, address, address, length, memory, 8)
            if bits == 64
            else (kind, at, address, address, length, memory, 6, 4)
        )
        segments += struct.pack(f"{order}II{word * 3}" + ("QQQ" if bits == 64 else "III"), *values)
    return ident + head + segments + dynamic + strings


LINKER_SCRIPT = b"/* GNU ld script */\nINPUT(libtbb.so.12)\n"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("libtbb.so", LINKER_SCRIPT, "it is not an ELF file"),
        ("libtbb.so.12.1", b"x", "it is not an ELF file"),
        ("x.so", b"\x7fELF", "its ELF header is damaged"),
        ("x", b"\x7fELF" + bytes(100), "its ELF header is damaged"),
        ("notes.txt.so.gz", b"\x1f\x8b", None),
        ("data.bin", b"\x7fEL", None),
        ("tool.sh", b"#!/bin/sh\n", None),
    ],
)
def test_what_is_no_elf(tmp_path: Path, name: str, content: bytes, problem: str | None) -> None:
    (tmp_path / name).write_bytes(content)
    fact = elf.read(str(tmp_path / name), path=name)
    assert (fact.problem if fact else None) == problem


def test_object_file(tmp_path: Path) -> None:
    path = compile_c(tmp_path / "x.o", PLAIN, "-c", shared=False)
    assert elf.read(str(path), path="x.o") is None
    path = path.rename(tmp_path / "x.so")
    assert read(path).problem == "it is an object file, not a shared library"


def test_cut_off(tmp_path: Path) -> None:
    path = compile_c(tmp_path / "x.so", THREADS, "-lm")
    content = path.read_bytes()
    for size in (len(content) // 2, 4096, 200, 64, 60, 52, 20):
        path.write_bytes(content[:size])
        fact = read(path)
        assert re.search("cut off|damaged", fact.problem), (size, fact)
    assert "bytes of at least" in replace(fact, problem="3 bytes of at least 4").problem


@pytest.mark.parametrize(
    ("loaded", "problem"),
    [
        ((176, 176), ""),  # as patchelf leaves cmdstan's programs in prophet's wheels
        ((176, 177), "lies in no segment"),  # the loader fills the rest of the page with zeros
        ((0, 0), "lies in no segment"),
    ],
)
def test_whole_pages_are_mapped(tmp_path: Path, loaded: tuple[int, int], problem: str) -> None:
    (tmp_path / "x.so").write_bytes(handmade(order="<", bits=64, machine=62, loaded=loaded))
    fact = read(tmp_path / "x.so")
    assert problem in fact.problem
    assert (fact.soname == "libx.so.1") == (not problem)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize(
    ("gap", "problem"), [(0, ""), (1, "a name in it does not end"), (4096, "does not end")]
)
def test_a_table_that_goes_on_in_the_next_segment(tmp_path: Path, bits: int, gap: int, problem: str) -> None:
    """As patchelf leaves the names of plasma_store_server (pyarrow 0.13): the segments adjoin in memory."""
    content = handmade(order="<", bits=bits, machine=62 if bits == 64 else 3, gap=gap)
    (tmp_path / "x.so").write_bytes(content)
    fact = read(tmp_path / "x.so")
    assert problem in fact.problem
    assert fact.needed == (() if problem else ("liby.so", "libz.so.2"))


VERNEED, VERNEEDNUM, STRSZ = 0x6FFFFFFE, 0x6FFFFFFF, 10


@pytest.mark.parametrize(
    ("extra", "problem"),
    [
        ([(VERNEED, 0x10), (VERNEEDNUM, 1)], "name|table"),
        ([(VERNEED, 1 << 60), (VERNEEDNUM, 1)], "lies in no segment"),
        ([(1, 1 << 40)], "does not end"),
        ([(1, (1 << 64) - 1)], "does not end"),
        ([(15, (1 << 63) + 5)], "does not end"),
        ([(STRSZ, 3)], "contradicts itself"),
        ([(1, 1)] * (elf.LIST_LIMIT + 1), "too many"),
        ([(99, 1)] * (elf.ENTRY_LIMIT + 1), "too long"),
    ],
)
def test_hostile_numbers(tmp_path: Path, extra: list[tuple[int, int]], problem: str) -> None:
    (tmp_path / "x.so").write_bytes(handmade(order="<", bits=64, machine=62, extra=extra))
    assert re.search(problem, read(tmp_path / "x.so").problem)


def variants(content: bytes, count: int) -> list[bytes]:
    """Flips and cuts at places that a fixed seed chooses; half of them in what is read."""
    chance = random.Random(20200101)
    found = []
    for number in range(count):
        changed = bytearray(content)
        if number % 8 == 0:
            del changed[chance.randrange(len(content)) :]
        for _ in range(chance.choice((1, 1, 1, 4))):
            if changed:
                at = chance.randrange(len(changed) if number % 2 else min(1200, len(changed)))
                changed[at] ^= 1 << chance.randrange(8)
        found.append(bytes(changed))
    return found


def _asked(path: Path) -> dict[str, Any] | None:
    """What the oracle says, or `None` where it can make nothing of a file."""
    try:
        return oracle(path)
    except Exception:  # noqa: BLE001 - it raises whatever damaged numbers lead to
        return None


@pytest.mark.thorough
def test_fuzz(tmp_path: Path) -> None:
    whole = compile_c(tmp_path / "whole.so", THREADS, "-lm", "-Wl,-soname,libq.so.1,-rpath,$ORIGIN/q:/opt")
    stripped = section_headers_gone(whole.read_bytes())
    path = tmp_path / "x.so"
    agreed = 0
    for content in (*variants(stripped, 300), *variants(handmade(order=">", bits=32, machine=20), 200)):
        path.write_bytes(content)
        started = time.process_time()
        fact = elf.read(str(path), path="x.so")
        elf.defined(path, ["f", "__late"])
        assert time.process_time() - started < 1
        assert fact is not None
        if fact.problem or (said := _asked(path)) is None:
            continue
        del said["executable_stack"]
        assert compared(fact, said) == said, content[:1200]
        agreed += 1
    assert agreed > 150


def test_scan_finds_programs_and_libraries(tmp_path: Path) -> None:
    site = "lib/python3.8/site-packages"
    compile_c(tmp_path / "bin/tool", PROGRAM, shared=False)
    compile_c(tmp_path / site / "pack/data/helper", PROGRAM, shared=False)
    compile_c(tmp_path / site / "pack/fast.abi3.so", PLAIN)
    library(tmp_path / site / "pack.libs")
    (tmp_path / site / "pack/data.bin").write_bytes(b"data")
    files = [
        FileFact(path=str(path.relative_to(tmp_path)), sha256="", size=path.stat().st_size)
        for path in sorted(tmp_path.rglob("*"))
        if path.is_file()
    ]
    assert [(one.path, one.program) for one in elf.scan(tmp_path, files)] == [
        ("bin/tool", True),
        (f"{site}/pack/data/helper", True),
        (f"{site}/pack/fast.abi3.so", False),
        (f"{site}/pack.libs/libfoo.so.1", False),
    ]
