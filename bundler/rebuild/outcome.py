"""What becomes of one bundle in a run: its outcome, and the messages before it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, Literal

from bundler.checks import isolation
from bundler.errors import CommandError, EnvbundleError, MachineError, ProofError
from bundler.lazy_dataclass import dataclass
from bundler.model import Finding
from bundler.rebuild.plan import Job
from bundler.rebuild.record import Archive, Record
from bundler.rebuild.shelf import Shelf
from bundler.report.compare.difference import Difference
from bundler.system import json_values, redact

State = Literal["unchanged", "built", "would-build", "not-proved", "failed", "skipped"]
STATES: tuple[State, ...] = ("unchanged", "built", "would-build", "not-proved", "failed", "skipped")
BROKEN: tuple[State, ...] = ("not-proved", "failed")
"""States that somebody must act on."""
BUG = 4
"""Exit code of what is our fault."""
LAST_LINES = 6
"""Of what a program printed that failed."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one bundle; picklable. Its fields are the members of a row of summary.json."""

    name: str
    """Of the job: `scoring-py38`."""
    bundle: str
    """As the file names it: `scoring`."""
    place: str
    """`envbundle.toml:17`."""
    state: State
    reason: str = ""
    """Why it was built, or would be; of what is unchanged, what there is to say of it. A sentence's part."""
    build: str | None = None
    """What `current` points at after the run; `None`: there is no current build."""
    previous: str | None = None
    """What it pointed at before."""
    digest: str | None = None
    """Of the current build's tree."""
    size: int = 0
    """Bytes of the current build's tree."""
    files: int = 0
    seconds: float = 0.0
    exit_code: int = 0
    """Who must act, as the other commands say it: 1 the bundle's owner, 2 the caller, 3 the machine, 4 we."""
    error: str | None = None
    hint: str | None = None
    findings: tuple[Finding, ...] = ()
    """Of the proof that failed; else the current build's, without information."""
    not_isolated: tuple[str, ...] = ()
    """Of the current build: parts of the isolation that were not in force during its proof. A row has the
    warning about them."""
    changes: Difference | None = None
    """From the build before to the new one (or a dry run's lock); `None`: nothing to compare."""
    archives: tuple[Archive, ...] = ()
    published: str | None = None
    """URL of the published build, without credentials; `None`: none was asked for, or it failed."""

    @property
    def ok(self) -> bool:
        """Whether nobody must act."""
        return self.state not in BROKEN

    def with_record(self, record: Record) -> Outcome:
        """Return it with what the record of the current build says."""
        return replace(
            self,
            build=record.build,
            previous=record.build,
            digest=record.digest,
            size=record.size,
            files=record.files,
            findings=record.findings,
            not_isolated=record.not_isolated,
            archives=record.archives,
        )

    def failed(self, error: EnvbundleError) -> Outcome:
        """Return it with what an error says, without credentials."""
        message = redact.text(error.message)
        if isinstance(error, CommandError) and error.stderr.strip():
            lines = redact.text(error.stderr).strip().splitlines()[-LAST_LINES:]
            message += "".join(f"\n  {line}" for line in lines)
        return replace(
            self,
            state="failed",
            error=message,
            hint=redact.text(error.hint) if error.hint else None,
            exit_code=error.exit_code,
        )


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message about the work on a bundle."""

    name: str
    """Of the job."""
    text: str
    """A line, or the name of a stage that begins; empty: the job begins."""
    begins: bool = False


@dataclass(frozen=True, kw_only=True)
class Bug:
    """A bundle met a bug of ours."""

    name: str
    """Of the job."""
    trace: str


Event = Message | Bug | Outcome


def skipped(job: Job) -> Outcome:
    """Return the outcome of a job that was not done."""
    return Outcome(name=job.name, bundle=job.bundle, place=job.place, state="skipped")


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as JSON's values: a row of summary.json (bundler/rebuild/summary.schema.json)."""
    plain: dict[str, Any] = json_values.as_json(replace(outcome, changes=None))
    changes = None if outcome.changes is None else outcome.changes.as_json()
    found = isolation.warning(plain.pop("not_isolated"))
    return {
        **plain,
        "seconds": round(outcome.seconds, 3),
        "isolation_warning": asdict(found) if found else None,
        "changes": changes,
    }


def attempt(job: Job, shelf: Shelf, work: Callable[[Outcome, Record | None], Outcome]) -> Outcome:
    """Do a job; every error that a user can meet becomes its outcome.

    :param work: does the job; gets the outcome as far as it is known, and the record of the current build
        (`None`: there is none), and returns the outcome.
    """
    started = time.monotonic()
    outcome = skipped(job)
    try:
        before = shelf.current()
        if before is not None:
            outcome = outcome.with_record(before)
        outcome = work(outcome, before)
    except ProofError as error:
        outcome = replace(outcome.failed(error), state="not-proved", findings=error.findings)
    except EnvbundleError as error:
        outcome = outcome.failed(error)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        message = f"{where}{error.strerror or error}"
        hint = "check this path and its filesystem: space, rights"
        outcome = outcome.failed(MachineError(message, hint=hint))
    return replace(outcome, seconds=time.monotonic() - started)


def look(job: Job, shelf: Shelf, *, full: bool) -> Outcome:
    """Tell whether the current build of a job is whole (`--locked`); resolves and writes nothing.

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

    return attempt(job, shelf, work)
