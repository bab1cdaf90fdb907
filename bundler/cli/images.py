"""`envbundle images`: what is known of the images in which bundles run."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import click

from bundler.bundle import standalone
from bundler.cli.options import JSON
from bundler.cli.output import table
from bundler.report.compare.sections import names
from bundler.targets import catalogue, profile_file
from bundler.targets.image import Image, ImageTarget

SHOWN = 20
"""Libraries and modules that `show` names without --json."""


@click.group()
def command() -> None:
    r"""Show what is known of images, and ask an image itself.

    A profile says what its sources say; `?` is what nobody says, which is not the same as nothing.

    \b
    Examples:
      envbundle images list
      envbundle images show minimal-ubuntu20.04-py38-cpu-inference
      envbundle images probe > probe.py
      docker run --rm -i IMAGE python - < probe.py > image.json
      envbundle images diff minimal-ubuntu20.04-py38-cpu-inference image.json
      envbundle create -r requirements.txt --image image.json -o src/myenv
    """


@command.command("list")
@click.option("--python", metavar="VERSION", help="Only images of this Python, such as 3.8.")
@JSON
def list_(*, python: str | None, as_json: bool) -> None:
    r"""List the catalogue: name, Python, glibc, the newest server, and whether the variables still work.

    \b
    Examples:
      envbundle images list
      envbundle images list --python 3.8 --json
    """
    found = [image for image in catalogue.all_images() if python in (None, image.minor)]
    if as_json:
        click.echo(json.dumps({"ok": True, "images": [_row(image) for image in found]}, indent=2))
        return
    width = max((len(image.name) for image in found), default=0)
    click.echo(f"{'name':<{width}}  python  glibc  server     variables")
    for image in found:
        row = _row(image)
        server = "-" if image.server is None else f"<={row['server']}" if row["server"] else "?"
        default = "  (default)" if row["default_for"] else ""
        python_, glibc = row["python"] or "?", row["glibc"] or "?"
        told = f"{image.honours_variables}{default}"
        click.echo(f"{image.name:<{width}}  {python_:<6}  {glibc:<5}  {server:<9}  {told}")


def _row(image: Image) -> dict[str, Any]:
    return {
        "name": image.name,
        "python": image.target.python,
        "os": image.os,
        "glibc": None if image.target.glibc is None else catalogue.shown(image.target.glibc),
        "server": image.server.version if image.server else None,
        "honours_variables": image.honours_variables,
        "default_for": next(
            (minor for minor, name in catalogue.DEFAULTS.items() if name == image.name), None
        ),
        "references": list(image.references),
    }


@command.command()
@click.argument("image", metavar="NAME|FILE")
@click.option(
    "--pins", is_flag=True, help="Print what the image has as constraints, for `create -c`: NAME==VERSION."
)
@JSON
def show(*, image: str, pins: bool, as_json: bool) -> None:
    r"""Show a profile with its sources.

    \b
    Examples:
      envbundle images show minimal-ubuntu20.04-py38-cpu-inference
      envbundle images show curated/minimal-py311-inference --json
      envbundle images show image.json --pins > image.txt
    """
    found = catalogue.load(image)
    if pins:
        for name, one in sorted((found.distributions or {}).items()):
            click.echo(f"{name}=={one.version}")
        return
    if as_json:
        click.echo(json.dumps({"ok": True, "image": profile_file.as_dict(found)}, indent=2))
        return
    click.echo(table(_rows(found)))
    click.echo("\nsources")
    for source in found.sources:
        click.echo(f"  {', '.join(source.about)}: {source.says} [{source.certainty}]")
        if source.url:
            click.echo(f"    {source.url}")


def _rows(image: Image) -> list[tuple[str, str]]:
    rows = [("image", image.name), ("system", catalogue.shown(image.os))]
    rows += [("pulled from", reference) for reference in image.references]
    rows += [(one.name, catalogue.shown(getattr(image.target, one.name))) for one in fields(ImageTarget)]
    server = image.server
    bounds = "" if server is None else f"{server.at_least or '?'} to {server.at_most or '?'}"
    rows.append(("server", "?" if server is None else f"{server.name} {bounds}"))
    if image.distributions is None:
        named = ", ".join(f"{name}{specifier}" for name, specifier in image.named.items())
        rows.append(("distributions", f"? (a source names {named})" if named else "?"))
    else:
        rows.append(("distributions", str(len(image.distributions))))
        rows += [("", f"{name} {one.version}") for name, one in image.distributions.items()]
    libraries = "?" if image.libraries is None else names(sorted(image.libraries), most=SHOWN)
    rows.append(("libraries", libraries))
    rows.append(("modules", "?" if image.stdlib_modules is None else str(len(image.stdlib_modules))))
    rows += [("variable", f"{name}={value}") for name, value in (image.environment or {}).items()]
    rows.append(
        ("conda", "?" if image.conda is None else f"{image.conda.name or '?'} in {image.conda.prefix}")
    )
    rows += _mount_rows(image)
    user = image.user
    who = "?" if user is None else f"{user.name or '?'} ({'root' if user.root else 'not root'})"
    return [*rows, ("user", who), ("can write in", catalogue.shown(image.writable))]


def _mount_rows(image: Image) -> list[tuple[str, str]]:
    if image.mount is None:
        return [("mount", "?")]
    mount = image.mount
    return [
        ("mount", f"{', '.join(mount.variables) or 'by its place'}, {mount.order or '?'}"),
        ("", f"relative to {mount.base}" if mount.base else "absolute"),
        ("honoured", image.honours_variables),
    ]


@command.command()
@click.argument("first", metavar="NAME|FILE")
@click.argument("second", metavar="NAME|FILE")
@JSON
def diff(*, first: str, second: str, as_json: bool) -> None:
    r"""Show in what two images differ; `?` is what nobody says, `-` what an image does not have.

    \b
    Examples:
      envbundle images diff ubuntu-20.04 debian-12-slim
      envbundle images diff minimal-ubuntu20.04-py38-cpu-inference image.json --json
    """
    rows = catalogue.diff(catalogue.load(first), catalogue.load(second))
    if as_json:
        differences = [{"about": what, "first": ours, "second": theirs} for what, ours, theirs in rows]
        click.echo(json.dumps({"ok": True, "differences": differences}, indent=2))
        return
    click.echo(
        table([(what, f"{ours} → {theirs}") for what, ours, theirs in rows]) or "no difference is known"
    )


@command.command()
def probe() -> None:
    r"""Print a script that describes the image in which it runs; it needs nothing but Python 3.6.

    Run it with the Python that will use the packages. It changes nothing and opens no connection.

    \b
    Examples:
      envbundle images probe > probe.py
      docker run --rm -i IMAGE python - < probe.py > image.json
      docker run --rm -i IMAGE python - our-image < probe.py > image.json
    """
    click.echo(standalone.image_probe(), nl=False)
