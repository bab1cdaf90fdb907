"""The record of a build, `builds/ID.json`: what it was made from, and what tells that it is still whole.

It stands beside the bundle, not in it: a bundle says nothing of the machine and the time of its making. It is
also the proof that envbundle made what has the same name: nothing without a record is ever removed.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bundler.errors import InputError
from bundler.rebuild.outcome import Archive, finding_from, finding_row

if TYPE_CHECKING:
    from bundler.model import Finding

KIND = "envbundle-build"
SCHEMA_VERSION = "1.0"
ID_DIGITS = 16
IDENTITY = re.compile(rf"[0-9a-f]{{{ID_DIGITS}}}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[0-9a-f]{16}\.[a-z0-9.]+")
LIMIT = 4 << 20
"""Bytes; a record is a few thousand."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of a build without looking into it."""

    name: str
    """Of its job."""
    build: str
    """The ID: the first digits of `manifest_digest`."""
    input: str
    """sha256 of all that decides its bytes and its verdict (`bundler.rebuild.inputs`)."""
    lock: str
    """sha256 of its pylock.toml."""
    tool: str
    """Version of the envbundle that made it."""
    made: str
    """When it last became the current build: UTC, ISO 8601, to the microsecond. Orders the builds."""
    digest: str
    """Of the tree."""
    manifest_digest: str
    size: int
    """Bytes of the tree."""
    files: int
    """Number of files of the tree."""
    fingerprint: str = ""
    """sha256 over names, sizes and times of all files, as they stand on this machine; empty elsewhere."""
    archives: tuple[Archive, ...] = ()
    findings: tuple[Finding, ...] = ()
    """Of its proof, without information."""


def identity(manifest_digest: str) -> str:
    """Return the ID of the build with this manifest."""
    return manifest_digest[:ID_DIGITS]


def render(record: Record) -> str:
    """Return the text of a record's file."""
    return json.dumps(as_json(record), indent=2) + "\n"


def as_json(record: Record) -> dict[str, Any]:
    """Return a record as JSON's values."""
    content = {"kind": KIND, "schema_version": SCHEMA_VERSION}
    plain = {key: getattr(record, key) for key in record.__dataclass_fields__}
    plain["archives"] = [asdict(one) for one in record.archives]
    plain["findings"] = [finding_row(one) for one in record.findings]
    return {**content, **plain}


def parse(data: bytes, *, source: str) -> Record:
    """Read a record that anybody may have written.

    :param source: what it came from, for messages.
    :raises InputError: it is no record of schema 1, or does not fit itself.
    """
    try:
        row = json.loads(data.decode("utf-8"))
        if row.pop("kind") != KIND:
            raise ValueError("it is not envbundle's")
        if str(row.pop("schema_version")).partition(".")[0] != "1":
            raise ValueError("its schema is another one")
        fields = {key: row[key] for key in Record.__dataclass_fields__}
        record = Record(
            **{
                **fields,
                "archives": tuple(Archive(**one) for one in row["archives"]),
                "findings": tuple(finding_from(one) for one in row["findings"]),
            }
        )
        _check(record)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{source} is no record of a build: {error}",
            hint="it was changed by hand; move it and its folder away, and the build is made again",
        ) from None
    return record


def _check(record: Record) -> None:
    """Refuse what cannot be: names of files lead to files, and some of them are removed one day."""
    digests = (record.input, record.lock, record.digest, record.manifest_digest)
    texts = (record.name, record.tool, record.made, record.fingerprint)
    if not all(isinstance(one, str) and _SHA256.fullmatch(one) for one in digests):
        raise ValueError("one of its digests is none")
    if not all(isinstance(one, str) for one in texts):
        raise ValueError("one of its texts is none")
    if not all(type(one) is int and one >= 0 for one in (record.size, record.files)):
        raise ValueError("its size is none")
    if record.build != identity(record.manifest_digest):
        raise ValueError("its ID is not that of its manifest")
    for archive in record.archives:
        sound = isinstance(archive.name, str) and _FILE_NAME.fullmatch(archive.name)
        if not sound or not archive.name.startswith(f"{record.build}."):
            raise ValueError(f"{archive.name!r} is not the name of an archive of it")
        if not (isinstance(archive.sha256, str) and _SHA256.fullmatch(archive.sha256)):
            raise ValueError(f"the sha256 of {archive.name} is none")
        if type(archive.size) is not int or archive.size < 0 or not isinstance(archive.kind, str):
            raise ValueError(f"the size of {archive.name} is none")
