"""Attestations that cosign made are believed, and cosign believes ours; neither asks a network."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from bundler.ontarget.signatures import check_signatures, read_rules
from cryptography.hazmat.primitives import serialization

from tests.support.machine import need_on_trial
from tests.support.signedmaker import Site, verdict

pytest_plugins = ["tests.support.key_fixtures"]

# Of cosign 3.1.1: `cosign attest-blob --key cosign.key --tlog-upload=false --use-signing-config=false
# --type slsaprovenance1 --predicate FILE --bundle BUNDLE manifest.json`, of a file with "{}" and a line end.
# Its statement is of version 0.1.
MESSAGE = b"{}\n"
KEY = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEJr++bZAx2qSPPYtAJX+LKqozfDCv
R6OoEaS6K8EbhM+0WOkFcxLkYOc3vir1T0Yq6BW/Lu0iGLupMnMMIfwmYw==
-----END PUBLIC KEY-----
"""
PAYLOAD = (
    "eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjAuMSIsInN1YmplY3QiOlt7Im5hbWUiOiJtYW5pZmVzdC5q"
    "c29uIiwiZGlnZXN0Ijp7InNoYTI1NiI6ImNhM2QxNjNiYWIwNTUzODE4MjcyMjYxNDA1NjhmM2JlZjdlYWFjMTg3Y2ViZDc2ODc4"
    "ZTBiNjNlOWU0NDIzNTYifX1dLCJwcmVkaWNhdGVUeXBlIjoiaHR0cHM6Ly9zbHNhLmRldi9wcm92ZW5hbmNlL3YxIiwicHJlZGlj"
    "YXRlIjp7ImJ1aWxkRGVmaW5pdGlvbiI6eyJidWlsZFR5cGUiOiJ1cm46eCIsImludGVybmFsUGFyYW1ldGVycyI6eyJjb3VudGVy"
    "IjoxNywibmFtZSI6InNjb3JpbmciLCJzaWduZWRPbiI6IjIwMjYtMTEtMjFUMDM6MDA6MDBaIn19LCJydW5EZXRhaWxzIjp7ImJ1"
    "aWxkZXIiOnsiaWQiOiJ1cm46eSJ9fX19"
)
SIGNATURE = "MEUCIQCGO8osnpQvKRfBqcWtbReMAohxKpvlhZEdWc4Y30mgqQIgTOR4TjrMhIjqcf1OE5GOHcD8hepVavxgjWs67gEmEGM="
THEIRS = {
    "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
    "verificationMaterial": {"publicKey": {"hint": "wSd+eW8GacHgodFulSKJgr5YAwxaeL3mdDew/2/96lU="}},
    "dsseEnvelope": {
        "payload": PAYLOAD,
        "payloadType": "application/vnd.in-toto+json",
        "signatures": [{"sig": SIGNATURE}],
    },
}


@pytest.mark.parametrize(
    ("message", "name", "not_older_than", "codes"),
    [
        (MESSAGE, "scoring", "17", []),
        (MESSAGE, "", "2026-11-21T03:00:00Z", []),
        (MESSAGE, "batch", "", ["EB613"]),
        (MESSAGE, "scoring", "18", ["EB614"]),
        (b"{ }\n", "", "", ["EB611"]),
    ],
)
def test_what_cosign_made(
    tmp_path: Path, message: bytes, name: str, not_older_than: str, codes: list[str]
) -> None:
    (tmp_path / "theirs.sigstore.json").write_text(json.dumps(THEIRS))
    rules = read_rules([KEY], [], [], name, not_older_than)
    assert rules is not None
    assert [one[0] for one in check_signatures(message, str(tmp_path), rules)] == codes


def cosign(folder: Path, *words: str | Path) -> str:
    """Run cosign; what it says where it refuses, else nothing."""
    need_on_trial("cosign")
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "COSIGN_PASSWORD": "",
        "HTTPS_PROXY": "127.0.0.1:9",
    }
    done = subprocess.run(
        ["cosign", *words], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) == (not done.stderr.startswith("error") and "\nerror" not in done.stderr)
    return "" if done.returncode == 0 else done.stderr


@pytest.mark.parametrize("key", ["ed25519", "p256", "rsa"])
def test_cosign_believes_ours(tmp_path: Path, keys: Path, key: str) -> None:
    need_on_trial("cosign")
    site = Site(tmp_path / "site", keys)
    site.sign(key=key)
    public = serialization.load_ssh_public_key((keys / f"{key}.pub").read_bytes())
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(public.public_bytes(*form))
    words = ["verify-blob-attestation", "--key", "key.pem", "--insecure-ignore-tlog=true"]
    for name, kind in (
        ("provenance", "slsaprovenance1"),
        ("test-result", "https://in-toto.io/attestation/test-result/v0.1"),
    ):
        envelope = site.signatures / f"{name}.sigstore.json"
        asked = [*words, "--bundle", str(envelope), "--type", kind]
        assert cosign(tmp_path, *asked, site.bundle / "manifest.json") == ""
        assert "do not match" in cosign(tmp_path, *asked, site.bundle / "verify.py")


def test_we_believe_cosigns(tmp_path: Path, keys: Path, target_python: Path) -> None:
    need_on_trial("cosign")
    site = Site(tmp_path / "site", keys)
    site.keep()
    assert cosign(tmp_path, "generate-key-pair") == ""
    inside = {"name": "scoring", "counter": 17, "signedOn": "2026-11-21T03:00:00Z"}
    predicate = {
        "buildDefinition": {"buildType": "urn:theirs", "internalParameters": inside},
        "runDetails": {},
    }
    (tmp_path / "predicate.json").write_text(json.dumps(predicate))
    words = ["attest-blob", "--key", "cosign.key", "--tlog-upload=false", "--use-signing-config=false", "-y"]
    words += ["--type", "slsaprovenance1", "--predicate", "predicate.json", "--bundle"]
    assert (
        cosign(tmp_path, *words, site.signatures / "theirs.sigstore.json", site.bundle / "manifest.json")
        == ""
    )
    key = (tmp_path / "cosign.pub").read_text()
    wanted = ["--key", key, "--name", "scoring", "--not-older-than"]
    assert verdict(target_python, site, *wanted, "17")[0] == 0
    code, said = verdict(target_python, site, *wanted, "18")
    assert (code, [one["code"] for one in said["findings"]]) == (1, ["EB614"])
