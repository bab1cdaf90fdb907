"""EB1xx: the lock against what is installed, what leads out of the tree, and paths of the builder."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bundler.checks import installed
from bundler.checks.imports.evidence import Elsewhere
from bundler.checks.installed import ObservedDistribution
from bundler.checks.rules import leaks
from bundler.model import StartupFact, StoredWheel

from tests.support.bundlemaker import facts, interpreter, lock, locked, unpack
from tests.support.findings import brief
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
        ("alpha.start", "__editable___alpha_1_0_finder:install", "EB106"),
        ("alpha.start", "alpha.hooks:install", ""),
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


COMMIT = {"vcs": "git", "commit_id": "a" * 40}
CONDA_URL = "file:///home/conda/feedstock_root/build_artifacts/numpy_1653325313343/work"


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"INSTALLER": "conda\n"}, "EB111"),
        ({"INSTALLER": "pip\n"}, ""),
        ({"direct_url.json": json.dumps({"url": CONDA_URL, "dir_info": {}})}, "EB111"),
        ({"direct_url.json": json.dumps({"url": "file:///croot/alpha_1/work"})}, "EB111"),
        ({"direct_url.json": json.dumps({"url": "file:///home/me/alpha-1.0.whl"})}, "EB108"),
        ({"direct_url.json": json.dumps({"url": "file:///srv/alpha.git", "vcs_info": COMMIT})}, ""),
        ({"direct_url.json": json.dumps({"url": "ssh://git@x.example/alpha.git", "vcs_info": COMMIT})}, ""),
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
        # What `assert` of a header writes: nothing opens it.
        (b"\x7fELF\0\0/home/me/include/python3.11/tupleobject.h\0", "00", False),
        (b"\x7fELF\0/home/me/a.h\0/home/me/.cache/build/alpha\0", "00", True),
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


def test_a_home_whose_name_is_no_utf8_is_found(tmp_path: Path) -> None:
    wheel = built_wheel(tmp_path, b"\x7fELF\0/home/m\xff/.cache/build/alpha\0", "00")
    home = os.fsdecode(b"/home/m\xff")
    assert [one.code for one in leaks.builders(lock(locked("alpha")), [wheel], builder=[home])] == ["EB109"]


def test_paths_of_the_publishers_machine_are_information(tmp_path: Path) -> None:
    wheel = built_wheel(tmp_path, "", None)
    known = replace(wheel.facts, build_paths=(("lib/a.so", "/croot/a"), ("lib/b.so", "/croot/b")))
    (found,) = leaks.builders(lock(locked("alpha")), [replace(wheel, facts=known)], builder=["/home/me"])
    assert (found.code, found.severity, found.subject) == ("EB109", "info", "alpha")


# --- the lock, pip freeze, imports -----------------------------------------------------------------


LOCK = lock(locked("alpha"), locked("argparse", "1.4", required_by=("alpha",)), locked("odd-name", "1.0"))
SOUND = ["alpha==1.0", "# a comment", "", "Odd.Name @ file:///x/odd.whl#sha256=00"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (SOUND, []),
        (["alpha===1.0.0", "odd_name==1.0"], []),
        (["odd-name==1.0"], [("EB101", "alpha")]),
        (["alpha==2.0", "odd-name==1.0"], [("EB103", "alpha")]),
        ([*SOUND, "pip==24.0"], [("EB102", "pip")]),
        ([*SOUND, "# Editable install (ed==1.0)", "-e /home/me/ed"], [("EB106", "-e /home/me/ed")]),
        (["alpha==1.0+cpu", "odd-name==1.0"], [("EB103", "alpha")]),
    ],
)
def test_freeze_against_lock(lines: list[str], expected: list[tuple[str, str]]) -> None:
    assert brief(leaks.freeze(LOCK, lines)) == expected


def test_reader_against_lock_hides_nothing() -> None:
    seen = [("alpha", "1.0.0"), ("odd-name", "1.1"), ("extra", "3")]
    found = installed.Observed(
        distributions=tuple(ObservedDistribution(name=name, version=v, dist_info="x") for name, v in seen)
    )
    findings = list(leaks.installed(LOCK, found))
    assert brief(findings) == [("EB101", "argparse"), ("EB103", "odd-name"), ("EB102", "extra")]
    assert findings[0].chain == ("alpha", "argparse")


def test_baseline() -> None:
    assert list(leaks.baseline(["", "# nothing"])) == []
    assert brief(leaks.baseline(["pip==24.0"])) == [("EB104", "pip==24.0")]


def test_elsewhere() -> None:
    assert list(leaks.loaded_elsewhere(())) == []
    found = list(leaks.loaded_elsewhere([Elsewhere(kind="module", name="yaml", path="/opt/yaml.py")]))
    assert brief(found) == [("EB110", "yaml")]
    assert "/opt/yaml.py" in found[0].cause
