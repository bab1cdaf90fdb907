"""EB1xx: what leads out of the tree, and what tells of the machine that built it; and the facts behind it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bundler.checks import installed
from bundler.checks.rules import leaks
from bundler.model import StartupFact, StoredWheel
from bundler.wheels import trees
from bundler.wheels.facts import MOST_FILES, build_paths, licence, startup

from tests.checks.test_rules import brief
from tests.support.bundlemaker import facts, interpreter, lock, locked, unpack
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SITE = "lib/python3.8/site-packages"


# --- start-up files, symlinks, origins ------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "line", "code"),
    [
        ("extra.pth", "/home/me/src/lib", "EB108"),
        ("extra.pth", "../../../../elsewhere", "EB108"),
        ("extra.pth", "win32/lib", ""),
        ("extra.pth", "../site-packages/win32", ""),
        ("extra.pth", "import os; os.system('/bin/true')", ""),
        ("__editable__.alpha-1.0.pth", "/home/me/alpha", "EB106"),
        ("__editable__.alpha-1.0.pth", "import __editable___alpha_1_0_finder; …install()", "EB106"),
        ("alpha.pth", "import __editable___alpha_1_0_finder", "EB106"),
        ("easy-install.pth", "/home/me/alpha", "EB106"),
        ("easy-install.pth", "./alpha-1.0-py3.8.egg", ""),
    ],
)
def test_startup_lines(name: str, line: str, code: str) -> None:
    fact = StartupFact(path=f"{SITE}/{name}", lines=(line,))
    assert brief(leaks.startup([fact], site_packages=SITE)) == ([(code, fact.path)] if code else [])


def test_finder_modules() -> None:
    listed = [f"{SITE}/__editable___alpha_1_0_finder.py", f"{SITE}/alpha.py", f"{SITE}/x/__editable__.py"]
    assert brief(leaks.finders(listed, site_packages=SITE)) == [("EB106", listed[0])]


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("/etc/passwd", True),
        ("../../../../outside", True),
        ("../alpha.py", False),
        ("beta.py", False),
    ],
)
def test_symlinks(tmp_path: Path, target: str, found: bool) -> None:  # noqa: FBT001 - a parameter of the table
    (tmp_path / SITE).mkdir(parents=True)
    (tmp_path / SITE / "link.py").symlink_to(target)
    os.mkfifo(tmp_path / "pipe")
    irregular = [f"{SITE}/link.py", "pipe"]
    expected = [("EB108", f"{SITE}/link.py")] if found else []
    assert brief(leaks.leaving_links(tmp_path, irregular)) == expected


CONDA_URL = "file:///home/conda/feedstock_root/build_artifacts/numpy_1653325313343/work"


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"INSTALLER": "conda\n"}, "EB111"),
        ({"INSTALLER": "pip\n"}, ""),
        ({"direct_url.json": json.dumps({"url": CONDA_URL, "dir_info": {}})}, "EB111"),
        ({"direct_url.json": json.dumps({"url": "file:///croot/alpha_1/work"})}, "EB111"),
        ({"direct_url.json": json.dumps({"url": "file:///home/me/alpha-1.0.whl"})}, "EB108"),
        ({"direct_url.json": json.dumps({"url": "file:///x", "dir_info": {"editable": True}})}, "EB106"),
        ({"direct_url.json": json.dumps({"url": "https://host.example/a.whl", "archive_info": {}})}, ""),
        ({"direct_url.json": "[" * 100_000}, ""),
        ({"direct_url.json": "[1]"}, ""),
        ({}, ""),
    ],
)
def test_origins(tmp_path: Path, files: Mapping[str, str], code: str) -> None:
    site_packages = unpack(tmp_path / "tree", make_wheel(tmp_path, "alpha"))
    for name, text in files.items():
        (site_packages / "alpha-1.0.dist-info" / name).write_text(text)
    found = list(leaks.origins(tmp_path / "tree", SITE, installed.read(site_packages)))
    assert brief(found) == ([(code, "alpha")] if code else [])


def test_conda_interpreter(python38: Path) -> None:
    python = interpreter(python38)
    assert list(leaks.interpreter(python)) == []
    found = list(leaks.interpreter(replace(python, conda=True)))
    assert brief(found) == [("EB112", "python")]
    # It stands in the manifest, which must not tell where the bundle was made.
    assert str(python38) not in found[0].cause


# --- paths of the builder -------------------------------------------------------------------------


def built_wheel(tmp_path: Path, content: str | bytes, built_from: str | None) -> StoredWheel:
    tree = tmp_path / "tree"
    unpack(tree, make_wheel(tmp_path, "alpha", files={"alpha.py": "", "alpha_config": content}))
    known = facts("alpha", files={f"{SITE}/alpha.py": "aa", f"{SITE}/alpha_config": "bb"})
    return StoredWheel(locked=locked("alpha"), facts=known, tree=tree, built_from=built_from)


@pytest.mark.parametrize(
    ("content", "built_from", "found"),
    [
        ("PREFIX = '/home/me/.cache/build/alpha'\n", "00", True),
        (b"\x7fELF\0\0/home/me/.cache/build/alpha\0", "00", True),
        ("PREFIX = '/home/me/.cache/build/alpha'\n", None, False),
        ("see /usr/lib and /srv/x and /home/melanie/.cache\n", "00", False),
        ("https://host.example/home/me/page\n", "00", False),
    ],
)
def test_paths_of_this_builder(
    tmp_path: Path,
    content: str | bytes,
    built_from: str | None,
    found: bool,  # noqa: FBT001 - as above
) -> None:
    wheel = built_wheel(tmp_path, content, built_from)
    findings = list(leaks.builders(lock(locked("alpha")), [wheel], builder=["/home/me", "/usr", "/root", ""]))
    assert [(one.code, one.severity) for one in findings] == ([("EB109", "warning")] if found else [])
    assert all("/home/me/.cache/build/alpha" in one.cause and one.chain == ("alpha",) for one in findings)


def test_paths_of_the_publishers_machine_are_information(tmp_path: Path) -> None:
    wheel = built_wheel(tmp_path, "", None)
    known = replace(wheel.facts, build_paths=(("lib/a.so", "/croot/a"), ("lib/b.so", "/croot/b")))
    (found,) = leaks.builders(lock(locked("alpha")), [replace(wheel, facts=known)], builder=["/home/me"])
    assert (found.code, found.severity, found.subject) == ("EB109", "info", "alpha")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"see /home/conda/feedstock_root/x_1/work/a.c\0more", "/home/conda/feedstock_root/x_1/work/a.c"),
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


@pytest.mark.parametrize("name", ["/home/conda/feedstock_root/x_1/work/a.c", "http://x/croot/y /croot/z"])
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


# --- the other facts ------------------------------------------------------------------------------


def test_startup_facts(tmp_path: Path) -> None:
    (tmp_path / SITE / "model").mkdir(parents=True)
    (tmp_path / SITE / "b.pth").write_bytes(b"\xef\xbb\xbf# a comment\n\n  folder \r\nimport x\n\xff\n")
    (tmp_path / SITE / "model/weights.pth").write_bytes(b"\0" * 100)
    listed = [f"{SITE}/b.pth", f"{SITE}/model/weights.pth"]
    expected = (StartupFact(path=listed[0], lines=("folder", "import x", "\ufffd")),)
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
