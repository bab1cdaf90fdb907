"""`scripts/attack hostile`: what hostile code does is seen, and in a room it does nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from scripts.attacks import hostile, hostile_code
from scripts.attacks.hostile_packages import Case, cases
from scripts.attacks.world import World, adopting, descendants, end

from tests.scripts.test_attack import attack
from tests.support.wheelmaker import make_wheel

OUTSIDE = [name for name, one in hostile_code.ATTACKS.items() if one.outside]


def small_world(root: Path, kind: type[World] = World) -> World:
    world = kind(root=root)
    for folder in (world.work, world.temporary, world.cache, world.wheels, root / "home"):
        folder.mkdir(parents=True)
    (world.cache / "file").touch()
    return world


def test_there_are_forty_at_each_moment() -> None:
    names = list(cases())
    for moment, least in (("import:", 40), ("start:", 20), ("build", 40), ("wheel", 40)):
        assert sum(name.startswith(moment) for name in names) >= least, moment


@pytest.mark.thorough
@pytest.mark.parametrize("name", OUTSIDE)
def test_what_code_does_outside_of_a_room_is_seen(tmp_path: Path, name: str) -> None:
    """Each could do harm, and would be found: so it says something that nothing is found in a room."""
    with adopting(), hostile.outside(small_world(tmp_path)) as there:
        there.look()
        before = set(descendants())
        code = hostile_code.program(hostile_code.ATTACKS[name], there.job) + "\nprint(json.dumps(got))\n"
        done = subprocess.run(
            [sys.executable, "-I", "-c", code], stdout=subprocess.PIPE, timeout=60, check=False
        )
        got = json.loads(done.stdout or "[]")
        left = set(descendants()) - before
        end(left)
        assert there.harm() or left or got
        assert there.job["terces"][::-1].encode() not in done.stdout


def test_nothing_that_was_not_done_is_told(tmp_path: Path) -> None:
    with hostile.outside(small_world(tmp_path)) as there:
        there.look()
        assert there.harm() == []


def test_what_is_not_sound_is_told(tmp_path: Path) -> None:
    """A run that lets a secret out, changes a file, leaves a process, and says that all is well."""

    class Careless(World):
        def start(self, *_: str, **given: Any) -> subprocess.Popen[bytes]:
            assert not given.get("alone")
            assert given["more"] is not None
            script = (
                'echo "$GITHUB_TOKEN \033[2J"; echo more >> home/.netrc; touch tmp/envbundle-x; sleep 99 &'
            )
            world: dict[str, Any] = {"env": {**given["more"]}, "stdout": given.get("output")}
            return subprocess.Popen(["/bin/sh", "-c", script], cwd=self.root, **world)

    def make(folder: Path, _: object) -> Path:
        return make_wheel(folder, "hostile")

    with adopting(), hostile.outside(small_world(tmp_path, Careless)) as there:
        wrong = hostile.try_one(there, Case(make=make, codes=(0,), says="well"))
    assert [one.partition(":")[0].partition(" '")[0] for one in wrong] == [
        "still runs after 1 s",
        "changed",
        "left over",
        "does not say",
        "prints the control character",
        "a secret came out",
        "there is no bundle",
    ][: len(wrong)]
    assert len(wrong) == 7


@pytest.mark.thorough
def test_hostile_packages_do_nothing() -> None:
    began = time.monotonic()
    done = attack("hostile", "import: the caller's files", "build: the store")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "2 cases, 0 not sound"
    assert time.monotonic() - began < 120


def test_an_unknown_case_is_named() -> None:
    done = attack("hostile", "nonsense")
    assert done.returncode == 2
    assert "no case begins with 'nonsense'" in done.stderr
