"""Signatures beside a bundle: what ssh-keygen and we have made holds, and every forgery is told by name."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from bundler.bundle import manifest, signing
from bundler.ontarget import signatures
from bundler.ontarget.public_keys import BadKeyError
from bundler.ontarget.signatures import parse_revoked, parse_signers, read_rules

from tests.ontarget.test_verify import run_verify
from tests.support.bundlemaker import make_bundle
from tests.support.machine import need
from tests.support.wheelmaker import make_wheel

DAY = datetime(2026, 11, 21, 3, tzinfo=timezone.utc)


class Site:
    """A bundle with its signatures, and the keys of whoever signs."""

    def __init__(self, folder: Path, keys: Path, *, code: str = "") -> None:
        self.folder = folder
        self.keys = keys
        folder.mkdir(exist_ok=True)
        wheel = make_wheel(folder, "alpha", files={"alpha/__init__.py": code})
        self.bundle = make_bundle(folder / "scoring", wheel, minor="3.8", modules=["alpha"])
        self.signatures = folder / "scoring.signatures"
        self.signers = folder / "signers"
        self.sign()
        self.allow('namespaces="envbundle"')

    def public(self, name: str = "ed25519") -> str:
        return " ".join((self.keys / f"{name}.pub").read_text().split()[:2])

    def allow(self, options: str = "", name: str = "ed25519") -> None:
        self.signers.write_text(f"# who may sign\nrelease@x {options} {self.public(name)} comment\n")

    def sign(self, *, key: str = "ed25519", name: str = "scoring", counter: int = 17) -> None:
        request = signing.SigningRequest(
            manifest=(self.bundle / manifest.NAME).read_bytes(), name=name, key=self.keys / key,
            signed_on=DAY, counter=counter, environ=os.environ,
        )  # fmt: skip
        signing.sign(request, self.signatures)

    def keep(self, *names: str) -> None:
        """Leave of the signatures these alone."""
        for path in self.signatures.iterdir():
            if path.name not in names:
                path.unlink()


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name, words in {
        "ed25519": ["-t", "ed25519"],
        "p256": ["-t", "ecdsa", "-b", "256"],
        "rsa": ["-t", "rsa", "-b", "2048"],
        "stranger": ["-t", "ed25519"],
    }.items():
        need("ssh-keygen")
        subprocess.run(["ssh-keygen", "-q", *words, "-N", "", "-f", folder / name], check=True)
    return folder


@pytest.fixture
def site(tmp_path: Path, keys: Path) -> Site:
    return Site(tmp_path, keys)


def verdict(python: Path, site: Site, *words: str | Path) -> tuple[int, Any]:
    script = site.folder / "verify.py"
    shutil.copy(site.bundle / "verify.py", script)
    done = run_verify(python, script, "--json", "--no-imports", *words, site.bundle)
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("key", ["ed25519", "p256", "rsa"])
def test_what_we_sign_is_believed(site: Site, target_python: Path, key: str) -> None:
    site.sign(key=key)
    site.allow(name=key)
    wanted = ["--name", "scoring", "--not-older-than", "17"]
    code, said = verdict(target_python, site, "--allowed-signers", site.signers, *wanted)
    assert (code, said["findings"]) == (0, [])
    assert said["checked"][0] == "signature"
    for kept in ("statement.json.sig", "provenance.sigstore.json"):
        site.sign(key=key)
        site.keep(kept, "statement.json")
        assert verdict(target_python, site, "--key", site.public(key), *wanted)[0] == 0


def test_what_ssh_keygen_signs_is_believed_and_the_other_way_round(site: Site, python38: Path) -> None:
    site.allow()
    with (site.bundle / "manifest.json").open("rb") as stream:
        words: list[str | Path] = [
            "ssh-keygen",
            "-Y",
            "verify",
            "-f",
            site.signers,
            "-I",
            "release@x",
            "-n",
            "envbundle",
        ]
        words += ["-s", site.signatures / "manifest.json.sig"]
        assert subprocess.run(words, stdin=stream, check=False, capture_output=True).returncode == 0
    site.keep()
    copy = site.signatures / "manifest.json"
    shutil.copy(site.bundle / "manifest.json", copy)
    sign: list[str | Path] = [
        "ssh-keygen",
        "-q",
        "-Y",
        "sign",
        "-f",
        site.keys / "ed25519",
        "-n",
        "envbundle",
        copy,
    ]
    subprocess.run(sign, check=True)
    copy.unlink()
    assert verdict(python38, site, "--allowed-signers", site.signers)[0] == 0
    # It does not say a name or a time, so it proves none.
    code, said = verdict(python38, site, "--allowed-signers", site.signers, "--not-older-than", "1")
    assert (code, [one["code"] for one in said["findings"]]) == (1, ["EB613"])


def test_nobody_asks_nothing_is_looked_at(site: Site, python38: Path) -> None:
    shutil.rmtree(site.signatures)
    code, said = verdict(python38, site)
    assert (code, said["checked"]) == (0, ["files", "target"])


def edit(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


def change_envelope(site: Site, change: Callable[[dict[str, Any]], object]) -> None:
    path = site.signatures / "provenance.sigstore.json"
    site.keep(path.name)
    document = json.loads(path.read_text())
    change(document["dsseEnvelope"])
    path.write_text(json.dumps(document))


def another_payload(envelope: dict[str, Any]) -> None:
    payload = base64.b64decode(envelope["payload"]).replace(b'"counter": 17', b'"counter": 99')
    envelope["payload"] = base64.b64encode(payload).decode()


def edit_statement(site: Site) -> None:
    site.keep("statement.json", "statement.json.sig")
    edit(site.signatures / "statement.json", b'"counter": 17', b'"counter": 99')


def sign_by_hand(site: Site, namespace: str) -> None:
    site.keep()
    shutil.copy(site.bundle / "manifest.json", site.signatures / "manifest.json")
    words: list[str | Path] = ["ssh-keygen", "-q", "-Y", "sign", "-f", site.keys / "ed25519", "-n", namespace]
    subprocess.run([*words, site.signatures / "manifest.json"], check=True)
    (site.signatures / "manifest.json").unlink()


def swap_with_another_bundle(site: Site) -> None:
    other = Site(site.folder / "elsewhere", site.keys, code="VALUE = 1")
    shutil.rmtree(site.signatures)
    other.signatures.rename(site.signatures)


def replace_by_pipe(site: Site) -> None:
    site.keep()
    os.mkfifo(site.signatures / "manifest.json.sig")


def replace_by_link(site: Site) -> None:
    (site.signatures / "manifest.json.sig").rename(site.folder / "elsewhere")
    site.keep()
    (site.signatures / "manifest.json.sig").symlink_to(site.folder / "elsewhere")


def fill(site: Site, data: bytes) -> None:
    site.keep("manifest.json.sig")
    (site.signatures / "manifest.json.sig").write_bytes(data)


FORGERIES: dict[str, tuple[Callable[[Site], object], list[str], str]] = {
    "no signatures": (lambda site: shutil.rmtree(site.signatures), [], "EB611"),
    "an empty folder": (lambda site: site.keep(), [], "EB611"),
    "an edited manifest": (
        lambda site: edit(site.bundle / "manifest.json", b"a test", b"b test"), [], "EB611"),
    "the signatures of another bundle": (swap_with_another_bundle, [], "EB611"),
    "another key": (lambda site: site.sign(key="stranger"), [], "EB612"),
    "the key allowed for something else": (lambda site: site.allow('namespaces="git,file"'), [], "EB612"),
    "the key excluded by a pattern": (lambda site: site.allow('namespaces="*,!envbundle"'), [], "EB612"),
    "signed for another namespace": (lambda site: sign_by_hand(site, "git"), [], "EB612"),
    "an expired key": (lambda site: site.allow('valid-before="20200101"'), [], "EB612"),
    "a key of the future": (lambda site: site.allow('valid-after="20990101Z"'), [], "EB612"),
    "a revoked key": (lambda _: None, ["--revoked", "{keys}/ed25519.pub"], "EB612"),
    "an authority's line": (lambda site: site.allow("cert-authority"), [], "EB612"),
    "another name": (lambda _: None, ["--name", "batch"], "EB613"),
    "signed with another name": (lambda site: site.sign(name="batch"), ["--name", "scoring"], "EB613"),
    "no name, where one is asked for": (
        lambda site: site.keep("manifest.json.sig"), ["--name", "scoring"], "EB613"),
    "an older counter": (lambda _: None, ["--not-older-than", "18"], "EB614"),
    "an older day": (lambda _: None, ["--not-older-than", "2026-11-22"], "EB614"),
    "an older time": (lambda _: None, ["--not-older-than", "2026-11-21T03:00:01Z"], "EB614"),
    "an edited statement": (
        edit_statement, ["--not-older-than", "18"], "EB611"),
    "a statement that is gone": (lambda site: site.keep("statement.json.sig"), [], "EB611"),
    "an edited payload": (lambda site: change_envelope(site, another_payload), [], "EB612"),
    "another type of payload": (
        lambda site: change_envelope(site, lambda one: one.update(payloadType="text/plain")), [], "EB611"),
    "an envelope without signatures": (
        lambda site: change_envelope(site, lambda one: one.update(signatures=[])), [], "EB612"),
    "an envelope that is none": (
        lambda site: change_envelope(site, lambda one: one.update(payload=3)), [], "EB611"),
    "a signature cut off": (lambda site: fill(site, b"-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAQ==\n"
                                              b"-----END SSH SIGNATURE-----\n"), [], "EB611"),
    "a signature without armour": (lambda site: fill(site, b"\0" * 100), [], "EB611"),
    "a signature of 5 MB": (lambda site: fill(site, b"A" * (5 << 20)), [], "EB611"),
    "a pipe": (replace_by_pipe, [], "EB611"),
    "a link": (replace_by_link, [], "EB611"),
}  # fmt: skip


@pytest.mark.parametrize("case", FORGERIES)
def test_forgeries(site: Site, python37: Path, case: str) -> None:
    forge, words, code = FORGERIES[case]
    forge(site)
    words = [word.format(keys=site.keys) for word in words]
    exit_code, said = verdict(python37, site, "--allowed-signers", site.signers, *words)
    found = [one["code"] for one in said["findings"]]
    assert exit_code == 1, said
    assert found[0] == code, said
    assert set(found) <= {code, "EB611", "EB512", "EB515"}


def test_one_signature_that_holds_is_enough(site: Site, python38: Path) -> None:
    """Others may sign as well, and a bundle can be moved with signatures that nobody here knows."""
    site.sign(key="stranger")
    (site.signatures / "manifest.json.sig").rename(site.folder / "theirs")
    site.sign()
    (site.signatures / "manifest.json.sig").unlink()
    (site.folder / "theirs").rename(site.signatures / "manifest.json.sig")
    assert verdict(python38, site, "--allowed-signers", site.signers)[0] == 0


def test_nothing_is_imported_that_is_not_signed(site: Site, python38: Path) -> None:
    (site.bundle / "lib/python3.8/site-packages/alpha/__init__.py").write_text("print('imported')\n1/0\n")
    done = run_verify(python38, site.bundle / "verify.py", "--json", "--key", site.public("stranger"))
    said = json.loads(done.stdout)
    assert "imports" not in said["checked"]
    assert [one["code"] for one in said["findings"] if one["code"] == "EB201"] == []


WRONG_RULES: dict[str, list[str]] = {
    "nobody may sign": ["--name", "x"],
    "no key": ["--key", "x"],
    "no file": ["--allowed-signers", "/nowhere"],
    "no time": ["--key", "{public}", "--not-older-than", "yesterday"],
    "no signers": ["--allowed-signers", "{manifest}"],
    "no revoked keys": ["--key", "{public}", "--revoked", "{manifest}"],
}


@pytest.mark.parametrize("case", WRONG_RULES)
def test_wrong_rules_are_the_callers_fault(site: Site, python38: Path, case: str) -> None:
    known = {"public": site.public(), "manifest": site.bundle / "manifest.json"}
    code, said = verdict(python38, site, *(word.format(**known) for word in WRONG_RULES[case]))
    assert code == 2
    assert said["error"]["message"]


LINES = {
    "a,b@x ssh-ed25519 KEY": [{}],
    '"a b" namespaces="x y,envbundle",valid-before="20300101" ssh-ed25519 KEY note': [
        {"namespaces": "x y,envbundle", "valid-before": "20300101"}
    ],
    "\n# comment\n\n* ssh-ed25519 KEY\n* valid-after=20200101 ssh-ed25519 KEY": [
        {}, {"valid-after": "20200101"},
    ],
    "* cert-authority ssh-ed25519 KEY": [],
}  # fmt: skip


@pytest.mark.parametrize("text", LINES)
def test_allowed_signers(keys: Path, text: str) -> None:
    key = (keys / "ed25519.pub").read_text().split()[1]
    assert [one.options for one in parse_signers(text.replace("KEY", key))] == LINES[text]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("* ssh-ed25519", "line 1: it reads"),
        ("\n* unknown=3 ssh-ed25519 KEY", "line 2: the option 'unknown'"),
        ("* valid-before=soon ssh-ed25519 KEY", "no time"),
        ("* ssh-ed25519 AAAA", "line 1"),
    ],
)
def test_lines_that_allow_nobody(keys: Path, text: str, says: str) -> None:
    key = (keys / "ed25519.pub").read_text().split()[1]
    with pytest.raises(BadKeyError, match=says):
        parse_signers(text.replace("KEY", key))


def test_revoked_and_rules(keys: Path) -> None:
    text = (keys / "ed25519.pub").read_text()
    assert len(parse_revoked(f"# theirs\n{text}\n{text}")) == 1
    assert read_rules([], [], [], "", "") is None
    assert signatures.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    ), "the example of the DSSE specification"
