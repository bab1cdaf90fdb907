"""Names that a file needs in no version: what the target lacks of them, and what is there after all."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bundler.checks.rules import libraries, misfits, unversioned
from bundler.checks.rules.libraries import KnownLibraries
from bundler.wheels import elf

from tests.support.bundlemaker import target
from tests.support.nativefacts import EXTENSION, LIBS, LOCK, SITE, native, pack
from tests.support.nativemaker import EXTENSION as MODULE
from tests.support.nativemaker import compile_c
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from bundler.model import NativeFact

    from tests.support.command import Command

THROW = "_ZSt28__throw_bad_array_new_lengthv"
SINGLE = "__libc_single_threaded"
PLUGIN = f"{SITE}/pack/plugin.so"


@pytest.fixture
def system(tmp_path: Path) -> tuple[str, ...]:
    """Libraries of a machine that is newer than the target, as their files are called."""
    made = []
    for name, versions in {
        "libstdc++.so.6.0.30": {"GLIBCXX_3.4.29": THROW, "GLIBCXX_3.4.11": "_ZSt4oldv"},
        "libc-2.33.so": {"GLIBC_2.32": SINGLE, "GLIBC_PRIVATE": "__private"},
        "libother.so.1": {"GLIBC_2.40": "__other"},
    }.items():
        script = tmp_path / f"{name}.versions"
        script.write_text("".join(f"{version} {{ {symbol}; }};\n" for version, symbol in versions.items()))
        source = "".join(f"int {symbol}(void) {{ return 1; }}\n" for symbol in versions.values())
        made.append(str(compile_c(tmp_path / name, source, f"-Wl,--version-script={script}")))
    return tuple(made)


def said(
    *files: NativeFact, system: tuple[str, ...], tree: Path, glibc: tuple[int, int] = (2, 31)
) -> list[tuple[str, str, str]]:
    facts = pack(*files)
    aim = replace(target(), glibc=glibc)
    linkage = libraries.linkage(facts, target=aim, known=KnownLibraries(), built=())
    needs = unversioned.needs(
        facts,
        linkage,
        used=system,
        place=lambda _, path: tree / path,
        limits=misfits.newest_versions(linkage),
    )
    found = misfits.symbol_versions(LOCK, facts, linkage, needs)
    return [(one.code, one.severity, one.cause) for one in found]


def test_what_the_target_lacks(system: tuple[str, ...], tmp_path: Path) -> None:
    """azureml-dataprep-rslex 2.25 on Debian 11: `undefined symbol: _ZSt28__throw_bad_array_new_lengthv`."""
    file = native(unversioned=(THROW, SINGLE, "_ZSt4oldv", "__private", "__other"))
    first, second = said(file, system=system, tree=tmp_path)
    assert (first[:2], second[:2]) == (("EB301", "error"), ("EB302", "error"))
    assert first[2].startswith(f"{EXTENSION} needs GLIBC_2.32 ({SINGLE}, without naming that version); ")
    assert second[2].startswith(f"{EXTENSION} needs GLIBCXX_3.4.29 ({THROW}, without naming that version); ")


def test_what_the_target_has(system: tuple[str, ...], tmp_path: Path) -> None:
    file = native(unversioned=(THROW, SINGLE, "__private", "__other"))
    assert said(file, system=system, tree=tmp_path, glibc=(2, 36)) == []
    assert said(native(unversioned=("_ZSt4oldv",)), system=system, tree=tmp_path) == []
    assert said(file, system=(), tree=tmp_path) == []  # nothing tells in which version it is


def test_what_no_import_loads(system: tuple[str, ...], tmp_path: Path) -> None:
    assert said(native(PLUGIN, unversioned=(THROW,)), system=system, tree=tmp_path) == []


def test_what_the_bundle_brings(system: tuple[str, ...], tmp_path: Path) -> None:
    """pyarrow on Debian 11: libarrow.so.1700 has what GCC 11 would take from a newer libstdc++."""
    brought, other = f"{LIBS}/libarrow.so.17", f"{LIBS}/libother.so.1"
    for path, symbol in ((brought, THROW), (other, "__something")):
        compile_c(tmp_path / path, f"int {symbol}(void) {{ return 1; }}\n")
    file = native(unversioned=(THROW,))
    assert said(file, native(brought), system=system, tree=tmp_path) == []
    assert len(said(file, native(other), system=system, tree=tmp_path)) == 1
    copy = native(f"{LIBS}/libstdc++.so.6", soname="libstdc++.so.6")
    own = replace(file, needed=("libstdc++.so.6",), rpath=("$ORIGIN/../pack.libs",))
    assert said(own, copy, system=system, tree=tmp_path) == []


# --- from end to end ------------------------------------------------------------------------------


@pytest.mark.thorough
def test_module_that_only_this_machine_can_load(envbundle: Command, wheels: Path, tmp_path: Path) -> None:
    if tuple(map(int, os.confstr("CS_GNU_LIBC_VERSION").split()[1].split("."))) < (2, 32):  # type: ignore[union-attr]  # it is there on Linux with glibc
        pytest.skip("this machine's C library has no such name")
    calls = {"declaration": f"extern char {SINGLE};", "call": f"if ({SINGLE} > 1) return 0;"}
    source = MODULE.format(name="fast", **calls)
    module = compile_c(tmp_path / "fast.so", source, "-nostdlib")  # without libc: no version is known
    assert elf.read(str(module), path="fast.so").unversioned == (SINGLE,)  # type: ignore[union-attr]  # it is one
    content: dict[str, str | bytes] = {
        "native_pack/__init__.py": "from . import fast\n",
        "native_pack/fast.cpython-38-x86_64-linux-gnu.so": module.read_bytes(),
    }
    tag = "cp38-cp38-linux_x86_64"
    make_wheel(wheels, "native-pack", files=content, tag=tag, root_is_purelib=False)
    words = ["create", "native-pack", "--python", "3.8", "-o", "b", "--json", *envbundle.offline(wheels)]
    refused = envbundle(*words, "--glibc", "2.31")
    assert (
        refused.code,
        [one["code"] for one in refused.json()["findings"] if one["severity"] == "error"],
    ) == (
        1,
        ["EB301"],
    )
    assert envbundle(*words, "--glibc", "2.36").code == 0
