"""One bundle of a run: resolve again, and build only if something changed.

    job → lock → input digest ┬ as before, and the build is whole → unchanged, nothing is written
                              └ otherwise → build beside → prove → compare → put → prune

A bundle that cannot be made stops no other one: what went wrong is its outcome.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bundler.errors import CommandError, EnvbundleError, InputError, MachineError, ProofError
from bundler.rebuild.outcome import Outcome
from bundler.rebuild.shelf.local import LocalShelf
from bundler.system import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bundler.create.request import Resolved
    from bundler.rebuild.plan import Job
    from bundler.rebuild.record import Record
    from bundler.rebuild.shelf import Shelf
    from bundler.report.compare.difference import Difference
    from bundler.system.progress import Progress

LAST_LINES = 6
"""Of what a program printed that failed."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is asked of a run, for all of its bundles; picklable."""

    full: bool = False
    """Hash every file of the builds that are there."""
    dry_run: bool = False
    """Say what would change, and write nothing."""
    publish: str | None = None
    """URL to which builds are sent as well."""
    store: str | None = None
    """URL of a store through which machines share wheels."""


def rebuild_one(
    job: Job, shelf: Shelf, options: Options, *, progress: Progress, environ: Mapping[str, str]
) -> Outcome:
    """Do one job and tell what became of it; never raises for what is the matter with this bundle alone.

    :raises KeyboardInterrupt: the run is to stop; what was begun is undone.
    """

    def work(outcome: Outcome, before: Record | None) -> Outcome:
        return _rebuild(job, shelf, options, outcome, before, progress=progress, environ=environ)

    return _guarded(job, shelf, work)


def look(job: Job, shelf: Shelf, *, full: bool) -> Outcome:
    """Look whether the current build of a job is whole (`--locked`): nothing is resolved or written.

    :param full: hash everything.
    """

    def work(outcome: Outcome, before: Record | None) -> Outcome:
        if before is None:
            raise MachineError("there is no current build", hint="run `envbundle rebuild` without --locked")
        wrong = shelf.damage(before, full=full)
        if not wrong:
            return replace(outcome, state="unchanged")
        return replace(
            outcome,
            state="not-proved",
            reason=wrong,
            error=f"the current build is damaged: {wrong}",
            hint="run `envbundle rebuild` without --locked: it is made again",
            exit_code=ProofError.exit_code,
        )

    return _guarded(job, shelf, work)


def _guarded(job: Job, shelf: Shelf, work: Callable[[Outcome, Record | None], Outcome]) -> Outcome:
    """Turn every error that a user can meet into an outcome, and note the time."""
    started = time.monotonic()
    outcome = Outcome(name=job.name, bundle=job.bundle, place=job.place, state="skipped")
    try:
        before = shelf.current()
        if before is not None:
            outcome = of_record(outcome, before)
        outcome = work(outcome, before)
    except ProofError as error:
        outcome = replace(_failed(outcome, error), state="not-proved", findings=error.findings)
    except EnvbundleError as error:
        outcome = _failed(outcome, error)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        said = MachineError(
            f"{where}{error.strerror or error}", hint="check this path and its filesystem: space, rights"
        )
        outcome = _failed(outcome, said)
    return replace(outcome, seconds=time.monotonic() - started)


def of_record(outcome: Outcome, record: Record) -> Outcome:
    """Complete an outcome with what the record of its current build says."""
    return replace(
        outcome,
        build=record.build,
        previous=record.build,
        digest=record.digest,
        size=record.size,
        files=record.files,
        findings=record.findings,
        archives=record.archives,
    )


def _failed(outcome: Outcome, error: EnvbundleError) -> Outcome:
    message = redact.text(error.message)
    if isinstance(error, CommandError) and error.stderr.strip():
        lines = redact.text(error.stderr).strip().splitlines()[-LAST_LINES:]
        message += "".join(f"\n  {line}" for line in lines)
    return replace(
        outcome,
        state="failed",
        error=message,
        hint=redact.text(error.hint) if error.hint else None,
        exit_code=error.exit_code,
    )


def _rebuild(
    job: Job,
    shelf: Shelf,
    options: Options,
    outcome: Outcome,
    before: Record | None,
    *,
    progress: Progress,
    environ: Mapping[str, str],
) -> Outcome:
    from bundler.create import pipeline  # noqa: PLC0415 - `--locked` needs none of it, and is there to be fast
    from bundler.rebuild import inputs, supplies  # noqa: PLC0415 - the same

    if not options.dry_run:
        shelf.sweep()
    supplies.tools(options.store, job.request.cache_dir)
    with _meanwhile(lambda: shelf.damage(before, full=options.full) if before else "") as looking:
        resolved = pipeline.resolve(job.request, progress=progress, environ=environ)
        wrong = looking()
    made_from = inputs.digest(job.request, resolved, formats=job.formats)
    locked = inputs.lock_digest(resolved.lock)
    reason = _reason(before, wrong, made_from=made_from, locked=locked)
    if before is not None and not reason:
        if not options.dry_run:
            if isinstance(shelf, LocalShelf):
                shelf.refresh(before)
            _prune(job, shelf, progress)
            outcome = _published(job, shelf, options, outcome, before, progress=progress)
        return outcome if outcome.error else replace(outcome, state="unchanged")
    if options.dry_run:
        changes = _changes_of_lock(shelf, before, resolved)
        return replace(outcome, state="would-build", reason=reason, changes=changes)
    from bundler.rebuild import making  # noqa: PLC0415 - not needed where nothing changed

    with supplies.shared(options.store, job.request.cache_dir, resolved.lock, progress):
        record, changes = making.make(
            job,
            shelf,
            before,
            resolved,
            made_from=made_from,
            locked=locked,
            progress=progress,
            environ=environ,
        )
    outcome = replace(
        of_record(outcome, record),
        state="built",
        reason=reason,
        previous=before.build if before else None,
        changes=changes,
    )
    _prune(job, shelf, progress)
    return _published(job, shelf, options, outcome, record, progress=progress)


@contextlib.contextmanager
def _meanwhile(look: Callable[[], str]) -> Iterator[Callable[[], str]]:
    """Look at the current build while the resolver waits for the index; gives what waits for the answer."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - `--locked` does without

    with ThreadPoolExecutor(max_workers=1) as pool:
        looking = pool.submit(look)
        yield looking.result


def _reason(before: Record | None, wrong: str, *, made_from: str, locked: str) -> str:
    """Tell why a bundle is to be built; empty: nothing changed, and it is whole."""
    import bundler  # noqa: PLC0415 - its version alone

    if before is None:
        return "there is no current build"
    if wrong:
        return f"the current build is damaged: {wrong}"
    if before.input == made_from:
        return ""
    if before.lock != locked:
        return "the lock changed"
    if before.tool != bundler.__version__:
        return f"the current build was made by envbundle {before.tool}"
    return "target, image or options changed"


def _changes_of_lock(shelf: Shelf, before: Record | None, resolved: Resolved) -> Difference | None:
    """Compare the current build with a lock that is not built; `None`: there is nothing to compare."""
    if before is None:
        return None
    from bundler.report.compare.compare import compare  # noqa: PLC0415 - not needed where nothing changed
    from bundler.report.compare.sides import of_lock, of_manifest  # noqa: PLC0415 - not needed where nothing changed

    try:
        old = shelf.manifest(before)
    except InputError:
        return None
    lock = resolved.lock
    # What was left to the image is in the lock, and not in the bundle.
    brought = tuple(dist for dist in lock.distributions if old.relies_on.get(dist.name) != dist.version)
    return compare(
        of_manifest(old, name=before.build),
        of_lock(replace(lock, distributions=brought), name="the lock"),
    )


def _prune(job: Job, shelf: Shelf, progress: Progress) -> None:
    gone = shelf.prune(job.keep)
    if gone:
        progress.note(f"{'prune':<12} {', '.join(gone)}")


def _published(
    job: Job, shelf: Shelf, options: Options, outcome: Outcome, record: Record, *, progress: Progress
) -> Outcome:
    """Send the current build to the URL of the run as well; what is there already is not sent again."""
    if options.publish is None:
        return outcome
    from bundler.rebuild.shelf.publish import publish  # noqa: PLC0415 - remote filesystems are slow to import

    try:
        url = publish(job, shelf, record, options.publish, progress=progress)
    except EnvbundleError as error:
        # The build is there and is whole: only the sending is to be done again.
        failed = _failed(outcome, error)
        return replace(failed, error=f"it stands here, but was not published: {failed.error}")
    return replace(outcome, published=url)
