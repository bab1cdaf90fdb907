"""The boundary of the command: what a signal raises ends the run, wherever Python runs the handler."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

LOSES = """
import os, signal, sys, time, weakref
import click
from bundler.cli import boundary

class Thing:
    pass

def gone(_):
    os.kill(os.getpid(), int(sys.argv[1]))
    for _ in range(1000):
        pass

@click.command()
def command():
    thing = Thing()
    reference = weakref.ref(thing, gone)
    del thing
    try:
        time.sleep(600)
    finally:
        print("cleaned up", flush=True)

sys.exit(boundary.run(command, []))
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGQUIT, 131)]
)
def test_a_signal_that_python_drops_ends_the_run(number: signal.Signals, code: int) -> None:
    """importlib has such callbacks: SIGQUIT was lost in one, and the run went on."""
    done = subprocess.run(
        [sys.executable, "-c", LOSES, str(int(number))],
        capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (code, "cleaned up\n"), done.stderr
    assert "Traceback" not in done.stderr


FAILS = """
import os, signal, sys, time
import click
from bundler.cli import boundary
from bundler.errors import CommandError, InputError, MachineError

@click.command()
def command():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(600)
    finally:
        {}

sys.exit(boundary.run(command, []))
"""


@pytest.mark.parametrize(
    "line", ["os.close(99)", "raise InputError('no such file')", "raise click.UsageError('no')", "1 / 0"]
)
def test_what_fails_because_the_run_is_stopped_is_no_error(line: str) -> None:
    """It is undone in any order: a descriptor is closed already, a program was not started."""
    done = subprocess.run(
        [sys.executable, "-c", FAILS.format(line)],
        capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")


EARLY = """
import os, signal, sys, time
import click
from bundler.cli import boundary, stopping

def listen():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(600)

stopping._listen = listen
stopping._LOCKING = set()
sys.exit(boundary.run(click.Command("nothing"), []))
"""


def test_a_signal_that_comes_as_signals_begin_to_be_heard() -> None:
    """It was a traceback, and the timer killed the run with a signal of its own."""
    done = subprocess.run(
        [sys.executable, "-c", EARLY],
        capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")


RAISES = """
import sys
import click
from bundler.cli import boundary

@click.command()
def command():
    exec(sys.argv[1])

sys.exit(boundary.run(command, []))
"""


@pytest.mark.parametrize(
    ("code", "exit_code", "says"),
    [
        # Python's own errors for what a limit refuses, made by such a limit.
        (
            "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30,) * 2); bytes(1 << 31)",
            3,
            "error: the machine has no more memory for this run\n",
        ),
        (
            "import threading; threading.stack_size(1 << 45); threading.Thread(target=print).start()",
            3,
            "error: the machine starts no more threads for this run\n",
        ),
        ("raise RuntimeError('odd')", 4, "error: this is a bug in envbundle: RuntimeError: odd\n"),
        (r"raise RuntimeError('\udcff')", 4, "error: this is a bug in envbundle: RuntimeError: "),
    ],
)
def test_a_limit_of_the_machine_is_no_bug(tmp_path: Path, code: str, exit_code: int, says: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RAISES, code],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert (done.returncode, done.stderr[: len(says)]) == (exit_code, says), done.stderr
    assert "Traceback" not in done.stderr
    assert len(list(tmp_path.glob("envbundle-bug-*"))) == (exit_code == 4)


LOCKS = """
import importlib, os, queue, random, signal, sys, threading, time
from bundler.cli import stopping
from bundler.errors import Terminated

waiting = queue.Queue()

def begin(name):
    sys.modules.pop(name, None)
    importlib.import_module(name)

def put_and_get(name):
    waiting.put(name)
    waiting.get()

def look(name):
    waiting.qsize()

work, other = {"import": (begin, begin), "queue": (put_and_get, look)}[sys.argv[1]]
done = 0

def beside():
    global done
    while True:
        other("symtable")
        done += 1

threading.Thread(target=beside, daemon=True).start()
for number in range(50):
    for one in stopping.SIGNALS:
        signal.signal(one, signal.SIG_DFL)
    stopping.install()
    threading.Timer(random.random() / 100, os.kill, (os.getpid(), signal.SIGTERM)).start()
    try:
        while True:
            work("colorsys")
            for _ in range(500):
                pass
    except Terminated as stopped:
        stopped.heard = True
    before, limit = done, time.monotonic() + 60
    while done < before + 2:
        assert time.monotonic() < limit, f"round {number}: the other thread waits for a lock"
        time.sleep(0.001)
"""


@pytest.mark.thorough
@pytest.mark.parametrize("work", ["import", "queue"])
def test_a_signal_leaves_no_lock_behind(work: str) -> None:
    """importlib takes its lock in Python: one run of seven that was stopped while it imported never ended."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOCKS, work],
        capture_output=True, text=True, timeout=600, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


RUNS = """
import os, signal, sys, threading, time
import click
from bundler.cli import boundary, stopping

def other_thread_gets(number):
    other = threading.Thread(target=time.sleep, args=(600,), daemon=True)
    other.start()
    threading.Timer(0.3, signal.pthread_kill, (other.ident, number)).start()
    threading.Event().wait(600)

@click.command()
def command():
    <body>

sys.exit(boundary.run(command, []))
"""
BODIES = {
    "foreign code swallows it": """
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(600)
    except:
        pass
    time.sleep(600)
""",
    "another thread gets it": """
    other_thread_gets(signal.SIGTERM)
""",
    "another thread of a forked process gets it": """
    if child := os.fork():
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    other_thread_gets(signal.SIGTERM)
""",
    "the process is forked when it has come": """
    stopping._LOCKING = {__name__}
    os.kill(os.getpid(), signal.SIGTERM)
    if os.fork():
        os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
    stopping._LOCKING = set()
    time.sleep(600)
""",
    "all come at once": """
    stopping._LOCKING = {__name__}
    signal.pthread_sigmask(signal.SIG_BLOCK, stopping.SIGNALS)
    for number in stopping.SIGNALS:
        os.kill(os.getpid(), number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, stopping.SIGNALS)
    stopping._LOCKING = set()
    time.sleep(600)
""",
    "programs take long to kill": """
    def slowly():
        for _ in range(60):
            time.sleep(0.005)
    stopping.process.stop = slowly
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(600)
""",
}


@pytest.mark.parametrize("what", BODIES)
def test_a_signal_ends_the_run_even_if(what: str) -> None:
    done = subprocess.run(
        [sys.executable, "-u", "-W", "ignore", "-c", RUNS.replace("    <body>", BODIES[what])],
        capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode in ((129, 130, 131, 143) if what == "all come at once" else (143,))
    assert "Traceback" not in done.stderr
