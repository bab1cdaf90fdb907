"""`envbundle save`."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import asdict
from pathlib import Path

import click

from bundler.cli.delta import COMPRESSION
from bundler.cli.options import JSON, QUIET, require_folder
from bundler.cli.output import table
from bundler.system.progress import Progress
from bundler.system.sizes import in_units

_SIZE = re.compile(r"([0-9]{1,15})([kMG]?)")
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
LEAST = 1000
"""Bytes of a part."""


def _size(ctx: click.Context, param: click.Parameter, value: str) -> int:
    """Return `650M` as bytes."""
    del ctx, param
    match = _SIZE.fullmatch(value)
    if match is None or (found := int(match[1]) * _UNITS[match[2]]) < LEAST:
        raise click.BadParameter(f"{value!r} is no size of at least {LEAST} bytes, as in 650M or 4G")
    return found


@click.command()
@click.argument("shelf", type=click.Path(path_type=Path), callback=require_folder)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="DIR", callback=require_folder,
    help="Folder of the parcel.",
)  # fmt: skip
@click.option(
    "--since", type=click.Path(path_type=Path), metavar="RECEIPT",
    help="What the other side has: the receipt that `load` wrote there.  [default: what was saved before]",
)  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="As if the other side had nothing.")
@click.option(
    "--part-size", default="4G", show_default=True, callback=_size, metavar="SIZE",
    help="Bytes of a part, with k, M or G: 650M for a CD.",
)  # fmt: skip
@COMPRESSION
@click.option("--force", is_flag=True, help="Replace a parcel that is there.")
@QUIET
@JSON
def command(
    *,
    shelf: Path,
    output: Path,
    since: Path | None,
    everything: bool,
    part_size: int,
    compression: str,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    r"""Save what SHELF has and the other side of the gap has not: a parcel, in parts of a size.

    SHELF is the output of `envbundle rebuild`. Every build that the other side lacks is carried with its
    signatures: as what has changed since one that it has, or else whole. Carry the folder across, the parts
    in any order, and run `envbundle load` there, or its load.py with the image's Python, which needs nothing
    else. Where no receipt may travel back, SHELF/sent.json remembers what was saved.

    \b
    Examples:
      envbundle save nightly -o parcel --part-size 650M
      envbundle save nightly -o parcel-2 --since receipt.json
      python3 -I parcel/load.py /srv/shelf
    """
    from bundler.rebuild import parcel
    from bundler.rebuild.parcel import SaveRequest

    request = SaveRequest(
        shelf=Path(os.path.normpath(shelf.absolute())),
        output=Path(os.path.normpath(output.absolute())),
        since=since,
        everything=everything,
        part_size=part_size,
        compression=compression,
        force=force,
    )
    saved = parcel.save(request, progress=Progress(stream=sys.stderr, quiet=quiet))
    if as_json:
        rows = [asdict(one) for one in saved.builds]
        told = {"parcel": str(saved.path) if rows else None, "size": saved.size, "parts": saved.parts}
        click.echo(json.dumps({"ok": True, **told, "builds": rows}, indent=2))
    elif not saved.builds:
        click.echo("the other side has everything: no parcel was written")
    elif not quiet:
        count = f"{saved.parts} part{'s' if saved.parts > 1 else ''}"
        lines = [("parcel", f"{saved.path} ({in_units(saved.size)} in {count})")]
        for one in saved.builds:
            how = "whole" if one.whole else f"from {one.base}" if one.base else "is there already"
            lines.append((f"{one.name}/{one.build}", f"{how}, {in_units(one.size)}"))
        click.echo(table(lines))
