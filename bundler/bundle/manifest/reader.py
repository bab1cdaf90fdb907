"""Reads a manifest.json that anybody may have written (docs/manifest.md, manifest.schema.json)."""

from __future__ import annotations

from pathlib import Path

from bundler.bundle.manifest.values import KIND, NAME, Manifest
from bundler.ontarget import checksums
from bundler.system import json_values
from bundler.system.json_values import Value


def read(path: Path) -> Manifest:
    """Read a manifest, or the one of the bundle folder `path`, and check all of it.

    :raises InputError: unreadable, not a manifest of major version 1, or wrong at a place that is named;
        also where one of its digests does not fit.
    """
    inside = path.is_dir()
    return _manifest(json_values.load(path / NAME if inside else path, named=not inside))


def parse(data: bytes, *, source: str) -> Manifest:
    """Read a manifest that came out of an archive, and check all of it.

    :param source: what it came from, for messages.
    :raises InputError: as `read`.
    """
    return _manifest(json_values.parse(data, source=source))


def _manifest(value: Value) -> Manifest:
    value.require_kind(KIND)
    if checksums.manifest_digest(value.raw) != value["manifest_digest"].sha256():
        value["manifest_digest"].fail("does not fit the content")
    value["environment"]["PYTHONPATH"].path()
    manifest = json_values.from_json(Manifest, value)
    twice = {file.path for file in manifest.files} & {file.path for file in manifest.documents}
    if twice:
        value["documents"].fail(f"{min(twice)!r} is in `files` as well")
    if manifest.digest != value["digest"].sha256():
        value["digest"].fail("does not fit the files")
    return manifest
