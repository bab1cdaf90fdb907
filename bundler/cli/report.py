"""`envbundle report`."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bundler.bundle import manifest as manifests
from bundler.bundle.manifest import Manifest
from bundler.cli import options
from bundler.cli.options import CACHE_DIR, JSON, QUIET
from bundler.cli.sides import compare_paths
from bundler.create.emit import write_file
from bundler.errors import EnvbundleError, InputError
from bundler.report.compare.difference import Difference
from bundler.system import scratch as scratch_folders
from bundler.system.files import real_path
from bundler.system.progress import Progress
from bundler.targets import interpreters
from bundler.wheels.store import Store

if TYPE_CHECKING:
    from bundler.checks.import_times import ImportTimes

STDOUT = Path("-")
GENERATOR = b'<meta name="generator" content="envbundle">'
HEAD = 4096
"""Bytes of a page that hold its generator."""


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--since",
    metavar="OLD",
    type=click.Path(path_type=Path),
    help="Tell what changed since this bundle or lock.",
)
@click.option(
    "--import-times/--no-import-times",
    default=None,
    help="Measure what imports cost, with the bundle's Python.  [default: where that Python is at hand]",
)
@click.option("--python", metavar="VERSION|PATH", help="Interpreter to measure with.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("report.html"), show_default=True,
    metavar="FILE", help="Where to write the page; - for stdout.",
)  # fmt: skip
@CACHE_DIR
@QUIET
@JSON
def command(
    *,
    bundle: Path,
    since: Path | None,
    import_times: bool | None,
    python: str | None,
    output: Path,
    cache_dir: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    r"""Write a page about a bundle: verdict, findings, size, why each distribution is there, and more.

    BUNDLE is a folder or an archive. A page like it stands in every bundle (report.html); this one also tells
    what changed since another bundle, and what imports cost. For that the bundle's modules are imported:
    read-only and without a network, as far as the machine allows.

    \b
    Examples:
      envbundle report src/myenv
      envbundle report src/myenv --since old/myenv -o myenv.html
      envbundle report env.tar.zst --no-import-times -o - > env.html
    """
    if as_json and output == STDOUT:
        raise click.UsageError("--json and -o - would both write to stdout")
    _check_output(output, bundle)
    described, changes = _read(bundle), compare_paths(since, bundle) if since is not None else None
    progress = Progress(stream=sys.stderr, quiet=quiet)
    store = Store(options.cache_dir(cache_dir))
    times = None
    if import_times is not False:
        asked = bool(import_times or python)
        times = _times(bundle, described, python=python, asked=asked, store=store, progress=progress)
    from bundler.report.pages.bundle_page import bundle_html

    page = bundle_html(described, changes=changes, import_times=times, title=_title(bundle))
    if output == STDOUT:
        click.echo(page, nl=False)
        return
    write_file(output, page)
    if as_json:
        click.echo(json.dumps(_as_json(described, output, changes, times), indent=2))
    elif not quiet:
        click.echo(f"report         {output}")


def _check_output(output: Path, bundle: Path) -> None:
    """Refuse an output that must not be written over, before anything is measured."""
    if output == STDOUT:
        return
    if bundle.is_dir() and real_path(output.absolute().parent).is_relative_to(real_path(bundle)):
        raise InputError(
            f"{output} lies in the bundle, which would then not be as its manifest says",
            hint="write it elsewhere with -o",
        )
    if output.is_file():
        with output.open("rb") as stream:
            if GENERATOR not in stream.read(HEAD):
                raise InputError(
                    f"{output} exists and is no report: it is not touched", hint="choose another -o"
                )


def _read(bundle: Path) -> Manifest:
    if bundle.is_dir() and manifests.is_bundle(bundle):
        return manifests.read(bundle)
    from bundler.formats import reading

    if reading.kind_of(bundle) is None:
        raise InputError(f"{bundle} holds no bundle", hint="name a bundle's folder or archive")
    return manifests.parse(reading.read_document(bundle, manifests.NAME), source=str(bundle))


def _title(bundle: Path) -> str:
    """Return the name of the folder or file; of a build of `rebuild` (NAME/current), NAME."""
    path = Path(os.path.normpath(bundle.absolute()))
    return path.parent.name if path.name == "current" else path.name


def _times(
    bundle: Path, described: Manifest, *, python: str | None, asked: bool, store: Store, progress: Progress
) -> ImportTimes | None:
    """Measure the import times; if that fails, raise only if the caller asked for them, else say why."""
    try:
        return _measured(bundle, described, python=python, store=store, progress=progress)
    except EnvbundleError as error:
        if asked:
            raise
        progress.note(f"no import times: {error.message}")
        return None


def _measured(
    bundle: Path, described: Manifest, *, python: str | None, store: Store, progress: Progress
) -> ImportTimes:
    from bundler.checks.import_times import import_order, measure

    if described.relies_on:
        raise InputError("it leaves distributions to the image: only there its modules can be imported")
    minor = ".".join(described.target.python.split(".")[:2])
    interpreter = interpreters.find(
        python or minor,
        cache_dir=store.probes,
        managed_dir=store.python,
        allow_download=False,
        announce=progress.note,
        environ=os.environ,
    )
    if interpreter.minor != minor:
        raise InputError(f"it is for CPython {minor}, not {interpreter.version}", hint=f"--python {minor}")
    with (
        scratch_folders.folder() as folder,
        progress.stage("import times") as stage,
        _opened(bundle, Path(folder)) as prefix,
        scratch_folders.folder() as scratch,
    ):
        times = measure(
            prefix,
            site_packages=described.environment["PYTHONPATH"],
            modules=import_order(described),
            interpreter=interpreter,
            scratch=Path(scratch),
        )
        stage.result = f"{times.modules} module{'s' if times.modules != 1 else ''} in {times.total:.2f} s"
    return times


def _opened(bundle: Path, scratch: Path) -> AbstractContextManager[Path]:
    if bundle.is_dir() and manifests.is_bundle(bundle):
        return contextlib.nullcontext(bundle)
    from bundler.formats import unpacking

    return unpacking.opened(bundle, scratch=scratch)


def _as_json(
    described: Manifest, output: Path, changes: Difference | None, times: ImportTimes | None
) -> dict[str, Any]:
    return {
        "ok": True,
        "report": str(output.absolute()),
        "digest": described.digest,
        "changes": None if changes is None else changes.without_paths().as_json(),
        "import_times": None if times is None else asdict(times),
    }
