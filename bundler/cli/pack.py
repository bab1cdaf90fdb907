"""`envbundle pack`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from bundler.cli.options import JSON, QUIET, SIGN, formats_option, require_signing_key
from bundler.cli.output import archive_rows, archives_as_json, table
from bundler.cli.sign import sign
from bundler.formats import NAMES, Packed, packing, reading, unpacking
from bundler.system import workspace
from bundler.system.progress import Progress


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@formats_option(NAMES[1:], help_text=f"{', '.join(NAMES[1:])}; may be given several times.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="PATH",
    help="Path without the format's ending: x/env gives x/env.tar.zst.  [default: BUNDLE]",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace archives of a bundle that are there.")
@SIGN
@QUIET
@JSON
def command(
    *,
    bundle: Path,
    kinds: tuple[str, ...],
    output: Path | None,
    force: bool,
    sign_key: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    r"""Pack a bundle: the same bundle is the same bytes, wherever, whenever and by whom it is packed.

    Every file is hashed as it is packed and compared with the manifest. BUNDLE may be an archive itself.

    \b
    Examples:
      envbundle pack src/myenv --format tar.zst
      envbundle pack src/myenv --format squashfs,oci -o out/myenv-1.4
      envbundle pack myenv.tar.zst --format zip --force --json
    """
    bundle = Path(os.path.normpath(bundle.absolute()))
    progress = Progress(stream=sys.stderr, quiet=quiet)
    require_signing_key(sign_key)
    with progress.working("pack"):
        archives = _packed(bundle, kinds, output, force=force, progress=progress)
    signed = sign([one.path for one in archives], sign_key) if sign_key else None
    if as_json:
        more = {"signed": signed.as_json()} if signed else {}
        click.echo(json.dumps({"ok": True, "archives": archives_as_json(archives), **more}, indent=2))
    elif not quiet:
        click.echo(table(archive_rows(archives) + (signed.rows() if signed else [])))


def _packed(
    bundle: Path, kinds: tuple[str, ...], output: Path | None, *, force: bool, progress: Progress
) -> tuple[Packed, ...]:
    stem = reading.stem(bundle)
    target = Path(os.path.normpath(output.absolute())) if output else stem
    packing.require(kinds, output=target, force=force)
    with workspace.claim(target) as work, unpacking.opened(bundle, scratch=work.scratch) as folder:
        return packing.pack(
            folder, kinds=kinds, output=target, scratch=work.scratch, force=force, progress=progress
        )
