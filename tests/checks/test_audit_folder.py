"""`envbundle audit`: a folder that somebody made by hand is judged, and nothing of it is changed."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bundler.bundle import tree
from bundler.checks import audit_folder
from bundler.model import Policy, RoomLimits
from bundler.targets import interpreters, target
from bundler.wheels.store import Store

from tests.support import machine
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command


@pytest.fixture
def packages(tmp_path: Path, wheels: Path) -> Path:
    """As `pip install --target` leaves it."""
    folder = tmp_path / "packages"
    for wheel in (make_wheel(wheels, "app", requires=("base>=1",)), make_wheel(wheels, "base")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    (folder / "bin").mkdir()
    (folder / "bin" / "app").touch()
    with (folder / "app-1.0.dist-info" / "RECORD").open("a") as record:
        record.write("../../bin/app,,\n")
    return folder


def findings(envbundle: Command, *words: str) -> tuple[int, list[tuple[str, str]]]:
    done = envbundle("audit", "packages", "--python", "3.8", "--json", *words)
    rows = [(one["code"], one["subject"]) for one in done.json()["findings"] if one["severity"] == "error"]
    return done.code, rows


@pytest.mark.thorough
def test_a_sound_folder_stays_as_it_is(envbundle: Command, packages: Path) -> None:
    before = tree.scan(packages)
    done = envbundle("audit", "packages", "--python", "3.8", "--json")
    assert done.code == 0, done.stderr
    assert done.json()["distributions"] == ["app==1.0", "base==1.0"]
    assert done.json()["modules"] == 2
    assert [one for one in done.json()["findings"] if one["severity"] != "info"] == []
    assert tree.scan(packages) == before


def test_what_is_wrong_is_named(envbundle: Command, packages: Path) -> None:
    (packages / "app.py").write_text("import nowhere\n")
    (packages / "base.py").unlink()
    code, found = findings(envbundle)
    assert code == 1
    assert {("EB201", "app"), ("EB202", "base.py")} <= set(found), found


@pytest.mark.thorough
def test_a_folder_of_the_prefix_and_what_is_accepted(envbundle: Command, packages: Path) -> None:
    inside = packages.parent / "prefix/lib/python3.8/site-packages"
    inside.parent.mkdir(parents=True)
    packages.rename(inside)
    (inside / "extra.py").touch()
    (inside / "own").mkdir()
    for name in ("one.py", "two.py"):
        (inside / "own" / name).touch()
    done = envbundle("audit", "prefix", "--python", "3.8", "--json")
    rows = [(one["code"], one["severity"], one["subject"]) for one in done.json()["findings"]]
    rows = [row for row in rows if row[1] != "info"]
    assert rows == [("EB105", "warning", "extra.py"), ("EB105", "warning", "own")]
    strict = ["audit", "prefix", "--python", "3.8", "--strict"]
    assert envbundle(*strict).code == 1
    assert envbundle(*strict, "--ignore", "EB105:extra.py=ours", "--ignore", "EB105:own=ours").code == 0


@pytest.mark.thorough
def test_what_no_distribution_brings_is_imported_too(envbundle: Command, packages: Path) -> None:
    for path, source in {
        "works.py": "import base\n",
        "alone.py": "import nowhere\n",
        "own/__init__.py": "from base import absent\n",
        "asks.py": "import os\nos.environ['A_SETTING']\n",
        "reached.py": "import nothing\n",
        "bin/tool.py": "import nowhere\n",
    }.items():
        (packages / path).parent.mkdir(exist_ok=True)
        (packages / path).write_text(source)
    alone, asks, own = ("warning", "alone"), ("info", "asks"), ("warning", "own")
    assert loose(envbundle) == (0, [alone, asks, own, ("warning", "reached")], 3)
    (packages / "app.py").write_text("import reached\n")
    assert loose(envbundle) == (1, [alone, ("error", "app"), asks, own], 2)


def loose(envbundle: Command) -> tuple[int, list[tuple[str, str]], int]:
    """Exit code, EB201 by subject, number of modules that imported."""
    done = envbundle("audit", "packages", "--python", "3.8", "--json")
    found = done.json()
    rows = [(one["severity"], one["subject"]) for one in found["findings"] if one["code"] == "EB201"]
    return done.code, sorted(rows, key=lambda row: row[1]), found["modules"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["absent", "--python", "3.8"], "no such folder: absent"),
        ([".", "--python", "3.8"], "no distribution is installed"),
        (["packages"], "Python is not named"),
    ],
)
def test_what_cannot_be_audited(envbundle: Command, packages: Path, words: list[str], message: str) -> None:
    assert packages.is_dir()
    done = envbundle("audit", *words)
    assert (done.code, message in done.stderr) == (2, True)


LOOKS = """
import os
assert os.path.exists({seen!r})
assert not os.path.exists({files!r}), "it sees the store"
"""


def test_what_is_imported_sees_no_store_within_what_it_sees(
    packages: Path, python38: Path, tmp_path: Path
) -> None:
    """A cache can lie below the prefix of the interpreter, of which the imports see all."""
    store = Store(tmp_path / "prefix" / "cache")
    store.files.mkdir(parents=True)
    seen = tmp_path / "prefix" / "seen"
    seen.touch()
    (packages / "app.py").write_text(LOOKS.format(seen=str(seen), files=str(store.files)))
    interpreter = interpreters.probe(python38, cache_dir=tmp_path / "probes", origin="given")
    done = audit_folder.audit(
        packages,
        target=target.for_interpreter(interpreter, glibc=None),
        interpreter=replace(interpreter, base_prefix=seen.parent),
        image=None,
        accepted=Policy(),
        store=store,
        limits=RoomLimits(),
    )
    if "own-root" not in done.isolation:
        machine.lacking("no namespaces")
    assert [one.cause for one in done.findings if one.code == "EB201"] == []
