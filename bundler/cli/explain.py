"""`envbundle explain`."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from bundler.checks import policy
from bundler.checks.rules.codes import CODES
from bundler.cli import streams
from bundler.cli.options import JSON
from bundler.cli.output import paragraph, table
from bundler.errors import InputError
from bundler.model import Code


@click.command()
@click.argument("code", required=False)
@click.option("--list", "everything", is_flag=True, help="Show every code with its title.")
@JSON
def command(*, code: str | None, everything: bool, as_json: bool) -> None:
    r"""Say what a check code means: why it happens, an example, and what to do.

    \b
    Examples:
      envbundle explain EB204
      envbundle explain --list
    """
    if everything == (code is not None):
        raise InputError("name one code, or say --list", hint="envbundle explain EB204")
    if code is None:
        if as_json:
            click.echo(json.dumps({"ok": True, "codes": [asdict(one) for one in CODES.values()]}, indent=2))
        else:
            click.echo(table([(f"{one.code}  {one.severity:<7}", one.title) for one in CODES.values()]))
        return
    known = CODES.get(code.strip().upper())
    if known is None:
        raise policy.unknown_code(code, known=CODES)
    if as_json:
        click.echo(json.dumps({"ok": True, **asdict(known)}, indent=2))
    else:
        _print(known)


def _print(code: Code) -> None:
    click.echo(f"{streams.styled(code.code, bold=True)}: {code.title} ({code.severity})")
    for title, text in (("why", code.cause), ("example", code.example), ("remedy", code.remedy)):
        click.echo(f"\n{title}\n{paragraph(text)}")
