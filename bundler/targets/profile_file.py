"""Image profiles and servers' releases in their files: docs/images.md and images/profile.schema.json."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from bundler.system.json_values import Value, as_json, from_json, load
from bundler.targets.image import Image, Release

KIND = "envbundle-image"
SCHEMA_VERSION = "1.0"
SERVER_KIND = "envbundle-server"
MAX_BYTES = 20_000_000
"""A profile with ten thousand distributions has a fourth of it."""


def read(path: Path) -> Image:
    """Return the profile in a file.

    :raises InputError: unreadable, or wrong at a place that is named. A member with a slip in its name is
        wrong as well: passed over, what it says would be taken for unknown.
    """
    value = _load(path, KIND, hint="`envbundle images probe` prints the script that writes one")
    members = {name: raw for name, raw in value.raw.items() if name not in {"kind", "schema_version"}}
    return from_json(Image, replace(value, raw=members), exact=True)


def as_dict(image: Image) -> dict[str, Any]:
    """Return a profile as JSON's values, in the form in which it is read."""
    values = as_json(image)
    for key in ("glibc", "glibcxx", "cxxabi"):
        if (numbers := values["target"][key]) is not None:
            values["target"][key] = ".".join(map(str, numbers))
    return {"kind": KIND, "schema_version": SCHEMA_VERSION, **values}


def read_server(path: Path) -> tuple[Release, ...]:
    """Return the releases of a server, the oldest first.

    :raises InputError: unreadable, or wrong at a place that is named.
    """
    value = _load(path, SERVER_KIND, hint="it is part of envbundle: install it again")
    return tuple(from_json(Release, one) for one in value["releases"])


def _load(path: Path, kind: str, *, hint: str) -> Value:
    value = load(path, hint=hint, limit=MAX_BYTES, named=True)
    value.require_kind(kind)
    return value
