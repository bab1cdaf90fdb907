"""Runs a program to its end and says what it took: wall time, CPU time, memory."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PAGE = os.sysconf("SC_PAGE_SIZE")
FIRST_LOOK = 0.001
SLOWEST_LOOK = 0.02
"""Seconds between two looks at the processes: one of 10 ms is seen, and one of 30 s is not disturbed."""
SAID = "seconds "
"""Begins the last line of a program that takes its own time."""


class StepError(Exception):
    """A program that ended with another exit code than 0."""

    def __init__(self, words: Sequence[str], code: int, output: str) -> None:
        super().__init__(f"{' '.join(words)}\n{output}\nexit code {code}")
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What one program, or several one after the other, took."""

    wall: float
    """Seconds, from its start to its end."""
    cpu: float
    """Seconds, user and system, of it and of all its children."""
    own: int
    """Bytes: the most that the started process itself had resident; 0 where it was too short to be seen."""
    together: int
    """Bytes: the most that it and its children had at once; what they share counts in each of them."""
    largest: int
    """Bytes: the most that any one of them had, by the kernel's account, which begins with what we have."""

    def then(self, other: Usage) -> Usage:
        """Return what both took, one after the other."""
        return Usage(
            wall=self.wall + other.wall,
            cpu=self.cpu + other.cpu,
            own=max(self.own, other.own),
            together=max(self.together, other.together),
            largest=max(self.largest, other.largest),
        )

    def shared_by(self, runs: int) -> Usage:
        """Return what one of several runs took, on average."""
        return Usage(
            wall=self.wall / runs,
            cpu=self.cpu / runs,
            own=self.own,
            together=self.together,
            largest=self.largest,
        )


NOTHING = Usage(wall=0, cpu=0, own=0, together=0, largest=0)


def run(words: Sequence[str], *, environ: Mapping[str, str], log: Path, said: bool = False) -> Usage:
    """Run a program with its standard input closed.

    :param log: takes what it prints; overwritten.
    :param said: the program's own account is the wall time: its last line, `seconds 1.234`.
    :raises StepError: its exit code is not 0.
    """
    with log.open("wb") as output:
        started = time.perf_counter()
        # Popen returns when the program is in place of the fork: nothing of ours is in its memory.
        process = subprocess.Popen(
            list(words), env=dict(environ), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        watcher = _Watcher(process.pid)
        watcher.start()
        # wait4 and not wait: of this process and its children alone.
        _, status, account = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        watcher.stop()
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise StepError(words, process.returncode, log.read_text(encoding="utf-8", errors="replace"))
    if said:
        wall = float(log.read_text(encoding="utf-8").splitlines()[-1].removeprefix(SAID))
    return Usage(
        wall=wall,
        cpu=account.ru_utime + account.ru_stime,
        own=watcher.own,
        together=max(watcher.together, watcher.own),
        largest=account.ru_maxrss * 1024,
    )


class _Watcher(threading.Thread):
    """Looks at a process and its children while it runs."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.own = self.together = 0
        self._pid = pid
        self._ended = threading.Event()

    def run(self) -> None:
        pause = FIRST_LOOK
        while True:
            self.own = max(self.own, high_water(self._pid))
            self.together = max(self.together, sum(resident(pid) for pid in family(self._pid)))
            if self._ended.wait(pause):
                return
            pause = min(2 * pause, SLOWEST_LOOK)

    def stop(self) -> None:
        self._ended.set()
        self.join()


def high_water(pid: int) -> int:
    """Bytes that a process had resident at most (VmHWM: since its program began); 0 when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def resident(pid: int) -> int:
    """Bytes that a process has resident; 0 when it is gone."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE
    return 0


def family(pid: int) -> Iterator[int]:
    """A process and all that come from it, as far as they are there."""
    yield pid
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text(encoding="ascii").split():
                yield from family(int(child))
