"""Signatures beside a bundle: what ssh-keygen and we have made holds, and every forgery is told by name."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from bundler.ontarget import signatures
from bundler.ontarget.public_keys import BadKeyError
from bundler.ontarget.signatures import parse_revoked, parse_signers, read_rules

from tests.ontarget.test_verify import run_verify
from tests.support.signedmaker import Site, verdict

pytest_plugins = ["tests.support.key_fixtures"]


@pytest.fixture
def site(tmp_path: Path, keys: Path) -> Site:
    return Site(tmp_path, keys)


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


def keygen(*words: str | Path, message: Path | None = None) -> int:
    data = message.read_bytes() if message else b""
    return subprocess.run(["ssh-keygen", *words], input=data, check=False, capture_output=True).returncode


@pytest.mark.parametrize("key", ["ed25519", "p256", "rsa"])
def test_what_ssh_keygen_signs_is_believed_and_the_other_way_round(
    site: Site, python37: Path, key: str
) -> None:
    site.allow(name=key)
    site.sign(key=key)
    check = ["-Y", "verify", "-f", str(site.signers), "-I", "release@x", "-n", "envbundle", "-s"]
    document = site.bundle / "manifest.json"
    for name, message in (
        ("manifest.json", document),
        ("statement.json", site.signatures / "statement.json"),
    ):
        assert keygen(*check, site.signatures / f"{name}.sig", message=message) == 0
        assert keygen(*check, site.signatures / f"{name}.sig", message=site.signers) != 0
    site.keep()
    copy = Path(shutil.copy(document, site.signatures))
    assert keygen("-q", "-Y", "sign", "-f", site.keys / key, "-n", "envbundle", copy) == 0
    copy.unlink()
    assert verdict(python37, site, "--allowed-signers", site.signers)[0] == 0
    # It does not say a name or a time, so it proves none.
    code, said = verdict(python37, site, "--allowed-signers", site.signers, "--not-older-than", "1")
    assert (code, [one["code"] for one in said["findings"]]) == (1, ["EB613"])


def test_nobody_asks_nothing_is_looked_at(site: Site, python38: Path) -> None:
    shutil.rmtree(site.signatures)
    code, said = verdict(python38, site)
    assert (code, said["checked"]) == (0, ["files", "target"])


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
