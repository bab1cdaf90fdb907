"""What indexes say of those who published files, and what becomes of it in locks and bundles."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from bundler.bundle import identities
from bundler.bundle.lock import parse_toml
from bundler.checks.rules import publishers
from bundler.checks.rules.publishers import PublisherRules, Publishing
from bundler.create import attestations, provenance
from bundler.errors import MachineError
from bundler.model import IndexSettings
from bundler.wheels.store import Store

from tests.support.attestationmaker import Sigstore
from tests.support.fetching import at, make_lock
from tests.support.wheelmaker import make_wheel, sha256

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bundler.model import Lock, LockedDistribution

    from tests.support.command import Command, Outcome
    from tests.support.index import Index

SCHEMA = files("bundler.bundle.manifest") / "manifest.schema.json"
NAMED = {"kind": "GitHub", "repository": "alpha/alpha", "workflow": "release.yml"}


@pytest.fixture(scope="module")
def sigstore() -> Sigstore:
    return Sigstore()


@pytest.fixture
def root(sigstore: Sigstore, tmp_path: Path) -> Path:
    path = tmp_path / "trusted_root.json"
    path.write_text(sigstore.trusted_root())
    return path


def publish(index: Index, sigstore: Sigstore, path: Path, **said: str) -> None:
    index.provenance[path.name] = sigstore.provenance(path.name, path.read_bytes(), **said)


def attest(lock: Lock, settings: IndexSettings, folder: Path, root: str = "") -> tuple[Lock, Publishing]:
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return provenance.attest(
        lock,
        PublisherRules(trusted_root=root),
        before={},
        settings=replace(settings, retries=0),
        store=Store(folder / "store"),
        scratch=scratch,
    )


NOT_OFFERED: dict[str, Callable[[LockedDistribution], LockedDistribution]] = {
    "offers no provenance for it": lambda dist: dist,
    "does not come from an index": lambda dist: replace(dist, source="url"),
    "no index that is asked lists this file with its hash": lambda dist: replace(
        dist, artifact=replace(dist.artifact, sha256="0" * 64)
    ),
}


@pytest.mark.parametrize("why", NOT_OFFERED)
@pytest.mark.parametrize("form", ["html", "json"])
def test_what_is_not_offered(why: str, form: str, wheels: Path, index: Index, tmp_path: Path) -> None:
    index.json = form == "json"
    dist = NOT_OFFERED[why](at(index, make_wheel(wheels, "alpha")))
    lock, known = attest(make_lock(dist), IndexSettings(index_url=index.url), tmp_path)
    assert why in known.attested["alpha"].unknown
    assert lock.distributions[0].identities == ()


@pytest.mark.parametrize("form", ["html", "json"])
@pytest.mark.parametrize(
    ("status", "severity"),
    [("archived", "info"), ("deprecated", "warning"), ("quarantined", "error"), ("active", ""), ("", "")],
)
def test_status(status: str, severity: str, form: str, wheels: Path, index: Index, tmp_path: Path) -> None:
    index.json, index.status = form == "json", (status, "no time" if status else "")
    lock, known = attest(
        make_lock(at(index, make_wheel(wheels, "alpha"))), IndexSettings(index_url=index.url), tmp_path
    )
    found = [(one.code, one.severity, one.cause) for one in publishers.check(lock, known)]
    cause = f"the index says that the project alpha is {status}: no time"
    assert found == ([("EB626", severity, cause)] if severity else [])


def test_no_index(wheels: Path, index: Index, tmp_path: Path) -> None:
    dist = at(index, make_wheel(wheels, "alpha"))
    known = attest(make_lock(dist), IndexSettings(no_index=True), tmp_path)[1]
    assert (known.attested["alpha"].unknown, index.requests) == ("no index is asked", [])


@pytest.mark.parametrize("broken", ["page", "object"])
def test_an_index_that_fails(broken: str, wheels: Path, index: Index, tmp_path: Path) -> None:
    path = make_wheel(wheels, "alpha")
    if broken == "page":
        index.failing = True
    else:
        index.provenance[path.name] = ""
    with pytest.raises(MachineError, match="cannot be read") as caught:
        attest(make_lock(at(index, path)), IndexSettings(index_url=index.url), tmp_path)
    assert "--provenance" in (caught.value.hint or "")


@pytest.mark.thorough
@pytest.mark.parametrize("form", ["html", "json"])
def test_verified_and_remembered(
    form: str, wheels: Path, index: Index, sigstore: Sigstore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.json, index.etags = form == "json", True
    path = make_wheel(wheels, "alpha")
    publish(index, sigstore, path)
    ours = make_lock(at(index, path))
    asked = (ours, IndexSettings(index_url=index.url), tmp_path, sigstore.trusted_root())
    lock, known = attest(*asked)
    assert lock.distributions[0].identities == identities.read([NAMED])
    assert known.attested["alpha"].document == index.provenance[path.name]
    # What is the same is neither sent nor verified again.
    monkeypatch.setattr(attestations.Attestations, "_verify", None)
    assert attest(*asked) == (lock, known)
    monkeypatch.undo()
    publish(index, sigstore, path, repository="evil/alpha")
    assert attest(*asked)[0].distributions[0].identities == identities.read(
        [{**NAMED, "repository": "evil/alpha"}]
    )


@pytest.mark.thorough
def test_a_further_index_is_asked(wheels: Path, index: Index, sigstore: Sigstore, tmp_path: Path) -> None:
    path = make_wheel(wheels, "alpha")
    publish(index, sigstore, path)
    empty = index.url.replace("/simple", "/files")
    settings = IndexSettings(index_url=empty, extra_index_urls=(index.url,))
    found = attest(make_lock(at(index, path)), settings, tmp_path, sigstore.trusted_root())[1]
    assert found.attested["alpha"].identities


def lock_it(envbundle: Command, index: Index, root: Path, *words: str | Path) -> Outcome:
    given = ("--index-url", index.url, "--find-links", envbundle.pips, "--python", "3.8")
    return envbundle("lock", "alpha", *given, "--trusted-root", root, *words)


@pytest.mark.thorough
def test_lock(envbundle: Command, wheels: Path, index: Index, sigstore: Sigstore, root: Path) -> None:
    index.json = True
    path = make_wheel(wheels, "alpha", requires=["beta"])
    make_wheel(wheels, "beta")
    publish(index, sigstore, path, environment="pypi")
    pylock = envbundle.folder / "pylock.toml"
    pinned = ("--publisher", "alpha=GitHub:alpha/alpha", "--require-provenance", "alp*")
    done = lock_it(envbundle, index, root, *pinned, "--json")
    assert done.code == 0, done.stderr
    told = done.json()["publishers"]
    assert told["known"] == {"alpha": [{**NAMED, "environment": "pypi"}]}
    assert list(told["not_known"]) == ["beta"]
    assert "offers no provenance" in told["not_known"]["beta"]
    assert "publishers of 1 of 2 files are known" in done.stderr
    alpha, beta = parse_toml(pylock.read_text(), where="")["packages"]
    assert alpha["attestation-identities"] == [{**NAMED, "environment": "pypi"}]
    assert "attestation-identities" not in beta
    before = pylock.read_text()

    def refused(code: str, *words: str | Path) -> str:
        done = lock_it(envbundle, index, root, "--provenance", *words)
        assert (done.code, pylock.read_text()) == (1, before), done.stderr
        assert f"{code} " in done.stderr
        return done.stderr

    refused("EB625", "--require-provenance", "beta")
    publish(index, sigstore, path, repository="evil/alpha")
    assert "GitHub:evil/alpha@release.yml" in refused("EB623")
    del index.provenance[path.name]
    assert "is not known" in refused("EB624", "--strict")
    done = lock_it(envbundle, index, root, "--provenance", "--ignore", "EB624:alpha=by hand", "--json")
    assert [(one["code"], one["accepted"]) for one in done.json()["findings"]] == [("EB624", "by hand")]
    assert "attestation-identities" not in pylock.read_text()


@pytest.mark.thorough
def test_without_it_nobody_is_asked(
    envbundle: Command, wheels: Path, index: Index, sigstore: Sigstore, root: Path
) -> None:
    path = make_wheel(wheels, "alpha")
    publish(index, sigstore, path)
    given = ("--index-url", index.url, "--find-links", envbundle.pips, "--python", "3.8")
    assert envbundle("lock", "alpha", *given, "--json").json()["publishers"] is None
    plain = (envbundle.folder / "pylock.toml").read_text()
    assert "attestation" not in plain
    assert not [one for one in index.requests if one.endswith("/provenance")]
    assert lock_it(envbundle, index, root, "--provenance").code == 0
    assert "attestation" in (envbundle.folder / "pylock.toml").read_text()
    # `--check` compares what was asked for.
    assert envbundle("lock", "alpha", *given, "--check").code == 0
    index.provenance.clear()
    assert lock_it(envbundle, index, root, "--provenance", "--check").code == 1


@pytest.mark.thorough
def test_bundle(
    envbundle: Command, wheels: Path, index: Index, sigstore: Sigstore, root: Path, tmp_path: Path
) -> None:
    path = make_wheel(wheels, "alpha", requires=["beta"])
    make_wheel(wheels, "beta")
    publish(index, sigstore, path)
    given = ("--index-url", index.url, "--find-links", envbundle.pips, "--python", "3.8", "--force")
    words = (*given, "--trusted-root", root, "-o", "env", "--format", "dir,tar.gz,zip")
    done = envbundle("create", "alpha", *words, "--publisher", "alpha=GitHub:alpha/alpha", "--json")
    assert done.code == 0, done.stderr
    told = done.json()["publishers"]
    assert (told["known"], list(told["not_known"])) == ({"alpha": [NAMED]}, ["beta"])
    bundle = tmp_path / "env"
    document = bundle / "attestations/alpha.provenance"
    assert document.read_text() == index.provenance[path.name]
    assert [one.name for one in document.parent.iterdir()] == [document.name]
    described = json.loads((bundle / "manifest.json").read_text())
    row = {"name": "alpha", "sha256": sha256(path), "document": "attestations/alpha.provenance"}
    assert described["attestations"] == [{**row, "identities": [NAMED]}]
    jsonschema.validate(described, json.loads(SCHEMA.read_text()))
    assert {"code": "EB622", "outcome": "passed"} in described["checks"]
    for kind in ("", ".tar.gz", ".zip"):
        done = envbundle("verify", f"env{kind}", "--no-imports", "--python", "3.8")
        assert done.code == 0, done.stdout + done.stderr
    # The bundle that would be replaced is the last lock.
    before = (bundle / "manifest.json").read_bytes()
    publish(index, sigstore, path, repository="evil/alpha")
    done = envbundle("create", "alpha", *words, "--provenance")
    assert (done.code, "EB623" in done.stderr, (bundle / "manifest.json").read_bytes()) == (1, True, before)
    document.write_text("{}")
    assert envbundle("verify", "env", "--no-imports", "--python", "3.8").code == 1


@pytest.mark.thorough
def test_rebuild(envbundle: Command, wheels: Path, index: Index, sigstore: Sigstore, root: Path) -> None:
    """A nightly: what is published by somebody else, or nobody knows by whom, replaces nothing."""
    index.json = True
    path = make_wheel(wheels, "alpha", requires=["beta"])
    make_wheel(wheels, "beta")
    publish(index, sigstore, path)
    configured = f"""\
output = "shelf"
index-url = "{index.url}"
find-links = ["{envbundle.pips}"]
[defaults]
python = "3.8"
[[bundle]]
name = "web"
requirements = "requirements.txt"
[bundle.provenance]
require = ["alpha"]
publishers = {{ alpha = "GitHub:alpha/alpha" }}
trusted-root = "{root.name}"
"""
    (envbundle.folder / "envbundle.toml").write_text(configured)
    (envbundle.folder / "requirements.txt").write_text("alpha\n")
    current = envbundle.folder / "shelf/web-py38/current"

    def rebuilt(code: int) -> dict[str, Any]:
        done = envbundle("rebuild", "--json")
        assert done.code == code, done.stderr
        row: dict[str, Any] = done.json()["bundles"][0]
        return row

    assert rebuilt(0)["state"] == "built"
    assert parse_toml((current / "pylock.toml").read_text(), where="")["packages"][0][
        "attestation-identities"
    ] == [NAMED]
    assert (current / "attestations/alpha.provenance").read_text() == index.provenance[path.name]
    assert rebuilt(0)["state"] == "unchanged"
    first = current.readlink()
    path.unlink()
    path = make_wheel(wheels, "alpha", "1.1", requires=["beta"])
    for said, expected in (({"repository": "evil/alpha"}, "EB622"), ({}, "EB625"), ({}, "")):
        index.provenance.clear()
        if expected != "EB625":
            publish(index, sigstore, path, **said)
        row = rebuilt(1 if expected else 0)
        assert (row["state"], expected in json.dumps(row)) == ("not-proved" if expected else "built", True)
        assert (current.readlink() == first) == bool(expected)
