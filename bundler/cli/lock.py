"""`envbundle lock`."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from bundler.bundle import lock as locks
from bundler.cli.options import (
    CACHE_DIR,
    DECISION_OPTIONS,
    JSON,
    NO_PYTHON,
    PROVENANCE_OPTIONS,
    QUIET,
    REQUIREMENT_OPTIONS,
    lock_request_fields,
    policy_of,
    provenance_of,
    with_options,
)
from bundler.cli.output import finding_rows, print_findings, publishers_as_json
from bundler.create import pipeline
from bundler.create.request import LockRequest
from bundler.errors import InputError
from bundler.system import scratch
from bundler.system.progress import Progress

_PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;\\]+)", re.ASCII | re.MULTILINE)


@click.command()
@with_options(
    *REQUIREMENT_OPTIONS,
    click.option(
        "-o", "--output", "outputs", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
        help="pylock.toml or pylock.NAME.toml (PEP 751); any other name gets requirements with hashes. "
        "May be given several times.  [default: pylock.toml]",
    ),
    click.option(
        "--check", is_flag=True,
        help="Write nothing; end with 1 where the locks are not what the requirements ask for. "
        "Newer releases alone make no lock stale.",
    ),
    *PROVENANCE_OPTIONS,
    *DECISION_OPTIONS,
    CACHE_DIR,
    QUIET,
    JSON,
)  # fmt: skip
def command(*, as_json: bool, quiet: bool, check: bool, outputs: tuple[Path, ...], **values: Any) -> int:
    r"""Write a lock: every distribution with its file, URL and hash, for one target.

    \b
    Examples:
      envbundle lock -r requirements.txt --python 3.8
      envbundle lock -r requirements.txt --python 3.7 -o pylock.py37.toml -o requirements.lock
      envbundle lock "pandas<2.1" --python 3.8 --exclude-newer 2024-06-30
      envbundle lock -r requirements.txt --python 3.8 --check
      envbundle lock -r requirements.txt --image minimal-ubuntu20.04-py38-cpu-inference
      envbundle lock -r requirements.txt --python 3.8 --publisher numpy=GitHub:numpy/numpy
    """
    fields = lock_request_fields(values)
    if not (fields["requirement_files"] or fields["arguments"] or fields["from_env"]):
        raise InputError("nothing to lock is named", hint="give -r requirements.txt")
    if not (fields["python"] or fields["image"]):
        raise InputError("the image's Python is not named", hint=NO_PYTHON)
    fields |= {"policy": policy_of(values), "provenance": provenance_of(values)}
    progress = Progress(stream=sys.stderr, quiet=quiet)
    paths = outputs or (Path("pylock.toml"),)
    for path in paths:
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise InputError(f"{path} cannot be written", hint="name a file in a folder that exists")
    if check:
        stale = _stale(LockRequest(**fields), paths, progress)
        if as_json:
            click.echo(json.dumps({"ok": not stale, "stale": stale}, indent=2))
        elif not quiet or stale:
            click.echo("\n".join(stale) or "every lock is what the requirements ask for", err=True)
        return 1 if stale else 0
    with progress.working("lock"):
        made = pipeline.lock(LockRequest(**fields), outputs=paths, progress=progress, environ=os.environ)
    lock, target = made.lock, made.target
    print_findings(made.findings)
    if as_json:
        result = {
            "ok": True,
            "outputs": [str(path) for path in paths],
            "target": {"python": target.python_version, "glibc": f"{target.glibc[0]}.{target.glibc[1]}"},
            "distributions": [{"name": one.name, "version": one.version} for one in lock.distributions],
            "publishers": publishers_as_json(made.publishing),
            "findings": finding_rows(made.findings),
            "timings": {stage: round(seconds, 3) for stage, seconds in progress.timings.items()},
        }
        click.echo(json.dumps(result, indent=2))
    elif not quiet:
        written = ", ".join(str(path) for path in paths)
        click.echo(f"{len(lock.distributions)} distributions → {written}", err=True)
    return 0


def _stale(request: LockRequest, paths: tuple[Path, ...], progress: Progress) -> list[str]:
    """Say which locks are not what would be written today if their versions were kept.

    :raises InputError: a lock cannot be read.
    """
    said = []
    for path in paths:
        if not path.is_file():
            said.append(f"{path} is not there")
            continue
        text = path.read_text(encoding="utf-8")
        with scratch.folder() as folder:
            pins, again = folder / "versions of the lock.txt", folder / path.name
            pins.write_text(_pins(path, text), encoding="utf-8")
            kept = replace(request, constraint_files=(*request.constraint_files, pins))
            try:
                with progress.working("lock"):
                    pipeline.lock(kept, outputs=(again,), progress=progress, environ=os.environ)
            except InputError as error:
                said.append(f"{path} is not what the requirements ask for: {error.message}")
                continue
            texts = text, again.read_text(encoding="utf-8")
            asked = request.provenance is not None
            if not _same(*texts, pins=_pins(path, text), path=path, identities=asked):
                said.append(f"{path} is not what the requirements ask for: lock again")
    return said


def _same(old: str, new: str, *, pins: str, path: Path, identities: bool) -> bool:
    """Tell whether two locks are the same, but for the versions that the second was given to keep.

    :param identities: compare the publishers too.
    """
    form = not locks.is_pylock(path)
    was, now = (locks.values(text, where=str(path), requirements=form) for text in (old, new))
    if form and _lines(old) != _lines(new):
        return False
    ours = now["tool"]["envbundle"]
    given = ours.pop("constraints", [])
    for pin in filter(given.__contains__, pins.splitlines()):
        given.remove(pin)
    if given:
        ours["constraints"] = given
    for package in () if identities else was.get("packages", ()):
        package.pop("attestation-identities", None)
    return was == now


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def _pins(path: Path, text: str) -> str:
    """Return the versions of a lock as constraints."""
    if not locks.is_pylock(path):
        return "".join(f"{name}=={version}\n" for name, version in _PIN.findall(text))
    packages = locks.parse_pylock(text, where=str(path)).packages
    return "".join(
        f"{one.name}=={one.version}\n"
        for one in packages
        if one.version and not (one.vcs or one.directory or one.archive)
    )
