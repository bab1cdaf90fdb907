"""Makes image profiles, as a probe writes them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PROBED = [{"about": ["*"], "url": None, "certainty": "probed", "says": "seen in the image itself"}]


def profile(**members: Any) -> dict[str, Any]:
    """A sound profile; `target` is merged, every other member replaces that of the same name."""
    target = {
        "python": "3.8",
        "implementation": "cpython",
        "abi": "cp38",
        "machine": "x86_64",
        "libc": "glibc",
        "glibc": "2.31",
        "glibcxx": None,
        "cxxabi": None,
        **members.pop("target", {}),
    }
    return {
        "kind": "envbundle-image",
        "schema_version": "1.0",
        "name": "ours",
        "os": None,
        "references": [],
        "tags": [],
        "target": target,
        "distributions": None,
        "named": {},
        "server": None,
        "libraries": None,
        "stdlib_modules": None,
        "environment": None,
        "conda": None,
        "mount": None,
        "honours_variables": "unknown",
        "user": None,
        "writable": None,
        "sources": PROBED,
        **members,
    }


def installed(**versions: str | tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Distributions: name (with `_` for `-`) → version, or version and Requires-Dist lines."""
    rows: dict[str, dict[str, Any]] = {}
    for name, value in versions.items():
        version, *requires = (value,) if isinstance(value, str) else value
        rows[name.replace("_", "-")] = {"version": version, "requires": requires}
    return rows


def write_profile(path: Path, content: Mapping[str, Any]) -> Path:
    """Write a profile to a file and return its path."""
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
