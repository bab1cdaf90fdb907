"""The record of a build, `builds/ID.json`: what it was made from, and what tells that it is still whole.

It stands beside the bundle, not in it: a bundle says nothing of the machine and the time of its making. It is
also the proof that envbundle made what has the same name: nothing without a record is ever removed.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from bundler.lazy_dataclass import dataclass
from bundler.model import Finding
from bundler.system import json_values
from bundler.system.json_values import Value

KIND = "envbundle-build"
SCHEMA_VERSION = "1.0"
ID_DIGITS = 16
IDENTITY = re.compile(rf"[0-9a-f]{{{ID_DIGITS}}}")
LIMIT = 4 << 20
"""Bytes; a record is a few thousand."""
Sha256 = Annotated[str, json_values.SHA256.pattern]


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One of the archive formats of a build, beside its folder."""

    kind: str
    """`tar.zst`, `oci` …"""
    name: Annotated[str, rf"{IDENTITY.pattern}\.[a-z0-9.]+"]
    """Of the file or folder in `builds/`."""
    sha256: Sha256
    """Of the file; of an `oci` layout's image, as a registry shows it."""
    size: int


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of a build without looking into it."""

    name: str
    """Of its job."""
    build: str
    """The ID: the first digits of `manifest_digest`."""
    input: Sha256
    """sha256 of all that decides its bytes and its verdict (`bundler.rebuild.input_digest`)."""
    lock: Sha256
    """sha256 of its pylock.toml."""
    tool: str
    """Version of the envbundle that made it."""
    made: str
    """When it last became the current build: UTC, ISO 8601, to the microsecond. Orders the builds."""
    digest: Sha256
    """Of the tree."""
    manifest_digest: Sha256
    size: int
    """Bytes of the tree."""
    files: int
    """Number of files of the tree."""
    fingerprint: str = ""
    """sha256 over names, sizes and times of all files, as they stand on this machine; empty elsewhere."""
    archives: tuple[Archive, ...] = ()
    findings: tuple[Finding, ...] = ()
    """Of its proof, without information."""
    not_isolated: tuple[str, ...] = ()
    """Parts of the isolation that were not in force during its proof (`bundler.checks.isolation`)."""


def identity(manifest_digest: str) -> str:
    """Return the ID of the build with this manifest."""
    return manifest_digest[:ID_DIGITS]


def as_json(record: Record) -> dict[str, Any]:
    """Return a record as JSON's values."""
    return {"kind": KIND, "schema_version": SCHEMA_VERSION, **json_values.as_json(record)}


def render(record: Record) -> str:
    """Return the text of a record's file."""
    return json.dumps(as_json(record), indent=2) + "\n"


def parse(data: bytes, *, source: str) -> Record:
    """Read a record that anybody may have written.

    :param source: what it came from, for messages.
    :raises InputError: it is no record of schema 1, or contradicts itself.
    """
    return from_json(json_values.parse(data, source=source))


def from_json(value: Value) -> Record:
    """Read a record, see `parse`.

    :raises InputError: it is no record of schema 1, or contradicts itself.
    """
    value.require_kind(KIND)
    record = json_values.from_json(Record, value)
    if record.build != identity(record.manifest_digest):
        value["build"].fail("is not the ID of its manifest")
    for archive in record.archives:
        # Some day the archives are removed by their names.
        if not archive.name.startswith(f"{record.build}."):
            value["archives"].fail(f"{archive.name} is not the name of an archive of this build")
    return record
