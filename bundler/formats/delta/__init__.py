"""A bundle as what has changed since an older one: docs/delta.md has the format.

`bundler.ontarget.new_bundle` applies it, here and in the image; both keep to `bundler.ontarget.delta_format`.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import json
import lzma
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import bundler
from bundler.bundle import integrity, standalone
from bundler.errors import InputError, MachineError
from bundler.formats.delta import instructions, pairs
from bundler.formats.delta.instructions import Patch
from bundler.formats.entries import on_disk
from bundler.lazy_dataclass import dataclass
from bundler.ontarget import new_bundle
from bundler.ontarget.checksums import MANIFEST
from bundler.ontarget.delta_format import (
    ADDED,
    COPIED,
    DESCRIPTION,
    ENDINGS,
    KIND,
    NOTHING,
    PLAIN,
    SCHEMA_VERSION,
    STREAMS,
    Delta,
    LackingError,
    Row,
    UnusableDeltaError,
    base_order,
    read_delta,
    read_rows,
    split,
)
from bundler.system import files, workspace
from bundler.system.progress import Progress

APPLIER = "apply.py"
LARGEST_DICTIONARY = 32 << 20
"""Bytes; `MOST_MEMORY` of the applier has room for it."""
FAST_DICTIONARY = 8 << 20
"""Bytes, for a whole bundle, which is compressed ten times as fast as what has changed, for a tenth more."""
WAYS = {PLAIN: "plain", COPIED: "copied", ADDED: "corrected"}


@dataclass(frozen=True, kw_only=True)
class Side:
    """A bundle's folder, and the name that the delta calls it by."""

    name: str
    folder: Path


@dataclass(frozen=True, kw_only=True)
class FromBase:
    """What a delta has for one of its bases."""

    name: str
    same: int
    """Files that the base has too, here or under another name."""
    ways: Mapping[str, int]
    """One of `WAYS` → number of the files that are made so."""
    size: int
    """Bytes of the streams."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """A delta that was written, applied to each base, and gave the new bundle."""

    path: Path
    size: int
    """Bytes of all its files, the applier among them."""
    result: str
    """sha256 of the new bundle's manifest.json."""
    bases: Sequence[FromBase]


@dataclass(frozen=True, kw_only=True)
class _Streams:
    control: bytearray = field(default_factory=bytearray)
    difference: bytearray = field(default_factory=bytearray)
    content: bytearray = field(default_factory=bytearray)

    def append(self, patch: Patch, base: int) -> None:
        self.control.extend(instructions.number(patch.method) + instructions.number(base) + patch.control)
        self.difference.extend(patch.difference)
        self.content.extend(patch.content)


def write(
    olds: Sequence[Side], new: Side, *, output: Path, compression: str, force: bool, progress: Progress
) -> Written:
    """Write a delta from each of some bundles to a new one, and prove it: it is applied to each of them.

    :param olds: none: the delta carries the whole bundle.
    :param output: the delta's folder.
    :param compression: a key of `ENDINGS`.
    :param force: replace a delta that is there.
    :raises InputError: a bundle is not whole, or something is in the way.
    :raises MachineError: there is no room to prove it.
    """
    _require_free(output, force=force)
    with workspace.claim(output) as work:
        with progress.stage("compare") as stage:
            for side in (*olds, new):
                integrity.require(side.folder)
            stage.result = f"{len(olds) + 1} bundles are whole"
        with progress.stage("delta") as stage:
            bases = [
                _write_base(number, old, new, folder=work.bundle, compression=compression)
                for number, old in enumerate(olds)
            ] or [_write_whole(new, folder=work.bundle, compression=compression)]
            described = _describe(olds, new, compression=compression, folder=work.bundle)
            _write(work.bundle / DESCRIPTION, (json.dumps(described, indent=2) + "\n").encode())
            _write(work.bundle / APPLIER, standalone.applier().encode())
            size = sum(path.stat().st_size for path in work.bundle.iterdir())
            stage.result = f"{size:,} bytes"
        with progress.stage("prove") as stage:
            for old in olds or (None,):
                _prove(old, work.bundle, work.scratch / "proof")
            stage.result = "gives the new bundle"
        files.sync_filesystem(work.bundle)
        _require_free(output, force=force)
        files.place(work.bundle, output)
    return Written(path=output, size=size, result=described["result"]["manifest_sha256"], bases=bases)


def _require_free(output: Path, *, force: bool) -> None:
    if not output.is_symlink() and not output.exists():
        return
    try:
        read_delta(str(output))
    except UnusableDeltaError as error:
        raise InputError(
            f"{output} exists and is not a delta: it is not touched", hint="choose another -o"
        ) from error
    if not force:
        raise InputError(f"{output} exists", hint="--force replaces a delta")


def _write_whole(new: Side, *, folder: Path, compression: str) -> FromBase:
    """Write the streams of a whole bundle, which need not fit into memory."""
    rows = _rows(new)
    carried = [rows[MANIFEST], *split({}, rows)[1]]
    plain = instructions.number(PLAIN) + instructions.number(0)
    contents = (on_disk(new.folder, row.path).read_bytes() for row in carried)
    parts = {"control": iter([plain * len(carried)]), "difference": iter([b""]), "content": contents}
    size = 0
    for name in STREAMS:
        path = folder / _file(0, name, compression)
        with path.open("wb") as file:
            for piece in _compressed(parts[name], compression):
                size += file.write(piece)
        path.chmod(0o644)
    return FromBase(name="", same=0, ways={WAYS[PLAIN]: len(carried)}, size=size)


def _compressed(blocks: Iterable[bytes], compression: str) -> Iterator[bytes]:
    machine: Any = zlib.compressobj(6) if compression == "zlib" else _xz_machine()
    for block in blocks:
        yield machine.compress(block)
    yield machine.flush()


def _xz_machine() -> lzma.LZMACompressor:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 1, "dict_size": FAST_DICTIONARY}]
    return lzma.LZMACompressor(format=lzma.FORMAT_XZ, check=lzma.CHECK_NONE, filters=filters)


def _write_base(number: int, old: Side, new: Side, *, folder: Path, compression: str) -> FromBase:
    """Write the streams from one base."""
    old_rows, new_rows = _rows(old), _rows(new)
    same, changed = split(old_rows, new_rows)
    changed = [new_rows[MANIFEST], *changed]

    def read_old(path: str) -> bytes:
        return on_disk(old.folder, path).read_bytes()

    def read_new(path: str) -> bytes:
        return on_disk(new.folder, path).read_bytes()

    found = pairs.pair(old_rows, changed, read_old=read_old, read_new=read_new)
    places = {path: place for place, path in enumerate(base_order(old_rows), start=1)}
    streams = _Streams()
    ways: collections.Counter[str] = collections.Counter()
    for row in changed:
        path, data = found.get(row.path), read_new(row.path)
        patch = instructions.plain(data) if path is None else instructions.smallest(read_old(path), data)
        place = 0 if patch.method == PLAIN or path is None or path == row.path else places[path]
        streams.append(patch, place)
        ways[WAYS[patch.method]] += 1
    size = 0
    for name in STREAMS:
        packed = _compress(bytes(getattr(streams, name)), compression)
        _write(folder / _file(number, name, compression), packed)
        size += len(packed)
    return FromBase(name=old.name, same=len(same), ways=dict(sorted(ways.items())), size=size)


def _rows(side: Side) -> dict[str, Row]:
    path = side.folder / MANIFEST
    try:
        return read_rows(path.read_bytes(), str(path))
    except UnusableDeltaError as error:
        raise InputError(str(error), hint="`envbundle verify` says what is wrong") from error


def _file(number: int, name: str, compression: str) -> str:
    return f"{number}.{name}.{ENDINGS[compression]}"


def _compress(data: bytes, compression: str) -> bytes:
    if compression == "zlib":
        return zlib.compress(data, 9)
    dictionary = max(4096, min(len(data), LARGEST_DICTIONARY))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": dictionary}]
    return lzma.compress(data, format=lzma.FORMAT_XZ, check=lzma.CHECK_NONE, filters=filters)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o644)


def _describe(olds: Sequence[Side], new: Side, *, compression: str, folder: Path) -> dict[str, Any]:
    manifest = (new.folder / MANIFEST).read_bytes()
    bases = [
        (old.name, hashlib.sha256((old.folder / MANIFEST).read_bytes()).hexdigest()) for old in olds
    ] or [("", NOTHING)]
    return {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "envbundle", "version": bundler.__version__},
        "compression": compression,
        "result": {
            "name": new.name,
            "manifest_sha256": hashlib.sha256(manifest).hexdigest(),
            "manifest_size": len(manifest),
        },
        "bases": [
            {
                "name": name,
                "manifest_sha256": sha256,
                "streams": {
                    name: _described_file(folder / _file(number, name, compression)) for name in STREAMS
                },
            }
            for number, (name, sha256) in enumerate(bases)
        ],
    }


def _described_file(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _prove(old: Side | None, delta: Path, folder: Path) -> None:
    """Apply a delta to a base; what it gives is compared with the manifest as it is written."""
    folder.mkdir()
    with translated():
        new_bundle.make(str(old.folder) if old else "", read_delta(str(delta)), str(folder))
    shutil.rmtree(folder)


def apply(old: Path, deltas: Sequence[Path], *, output: Path) -> tuple[int, str]:
    """Make a new bundle of an old one's folder and deltas, and bring it into its place in one step.

    :param deltas: in the order in which they are applied.
    :param output: where the new bundle goes; if it is there already, whole, nothing is done.
    :return: how many files it has (0: it was there), and the sha256 of its manifest.json.
    :raises InputError: a delta does not fit, is damaged or hostile, or something is in the way.
    :raises MachineError: there is no room, or this Python lacks what the delta is compressed with.
    """
    with translated(), workspace.claim(output) as work:
        read: list[Delta] = [read_delta(str(path)) for path in deltas]
        count = 0
        if not _is_there(output, read[-1]):
            count = new_bundle.make_all(str(old), read, str(work.bundle), str(work.scratch))
            files.sync_filesystem(work.bundle)
            if not _is_there(output, read[-1]):
                files.place(work.bundle, output)
        return count, str(read[-1].result["manifest_sha256"])


def _is_there(output: Path, delta: Delta) -> bool:
    """Tell whether a delta's result is in its place already.

    :raises InputError: something else is.
    """
    if not output.is_symlink() and not output.exists():
        return False
    if new_bundle.is_there(str(output), delta.result["manifest_sha256"]):
        return True
    raise InputError(f"{output} exists", hint="choose another -o, or move it away")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise the errors of what is applied and loaded in the image as the builder's."""
    try:
        yield
    except UnusableDeltaError as error:
        raise InputError(str(error), hint=error.hint) from error
    except LackingError as error:
        raise MachineError(str(error), hint="see to the machine, then run it again") from error
