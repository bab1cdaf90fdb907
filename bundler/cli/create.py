"""`envbundle create`."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bundler import __version__
from bundler.checks.imports import service_code
from bundler.checks.isolation import lacking
from bundler.cli.options import (
    CACHE_DIR,
    FORMATS,
    IMPORT_TIMEOUT,
    JSON,
    MEND_OPTIONS,
    NO_PYTHON,
    POLICY_OPTIONS,
    PROVENANCE_OPTIONS,
    QUIET,
    REQUIREMENT_OPTIONS,
    SIGN,
    lock_request_fields,
    mend_of,
    policy_of,
    provenance_of,
    require_signing_key,
    with_options,
)
from bundler.cli.output import (
    archive_rows,
    archives_as_json,
    environment_values,
    finding_rows,
    image_rows,
    isolation_as_json,
    print_findings,
    print_isolation,
    publishers_as_json,
    shadows_as_json,
    table,
)
from bundler.cli.sign import sign
from bundler.create import pipeline
from bundler.create.request import CreateRequest, CreateResult
from bundler.errors import InputError
from bundler.system.progress import Progress
from bundler.system.sizes import in_units

if TYPE_CHECKING:
    from bundler.bundle.signing import Signatures


@click.command()
@with_options(
    *REQUIREMENT_OPTIONS,
    click.option(
        "--lock", "lock_file", type=click.Path(path_type=Path), metavar="FILE",
        help="Build from this lock exactly: a pylock.toml, or requirements with hashes.",
    ),
    click.option(
        "-o", "--output", type=click.Path(path_type=Path), metavar="DIR",
        help="The bundle's folder.  [default: bundle-py38 for Python 3.8]",
    ),
    FORMATS,
    click.option("--force", is_flag=True, help="Replace a bundle that is there, once the new one is proved."),
    click.option(
        "--link-mode", type=click.Choice(["copy", "hardlink"]), default="copy", show_default=True,
        help="hardlink is faster, but then the files are the cache's own and must not be edited.",
    ),
    click.option(
        "--wheelhouse", type=click.Path(path_type=Path), metavar="DIR",
        help="Write the wheels as well, and a requirements.lock that pip installs without an index.",
    ),
    click.option(
        "--thin", is_flag=True,
        help="Leave out what the image has in the very version; needs a profile that a probe wrote.",
    ),
    click.option(
        "--entry", "entries", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
        help="The file that starts the service: all that it imports must work.",
    ),
    click.option(
        "--source", "sources", multiple=True, type=click.Path(path_type=Path), metavar="DIR",
        help="A folder with the service's own code: all that it imports must work.",
    ),
    click.option(
        "--prove", is_flag=True,
        help="Import everything again, even where this very tree was imported before on this machine.",
    ),
    IMPORT_TIMEOUT,
    SIGN,
    *MEND_OPTIONS,
    *PROVENANCE_OPTIONS,
    *POLICY_OPTIONS,
    CACHE_DIR,
    QUIET,
    JSON,
)  # fmt: skip
def command(*, as_json: bool, quiet: bool, **values: Any) -> int:
    r"""Make a proved bundle: a folder to mount and to put on PYTHONPATH.

    \b
    Examples:
      envbundle create -r requirements.txt --python 3.8 -o src/myenv
      envbundle create flask==3.0.3 --python 3.8
      envbundle create --lock pylock.toml -o src/myenv --force
      envbundle create --from-env .venv -o src/myenv
      envbundle create -r requirements.txt --python 3.7 --glibc 2.28 --json
      envbundle create -r requirements.txt --image minimal-ubuntu20.04-py38-cpu-inference -o src/myenv
      envbundle create -r requirements.txt --image image.json --thin -o src/myenv
      envbundle create -r requirements.txt --python 3.8 --ignore "EB501:coloredlogs=colours are not used"
      envbundle create -r requirements.txt --python 3.8 --entry src/score.py
      envbundle create -r requirements.txt --python 3.8 --mend
      envbundle create lightgbm --python 3.8 --assume-lib libgomp.so.1
      envbundle create -r requirements.txt --python 3.8 -o out/myenv --format dir,tar.zst,oci
    """
    fields = lock_request_fields(values)
    _check_inputs(fields, values["lock_file"])
    request = CreateRequest(
        **fields,
        lock_file=values["lock_file"],
        output=_absolute(values["output"] or _default_output(fields)),
        force=values["force"],
        formats=values["kinds"],
        link_mode=values["link_mode"],
        policy=policy_of(values),
        provenance=provenance_of(values),
        thin=values["thin"],
        wheelhouse=_absolute(values["wheelhouse"]) if values["wheelhouse"] else None,
        service=service_code.read(values["entries"], values["sources"], python=fields["python"]),
        prove=values["prove"],
        mend=mend_of(values),
    )
    require_signing_key(values["sign_key"])
    progress = Progress(stream=sys.stderr, quiet=quiet)
    with progress.working("create"):
        result = pipeline.create(request, progress=progress, environ=os.environ)
    print_findings(result.findings)
    if not quiet:
        print_isolation(lacking(result.evidence.isolation.proof))
    signed = _signed(result, values["sign_key"], folder="dir" in request.formats)
    if as_json:
        told = _as_json(result, progress, folder="dir" in request.formats)
        click.echo(json.dumps({**told, **({"signed": signed.as_json()} if signed else {})}, indent=2))
    elif not quiet:
        _summary(result, folder="dir" in request.formats)
        if signed:
            click.echo(table(signed.rows()))
    return 0


def _signed(result: CreateResult, key: Path | None, *, folder: bool) -> Signatures | None:
    """Sign what was made: by the name of its folder, or of the first of its archives."""
    if key is None:
        return None
    return sign([*([result.bundle] if folder else []), *(one.path for one in result.archives)], key)


def _absolute(path: Path) -> Path:
    return Path(os.path.normpath(path.absolute()))


def _check_inputs(fields: dict[str, Any], lock_file: Path | None) -> None:
    given = fields["requirement_files"] or fields["arguments"] or fields["from_env"]
    if lock_file and (given or fields["constraint_files"]):
        raise InputError("--lock and requirements exclude each other", hint="leave one of them out")
    if lock_file and fields["exclude_newer"]:
        raise InputError(
            "--lock builds what is locked, however new it is: --exclude-newer would change nothing",
            hint="make the lock with `envbundle lock --exclude-newer …`",
        )
    if not lock_file and not given:
        raise InputError(
            "nothing to install is named", hint="give -r requirements.txt, or --lock pylock.toml"
        )
    if not (lock_file or fields["python"] or fields["image"]):
        raise InputError("the image's Python is not named", hint=NO_PYTHON)


def _default_output(fields: dict[str, Any]) -> Path:
    """`bundle-py38` for 3.8 and 3.8.18; `bundle-py` for a path, and where only the lock says its Python."""
    python = fields["python"]
    if python is None and fields["image"]:
        from bundler.targets import catalogue

        python = catalogue.load(fields["image"]).minor
    parts = (python or "").split(".")
    digits = "".join(parts[:2]) if len(parts) > 1 and all(part.isdigit() for part in parts) else ""
    return Path(f"bundle-py{digits}")


def _summary(result: CreateResult, *, folder: bool) -> None:
    target = result.target
    left = [finding for finding in result.findings if finding.accepted is None]
    warnings = sum(1 for finding in left if finding.severity == "warning")
    accepted = len(result.findings) - len(left)
    counts = [f"{warnings} warning{'s' if warnings != 1 else ''}"] if warnings else []
    counts += [f"{accepted} accepted"] if accepted else []
    rows = [
        *([("bundle", str(result.bundle))] if folder else []),
        *archive_rows(result.archives),
        (
            "target",
            f"CPython {target.python_version}, {target.machine}, glibc {target.glibc[0]}.{target.glibc[1]}",
        ),
        ("", target.glibc_reason),
        ("distributions", str(len(result.lock.distributions) - len(result.relies_on))),
        *image_rows(result),
        *(("mended", f"{pin.text}: {pin.reason}") for pin in result.mended),
        ("size", f"{in_units(result.size)} in {result.files} files"),
        ("findings", ", ".join(counts) or "none"),
        ("proof", ", ".join(result.evidence.isolation.proof) or "in place, not isolated"),
    ]
    kept = (("proved", result.proved_at), ("pip freeze asked", result.frozen_at))
    if at := " and ".join(f"{what} at {when}" for what, when in kept if when):
        rows.append(("", f"{at}: the same tree, interpreter and machine (--prove)"))
    held = [*result.evidence.isolation.variables, *result.evidence.isolation.pip_settings]
    if held:
        rows.append(("held back", ", ".join(held)))
    click.echo(table(rows), err=True)
    if not folder:
        click.echo(f"\nSet PYTHONPATH to {target.site_packages} below where it is mounted.", err=True)
        return
    click.echo("\nSet one of these where the service runs:", err=True)
    values = environment_values(result.bundle, target.site_packages)
    for name, value in values.items():
        click.echo(f"{name}={value}")


def _as_json(result: CreateResult, progress: Progress, *, folder: bool) -> dict[str, Any]:
    target, interpreter = result.target, result.interpreter
    return {
        "ok": True,
        "envbundle": __version__,
        "bundle": str(result.bundle) if folder else None,
        "archives": archives_as_json(result.archives),
        "digest": result.digest,
        "size": result.size,
        "files": result.files,
        "target": {
            "python": target.python_version,
            "implementation": target.implementation,
            "abi": target.abi,
            "machine": target.machine,
            "glibc": f"{target.glibc[0]}.{target.glibc[1]}",
            "glibc_reason": target.glibc_reason,
        },
        "interpreter": {
            "path": str(interpreter.executable),
            "origin": interpreter.origin,
            "conda": interpreter.conda,
        },
        "distributions": [
            {
                "name": dist.name,
                "version": dist.version,
                "file": dist.artifact.filename,
                "sha256": dist.artifact.sha256,
                "source": dist.source,
                "requested": dist.requested,
                "required_by": list(dist.required_by),
            }
            for dist in result.lock.distributions
        ],
        "relies_on": {dist.name: dist.version for dist in result.relies_on},
        "shadows": shadows_as_json(result.shadows),
        "mended": [asdict(pin) for pin in result.mended],
        "notes": [asdict(note) for note in result.notes],
        "publishers": publishers_as_json(result.publishing),
        "findings": finding_rows(result.findings),
        "isolation": asdict(result.evidence.isolation),
        "isolation_warning": isolation_as_json(lacking(result.evidence.isolation.proof)),
        "proved_at": result.proved_at or None,
        "frozen_at": result.frozen_at or None,
        "timings": {stage: round(seconds, 3) for stage, seconds in progress.timings.items()},
        "environment": environment_values(result.bundle, target.site_packages) if folder else {},
    }
