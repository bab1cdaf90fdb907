"""Runs other programs: with a clean environment, stdin closed, and no process left behind on failure.

A child sees the environment that `clean_environment` builds from scratch and nothing else, so no
variable of the caller (PYTHON*, PIP_*, UV_*, CONDA*, LD_*, VIRTUAL_ENV …) can reach a result.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import select
import selectors
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from bundler.errors import CommandError, OutputLimitError, TimeLimitError
from bundler.lazy_dataclass import dataclass
from bundler.system import redact

logger = logging.getLogger(__name__)

KEPT_OUT = ("PYTHON", "PIP_", "UV_", "CONDA", "_CE_", "VIRTUAL_ENV", "VIRTUALENV_", "LD_", "PYENV_VERSION")
"""Prefixes of the names of variables that change what Python, pip, uv or the loader do."""
LINGER = 1.0
"""Seconds that the output of a program that has ended may stay open."""
_PATIENCE = 5.0
"""Seconds that a killed program has to close its pipes."""
_BLOCK = 1 << 16
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
    stdin: str | IO[bytes] | None = None,
    timeout: float | None = None,
    check: bool = True,
    cleanup: bool = False,
    on_error_line: Callable[[str], None] | None = None,
    on_wait: Callable[[float], None] | None = None,
    most: float = float("inf"),
    tied: bool = True,
) -> Completed:
    """Run a program to its end and return what it printed.

    :param env: the whole environment of the child; see `clean_environment`.
    :param stdin: text for its standard input, or what it reads itself, a pipe, which is closed here; else it
        has none.
    :param timeout: seconds.
    :param check: raise on an exit code other than 0.
    :param cleanup: start it after `stop` as well, because it removes what the run has begun.
    :param on_error_line: called on another thread with each line of standard error as it comes; must not
        raise or block.
    :param on_wait: called every second with the seconds that the program has run; what it raises ends the
        program and all that it started.
    :param most: bytes that it may print.
    :param tied: the kernel kills it if this process is killed, where the machine can do that; not what
        `cleanup` is said of. What it has started itself goes on.
    :raises TimeLimitError: it took too long.
    :raises OutputLimitError: it printed too much.
    :raises CommandError: it could not be started or (with `check`) failed.
    """
    words = [str(word) for word in argv]
    logger.info("run: %s", redact.text(shlex.join(words)))
    started = time.monotonic()
    before = _tie(words[0], env) if tied and not cleanup else ()
    text, source = (stdin, subprocess.PIPE) if isinstance(stdin, str) else (None, stdin)
    with _group(words, env=env, cwd=cwd, stdin=source, cleanup=cleanup, before=before) as process:
        listening = _listen(process, on_error_line) if on_error_line else None
        stdout, stderr = _communicate(process, words, text, timeout=timeout, on_wait=on_wait, most=most)
        stderr = listening() if listening else stderr
    logger.info("run: exit %s after %.2f s", process.returncode, time.monotonic() - started)
    # What copies a tree prints megabytes: half a second to look through.
    if logger.isEnabledFor(logging.DEBUG):
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


def _tie(program: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the words that start a program so that it is killed when the thread that started it ends.

    Empty where the machine lacks setpriv, or the program: then nobody is between us and the error. Python's
    own way, a function between fork and exec, is not safe where there are threads; `run` waits in its thread
    for the program, so that the thread does not end before it (man 2 prctl, PR_SET_PDEATHSIG).
    """
    launcher = _launcher()
    path = shutil.which(program, path=env.get("PATH", os.defpath)) if launcher else None
    return (*launcher, os.path.abspath(path)) if path else ()  # noqa: PTH100 - symlinks stay


@functools.cache
def _launcher() -> tuple[str, ...]:
    """Return setpriv with its arguments, if it knows them: that of util-linux before 2.33 does not."""
    found = shutil.which("setpriv", path=SYSTEM_PATH)
    if found is None:
        return ()
    words = (found, "--pdeathsig", "KILL")
    with contextlib.suppress(OSError):
        quiet = subprocess.DEVNULL
        if not subprocess.call([*words, found, "--help"], env={}, stdin=quiet, stdout=quiet, stderr=quiet):
            return words
    return ()


class _Pipes:
    """What is still to be written to a program, and what it has printed."""

    def __init__(
        self, process: subprocess.Popen[str], words: Sequence[str], stdin: str | None, most: float
    ) -> None:
        self.printed = {stream: bytearray() for stream in (process.stdout, process.stderr) if stream}
        self._process = process
        self._words = words
        self._stdin: Any = process.stdin
        self._rest = memoryview((stdin or "").encode("utf-8", "backslashreplace"))
        self._most = most
        self._ready = selectors.DefaultSelector()
        for stream in self.printed:
            self._ready.register(stream, selectors.EVENT_READ)
        if self._stdin:
            self._ready.register(self._stdin, selectors.EVENT_WRITE)

    def move(self, seconds: float) -> bool:
        """Read and write, so many seconds at most, and tell whether all pipes are closed.

        :raises OutputLimitError: more was printed than may be.
        """
        end = time.monotonic() + seconds
        while self._ready.get_map():
            left = end - time.monotonic()
            if left <= 0:
                return False
            for key, _ in self._ready.select(left):
                self._move(key.fileobj)
        return True

    def _move(self, stream: Any) -> None:
        if stream is self._stdin:
            with contextlib.suppress(BrokenPipeError):
                self._rest = self._rest[os.write(stream.fileno(), self._rest[: select.PIPE_BUF]) :]
                if self._rest:
                    return
            self._close(stream)
        elif data := os.read(stream.fileno(), _BLOCK):
            self.printed[stream] += data
            if sum(map(len, self.printed.values())) > self._most:
                said = f"{self._words[0]} printed more than {self._most / (1 << 20):g} MiB"
                raise OutputLimitError(said, argv=self._words, returncode=None)
        else:
            self._close(stream)

    def _close(self, stream: Any) -> None:
        self._ready.unregister(stream)
        with contextlib.suppress(BrokenPipeError):
            stream.close()
        if stream is self._stdin:
            self._process.stdin = None

    def close(self) -> None:
        """Close what is still open."""
        for key in tuple(self._ready.get_map().values()):
            self._close(key.fileobj)
        self._ready.close()

    def text(self, stream: IO[str] | None) -> str:
        """Return what was printed to one stream, with the line ends of Python."""
        said = bytes(self.printed[stream]).decode("utf-8", "backslashreplace") if stream else ""
        return said.replace("\r\n", "\n").replace("\r", "\n")


def _communicate(
    process: subprocess.Popen[str],
    words: Sequence[str],
    stdin: str | None,
    *,
    timeout: float | None,
    on_wait: Callable[[float], None] | None,
    most: float,
) -> tuple[str, str]:
    """Return what a program prints until it ends, even if something that it left behind holds its output.

    :param most: bytes.
    :raises TimeLimitError: it takes longer.
    :raises OutputLimitError: it prints more.
    """
    started = time.monotonic()
    end = started + timeout if timeout is not None else float("inf")
    streams = process.stdout, process.stderr
    with contextlib.closing(_Pipes(process, words, stdin, most)) as pipes:
        while True:
            closed = pipes.move(min(LINGER, max(0.0, end - time.monotonic())))
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(min(LINGER, max(0.0, end - time.monotonic())) if closed else 0)
                break
            if timeout is not None and time.monotonic() >= end:
                said = f"did not end within {timeout:g} seconds"
                raise TimeLimitError(f"{words[0]} {said}", argv=words, returncode=None)
            if on_wait:
                on_wait(time.monotonic() - started)
        if not closed:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            # What has left the group only a room of its own would have ended.
            pipes.move(LINGER)
        return pipes.text(streams[0]), pipes.text(streams[1])


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

    def ask(self, line: str, *, timeout: float | None = None) -> str:
        """Write a line and return the answer.

        :param timeout: seconds; the program is ended then.
        :raises TimeLimitError: the answer took longer.
        :raises CommandError: the program has ended.
        """
        asked, answered = self._process.stdin, self._process.stdout
        if asked is None or answered is None:
            raise ValueError("both streams are piped")
        late: list[float] = []

        def end() -> None:
            late.append(time.monotonic())
            _kill(self._process.pid)

        timer = threading.Timer(timeout or 0, end)
        if timeout:
            timer.start()
        try:
            asked.write(f"{line}\n")
            asked.flush()
            answer = answered.readline()
        except OSError:
            answer = ""
        finally:
            timer.cancel()
        if not answer and late:
            said = f"{self._words[0]} did not answer within {timeout:g} seconds"
            raise TimeLimitError(said, argv=self._words, returncode=None)
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

    Its standard error is dropped: what matters is in its answers. Where the machine can do that, the kernel
    kills it when the thread that started it ends, or this process is killed.

    :param env: the whole environment of the child; see `clean_environment`.
    :raises CommandError: it could not be started.
    """
    words = [str(word) for word in argv]
    logger.info("run: %s", redact.text(shlex.join(words)))
    before = _tie(words[0], env)
    with _group(
        words, env=env, cwd=cwd, stdin=subprocess.PIPE, cleanup=False, piped_stderr=False, before=before
    ) as process:
        yield Conversation(process, words)
        process.communicate()
    logger.info("run: exit %s", process.returncode)


@contextlib.contextmanager
def _group(
    words: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None,
    stdin: int | IO[bytes] | None,
    cleanup: bool,
    piped_stderr: bool = True,
    before: Sequence[str] = (),
) -> Iterator[subprocess.Popen[str]]:
    """Start a program in a process group of its own, and kill the group on every exception.

    A Ctrl-C must end what the program started as well, a compiler for example.

    :param before: a launcher with its arguments, and the program's path: it becomes the program.
    """
    try:
        process = subprocess.Popen(
            [*before, *words[1:]] if before else words,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL if stdin is None else stdin,
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
    finally:
        if stdin is not None and not isinstance(stdin, int):
            stdin.close()
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
