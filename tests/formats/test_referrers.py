"""Signatures in OCI layouts: what refers to the image, what other tools copy of it, what is refused."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from bundler.bundle import manifest, signing
from bundler.errors import InputError
from bundler.formats import checking, oci, referrers

from tests.support.archivemaker import SMALL, make_archived, pack, run
from tests.support.command import Command
from tests.support.machine import need, need_on_trial

DAY = datetime(2026, 11, 21, 3, tzinfo=timezone.utc)


class Signed:
    """A layout `env.oci` with signatures in it and none beside it, and the key of whoever signed."""

    def __init__(self, folder: Path) -> None:
        need("ssh-keygen")
        self.folder = folder
        folder.mkdir(exist_ok=True)
        bundle = make_archived(folder / "env", files=SMALL)
        (self.layout,) = pack(bundle, folder / "env", "oci")
        self.before = content(self.layout)
        self.document = (bundle / manifest.NAME).read_bytes()
        shutil.rmtree(bundle)
        self.sign("key")
        self.signatures = folder / "key.signatures"
        referrers.attach(self.layout, self.signatures)

    def sign(self, name: str) -> Path:
        key = self.folder / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        request = signing.SigningRequest(
            manifest=self.document, name="env", key=key, signed_on=DAY, counter=17, environ=os.environ
        )
        return signing.sign(request, self.folder / f"{name}.signatures").folder

    def public(self, name: str = "key") -> str:
        return (self.folder / f"{name}.pub").read_text().strip()


def content(layout: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in layout.rglob("*") if path.is_file()}


def index_of(layout: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((layout / oci.INDEX).read_bytes())["manifests"]
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    return Signed(tmp_path_factory.mktemp("signed"))


@pytest.fixture
def layout(made: Signed, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made.layout, tmp_path / "env.oci"))


def verdict(envbundle: Command, layout: Path, key: str) -> list[tuple[str, str]]:
    done = envbundle("verify", str(layout), "--no-imports", "--key", key, "--name", "env", "--json")
    assert done.json()["checked"][0] == "signature"
    return [(one["code"], one["subject"]) for one in done.json()["findings"]]


def test_the_image_stays_what_it_is(made: Signed, tmp_path: Path) -> None:
    image, artifact, tagged = index_of(made.layout)
    after = content(made.layout)
    assert {name: after[name] for name in made.before if name != oci.INDEX} == {
        name: data for name, data in made.before.items() if name != oci.INDEX
    }
    assert [image["digest"]] == [one["digest"] for one in json.loads(made.before[oci.INDEX])["manifests"]]
    assert oci.image_digest(made.layout) == image["digest"][7:]
    document = json.loads(after[artifact["digest"][7:]])
    assert artifact["artifactType"] == document["artifactType"] == referrers.ARTIFACT_TYPE
    assert document["subject"] == {key: image[key] for key in ("mediaType", "digest", "size")}
    names = [one["annotations"][referrers.TITLE] for one in document["layers"]]
    assert names == sorted(path.name for path in made.signatures.iterdir())
    assert tagged["annotations"][referrers.TAG] == image["digest"].replace(":", "-"), "the fallback tag"
    assert json.loads(after[tagged["digest"][7:]])["manifests"] == [artifact]
    assert not list(made.folder.glob(".*")), "nothing is left beside it"
    (folder,) = referrers.extracted(made.layout, tmp_path)
    assert content(folder) == content(made.signatures)


@pytest.mark.thorough
def test_it_is_read_back(envbundle: Command, made: Signed, layout: Path, tmp_path: Path) -> None:
    stranger = make_key(tmp_path / "stranger")
    assert verdict(envbundle, layout, made.public()) == []
    assert [code for code, _ in verdict(envbundle, layout, stranger)] == ["EB612"] * 4
    assert envbundle("sign", str(layout), "--key", str(tmp_path / "stranger"), "-q").code == 0
    (tmp_path / "env.signatures").rename(tmp_path / "elsewhere")
    assert verdict(envbundle, layout, stranger) == []
    assert verdict(envbundle, layout, made.public()), "it takes the place of the one before"
    assert len(index_of(layout)) == 3
    shutil.copytree(made.signatures, tmp_path / "env.signatures")
    assert verdict(envbundle, layout, made.public()) == [], "one that holds is enough, wherever it stands"


def make_key(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path.with_name(f"{path.name}.pub").read_text().strip()


def test_what_others_attached_stays(layout: Path, made: Signed, tmp_path: Path) -> None:
    """An SBOM, say: it is neither lost nor taken for a signature."""
    blobs = layout / oci.BLOBS
    image, artifact, _ = index_of(layout)
    document = json.loads((blobs / artifact["digest"][7:]).read_bytes())
    sbom = {**document, "artifactType": "application/spdx+json", "layers": document["layers"][:1]}
    described = oci.write_document(blobs, oci.MANIFEST_TYPE, sbom)
    (blobs / index_of(layout)[2]["digest"][7:]).unlink()
    oci.write_index(layout, [image, described, artifact])
    referrers.attach(layout, made.signatures)
    assert [one["digest"] for one in index_of(layout)][:3] == [
        image["digest"], described["digest"], artifact["digest"],
    ]  # fmt: skip
    assert checking.check(layout, kind="oci").findings == ()
    assert len(referrers.extracted(layout, tmp_path)) == 1


def _artifact(layout: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the artifact, and all that names it."""
    image, artifact, tagged = index_of(layout)
    blobs = layout / oci.BLOBS
    document = json.loads((blobs / artifact["digest"][7:]).read_bytes())
    for one in (artifact, tagged):
        (blobs / one["digest"][7:]).unlink()
    change(document)
    oci.write_index(layout, [image, oci.write_document(blobs, oci.MANIFEST_TYPE, document)])


def _signature(layout: Path) -> Path:
    artifact = json.loads((layout / oci.BLOBS / index_of(layout)[1]["digest"][7:]).read_bytes())
    return layout / oci.BLOBS / str(artifact["layers"][0]["digest"][7:])


def _rename(name: str) -> Callable[[Path], None]:
    def change(document: dict[str, Any]) -> None:
        document["layers"][0]["annotations"][referrers.TITLE] = name

    return lambda layout: _artifact(layout, change)


def _many(layout: Path, count: int) -> None:
    image, artifact, _ = index_of(layout)
    oci.write_index(layout, [image, *[artifact] * count])


def _layers(layout: Path, more: int, name: str) -> None:
    def change(document: dict[str, Any]) -> None:
        document["layers"] += document["layers"][:1] * more
        for number, layer in enumerate(document["layers"]):
            layer["annotations"] = {referrers.TITLE: name.format(number)}

    _artifact(layout, change)


HOSTILE: Mapping[str, tuple[Callable[[Path], object], str]] = {
    "an edited signature": (lambda layout: _edit(_signature(layout)), "has another sha256"),
    "a signature cut off": (lambda layout: _signature(layout).write_bytes(b""), "has another size"),
    "a signature that is gone": (lambda layout: _signature(layout).unlink(), "is missing"),
    "a pipe": (lambda layout: _pipe(_signature(layout)), "is missing"),
    "of another image": (
        lambda layout: _artifact(layout, lambda one: one["subject"].update(digest=f"sha256:{'0' * 64}")),
        "subject: is not the image that is here",
    ),
    "no subject": (lambda layout: _artifact(layout, lambda one: one.pop("subject")), "and has 2"),
    "a path as its name": (_rename("../../manifest.json.sig"), "is not of the form"),
    "a folder as its name": (_rename(".."), "is not of the form"),
    "a blob that nothing names": (
        lambda layout: (layout / oci.BLOBS / ("0" * 64)).write_bytes(b""), "belongs to no image"),
    "twenty of them": (lambda layout: _many(layout, 20), "has more than 20 entries"),
    "a hundred files": (lambda layout: _layers(layout, 100, "{}.sig"), "must have at most 23 files"),
    "one name twice": (lambda layout: _layers(layout, 2, "a"), "each with a name of its own"),
    "a document that is none": (
        lambda layout: _artifact(layout, lambda one: one.update(layers={})), "must be an array"),
}  # fmt: skip


def _edit(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-50] + b"A" + data[-49:])


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_layouts(made: Signed, layout: Path, tmp_path: Path, case: str) -> None:
    del made
    ruin, says = HOSTILE[case]
    ruin(layout)
    (tmp_path / "scratch").mkdir()
    with pytest.raises(InputError, match=says):
        referrers.extracted(layout, tmp_path / "scratch")
    if "as its name" not in case and case not in {"a hundred files", "one name twice"}:
        with pytest.raises(InputError, match=says):
            checking.check(layout, kind="oci")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["env.oci", "scratch"]


SKOPEO = ("skopeo", "--insecure-policy", "copy", "--quiet")


def test_skopeo_copies_image_and_signature(
    envbundle: Command, made: Signed, layout: Path, tmp_path: Path
) -> None:
    need("skopeo")
    tag = index_of(layout)[2]["annotations"][referrers.TAG]
    copy = tmp_path / "copy.oci"
    run(*SKOPEO, f"oci:{layout}:latest", f"oci:{copy}:1.4")
    run(*SKOPEO, "--all", f"oci:{layout}:{tag}", f"oci:{copy}:{tag}")
    assert oci.image_digest(copy) == oci.image_digest(layout)
    assert verdict(envbundle, copy, made.public()) == []


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """A registry on this machine; Debian's knows no referrers API, so that the fallback tag counts."""
    need_on_trial("docker-registry", "oras")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "registry.yml").write_text(
        json.dumps(
            {
                "version": 0.1,
                "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
                "http": {"addr": address},
            }
        )
    )
    words = ["docker-registry", "serve", str(tmp_path / "registry.yml")]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as serving:
        try:
            host, _, port = address.partition(":")
            for _ in range(100):
                with contextlib.suppress(OSError), socket.create_connection((host, int(port))):
                    break
                time.sleep(0.1)
            yield address
        finally:
            serving.terminate()


@pytest.mark.thorough
def test_registries_keep_it(
    envbundle: Command, made: Signed, layout: Path, registry: str, tmp_path: Path
) -> None:
    """Pushed by oras and by skopeo, and fetched by oras again, which looks for the fallback tag itself."""
    first, second = f"{registry}/team/env:1.4", f"{registry}/team/other:1.4"
    run("oras", "cp", "-r", "--from-oci-layout", f"{layout}:latest", "--to-plain-http", first)
    tag = index_of(layout)[2]["annotations"][referrers.TAG]
    insecure = "--dest-tls-verify=false"
    run(*SKOPEO, insecure, f"oci:{layout}:latest", f"docker://{second}")
    other = second.replace(":1.4", f":{tag}")
    run(*SKOPEO, "--all", insecure, f"oci:{layout}:{tag}", f"docker://{other}")
    for number, place in enumerate((first, second)):
        copy = tmp_path / f"{number}.oci"
        run("oras", "cp", "-r", "--from-plain-http", place, "--to-oci-layout", f"{copy}:1.4")
        assert oci.image_digest(copy) == oci.image_digest(layout)
        assert verdict(envbundle, copy, made.public()) == []
