"""What a wheel's files and metadata say."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bundler.model import StartupFact
from bundler.wheels import trees
from bundler.wheels.facts import MOST_FILES, build_paths, licence, modules, startup

from tests.support.bundlemaker import facts

if TYPE_CHECKING:
    from pathlib import Path


SITE = "lib/python3.8/site-packages"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"see /home/conda/feedstock_root/x_1/work/a\0more", "/home/conda/feedstock_root/x_1/work/a"),
        (b"see /home/conda/feedstock_root/x_1/work/a.c\0more", ""),
        (b"\0/croot/numpy_1/work\0", "/croot/numpy_1/work"),
        (b"prefix=/opt/_h_env_placehold_placehold/lib", "/opt/_h_env_placehold_placehold/lib"),
        (b"-I/opt/conda/conda-bld/x/include", "/opt/conda/conda-bld/x/include"),
        (b"x" * (1 << 20) + b" /croot/behind", "/croot/behind"),
        (b"https://host.example/croot/x then /croot/real", "/croot/real"),
        (b"conda, feedstock_root, croot", ""),
        (b"", ""),
    ],
)  # fmt: skip
def test_build_paths(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "file.bin").write_bytes(content)
    (tmp_path / "file.pyc").write_bytes(content)
    found = build_paths(tmp_path, ["file.bin", "file.pyc"])
    assert found == ((("file.bin", expected),) if expected else ())


@pytest.mark.parametrize("name", ["/home/conda/feedstock_root/x_1/work/a", "http://x/croot/y /croot/z"])
def test_build_paths_where_two_pieces_meet(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is looked at piece by piece; wherever a path stands, it is found as in one piece."""
    monkeypatch.setattr("bundler.wheels.facts.WINDOW", 2000)
    file = tmp_path / "file.bin"
    for at in (0, *range(1600, 2400, 7), 3990, 5000):
        file.write_bytes(b"\0" * at + name.encode() + b"\0" * (6000 - at))
        assert build_paths(tmp_path, ["file.bin"]) == (("file.bin", name.rpartition(" ")[2]),), at
    file.write_bytes(b"\0" * 3990 + name.encode())
    assert build_paths(tmp_path, ["file.bin"]) == (("file.bin", name.rpartition(" ")[2]),)


def test_build_paths_have_an_end(tmp_path: Path) -> None:
    names = [f"{number}.txt" for number in range(60)]
    for name in names:
        (tmp_path / name).write_text("/croot/x")
    assert len(build_paths(tmp_path, names)) == MOST_FILES


def test_startup_facts(tmp_path: Path) -> None:
    (tmp_path / SITE / "model").mkdir(parents=True)
    (tmp_path / SITE / "b.pth").write_bytes(b"\xef\xbb\xbf# a comment\n\n  folder \r\nimport x\n\xff\n")
    (tmp_path / SITE / "model/weights.pth").write_bytes(b"\0" * 100)
    (tmp_path / SITE / "b.start").write_text("# a comment\nb.hooks:install\n")
    listed = [f"{SITE}/b.pth", f"{SITE}/model/weights.pth", f"{SITE}/b.start"]
    expected = (
        StartupFact(path=listed[0], lines=("folder", "import x", "\ufffd")),
        StartupFact(path=listed[2], lines=("b.hooks:install",)),
    )
    assert startup(tmp_path, listed, site_packages=SITE) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"license_expression": "MIT OR Apache-2.0", "license": "x"}, "MIT OR Apache-2.0"),
        ({"license": "BSD 3-Clause License\n\nCopyright (c) …"}, "BSD 3-Clause License"),
        ({"license": "UNKNOWN", "classifiers": ["License :: OSI Approved :: MIT License"]}, "MIT License"),
        (
            {"classifiers": ["License :: OSI Approved", "License :: A", "License :: B", "Topic :: X"]},
            "A; B",
        ),
        ({"license": "  "}, ""),
        ({}, ""),
    ],
)
def test_licence(fields: dict[str, object], expected: str) -> None:
    assert licence(fields) == expected  # type: ignore[arg-type]  # a TypedDict of some of its keys


def test_facts_survive_the_store() -> None:
    known = replace(
        facts("alpha"),
        startup=(StartupFact(path=f"{SITE}/a.pth", lines=("import x", "y")),),
        build_paths=(("a", "/croot/x"),),
        licence="MIT",
    )
    assert trees.load(json.loads(json.dumps(trees.dump(known)))) == known


SUFFIXES = (".cpython-38-x86_64-linux-gnu.so", ".abi3.so", ".so")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["six.py"], ("six",)),
        (["a/__init__.py", "a/b.py", "a/c/__init__.py"], ("a",)),
        (
            ["google/protobuf/__init__.py", "google/_upb/_message.abi3.so"],
            ("google._upb._message", "google.protobuf"),
        ),
        (
            ["azure/core/__init__.py", "azure/core/x.py", "azure/ai/ml/__init__.py"],
            ("azure.ai.ml", "azure.core"),
        ),
        (["_c.cpython-38-x86_64-linux-gnu.so", "cffi/__init__.py"], ("_c", "cffi")),
        (["ext/__init__.abi3.so"], ("ext",)),
        (
            ["x.cpython-39-x86_64-linux-gnu.so", "numpy.libs/libgfortran.so", "a-b/x.py", "lists/x.json"],
            (),
        ),
        (["tests/test_x.py", "docs/conf.py", "setup.py", "conftest.py", "x-nspkg.pth"], ()),
        (["tests/__init__.py"], ("tests",)),
        (["__pycache__/six.cpython-38.pyc", "a/__pycache__/b.cpython-38.pyc"], ()),
        (["größe.py"], ("größe",)),
    ],
)
def test_modules(files: list[str], expected: tuple[str, ...], tmp_path: Path) -> None:
    for path in files:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert modules(tmp_path, files, extension_suffixes=SUFFIXES) == expected


@pytest.mark.parametrize("source", ["-" * 4000 + "1", "a" + ".b" * 2000, "(" * 4000, "\0"])
def test_a_package_whose_source_nobody_can_parse_is_a_package(source: str, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/__init__.py").write_text(source)
    assert modules(tmp_path, ["deep/__init__.py"], extension_suffixes=SUFFIXES) == ("deep",)


def test_plain_so_is_a_module_only_with_its_init_function(tmp_path: Path) -> None:
    (tmp_path / "ext.so").write_bytes(b"\x7fELF...PyInit_ext\0")
    (tmp_path / "libx.so").write_bytes(b"\x7fELF...")
    found = modules(tmp_path, ["ext.so", "libx.so"], extension_suffixes=SUFFIXES)
    assert found == ("ext",)
