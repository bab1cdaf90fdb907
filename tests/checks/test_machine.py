"""`envbundle doctor`: each question with a machine that is fine and one that is not."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.checks import machine
from bundler.system import index_settings
from bundler.system.room import CONFINED
from bundler.wheels.store import Store

from tests.support.bundlemaker import interpreter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bundler.checks.machine import Row

    from tests.support.command import Command


def states(rows: Iterable[Row]) -> list[str]:
    found = list(rows)
    assert all(row.says and bool(row.remedy) is (row.state != "ok") for row in found)
    return [row.state for row in found]


def touch(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# --- each question --------------------------------------------------------------------------------


def test_targets(tmp_path: Path, python38: Path) -> None:
    store = Store(tmp_path / "cache")
    environ = {"PATH": str(python38.parent), "HOME": str(tmp_path)}
    rows, found = machine.targets(["3.8"], store=store, environ=environ)
    assert (states(rows), [one.minor for one in found]) == (["ok"], ["3.8"])
    assert str(python38.resolve()) in rows[0].says


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(["3.7.99"], ["problem"]), (["3.8.99"], ["note"]), (["3.7.99", "3.8.99"], ["problem", "note"])],
)
def test_missing_targets(tmp_path: Path, asked: list[str], expected: list[str]) -> None:
    """3.7 cannot be fetched, 3.8 can."""
    rows, found = machine.targets(asked, store=Store(tmp_path), environ={"PATH": "", "HOME": str(tmp_path)})
    assert (states(rows), found) == (expected, ())
    assert all("looked at" in row.says and "pyenv install" in row.remedy for row in rows)


PTH = {
    "runs": ("a.pth", "# comment\nimport os; os.environ['X'] = '1'\n", True),
    "a path": ("a.pth", "/somewhere\n", False),
    "no import": ("a.pth", "imported/path\n", False),
    "setuptools": ("distutils-precedence.pth", "import os; pass\n", False),
    "namespace": ("zope-nspkg.pth", "import sys, types, os\n", False),
    "customize": ("sitecustomize.py", "", True),
    "module": ("customize.py", "", False),
}


@pytest.mark.parametrize(("version", "state"), [("3.15.0", "note"), ("3.14.2", "ok")])
def test_start_files(tmp_path: Path, python38: Path, version: str, state: str) -> None:
    minor = version.rpartition(".")[0]
    touch(tmp_path / f"lib/python{minor}/site-packages/a.start", "a.hooks:install\n")
    base = replace(interpreter(python38), base_prefix=tmp_path, version=version)
    assert states(machine.startup_code(base)) == [state]


@pytest.mark.parametrize(("name", "text", "found"), PTH.values(), ids=PTH)
def test_startup_code(tmp_path: Path, python38: Path, name: str, text: str, *, found: bool) -> None:
    path = touch(tmp_path / "lib/python3.8/site-packages" / name, text)
    rows = list(machine.startup_code(replace(interpreter(python38), base_prefix=tmp_path)))
    assert states(rows) == (["note"] if found else ["ok"])
    assert (str(path) in rows[0].says) is found


def test_user_sites(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    assert states(machine.user_sites(["3.7", "3.8"], environ)) == ["ok"]
    touch(tmp_path / ".local/lib/python3.8/site-packages/six-1.0.dist-info/METADATA")
    (row,) = machine.user_sites(["3.7", "3.8"], environ)
    assert (row.state, row.topic) == ("note", "user site of 3.8")
    assert states(machine.user_sites(["3.8"], {**environ, "PYTHONUSERBASE": str(tmp_path / "other")})) == [
        "ok"
    ]


def test_conda(tmp_path: Path) -> None:
    assert states(machine.conda({}, prefix=tmp_path)) == ["ok"]
    (tmp_path / "conda-meta").mkdir()
    rows = list(machine.conda({"CONDA_PREFIX": "/opt/conda"}, prefix=tmp_path))
    assert states(rows) == ["note", "note"]
    assert "/opt/conda" in rows[0].says


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HOME": "/h", "LANG": "C"}, "ok"),
        ({"PYTHONPATH": "/secret"}, "note"),
        ({"PYTHONHOME": "/secret"}, "note"),
        ({"LD_PRELOAD": "/secret"}, "note"),
    ],
)
def test_variables_by_name_only(environ: dict[str, str], expected: str) -> None:
    (row,) = machine.variables(environ)
    assert row.state == expected
    assert "/secret" not in row.says
    if expected == "note":
        assert all(name in row.says for name in environ)


def test_pip_settings(tmp_path: Path) -> None:
    config = touch(tmp_path / "pip.conf", "[global]\nindex-url = https://user:secret@index.example/\n")
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PIP_CONFIG_FILE": str(config)}
    assert states(machine.pip_settings(environ)) == ["ok"]
    index_settings._listing.cache_clear()
    touch(config, "[global]\ntarget = /somewhere\n[install]\nuser = true\n")
    (row,) = machine.pip_settings(environ)
    assert (row.state, row.says) == ("note", "not used: target, user")
    index_settings._listing.cache_clear()
    touch(config, "no section\n")
    assert states(machine.pip_settings(environ)) == ["problem"]


@pytest.mark.parametrize(
    ("held", "state", "lacks"),
    [
        (["moved", *CONFINED], "ok", []),
        (["moved", "no-network", "read-only"], "note", ["the caller's files", "outlive the proof"]),
        (["no-network"], "note", ["writes into the bundle", "place of the build"]),
        ([], "note", ["network", "writes into the bundle", "place of the build"]),
    ],
)
def test_isolation(held: list[str], state: str, lacks: list[str]) -> None:
    row = machine.isolation(held)
    assert row.state == state
    assert all(words in row.says for words in lacks)


@pytest.mark.parametrize(
    ("free", "state"), [(80_000_000_000, "ok"), (1_900_000_000, "note"), (100_000_000, "problem")]
)
def test_space(tmp_path: Path, free: int, state: str) -> None:
    assert states([machine.free_space("cache", tmp_path, free)]) == [state]
    assert len(list(machine.space(tmp_path / "not/yet", tmp_path))) == 2


def test_filesystems(tmp_path: Path) -> None:
    assert states(machine.filesystems(tmp_path / "not/yet", tmp_path)) == ["ok"]
    assert states(machine.filesystems(tmp_path, Path("/proc"))) == ["note"]


def test_cache_that_cannot_be_written(tmp_path: Path) -> None:
    assert states(machine.writable(tmp_path / "cache")) == ["ok"]
    assert states(machine.writable(touch(tmp_path / "file") / "cache")) == ["problem"]


def test_programs(tmp_path: Path) -> None:
    assert states(machine.programs({"PATH": str(tmp_path)})) == ["note", "note"]
    for name in ("gcc", "git"):
        touch(tmp_path / name).chmod(0o755)
    assert states(machine.programs({"PATH": str(tmp_path)})) == ["ok", "ok"]


# --- the command ----------------------------------------------------------------------------------


@pytest.mark.thorough
def test_command(envbundle: Command, tmp_path: Path) -> None:
    done = envbundle("doctor", "--json", environ={"PYTHONHASHSEED": "7", "CONDA_PREFIX": "/opt/conda"})
    rows = {row["topic"]: row for row in done.json()["rows"]}
    assert (done.code, done.json()["ok"]) == (0, True), done.stdout
    assert rows["Python 3.8"]["state"] == "ok"
    assert rows["conda"]["state"] == rows["variables"]["state"] == "note"
    assert {"machine", "cache", "namespaces", "filesystem", "compiler", "git", "tools"} <= rows.keys()
    plain = envbundle("doctor", "--python", "3.8")
    assert plain.code == 0
    assert "Python 3.8" in plain.stdout
    assert "Python 3.7" not in plain.stdout


@pytest.mark.parametrize(("words", "code"), [(["--python", "3.7.99"], 3), (["--python", "2.7"], 2)])
def test_exit_codes(envbundle: Command, words: list[str], code: int) -> None:
    done = envbundle("doctor", "--json", *words)
    assert (done.code, done.json()["ok"]) == (code, False)
