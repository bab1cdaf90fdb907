"""Runs that are killed at any moment: what `current` points at is whole, and the next run ends the work."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.create.test_interrupted import Running
from tests.support.nightly import Nightly, verify
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.command import Command

pytestmark = pytest.mark.thorough  # twenty runs are killed

MOMENTS = 20
BUNDLES = {"web": "root-dist", "scoring": "leaf", "batch": "other\nroot-dist"}
NAMES = [f"{name}-py{digits}" for name in BUNDLES for digits in ("37", "38")]


def stock(wheels: Path) -> None:
    wheels.mkdir()
    make_wheel(wheels, "root-dist", requires=["leaf"])
    files: dict[str, str | bytes] = {f"other/m{number}.py": f"VALUE = {number}\n" for number in range(120)}
    make_wheel(wheels, "other", files={**files, "other/__init__.py": ""})


def release(wheels: Path, number: int) -> None:
    """Every bundle needs it: each of them changes."""
    files: dict[str, str | bytes] = {f"leaf/m{part}.py": f"VALUE = {number}\n" for part in range(60)}
    make_wheel(wheels, "leaf", f"1.{number}", files={**files, "leaf/__init__.py": "from . import m0\n"})


class Watch:
    """Verifies every current build, over and over, as its place would."""

    def __init__(self, nightly: Nightly, pythons: dict[str, Path]) -> None:
        self._nightly = nightly
        self._pythons = pythons
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._watch, args=(name,)) for name in NAMES]
        self.failures: list[str] = []
        self.looks: dict[str, int] = dict.fromkeys(NAMES, 0)

    def _watch(self, name: str) -> None:
        while not self._over.is_set():
            done = verify(self._nightly.output / name / "current", self._pythons[name[-4:]])
            self.looks[name] += 1
            if done.returncode != 0:
                self.failures.append(f"{name}: {done.stdout}{done.stderr}")
            time.sleep(0.2)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join()


@pytest.fixture
def nightly(envbundle: Command, tmp_path: Path) -> Nightly:
    stock(tmp_path / "wheels")
    release(tmp_path / "wheels", 0)
    made = Nightly(command=envbundle, folder=tmp_path)
    made.write(BUNDLES, top="jobs = 2")
    return made


def test_killed_at_any_moment(nightly: Nightly, python37: Path, python38: Path) -> None:
    dice = random.Random(5)
    assert nightly.states() == dict.fromkeys(NAMES, "built")
    release(nightly.wheels, 1)
    started = time.monotonic()
    assert nightly.states() == dict.fromkeys(NAMES, "built")
    length = time.monotonic() - started
    resumed = 0
    watch = Watch(nightly, {"py37": python37, "py38": python38})
    with watch.watching():
        for number in range(2, 2 + MOMENTS):
            release(nightly.wheels, number)
            running = Running(nightly.command, "rebuild")
            # Half of the runs go with all their processes, half of them alone: the others must follow.
            time.sleep(dice.uniform(0, 1.1) * length)
            if number % 2:
                os.killpg(running.process.pid, signal.SIGKILL)
            else:
                running.process.kill()
            running.process.wait()
            rows = nightly.rows()
            assert list(rows) == NAMES
            resumed += any(row["state"] == "unchanged" for row in rows.values())
            for name in NAMES:
                assert {path.name for path in (nightly.output / name).iterdir()} == {"builds", "current"}
                assert len(nightly.builds(name)) <= 3
            assert not watch.failures, watch.failures[0]
    assert not watch.failures, watch.failures[0]
    assert min(watch.looks.values()) > MOMENTS
    assert resumed, "no run was killed late enough to have done something"
    ended = {name: nightly.current(name).name for name in NAMES}
    before = nightly.snapshot()
    assert nightly.states("--full") == dict.fromkeys(NAMES, "unchanged")
    assert nightly.snapshot() == before
    shutil.rmtree(nightly.output)
    assert nightly.states() == dict.fromkeys(NAMES, "built")
    assert {name: nightly.current(name).name for name in NAMES} == ended
