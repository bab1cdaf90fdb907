"""The plan in the words of CI servers: one entry a job, or one a shard.

An entry's `arguments` are what `envbundle rebuild FILE` takes to do it. Names hold letters, digits and
`. _ -` only, so nothing in an entry means anything to a shell.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from bundler.errors import InputError
from bundler.rebuild.plan import require_shard, shard_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bundler.rebuild.config import Config
    from bundler.rebuild.plan import Cell

GITHUB_MOST = 256
"""Jobs of one workflow run that a matrix makes (https://docs.github.com/en/actions/reference/limits)."""
AZURE_LONGEST = 100
"""https://learn.microsoft.com/azure/devops/pipelines/yaml-schema/jobs-job-strategy"""
_HASH_DIGITS = 8


def entries(cells: Sequence[Cell], *, shards: int | None, named: bool = False) -> list[dict[str, str]]:
    """Return an entry for each cell, or for each shard that has one.

    :param named: the cells are a choice (`--only`): a shard's run must name its own, or it would do others.
    :returns: members `name`, `bundle`, `python`, `image`, `shard` and `arguments`, all of them text; a
        shard's bundles, Pythons and images are joined by spaces, what does not apply is empty.
    :raises InputError: no such number of shards.
    """
    if shards is None:
        return [_entry(cell.name, [cell], arguments=f"--only {cell.name}") for cell in cells]
    require_shard(1, shards)
    found: dict[int, list[Cell]] = {}
    for cell in cells:
        found.setdefault(shard_of(cell.name, shards), []).append(cell)
    return [
        _entry(
            f"shard-{number}-of-{shards}",
            found[number],
            shard=f"{number}/{shards}",
            arguments=" ".join(
                [f"--shard {number}/{shards}", *(f"--only {cell.name}" for cell in found[number] if named)]
            ),
        )
        for number in sorted(found)
    ]


def github(rows: Sequence[dict[str, str]]) -> str:
    """Write one line for `fromJSON` in a workflow's `strategy.matrix`.

    :raises InputError: more jobs than a workflow run takes.
    """
    if len(rows) > GITHUB_MOST:
        raise InputError(
            f"GitHub Actions makes at most {GITHUB_MOST} jobs of a matrix, and this one has {len(rows)}",
            hint="add --shards 20: an entry is then a part of the bundles, not one of them",
        )
    return json.dumps({"include": list(rows)}, separators=(",", ":"))


def azure(rows: Sequence[dict[str, str]]) -> str:
    """Write one line for a job's `strategy.matrix` in Azure Pipelines, as a run-time expression takes it."""
    return json.dumps({azure_name(row["name"]): row for row in rows}, separators=(",", ":"))


def as_json(cells: Sequence[Cell], config: Config, *, shards: int | None) -> dict[str, Any]:
    """Return the plan as one object, for whatever has no form here."""
    return {
        "ok": True,
        "file": str(config.path),
        "output": str(config.output),
        "publish": config.publish,
        "jobs": [
            {
                "name": cell.name,
                "bundle": cell.bundle.name,
                "python": cell.python,
                "image": cell.image.name if cell.image else None,
                "folder": str(cell.folder),
                "formats": ["dir", *cell.bundle.formats],
                "keep": cell.bundle.keep,
                "note": cell.bundle.note,
                "place": cell.bundle.place("bundle"),
                "shard": f"{shard_of(cell.name, shards)}/{shards}" if shards else None,
            }
            for cell in cells
        ],
    }


def azure_name(name: str) -> str:
    """Return a job's name in letters, digits and `_`, unique where the job's is.

    It depends on the job's name alone: another bundle in the file changes none that is there.
    """
    plain = name.replace("-", "_")
    kept = re.sub(r"[^A-Za-z0-9_]", "_", plain)
    kept = kept if kept[0].isalpha() else f"b_{kept}"
    if kept == plain and "_" not in name and len(kept) <= AZURE_LONGEST:
        return kept
    digits = hashlib.sha256(name.encode("ascii")).hexdigest()[:_HASH_DIGITS]
    return f"{kept[: AZURE_LONGEST - _HASH_DIGITS - 1]}_{digits}"


def _joined(words: Iterable[str]) -> str:
    return " ".join(dict.fromkeys(words))


def _entry(name: str, cells: Sequence[Cell], *, arguments: str, shard: str = "") -> dict[str, str]:
    return {
        "name": name,
        "bundle": _joined(cell.bundle.name for cell in cells),
        "python": _joined(cell.python for cell in cells),
        "image": _joined(cell.image.name for cell in cells if cell.image),
        "shard": shard,
        "arguments": arguments,
    }
