"""The boundary of the command: what a signal raises ends the run, wherever Python runs the handler."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

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
        time.sleep(30)
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
        capture_output=True, text=True, timeout=20, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (code, "cleaned up\n"), done.stderr
    assert "Traceback" not in done.stderr


LOCKS = """
import _imp, importlib, os, queue, random, signal, sys, threading, time
from bundler.cli import stopping
from bundler.errors import Terminated

waiting = queue.Queue()

def begin():
    sys.modules.pop("colorsys", None)
    importlib.import_module("colorsys")

def put():
    waiting.put(1)
    waiting.get()

def free(lock):
    taken = []
    other = threading.Thread(target=lambda: taken.append(lock.acquire(timeout=5)))
    other.start()
    other.join()
    lock.release()
    return taken == [True]

work = {"import": begin, "queue": put}[sys.argv[1]]
for number in range(100):
    for one in stopping.SIGNALS:
        signal.signal(one, signal.SIG_DFL)
    stopping.install()
    threading.Timer(random.random() / 100, os.kill, (os.getpid(), signal.SIGTERM)).start()
    try:
        while True:
            work()
            for _ in range(500):
                pass
    except Terminated as stopped:
        stopped.heard = True
    assert not _imp.lock_held(), number
    assert free(waiting.mutex), number
"""


@pytest.mark.thorough
@pytest.mark.parametrize("work", ["import", "queue"])
def test_a_signal_leaves_no_lock_behind(work: str) -> None:
    """importlib takes its lock in Python: one run of seven that was stopped while it imported never ended."""
    done = subprocess.run(
        [sys.executable, "-c", LOCKS, work],
        capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


SWALLOWS = """
import os, signal, sys, time
import click
from bundler.cli import boundary

@click.command()
def command():
    try:
        os.kill(os.getpid(), int(sys.argv[1]))
        time.sleep(30)
    except:
        pass
    time.sleep(30)

sys.exit(boundary.run(command, []))
"""


def test_a_signal_that_foreign_code_swallows_ends_the_run() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWS, str(int(signal.SIGTERM))],
        capture_output=True, text=True, timeout=20, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 143, done.stderr
