"""What stands at a URL beside the builds of a job: docs/publishing.md describes each file.

NAME/current.json                which build is in use; written last
NAME/builds/ID/                  the bundle's files, as they are
NAME/builds/ID.tar.zst …         its archives, and what changed since the build before
NAME/builds/ID.json              its record, and every object that belongs to it; written once they are there
NAME/builds/ID.sending-TOKEN.json, NAME/builds/ID.removing-TOKEN.json
                                 objects that may be there though no record tells of them: an upload, or a
                                 removal, that has not come to its end (`notes`)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.rebuild import record as records
from bundler.rebuild.record import (
    Record,
    Sha256,
)
from bundler.system import json_values
from bundler.system.json_values import Value

_NOTE = re.compile(
    rf"(?P<build>{records.IDENTITY.pattern})\.(?:(?P<kind>sending|removing)-[0-9a-f]{{32}}|partial)\.json"
)
CURRENT = "current.json"
BUILDS = "builds"
CURRENT_KIND = "envbundle-current"
PARTIAL_KIND = "envbundle-partial"
SCHEMA_VERSION = "1.0"
SENDING = "sending"
REMOVING = "removing"
PARTIAL = "partial"
"""Of releases that had one note for both."""
LIMIT = 256 << 20
"""Bytes of an index: two hundred for each file of a bundle."""


class Entry(NamedTuple):
    """An object of a build."""

    path: str
    """Below `builds/`: `ID/manifest.json`, `ID.tar.zst`."""
    sha256: Sha256
    size: int
    version: str
    """What the filesystem told of it when it was there: an entity tag or a time."""


@dataclass(frozen=True, kw_only=True)
class Index:
    """A build's record, and all that belongs to it."""

    record: Record
    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True)
class Partial:
    """Objects that may be there though no record tells of them."""

    build: str
    since: int
    """Seconds since the epoch."""
    objects: tuple[str, ...]
    """Their paths below `builds/`."""
    beat: int = 0
    """How often a remover has written it anew."""


def index_name(build: str) -> str:
    """Where the record of a build stands."""
    return f"{BUILDS}/{build}.json"


def note_name(build: str, kind: str, token: str) -> str:
    """Where a run notes that it is at a build, see `notes`.

    :param kind: `SENDING` or `REMOVING`.
    :param token: of the run: 32 hexadecimal digits.
    """
    return f"{BUILDS}/{build}.{kind}-{token}.json"


def note_parts(name: str) -> tuple[str, str] | None:
    """Return the build and the kind of a note, by its name; `None`: it is no note."""
    parts = _NOTE.fullmatch(name.removeprefix(f"{BUILDS}/"))
    return (parts["build"], parts["kind"] or PARTIAL) if parts else None


def belongs(path: str, build: str) -> bool:
    """Tell whether a path below `builds/` can be of a build: nothing else is ever removed with it."""
    own = path.startswith((f"{build}/", f"{build}."))
    named = path == f"{build}.json" or note_parts(path)
    return own and not named and not json_values.path_problem(path)


def render_index(index: Index) -> bytes:
    """Return the text of `builds/ID.json`: a record as it stands beside a local build, and the objects."""
    head = json.dumps(records.as_json(index.record), indent=2).removesuffix("\n}")
    rows = ",\n".join(f"    {json.dumps(one)}" for one in index.entries)
    return f'{head},\n  "objects": [\n{rows}\n  ]\n}}\n'.encode()


def parse_index(data: bytes, *, source: str) -> Index:
    """Read what `render_index` made, or somebody else.

    :raises InputError: it is no such record.
    """
    value = json_values.parse(data, source=source)
    record = records.from_json(value)
    entries = tuple(json_values.from_json(Entry, row) for row in value["objects"])
    _require_own(value["objects"], (one.path for one in entries), record.build)
    return Index(record=record, entries=entries)


def _require_own(objects: Value, paths: Iterable[str], build: str) -> None:
    for path in paths:
        if not belongs(path, build):
            objects.fail(f"{path[:80]!r} does not belong to the build")


def render_partial(build: str, paths: Iterable[str], *, since: float, beat: int = 0) -> bytes:
    """Return the text of a note."""
    partial = Partial(build=build, since=int(since), objects=tuple(sorted(paths)), beat=beat)
    head = {"kind": PARTIAL_KIND, "schema_version": SCHEMA_VERSION}
    return (json.dumps({**head, **json_values.as_json(partial)}, indent=1) + "\n").encode()


def parse_partial(data: bytes, build: str, *, source: str) -> Partial:
    """Read what `render_partial` made, or somebody else.

    :raises InputError: it is no such note.
    """
    value = json_values.parse(data, source=source)
    value["kind"].choice(PARTIAL_KIND)
    value["build"].choice(build)
    partial = json_values.from_json(Partial, value)
    _require_own(value["objects"], partial.objects, build)
    return partial


def current_document(record: Record, *, environment: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return what `current.json` says of a build.

    :param environment: variable → path relative to the bundle, as the manifest has it.
    """
    tree = f"{BUILDS}/{record.build}"
    return {
        "kind": CURRENT_KIND,
        "schema_version": SCHEMA_VERSION,
        "name": record.name,
        "build": record.build,
        "tree": tree,
        "environment": {name: f"{tree}/{path}" for name, path in environment},
        "archives": [
            {
                "kind": one.kind,
                "path": f"{BUILDS}/{one.name}",
                "sha256": one.sha256,
                "size": one.size,
            }
            for one in record.archives
        ],
        "record": index_name(record.build),
        "digest": record.digest,
        "manifest_digest": record.manifest_digest,
        "tool": record.tool,
        "made": record.made,
    }


def parse_current(data: bytes, *, source: str) -> tuple[str, dict[str, Any]]:
    """Read a `current.json`; returns the ID of the build, and all that it says.

    :raises InputError: it is not envbundle's, and is not touched.
    """
    try:
        value = json_values.parse(data, source=source)
        value["kind"].choice(CURRENT_KIND)
        build = value["build"].text(records.IDENTITY.pattern)
    except InputError as error:
        raise InputError(
            f"{error.message}: it is not touched", hint="move it away; it tells which build is in use"
        ) from None
    content: dict[str, Any] = value.raw
    return build, content
