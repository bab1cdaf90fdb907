"""Signatures in an OCI layout: an artifact that refers to the image (`subject`, image-spec 1.1).

It stands in the layout's index by itself, and in an index with the tag `sha256-DIGEST` of the image: there
clients look in a registry that has no referrers API (distribution-spec 1.1, "Referrers Tag Schema"). The
image, its digest and its blobs stay what they are.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from bundler.formats import oci
from bundler.formats.entries import damaged
from bundler.formats.oci import Stored
from bundler.ontarget.public_keys import BadKeyError
from bundler.ontarget.signatures import DSSE_ENDING, MOST, read_file
from bundler.system import files, workspace
from bundler.system.json_values import Value

ARTIFACT_TYPE = "application/vnd.envbundle.signatures.v1"
SIGSTORE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PLAIN_TYPE = "text/plain"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
TITLE = "org.opencontainers.image.title"
TAG = "org.opencontainers.image.ref.name"
IMAGE_TAG = "latest"
"""Of the image in a layout that holds more than it: without a tag skopeo asks which one is meant."""
MOST_ARTIFACTS = 8
"""Of ours in a layout: signing writes one, in place of those that are there."""
MOST_FILES = 3 + MOST
"""Of one artifact: manifest.json.sig, the statement and its signature, and the envelopes."""
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""Of a file of signatures."""


def attach(layout: Path, folder: Path) -> None:
    """Put the files of a folder of signatures into a layout, in place of those that are in it.

    It appears beside the layout and takes its place in one step; blobs are linked, not copied.

    :raises InputError: the layout or a signature is damaged.
    """
    known = oci.read_layout(layout)
    others = [one for one in known.referrers if not _is_ours(one)]
    with workspace.claim(layout) as work:
        staged, blobs = work.bundle, work.bundle / oci.BLOBS
        blobs.mkdir(parents=True)
        for name in sorted(known.image.blobs.union(*(one.blobs for one in others))):
            _link(layout / oci.BLOBS / name, blobs / name)
        oci.write_layout(staged)
        refers = [*(one.descriptor.raw for one in others), _artifact(blobs, known.image, folder)]
        tagged = {
            **oci.write_document(blobs, oci.INDEX_TYPE, oci.index_of(refers)),
            "annotations": {TAG: known.image.digest.replace(":", "-")},
        }
        oci.write_index(staged, [_tagged(known.image.descriptor), *refers, tagged])
        oci.open_to_all(staged)
        files.sync_filesystem(staged)
        files.place(staged, layout)


def _tagged(image: Value) -> dict[str, Any]:
    told = image.get("annotations")
    tag = told.get(TAG) if told else None
    return {**image.raw, "annotations": {TAG: tag.text() if tag else IMAGE_TAG}}


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file share without hard links
        shutil.copyfile(source, target)


def _artifact(blobs: Path, image: Stored, folder: Path) -> dict[str, Any]:
    """Write the artifact of a folder of signatures, and return its descriptor."""
    layers = []
    for path in sorted(folder.iterdir()):
        kind = SIGSTORE_TYPE if path.name.endswith(DSSE_ENDING) else PLAIN_TYPE
        blob = oci.write_blob(blobs, kind, _signature(path))
        layers.append({**blob, "annotations": {TITLE: path.name}})
    manifest = {
        "schemaVersion": 2,
        "mediaType": oci.MANIFEST_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "config": oci.write_blob(blobs, EMPTY_TYPE, b"{}"),
        "layers": layers,
        "subject": {key: image.descriptor[key].raw for key in ("mediaType", "digest", "size")},
    }
    return {**oci.write_document(blobs, oci.MANIFEST_TYPE, manifest), "artifactType": ARTIFACT_TYPE}


def _signature(path: Path) -> bytes:
    try:
        return read_file(str(path))
    except BadKeyError as error:
        raise damaged(path, str(error)) from error


def _is_ours(one: Stored) -> bool:
    kind = one.document.get("artifactType")
    return kind is not None and kind.raw == ARTIFACT_TYPE


def extracted(layout: Path, scratch: Path) -> list[Path]:
    """Write the signatures that a layout holds into folders, one for each artifact of ours.

    :param scratch: a private folder.
    :raises InputError: the layout is damaged.
    """
    found = []
    ours = [one for one in oci.read_layout(layout).referrers if _is_ours(one)]
    if len(ours) > MOST_ARTIFACTS:
        raise damaged(layout, f"has more than {MOST_ARTIFACTS} sets of signatures")
    for one in ours:
        folder = scratch / one.digest
        folder.mkdir()
        listed = one.document["layers"]
        layers = {layer["annotations"][TITLE].text(_NAME): layer for layer in listed}
        if len(layers) > MOST_FILES or len(layers) != len(tuple(listed)):
            listed.fail(f"must have at most {MOST_FILES} files, each with a name of its own")
        for name, layer in layers.items():
            path = oci.blob_path(layout, layer)
            oci.require_digest(layout, path)
            (folder / name).write_bytes(_signature(path))
        found.append(folder)
    return found
