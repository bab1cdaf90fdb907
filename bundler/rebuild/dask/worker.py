"""Does one job on a Dask worker: its disk is temporary, and all results are at URLs."""

from __future__ import annotations

import asyncio
import io
import os
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from distributed import Worker, get_client, get_worker

from bundler.errors import EnvbundleError, MachineError, Terminated
from bundler.rebuild.dask import task as dask_task
from bundler.rebuild.dask.task import Machine, Task
from bundler.rebuild.job import rebuild_one
from bundler.rebuild.outcome import BUG, Outcome, skipped
from bundler.rebuild.plan import Job
from bundler.rebuild.shelf.remote import RemoteShelf
from bundler.system.progress import Progress

MOST_DEATHS = 3
"""A job at which so many workers died is given up: it is what kills them."""
_AT_WORK = "executing"


@dataclass(kw_only=True)
class _StoppableProgress(Progress):
    """Prints nothing, and ends the work at its next step once the task is cancelled."""

    stopped: Callable[[], None] = field(repr=False)

    def note(self, message: str) -> None:
        del message
        self.stopped()


def work(task: Task) -> tuple[Outcome | None, str]:
    """Do a job; never raises, for a worker writes down what a task raises, and with what arguments.

    :returns: the outcome (`None`: the task was cancelled), and the traceback of a bug.
    """
    worker = get_worker()
    died = _died(task)
    if died >= MOST_DEATHS:
        return gave_up(task.job, died), ""

    def stopped() -> None:
        state = worker.state.tasks.get(task.key)
        if state is None or state.state != _AT_WORK:
            raise Terminated

    try:
        return _work(task, scratch=_scratch(worker), stopped=stopped), ""
    except Terminated:
        return None, ""
    except Exception as error:  # noqa: BLE001 - the boundary of this worker: whatever comes here is our bug
        bug = EnvbundleError(f"this is a bug in envbundle: {type(error).__name__}")
        return replace(skipped(task.job).failed(bug), exit_code=BUG), traceback.format_exc()


def gave_up(job: Job, died: int) -> Outcome:
    """Return the outcome of a job whose workers died."""
    hint = "the logs of the workers say why: a nanny ends what takes more memory than its limit"
    return skipped(job).failed(MachineError(f"{died} workers died while they made it", hint=hint))


def _died(task: Task) -> int:
    """Count this attempt, and return how many there were before: at each of them the worker died.

    The scheduler keeps the number as long as it knows the task.
    """
    client = get_client()
    before = int(client.get_metadata(task.key, task.deaths))
    client.set_metadata(task.key, before + 1)
    return before


def _scratch(worker: Worker) -> Path:
    folder = Path(worker.local_directory) / "envbundle"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _work(task: Task, *, scratch: Path, stopped: Callable[[], None]) -> Outcome:
    cache = scratch / "cache"
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        job = dask_task.unpack(task, folder=folder, cache=cache)
        shelf = RemoteShelf(task.output, job.name, scratch=folder, stopped=stopped)
        progress = _StoppableProgress(stream=io.StringIO(), stopped=stopped)
        outcome = rebuild_one(job, shelf, task.options, progress=progress, environ=os.environ)
        current = None if outcome.build is None else shelf.current()
    if current is not None and current.build == outcome.build:
        outcome = replace(outcome, published=shelf.where(current))
    # The temporary folder of this worker means nothing to the client.
    return replace(
        outcome,
        error=outcome.error and outcome.error.replace(f"{folder}/", ""),
        hint=outcome.hint and outcome.hint.replace(f"{folder}/", ""),
    )


async def describe(pythons: tuple[str, ...], dask_worker: Worker) -> Machine:
    """Describe this worker, beside whatever it is doing."""
    cache = _scratch(dask_worker) / "cache"
    return await asyncio.to_thread(dask_task.describe, pythons, cache=cache, environ=dict(os.environ))
