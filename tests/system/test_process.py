"""Programs: a conversation with one that answers lines, and what is said where it ends."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bundler.errors import CommandError, TimeLimitError
from bundler.system import process, redact


@pytest.mark.parametrize("script", ["pass", "input(); raise SystemExit(3)", "import os; os._exit(0)"])
def test_a_program_that_ends_is_told(tmp_path: Path, target_python: Path, script: str) -> None:
    env = process.clean_environment(home=tmp_path)
    with (
        process.converse([target_python, "-c", script], env=env) as program,
        pytest.raises(CommandError, match="ended with exit code"),
    ):
        program.ask("anything")


def test_answers_come_in_turn(tmp_path: Path, target_python: Path) -> None:
    script = "import sys\nfor line in sys.stdin: print(line.strip() * 2, flush=True)"
    env = process.clean_environment(home=tmp_path)
    with process.converse([target_python, "-c", script], env=env) as program:
        assert [program.ask(word) for word in ("a", "b", "ü" * 70_000)] == ["aa", "bb", "ü" * 140_000]
    with (
        pytest.raises(CommandError, match="could not be started"),
        process.converse([tmp_path / "nothing"], env=env),
    ):
        pass


@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
def test_what_is_printed_is_looked_through_for_the_log_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, level: int
) -> None:
    """What copies a tree prints megabytes."""
    looked: list[str] = []
    plain = redact.text

    def look(value: str) -> str:
        looked.append(value)
        return plain(value)

    monkeypatch.setattr(redact, "text", look)
    caplog.set_level(level, logger=process.logger.name)
    env = process.clean_environment(home=tmp_path)
    process.run(["/bin/sh", "-c", "echo https://me:sec''ret@example.org"], env=env)
    assert ("https://me:secret@example.org" in looked) == (level == logging.DEBUG)
    assert ("https://****@example.org" in caplog.text) == (level == logging.DEBUG)


def test_a_program_reads_what_comes_later(tmp_path: Path, target_python: Path) -> None:
    """And does not keep whoever writes to it when it has ended."""
    env = process.clean_environment(home=tmp_path)
    for script, expected in (("import sys; print(sys.stdin.read() * 2)", "abab\n"), ("print('c')", "c\n")):
        reading, writing = os.pipe()
        with ThreadPoolExecutor() as pool, open(writing, "wb") as job:  # noqa: PTH123 - a descriptor
            words: list[str | Path] = [target_python, "-c", script]
            running = pool.submit(process.run, words, env=env, stdin=open(reading, "rb"))  # noqa: SIM115, PTH123 - as above; `run` closes it
            if expected == "c\n":
                assert running.result(60).stdout == expected
                with pytest.raises(BrokenPipeError):
                    os.write(writing, b"d" * 200_000)
            else:
                job.write(b"ab")
                job.close()
                assert running.result(60).stdout == expected


def test_an_answer_that_takes_too_long_ends_the_program(tmp_path: Path) -> None:
    """Also one that has been stopped, and what it has started."""
    words = ["/bin/sh", "-c", "sleep 600 & read line; echo $!; read line; kill -STOP $$"]
    with process.converse(words, env=process.clean_environment(home=tmp_path)) as program:
        started = int(program.ask("one", timeout=60))
        with pytest.raises(TimeLimitError, match=r"did not answer within 0.3 seconds"):
            program.ask("another", timeout=0.3)
    ended = time.monotonic()
    while is_alive(started):  # it has been killed, and ends by itself
        assert time.monotonic() - ended < 60
        time.sleep(0.02)


def test_streams_are_read_together_and_text_comes_whole(tmp_path: Path, target_python: Path) -> None:
    """More than a pipe holds, on all three at once, with the line ends of other systems."""
    script = "import sys; data = sys.stdin.read(); sys.stderr.write(data); print(len(data), end='\\r\\n')"
    done = process.run(
        [target_python, "-c", script], env=process.clean_environment(home=tmp_path), stdin="ü\n" * 300_000
    )
    assert (done.stdout, done.stderr) == ("600000\n", "ü\n" * 300_000)
    # It need not read what it is told.
    assert process.run(["/bin/true"], env={}, stdin="x" * 1_000_000).stdout == ""


KILLED = """
import os, sys, threading, time
from pathlib import Path
from bundler.system import process
words = ["/bin/sh", "-c", f"echo $$ > {sys.argv[1]}; exec sleep 60"]
if sys.argv[2] == "thread":
    threading.Thread(target=process.run, args=(words,), kwargs={"env": {}}, daemon=True).start()
    time.sleep(60)
if sys.argv[2] == "conversation":
    with process.converse(words, env={}):
        time.sleep(60)
process.run(words, env={})
"""


@pytest.mark.skipif(not process._launcher(), reason="no setpriv (util-linux 2.33 or later)")
@pytest.mark.parametrize("where", ["main", "thread", "conversation"])
def test_a_program_is_killed_with_us(tmp_path: Path, where: str) -> None:
    """By the kernel: nothing of ours runs after a `kill -9`."""
    words = [sys.executable, "-c", KILLED, str(tmp_path / "pid"), where]
    with subprocess.Popen(words) as ours:
        started = time.monotonic()
        while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
            assert time.monotonic() - started < 60
            time.sleep(0.02)
        program = int((tmp_path / "pid").read_text())
        assert is_alive(program)
        ours.kill()
    while is_alive(program):
        assert time.monotonic() - started < 60
        time.sleep(0.02)


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    for program in ("no-such-program", str(tmp_path)):
        with pytest.raises(CommandError, match="could not be started") as caught:
            process.run([program], env={"PATH": "/usr/bin"})
        assert caught.value.returncode is None


FAMILY = """
sleep 600 & one=$!
setsid sleep 600 & two=$!
echo $$ $one $two > pids
mv pids all
sleep 600
"""
"""Shell, which has started before a time limit of three seconds on any machine."""


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.thorough
@pytest.mark.parametrize("how", ["limit", "raised"])
def test_a_program_that_is_ended_leaves_no_child(tmp_path: Path, how: str) -> None:
    """Neither in its own process group nor in another one, which holds its pipes open."""
    env = process.clean_environment(home=tmp_path)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if how == "raised" and (tmp_path / "all").exists():
            raise KeyboardInterrupt

    limit = 3 if how == "limit" else 300
    with pytest.raises(TimeLimitError if how == "limit" else KeyboardInterrupt):
        process.run(["/bin/sh", "-c", FAMILY], env=env, cwd=tmp_path, timeout=limit, on_wait=wait)
    pids = [int(pid) for pid in (tmp_path / "all").read_text().split()]
    assert len(pids) == 3
    deadline = time.monotonic() + 60
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, pids))
    assert waited == sorted(waited)
    assert waited[0] >= 0.9


@pytest.mark.parametrize("apart", ["", "setsid "], ids=["its group", "another group"])
def test_what_a_program_left_behind_keeps_nobody(tmp_path: Path, apart: str) -> None:
    """It holds the output of a program that has ended; in the program's own group it is killed."""
    script = f"{apart}sh -c 'sleep 20; touch ended' & echo $! > pid; echo told >&2"
    env = process.clean_environment(home=tmp_path)
    done = process.run(["/bin/sh", "-c", script], env=env, cwd=tmp_path)
    assert not (tmp_path / "ended").exists(), "it was waited for"
    assert done.stderr == "told\n"
    left = int((tmp_path / "pid").read_text())
    if apart:
        os.killpg(left, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while is_alive(left) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(left)


@pytest.mark.thorough
def test_what_a_program_says_is_whole_though_it_is_waited_for(tmp_path: Path, target_python: Path) -> None:
    script = (
        "import sys, time\ntext = sys.stdin.read()\nprint(text, flush=True)\ntime.sleep(2.2)\nprint(text)"
    )
    waited: list[float] = []
    done = process.run(
        [target_python, "-c", script],
        env=process.clean_environment(home=tmp_path),
        stdin="x" * 200_000,
        on_wait=waited.append,
    )
    assert done.stdout == f"{'x' * 200_000}\n" * 2
    assert len(waited) >= 2
