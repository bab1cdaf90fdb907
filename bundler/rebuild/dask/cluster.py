"""Runs the jobs of a plan on an existing Dask cluster: https://distributed.dask.org.

The workers share no disk with this machine or with each other. Each job travels with the content of the files
that it reads; the builds stand at the output's URL, and wheels at the store's. If a worker dies, its
job is done again by another, from what is at the URLs.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import dask.config
from distributed import Client, as_completed
from distributed import Future as AnyFuture
from distributed.scheduler import KilledWorker

from bundler.errors import EnvbundleError, InputError, MachineError
from bundler.rebuild.dask import task as dask_task
from bundler.rebuild.dask import worker
from bundler.rebuild.dask.task import Task
from bundler.rebuild.job import Options
from bundler.rebuild.outcome import Bug, Event, Outcome, skipped
from bundler.rebuild.plan import Job
from bundler.system import redact

if TYPE_CHECKING:
    Result: TypeAlias = tuple[Outcome | None, str]
    Future: TypeAlias = AnyFuture[Result]

PATIENCE = 60.0
"""Seconds for the scheduler to answer, and for the first worker to come."""


def run(
    jobs: Sequence[Job],
    options: Options,
    *,
    address: str | None,
    output: str,
    environ: Mapping[str, str],
    on_event: Callable[[Event], None],
) -> tuple[Outcome, ...]:
    """Do all jobs on a cluster; an error in one of them stops no other.

    :param address: of the scheduler; `None`: as Dask's own configuration says (DASK_SCHEDULER_ADDRESS).
    :param output: URL below which each job's builds stand (`bundler.rebuild.shelf.remote`).
    :param on_event: called with each outcome, and with bugs, as they become known.
    :returns: the outcomes in the order of the jobs.
    :raises InputError: no scheduler is named.
    :raises MachineError: it does not answer, has no workers, or they are not as this machine is.
    :raises KeyboardInterrupt: the run is to stop: no job begins any more, and none that has begun ends in a
        published build.
    """
    client = _connect(address)
    try:
        _require_alike(client, jobs, environ=environ)
        return _ClusterRun(client, options, output=output, environ=environ, on_event=on_event).run(jobs)
    finally:
        client.close(timeout=2)


def _connect(address: str | None) -> Client:
    found = address or dask.config.get("scheduler-address", None)
    if not found:
        # Without an address Dask would start a cluster of its own on this machine.
        raise InputError(
            "no Dask scheduler is named",
            hint="give --dask-address tcp://HOST:8786, or DASK_SCHEDULER_ADDRESS",
        )
    redact.remember(str(found))  # Dask's messages have parts of it, and not as a URL
    try:
        client = Client(found, timeout=PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise MachineError(
            f"the Dask scheduler {redact.url(str(found))} does not answer: {_first_line(error)}",
            hint="check its address; for tls:// Dask's own configuration names the certificates",
        ) from error
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        client.close(timeout=2)
        raise MachineError(
            f"the Dask scheduler {redact.url(str(found))} has no workers",
            hint="start some: dask worker ADDRESS",
        ) from error
    return client


def _require_alike(client: Client, jobs: Sequence[Job], *, environ: Mapping[str, str]) -> None:
    """Refuse workers that would make other bundles than this machine."""
    pythons = tuple(sorted({job.request.python for job in jobs if job.request.python}))
    downloads = all(job.request.python_downloads for job in jobs)
    try:
        workers = client.run(worker.describe, pythons)
    except Exception as error:
        # The worker's own exception comes here: most often there is no envbundle.
        raise MachineError(
            f"a worker cannot make bundles: {type(error).__name__}: {_first_line(error)}",
            hint="install this version of envbundle[dask] on every worker",
        ) from error
    if not jobs:
        return
    here = dask_task.describe(pythons, cache=jobs[0].request.cache_dir, environ=environ)
    wrong = [
        f"{address} {problem}"
        for address, there in sorted(workers.items())
        for problem in dask_task.differences(here, there, downloads=downloads)
    ]
    if wrong:
        raise MachineError(
            f"workers are not as this machine is: {'; '.join(wrong)}",
            hint="the same envbundle and the same Pythons make the same bundles: use one image for all",
        )


def _first_line(error: BaseException) -> str:
    return redact.text((str(error).strip().splitlines() or [type(error).__name__])[0])


class _ClusterRun:
    """The jobs of one run that were sent to the cluster."""

    def __init__(
        self,
        client: Client,
        options: Options,
        *,
        output: str,
        environ: Mapping[str, str],
        on_event: Callable[[Event], None],
    ) -> None:
        self._client = client
        self._options = options
        self._output = output
        self._environ = environ
        self._on_event = on_event
        self._run = uuid.uuid4().hex[:12]
        self._count = 0
        self._out: dict[Future, Task] = {}

    def run(self, jobs: Sequence[Job]) -> tuple[Outcome, ...]:
        outcomes: dict[str, Outcome] = {}

        def settle(outcome: Outcome) -> None:
            outcomes[outcome.name] = outcome
            self._on_event(outcome)

        try:
            coming = as_completed(loop=self._client.loop)
            todo = [self._packed(job) for job in jobs]
            while todo or self._out:
                for one in todo:
                    if isinstance(one, Outcome):
                        settle(one)
                    else:
                        coming.add(self._submit(one))
                todo = []
                if self._out:
                    future = next(coming)
                    todo = [self._settled(future, self._out.pop(future))]
        finally:
            # A task that still runs sees that it is cancelled, and stops at its next step.
            self._client.cancel(list(self._out), force=True)
        return tuple(outcomes[job.name] for job in jobs)

    def _packed(self, job: Job) -> Task | Outcome:
        """Return the task of a job, or the outcome if it cannot be sent."""
        try:
            return dask_task.pack(
                job, options=self._options, output=self._output, key=self._key(job), environ=self._environ
            )
        except EnvbundleError as error:
            return skipped(job).failed(error)

    def _key(self, job: Job) -> str:
        self._count += 1
        return f"envbundle-{self._run}-{self._count}-{job.name}"

    def _submit(self, task: Task) -> Future:
        future = self._client.submit(worker.work, task, key=task.key, pure=False)
        self._out[future] = task
        return future

    def _settled(self, future: Future, task: Task) -> Outcome | Task:
        """Return the outcome of a job, or the task that is to be tried again."""
        job = task.job
        if future.status == "finished":
            outcome, trace = future.result()
            if trace:
                self._on_event(Bug(name=job.name, trace=trace))
            if outcome is not None:
                return outcome
        error = future.exception() if future.status == "error" else None
        if isinstance(error, KilledWorker):
            # The scheduler's own limit was reached, perhaps by other jobs that killed this one's workers.
            died = int(self._client.get_metadata(task.key, task.deaths))
            if died < worker.MOST_DEATHS:
                return replace(task, deaths=died, key=self._key(job))
            return worker.gave_up(job, died)
        if error is not None:
            message = f"its task failed: {type(error).__name__}: {_first_line(error)}"
            return skipped(job).failed(MachineError(message, hint="the logs of the workers say more"))
        hint = "somebody cancelled it, or the scheduler went away"
        return skipped(job).failed(MachineError("its task was cancelled", hint=hint))
