"""`envbundle delta`."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bundler.cli.options import JSON, QUIET
from bundler.cli.output import table
from bundler.ontarget.delta_format import ENDINGS
from bundler.system import scratch
from bundler.system.progress import Progress

if TYPE_CHECKING:
    from bundler.formats.delta import Side

COMPRESSION = click.option(
    "--compression", type=click.Choice(list(ENDINGS)), default="xz", show_default=True,
    help="zlib: larger, for an image whose Python has no lzma.",
)  # fmt: skip


@click.command()
@click.argument("olds", metavar="OLD...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), metavar="DIR",
    help="Folder of the delta, such as scoring-2.delta.",
)  # fmt: skip
@COMPRESSION
@click.option("--force", is_flag=True, help="Replace a delta that is there.")
@QUIET
@JSON
def command(
    *,
    olds: tuple[Path, ...],
    new: Path,
    output: Path,
    compression: str,
    force: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    r"""Write what makes the bundle NEW of the bundle OLD: what has changed, and a program that applies it.

    Bundles are folders or archives. Each file of NEW is kept, moved, made of parts of an old one, corrected
    byte by byte (bsdiff), or carried whole, whatever is smallest. The delta is applied to every OLD before it
    is there. Carry the folder to where OLD is, and run `envbundle apply`, or its apply.py with the image's
    Python, which needs nothing else.

    \b
    Examples:
      envbundle delta scoring-1 scoring-2 -o scoring-2.delta
      envbundle delta monday.tar.zst tuesday.tar.zst wednesday.tar.zst -o wednesday.delta
      python3 scoring-2.delta/apply.py scoring-1 -o scoring-2
    """
    from bundler.formats import delta

    output = Path(os.path.normpath(output.absolute()))
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch.folder())
        sides = [_side(path, stack, folder) for path in (*olds, new)]
        written = delta.write(
            sides[:-1],
            sides[-1],
            output=output,
            compression=compression,
            force=force,
            progress=Progress(stream=sys.stderr, quiet=quiet),
        )
    if as_json:
        bases = [
            {"name": base.name, "same": base.same, **base.ways, "size": base.size} for base in written.bases
        ]
        described = {"delta": str(output), "size": written.size, "manifest_sha256": written.result}
        click.echo(json.dumps({"ok": True, **described, "bases": bases}, indent=2))
    elif not quiet:
        rows = [("delta", f"{output} ({written.size:,} bytes)")]
        for base in written.bases:
            ways = ", ".join(f"{count} {way}" for way, count in base.ways.items())
            rows.append((f"from {base.name}", f"{base.same} files are the same; {ways}; {base.size:,} bytes"))
        click.echo(table(rows))


def _side(path: Path, stack: contextlib.ExitStack, folder: Path) -> Side:
    """Open a bundle in any format as a folder.

    :raises InputError: it is no bundle.
    """
    from bundler.formats import reading, unpacking
    from bundler.formats.delta import Side

    path = Path(os.path.normpath(path.absolute()))
    name = reading.stem(path).name
    return Side(name=name, folder=stack.enter_context(unpacking.opened(path, scratch=folder)))
