"""`envbundle rehearse`."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from bundler.cli import streams
from bundler.cli.options import (
    CACHE_DIR,
    INDEX_FIELDS,
    INDEX_OPTIONS,
    JSON,
    LIMIT_OPTIONS,
    QUIET,
    cache_dir,
    index_settings,
    limits_of,
    with_options,
)
from bundler.cli.output import table
from bundler.deploy import rehearsal
from bundler.errors import InputError
from bundler.model import RoomLimits
from bundler.system.progress import Progress

_PATH = click.Path(path_type=Path)
_HINTS = {
    95: "an image installs this at its start, from an index: use the bundle, without a requirements file",
    97: "the variable is relative to the entry script's folder, and an absolute path is joined as well",
    98: "the variable is relative to the entry script's folder",
    99: "the variable is relative to the entry script's folder",
    100: "the bundle hides what the image's Python needs: `envbundle verify` tells which module",
}


@click.command()
@with_options(
    click.argument("bundle", type=_PATH),
    click.option(
        "--entry", type=_PATH, required=True, metavar="FILE",
        help="The entry script: a path, or relative to --code or to the folder that holds the bundle.",
    ),
    click.option(
        "--code", type=_PATH, metavar="DIR",
        help="The folder that is uploaded.  [default: the entry script's]",
    ),
    click.option(
        "--request", type=_PATH, metavar="FILE", help="Send this JSON to /score and print the answer."
    ),
    click.option("--model", type=_PATH, metavar="DIR", help="The model; AZUREML_MODEL_DIR will lead to it."),
    click.option(
        "--lib-path", metavar="PATH",
        help="AZUREML_EXTRA_PYTHON_LIB_PATH as the deployment sets it; empty: not at all."
        "  [default: what leads to the bundle]",
    ),
    click.option(
        "-e", "--env", "variables", multiple=True, metavar="NAME=VALUE",
        help="A variable of the deployment; may be given several times.",
    ),
    click.option(
        "--layout", type=click.Choice(["v1", "v2"]), default="v1", show_default=True,
        help="v1: the code folder is /var/azureml-app; v2: a folder of its name below it.",
    ),
    click.option(
        "--image", metavar="NAME|FILE",
        help="The image to stand in for: see `envbundle images list`, or a profile that a probe wrote.",
    ),
    click.option(
        "--server", metavar="VERSION",
        help="Version of azureml-inference-server-http.  [default: the image's, or the last for this Python]",
    ),
    click.option("--python", metavar="VERSION|PATH", help="The image's Python.  [default: the bundle's]"),
    click.option(
        "--engine", type=click.Choice(["podman", "docker"]), help="Play it in a container of --base instead."
    ),
    click.option(
        "--base", metavar="IMAGE", help="The engine's image; --python is then a path in it.",
    ),
    click.option("--port", type=click.IntRange(1, 65535), default=rehearsal.PORT, show_default=True),
    click.option(
        "--timeout", type=click.FloatRange(min=0.1), default=rehearsal.TIMEOUT, show_default=True,
        metavar="SECONDS", help="Seconds until the service must be healthy, and again for its answer.",
    ),
    *LIMIT_OPTIONS,
    *INDEX_OPTIONS,
    click.option("--no-python-downloads", is_flag=True, help="Never fetch an interpreter."),
    CACHE_DIR,
    QUIET,
    JSON,
)  # fmt: skip
def command(*, as_json: bool, quiet: bool, **values: Any) -> int:
    r"""Start the service here as a prebuilt inference image would, with its server, and ask it.

    By the start script's rules, with the server in an environment of its own, code folder and bundle
    read-only, another user and no network: what the machine refuses of that is said.

    \b
    Examples:
      envbundle rehearse src/myenv --entry src/score.py --request request.json
      envbundle rehearse src/myenv --entry score.py --model model --env THRESHOLD=0.5
      envbundle rehearse src/myenv --entry score.py --lib-path myenv/lib/python3.8/site-packages --json
    """
    if (values["engine"] is None) != (values["base"] is None):
        raise InputError(
            "--engine and --base go together", hint="say both: --engine podman --base the/image:tag"
        )
    limits = limits_of(values)
    for name in ("memory_limit", "process_limit", "output_limit"):
        del values[name]
    if values["engine"] and limits != RoomLimits():
        raise InputError(
            "the limits are of the builder's own isolation, and --engine has another",
            hint="leave the limits out, or limit the engine",
        )
    result = rehearsal.rehearse(
        rehearsal.RehearseRequest(
            limits=limits,
            variables=_variables(values.pop("variables")),
            index=index_settings({name: values.pop(name) for name in INDEX_FIELDS}),
            python_downloads=not values.pop("no_python_downloads"),
            cache_dir=cache_dir(values.pop("cache_dir")),
            **values,
        ),
        progress=Progress(stream=sys.stderr, quiet=quiet),
        environ=os.environ,
    )
    if as_json:
        log = str(result.log) if result.log else None
        click.echo(json.dumps({"ok": result.ok, **asdict(result), "log": log}, indent=2))
    if not result.ok:
        _explain(result)
    elif not as_json:
        _show(result, quiet=quiet)
    return 0 if result.ok else 1


def _variables(given: tuple[str, ...]) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    wrong = next(
        (one for one, (name, sign, _) in zip(given, pairs, strict=True) if not name or not sign), None
    )
    if wrong is not None:
        raise InputError(f"--env {wrong}: it has no name and value", hint="write --env NAME=VALUE")
    return {name: value for name, _, value in pairs}


def _show(result: rehearsal.RehearseResult, *, quiet: bool) -> None:
    rows = [("GET /", f"{result.liveness} after {result.start_seconds:.2f} s")]
    if result.status is not None:
        rows.append(("POST /score", f"{result.status} after {result.score_seconds:.2f} s"))
    rows.append(("isolation", ", ".join(result.isolation) or "none"))
    rows += [("not isolated", rehearsal.FULL[one]) for one in result.not_isolated]
    if not result.stopped:
        rows.append(("stop", "the server did not end when it was told to, and was killed"))
    if not quiet:
        click.echo(table(rows), err=True)
    if result.status is not None:
        click.echo(result.answer)


def _explain(result: rehearsal.RehearseResult) -> None:
    for line in result.lines:
        click.echo(line, err=True)
    if result.answer:
        click.echo(f"the answer: {result.answer}", err=True)
    where = "the start script" if result.step == "start" else "the service"
    code = f" with exit code {result.exit_code}" if result.step == "start" and result.exit_code else ""
    click.echo(f"{streams.styled('failed:', fg='red', bold=True)} {where}{code}: {result.reason}", err=True)
    if result.step == "start" and result.exit_code in _HINTS:
        click.echo(f"{streams.styled('hint:', fg='cyan', bold=True)} {_HINTS[result.exit_code]}", err=True)
    if result.log is not None:
        click.echo(f"the whole log: {result.log}", err=True)
