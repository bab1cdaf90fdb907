"""`envbundle inspect`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from bundler.bundle import manifest as manifests
from bundler.bundle.manifest.values import Manifest, Needs
from bundler.cli.options import JSON
from bundler.cli.output import environment_values, finding_rows, table
from bundler.errors import InputError
from bundler.system.sizes import in_units

LARGEST = 10


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@JSON
def command(*, bundle: Path, as_json: bool) -> None:
    r"""Show what a bundle is for and what is in it, from its manifest; its files are not read.

    \b
    Examples:
      envbundle inspect src/myenv
      envbundle inspect src/myenv --json
    """
    if not bundle.is_dir():
        raise InputError(f"{bundle} is not a bundle's folder", hint="name the folder that `create` made")
    manifest = manifests.read(bundle)
    site_packages = manifest.environment["PYTHONPATH"]
    values = environment_values(bundle.absolute(), site_packages)
    if as_json:
        click.echo(json.dumps(_as_json(manifest, bundle, values), indent=2))
        return
    target = manifest.target
    total = sum(file.size for file in manifest.files)
    rows = [
        ("bundle", str(bundle)),
        ("target", f"CPython {target.python}, {target.machine}, glibc {target.glibc}"),
        ("", target.glibc_reason),
        ("distributions", str(len(manifest.distributions))),
        ("size", f"{in_units(total)} in {len(manifest.files)} files"),
        *_needs(manifest.needs),
        ("digest", manifest.digest),
        ("made by", f"envbundle {manifest.tool.version}, CPython {manifest.interpreter.version}"),
        ("proof", ", ".join(manifest.evidence.isolation.proof) or "in place, not isolated"),
        *((f"{finding.severity} {finding.code}", finding.cause) for finding in manifest.findings),
    ]
    click.echo(table(rows))
    click.echo("\nlargest distributions")
    largest = sorted(manifest.distributions, key=lambda dist: (-dist.bytes, dist.name))[:LARGEST]
    click.echo(table([(f"  {dist.name} {dist.version}", in_units(dist.bytes)) for dist in largest]))
    click.echo("")
    for name, value in values.items():
        click.echo(f"{name}={value}")


def _needs(needs: Needs) -> list[tuple[str, str]]:
    """Return rows for what the image must have; none if the manifest does not say it."""
    lines = (", ".join(needs.symbols), ", ".join(needs.libraries))
    return [("" if number else "needs", line) for number, line in enumerate(filter(None, lines))]


def _as_json(manifest: Manifest, bundle: Path, values: dict[str, str]) -> dict[str, Any]:
    members = ("name", "version", "requested", "required_by", "bytes", "licence")
    return {
        "ok": True,
        "bundle": str(bundle.absolute()),
        "digest": manifest.digest,
        "size": sum(file.size for file in manifest.files),
        "files": len(manifest.files),
        "target": asdict(manifest.target),
        "distributions": [{name: getattr(dist, name) for name in members} for dist in manifest.distributions],
        "needs": asdict(manifest.needs),
        "findings": finding_rows(manifest.findings),
        "environment": values,
    }
