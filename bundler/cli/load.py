"""`envbundle load`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from bundler.cli.options import JSON, QUIET, SIGNATURE_OPTIONS, require_folder, signature_rules, with_options
from bundler.system.files import real_path


@click.command()
@click.argument("parcel", type=click.Path(path_type=Path), callback=require_folder)
@click.argument("shelf", type=click.Path(path_type=Path), callback=require_folder)
@click.option(
    "--receipt", type=click.Path(path_type=Path), metavar="FILE",
    help="What the shelf has now, for `save --since`.  [default: SHELF/receipt.json]",
)  # fmt: skip
@click.option("--allow-rollback", is_flag=True, help="Let an older build be the current one.")
@click.option(
    "--keep", type=click.IntRange(min=1), metavar="N",
    help="Builds of each bundle to keep, the current one included.  [default: all]",
)  # fmt: skip
@with_options(*SIGNATURE_OPTIONS[:3], SIGNATURE_OPTIONS[5])
@QUIET
@JSON
def command(
    *,
    parcel: Path,
    shelf: Path,
    receipt: Path | None,
    allow_rollback: bool,
    keep: int | None,
    quiet: bool,
    as_json: bool,
    **values: Any,
) -> int:
    r"""Load a parcel that `envbundle save` made into the folder SHELF.

    Every part is compared with its hash, and every file of a build with the build's manifest. With
    --allowed-signers or --key, every build must be signed with the name that it has in the shelf. One that
    would become current must not be older than the current one. A build appears whole, in one step, and then
    `current` points at it. What is there already is left; --keep removes what is older, but neither the
    current build nor one that the parcel's deltas were made from. The parcel's own load.py does the same with
    Python alone.

    \b
    Examples:
      envbundle load parcel shelf --allowed-signers signers
      envbundle load /media/disk/parcel shelf --receipt /media/disk/receipt.json --keep 5
      envbundle verify shelf/scoring-py38/current
    """
    from bundler.formats import delta
    from bundler.ontarget import load
    from bundler.ontarget.parcel_format import RECEIPT

    rules = signature_rules({**values, "name": ""})
    place = Path(os.path.normpath(shelf.absolute()))
    to = str(Path(os.path.normpath(receipt.absolute())) if receipt else place / RECEIPT)
    quietly = quiet or as_json
    with delta.translated():
        result = load.load_parcel(
            str(real_path(parcel)),
            str(place),
            rules,
            allow_rollback,
            (lambda _: None) if quietly else click.echo,
        )
        if keep:
            removed = load.remove_old(str(real_path(parcel)), str(place), keep, result["refused"])
            result["removed"] = removed
        load.write_receipt(to, str(place))
    if as_json:
        click.echo(json.dumps({**result, "receipt": to}, indent=2))
    elif not quiet:
        if rules is None:
            click.echo(load.UNCHECKED, err=True)
        click.echo(load.told(result, to))
    return 0 if result["ok"] else 1
