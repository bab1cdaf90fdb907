"""`scripts/attack`: what it tries holds for a moment, and what does not hold is told."""

from __future__ import annotations

import base64
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from scripts.attacks import faults, kills, planted_tokens
from scripts.attacks.world import World, adopting, descendants, make_world

from tests.support import machine

PROGRAM = Path(__file__).resolve().parents[2] / "scripts" / "attacks"


def attack(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, PROGRAM, *words], capture_output=True, text=True, check=False)


@pytest.mark.thorough
def test_every_reader_answers() -> None:
    done = attack("fuzz", "--seconds", "0.5", "--seed", "7")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(
        r"^(\S.*?) +(\d+) inputs, +(\d+) accepted, 0 without an answer, 0 of them hang; \d+ MiB at most$",
        done.stdout,
        re.MULTILINE,
    )
    names = {name for name, _, _ in rows}
    assert {
        "manifest",
        "lock",
        "wheel",
        "tar.gz",
        "page-json",
        "envbundle.toml",
        "signers",
        "parcel",
        "sdist",
        "delta",
        "delta control",
        "statement.json",
    } <= names
    assert all(int(accepted) >= 1 for _, _, accepted in rows), "the unchanged input is accepted"
    assert sum(int(count) for _, count, _ in rows) > 2 * len(rows)


@pytest.mark.thorough
def test_an_unknown_reader_is_named() -> None:
    done = attack("fuzz", "nonsense")
    assert done.returncode == 2
    assert "no reader 'nonsense'" in done.stderr


@pytest.mark.thorough
def test_killed_runs_heal() -> None:
    done = attack(
        "kills", "deploy", "save", "load --keep", "apply.py --verify", "--count", "4", "--seed", "3"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "4 kills, 0 not sound"


@pytest.mark.thorough
def test_stopped_runs_say_so_and_leave_nothing() -> None:
    done = attack(
        "kills", "audit", "load --keep", "rehearse", "report", "--stop", "--count", "4", "--seed", "5"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "4 stops, 0 not sound"


ENDED_BY_IT = """
import os, signal
def end(number, _):
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
signal.signal(signal.SIGTERM, end)
signal.pause()
"""


@pytest.mark.parametrize("whole", [True, False])
def test_a_run_that_a_signal_itself_has_ended_has_made_all(tmp_path: Path, *, whole: bool) -> None:
    """As Python ends, a signal ends it without a word; before that it must not."""

    class Ended(World):
        def start(self, *_: str, **given: Any) -> subprocess.Popen[bytes]:
            assert [given.get(name) or None for name in ("more", "output", "alone")] == [None] * 3
            return subprocess.Popen([sys.executable, "-c", ENDED_BY_IT], stdout=subprocess.PIPE)

        def run(self, *_: str, alone: bool = False) -> tuple[int, str]:
            assert not alone
            (self.work / "product").touch()
            return 0, ""

    world = make_world(tmp_path)
    known = kills.Baseline(seconds=0, product="", names=frozenset(world.temporary_names()))
    if whole:
        (world.work / "product").touch()
    victim = kills.Victim(words=("x",), product=lambda one: (one.work / "product").read_text())
    wrong = kills.kill(Ended(root=tmp_path), victim, known, moment=0.1, by=signal.SIGTERM)
    assert wrong == ([] if whole else ["exit code -15: "])


@pytest.mark.thorough
def test_what_a_killed_run_left_is_told(tmp_path: Path) -> None:
    """A run that leaves a process, a file and another product is not sound."""
    world = make_world(tmp_path)
    (world.work / "product").write_text("good")
    known = kills.Baseline(seconds=0, product="another", names=frozenset(world.temporary_names()))

    class Sleepy(World):
        def start(self, *_: str, **given: Any) -> subprocess.Popen[bytes]:
            assert [given.get(name) or None for name in ("more", "output", "alone")] == [None] * 3
            (world.temporary / "envbundle-left").touch()
            return subprocess.Popen(["/bin/sh", "-c", "sleep 300 & exec sleep 300"])

        def run(self, *_: str, alone: bool = False) -> tuple[int, str]:
            assert not alone
            return 0, ""

    victim = kills.Victim(words=("x",), product=lambda one: (one.work / "product").read_text())
    with adopting():
        wrong = kills.kill(Sleepy(root=tmp_path), victim, known, moment=0.2)
        assert not [line for line in descendants().values() if "sleep 300" in line]
    assert [one.partition(":")[0] for one in wrong] == [
        "still runs after 1 s",
        "the next run gives something else",
        "left over",
    ]


def test_an_unknown_command_is_named() -> None:
    done = attack("kills", "nonsense")
    assert done.returncode == 2
    assert "no command 'nonsense'" in done.stderr


@pytest.mark.thorough
def test_faults_heal_or_are_told() -> None:
    done = attack("faults", "verify", "cache verify", "--count", "4", "--seed", "3")
    if done.returncode == 3:
        machine.lacking("no mount namespaces")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "4 runs, 0 not sound"


@pytest.mark.parametrize(
    ("code", "printed", "wrong"),
    [
        (0, "", []),
        (3, "error: the disk is full\nhint: make space\n", []),
        (3, "", ["0 errors are told"]),
        (3, "error: a\nerror: b\n", ["2 errors are told"]),
        (0, "error: a\n", ["1 errors are told"]),
        (1, "", ["exit code 1"]),
        (4, "error: this is a bug in envbundle\n", ["a traceback", "exit code 4", "1 errors are told"]),
        (None, "", ["hangs"]),
    ],
)
def test_what_is_no_good_end_is_told(code: int | None, printed: str, wrong: list[str]) -> None:
    found = faults.wrong_end(faults.Ended(code=code, printed=printed), findings=False)
    assert [one.partition(":")[0] for one in found] == wrong


def test_a_damaged_store_is_put_back(tmp_path: Path) -> None:
    chance = random.Random(1)
    for kind in faults.DAMAGE:
        cache = tmp_path / kind / "cache"
        cache.mkdir(parents=True)
        (cache / "file").write_bytes(b"content")
        with faults.store(cache, kind, chance) as path:
            whole = (cache / path).is_file() and not (cache / path).is_symlink()
            assert not (whole and (cache / path).read_bytes() == b"content"), kind
        assert (cache / "file").read_bytes() == b"content"


@pytest.mark.thorough
def test_planted_tokens_stay_where_they_are() -> None:
    done = attack("secrets", "--count", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "2 runs (2 ended well), from 0 a token came out"


@pytest.mark.thorough
def test_a_token_that_comes_out_is_told(tmp_path: Path) -> None:
    """Printed, in the process list, quoted in a file, and as HTTP has it."""
    token = "first/second"
    world = make_world(tmp_path)

    class Talkative(World):
        def start(self, *_: str, **given: Any) -> subprocess.Popen[bytes]:
            assert not given.get("alone")
            assert not given.get("more")
            (world.work / "quoted").write_text("https://h.test/?sig=first%2Fsecond")
            (world.work / "header").write_text(base64.b64encode(b"robot:first/second").decode())
            code = f"import sys, time; print({token!r}); sys.stdout.flush(); time.sleep(0.5)"
            return subprocess.Popen([sys.executable, "-c", code], stdout=given.get("output"))

    plant = planted_tokens.Plant(words=(), files={"work/planted": token})
    code, wrong = planted_tokens.look(Talkative(root=tmp_path), ("create",), plant, token)
    assert code == 0
    assert [one.partition(":")[0] for one in wrong] == [
        "in what it prints",
        "in the process list",
        "in work/header",
        "in work/quoted",
    ]
