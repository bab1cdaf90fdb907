"""What does not fit the target: each check with what it must find and what it must leave alone."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from bundler.checks.rules import system_libraries
from bundler.checks.rules.libraries import KnownLibraries
from bundler.model import FileFact, NativeFact, Target
from bundler.targets.image import ImageTarget
from bundler.wheels import trees

from tests.support.bundlemaker import target
from tests.support.nativefacts import EXTENSION, LIBS, SITE, check, found, native, pack, profile
from tests.support.nativemaker import LIBRARY, compile_c, extension, library
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command


def with_glibc(*version: int) -> Target:
    return replace(target(), glibc=(version[0], version[1]))


# --- EB301, EB302: symbol versions ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("versions", "glibc", "expected"),
    [
        (("libc.so.6:GLIBC_2.17", "libm.so.6:GLIBC_2.2.5"), (2, 17), []),
        (("libc.so.6:GLIBC_2.18",), (2, 17), ["GLIBC_2.18"]),
        (("libm.so.6:GLIBC_2.29", "libc.so.6:GLIBC_2.34"), (2, 31), ["GLIBC_2.34"]),
        (("libc.so.6:GLIBC_2.4",), (2, 31), []),  # a number, not a decimal fraction
        (("libc.so.6:GLIBC_ABI_DT_RELR",), (2, 35), ["GLIBC_2.36"]),
        (("libc.so.6:GLIBC_ABI_DT_RELR",), (2, 36), []),
        (("libc.so.6:GLIBC_PRIVATE", "libfoo.so.1:FOO_9.9"), (2, 17), []),
        (("libstdc++.so.6:GLIBCXX_3.4.25",), (2, 27), []),
        (("libstdc++.so.6:GLIBCXX_3.4.26",), (2, 27), ["GLIBCXX_3.4.26"]),
        (("libstdc++.so.6:GLIBCXX_3.4.29",), (2, 33), ["GLIBCXX_3.4.29"]),
        (("libstdc++.so.6:GLIBCXX_3.4.30",), (2, 36), []),
        (("libstdc++.so.6:CXXABI_1.3.13",), (2, 31), ["CXXABI_1.3.13"]),
        (("libstdc++.so.6:CXXABI_1.3.9",), (2, 31), []),
        (("libstdc++.so.6:CXXABI_TM_1",), (2, 17), []),
        (("libgcc_s.so.1:GCC_12.0.0",), (2, 31), ["GCC_12.0.0"]),
        (("libgcc_s.so.1:GCC_3.0",), (2, 17), []),
    ],
)
def test_symbol_versions(versions: tuple[str, ...], glibc: tuple[int, int], expected: list[str]) -> None:
    findings = check(pack(native(versions=versions)), aim=with_glibc(*glibc))
    assert [one.code for one in findings] == [
        "EB301" if text.startswith("GLIBC_") else "EB302" for text in expected
    ]
    for one, text in zip(findings, expected, strict=True):
        assert text in one.cause
        assert EXTENSION in one.cause
        assert (one.severity, one.chain) == ("error", ("top", "pack"))


@pytest.mark.parametrize(
    ("newest", "needs", "expected"),
    [
        ((3, 4, 30), "3.4.30", []),
        ((3, 4, 30), "3.4.31", [("EB302", "error")]),
        ((3, 4, 22), "3.4.28", [("EB302", "error")]),
        (None, "3.4.28", []),
    ],
)
def test_the_runtime_of_the_image_decides_where_it_is_known(
    newest: tuple[int, ...] | None, needs: str, expected: list[tuple[str, str]]
) -> None:
    image = KnownLibraries(image=replace(profile(), target=ImageTarget(glibcxx=newest)))
    bad = pack(native(versions=(f"libstdc++.so.6:GLIBCXX_{needs}",)))
    findings = check(bad, aim=with_glibc(2, 31), known=image)
    assert [(one.code, one.severity) for one in findings] == expected
    assert all(f"the image {profile().name} has GLIBCXX_3.4." in one.cause for one in findings)


def test_highest_version_names_its_files() -> None:
    files = [
        native(f"{SITE}/pack/m{number}.abi3.so", versions=("libc.so.6:GLIBC_2.34",)) for number in range(5)
    ]
    files.append(native(versions=("libc.so.6:GLIBC_2.33",)))
    (one,) = check(pack(*files))
    assert "m0.abi3.so" in one.cause
    assert "and 2 more" in one.cause
    assert "fast" not in one.cause


def test_version_that_is_built_here_has_another_remedy() -> None:
    bad = pack(native(versions=("libc.so.6:GLIBC_2.34",)))
    assert "built here" not in check(bad)[0].remedy
    assert "built here" in check(bad, built=["pack"])[0].remedy


def test_bundled_runtime_satisfies() -> None:
    needs = native(
        needed=("libstdc++.so.6",),
        versions=("libstdc++.so.6:GLIBCXX_3.4.30",),
        rpath=("$ORIGIN/../pack.libs",),
    )
    copy = native(f"{LIBS}/libstdc++.so.6", soname="libstdc++.so.6")
    assert found(pack(needs)) == [("EB302", "error")]
    assert found(pack(needs, copy)) == []


@pytest.mark.parametrize(
    ("path", "known", "severity"),
    [
        (f"{SITE}/pack/libplain.so", KnownLibraries(), "warning"),
        (f"{SITE}/pack/libplain.so", KnownLibraries(loaded=(f"{SITE}/pack/libplain.so",)), "error"),
        (f"{SITE}/pack/plugins/libplain.so", KnownLibraries(), "info"),
        ("bin/tool", KnownLibraries(), "warning"),
    ],
)
def test_version_of_what_no_import_loads(path: str, known: KnownLibraries, severity: str) -> None:
    bad = native(path, versions=("libc.so.6:GLIBC_2.34",), program=path == "bin/tool")
    assert found(pack(bad), known=known) == [("EB301", severity)]


@pytest.mark.parametrize(
    ("roots", "loaded", "severity"),
    [
        (["other"], (), "warning"),
        (["other"], (EXTENSION,), "error"),
        (["pack"], (), "error"),
    ],
)
def test_version_of_a_module_that_nothing_reached_loads(
    roots: list[str], loaded: tuple[str, ...], severity: str
) -> None:
    """thrift of pymapd: built here, its fastbinary does not load on Debian 11, and thrift does without it."""
    bad = native(EXTENSION, versions=("libstdc++.so.6:GLIBCXX_3.4.31",))
    known = KnownLibraries(loaded=loaded)
    assert found(pack(bad), known=known, roots=roots) == [("EB302", severity)]


# --- EB304: what cannot be loaded -----------------------------------------------------------------

SOUND = native(f"{SITE}/pack/_c.abi3.so")


CUT = "it is cut off: 10 bytes of at least 20"


NO_ELF = "it is not an ELF file"


@pytest.mark.parametrize(
    ("file", "beside", "expected"),
    [
        (native(), (), []),
        (native(problem=CUT), (), [("EB304", "error")]),
        (native(problem=NO_ELF, machine=""), (), [("EB304", "error")]),
        (native(f"{LIBS}/libx.so.1", problem=CUT), (SOUND,), [("EB304", "error")]),
        (native("lib/libtbb.so", problem=NO_ELF), (SOUND,), [("EB304", "info")]),
        (native(f"{SITE}/pack/tests/libx.so", problem=CUT), (SOUND,), [("EB304", "info")]),
        (native(machine="aarch64"), (SOUND,), [("EB304", "error")]),
        (native(bits=32, machine="i686"), (), [("EB304", "error")]),
        (native(f"{SITE}/pack/attach_x86.so", machine="i686", bits=32), (SOUND,), [("EB304", "info")]),
        (native(f"{SITE}/pack/libarm.so", machine="aarch64"), (), [("EB304", "warning")]),
        (native(f"{SITE}/pack/firmware.elf", machine="armv7l", program=True), (), [("EB304", "info")]),
        (
            native(f"{SITE}/pack/libx.so", machine="aarch64"),
            (native(needed=("libx.so",), rpath=("$ORIGIN",)),),
            [("EB304", "error"), ("EB303", "error")],
        ),
    ],
)
def test_unloadable(
    file: NativeFact, beside: tuple[NativeFact, ...], expected: list[tuple[str, str]]
) -> None:
    assert found(pack(file, *beside)) == expected


def test_damaged_programs_stop_nothing() -> None:
    """prophet 1.1 has such helpers of CmdStan, and forecasts without them."""
    path = f"{SITE}/pack/cmdstan/bin/diagnose"
    file = FileFact(path=path, sha256="", size=1, executable=True)
    everything = pack(native(path, problem=CUT, program=True), SOUND, files=(file,))
    assert found(everything) == [("EB304", "warning")]
    library = replace(file, path=f"{SITE}/pack/cmdstan/libx.so")
    assert found(pack(native(library.path, problem=CUT), SOUND, files=(library,))) == [("EB304", "error")]


def test_plain_module_at_the_top_is_an_extension() -> None:
    bad = native(f"{SITE}/quick.so", problem=NO_ELF)
    assert found(pack(bad, modules=("quick",))) == [("EB304", "error")]
    assert found(pack(bad)) == [("EB304", "info")]


# --- EB305: names of extension modules ------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "minor", "expected"),
    [
        ("cpython-38-x86_64-linux-gnu", "3.8", []),
        ("cpython-37m-x86_64-linux-gnu", "3.7", []),
        ("abi3", "3.8", []),
        ("cpython-39-x86_64-linux-gnu", "3.8", [("EB305", "error")]),
        ("cpython-38-x86_64-linux-gnu", "3.7", [("EB305", "error")]),
        ("cpython-37m-x86_64-linux-gnu", "3.8", [("EB305", "error")]),
        ("cpython-38-x86_64-linux-musl", "3.8", [("EB305", "error")]),
        ("cpython-38-darwin", "3.8", [("EB305", "error")]),
        ("pypy38-pp73-x86_64-linux-gnu", "3.8", [("EB305", "error")]),
    ],
)
def test_extension_name(suffix: str, minor: str, expected: list[tuple[str, str]]) -> None:
    file = native(f"lib/python{minor}/site-packages/pack/fast.{suffix}.so")
    assert found(pack(file), aim=target(minor)) == expected


@pytest.mark.parametrize(
    ("abi", "suffix", "expected"),
    [
        ("cp315", "abi3", []),
        ("cp315", "abi3t", []),
        ("cp315", "abi3-x86_64-linux-gnu", []),
        ("cp315t", "abi3t", []),
        ("cp315t", "abi3t-x86_64-linux-gnu", []),
        ("cp315t", "cpython-315t-x86_64-linux-gnu", []),
        ("cp315t", "abi3", [("EB305", "error")]),
        ("cp315t", "cpython-315-x86_64-linux-gnu", [("EB305", "error")]),
        ("cp315", "abi3t-aarch64-linux-gnu", [("EB305", "error")]),
        ("cp314", "abi3t", [("EB305", "error")]),
    ],
)
def test_stable_abis_of_newer_pythons(abi: str, suffix: str, expected: list[tuple[str, str]]) -> None:
    version = f"3.{abi[3:5]}.0"
    aim = replace(target(), python_version=version, abi=abi)
    assert found(pack(native(f"{aim.site_packages}/pack/fast.{suffix}.so")), aim=aim) == expected


FOREIGN = native(f"{SITE}/pack/fast.cpython-39-x86_64-linux-gnu.so")


def test_extension_for_several_pythons() -> None:
    assert found(pack(FOREIGN, native())) == [("EB305", "info")]
    assert found(pack(FOREIGN, native(f"{SITE}/pack/py38/fast.so"))) == [("EB305", "info")]
    assert found(pack(FOREIGN, native(f"{SITE}/pack/slow.abi3.so"))) == [("EB305", "error")]
    source = FileFact(path=f"{SITE}/pack/fast.py", sha256="", size=1)
    assert found(pack(FOREIGN, files=(source,))) == [("EB305", "info")]


# --- EB306, EB307, EB310 --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("py3-none-any", []),
        ("cp38-cp38-manylinux_2_17_x86_64.manylinux2014_x86_64", []),
        ("cp36-abi3-manylinux1_x86_64", []),
        ("cp38-cp38-linux_x86_64", []),
        ("cp38-cp38-manylinux_2_28_x86_64", [("EB306", "error")]),
        ("cp39-cp39-manylinux1_x86_64", [("EB306", "error")]),
        ("cp38-cp38-musllinux_1_1_x86_64", [("EB306", "error")]),
        ("cp38-cp38-manylinux2014_aarch64", [("EB306", "error")]),
        ("cp38-cp38-win_amd64", [("EB306", "error")]),
    ],
)
def test_tags(tag: str, expected: list[tuple[str, str]]) -> None:
    assert found(pack(filename=f"pack-1.0-{tag}.whl")) == expected


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("cp2.cp3-none-any", []),
        ("cp38-cp38-linux_x86_64", []),
        ("cp39-cp39-linux_x86_64", [("EB306", "error")]),
    ],
)
def test_tags_of_what_was_built_here(tag: str, expected: list[tuple[str, str]]) -> None:
    everything = pack(filename=f"pack-1.0-{tag}.whl")
    assert found(everything, built=["pack"]) == expected
    if tag.endswith("any"):
        assert found(everything) == [("EB306", "error")]


@pytest.mark.parametrize(
    ("requires", "expected"),
    [
        (None, []),
        (">=3.6", []),
        (">=3.8.1", []),
        (">=3.5, !=3.8.0, <4", []),
        ("not a specifier", []),
        (">=3.9", [("EB307", "error")]),
        ("<3.8", [("EB307", "error")]),
    ],
)
def test_requires_python(requires: str | None, expected: list[tuple[str, str]]) -> None:
    assert found(pack(requires_python=requires)) == expected


@pytest.mark.parametrize(
    ("values", "glibc", "expected"),
    [
        ({}, (2, 17), []),
        ({"executable_stack": True}, (2, 31), [("EB310", "info")]),
        ({"executable_stack": True}, (2, 41), [("EB310", "error")]),
        ({"writable_code": True}, (2, 41), [("EB310", "warning")]),
        ({"executable_stack": True, "program": True}, (2, 41), []),
    ],
)
def test_executable_memory(
    values: dict[str, Any], glibc: tuple[int, int], expected: list[tuple[str, str]]
) -> None:
    assert found(pack(native(**values)), aim=with_glibc(*glibc)) == expected


def test_runtime_of_a_glibc_is_the_nearest_older() -> None:
    assert system_libraries.compiler((2, 29)) == system_libraries.compiler((2, 28))
    assert system_libraries.compiler((2, 1)) == system_libraries.compiler((2, 5))
    numbers = [system_libraries.COMPILERS[version] for version in sorted(system_libraries.COMPILERS)]
    for older, newer in itertools.pairwise(numbers):
        assert (older.glibcxx, older.cxxabi, older.gcc) <= (newer.glibcxx, newer.cxxabi, newer.gcc)


def test_facts_come_back_from_the_store() -> None:
    full = native(
        soname="libx.so.1",
        needed=("libc.so.6",),
        rpath=("a", "b"),
        runpath=("c",),
        versions=("libc.so.6:GLIBC_2.5",),
    )
    (one,) = pack(full, native(problem=CUT, program=True)).values()
    dumped = trees.dump(one)
    assert all(isinstance(row, list) for row in dumped["native"])
    assert trees.load(dumped) == one


# --- from end to end ------------------------------------------------------------------------------

TAG = "cp38-cp38-linux_x86_64"


def create(envbundle: Command, wheels: Path, *options: str) -> tuple[int, list[tuple[str, str, str]]]:
    words = ["create", "native-pack", "--python", "3.8", "-o", "b", "--force", "--json", *options]
    done = envbundle(*words, *envbundle.offline(wheels))
    said = [(one["code"], one["severity"], one["subject"]) for one in done.json()["findings"]]
    return done.code, [one for one in said if one[0].startswith(("EB3", "EB12"))]


def pack_wheel(wheels: Path, tmp_path: Path, *flags: str, bundled: bool = False) -> None:
    """A wheel whose module needs libfoo.so.1, and may bring it."""
    foo = library(tmp_path / "build")
    module = extension(
        tmp_path / "build" / "fast.so", "fast", needs=foo, flags=["-Wl,--disable-new-dtags", *flags]
    )
    content: dict[str, str | bytes] = {
        "native_pack/__init__.py": "try:\n    from . import fast\nexcept ImportError:\n    pass\n",
        "native_pack/fast.cpython-38-x86_64-linux-gnu.so": module.read_bytes(),
    }
    if bundled:
        content["native_pack.libs/libfoo.so.1"] = foo.read_bytes()
    make_wheel(wheels, "native-pack", files=content, tag=TAG, root_is_purelib=False)


GLIBC = ("--glibc", "2.36")


@pytest.mark.thorough
def test_library_that_is_not_there(envbundle: Command, wheels: Path, tmp_path: Path) -> None:
    pack_wheel(wheels, tmp_path)
    assert create(envbundle, wheels, *GLIBC) == (1, [("EB303", "error", "native-pack")])
    assert not (tmp_path / "b").exists()
    assert create(envbundle, wheels, *GLIBC, "--assume-lib", "libfoo.so.1") == (0, [])


@pytest.mark.thorough
def test_library_of_the_builder(envbundle: Command, wheels: Path, tmp_path: Path) -> None:
    pack_wheel(wheels, tmp_path, f"-Wl,-rpath,{tmp_path}/build")
    code, said = create(envbundle, wheels, *GLIBC)
    assert code == 1
    assert said == [("EB120", "error", "native-pack"), ("EB303", "error", "native-pack")]


@pytest.mark.thorough
def test_library_that_comes_along(envbundle: Command, wheels: Path, tmp_path: Path) -> None:
    pack_wheel(wheels, tmp_path, "-Wl,-rpath,$ORIGIN/../native_pack.libs", bundled=True)
    assert create(envbundle, wheels, *GLIBC) == (0, [])


THREADED = "#include <pthread.h>\nint f(void) { pthread_t t; return pthread_create(&t, 0, 0, 0); }\n"


@pytest.mark.thorough
def test_newer_glibc_and_cut_off_file(envbundle: Command, wheels: Path, tmp_path: Path) -> None:
    newer = compile_c(tmp_path / "newer.so", THREADED).read_bytes()
    plain = compile_c(tmp_path / "plain.so", LIBRARY).read_bytes()
    make_wheel(
        wheels,
        "native-pack",
        files={
            "native_pack/__init__.py": "",
            "native_pack/newer.abi3.so": newer,
            "native_pack/cut.abi3.so": plain[: len(plain) // 2],
            "native_pack/plain.abi3.so": plain,
        },
        tag=TAG,
    )
    assert create(envbundle, wheels, "--glibc", "2.17") == (
        1,
        [("EB301", "error", "native-pack"), ("EB304", "error", "native-pack")],
    )
    assert create(envbundle, wheels, *GLIBC) == (1, [("EB304", "error", "native-pack")])
