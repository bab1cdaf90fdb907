"""`envbundle lock`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from bundler.cli.options import (
    CACHE_DIR,
    JSON,
    NO_PYTHON,
    QUIET,
    REQUIREMENT_OPTIONS,
    lock_request_fields,
    with_options,
)
from bundler.create import pipeline
from bundler.create.request import LockRequest
from bundler.errors import InputError
from bundler.system.progress import Progress


@click.command()
@with_options(
    *REQUIREMENT_OPTIONS,
    click.option(
        "-o", "--output", "outputs", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
        help="pylock.toml or pylock.NAME.toml (PEP 751); any other name gets requirements with hashes. "
        "May be given several times.  [default: pylock.toml]",
    ),
    CACHE_DIR,
    QUIET,
    JSON,
)  # fmt: skip
def command(*, as_json: bool, quiet: bool, outputs: tuple[Path, ...], **values: Any) -> int:
    r"""Write a lock: every distribution with its file, URL and hash, for one target.

    \b
    Examples:
      envbundle lock -r requirements.txt --python 3.8
      envbundle lock -r requirements.txt --python 3.7 -o pylock.py37.toml -o requirements.lock
      envbundle lock "pandas<2.1" --python 3.8 --exclude-newer 2024-06-30
      envbundle lock -r requirements.txt --image minimal-ubuntu20.04-py38-cpu-inference
    """
    fields = lock_request_fields(values)
    if not (fields["requirement_files"] or fields["arguments"] or fields["from_env"]):
        raise InputError("nothing to lock is named", hint="give -r requirements.txt")
    if not (fields["python"] or fields["image"]):
        raise InputError("the image's Python is not named", hint=NO_PYTHON)
    progress = Progress(stream=sys.stderr, quiet=quiet)
    paths = outputs or (Path("pylock.toml"),)
    for path in paths:
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise InputError(f"{path} cannot be written", hint="name a file in a folder that exists")
    with progress.working("lock"):
        lock, target = pipeline.lock(
            LockRequest(**fields), outputs=paths, progress=progress, environ=os.environ
        )
    if as_json:
        result = {
            "ok": True,
            "outputs": [str(path) for path in paths],
            "target": {"python": target.python_version, "glibc": f"{target.glibc[0]}.{target.glibc[1]}"},
            "distributions": [{"name": one.name, "version": one.version} for one in lock.distributions],
            "findings": [],
            "timings": {stage: round(seconds, 3) for stage, seconds in progress.timings.items()},
        }
        click.echo(json.dumps(result, indent=2))
    elif not quiet:
        written = ", ".join(str(path) for path in paths)
        click.echo(f"{len(lock.distributions)} distributions → {written}", err=True)
    return 0
