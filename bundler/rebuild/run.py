"""A run over many bundles: a process for each, so many at a time.

Each bundle has a process of its own, forked from one that has loaded everything: so the bundles share neither
memory nor Python's interpreter lock, what one of them leaves in memory goes with it, and one that the kernel
kills stops no other.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from dataclasses import dataclass, replace
from multiprocessing import connection
from typing import TYPE_CHECKING, cast

from bundler.errors import EnvbundleError, MachineError
from bundler.rebuild.one import rebuild_one
from bundler.rebuild.outcome import BUG, Outcome, skipped
from bundler.system import index_settings
from bundler.system.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkProcess

    from bundler.rebuild.one import Options
    from bundler.rebuild.plan import Job
    from bundler.rebuild.shelf import Shelf
    from bundler.system.progress import Stage

GRACE = 10.0
"""Seconds for a process that was told to stop to take away what it began."""
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class Said:
    """What the work on a bundle says."""

    name: str
    text: str
    """A line, or the name of a stage that begins."""
    begins: bool = False


@dataclass(frozen=True, kw_only=True)
class Broke:
    """A bundle met a bug of ours."""

    name: str
    trace: str


Event = Said | Broke | Outcome


def run(
    jobs: Sequence[Job],
    options: Options,
    *,
    workers: int,
    shelf: Callable[[Job], Shelf],
    environ: Mapping[str, str],
    told: Callable[[Event], None],
) -> tuple[Outcome, ...]:
    """Do all jobs; what one of them meets stops no other.

    :param workers: jobs at a time.
    :param shelf: gives where the builds of a job stand.
    :param told: called with every event, in the order in which they happen.
    :returns: the outcomes in the order of the jobs.
    :raises KeyboardInterrupt: the run is to stop; no process of it is left.
    """
    outcomes: dict[str, Outcome] = {}

    def settle(event: Event) -> None:
        if isinstance(event, Outcome):
            outcomes[event.name] = event
        told(event)

    if len(jobs) > 1:
        # Read once for all of them; whether it can be read is told with each.
        with contextlib.suppress(EnvbundleError):
            index_settings.read_settings(environ)
    waiting = deque(jobs)
    crew = _Crew(options, shelf, environ)
    try:
        while waiting or crew.busy:
            while waiting and crew.busy < workers:
                job = waiting.popleft()
                settle(Said(name=job.name, text="", begins=True))
                crew.start(job)
            for event in crew.events():
                settle(event)
    finally:
        crew.dismiss()
    return tuple(outcomes[job.name] for job in jobs)


class _Crew:
    """The processes that are at work."""

    def __init__(self, options: Options, shelf: Callable[[Job], Shelf], environ: Mapping[str, str]) -> None:
        self._options = options
        self._shelf = shelf
        self._environ = environ
        self._context = multiprocessing.get_context("fork")
        self._at_work: dict[Connection, tuple[Job, ForkProcess]] = {}

    @property
    def busy(self) -> int:
        """How many are at work."""
        return len(self._at_work)

    def start(self, job: Job) -> None:
        """Begin a job."""
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_work,
            args=(job, self._shelf(job), self._options),
            kwargs={"environ": self._environ, "pipe": theirs, "parent": os.getpid()},
            name=job.name,
        )
        process.start()
        theirs.close()
        self._at_work[ours] = (job, process)

    def events(self) -> Iterator[Event]:
        """Wait for what is said next."""
        for one in connection.wait(list(self._at_work)):
            ready = cast("Connection", one)
            job, process = self._at_work[ready]
            try:
                event: Event = ready.recv()
            except (EOFError, ConnectionResetError):
                self._leave(ready)
                yield _died(job, self._shelf(job), process)
                continue
            if isinstance(event, Outcome):
                self._leave(ready)
            yield event

    def _leave(self, ready: Connection) -> None:
        """Wait for a process that has nothing more to say."""
        _, process = self._at_work.pop(ready)
        ready.close()
        process.join(GRACE)
        if process.is_alive():
            # It has done its work, and one of its threads still waits for a server.
            process.kill()
            process.join()

    def dismiss(self) -> None:
        """End whatever is still at work; each takes away first what it has begun."""
        for _, process in self._at_work.values():
            process.terminate()
        limit = time.monotonic() + GRACE
        while self._at_work and time.monotonic() < limit:
            for one in connection.wait(list(self._at_work), timeout=max(0.0, limit - time.monotonic())):
                ready = cast("Connection", one)
                with contextlib.suppress(EOFError, ConnectionResetError):
                    if isinstance(ready.recv(), Said):
                        continue
                # What it began is undone; its threads may still wait for a server.
                _, process = self._at_work.pop(ready)
                process.kill()
                process.join()
        for _, process in self._at_work.values():
            process.kill()
            process.join()
        self._at_work.clear()


def _died(job: Job, shelf: Shelf, process: ForkProcess) -> Outcome:
    """What is known of a bundle whose process ended without a word."""
    code = process.exitcode
    how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
    hint = "see to the machine, and run it again"
    if code == -signal.SIGKILL:
        hint = "the kernel ends what takes too much memory (see `dmesg`): give it more, or a smaller --jobs"
    return _failed(job, shelf, MachineError(f"the process that made it was ended {how}", hint=hint))


def _failed(job: Job, shelf: Shelf, error: EnvbundleError) -> Outcome:
    """Return the outcome of a job that failed, with what its current build is, if that can be read."""
    outcome = skipped(job)
    # What broke may break here again, and the outcome must be told all the same.
    with contextlib.suppress(Exception):
        record = shelf.current()
        outcome = outcome.with_record(record) if record else outcome
    return outcome.failed(error)


class _Told(Progress):
    """Sends what is said to the run, which alone has a terminal."""

    def __init__(self, name: str, pipe: Connection) -> None:
        super().__init__(stream=io.StringIO())
        self._name = name
        self._pipe = pipe
        self._lock = threading.Lock()

    def note(self, message: str) -> None:
        """Say one line."""
        self._say(Said(name=self._name, text=message))

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Say that a stage begins, and time it."""
        self._say(Said(name=self._name, text=name, begins=True))
        with super().stage(name) as stage:
            yield stage

    def _say(self, said: Said) -> None:
        with self._lock:
            self._pipe.send(said)


def _work(
    job: Job,
    shelf: Shelf,
    options: Options,
    *,
    environ: Mapping[str, str],
    pipe: Connection,
    parent: int,
) -> None:
    """Do one job in a process of its own."""
    # Even `kill -9` of the run ends this: nothing goes on writing when the next run begins.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    try:
        progress = _Told(job.name, pipe)
        pipe.send(rebuild_one(job, shelf, options, progress=progress, environ=environ))
    except (KeyboardInterrupt, BrokenPipeError):
        # Told to stop: the one who waits for us is told that all is undone.
        with contextlib.suppress(OSError):
            pipe.send(None)
    except Exception as error:  # noqa: BLE001 - the boundary of this process: whatever comes here is our bug
        pipe.send(Broke(name=job.name, trace="".join(traceback.format_exception(error))))
        bug = EnvbundleError(f"this is a bug in envbundle: {type(error).__name__}: {error}")
        pipe.send(replace(_failed(job, shelf, bug), exit_code=BUG))
