"""Runs command lines in processes forked from one that has imported envbundle: 0.25 s less each.

Each run is a process of its own, with its own environment, folder and streams, and ends as an interpreter
does. What an interpreter reads at its start (`PYTHON*`, the locale) cannot differ: `fits` says so, and the
caller starts an interpreter for such a run.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from bundler import cli

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
PRELOADED = (
    "bundler.cli.boundary",
    "bundler.cli.commands",
    "bundler.create.pipeline",
    "bundler.system.scratch",
)
"""What a `create` imports before it does anything."""
AT_START = ("PYTHON", "LC_", "LANG", "TZ", "LD_", "MALLOC", "GLIBC", "COVERAGE")
"""Prefixes of the variables that are read when an interpreter starts."""
NUMBER = 8
"""Bytes of a length before a message."""


def _at_start(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.startswith(AT_START)}


class Parent:
    """The process that has imported envbundle."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Start it in an environment, of which the runs change what no interpreter reads at its start."""
        environ = {**environ, "PYTHONPATH": str(ROOT)}
        self._start = _at_start(environ)
        self._socket, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.imported", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=environ,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            # Pipes, as the runs get: a stream knows from its start whether it is a file.
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        theirs.close()
        atexit.register(self._end)

    def _end(self) -> None:
        self._socket.close()
        with self._process:
            self._process.kill()

    def fits(self, environ: Mapping[str, str]) -> bool:
        """Tell whether an interpreter would start in the same way in this environment."""
        return _at_start(environ) == self._start

    def run(
        self, words: list[str], *, environ: Mapping[str, str], cwd: Path, timeout: float
    ) -> tuple[int, str, str]:
        """Run `envbundle` and return exit code, standard output and error.

        Raises `TimeoutError` after `timeout` seconds; the run is killed then.
        """
        streams = [os.pipe(), os.pipe()]
        message = json.dumps({"words": words, "environ": dict(environ), "cwd": str(cwd)}).encode()
        socket.send_fds(self._socket, [len(message).to_bytes(NUMBER, "big")], [write for _, write in streams])
        self._socket.sendall(message)
        for _, write in streams:
            os.close(write)
        pid = int.from_bytes(_received(self._socket, NUMBER), "big")
        try:
            out, err = _read([read for read, _ in streams], time.monotonic() + timeout)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            raise
        finally:
            for read, _ in streams:
                os.close(read)
            status = int.from_bytes(_received(self._socket, NUMBER), "big")
        return os.waitstatus_to_exitcode(status), out, err


@cache
def parent() -> Parent:
    """The one of this test process."""
    return Parent(os.environ)


def _received(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise EOFError("the process that imported envbundle has ended")
        data += more
    return data


def _read(streams: list[int], end: float) -> list[str]:
    """Read until nobody has the other ends any more, as `subprocess` does."""
    read = dict.fromkeys(streams, b"")
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0, end - time.monotonic()))
            if not ready:
                raise TimeoutError("envbundle has not ended")
            for key, _ in ready:
                data = os.read(key.fd, 1 << 16)
                read[key.fd] += data
                if not data:
                    selector.unregister(key.fd)
    return [data.decode() for data in read.values()]


def _serve(connection: socket.socket) -> list[str]:
    """Fork a process for each request; in that one, return its command line."""
    while True:
        size, streams, _, _ = socket.recv_fds(connection, NUMBER, 2)
        if not size:
            sys.exit()
        request = json.loads(_received(connection, int.from_bytes(size, "big")))
        pid = os.fork()
        if not pid:
            connection.close()
            for stream, number in zip(streams, (1, 2), strict=True):
                os.dup2(stream, number)
                os.close(stream)
            os.environ.clear()
            os.environ.update(request["environ"])
            os.chdir(request["cwd"])
            words: list[str] = request["words"]
            return words
        for stream in streams:
            os.close(stream)
        connection.sendall(pid.to_bytes(NUMBER, "big"))
        _, status = os.waitpid(pid, 0)
        connection.sendall(status.to_bytes(NUMBER, "big"))


def _main() -> NoReturn:
    for name in PRELOADED:
        importlib.import_module(name)
    words = _serve(socket.socket(fileno=int(sys.argv[1])))
    sys.argv = [str(ROOT / "bundler" / "__main__.py"), *words]
    sys.path[0] = os.getcwd()  # noqa: PTH109 - what `-m` puts there
    cli.main()
    sys.exit()


if __name__ == "__main__":
    _main()
