"""An OCI image layout with one layer (https://github.com/opencontainers/image-spec, version 1.0).

The image holds the bundle's tree and nothing else: no program and no distribution. It is mounted (as a
Kubernetes image volume, say) or copied from, not run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bundler.bundle.manifest import Manifest
from bundler.formats import streams, tar
from bundler.formats.entries import BLOCK, Contents, Entry, damaged, refused
from bundler.formats.streams import Readable
from bundler.system import json_values
from bundler.system.files import digest
from bundler.system.json_values import Value

LAYOUT, INDEX = "oci-layout", "index.json"
BLOBS = "blobs/sha256"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+zstd"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
CREATED = "1980-01-01T00:00:00Z"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
"""`platform.machine()` → what Go calls it, where the two differ."""
LARGEST_DOCUMENT = 4 << 20


def write(contents: Contents, folder: Path, *, layer: Path | None) -> None:
    """Write the image of a bundle into an empty folder.

    :param layer: the bundle's tar.zst, where it has been made already.
    """
    blobs = folder / BLOBS
    blobs.mkdir(parents=True)
    whole = hashlib.sha256()
    staged = blobs / "layer"
    with staged.open("xb") as file:
        if layer is None:
            for block in streams.zstd(_hashed(tar.blocks(contents), whole)):
                file.write(block)
        else:
            for _ in _hashed(tar.blocks(contents), whole):
                pass
            with layer.open("rb") as source:
                shutil.copyfileobj(source, file, BLOCK)
    sha256, size = digest(staged), staged.stat().st_size
    staged.rename(blobs / sha256)
    config = _blob(blobs, CONFIG_TYPE, _config(contents.manifest, whole.hexdigest()))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": config,
        "layers": [{"mediaType": LAYER_TYPE, "digest": f"sha256:{sha256}", "size": size}],
        "annotations": {"org.opencontainers.image.created": CREATED},
    }
    described = {**_blob(blobs, MANIFEST_TYPE, manifest), "platform": _platform(contents.manifest)}
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [described]}
    (folder / LAYOUT).write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    (folder / INDEX).write_bytes(_json(index))


def _hashed(blocks: Iterator[bytes], whole: hashlib._Hash) -> Iterator[bytes]:
    for block in blocks:
        whole.update(block)
        yield block


def _platform(described: Manifest) -> dict[str, str]:
    machine = described.target.machine
    return {"architecture": ARCHITECTURES.get(machine, machine), "os": "linux"}


def _config(described: Manifest, diff_id: str) -> dict[str, Any]:
    labels = {
        "envbundle.digest": described.digest,
        "envbundle.python": described.target.python,
        **{f"envbundle.{name}": f"/{path}" for name, path in described.environment.items()},
    }
    return {
        "created": CREATED,
        **_platform(described),
        "config": {"Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
        "history": [{"created": CREATED, "created_by": "envbundle"}],
    }


def _blob(blobs: Path, kind: str, content: dict[str, Any]) -> dict[str, Any]:
    """Write a document and return its descriptor."""
    data = _json(content)
    sha256 = hashlib.sha256(data).hexdigest()
    (blobs / sha256).write_bytes(data)
    return {"mediaType": kind, "digest": f"sha256:{sha256}", "size": len(data)}


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


@contextlib.contextmanager
def opened(folder: Path, *, whole: bool) -> Iterator[Iterator[tuple[Entry, Iterator[bytes]]]]:
    """Give the members of the layer.

    :param whole: everything will be read: compare each digest on the way.
    :raises InputError: damaged, or not one image with one layer.
    """
    described = _single(_parsed(folder / INDEX)["manifests"], "image")
    image = _document(folder, described, MANIFEST_TYPE)
    config = _document(folder, image["config"], CONFIG_TYPE)
    layer = _single(image["layers"], "layer")
    if layer["mediaType"].text() != LAYER_TYPE:
        raise damaged(folder, "its layer is no tar compressed with zstd")
    blob = _blob_path(folder, layer)
    blobs = {f"{BLOBS}/{_sha256(one)}" for one in (described, image["config"], layer)}
    _require_files(folder, {INDEX, LAYOUT, *blobs})
    if whole:
        _require_digest(folder, blob)
    with streams.open_zstd(blob, whole=whole) as stream:
        yield _compared(stream, folder, config) if whole else tar.members(stream, folder)


def _compared(stream: Readable, folder: Path, config: Value) -> Iterator[tuple[Entry, Iterator[bytes]]]:
    """Yield the members of the layer, and compare its digest with the configuration's."""
    hashing = _Hashing(stream)
    yield from tar.members(hashing, folder)
    diff = _single(config["rootfs"]["diff_ids"], "diff_id").text()
    if diff != f"sha256:{hashing.digest.hexdigest()}":
        raise damaged(folder, "its layer is not the one that its configuration names")


class _Hashing:
    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        data = self._stream.read(size)
        self.digest.update(data)
        return data


def _parsed(path: Path) -> Value:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_DOCUMENT:
        raise damaged(path, "no file, or too large for what it is")
    return json_values.load(path)


def _document(folder: Path, descriptor: Value, kind: str) -> Value:
    if descriptor["mediaType"].text() != kind:
        descriptor["mediaType"].fail(f"must be {kind}")
    path = _blob_path(folder, descriptor)
    _require_digest(folder, path)
    return _parsed(path)


def _require_digest(folder: Path, blob: Path) -> None:
    if digest(blob) != blob.name:
        raise damaged(folder, f"{blob.name} has another sha256")


def _blob_path(folder: Path, descriptor: Value) -> Path:
    path = folder / BLOBS / _sha256(descriptor)
    if path.is_symlink() or not path.is_file():
        raise damaged(folder, f"{path.name} is missing")
    if path.stat().st_size != descriptor["size"].number():
        raise damaged(folder, f"{path.name} has another size")
    return path


def _sha256(descriptor: Value) -> str:
    return descriptor["digest"].text("sha256:[0-9a-f]{64}").removeprefix("sha256:")


def _single(values: Value, what: str) -> Value:
    found = tuple(values)
    if len(found) != 1:
        values.fail(f"must have one {what}, and has {len(found)}")
    return found[0]


def _require_files(folder: Path, expected: set[str]) -> None:
    there = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    if more := sorted(there - expected):
        raise refused(folder, more[0], "belongs to no image")
    if less := sorted(expected - there):
        raise damaged(folder, f"{less[0]} is missing")
