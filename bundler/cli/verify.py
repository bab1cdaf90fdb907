"""`envbundle verify`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from bundler.checks import verify_bundle
from bundler.cli import options
from bundler.cli.options import (
    CACHE_DIR,
    IMPORT_TIMEOUT,
    JSON,
    LIMIT_OPTIONS,
    QUIET,
    REQUIRE_ISOLATION,
    SIGNATURE_OPTIONS,
    with_options,
)
from bundler.cli.output import finding_rows, isolation_as_json, print_findings, print_isolation
from bundler.system import room
from bundler.system.progress import Progress
from bundler.wheels.store import Store


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--no-imports", is_flag=True, help="Import nothing: files, target and static checks only.")
@click.option(
    "--python",
    metavar="VERSION|PATH",
    help="Interpreter to verify with.  [default: the Python of the bundle]",
)
@click.option(
    "--image",
    metavar="NAME|FILE",
    help="The image where it is to run: compare the bundle with its profile (see `envbundle images`).",
)
@with_options(REQUIRE_ISOLATION, IMPORT_TIMEOUT, *LIMIT_OPTIONS, *SIGNATURE_OPTIONS)
@CACHE_DIR
@QUIET
@JSON
def command(
    *,
    bundle: Path,
    no_imports: bool,
    python: str | None,
    image: str | None,
    require_isolation: bool,
    cache_dir: Path | None,
    quiet: bool,
    as_json: bool,
    **values: Any,
) -> int:
    r"""Verify a bundle: every file, its target, every import, and the checks of `create` once more.

    What verify.py finds inside the image this finds here, whatever was done to the verify.py in the bundle.
    BUNDLE is its folder or an archive. An archive is hashed without unpacking it; only for the imports, and
    the checks that go with them, it is mounted or unpacked in a private folder.

    \b
    Examples:
      envbundle verify src/myenv
      envbundle verify src/myenv --no-imports --json
      envbundle verify src/myenv --python /opt/python3.8/bin/python
      envbundle verify src/myenv --image image.json --require-isolation
      envbundle verify myenv.tar.zst --no-imports
      envbundle verify src/myenv --allowed-signers signers --name myenv --not-older-than 17
    """
    if require_isolation:
        room.require()
    progress = Progress(stream=sys.stderr, quiet=quiet)
    with progress.working("verify"):
        report = verify_bundle.verify(
            bundle,
            python=python,
            imports=not no_imports,
            image=image,
            rules=options.signature_rules(values),
            signatures=values["signatures"],
            limits=options.limits_of(values),
            store=Store(options.cache_dir(cache_dir)),
            progress=progress,
            environ=os.environ,
        )
    print_findings(report.findings)
    if not quiet:
        print_isolation(report.not_isolated)
    if as_json:
        click.echo(json.dumps(_as_json(report), indent=2))
    elif not quiet:
        errors = sum(1 for one in report.findings if one.severity == "error" and one.accepted is None)
        verdict = "ok" if report.ok else f"{errors} finding{'s' if errors != 1 else ''}"
        click.echo(f"{verdict}: {report.files} files; checked: {', '.join(report.checked)}")
    return 0 if report.ok else 1


def _as_json(report: verify_bundle.Verification) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "bundle": str(report.bundle),
        "format": report.format,
        "python": report.interpreter.version,
        "interpreter": str(report.interpreter.executable),
        "checked": list(report.checked),
        "files": report.files,
        "isolation": list(report.isolation),
        "isolation_warning": isolation_as_json(report.not_isolated),
        "findings": finding_rows(report.findings),
    }
