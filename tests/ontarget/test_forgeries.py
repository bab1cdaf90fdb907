"""Forgeries of signed bundles and of deltas: the verifier of the image and that of the builder name each."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from bundler.bundle import standalone
from bundler.ontarget.checksums import manifest_digest, sums_text, tree_digest
from bundler.ontarget.public_keys import Wire, wire_string

from tests.support import machine
from tests.support.command import Command
from tests.support.signedmaker import Site

pytest_plugins = ["tests.support.key_fixtures"]

CODE = "lib/python3.8/site-packages/alpha/__init__.py"
ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the base point of Ed25519: L in RFC 8032."""


def edit(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


def describe(site: Site, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest, and all digests and checksums that an attacker can make again."""
    path = site.bundle / "manifest.json"
    manifest = json.loads(path.read_bytes())
    change(manifest)
    rows = [(row[0], row[1], row[2], row[3]) for row in manifest["files"]]
    manifest["digest"] = tree_digest(rows)
    manifest["manifest_digest"] = manifest_digest(manifest)
    path.write_text(json.dumps(manifest))
    listed = [(row[0], row[1]) for row in manifest["files"] + manifest["documents"]]
    listed.append(("manifest.json", hashlib.sha256(path.read_bytes()).hexdigest()))
    (site.bundle / "SHA256SUMS").write_text(sums_text(listed))


def put_code_in(site: Site) -> None:
    """Change a file, and the file list with it, so that every hash is right."""
    data = b"import os; os.system('id')\n"
    (site.bundle / CODE).write_bytes(data)

    def change(manifest: dict[str, Any]) -> None:
        (row,) = [one for one in manifest["files"] if one[0] == CODE]
        row[1:3] = [hashlib.sha256(data).hexdigest(), len(data)]

    describe(site, change)


def list_a_terabyte(site: Site) -> None:
    """A file without content: hashing it would take an hour."""
    os.truncate(site.bundle / CODE, 1 << 40)


def replace(site: Site, make: Callable[[Path], object], name: str = "manifest.json.sig") -> None:
    site.keep()
    make(site.signatures / name)


def sign_by_hand(site: Site, namespace: str) -> None:
    replace(site, lambda path: shutil.copy(site.bundle / "manifest.json", path.with_suffix("")))
    path = site.signatures / "manifest.json"
    words: list[str | Path] = ["ssh-keygen", "-q", "-Y", "sign", "-f", site.keys / "ed25519", "-n", namespace]
    subprocess.run([*words, path], check=True)
    path.unlink()


def swap_with_another_bundle(site: Site) -> None:
    other = Site(site.folder / "elsewhere", site.keys, code="VALUE = 1")
    shutil.rmtree(site.signatures)
    other.signatures.rename(site.signatures)


def edit_statement(site: Site) -> None:
    site.keep("statement.json", "statement.json.sig")
    edit(site.signatures / "statement.json", b'"counter": 17', b'"counter": 99')


def change_envelope(site: Site, change: Callable[[dict[str, Any]], object]) -> None:
    path = site.signatures / "provenance.sigstore.json"
    site.keep(path.name)
    document = json.loads(path.read_text())
    change(document["dsseEnvelope"])
    path.write_text(json.dumps(document))


def another_payload(envelope: dict[str, Any]) -> None:
    payload = base64.b64decode(envelope["payload"]).replace(b'"counter": 17', b'"counter": 99')
    envelope["payload"] = base64.b64encode(payload).decode()


def add_the_order(envelope: dict[str, Any]) -> None:
    envelope["signatures"][0]["sig"] = base64.b64encode(
        higher(base64.b64decode(envelope["signatures"][0]["sig"]))
    ).decode()


def higher(signature: bytes) -> bytes:
    """The same signature once more: s + L, which fits the equation as well."""
    s = int.from_bytes(signature[32:], "little") + ORDER
    return signature[:32] + s.to_bytes(32, "little")


def change_signature(
    site: Site,
    *,
    point: Callable[[bytes], bytes] = lambda data: data,
    signature: Callable[[bytes], bytes] = lambda data: data,
) -> None:
    """Change the key's point or the 64 bytes of the signature inside of `manifest.json.sig`."""
    site.keep("manifest.json.sig")
    path = site.signatures / "manifest.json.sig"
    wire = Wire(base64.b64decode("".join(path.read_text().split("\n")[1:-2])))
    head = wire.take(10)
    key, *between = (wire.string() for _ in range(4))
    blob = Wire(wire.string())
    kind, signed = blob.string(), blob.string()
    inside = Wire(key)
    key = wire_string(inside.string()) + wire_string(point(inside.string()))
    blob_data = wire_string(kind) + wire_string(signature(signed))
    data = head + b"".join(map(wire_string, [key, *between, blob_data]))
    begin, end = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
    path.write_text(f"{begin}\n{base64.b64encode(data).decode()}\n{end}\n")


def small_order(site: Site) -> None:
    """A key that fits any message, and that somebody has talked the verifier into allowing."""
    point = b"\1" + b"\0" * 31
    change_signature(site, point=lambda _: point, signature=lambda _: point + b"\0" * 32)
    key = base64.b64encode(wire_string(b"ssh-ed25519") + wire_string(point)).decode()
    site.signers.write_text(f"release@x ssh-ed25519 {key}\n")


NOT_CANONICAL = (2**255 - 18).to_bytes(32, "little")
MATCH = "does not fit: what it signs was changed"
Forgery = tuple[Callable[[Site], object], list[str], str, str]
SOUND: Forgery = (lambda _: None, [], "", "")
FORGERIES: Mapping[str, Forgery] = {
    # The bundle
    "an edited manifest": (
        lambda site: edit(site.bundle / "manifest.json", b"a test", b"b test"), [],
        "EB611", f"manifest.json.sig: {MATCH}"),
    "an edited file list": (put_code_in, [], "EB611", f"manifest.json.sig: {MATCH}"),
    "an edited file": (
        lambda site: edit(site.bundle / "verify.py", b"Verifies", b"verifies"), [],
        "EB512", "verify.py: its content differs from the manifest"),
    "a longer file": (
        lambda site: (site.bundle / CODE).write_text("import os\n"), [],
        "EB512", "__init__.py: has 10 bytes, the manifest says 0"),
    "a file more": (
        lambda site: (site.bundle / "sitecustomize.py").write_text(""), [],
        "EB513", "sitecustomize.py: is in no list of the manifest"),
    "a file less": (
        lambda site: (site.bundle / CODE).unlink(), [],
        "EB511", "__init__.py: the manifest lists this file, and it is not here"),
    "an empty folder more, which can be imported": (
        lambda site: (site.bundle / CODE).parents[1].joinpath("yaml/parts").mkdir(parents=True), [],
        "EB513", "site-packages/yaml/: is a folder without a file of the bundle"),
    "a link to a file": (
        lambda site: (site.bundle / "more").symlink_to("/etc/passwd"), [],
        "EB514", "more: is a symlink or no ordinary file"),
    "wrong digests": (
        lambda site: edit(site.bundle / "SHA256SUMS", b"0", b"1"), [],
        "EB512", "SHA256SUMS: does not fit manifest.json"),
    "a file of a terabyte": (
        list_a_terabyte, [], "EB512", "has 1099511627776 bytes, the manifest says 0"),
    "a manifest of a terabyte": (
        lambda site: os.truncate(site.bundle / "manifest.json", 1 << 40), [], "", "is larger than"),
    "a manifest of 100,000 levels": (
        lambda site: (site.bundle / "manifest.json").write_text("[" * 100_000), [], "",
        r"(is damaged|not sound JSON|levels)"),
    "a manifest cut off": (
        lambda site: os.truncate(site.bundle / "manifest.json", 900), [], "", r"(is damaged|not sound JSON)"),
    # The signatures
    "no signatures": (
        lambda site: shutil.rmtree(site.signatures), [], "EB611", "no signature of it stands in"),
    "an empty folder": (lambda site: site.keep(), [], "EB611", "no signature of it stands in"),
    "the signatures of another bundle": (
        swap_with_another_bundle, [], "EB611", f"manifest.json.sig: {MATCH}"),
    "another key": (
        lambda site: site.sign(key="stranger"), [], "EB612", "its key SHA256:.* is not among those allowed"),
    "a revoked key": (
        lambda _: None, ["--revoked", "{keys}/ed25519.pub"], "EB612", "its key SHA256:.* is revoked"),
    "an expired key": (
        lambda site: site.allow('valid-before="20200101"'), [],
        "EB612", "its key has expired: it was valid before 20200101"),
    "a key that expires on no day": (
        lambda site: site.allow('valid-before="20271399"'), [], "", "line 2: '20271399' is no time"),
    "a key that expires on no day of UTC": (
        lambda site: site.allow('valid-before="20270231Z"'), [], "", "line 2: '20270231Z' is no time"),
    "older than no day": (lambda _: None, ["--not-older-than", "2026-99-99"], "", "is no counter"),
    "older than no number": (lambda _: None, ["--not-older-than", "²"], "", "is no counter"),
    "a key of the future": (
        lambda site: site.allow('valid-after="20990101Z"'), [], "EB612", "its key is not valid before 2099"),
    "a key for other namespaces": (
        lambda site: site.allow('namespaces="git,file"'), [], "EB612", "not allowed for the namespace envb"),
    "a key excluded by a pattern": (
        lambda site: site.allow('namespaces="*,!envbundle"'), [], "EB612", "not allowed for the namespace"),
    "an authority's line": (
        lambda site: site.allow("cert-authority"), [], "EB612", "not among those allowed"),
    "another namespace": (
        lambda site: sign_by_hand(site, "git"), [], "EB612", "is made for the namespace 'git'"),
    "another name": (
        lambda _: None, ["--name", "batch"],
        "EB613", "asked for is 'batch', this one is signed as 'scoring'"),
    "signed with another name": (
        lambda site: site.sign(name="batch"), ["--name", "scoring"],
        "EB613", "asked for is 'scoring', this one is signed as 'batch'"),
    "no name, where one is asked for": (
        lambda site: site.keep("manifest.json.sig"), ["--name", "scoring"],
        "EB613", "no statement that is signed says its name"),
    "an older build": (
        lambda _: None, ["--not-older-than", "18"], "EB614", "must not be older than 18; it is number 17"),
    "an older day": (
        lambda _: None, ["--not-older-than", "2026-11-22"], "EB614", "signed at 2026-11-21T03:00:00Z"),
    "an older time": (
        lambda _: None, ["--not-older-than", "2026-11-21T03:00:01Z"], "EB614", "signed at 2026-11-21T03"),
    "an edited statement": (
        edit_statement, ["--not-older-than", "18"], "EB611", f"statement.json.sig: {MATCH}"),
    "a statement that is gone": (
        lambda site: site.keep("statement.json.sig"), [], "EB611", "it cannot be read: No such file"),
    "an edited payload": (
        lambda site: change_envelope(site, another_payload), [],
        "EB612", "is not signed by a key that is allowed, or was changed"),
    "another type of payload": (
        lambda site: change_envelope(site, lambda one: one.update(payloadType="text/plain")), [],
        "EB611", "its payload is of the type 'text/plain'"),
    "an envelope without signatures": (
        lambda site: change_envelope(site, lambda one: one.update(signatures=[])), [],
        "EB612", "is not signed by a key that is allowed"),
    "an envelope that is none": (
        lambda site: change_envelope(site, lambda one: one.update(payload=3)), [],
        "EB611", "base64 is damaged|no DSSE envelope"),
    "a signature cut off": (
        lambda site: change_signature(site, signature=lambda data: data[:-1]), [], "EB611", MATCH),
    "one cut off in its frame": (
        lambda site: replace(site, lambda path: path.write_text(
            "-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAQ==\n-----END SSH SIGNATURE-----\n")), [],
        "EB611", "is damaged: it is cut off"),
    "one without armour": (
        lambda site: replace(site, lambda path: path.write_bytes(b"\0" * 100)), [],
        "EB611", "is damaged: it is no SSH signature"),
    "one of 5 MB": (
        lambda site: replace(site, lambda path: path.write_bytes(b"A" * (5 << 20))), [],
        "EB611", "is larger than"),
    "a pipe": (lambda site: replace(site, os.mkfifo), [], "EB611", "is damaged: it cannot be read"),
    "a link to a signature": (
        lambda site: replace(site, lambda path: path.symlink_to(site.folder / "signers")), [],
        "EB611", "is damaged: it cannot be read"),
    # What only a sloppy implementation takes
    "s + L": (lambda site: change_signature(site, signature=higher), [], "EB611", MATCH),
    "s + L in an envelope": (
        lambda site: change_envelope(site, add_the_order), [], "EB612", "is not signed by a key"),
    "R that is not canonical": (
        lambda site: change_signature(site, signature=lambda data: NOT_CANONICAL + data[32:]), [],
        "EB611", MATCH),
    "a key that is not canonical": (
        lambda site: change_signature(site, point=lambda _: NOT_CANONICAL), [],
        "EB611", "a point of Ed25519 is not in its canonical form"),
    "a key that is no point": (
        lambda site: change_signature(site, point=lambda _: b"\2" + b"\0" * 31), [],
        "EB611", "its bytes are no point of Ed25519"),
    "a key of small order": (small_order, [], "EB611", "its point is of small order"),
}  # fmt: skip

# Run by the Python of the image: verify.py answers many times in one process, each time as if started anew.
DRIVER = """
import io, json, runpy, sys
verify = runpy.run_path(sys.argv[1], run_name="verify")
answers = {}
for name, words in json.load(open(sys.argv[2])).items():
    kept, sys.stdout = sys.stdout, io.TextIOWrapper(io.BytesIO())
    code = verify["main"](words)
    text, sys.stdout = sys.stdout.buffer.getvalue().decode(), kept
    answers[name] = [code, json.loads(text)]
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> dict[str, tuple[Site, list[str]]]:
    """One signed bundle, copied for each forgery; and one that nobody has touched."""
    folder = tmp_path_factory.mktemp("forged")
    sound = Site(folder / "sound", keys)
    made = {}
    for number, case in enumerate(["", *FORGERIES]):
        forge, words, _, _ = FORGERIES[case] if case else SOUND
        site = sound.copy_to(folder / str(number))
        forge(site)
        asked = ["--json", "--no-imports", "--allowed-signers", str(site.signers)]
        made[case] = (site, [*asked, *(word.format(keys=keys) for word in words), str(site.bundle)])
    return made


@pytest.fixture(scope="module", params=["3.7", "3.8"])
def in_the_image(
    sites: Mapping[str, tuple[Site, list[str]]], tmp_path_factory: pytest.TempPathFactory, request: Any
) -> dict[str, tuple[int, Any]]:
    """What verify.py says of each, by the Python of an image."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "verify.py").write_text(standalone.source(), encoding="utf-8")
    (folder / "cases").write_text(json.dumps({case: words for case, (_, words) in sites.items()}))
    words: list[str | Path] = [machine.python(request.param), "-I", "-c", DRIVER]
    done = subprocess.run([*words, folder / "verify.py", folder / "cases"], capture_output=True, check=True)
    found: dict[str, tuple[int, Any]] = json.loads(done.stdout)
    return found


def require_named(answer: tuple[int, Any], case: str) -> None:
    """Require that a forgery is refused for what it is."""
    _, _, code, cause = FORGERIES[case]
    exit_code, said = answer
    if not code:
        assert (exit_code, said["ok"]) == (2, False)
        assert re.search(cause, said["error"]["message"]), said
        return
    assert exit_code == 1, said
    found = [one for one in said["findings"] if one["severity"] == "error"]
    named = [f"{one['subject']}: {one['cause']}" for one in found if one["code"] == code]
    assert any(re.search(cause, one) for one in named), said


@pytest.mark.parametrize("case", FORGERIES)
def test_the_image_names_it(in_the_image: dict[str, tuple[int, Any]], case: str) -> None:
    require_named(in_the_image[case], case)
    found = {one["code"] for one in in_the_image[case][1].get("findings", ())}
    assert found <= {FORGERIES[case][2], "EB611", "EB512", "EB515"}, "only what follows from it"


def test_the_image_takes_what_is_sound(in_the_image: dict[str, tuple[int, Any]]) -> None:
    code, said = in_the_image[""]
    assert (code, said["findings"]) == (0, [])
    assert len(FORGERIES) >= 25


@pytest.mark.thorough
@pytest.mark.parametrize("case", ["", *FORGERIES])
def test_the_builder_names_it(
    envbundle: Command, sites: Mapping[str, tuple[Site, list[str]]], case: str
) -> None:
    words = sites[case][1]
    done = envbundle("verify", *words)
    if case:
        require_named((done.code, done.json()), case)
    else:
        assert done.code == 0, done.stdout
