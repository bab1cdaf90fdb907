"""How the image stands in the result of `create`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bundler.create.request import CreateResult
    from bundler.targets.fit import Shadows

SHOWN = 8
"""Changes that the summary names; --json has them all."""


def image_rows(result: CreateResult) -> list[tuple[str, str]]:
    """What is left to the image, and what becomes of what it has."""
    relied = [f"{dist.name} {dist.version}" for dist in result.relies_on]
    rows = [("relies on", _some(relied))] if relied else []
    shadows = result.shadows
    if shadows is None:
        return rows
    if shadows.known:
        changed = [f"{name} {had} → {brings}" for name, had, brings in shadows.changed]
        rows.append(("shadows", _some(changed) if changed else "nothing of the image in another version"))
    else:
        rows.append(
            ("shadows", f"not known: nobody says what {shadows.image} has (`envbundle images probe`)")
        )
    rows += [
        ("breaks", f"{' → '.join(one.demand.chain)} needs {one.demand.text}, the bundle brings {one.brings}")
        for one in shadows.breaks
    ]
    return rows


def _some(words: list[str]) -> str:
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more


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
