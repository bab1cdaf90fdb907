"""Squashfs images and OCI layouts that somebody made up."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from bundler.errors import InputError
from bundler.formats import checking, oci, reading, squashfs

from tests.support.archivemaker import change, codes, need, pack, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

pytest_plugins = ["tests.support.archive_fixtures"]

IMAGES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "symlink": (("-p", "lib/x s 777 0 0 /etc/passwd"), "is a symlink"),
    "device": (("-p", "lib/x b 600 0 0 8 0"), "is a device"),
    "character device": (("-p", "lib/x c 666 0 0 1 3"), "is a device"),
    "pipe": (("-p", "lib/x i 600 0 0 f"), "is a pipe"),
    "setuid": (("-p", "bin/tool m 4755 0 0"), "runs as another user"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_hostile_squashfs(bundle: Path, tmp_path: Path, name: str) -> None:
    need("squashfs")
    words, problem = IMAGES[name]
    path = tmp_path / "x.squashfs"
    squash(bundle, path, *words)
    with pytest.raises(InputError, match=problem):
        checking.check(path, kind="squashfs")


def squash(bundle: Path, path: Path, *words: str, alike: tuple[str, ...] = squashfs.ALIKE) -> None:
    subprocess.run(["mksquashfs", bundle, path, *alike, "-quiet", "-no-progress", *words], check=True)


def test_squashfs_with_a_name_twice(bundle: Path, tmp_path: Path) -> None:
    need("squashfs")
    path = tmp_path / "x.squashfs"
    squash(bundle, path, "-noI", "-p", "lib/name1 f 644 0 0 true", "-p", "lib/name2 f 644 0 0 true")
    data = path.read_bytes()
    assert data.count(b"name2") == 1
    for name in (b"name1", b"name0"):
        path.write_bytes(data.replace(b"name2", name))
        with pytest.raises(InputError, match="is out of order, or there twice"):
            checking.check(path, kind="squashfs")


def test_squashfs_of_others(bundle: Path, tmp_path: Path) -> None:
    need("squashfs")
    squash(bundle, tmp_path / "a", alike=())
    assert reading.kind_of(tmp_path / "a") is None
    squash(bundle, tmp_path / "b", "-comp", "xz")
    assert reading.kind_of(tmp_path / "b") is None
    for number, words in enumerate((("-comp", "gzip"), ("-noI", "-noD", "-noF"), ("-no-fragments",))):
        squash(bundle, tmp_path / str(number), *words)
        assert codes(tmp_path / str(number)) == [], words


def _index(folder: Path) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((folder / oci.INDEX).read_bytes())
    return parsed


def _described(folder: Path) -> tuple[dict[str, Any], Path, Path]:
    """The index, and the blobs of configuration and layer."""
    index = _index(folder)
    image = json.loads((folder / oci.BLOBS / index["manifests"][0]["digest"][7:]).read_bytes())
    blobs = [folder / oci.BLOBS / one["digest"][7:] for one in (image["config"], image["layers"][0])]
    return index, blobs[0], blobs[1]


def _link_layer(folder: Path) -> None:
    layer = _described(folder)[2]
    layer.rename(folder.with_name("elsewhere"))
    layer.symlink_to(folder.with_name("elsewhere"))


def _two_images(folder: Path) -> None:
    index = _index(folder)
    (folder / oci.INDEX).write_bytes(oci._json({**index, "manifests": index["manifests"] * 2}))


def _path_for_digest(folder: Path) -> None:
    index = _index(folder)
    index["manifests"][0]["digest"] = "sha256:../../../etc/passwd"
    (folder / oci.INDEX).write_bytes(oci._json(index))


IMAGE_LAYOUTS: Mapping[str, tuple[Callable[[Path], object], str]] = {
    "another blob": (
        lambda folder: (folder / oci.BLOBS / ("0" * 64)).write_bytes(b""),
        "belongs to no image",
    ),
    "another file": (lambda folder: (folder / "run.sh").write_bytes(b""), "belongs to no image"),
    "no layer": (lambda folder: _described(folder)[2].unlink(), "is missing"),
    "link for a layer": (_link_layer, "is missing"),
    "other layer": (
        lambda folder: change(_described(folder)[2], b"(\xb5/\xfd", b"\xfd/\xb5("),
        "has another sha256",
    ),
    "other configuration": (
        lambda folder: change(_described(folder)[1], b"amd64", b"arm64"),
        "has another sha256",
    ),
    "two images": (_two_images, "must have one image, and has 2"),
    "path": (_path_for_digest, "is not of the form"),
    "no json": (lambda folder: (folder / oci.INDEX).write_text("[" * 100_000), "not sound JSON"),
    "large": (lambda folder: (folder / oci.INDEX).write_bytes(b" " * (5 << 20)), "too large"),
}


@pytest.mark.parametrize("archive", ["oci"], indirect=True)
@pytest.mark.parametrize("name", IMAGE_LAYOUTS)
def test_hostile_oci(archive: Path, tmp_path: Path, name: str) -> None:
    ruin, problem = IMAGE_LAYOUTS[name]
    ruin(archive)
    refused(archive, "oci", problem, tmp_path)


def test_layer_that_the_configuration_does_not_name(bundle: Path, tmp_path: Path) -> None:
    """Every digest of the image is right but the one of the unpacked layer."""
    (made,) = pack(bundle, tmp_path / "x", "oci")
    described = _index(made)["manifests"][0]
    blob = made / oci.BLOBS / described["digest"][7:]
    content = json.loads(blob.read_bytes())
    config = made / oci.BLOBS / content["config"]["digest"][7:]
    changed = json.loads(config.read_bytes())
    changed["rootfs"]["diff_ids"] = [f"sha256:{'0' * 64}"]
    config.unlink()
    blob.unlink()
    content["config"] = oci.write_document(made / oci.BLOBS, oci.CONFIG_TYPE, changed)
    index = {**_index(made), "manifests": [oci.write_document(made / oci.BLOBS, oci.MANIFEST_TYPE, content)]}
    (made / oci.INDEX).write_bytes(oci._json(index))
    refused(made, "oci", "not the one that its configuration names", tmp_path)
