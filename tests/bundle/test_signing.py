"""`envbundle sign` and `verify --allowed-signers`: keys in files and agents, folders and archives."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bundlemaker import make_bundle
from tests.support.command import Command, Outcome
from tests.support.machine import need
from tests.support.wheelmaker import make_wheel


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    wheel = make_wheel(tmp_path, "alpha", files={"alpha/__init__.py": ""})
    return make_bundle(tmp_path / "myenv", wheel, minor="3.8", modules=["alpha"])


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return new_key(tmp_path / "key")


def new_key(path: Path, passphrase: str = "") -> Path:
    need("ssh-keygen")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", path], check=True)
    return path


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[dict[str, str]]:
    socket = tmp_path / "agent"
    said = subprocess.run(["ssh-agent", "-a", socket], check=True, capture_output=True, text=True).stdout
    yield {**os.environ, "SSH_AUTH_SOCK": str(socket)}
    match = re.search(r"SSH_AGENT_PID=(\d+)", said)
    assert match
    os.kill(int(match[1]), 15)


def run(envbundle: Command, *words: str | Path, code: int = 0, **environ: str) -> Outcome:
    done = envbundle(*words, environ=environ)
    assert done.code == code, done.stderr
    return done


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_and_its_archives_have_one_signature(envbundle: Command, bundle: Path, key: Path) -> None:
    before = content(bundle)
    told = run(envbundle, "sign", "myenv", "--key", "key", "--counter", "17", "--json").json()
    assert told["ok"] is True
    assert (told["name"], told["counter"]) == ("myenv", 17)
    assert sorted(path.name for path in Path(told["signatures"]).iterdir()) == told["files"]
    assert content(bundle) == before, "the bundle stays what it is"
    (bundle.parent / "signers").write_text(f"me {key.with_name('key.pub').read_text()}")
    wanted = ["--allowed-signers", "signers", "--name", "myenv", "--not-older-than", "17"]
    assert "signature" in run(envbundle, "verify", "myenv", "--no-imports", *wanted).stdout
    run(envbundle, "pack", "myenv", "--format", "tar.zst,zip,squashfs")
    for name in ("myenv.tar.zst", "myenv.zip", "myenv.squashfs"):
        assert (
            run(envbundle, "verify", name, "--no-imports", *wanted, "--json").json()["checked"][0]
            == "signature"
        )
    refused = run(envbundle, "verify", "myenv.zip", "--no-imports", *wanted[:-1], "18", "--json", code=1)
    assert [one["code"] for one in refused.json()["findings"]] == ["EB614"]
    # A verifier that stands elsewhere is told where the signatures are.
    Path(told["signatures"]).rename(bundle.parent / "elsewhere")
    assert "EB611" in run(envbundle, "verify", "myenv", "--no-imports", *wanted, code=1).stderr
    run(envbundle, "verify", "myenv", "--no-imports", *wanted, "--signatures", "elsewhere")


@pytest.mark.thorough
def test_an_archive_is_signed_as_its_folder_is(envbundle: Command, bundle: Path, key: Path) -> None:
    run(envbundle, "pack", "myenv", "--format", "tar.gz")
    shutil.rmtree(bundle)
    run(envbundle, "sign", "myenv.tar.gz", "--key", "key", "--name", "scoring")
    statement = json.loads((bundle.parent / "myenv.signatures" / "statement.json").read_text())
    assert statement["subject"][0]["name"] == "scoring/manifest.json"
    public = key.with_name("key.pub").read_text()
    run(envbundle, "verify", "myenv.tar.gz", "--no-imports", "--key", public, "--name", "scoring")


@pytest.mark.thorough
def test_an_agents_key_signs_without_envelopes(
    envbundle: Command, bundle: Path, tmp_path: Path, agent: dict[str, str]
) -> None:
    del bundle
    subprocess.run(["ssh-add", "-q", new_key(tmp_path / "agents")], env=agent, check=True)
    (tmp_path / "agents").unlink()
    done = run(envbundle, "sign", "myenv", "--key", "agents.pub", SSH_AUTH_SOCK=agent["SSH_AUTH_SOCK"])
    assert "DSSE" in done.stderr
    assert not list((tmp_path / "myenv.signatures").glob("*.sigstore.json"))
    public = (tmp_path / "agents.pub").read_text()
    run(envbundle, "verify", "myenv", "--no-imports", "--key", public, "--not-older-than", "2020-01-01")


def test_the_envelope_is_what_cosign_reads(envbundle: Command, bundle: Path, key: Path) -> None:
    del key
    run(envbundle, "sign", "myenv", "--key", "key")
    for name, kind in (
        ("provenance", "https://slsa.dev/provenance/v1"),
        ("test-result", "https://in-toto.io/attestation/test-result/v0.1"),
    ):
        document = json.loads((bundle.parent / "myenv.signatures" / f"{name}.sigstore.json").read_text())
        assert document["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
        statement = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
        assert statement["predicateType"] == kind


@pytest.mark.thorough
def test_keys_that_cannot_sign(envbundle: Command, bundle: Path, key: Path, tmp_path: Path) -> None:
    new_key(tmp_path / "locked", "secret")
    new_key(tmp_path / "other")
    shutil.copy(tmp_path / "other.pub", key.with_name("key.pub"))
    (tmp_path / "alone").write_bytes(key.read_bytes())
    wrong = {
        "locked": "passphrase",
        "key": "doesn't match private key",
        "nowhere": "No such file",
        "alone": "ssh-keygen -y",
        "other.pub": "No private key found",
    }
    (tmp_path / "other").unlink()
    for name, says in wrong.items():
        done = run(envbundle, "sign", "myenv", "--key", name, code=2)
        assert says in done.stderr
        assert not (tmp_path / "myenv.signatures").exists()
    assert not list(tmp_path.glob(".*envbundle*"))
    assert bundle.is_dir()


@pytest.mark.thorough
def test_nothing_but_signatures_is_replaced(
    envbundle: Command, bundle: Path, key: Path, tmp_path: Path
) -> None:
    del bundle, key
    run(envbundle, "sign", "myenv", "--key", "key", "--counter", "1")
    run(envbundle, "sign", "myenv", "--key", "key", "--counter", "2")
    assert b'"counter": 2' in (tmp_path / "myenv.signatures" / "statement.json").read_bytes()
    (tmp_path / "myenv.signatures" / "thesis.txt").write_text("mine")
    done = run(envbundle, "sign", "myenv", "--key", "key", code=2)
    assert "thesis.txt is no signature" in done.stderr
    assert (tmp_path / "myenv.signatures" / "thesis.txt").read_text() == "mine"
    assert "not a bundle" in run(envbundle, "sign", "key", "--key", "key", code=2).stderr


@pytest.mark.thorough
def test_create_and_pack_sign_what_they_make(
    envbundle: Command, wheels: Path, key: Path, tmp_path: Path
) -> None:
    make_wheel(wheels, "alpha")
    words = ["create", "alpha==1.0", "--python", "3.8", *envbundle.offline(wheels), "--json"]
    refused = run(envbundle, *words, "-o", "out", "--sign", "nowhere", code=2)
    assert "nowhere" in refused.stdout
    assert not (tmp_path / "out").exists(), "the key is tried before the work begins"
    signed = run(envbundle, *words, "-o", "out", "--sign", "key").json()["signed"]
    assert (signed["name"], signed["signatures"]) == ("out", str(tmp_path / "out.signatures"))
    packed = run(envbundle, "pack", "out", "--format", "zip", "-o", "it", "--sign", "key", "--json")
    assert packed.json()["signed"]["name"] == "it"
    public = key.with_name("key.pub").read_text()
    run(envbundle, "verify", "out", "--no-imports", "--key", public, "--name", "out")
    run(envbundle, "verify", "it.zip", "--no-imports", "--key", public, "--name", "it")
    run(envbundle, *words, "-o", "only", "--format", "zip", "--sign", "key")
    run(envbundle, "verify", "only.zip", "--no-imports", "--key", public, "--name", "only")
