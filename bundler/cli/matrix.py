"""`envbundle matrix`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from bundler.cli.options import JSON, with_options
from bundler.errors import InputError
from bundler.rebuild import ci, plan
from bundler.rebuild import config as configs

FORMS = ("json", "github", "azure", "kubernetes")


@click.command()
@with_options(
    click.argument("file", type=click.Path(path_type=Path), default=Path("envbundle.toml")),
    click.option(
        "--for", "form", type=click.Choice(FORMS), default="json", show_default=True,
        help="github, azure: one line for a job's matrix; kubernetes: the YAML of an Indexed Job.",
    ),
    click.option(
        "--shards", type=int, metavar="N",
        help="An entry for each of N parts instead of each bundle.  [kubernetes: 1 pod]",
    ),
    click.option(
        "--only", multiple=True, metavar="NAME",
        help="This bundle or job alone, or those that a pattern names; may be given several times.",
    ),
    click.option(
        "--container-image", metavar="IMAGE",
        help="kubernetes: image with envbundle and the interpreters in it.",
    ),
    click.option("--name", metavar="NAME", help="kubernetes: of the Job.  [default: envbundle-rebuild]"),
    click.option("--namespace", metavar="NAME", help="kubernetes: of the Job."),
    click.option(
        "--claim", metavar="NAME",
        help="kubernetes: volume claim with the file, what it names, and the output.  [default: envbundle]",
    ),
    click.option(
        "--mount", metavar="DIR", help="kubernetes: where it is mounted.  [default: /srv/envbundle]"
    ),
    click.option(
        "--file", "inside", metavar="PATH", help="kubernetes: the file in it.  [default: envbundle.toml]"
    ),
    click.option("--cache-claim", metavar="NAME", help="kubernetes: volume claim that keeps the wheels."),
    click.option(
        "--secret", "secrets", multiple=True, metavar="NAME",
        help="kubernetes: a Secret whose members become variables.",
    ),
    click.option("--cpu", metavar="N", help="kubernetes: what a pod asks for.  [default: 1]"),
    click.option("--memory", metavar="N", help="kubernetes: what a pod asks for.  [default: 2Gi]"),
    JSON,
)  # fmt: skip
def command(
    *, file: Path, form: str, shards: int | None, only: tuple[str, ...], as_json: bool, **values: Any
) -> int:
    r"""Print what a CI server or a cluster takes to do a nightly's bundles on many machines.

    Nothing is resolved and no variable is looked up: the file alone decides.

    \b
    Examples:
      envbundle matrix --for github
      envbundle matrix nightly/envbundle.toml --for azure --shards 8
      envbundle matrix --for kubernetes --shards 4 --container-image registry.example/envbundle:1
      envbundle matrix --json
    """
    if as_json and form != "json":
        raise InputError(f"--json and --for {form} exclude each other", hint="leave one of them out")
    given = {name: value for name, value in values.items() if value not in (None, ())}
    if given and form != "kubernetes":
        option = {"inside": "file", "secrets": "secret"}.get(min(given), min(given)).replace("_", "-")
        raise InputError(f"--{option} means nothing to {form}", hint="leave it out, or add --for kubernetes")
    if shards is not None:
        plan.require_shard(1, shards)
    config = configs.read(file)
    cells = plan.choose(plan.cells(config), only=only)
    if form == "json":
        click.echo(json.dumps(ci.as_json(cells, config, shards=shards), indent=2))
    elif form == "kubernetes":
        names = [cell.name for cell in cells] if only else []
        click.echo(ci.kubernetes(_cluster(given), shards=shards or 1, names=names), nl=False)
    else:
        rows = ci.entries(cells, shards=shards, named=bool(only))
        click.echo(ci.github(rows) if form == "github" else ci.azure(rows))
    return 0


def _cluster(given: dict[str, Any]) -> ci.Cluster:
    if "container_image" not in given:
        raise InputError(
            "the image for the pods is not named",
            hint="add --container-image IMAGE: one with envbundle and the interpreters in it",
        )
    return ci.Cluster(**{"file" if name == "inside" else name: value for name, value in given.items()})
