"""`envbundle doctor`."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import click

from bundler.checks import machine
from bundler.cli import options, streams
from bundler.cli.options import CACHE_DIR, JSON
from bundler.errors import MachineError
from bundler.system.progress import Progress
from bundler.wheels.store import Store

_COLOURS = {"ok": "green", "note": "yellow", "problem": "red"}


@click.command()
@click.option(
    "--python",
    "pythons",
    multiple=True,
    metavar="VERSION|PATH",
    help="A Python that bundles are wanted for; may be given several times.  [default: 3.7 and 3.8]",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Where bundles are made.  [default: the current folder]",
)
@CACHE_DIR
@JSON
def command(*, pythons: tuple[str, ...], output: Path, cache_dir: Path | None, as_json: bool) -> int:
    r"""Say what on this machine would spoil a build or a mount, and what to do about it.

    Nothing is fetched. Exit code 3 where no bundle can be made; notes do no harm.

    \b
    Examples:
      envbundle doctor
      envbundle doctor --python 3.8 --json
    """
    with Progress(stream=sys.stderr).working("doctor"):
        rows = machine.check(
            pythons=pythons,
            store=Store(options.cache_dir(cache_dir)),
            output=output,
            environ=os.environ,
        )
    healthy = machine.healthy(rows)
    if as_json:
        click.echo(json.dumps({"ok": healthy, "rows": [asdict(row) for row in rows]}, indent=2))
    else:
        width = max(len(row.topic) for row in rows)
        for row in rows:
            state = streams.styled(f"{row.state:<7}", fg=_COLOURS[row.state], bold=row.state != "ok")
            click.echo(f"{state}  {row.topic:<{width}}  {row.says}")
            if row.remedy:
                click.echo(f"{'':<{width + 11}}→ {row.remedy}")
    return 0 if healthy else MachineError.exit_code
