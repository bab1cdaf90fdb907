"""`envbundle deploy`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from bundler.cli import options
from bundler.cli.options import (
    CACHE_DIR,
    INDEX_FIELDS,
    INDEX_OPTIONS,
    JSON,
    QUIET,
    index_settings,
    with_options,
)
from bundler.cli.output import finding_rows, print_findings
from bundler.deploy import PLATFORMS, flow
from bundler.system.progress import Progress

_PATH = click.Path(path_type=Path)
_TARGETS = "\n".join(f"  {name:<16} {platform.SUMMARY}" for name, platform in PLATFORMS.items())


@click.command(epilog=f"\b\nTargets:\n{_TARGETS}")
@with_options(
    click.argument("bundle", type=_PATH),
    click.option("--to", "platform", required=True, type=click.Choice(list(PLATFORMS)), help="See below."),
    click.option(
        "-o", "--output", required=True, type=_PATH, metavar="DIR",
        help="Where to write; a file that is there and differs is never replaced.",
    ),
    click.option(
        "--code", type=_PATH, metavar="DIR",
        help="Folder of the service, with the bundle in it.  [azureml: the folder that holds the bundle]",
    ),
    click.option(
        "--entry", metavar="FILE",
        help="Scoring script, relative to the code folder.  [default: score.py]",
    ),
    click.option("--model", type=_PATH, metavar="DIR", help="Folder of the model."),
    click.option("--base", metavar="IMAGE", help="Base image.  [azureml: the prebuilt one of that Python]"),
    click.option(
        "--image", metavar="NAME|FILE",
        help="Profile of the base image.  [default: the one of its name, if any]",
    ),
    click.option(
        "--image-python", "python", metavar="PATH",
        help="Interpreter in the image, where its profile does not say it.",
    ),
    click.option("--name", help="Of what is made on the platform.  [default: after the bundle's folder]"),
    click.option(
        "--env", "variables", multiple=True, metavar="NAME=VALUE",
        help="A further variable of the service; no secrets.",
    ),
    click.option("--bundle-image", metavar="NAME", help="kubernetes: image of the bundle, without a tag."),
    click.option(
        "--wheels-at", metavar="PATH",
        help="wheelhouse: where the wheels will lie for pip.  [default: beside requirements.lock]",
    ),
    click.option(
        "--verify-with", type=_PATH, metavar="FILE",
        help="docker, compose, kubernetes: verify the bundle's signature before the service starts; FILE has "
        "the keys, as `envbundle verify --allowed-signers` takes them.",
    ),
    click.option(
        "--signed-as", metavar="NAME",
        help="The name with which it must be signed.  [default: the bundle's folder]",
    ),
    *INDEX_OPTIONS,
    CACHE_DIR,
    QUIET,
    JSON,
)  # fmt: skip
def command(*, as_json: bool, quiet: bool, output: Path, cache_dir: Path | None, **values: Any) -> int:
    r"""Write what a platform takes: its files, the variables, and the commands that come next.

    Nothing is sent anywhere, and no password is asked for or written.

    \b
    Examples:
      envbundle deploy src/myenv --to azureml-v2 -o deploy
      envbundle deploy src/myenv --to docker -o context --base myregistry.azurecr.io/base:1
      envbundle deploy src/myenv --to docker -o context --base IMAGE --code src --model model
      envbundle deploy src/myenv --to compose -o stack --base IMAGE --verify-with signers
      envbundle deploy src/myenv --to wheelhouse -o src/wheels
      envbundle deploy src/myenv --to aws-lambda -o layer --json
    """
    index = index_settings({name: values.pop(name) for name in INDEX_FIELDS})
    request = flow.DeployRequest(
        output=Path(os.path.normpath(output.absolute())),
        cache_dir=options.cache_dir(cache_dir),
        index=index,
        **values,
    )
    progress = Progress(stream=sys.stderr, quiet=quiet)
    with progress.working("deploy"):
        done = flow.deploy(request, progress=progress, environ=os.environ)
    print_findings(done.findings)
    if as_json:
        click.echo(json.dumps(_as_json(done), indent=2))
    elif not quiet:
        _summary(done)
    return 0 if done.ok else 1


def _summary(done: flow.DeployResult) -> None:
    if not done.ok:
        click.echo(f"nothing was written to {done.output}")
        return
    click.echo(f"{done.output}: {', '.join(done.written)}")
    for title, lines in (
        ("Variables:", [f"{name}={value}" for name, value in done.plan.variables.items()]),
        ("Next, in that folder:", done.plan.commands),
        ("Note:", done.plan.notes),
    ):
        if lines:
            click.echo("\n".join(["", title, *(f"  {line}" for line in lines)]))


def _as_json(done: flow.DeployResult) -> dict[str, Any]:
    return {
        "ok": done.ok,
        "output": str(done.output),
        "written": list(done.written),
        "variables": dict(done.plan.variables),
        "commands": list(done.plan.commands),
        "notes": list(done.plan.notes),
        "findings": finding_rows(done.findings),
    }
