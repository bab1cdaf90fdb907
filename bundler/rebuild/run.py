"""A run over many bundles: in processes beside each other, so many at a time.

Each bundle that is built has a process that is forked from one that has loaded everything, and ends with it:
so the bundles share neither memory nor Python's interpreter lock, what one of them leaves in memory goes with
it, and one that the kernel kills stops no other. A process that found its bundle unchanged looks at the next
one, and remembers what it has resolved: to fork and to resolve is nearly all the work of such a bundle.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import cast

from bundler.errors import EnvbundleError, MachineError, Terminated
from bundler.rebuild.job import Options, Resolve, rebuild_one, resolving_once
from bundler.rebuild.outcome import BUG, Bug, Event, Message, Outcome, State, skipped
from bundler.rebuild.plan import Job
from bundler.rebuild.shelf import Shelf
from bundler.system import index_settings
from bundler.system.progress import Progress, Stage

GRACE = 10.0
"""Seconds for a process that was told to stop to remove what it began."""
_MADE_NOTHING: tuple[State, ...] = ("unchanged", "would-build")
"""States after which a process can do another job."""
_PR_SET_PDEATHSIG = 1


def run(
    jobs: Sequence[Job],
    options: Options,
    *,
    workers: int,
    shelf: Callable[[Job], Shelf],
    environ: Mapping[str, str],
    on_event: Callable[[Event], None],
) -> tuple[Outcome, ...]:
    """Do all jobs; an error in one of them stops no other.

    :param workers: jobs at a time.
    :param shelf: returns where the builds of a job stand.
    :param on_event: called with every event, in the order in which they happen.
    :returns: the outcomes in the order of the jobs.
    :raises KeyboardInterrupt: the run is to stop; no process of it is left.
    """
    outcomes: dict[str, Outcome] = {}
    if len(jobs) > 1:
        # Read once for all of them; an error is reported with each.
        with contextlib.suppress(EnvbundleError):
            index_settings.read_settings(environ)
        if any(job.request.lock_file is None for job in jobs):
            # Loaded once: it would be three quarters of the work of a bundle that has not changed.
            from bundler.create import index_pages, resolve  # noqa: F401, PLC0415 - with requests
    began = time.time()
    waiting = deque(replace(job, request=replace(job.request, asked_since=began)) for job in jobs)
    processes = _Processes(waiting, options, shelf, environ)
    try:
        while waiting or processes.count:
            while waiting and processes.count < workers:
                on_event(Message(name=waiting[0].name, text="", begins=True))
                processes.start(waiting.popleft())
            for event in processes.events():
                if isinstance(event, Outcome):
                    outcomes[event.name] = event
                on_event(event)
    finally:
        processes.stop()
    return tuple(outcomes[job.name] for job in jobs)


class _Processes:
    """The processes of a run; each does one job after another, until it has made something or failed."""

    def __init__(
        self,
        jobs: Sequence[Job],
        options: Options,
        shelf: Callable[[Job], Shelf],
        environ: Mapping[str, str],
    ) -> None:
        self._jobs = {job.name: job for job in jobs}
        self._options = options
        self._shelf = shelf
        self._environ = environ
        self._context = multiprocessing.get_context("fork")
        self._running: dict[Connection, tuple[Job, ForkProcess]] = {}
        self._idle: list[tuple[Connection, ForkProcess]] = []
        """Those that have done their job, and can do another one."""

    @property
    def count(self) -> int:
        """How many are at work."""
        return len(self._running)

    def start(self, job: Job) -> None:
        """Begin a job: in a process that can do another one, else in a new one."""
        while self._idle:
            pipe, process = self._idle.pop()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                pipe.send(job.name)
                self._running[pipe] = (job, process)
                return
            _end(pipe, process)  # somebody has killed it since
        pipe, own = self._context.Pipe()
        process = self._context.Process(
            target=_work,
            args=(self._jobs, self._shelf, self._options),
            kwargs={"environ": self._environ, "pipe": own, "parent": os.getpid()},
            name=job.name,
        )
        process.start()
        own.close()
        pipe.send(job.name)
        self._running[pipe] = (job, process)

    def events(self) -> Iterator[Event]:
        """Wait for the next events."""
        for one in connection.wait(list(self._running)):
            pipe = cast("Connection", one)
            job, process = self._running[pipe]
            try:
                event: Event = pipe.recv()
            except (EOFError, ConnectionResetError):
                del self._running[pipe]
                _end(pipe, process)
                yield _died(job, self._shelf(job), process)
                continue
            if isinstance(event, Outcome):
                del self._running[pipe]
                if event.state in _MADE_NOTHING:
                    self._idle.append((pipe, process))
                else:
                    _end(pipe, process)
            yield event

    def stop(self) -> None:
        """End all that are running; each first removes what it has begun."""
        for _, process in self._running.values():
            process.terminate()
        while self._idle:
            _end(*self._idle.pop())
        limit = time.monotonic() + GRACE
        while self._running and time.monotonic() < limit:
            for one in connection.wait(list(self._running), timeout=max(0.0, limit - time.monotonic())):
                pipe = cast("Connection", one)
                with contextlib.suppress(EOFError, ConnectionResetError):
                    if isinstance(pipe.recv(), Message):
                        continue
                # What it began is undone; its threads may still wait for a server.
                _, process = self._running.pop(pipe)
                process.kill()
                process.join()
        for _, process in self._running.values():
            process.kill()
            process.join()
        self._running.clear()


def _end(pipe: Connection, process: ForkProcess) -> None:
    """Wait for the end of a process that has sent its last outcome."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        pipe.send(None)
    pipe.close()
    process.join(GRACE)
    if process.is_alive():
        # It has done its work, and one of its threads still waits for a server.
        process.kill()
        process.join()


def _died(job: Job, shelf: Shelf, process: ForkProcess) -> Outcome:
    """Return the outcome of a job whose process ended without sending one."""
    code = process.exitcode
    how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
    hint = "see to the machine, and run it again"
    if code == -signal.SIGKILL:
        hint = "the kernel ends what takes too much memory (see `dmesg`): give it more, or a smaller --jobs"
    return _failed(job, shelf, MachineError(f"the process that made it was ended {how}", hint=hint))


def _failed(job: Job, shelf: Shelf, error: EnvbundleError) -> Outcome:
    """Return the outcome of a job that failed, with what its current build is, if that can be read."""
    outcome = skipped(job)
    # What failed may fail here again, and the outcome must be reported all the same.
    with contextlib.suppress(Exception):
        record = shelf.current()
        outcome = outcome.with_record(record) if record else outcome
    return outcome.failed(error)


class _PipedProgress(Progress):
    """Sends messages to the run, which alone has a terminal."""

    def __init__(self, name: str, pipe: Connection) -> None:
        super().__init__(stream=io.StringIO())
        self._name = name
        self._pipe = pipe
        self._lock = threading.Lock()

    def note(self, message: str) -> None:
        """Send one line."""
        self._send(message)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Send that a stage begins, and time it."""
        self._send(name, begins=True)
        with super().stage(name) as stage:
            yield stage

    def _send(self, text: str, *, begins: bool = False) -> None:
        with self._lock:
            self._pipe.send(Message(name=self._name, text=text, begins=begins))


def _work(
    jobs: Mapping[str, Job],
    shelf: Callable[[Job], Shelf],
    options: Options,
    *,
    environ: Mapping[str, str],
    pipe: Connection,
    parent: int,
) -> None:
    """Do the jobs whose names come, one after another, until `None` comes."""
    # Even `kill -9` of the run ends this: nothing goes on writing when the next run begins.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    resolve = resolving_once()
    try:
        while (name := pipe.recv()) is not None:
            job = jobs[name]
            _do(job, shelf(job), options, environ=environ, pipe=pipe, resolve=resolve)
    except (KeyboardInterrupt, BrokenPipeError, EOFError) as error:
        if isinstance(error, Terminated):
            error.heard = True
        # Told to stop: the parent waits for a sign that all is undone.
        with contextlib.suppress(OSError):
            pipe.send(None)


def _do(
    job: Job,
    shelf: Shelf,
    options: Options,
    *,
    environ: Mapping[str, str],
    pipe: Connection,
    resolve: Resolve,
) -> None:
    try:
        progress = _PipedProgress(job.name, pipe)
        pipe.send(rebuild_one(job, shelf, options, progress=progress, environ=environ, resolve=resolve))
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the boundary of this process: whatever comes here is our bug
        pipe.send(Bug(name=job.name, trace="".join(traceback.format_exception(error))))
        bug = EnvbundleError(f"this is a bug in envbundle: {type(error).__name__}: {error}")
        pipe.send(replace(_failed(job, shelf, bug), exit_code=BUG))
