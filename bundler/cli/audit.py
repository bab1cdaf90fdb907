"""`envbundle audit`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click

from bundler.checks import audit_folder, policy
from bundler.checks.isolation import lacking
from bundler.cli import options
from bundler.cli.options import (
    CACHE_DIR,
    IMPORT_TIMEOUT,
    JSON,
    LIMIT_OPTIONS,
    NO_PYTHON,
    POLICY_OPTIONS,
    QUIET,
    policy_of,
    with_options,
)
from bundler.cli.output import finding_rows, isolation_as_json, print_findings, print_isolation
from bundler.errors import InputError
from bundler.model import Interpreter, Target
from bundler.system.progress import Progress
from bundler.targets import catalogue, interpreters, target
from bundler.targets.image import Image
from bundler.wheels.store import Store


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@with_options(
    click.option("--python", metavar="VERSION|PATH", help="Python of the image: 3.8, 3.8.18 or a path."),
    click.option("--image", metavar="NAME|FILE", help="The image where it will run (`envbundle images`)."),
    click.option("--glibc", metavar="2.N", help="glibc of the image; 3.7: 2.27, 3.8: 2.31 by default."),
    IMPORT_TIMEOUT,
    *LIMIT_OPTIONS,
    *POLICY_OPTIONS,
    CACHE_DIR,
    QUIET,
    JSON,
)  # fmt: skip
def command(
    *,
    path: Path,
    python: str | None,
    image: str | None,
    glibc: str | None,
    cache_dir: Path | None,
    quiet: bool,
    as_json: bool,
    **values: object,
) -> int:
    r"""Judge a site-packages folder that somebody made by hand; nothing of it is changed.

    Every check of `create` that needs no lock is made, imports included. PATH is the folder, or one with
    lib/python3.8/site-packages in it.

    \b
    Examples:
      envbundle audit extra_packages --python 3.8
      envbundle audit extra_packages --image minimal-ubuntu20.04-py38-cpu-inference --json
    """
    profile = catalogue.load(image) if image else None
    wanted = python or (profile.minor if profile else None)
    if wanted is None:
        raise InputError("the image's Python is not named", hint=NO_PYTHON)
    store = Store(options.cache_dir(cache_dir))
    accepted, limits = policy_of(values), options.limits_of(values)
    progress = Progress(stream=sys.stderr, quiet=quiet)
    with progress.stage("target") as stage:
        interpreter = interpreters.find(
            wanted,
            cache_dir=store.probes,
            managed_dir=store.python,
            allow_download=False,
            announce=progress.note,
            environ=os.environ,
        )
        aim = _aim(profile, interpreter, glibc)
        stage.result = f"CPython {aim.python_version} ({interpreter.origin}), glibc 2.{aim.glibc[1]}"
    with progress.stage("audit") as stage:
        found = audit_folder.audit(
            path,
            target=aim,
            interpreter=interpreter,
            image=profile,
            accepted=accepted,
            store=store,
            limits=limits,
        )
        stage.result = f"{len(found.distributions)} distributions, {found.modules} modules imported"
    print_findings(found.findings)
    if not quiet:
        print_isolation(lacking(found.isolation))
    stopped = policy.stops(accepted, found.findings)
    if as_json:
        click.echo(json.dumps(_as_json(found, python=aim.python_version, ok=not stopped), indent=2))
    elif not quiet:
        left = sum(1 for one in found.findings if one.severity == "error" and one.accepted is None)
        click.echo(f"{f'{left} errors' if stopped else 'ok'}: {len(found.distributions)} distributions")
    return 1 if stopped else 0


def _aim(profile: Image | None, interpreter: Interpreter, glibc: str | None) -> Target:
    if profile:
        return catalogue.target(profile, interpreter, glibc=glibc)
    return target.for_interpreter(interpreter, glibc=glibc)


def _as_json(found: audit_folder.Audit, *, python: str, ok: bool) -> dict[str, object]:
    return {
        "ok": ok,
        "folder": str(found.folder),
        "python": python,
        "distributions": list(found.distributions),
        "modules": found.modules,
        "isolation": list(found.isolation),
        "isolation_warning": isolation_as_json(lacking(found.isolation)),
        "findings": finding_rows(found.findings),
    }
