"""`envbundle cache`."""

from __future__ import annotations

import functools
import json
import re
import sys
from pathlib import Path

import click

from bundler.cli.options import CACHE_DIR, JSON, cache_dir
from bundler.cli.output import table
from bundler.create import target_pip
from bundler.errors import EnvbundleError
from bundler.model import Interpreter
from bundler.system.progress import Progress
from bundler.system.sizes import in_units
from bundler.targets import interpreters
from bundler.wheels import store_care
from bundler.wheels.store import Store


@click.group("cache")
def command() -> None:
    r"""Look after the folder where wheels are kept between runs.

    \b
    Examples:
      envbundle cache info
      envbundle cache prune --older-than 30
      envbundle cache verify
    """


@command.command()
@CACHE_DIR
@JSON
def info(*, cache_dir: Path | None, as_json: bool) -> None:
    """Say where the cache is and what it holds."""
    store = _store(cache_dir)
    with Progress(stream=sys.stderr).working("count"):
        shares = store_care.info(store)
    if as_json:
        rows = {share.kind: {"entries": share.entries, "size": share.size} for share in shares}
        click.echo(json.dumps({"ok": True, "cache": str(store.root), "kinds": rows}, indent=2))
        return
    rows_text = [(share.kind, f"{share.entries} entries, {in_units(share.size)}") for share in shares]
    click.echo(table([("cache", str(store.root)), *rows_text]))


@command.command()
@click.option("--older-than", type=float, default=90, show_default=True, metavar="DAYS", help="Not used for.")
@click.option("--all", "everything", is_flag=True, help="Remove every wheel and tree.")
@CACHE_DIR
@JSON
def prune(*, older_than: float, everything: bool, cache_dir: Path | None, as_json: bool) -> None:
    """Remove what no run has used for a while, logs of failed builds, and what killed runs left."""
    # It waits for runs that use the cache.
    with Progress(stream=sys.stderr).working("prune"):
        share = store_care.prune(_store(cache_dir), older_than=None if everything else older_than)
    if as_json:
        click.echo(json.dumps({"ok": True, "removed": share.entries, "size": share.size}, indent=2))
        return
    click.echo(f"removed {share.entries} entries, {in_units(share.size)}")


@command.command()
@CACHE_DIR
@JSON
def verify(*, cache_dir: Path | None, as_json: bool) -> int:
    """Compare everything with the wheels again; what differs is removed, and made again when it is needed."""
    progress = Progress(stream=sys.stderr)
    store = _store(cache_dir)
    with progress.working("verify"):
        with progress.bar("verify", total=None, unit="entries") as advance:
            found = store_care.verify(store, functools.partial(_interpreter, store), advance)
        damaged = (*found.damaged, *target_pip.verify(store))
    for cache_tag in found.unproved:
        progress.note(
            f"trees for {cache_tag} are not compared with their wheels: this machine has no such Python"
        )
    if as_json:
        click.echo(
            json.dumps(
                {"ok": not damaged, "damaged": list(damaged), "unproved": list(found.unproved)}, indent=2
            )
        )
    else:
        for entry in damaged:
            click.echo(f"removed {entry}")
        click.echo("the cache is sound" if not damaged else f"{len(damaged)} damaged entries are removed")
    return 1 if damaged else 0


def _interpreter(store: Store, cache_tag: str) -> Interpreter | None:
    """Find the interpreter of a cache tag; none is fetched."""
    version = re.fullmatch(r"cpython-(3)([0-9]{1,2})", cache_tag)
    if version is None:
        return None
    try:
        return interpreters.find(
            f"{version[1]}.{version[2]}",
            cache_dir=store.probes,
            managed_dir=store.python,
            allow_download=False,
            announce=lambda _: None,
        )
    except EnvbundleError:
        return None


def _store(given: Path | None) -> Store:
    return Store(cache_dir(given))
