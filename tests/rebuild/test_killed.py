"""Runs that are stopped or killed: `current` is whole at every moment, and the next run ends the work."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.create.test_interrupted import Running
from tests.support.nightly import NAMES, Nightly, verify
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.command import Command

pytestmark = pytest.mark.thorough

MOMENTS = int(os.environ.get("KILLS", "4"))
"""Kills in a run: twenty take five minutes and more, so that the tests take a sample unless told."""

REQUIREMENTS = {"web": "root-dist", "scoring": "leaf", "batch": "other\nroot-dist"}
JOBS = [f"{name}-py{digits}" for name in REQUIREMENTS for digits in ("37", "38")]


def stock(wheels: Path) -> None:
    wheels.mkdir()
    make_wheel(wheels, "root-dist", requires=["leaf"])
    files: dict[str, str | bytes] = {f"other/m{number}.py": f"VALUE = {number}\n" for number in range(120)}
    make_wheel(wheels, "other", files={**files, "other/__init__.py": ""})


def release(wheels: Path, number: int) -> None:
    """Every bundle needs it: each of them changes."""
    files: dict[str, str | bytes] = {f"leaf/m{part}.py": f"VALUE = {number}\n" for part in range(60)}
    make_wheel(wheels, "leaf", f"1.{number}", files={**files, "leaf/__init__.py": "from . import m0\n"})


class Verifier:
    """Verifies every current build, over and over, as its place would."""

    def __init__(self, nightly: Nightly, pythons: dict[str, Path]) -> None:
        self._nightly = nightly
        self._pythons = pythons
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._verify, args=(name,)) for name in JOBS]
        self.failures: list[str] = []
        self.looks: dict[str, int] = dict.fromkeys(JOBS, 0)

    def _verify(self, name: str) -> None:
        while not self._over.is_set():
            done = verify(self._nightly.output / name / "current", self._pythons[name[-4:]])
            self.looks[name] += 1
            if done.returncode != 0:
                self.failures.append(f"{name}: {done.stdout}{done.stderr}")
            time.sleep(0.2)

    @contextlib.contextmanager
    def verifying(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join()


def current_builds(nightly: Nightly) -> set[Path]:
    return {nightly.current(name) for name in JOBS}


def wait_for_a_new_build(nightly: Nightly, in_use: set[Path]) -> None:
    limit = time.monotonic() + 120
    while current_builds(nightly) == in_use:
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.fixture
def nightly(envbundle: Command, tmp_path: Path) -> Nightly:
    stock(tmp_path / "wheels")
    release(tmp_path / "wheels", 0)
    made = Nightly(command=envbundle, folder=tmp_path)
    made.write(REQUIREMENTS, top="jobs = 2")
    return made


def test_killed_at_any_moment(nightly: Nightly, python37: Path, python38: Path) -> None:
    dice = random.Random(5)
    assert nightly.states() == dict.fromkeys(JOBS, "built")
    release(nightly.wheels, 1)
    started = time.monotonic()
    assert nightly.states() == dict.fromkeys(JOBS, "built")
    length = time.monotonic() - started
    resumed = 0
    verifier = Verifier(nightly, {"py37": python37, "py38": python38})
    with verifier.verifying():
        for number in range(2, 2 + MOMENTS):
            release(nightly.wheels, number)
            in_use = current_builds(nightly)
            running = Running(nightly.command, "rebuild")
            # Half of the runs go with all their processes, half of them alone: the others must follow.
            if number > MOMENTS:
                # Late enough to have done something, however slow the machine is.
                wait_for_a_new_build(nightly, in_use)
            else:
                time.sleep(dice.uniform(0, 1.1) * length)
            if number % 2:
                os.killpg(running.process.pid, signal.SIGKILL)
            else:
                running.process.kill()
            running.process.wait()
            rows = nightly.rows()
            assert list(rows) == JOBS
            resumed += any(row["state"] == "unchanged" for row in rows.values())
            for name in JOBS:
                assert {path.name for path in (nightly.output / name).iterdir()} == {"builds", "current"}
                assert len(nightly.builds(name)) <= 3
            assert not verifier.failures, verifier.failures[0]
    assert not verifier.failures, verifier.failures[0]
    assert min(verifier.looks.values()) > MOMENTS
    assert resumed, "no run was killed late enough to have done something"
    ended = {name: nightly.current(name).name for name in JOBS}
    snapshot = nightly.snapshot()
    assert nightly.states("--full") == dict.fromkeys(JOBS, "unchanged")
    assert nightly.snapshot() == snapshot
    shutil.rmtree(nightly.output)
    assert nightly.states() == dict.fromkeys(JOBS, "built")
    assert {name: nightly.current(name).name for name in JOBS} == ended


def test_two_runs_at_once(one: Nightly) -> None:
    make_wheel(one.wheels, "leaf", "1.6", files={"leaf.py": "import time\ntime.sleep(2)\n"})
    running = Running(one.command, "-v", "rebuild")
    running.wait_for("imports.py")
    running.process.send_signal(signal.SIGSTOP)  # it is at work for as long as the other one needs
    refused = one("--json")
    running.process.send_signal(signal.SIGCONT)
    assert refused.code == 2, refused.stderr
    assert f"(process {running.process.pid})" in refused.json()["error"]["message"]
    assert running.process.wait(120) == 0, running.stderr
    assert one.states() == {"web-py38": "unchanged"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped(six: Nightly, number: signal.Signals, code: int, python38: Path) -> None:
    """The bundles that are at work leave nothing; what was done stays done."""
    # Not twice the same: what was imported once is not imported again.
    make_wheel(six.wheels, "leaf", "1.6", files={"leaf.py": f"import time\ntime.sleep(600)\n# {code}\n"})
    (six.folder / "batch.txt").write_text("other\nleaf==1.5\n")
    before = {name: six.current(name) for name in NAMES if not name.startswith("batch")}
    running = Running(
        six.command, "rebuild", "-j", "3", "--only", "batch-py38", "--only", "web-py38", "--only", "web-py37"
    )
    running.wait_for("built        batch-py38")
    time.sleep(1.5)
    assert running.end(number, within=60) == code, running.stderr
    assert "interrupted: 1 of 3 bundles were done, 1 of them built anew" in running.stderr
    assert "Traceback" not in running.stderr
    assert {name: six.current(name) for name in before} == before
    for name in NAMES:
        assert {path.name for path in (six.output / name).iterdir()} == {"builds", "current"}
    assert verify(six.current("batch-py38"), python38).returncode == 0
    (six.wheels / "leaf-1.6-py3-none-any.whl").unlink()
    assert six.states("--only", "web", "--only", "batch-py38") == dict.fromkeys(
        ["web-py37", "web-py38", "batch-py38"], "unchanged"
    )


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def test_a_process_that_is_killed_stops_no_other(six: Nightly) -> None:
    make_wheel(six.wheels, "leaf", "1.6", files={"leaf.py": "import time\ntime.sleep(2)\n"})
    old = six.current("web-py38")
    running = Running(six.command, "-v", "rebuild", "--only", "web-py38", "--only", "web-py37")
    running.wait_for("imports.py")
    [worker] = children(running.process.pid)
    os.kill(worker, signal.SIGKILL)
    assert running.process.wait(120) == 3, running.stderr
    rows = {row["name"]: row for row in json.loads((six.output / "summary.json").read_text())["bundles"]}
    assert sorted(row["state"] for row in rows.values()) == ["built", "failed"]
    [failed] = [row for row in rows.values() if row["state"] == "failed"]
    assert "signal 9" in failed["error"]
    assert "memory" in failed["hint"]
    assert failed["build"] is not None
    assert old.is_dir()
    # What the killed one has left is taken away by the next run.
    assert "built" in six.states("--only", "web").values()
    for name in ("web-py37", "web-py38"):
        assert {path.name for path in (six.output / name).iterdir()} == {"builds", "current"}


def test_a_killed_run_leaves_no_process(one: Nightly) -> None:
    make_wheel(one.wheels, "leaf", "1.6", files={"leaf.py": "import time\ntime.sleep(3)\n"})
    running = Running(one.command, "-v", "rebuild")
    running.wait_for("imports.py")
    [worker] = children(running.process.pid)
    running.process.kill()
    running.process.wait()
    limit = time.monotonic() + 60
    while Path(f"/proc/{worker}").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()
    (one.wheels / "leaf-1.6-py3-none-any.whl").unlink()
    assert one.states() == {"web-py38": "unchanged"}
    assert {path.name for path in (one.output / "web-py38").iterdir()} == {"builds", "current"}
