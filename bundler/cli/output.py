"""How results look: the summary for people, the rows for `--json`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bundler.cli import streams
from bundler.model import Finding
from bundler.system.sizes import in_units

if TYPE_CHECKING:
    from bundler.checks.rules.publishers import Publishing
    from bundler.create.request import CreateResult
    from bundler.formats import Packed
    from bundler.targets.fit import Shadows

SHOWN = 8
"""Changes of the image's distributions that a summary names; --json has them all."""
_COLOURS = {"error": "red", "warning": "yellow", "info": "blue"}


def finding_rows(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Findings for `--json`, the worst first."""
    return [asdict(finding) for finding in sorted(findings, key=lambda one: one.rank)]


def print_findings(findings: Iterable[Finding]) -> None:
    """Print findings to stderr, the worst first; information only counts in `--json`."""
    for finding in sorted(findings, key=lambda one: one.rank):
        if finding.severity == "info":
            continue
        label = streams.styled(f"{finding.severity} {finding.code}", fg=_COLOURS[finding.severity], bold=True)
        if finding.accepted is not None:
            reason = f": {finding.accepted}" if finding.accepted else ""
            click.echo(f"{label} {finding.subject}, accepted{reason}", err=True)
            continue
        click.echo(f"{label} {finding.subject}: {finding.cause}", err=True)
        if len(finding.chain) > 1:
            click.echo(f"  brought in by: {' → '.join(finding.chain)}", err=True)
        click.echo(f"  remedy: {finding.remedy}", err=True)


def print_isolation(absent: Iterable[str], *, of: str = "the proof") -> None:
    """Warn on stderr where a part of the isolation was not in force.

    :param absent: those parts (`bundler.checks.isolation.lacking`).
    :param of: whose isolation.
    """
    from bundler.checks.isolation import warning

    if found := warning(absent):
        word = streams.styled("warning:", fg="yellow", bold=True)
        click.echo(f"{word} {of} was not isolated: {found.cause}", err=True)
        click.echo(f"  remedy: {found.remedy}", err=True)


def isolation_as_json(absent: Iterable[str]) -> dict[str, Any] | None:
    """Return that warning for `--json`; `null`: there is none."""
    from bundler.checks.isolation import warning

    found = warning(absent)
    return asdict(found) if found else None


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


def publishers_as_json(publishing: Publishing | None) -> dict[str, Any] | None:
    """Who is proved to have published which file, and of which nobody knows it; `null`: nobody asked."""
    if publishing is None:
        return None
    attested = sorted(publishing.attested.items())
    return {
        "known": {
            name: [dict(one) for one in found.identities] for name, found in attested if found.identities
        },
        "not_known": {
            name: found.problem or found.unknown for name, found in attested if not found.identities
        },
    }


def archive_rows(archives: Iterable[Packed]) -> list[tuple[str, str]]:
    """Archives for people."""
    return [(one.kind, f"{one.path}, {in_units(one.size)}") for one in archives]


def archives_as_json(archives: Iterable[Packed]) -> list[dict[str, Any]]:
    """Archives for `--json`."""
    return [
        {"format": one.kind, "path": str(one.path), "sha256": one.sha256, "size": one.size}
        for one in archives
    ]


def image_rows(result: CreateResult) -> list[tuple[str, str]]:
    """What is left to the image, and what becomes of what it has."""
    if not result.relies_on and result.shadows is None:
        return []
    from bundler.report.compare.sections import names

    relied = [f"{dist.name} {dist.version}" for dist in result.relies_on]
    rows = [("relies on", names(relied, most=SHOWN))] if relied else []
    shadows = result.shadows
    if shadows is None:
        return rows
    if shadows.known:
        changed = [f"{name} {had} → {brings}" for name, had, brings in shadows.changed]
        rows.append(
            ("shadows", names(changed, most=SHOWN) if changed else "nothing of the image in another version")
        )
    else:
        rows.append(
            ("shadows", f"not known: nobody says what {shadows.image} has (`envbundle images probe`)")
        )
    rows += [
        ("breaks", f"{' → '.join(one.demand.chain)} needs {one.demand.text}, the bundle brings {one.brings}")
        for one in shadows.breaks
    ]
    return rows


def shadows_as_json(shadows: Shadows | None) -> dict[str, Any] | None:
    """The shadow report; `null` where no image was named."""
    if shadows is None:
        return None
    return {
        "image": shadows.image,
        "known": shadows.known,
        "changed": [{"name": name, "image": had, "bundle": brings} for name, had, brings in shadows.changed],
        "breaks": [
            {
                "chain": list(one.demand.chain),
                "requires": one.demand.text,
                "name": one.demand.name,
                "bundle": one.brings,
            }
            for one in shadows.breaks
        ],
    }
