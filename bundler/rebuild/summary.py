"""Writes the results of a run: summary.json, report.html and junit.xml.

Format: docs/rebuild.md and summary.schema.json beside this file. Those in the output folder are of
the last run in which something changed: a run that found everything unchanged writes nothing there.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Any, Literal

import bundler
from bundler.create import emit
from bundler.errors import InputError, MachineError, ProofError
from bundler.lazy_dataclass import dataclass
from bundler.rebuild.outcome import BUG, STATES, Outcome, as_json

KIND = "envbundle-summary"
SCHEMA_VERSION = "1.1"
LIMIT = 256 << 20
"""Bytes; a bundle takes some thousand."""

FILES = {"summary": "summary.json", "report": "report.html", "junit": "junit.xml"}
"""Result → its file in the output folder."""

Mode = Literal["rebuild", "dry-run", "locked"]
PRECEDENCE = (BUG, ProofError.exit_code, MachineError.exit_code, InputError.exit_code)
"""Of exit codes, where bundles fail for several reasons: 3 before 2, for after 3 a second try may help."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run, and what became of its bundles."""

    file: str
    """The envbundle.toml, as it was named."""
    mode: Mode
    shard: tuple[int, int] | None = None
    """(number from 1, count)."""
    only: tuple[str, ...] = ()
    """The values of --only; empty: all bundles."""
    started: str
    """UTC, ISO 8601, to the second."""
    seconds: float
    outcomes: tuple[Outcome, ...]
    folders: Mapping[str, Path] = field(default_factory=dict)
    """Name of a job → its folder on this machine; the report links to the files in it."""

    @property
    def exit_code(self) -> int:
        """The exit code: 0, or the first of PRECEDENCE that a bundle has, as `create` would end for it."""
        return next((code for code in PRECEDENCE if code in {one.exit_code for one in self.outcomes}), 0)


def document(run: Run) -> dict[str, Any]:
    """Return the content of summary.json."""
    counts = Counter(one.state for one in run.outcomes)
    return {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "ok": run.exit_code == 0,
        "exit_code": run.exit_code,
        "envbundle": bundler.__version__,
        "file": run.file,
        "mode": run.mode,
        "shard": "/".join(map(str, run.shard)) if run.shard else None,
        "only": list(run.only),
        "started": run.started,
        "seconds": round(run.seconds, 3),
        "counts": {state: counts[state] for state in STATES},
        "bundles": [as_json(one) for one in run.outcomes],
    }


def write(run: Run, *, output: Path, wanted: Mapping[str, Path | None]) -> None:
    """Write the files that are wanted, and those in the output folder if something changed.

    :param output: the output folder of the run.
    :param wanted: result (see `FILES`) → where else to write it.
    :raises InputError: a file that is wanted cannot be written.
    """
    content = document(run)
    if run.mode == "rebuild" and not _is_known(content, output / _name(run, "summary.json")):
        paths = {result: output / _name(run, name) for result, name in FILES.items()}
        _write(run, content, paths)
    _write(run, content, wanted)


def _name(run: Run, name: str) -> str:
    """`summary.json`, of a shard `summary.2of4.json`: machines may share an output folder."""
    stem, _, ending = name.partition(".")
    return f"{stem}.{run.shard[0]}of{run.shard[1]}.{ending}" if run.shard else name


def _is_known(content: Mapping[str, Any], path: Path) -> bool:
    """Return whether nothing changed, and the summary that is there says the same of every bundle."""
    if any(row["state"] != "unchanged" for row in content["bundles"]):
        return False
    try:
        with path.open("rb") as file:
            older = json.loads(file.read(LIMIT))
        rows = {row["name"]: row for row in older["bundles"]}
        if not content["only"] and rows.keys() != {row["name"] for row in content["bundles"]}:
            return False
        return all(
            (rows[row["name"]]["build"], rows[row["name"]]["exit_code"]) == (row["build"], 0)
            and rows[row["name"]]["published"] == row["published"]
            for row in content["bundles"]
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _write(run: Run, content: Mapping[str, Any], wanted: Mapping[str, Path | None]) -> None:
    if path := wanted.get("summary"):
        emit.write_file(path, json.dumps(content, indent=2) + "\n")
    if path := wanted.get("junit"):
        from bundler.rebuild import junit  # noqa: PLC0415 - it brings a library of XML

        emit.write_file(path, junit.render(run.outcomes, seconds=run.seconds, started=run.started))
    if path := wanted.get("report"):
        emit.write_file(path, _report(run, path.absolute().parent))


def _report(run: Run, folder: Path) -> str:
    """Return the report of the run.

    :param folder: where it will be; its links to the bundles' reports are relative to it.
    """
    from bundler.report.pages.run_page import RunRow, run_html  # noqa: PLC0415 - jinja2

    rows = []
    for outcome in run.outcomes:
        known = {field.name: getattr(outcome, field.name, None) for field in fields(RunRow)}
        job = run.folders.get(outcome.name)
        page = job / "builds" / f"{outcome.build}.html" if job else None
        known["report"] = os.path.relpath(page, folder) if page and page.is_file() else ""
        rows.append(RunRow(**{name: value for name, value in known.items() if value is not None}))
    return run_html(rows, title=run.file, when=run.started, seconds=run.seconds, dry=run.mode == "dry-run")
