"""Runs other programs: with a clean environment, stdin closed, and no process left behind on failure.

A child sees the environment that `clean_environment` builds from scratch and nothing else, so no
variable of the caller (PYTHON*, PIP_*, UV_*, CONDA*, LD_*, VIRTUAL_ENV …) can reach a result.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundler.errors import CommandError, TimeLimitError
from bundler.system import redact

logger = logging.getLogger(__name__)

KEPT_OUT = ("PYTHON", "PIP_", "UV_", "CONDA", "_CE_", "VIRTUAL_ENV", "VIRTUALENV_", "LD_", "PYENV_VERSION")
"""Prefixes of the names of variables that change what Python, pip, uv or the loader do."""
LINGER = 1.0
"""Seconds that the output of a program that has ended may stay open."""
_PATIENCE = 5.0
"""Seconds that a killed program has to close its pipes."""
_groups: set[int] = set()
_stopping = threading.Event()
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class Completed:
    """The exit code and the output of a program that has ended."""

    returncode: int
    stdout: str
    stderr: str


def clean_environment(*, home: Path, path: str = SYSTEM_PATH, **extra: str) -> dict[str, str]:
    """Return an environment for a child, built from scratch.

    :param home: an empty folder that stands for HOME and TMPDIR, so that no user site, user
        configuration or user cache is found.
    :param extra: further variables, such as proxies and certificates (`bundler.create.target_pip`).
    """
    return {
        "PATH": path,
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        **extra,
    }


def withheld(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the caller's variables that no child sees and that could change its result."""
    return tuple(sorted(name for name in environ if name.startswith(KEPT_OUT)))


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
    check: bool = True,
    cleanup: bool = False,
    on_error_line: Callable[[str], None] | None = None,
    on_wait: Callable[[float], None] | None = None,
) -> Completed:
    """Run a program to its end and return what it printed.

    :param env: the whole environment of the child; see `clean_environment`.
    :param stdin: text for its standard input, which is closed otherwise.
    :param timeout: seconds.
    :param check: raise on an exit code other than 0.
    :param cleanup: start it after `stop` as well, because it removes what the run has begun.
    :param on_error_line: called on another thread with each line of standard error as it comes; must not
        raise or block.
    :param on_wait: called every second with the seconds that the program has run; what it raises ends the
        program and all that it started.
    :raises TimeLimitError: it took too long.
    :raises CommandError: it could not be started or (with `check`) failed.
    """
    words = [str(word) for word in argv]
    logger.info("run: %s", redact.text(shlex.join(words)))
    started = time.monotonic()
    with _group(words, env=env, cwd=cwd, piped_stdin=stdin is not None, cleanup=cleanup) as process:
        try:
            listening = _listen(process, on_error_line) if on_error_line else None
            stdout, stderr = _communicate(process, stdin, timeout=timeout, on_wait=on_wait)
            stderr = listening() if listening else stderr
        except subprocess.TimeoutExpired as error:
            raise TimeLimitError(
                f"{words[0]} did not end within {timeout:g} seconds",
                argv=words,
                returncode=None,
            ) from error
    logger.info("run: exit %s after %.2f s", process.returncode, time.monotonic() - started)
    for name, printed in (("stdout", stdout), ("stderr", stderr)):
        if printed.strip():
            logger.debug("%s: %s", name, redact.text(printed.rstrip()))
    if check and process.returncode != 0:
        raise CommandError(
            f"{words[0]} ended with exit code {process.returncode}",
            argv=words,
            returncode=process.returncode,
            stdout=stdout,
            stderr=stderr,
        )
    return Completed(returncode=process.returncode, stdout=stdout, stderr=stderr)


def _communicate(
    process: subprocess.Popen[str],
    stdin: str | None,
    *,
    timeout: float | None,
    on_wait: Callable[[float], None] | None,
) -> tuple[str, str]:
    """Return what a program prints until it ends, even if something that it left behind holds its output.

    :raises subprocess.TimeoutExpired: it takes longer.
    """
    started = time.monotonic()
    end = started + timeout if timeout is not None else float("inf")
    while True:
        try:
            return process.communicate(stdin, timeout=min(LINGER, max(0.0, end - time.monotonic())))
        except subprocess.TimeoutExpired as error:
            stdin = None  # it is on its way
            if process.poll() is None:
                if time.monotonic() >= end:
                    raise
                if on_wait:
                    on_wait(time.monotonic() - started)
                continue
            late = error
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        try:
            return process.communicate(timeout=LINGER)
        except subprocess.TimeoutExpired:
            # It has left the group, and only a room of its own would have ended it.
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream:
                    stream.close()
            return _decoded(late.stdout), _decoded(late.stderr)


def _decoded(printed: str | bytes | None) -> str:
    return printed.decode("utf-8", "backslashreplace") if isinstance(printed, bytes) else printed or ""


def _listen(process: subprocess.Popen[str], on_line: Callable[[str], None]) -> Callable[[], str]:
    """Pass each line of standard error on; return a function that waits for its end and returns all lines."""
    stream = process.stderr
    if stream is None:
        raise ValueError("standard error is piped")
    process.stderr = None  # or `communicate` reads it as well
    lines: list[str] = []

    def listen() -> None:
        with stream:
            for line in stream:
                lines.append(line)
                on_line(line)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()

    def whole() -> str:
        thread.join(LINGER)
        return "".join(lines)

    return whole


class Conversation:
    """A running program that answers each line on its standard input with one line."""

    def __init__(self, process: subprocess.Popen[str], words: list[str]) -> None:
        self._process = process
        self._words = words

    def ask(self, line: str) -> str:
        """Write a line and return the answer.

        :raises CommandError: the program has ended.
        """
        asked, answered = self._process.stdin, self._process.stdout
        if asked is None or answered is None:
            raise ValueError("both streams are piped")
        try:
            asked.write(f"{line}\n")
            asked.flush()
            answer = answered.readline()
        except OSError:
            answer = ""
        if not answer:
            code = self._process.wait()
            logger.info("run: exit %s, in the middle of a conversation", code)
            raise CommandError(
                f"{self._words[0]} ended with exit code {code}", argv=self._words, returncode=code
            )
        return answer.rstrip("\n")


@contextlib.contextmanager
def converse(
    argv: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path | None = None
) -> Iterator[Conversation]:
    """Run a program that answers each line with one line, and end it afterwards.

    Its standard error is dropped: what matters is in its answers.

    :param env: the whole environment of the child; see `clean_environment`.
    :raises CommandError: it could not be started.
    """
    words = [str(word) for word in argv]
    logger.info("run: %s", redact.text(shlex.join(words)))
    with _group(words, env=env, cwd=cwd, piped_stdin=True, cleanup=False, piped_stderr=False) as process:
        yield Conversation(process, words)
        process.communicate()
    logger.info("run: exit %s", process.returncode)


@contextlib.contextmanager
def _group(
    words: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None,
    piped_stdin: bool,
    cleanup: bool,
    piped_stderr: bool = True,
) -> Iterator[subprocess.Popen[str]]:
    """Start a program in a process group of its own, and kill the group on every exception.

    A Ctrl-C must end what the program started as well, a compiler for example.
    """
    try:
        process = subprocess.Popen(
            words,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.PIPE if piped_stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if piped_stderr else subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
            start_new_session=True,
        )
    except OSError as error:
        raise CommandError(
            f"{words[0]} could not be started: {error.strerror}", argv=words, returncode=None
        ) from error
    _groups.add(process.pid)
    try:
        if _stopping.is_set() and not cleanup:
            raise CommandError(
                f"{words[0]} was not started: the run is being stopped", argv=words, returncode=None
            )
        yield process
    except BaseException:
        _kill(process.pid)
        # Whatever is still there after that must not keep us by a pipe that it holds open.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_PATIENCE)
        raise
    finally:
        _groups.discard(process.pid)


def stop() -> None:
    """Kill every running program and start no more, so that threads that wait for one go on at once.

    For a signal handler: only the main thread gets its exception, and a pool waits for the other threads.
    """
    _stopping.set()
    for group in tuple(_groups):
        _kill(group)


def _kill(group: int) -> None:
    """Kill a process group, and what its first process has started in other groups."""
    below = _descendants(group)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    for pid in below:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _descendants(pid: int) -> set[int]:
    """Return the processes that one has started, and those that these have; none without /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # pid (name) state ppid …; a name may hold anything (proc(5)).
            parent = entry.read_text(errors="replace").rpartition(")")[2].split()[1]
            children.setdefault(int(parent), []).append(int(entry.parent.name))
    found, waiting = set(), [pid]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found
