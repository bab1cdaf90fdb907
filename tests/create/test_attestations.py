"""Attestations of real releases, verified against the trust root that sigstore ships, and changed ones.

Those in `tests/real/attestations` are from the source distribution of pypi-attestations 0.0.27
(`test/assets`, Apache-2.0); of GitLab's only the attestation is, and the object around it is ours.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bundler.bundle import identities
from bundler.create.attestations import Attestations
from bundler.errors import InputError

from tests.support.attestationmaker import Sigstore

if TYPE_CHECKING:
    from bundler.checks.rules.publishers import Attested

pytestmark = pytest.mark.thorough  # the libraries take a second to import
REAL = Path(__file__).parents[1] / "real/attestations"
GITHUB = "pypi_attestations-0.0.19.tar.gz"
GITLAB = "gitlab_oidc_project-0.0.3.tar.gz"
SHA256 = {
    GITHUB: "9bb1add04b1b4e182be6b0b80931593f7a291eb49d69b4fd728a5d4cbcdc4bd3",
    GITLAB: "c1ca9b0d85df1606451098233018534497bf584362e10e4a8c21dfaea92c02a8",
}
SOUND = {
    GITHUB: "GitHub:trailofbits/pypi-attestations@release.yml",
    GITLAB: "GitLab:facutuesca/gitlab-oidc-project@.gitlab-ci.yml",
}


def real(filename: str) -> bytes:
    return (REAL / f"{filename}.provenance").read_bytes()


def spelled(found: Attested) -> list[str]:
    return [identities.spelled(claims) for claims in found.identities]


@pytest.mark.parametrize("filename", SOUND)
def test_real(filename: str, tmp_path: Path) -> None:
    document = real(filename)
    found = Attestations(scratch=tmp_path).verified(document, filename=filename, sha256=SHA256[filename])
    assert spelled(found) == [SOUND[filename]]
    assert (found.document.encode(), found.problem, found.unknown) == (document, "", "")


Change = Callable[[dict[str, Any]], object]


def _publisher(**values: str) -> Change:
    return lambda bundle: bundle["publisher"].update(values)


def _material(**values: object) -> Change:
    return lambda bundle: bundle["attestations"][0]["verification_material"].update(values)


CHANGED: dict[str, tuple[Change, str]] = {
    "another repository": (_publisher(repository="evil/x"), "expected https://github.com/evil/x"),
    "another workflow": (
        _publisher(workflow="x.yml"),
        "of GitHub:trailofbits/pypi-attestations@x.yml: Certificate's Build Config",
    ),
    "another kind": (_publisher(kind="Google", email="a@b.example"), "Google:a@b.example"),
    "another signature": (
        lambda bundle: bundle["attestations"][1]["envelope"].update(signature="AAAA"),
        "invalid signature",
    ),
    "no certificate": (_material(certificate="AAAA"), "invalid X.509 certificate"),
    "no log": (_material(transparency_entries=[]), "validation error"),
    "an empty entry": (_material(transparency_entries=[{}]), "invalid transparency log entry"),
    "an attestation that is none": (lambda bundle: bundle.update(attestations=[{}]), "validation error"),
    "nothing attested": (lambda bundle: bundle.update(attestations=[]), "nothing is attested"),
    "a list in place of a publisher": (lambda bundle: bundle.update(publisher=[]), "must be an object"),
    "seventy times the same": (
        lambda bundle: bundle.update(attestations=bundle["attestations"] * 35),
        "70 attestations, which are too many",
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_changed(name: str, tmp_path: Path) -> None:
    change, words = CHANGED[name]
    document = json.loads(real(GITHUB))
    change(document["attestation_bundles"][0])
    verifier = Attestations(scratch=tmp_path)
    found = verifier.verified(json.dumps(document).encode(), filename=GITHUB, sha256=SHA256[GITHUB])
    assert words in found.problem
    assert (found.identities, found.document, verifier.known) == ((), "", {})


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"", "is not sound JSON"),
        (b"\xff", "no text"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "must be an object"),
        (b'{"version": 2, "attestation_bundles": []}', "is not 1"),
        (b'{"version": 1}', "lacks 'attestation_bundles'"),
        (b'{"version": 1, "attestation_bundles": {}}', "must be an array"),
    ],
)
def test_no_provenance(document: bytes, words: str, tmp_path: Path) -> None:
    found = Attestations(scratch=tmp_path).verified(document, filename=GITHUB, sha256=SHA256[GITHUB])
    assert words in found.problem


@pytest.mark.parametrize(
    ("filename", "sha256", "words"),
    [
        (GITHUB, "0" * 64, f"with the sha256 {SHA256[GITHUB]}, not 000"),
        (GITHUB.replace("19", "20"), SHA256[GITHUB], f"it is about '{GITHUB}'"),
        ("pypi_attestations-0.0.19-py3-none-any.whl", SHA256[GITHUB], f"it is about '{GITHUB}'"),
    ],
)
def test_another_file(filename: str, sha256: str, words: str, tmp_path: Path) -> None:
    found = Attestations(scratch=tmp_path).verified(real(GITHUB), filename=filename, sha256=sha256)
    assert words in found.problem


def test_a_kind_of_publisher_that_is_not_known_is_no_problem(tmp_path: Path) -> None:
    document = json.loads(real(GITHUB))
    document["attestation_bundles"].append({"publisher": {"kind": "Forge"}, "attestations": [{}]})
    verifier = Attestations(scratch=tmp_path)
    found = verifier.verified(json.dumps(document).encode(), filename=GITHUB, sha256=SHA256[GITHUB])
    assert spelled(found) == [SOUND[GITHUB]]
    del document["attestation_bundles"][0]
    found = verifier.verified(json.dumps(document).encode(), filename=GITHUB, sha256=SHA256[GITHUB])
    assert (found.identities, found.problem) == ((), "")
    assert "of the kind Forge" in found.unknown


def test_another_trust_root(tmp_path: Path) -> None:
    ours, other = Sigstore(), Sigstore()
    name, data = "alpha-1.0-py3-none-any.whl", b"content"
    document = ours.provenance(name, data).encode()

    def ask(root: str) -> Attested:
        verifier = Attestations(scratch=tmp_path, trusted_root=root)
        return verifier.verified(document, filename=name, sha256=hashlib.sha256(data).hexdigest())

    assert spelled(ask(ours.trusted_root())) == ["GitHub:alpha/alpha@release.yml"]
    for root in (other.trusted_root(), ""):
        assert "failed to build timestamp certificate chain" in ask(root).problem


@pytest.mark.parametrize("root", ["{}", "x", '{"mediaType": "x"}', "[]"])
def test_no_trust_root(root: str, tmp_path: Path) -> None:
    verifier = Attestations(scratch=tmp_path, trusted_root=root)
    with pytest.raises(InputError, match="the trust root is none"):
        verifier.verified(real(GITHUB), filename=GITHUB, sha256=SHA256[GITHUB])


def test_fifty_five_in_a_second(tmp_path: Path) -> None:
    ours = Sigstore()
    files = {f"p{number}-1.0-py3-none-any.whl": b"%d" % number for number in range(55)}
    documents = {name: ours.provenance(name, data).encode() for name, data in files.items()}
    verifier = Attestations(scratch=tmp_path, trusted_root=ours.trusted_root())

    def verify() -> float:
        began = time.process_time()
        for name, data in files.items():
            found = verifier.verified(documents[name], filename=name, sha256=hashlib.sha256(data).hexdigest())
            assert found.identities
        return time.process_time() - began

    verify()
    assert len(verifier.known) == 55
    verifier.known.clear()
    assert verify() < 1
    assert verify() < 0.1  # remembered
