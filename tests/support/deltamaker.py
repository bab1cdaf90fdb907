"""Makes two small bundles that differ in every way that a delta knows, and deltas that nobody may apply."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import random
import shutil
import zlib
from typing import TYPE_CHECKING, Any

from bundler.formats import delta
from bundler.formats.delta import Side, Written
from bundler.formats.delta.instructions import number, zigzag
from bundler.ontarget.checksums import manifest_digest, tree_digest
from bundler.ontarget.delta_format import ENDINGS, STREAMS, read_delta
from bundler.system.progress import Progress

from tests.support.archivemaker import make_archived

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NOISE = random.Random(7).randbytes(40_000)
MOVED = "".join(f"def function_{n}(value):\n    return value + {n * n}\n" for n in range(200))
OLD: dict[str, str | bytes] = {
    "alpha/__init__.py": "VERSION = '1.0'\n",
    "alpha/kept.bin": NOISE,
    "alpha/run.sh": "#!/bin/sh\necho run\n",
    "alpha/_native.so": b"\x7fELF" + b"".join((n * 8).to_bytes(8, "little") for n in range(4000)),
    "alpha/_native2.so": NOISE[:20_000],
    "alpha.libs/libgomp-a34b3233.so.1": NOISE[20_000:] + b"old",
    "alpha/gone.txt": "gone\n",
    "alpha/first.py": MOVED,
    "alpha/größe-日本.txt": "names that are not ASCII\n",
}
NEW: dict[str, str | bytes] = {
    "alpha/__init__.py": "VERSION = '1.1'\n",
    "alpha/kept.bin": NOISE,
    "alpha/bin/go.sh": "#!/bin/sh\necho run\n",
    "alpha/_native.so": b"\x7fELF" + b"".join((n * 8 + n // 50).to_bytes(8, "little") for n in range(4000)),
    "alpha/_native2.so": NOISE[:9000] + b"inserted" + NOISE[9500:20_000],
    "alpha.libs/libgomp-b99c1234.so.1": NOISE[20_000:] + b"new!",
    "alpha/sub/second.py": MOVED.replace("function_7(", "seven("),
    "alpha/fresh.bin": random.Random(8).randbytes(3000),
    "alpha/empty.txt": "",
    "alpha/größe-日本.txt": "names that are not ASCII!\n",
}


def two(folder: Path) -> tuple[Path, Path]:
    """Make an old and a new bundle."""
    return make_archived(folder / "old", files=OLD), make_archived(folder / "new", files=NEW)


def write_delta(
    output: Path, *bundles: Path, compression: str = "xz", force: bool = False
) -> tuple[Path, Written]:
    """Write a delta to the last of some bundles from the others."""
    sides = [Side(name=one.name, folder=one) for one in bundles]
    progress = Progress(stream=io.StringIO())
    written = delta.write(
        sides[:-1], sides[-1], output=output, compression=compression, force=force, progress=progress
    )
    return output, written


def unpacked(path: Path, name: str) -> bytes:
    """The bytes of a stream."""
    (file,) = path.glob(f"0.{name}.*")
    data = file.read_bytes()
    return lzma.decompress(data) if file.suffix == ".xz" else zlib.decompress(data)


def describe(path: Path, **changes: Any) -> None:
    """Make a delta's description true again for its streams, and change members of it."""
    described = json.loads((path / "delta.json").read_text())
    for name in STREAMS:
        data = (path / f"0.{name}.{ENDINGS[described['compression']]}").read_bytes()
        described["bases"][0]["streams"][name] = {
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
    described.update(changes)
    (path / "delta.json").write_text(json.dumps(described))


def forged(delta: Path, to: Path, **streams: bytes) -> Path:
    """Copy a delta with other streams, whose hashes the description has."""
    shutil.copytree(delta, to)
    compression = read_delta(str(to)).compression
    for name, data in streams.items():
        packed = zlib.compress(data, 1) if compression == "zlib" else lzma.compress(data)
        (to / f"0.{name}.{ENDINGS[compression]}").write_bytes(packed)
    describe(to)
    return to


def with_manifest(delta: Path, to: Path, rows: Sequence[tuple[str, bytes]], *control: int) -> Path:
    """Make a delta whose manifest lists other files, carried whole unless `control` says otherwise."""
    described = {
        "kind": "envbundle-manifest",
        "schema_version": "1.0",
        "documents": [],
        "files": [[path, hashlib.sha256(data).hexdigest(), len(data), "0644"] for path, data in rows],
    }
    described["digest"] = tree_digest(tuple(row) for row in described["files"])  # type: ignore[misc]  # rows of a list
    described["manifest_digest"] = manifest_digest(described)
    manifest = json.dumps(described).encode()
    made = numbers(0, 0, *(control or (0, 0) * len(rows)))
    forged(delta, to, control=made, content=manifest + b"".join(data for _, data in rows), difference=b"")
    sha256 = hashlib.sha256(manifest).hexdigest()
    describe(to, result={"name": "x", "manifest_sha256": sha256, "manifest_size": len(manifest)})
    return to


def numbers(*values: int) -> bytes:
    """Numbers of the control stream."""
    return b"".join(map(number, values))


def move(value: int) -> int:
    """A number with a sign."""
    return zigzag(value)
