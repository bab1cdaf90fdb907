"""Wheels that do odd things, from end to end: at import, in their bytecode, their native files and names."""

from __future__ import annotations

import json
import subprocess
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.create.test_leaks import severe
from tests.support.bundlemaker import make_bundle
from tests.support.index import serve
from tests.support.nativemaker import EXTENSION, compile_c, extension, library
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command
    from tests.support.index import Index

SITE = "lib/python3.8/site-packages"
GLIBC = ("--glibc", "2.36")

# --- imports that do more than import ---------------------------------------------------------------

DIALS = 'import socket\nsocket.create_connection(("192.0.2.1", 80), 1)\n'
WRITES = 'import os\nopen(os.path.join(os.path.dirname(__file__), "cache.db"), "w").close()\n'


def guarded(code: str) -> str:
    head, *rest = code.splitlines()
    return "\n".join((head, "try:", *(f"    {line}" for line in rest), "except OSError:", "    pass", ""))


@pytest.mark.thorough
def test_imports_that_need_the_network_or_write(envbundle: Command, wheels: Path, tmp_path: Path) -> None:
    for name, code in (("dials", DIALS), ("writes", WRITES)):
        make_wheel(wheels, name, files={f"{name}.py": code})
        make_wheel(wheels, f"tries-{name}", files={f"tries_{name}.py": guarded(code)})
    words = ["--python", "3.8", "--json", *envbundle.offline(wheels)]
    done = envbundle("create", "dials==1.0", "writes==1.0", "-o", "no", *words)
    assert done.code == 1
    assert severe(done) == [("EB201", "error", "dials"), ("EB201", "error", "writes")]
    fine = envbundle("create", "tries-dials==1.0", "tries-writes==1.0", "-o", "out", *words)
    assert (fine.code, severe(fine)) == (0, []), fine.stderr
    assert not list((tmp_path / "out").rglob("cache.db"))


# --- bytecode and native files ----------------------------------------------------------------------


def bytecode(folder: Path, python: Path, name: str, source: str) -> bytes:
    path = folder / f"{name}.py"
    path.write_text(source)
    output = folder / f"{name}.pyc"
    code = f"import py_compile; py_compile.compile({str(path)!r}, {str(output)!r}, doraise=True)"
    subprocess.run([python, "-c", code], check=True)
    return output.read_bytes()


@pytest.mark.thorough
def test_bytecode_that_a_wheel_brings(
    envbundle: Command, wheels: Path, tmp_path: Path, python37: Path, python38: Path
) -> None:
    fits = bytecode(tmp_path, python38, "fits", "VALUE = 1\n")
    foreign = bytecode(tmp_path, python37, "foreign", "VALUE = 1\n")
    stale = bytecode(tmp_path, python38, "stale", "raise RuntimeError('stale')\n")
    make_wheel(wheels, "fits", files={"fits.pyc": fits})
    make_wheel(wheels, "foreign", files={"foreign.pyc": foreign})
    make_wheel(wheels, "stale", files={"stale.py": "VALUE = 1\n", "__pycache__/stale.cpython-38.pyc": stale})
    words = ["--python", "3.8", "--json", *envbundle.offline(wheels)]
    done = envbundle("create", "fits==1.0", "foreign==1.0", "-o", "no", *words)
    assert (done.code, severe(done)) == (1, [("EB201", "error", "foreign")])
    assert "magic" in done.stdout
    fine = envbundle("create", "fits==1.0", "stale==1.0", "-o", "out", *words)
    assert (fine.code, severe(fine)) == (0, []), fine.stderr
    assert (tmp_path / "out" / SITE / "__pycache__/stale.cpython-38.pyc").read_bytes() != stale


NEWER = {
    "declaration": "void *PyObject_CallNoArgs(void *);",
    "call": "if (!PyObject_CallNoArgs(0)) return 0;",
}


@pytest.mark.thorough
def test_untagged_extension_of_another_python(envbundle: Command, wheels: Path, tmp_path: Path) -> None:
    """Nothing in an ELF file says for which Python it is: the import shows it."""
    newer = compile_c(tmp_path / "newer.so", EXTENSION.format(name="newer", **NEWER))
    plain = extension(tmp_path / "plain.so", "plain")
    for name, file in (("newer", newer), ("plain", plain)):
        make_wheel(wheels, name, files={f"{name}.so": file.read_bytes()}, tag="cp38-cp38-linux_x86_64")
    words = ["--python", "3.8", "--json", *GLIBC, *envbundle.offline(wheels)]
    done = envbundle("create", "newer==1.0", "-o", "no", *words)
    assert (done.code, severe(done)) == (1, [("EB201", "error", "newer")])
    assert "undefined symbol: PyObject_CallNoArgs" in done.stdout
    fine = envbundle("create", "plain==1.0", "-o", "out", *words)
    assert (fine.code, severe(fine)) == (0, []), fine.stderr
    # Nothing is stripped or otherwise touched: the bytes are the wheel's.
    with zipfile.ZipFile(wheels / "plain-1.0-cp38-cp38-linux_x86_64.whl") as wheel:
        assert (tmp_path / "out" / SITE / "plain.so").read_bytes() == wheel.read("plain.so")


@pytest.mark.parametrize(("tags", "wins"), [("--enable-new-dtags", True), ("--disable-new-dtags", False)])
def test_the_images_library_path_beats_a_runpath(
    wheels: Path, tmp_path: Path, python38: Path, tags: str, *, wins: bool
) -> None:
    """What an image's LD_LIBRARY_PATH does only the image knows; verify.py runs under it there."""
    own = library(tmp_path / "build")
    images = compile_c(
        tmp_path / "image/libfoo.so.1", "int foo_answer(void) { return -1; }\n", "-Wl,-soname,libfoo.so.1"
    )
    flags = [f"-Wl,{tags}", "-Wl,-rpath,$ORIGIN/fast.libs"]
    module = extension(tmp_path / "build/fast.so", "fast", needs=own, flags=flags)
    content = {
        "fast.cpython-38-x86_64-linux-gnu.so": module.read_bytes(),
        "fast.libs/libfoo.so.1": own.read_bytes(),
    }
    wheel = make_wheel(wheels, "alpha", files=dict(content), tag="cp38-cp38-linux_x86_64")
    bundle = make_bundle(tmp_path / "bundle", wheel, modules=["fast"])
    for environ, ok in (({}, True), ({"LD_LIBRARY_PATH": str(images.parent)}, not wins)):
        done = subprocess.run(
            [python38, bundle / "verify.py", "--json"],
            env={"PATH": "/usr/bin:/bin", **environ}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        found = [(one["code"], one["subject"]) for one in json.loads(done.stdout)["findings"]]
        assert found == ([] if ok else [("EB201", "fast")])


# --- odd names, many files, several sources -----------------------------------------------------------


@pytest.mark.thorough
def test_odd_names_and_many_files(envbundle: Command, wheels: Path, tmp_path: Path, python38: Path) -> None:
    deep = "alpha/" + "/".join(["folder-of-a-long-name"] * 20) + "/data.txt"
    files = {
        "größe.py": "VALUE = 1\n",
        "alpha/__init__.py": "",
        "alpha/日本語 und mehr.txt": "x",
        "alpha/with space/a b.py": "",
        deep: "deep",
        **{f"alpha/many/file{number}.dat": "" for number in range(3000)},
    }
    make_wheel(wheels, "alpha", files=files)
    output = tmp_path / "my bündle dir" / "out put"
    done = envbundle(
        "create", "alpha==1.0", "--python", "3.8", "-o", output, "--json", *envbundle.offline(wheels)
    )
    assert (done.code, severe(done)) == (0, []), done.stderr
    codes = {one["code"] for one in done.json()["findings"]}
    assert codes >= {"EB505", "EB506"}
    assert (output / SITE / deep).read_text() == "deep"
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=output, check=True)
    verified = envbundle("verify", output, "--json")
    assert (verified.code, severe(verified)) == (0, []), verified.stderr
    code = "import größe, alpha; assert größe.VALUE == 1"
    environ = {"PYTHONPATH": str(output / SITE), "LC_ALL": "C.UTF-8"}
    subprocess.run([python38, "-c", code], env=environ, check=True)


@pytest.mark.thorough
def test_one_name_on_two_indexes(envbundle: Command, index: Index, wheels: Path, tmp_path: Path) -> None:
    """Both resolvers take the higher version: who takes a private name on the public index wins."""
    make_wheel(wheels, "inner")
    make_wheel(wheels, "other")
    (tmp_path / "public").mkdir()
    make_wheel(tmp_path / "public", "inner", "99.0")
    second, server = serve(tmp_path / "public")
    words = ["--python", "3.8", "--json", "--find-links", str(envbundle.pips), "--index-url", index.url]
    both = [*words, "--extra-index-url", second.url]
    one = envbundle("create", "inner>=1", "other>=1", "-o", "one", *words)
    two = envbundle("create", "inner==1.0", "other==1.0", "-o", "two", *both)
    stolen = envbundle("create", "inner>=1", "other>=1", "-o", "stolen", *both)
    server.shutdown()
    server.server_close()
    for done in (one, two):
        assert (done.code, severe(done)) == (0, []), done.stderr
    assert (stolen.code, severe(stolen)) == (0, [("EB605", "warning", "indexes")]), stolen.stderr
    assert f"inner from {second.url}" in stolen.stdout


# --- RECORD that its maker broke -------------------------------------------------------------------


@pytest.mark.thorough
def test_wheel_whose_own_record_is_wrong(envbundle: Command, wheels: Path, tmp_path: Path) -> None:
    """The bundle has what the archive holds, and a RECORD of its own that is right."""
    for name, member in (("relabelled", "relabelled-1.0.dist-info/METADATA"), ("patched", "patched.py")):
        wheel = make_wheel(wheels, name, files={f"{name}.py": "VALUE = 1\n"})
        with zipfile.ZipFile(wheel) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
        with zipfile.ZipFile(wheel, "w") as archive:
            for path, data in members.items():
                archive.writestr(path, data + b"\n" * (path == member))
    words = ["--python", "3.8", "--json", *envbundle.offline(wheels)]
    fine = envbundle("create", "relabelled==1.0", "-o", "fine", *words)
    assert (fine.code, severe(fine)) == (0, [("EB207", "warning", "relabelled")]), fine.stderr
    done = envbundle("create", "patched==1.0", "-o", "out", *words)
    assert (done.code, severe(done)) == (1, [("EB207", "error", "patched")]), done.stderr
    taken = envbundle("create", "patched==1.0", "-o", "out", *words, "--ignore", "EB207:patched=known")
    assert taken.code == 0, taken.stderr
    verified = envbundle("verify", "out", "--json")
    assert verified.code == 0, verified.stdout


@pytest.mark.pypi
@pytest.mark.thorough
def test_torch_1_8_1(envbundle: Command) -> None:
    done = envbundle("create", "torch==1.8.1", "numpy==1.19.5", "--python", "3.8", "-o", "out", "--json")
    assert done.code == 0, done.stderr
    assert ("EB207", "warning", "torch") in severe(done)
