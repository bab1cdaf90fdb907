"""What became of one bundle in a run: goes to the terminal, the summary, JUnit and the report."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundler.model import Finding
    from bundler.report.compare.difference import Difference

State = Literal["unchanged", "built", "would-build", "not-proved", "failed", "skipped"]
STATES: tuple[State, ...] = ("unchanged", "built", "would-build", "not-proved", "failed", "skipped")
BROKEN: tuple[State, ...] = ("not-proved", "failed")
"""States that somebody must act on."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One of the archive formats of a build, beside its folder."""

    kind: str
    """`tar.zst`, `oci` …"""
    name: str
    """Of the file or folder in `builds/`."""
    sha256: str
    """Of the file; of an `oci` layout's index.json."""
    size: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one bundle; picklable."""

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
    findings: tuple[Finding, ...] = ()
    """Of the proof that failed; else the current build's, without information."""
    error: str | None = None
    hint: str | None = None
    exit_code: int = 0
    """Who must act, as the other commands say it: 1 the bundle's owner, 2 the caller, 3 the machine, 4 we."""
    changes: Difference | None = None
    """From the build before to the new one (or a dry run's lock); `None`: nothing to compare."""
    archives: tuple[Archive, ...] = ()
    published: str | None = None
    """URL of the published build, without credentials; `None`: none was asked for, or it failed."""

    @property
    def ok(self) -> bool:
        """Whether nobody must act."""
        return self.state not in BROKEN


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as JSON's values: a row of summary.json (bundler/rebuild/summary.schema.json)."""
    return {
        "name": outcome.name,
        "bundle": outcome.bundle,
        "place": outcome.place,
        "state": outcome.state,
        "reason": outcome.reason,
        "build": outcome.build,
        "previous": outcome.previous,
        "digest": outcome.digest,
        "size": outcome.size,
        "files": outcome.files,
        "seconds": round(outcome.seconds, 3),
        "exit_code": outcome.exit_code,
        "error": outcome.error,
        "hint": outcome.hint,
        "findings": [finding_row(one) for one in outcome.findings],
        "changes": None if outcome.changes is None else outcome.changes.as_json(),
        "archives": [asdict(one) for one in outcome.archives],
        "published": outcome.published,
    }


def finding_from(row: Mapping[str, Any]) -> Finding:
    """Return the finding of a row that `finding_row` made."""
    from bundler.model import Finding  # noqa: PLC0415 - a run in which nothing changed does not need it

    return Finding(**{**row, "chain": tuple(row["chain"])})


def finding_row(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON's values, the members that a manifest has."""
    return {**asdict(finding), "chain": list(finding.chain)}
