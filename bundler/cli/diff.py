"""`envbundle diff`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bundler.cli import streams
from bundler.cli.options import JSON
from bundler.cli.sides import compare_paths
from bundler.report.compare.markdown import as_markdown
from bundler.report.compare.text import Role, as_text

_COLOURS = {"alarm": "red", "added": "green", "removed": "yellow"}


@click.command()
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option(
    "--files", is_flag=True, help="List every file that came, went or changed, not their number alone."
)
@click.option("--markdown", is_flag=True, help="Print Markdown for a pull request, short enough for GitHub.")
@JSON
@click.option("--exit-code", is_flag=True, help="Exit with 1 where the two differ, as `git diff` does.")
def command(*, old: Path, new: Path, files: bool, markdown: bool, as_json: bool, exit_code: bool) -> int:
    r"""Tell what is different in NEW: distributions, system needs, findings, licences, files.

    OLD and NEW are bundles (folders, archives, a manifest.json alone) or locks (pylock.toml, requirements
    with hashes), of one kind or mixed; compared is what both know. Nothing of them is run or fetched.

    \b
    Examples:
      envbundle diff nightly/scoring-py38/builds/1f0c… nightly/scoring-py38/current
      envbundle diff env.tar.zst src/env --markdown --exit-code
      envbundle diff <(git show main:pylock.toml) pylock.toml
      envbundle diff pylock.toml src/env --json
    """
    if markdown and as_json:
        raise click.UsageError("--markdown and --json exclude each other")
    difference = compare_paths(old, new)
    if as_json:
        shown = difference if files else difference.without_paths()
        click.echo(json.dumps({"ok": True, **shown.as_json()}, indent=2))
    elif markdown:
        click.echo(as_markdown(difference, files=files), nl=False)
    else:
        click.echo(as_text(difference, files=files, paint=_paint))
    return 1 if exit_code and not difference.empty else 0


def _paint(text: str, role: Role) -> str:
    return streams.styled(
        text, fg=_COLOURS.get(role), bold=role in ("alarm", "title") or None, dim=role == "quiet" or None
    )
