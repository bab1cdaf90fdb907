"""`envbundle apply`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from bundler.cli.options import JSON, QUIET
from bundler.system import scratch


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument(
    "deltas", metavar="DELTA...", nargs=-1, required=True, type=click.Path(path_type=Path)
)  # fmt: skip
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="DIR",
    help="Where the new bundle goes. One that is there already, whole, is left as it is.",
)  # fmt: skip
@QUIET
@JSON
def command(*, old: Path, deltas: tuple[Path, ...], output: Path, quiet: bool, as_json: bool) -> None:
    r"""Make the new bundle of the bundle OLD and a delta: to the byte, or not at all.

    OLD is a folder or an archive, and stays as it is. Several deltas are applied in their order. Every file
    that is written is compared with the new manifest, whose hash is in the delta; who signed it,
    `envbundle verify --allowed-signers` says. In an image, `python3 DELTA/apply.py` does the same.

    \b
    Examples:
      envbundle apply scoring-1 scoring-2.delta -o scoring-2
      envbundle apply monday.tar.zst tuesday.delta wednesday.delta -o wednesday
    """
    from bundler.formats import delta, unpacking

    output = Path(os.path.normpath(output.absolute()))
    with scratch.folder() as folder, unpacking.opened(old.absolute(), scratch=folder) as opened:
        count, sha256 = delta.apply(opened, deltas, output=output)
    if as_json:
        result = {"ok": True, "bundle": str(output), "files": count, "manifest_sha256": sha256}
        click.echo(json.dumps(result, indent=2))
    elif not quiet:
        done = f"{count} files, each with the hash of the new manifest" if count else "was there, whole"
        click.echo(f"{output}: {done}")
