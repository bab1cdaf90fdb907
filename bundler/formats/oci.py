"""An OCI image layout with one layer (https://github.com/opencontainers/image-spec, 1.0; 1.1 if signed).

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
from bundler.lazy_dataclass import dataclass
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
LARGEST_ATTACHED = 64 << 20
"""Bytes of a blob of what refers to the image."""
MOST_MANIFESTS = 20
"""In a layout: the image, and what refers to it."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A manifest in a layout."""

    descriptor: Value
    document: Value
    blobs: frozenset[str]
    """sha256 of itself, its configuration and its layers, all of which are there in their sizes."""

    @property
    def digest(self) -> str:
        """With its algorithm, as registries show it."""
        return self.descriptor["digest"].text()


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a layout holds."""

    image: Stored
    referrers: tuple[Stored, ...]
    """What refers to the image (image-spec 1.1, `subject`): signatures, say."""

    @property
    def attached(self) -> frozenset[str]:
        """Return sha256 of the blobs that are none of the image's."""
        return frozenset().union(*(one.blobs for one in self.referrers)) - self.image.blobs


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
    config = write_document(blobs, CONFIG_TYPE, _config(contents.manifest, whole.hexdigest()))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": config,
        "layers": [{"mediaType": LAYER_TYPE, "digest": f"sha256:{sha256}", "size": size}],
        "annotations": {"org.opencontainers.image.created": CREATED},
    }
    described = {**write_document(blobs, MANIFEST_TYPE, manifest), "platform": _platform(contents.manifest)}
    write_layout(folder)
    write_index(folder, [described])


def write_layout(folder: Path) -> None:
    """Write the file by which a layout is known."""
    (folder / LAYOUT).write_bytes(_json({"imageLayoutVersion": "1.0.0"}))


def write_index(folder: Path, manifests: list[dict[str, Any]]) -> None:
    """Write the index of a layout."""
    (folder / INDEX).write_bytes(_json(index_of(manifests)))


def index_of(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """Return an index of the manifests with these descriptors."""
    return {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}


def open_to_all(folder: Path) -> None:
    """Set modes: the umask of the caller must not decide who may read a layout."""
    for one in (folder, *folder.rglob("*")):
        one.chmod(0o755 if one.is_dir() else 0o644)


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


def write_document(blobs: Path, kind: str, content: dict[str, Any]) -> dict[str, Any]:
    """Write a document and return its descriptor."""
    return write_blob(blobs, kind, _json(content))


def write_blob(blobs: Path, kind: str, data: bytes) -> dict[str, Any]:
    """Write a blob and return its descriptor."""
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
    layout = read_layout(folder)
    image = layout.image.document
    config = _document(folder, image["config"], CONFIG_TYPE)
    layer = _single(image["layers"], "layer")
    if layer["mediaType"].text() != LAYER_TYPE:
        raise damaged(folder, "its layer is no tar compressed with zstd")
    blob = blob_path(folder, layer)
    if whole:
        for path in (blob, *(folder / BLOBS / name for name in sorted(layout.attached))):
            require_digest(folder, path)
    with streams.open_zstd(blob, whole=whole) as stream:
        yield _compared(stream, folder, config) if whole else tar.members(stream, folder)


def read_layout(folder: Path) -> Layout:
    """Read the index of a layout, and the manifests of its one image and of what refers to it.

    :raises InputError: damaged, not one image, or with files that belong to none of them.
    """
    index = _parsed(folder / INDEX)["manifests"]
    entries = list(index)
    below = [one for one in entries if one["mediaType"].raw == INDEX_TYPE]
    if len(entries) > MOST_MANIFESTS:
        index.fail(f"has more than {MOST_MANIFESTS} entries")
    manifests = [one for one in entries if one not in below]
    for each in below:
        manifests += _document(folder, each, INDEX_TYPE)["manifests"]
    if len(manifests) > MOST_MANIFESTS * 2:
        index.fail(f"lists more than {MOST_MANIFESTS * 2} manifests")
    stored = [_stored(folder, one) for one in manifests]
    images = [one for one in stored if one.document.get("subject") is None]
    if len(images) != 1:
        index.fail(f"must have one image, and has {len(images)}")
    referrers = {one.digest: one for one in stored if one is not images[0]}
    layout = Layout(image=images[0], referrers=tuple(referrers.values()))
    for one in layout.referrers:
        if one.document["subject"]["digest"].text() != layout.image.digest:
            one.document["subject"].fail("is not the image that is here")
    for name in layout.attached:
        if (folder / BLOBS / name).stat().st_size > LARGEST_ATTACHED:
            raise damaged(folder, f"{name} has more than {LARGEST_ATTACHED} bytes")
    blobs = layout.image.blobs | layout.attached | {_sha256(one) for one in below}
    _require_files(folder, {INDEX, LAYOUT, *(f"{BLOBS}/{name}" for name in blobs)})
    return layout


def image_digest(folder: Path) -> str:
    """Return the sha256 of a layout's image, as a registry shows it; what refers to it does not count.

    :raises InputError: damaged, or not one image.
    """
    return read_layout(folder).image.digest.removeprefix("sha256:")


def _stored(folder: Path, descriptor: Value) -> Stored:
    document = _document(folder, descriptor, MANIFEST_TYPE)
    parts = [descriptor, document["config"], *document["layers"]]
    names = frozenset(blob_path(folder, one).name for one in parts)
    return Stored(descriptor=descriptor, document=document, blobs=names)


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
    path = blob_path(folder, descriptor)
    require_digest(folder, path)
    return _parsed(path)


def require_digest(folder: Path, blob: Path) -> None:
    """Compare a blob with its name.

    :raises InputError: it is damaged.
    """
    if digest(blob) != blob.name:
        raise damaged(folder, f"{blob.name} has another sha256")


def blob_path(folder: Path, descriptor: Value) -> Path:
    """Return the path of a blob.

    :raises InputError: it is missing, or has another size.
    """
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
