"""Runs `pip freeze --all` for each request, with pip loaded once.

The environment's own interpreter runs it as `python -I pip_freeze.py PIP SECONDS`; PIP is the folder that
holds pip, SECONDS what a freeze may take.
Each line on standard input is a request, and its answer is one line. `bytecode`: a JSON object with the
bytecode that loading pip has made, path in PIP: base64, as PIP may be read-only here. `freeze`: a JSON string
with what pip printed, or a JSON object with its exit status and what it printed to standard error.

Each freeze runs in a fork of this process, which has not read site-packages yet: the fork sees the
environment as an interpreter that starts at that moment, its .pth files included. Those are code on trial:
they cannot reach this process.
"""

import base64
import ctypes
import importlib
import importlib.machinery
import json
import os
import signal
import site
import sys
import sysconfig
import tempfile

MOST = 16 * 1024 * 1024  # characters of an answer
PR_SET_DUMPABLE = 4


def main(pip, seconds):
    # type: (str, int) -> None
    """Answer until standard input ends."""
    be_open(0)
    sys.path.insert(0, pip)
    freeze, made = load(pip)
    for line in sys.stdin:
        sys.stdout.write((json.dumps(made) if line == "bytecode\n" else answer(freeze, seconds)) + "\n")
        sys.stdout.flush()


def load(pip):
    # type: (str) -> tuple[object, dict[str, str]]
    """Import the modules of `pip freeze` that do not read site-packages when they are imported.

    Returns pip's main, and the bytecode that Python would have kept of them, as `bytecode` is answered.
    """
    made = {}
    loader = importlib.machinery.SourceFileLoader
    write = loader.set_data

    def keep(self, path, data, **_):  # noqa: ARG001 - it stands for a method
        # type: (object, str, bytes, object) -> None
        if path.startswith(pip + os.sep):
            made[path[len(pip) + 1 :]] = base64.b64encode(data).decode("ascii")

    loader.set_data = keep  # type: ignore[assignment, method-assign]
    try:
        importlib.import_module("pip._internal.operations.freeze")
        importlib.import_module("pip._internal.commands.freeze")
        return importlib.import_module("pip._internal.cli.main").main, made
    finally:
        loader.set_data = write  # type: ignore[method-assign]  # puts it back


def be_open(to_others):
    # type: (int) -> None
    """Let other processes of this user reach this one's memory and files, or not: 1 or 0 (man 2 prctl)."""
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, to_others, 0, 0, 0)


def answer(freeze, seconds):
    # type: (object, int) -> str
    """Run `freeze` in a fork, at most so long, and return its answer."""
    late = []

    with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as said:
        child = os.fork()
        if child == 0:
            be_open(1)
            os.close(0)
            os.dup2(printed.fileno(), 1)
            os.dup2(said.fileno(), 2)
            code = 70
            try:
                # As at the start of an interpreter, for what has come into site-packages since.
                importlib.invalidate_caches()
                site.addsitedir(sysconfig.get_path("purelib"))
                code = freeze(["freeze", "--all"])  # type: ignore[operator]  # pip's main
                sys.stdout.flush()
            finally:
                os._exit(code)

        def end(*_):
            # type: (object) -> None
            late.append(True)
            os.kill(child, signal.SIGKILL)

        signal.signal(signal.SIGALRM, end)
        signal.alarm(seconds)
        status = os.waitpid(child, 0)[1]
        signal.alarm(0)
        printed.seek(0)
        said.seek(0)
        if status:
            told = said.read()[-4000:]
            if late:
                told += "\ndid not end within {} seconds".format(seconds)
            return json.dumps({"status": status, "stderr": told})
        return json.dumps(printed.read(MOST))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
