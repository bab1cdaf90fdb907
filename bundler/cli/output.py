"""How results look: the summary for people, the rows for `--json`."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bundler.model import Finding

_COLOURS = {"error": "red", "warning": "yellow", "info": "blue"}


def finding_rows(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Findings for `--json`, the worst first."""
    return [
        {
            "code": finding.code,
            "severity": finding.severity,
            "subject": finding.subject,
            "cause": finding.cause,
            "remedy": finding.remedy,
            "chain": list(finding.chain),
            "accepted": finding.accepted,
        }
        for finding in sorted(findings, key=lambda one: one.rank)
    ]


def print_findings(findings: Iterable[Finding]) -> None:
    """Print findings to stderr, the worst first; information only counts in `--json`."""
    for finding in sorted(findings, key=lambda one: one.rank):
        if finding.severity == "info":
            continue
        label = click.style(f"{finding.severity} {finding.code}", fg=_COLOURS[finding.severity], bold=True)
        if finding.accepted is not None:
            reason = f": {finding.accepted}" if finding.accepted else ""
            click.echo(f"{label} {finding.subject}, accepted{reason}", err=True)
            continue
        click.echo(f"{label} {finding.subject}: {finding.cause}", err=True)
        if len(finding.chain) > 1:
            click.echo(f"  brought in by: {' → '.join(finding.chain)}", err=True)
        click.echo(f"  remedy: {finding.remedy}", err=True)


def environment_values(bundle: Path, site_packages: str) -> dict[str, str]:
    """The two values to set: relative to the folder that holds the bundle, and absolute."""
    return {
        "AZUREML_EXTRA_PYTHON_LIB_PATH": f"{bundle.name}/{site_packages}",
        "PYTHONPATH": str(bundle.absolute() / site_packages),
    }


def paragraph(text: str) -> str:
    """Text in lines of at most a hundred characters, indented by two."""
    return textwrap.fill(
        text, 100, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False, break_long_words=False
    )


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Two columns, the first as wide as it needs."""
    width = max((len(left) for left, _ in rows), default=0)
    return "\n".join(f"{left:<{width}}  {right}".rstrip() for left, right in rows)
