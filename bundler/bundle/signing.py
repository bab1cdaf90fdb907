"""Signs a bundle's manifest: by SSH, and as in-toto statements in DSSE envelopes that cosign reads.

The signatures stand in a folder beside the bundle (`ontarget/signatures`, which checks them, says which): the
bytes of the bundle stay what they are, whoever signs it and whenever.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from bundler.bundle import manifest as manifests
from bundler.bundle.manifest import Manifest
from bundler.errors import CommandError, InputError, MachineError
from bundler.lazy_dataclass import dataclass
from bundler.ontarget import signatures
from bundler.ontarget.public_keys import BadKeyError, PublicKey, parse_key
from bundler.system import files, process, workspace

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
BUILD_TYPE = "urn:envbundle:create:v1"
BUILDER = "urn:envbundle:builder"
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SECONDS = 120
"""How long ssh-keygen may take: somebody may have to touch a key."""


@dataclass(frozen=True, kw_only=True)
class SigningRequest:
    """What is to be signed, by whom."""

    manifest: bytes
    name: str
    """By which the bundle is asked for where it is verified."""
    key: Path
    """A private key as ssh-keygen makes it, or the public half of one that an agent or a token holds."""
    signed_on: datetime
    counter: int
    """Grows from build to build: a verifier can refuse an older one."""
    environ: Mapping[str, str]
    """The caller's: it names the agent."""


@dataclass(frozen=True, kw_only=True)
class Signatures:
    """What was written."""

    folder: Path
    files: tuple[str, ...]
    name: str
    fingerprint: str
    counter: int
    signed_on: str
    """UTC."""
    envelopes: bool
    """Whether there are DSSE envelopes too: they need a key in a file."""

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        return {
            "signatures": str(self.folder),
            "files": list(self.files),
            "name": self.name,
            "fingerprint": self.fingerprint,
            "counter": self.counter,
            "signed_on": self.signed_on,
        }

    def rows(self) -> list[tuple[str, str]]:
        """Return it for people."""
        return [
            ("signatures", str(self.folder)),
            ("signed as", f"{self.name}, number {self.counter}, at {self.signed_on}"),
            ("signed by", self.fingerprint),
        ]


def sign(request: SigningRequest, folder: Path) -> Signatures:
    """Write the signatures of a manifest to a folder, which appears whole or not at all.

    :param folder: replaced where it is there and holds nothing but signatures.
    :raises InputError: the key cannot be used, or the folder holds something else.
    :raises MachineError: there is no ssh-keygen, or it does not end.
    """
    _require_replaceable(folder)
    described = manifests.parse(request.manifest, source=manifests.NAME)
    public = _public_half(request.key)
    when = request.signed_on.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    provenance = _statement(request, PROVENANCE, _provenance(request, described, when))
    tested = _statement(request, TEST_RESULT, _test_result(described))
    with workspace.claim(folder) as work:
        written = {signatures.STATEMENT: provenance}
        for name, message in ((manifests.NAME, request.manifest), (signatures.STATEMENT, provenance)):
            written[f"{name}.sig"] = _ssh_signature(
                request.key, message, work.scratch / name, request.environ
            )
        private = _private_key(request.key)
        if private is not None:
            for name, statement in (("provenance", provenance), ("test-result", tested)):
                written[name + signatures.DSSE_ENDING] = _envelope(private, statement)
        staged = work.bundle
        for name, data in written.items():
            (staged / name).write_bytes(data)
        _check_own(request, public, staged)
        for name in written:
            files.sync(staged / name)
        files.place(staged, folder)
    return Signatures(
        folder=folder,
        files=tuple(sorted(written)),
        name=request.name,
        fingerprint=public.fingerprint(),
        counter=request.counter,
        signed_on=when,
        envelopes=private is not None,
    )


def require_key(key: Path, *, scratch: Path, environ: Mapping[str, str]) -> None:
    """Require that a key can sign, before the work on what it is to sign begins.

    :param scratch: a private folder.
    :raises InputError: it cannot be used.
    :raises MachineError: there is no ssh-keygen, or it does not end.
    """
    _public_half(key)
    _ssh_signature(key, b"", scratch / "empty", environ)


def is_signed(manifest: bytes, folder: Path, *, name: str, key: Path) -> bool:
    """Tell whether a folder has a signature of a manifest by a key, under a name.

    :raises InputError: the public half of the key cannot be read.
    """
    rules = signatures.Rules([signatures.Signer(_public_half(key), {})], set(), name, "")
    return not signatures.check_signatures(manifest, str(folder), rules)


def _require_replaceable(folder: Path) -> None:
    """Replace no folder that holds anything else than signatures."""
    if not os.path.lexists(folder):
        return
    known = (signatures.STATEMENT, signatures.STATEMENT_SIGNATURE, signatures.MANIFEST_SIGNATURE)
    if folder.is_symlink() or not folder.is_dir():
        raise InputError(f"{folder} is there and is no folder of signatures", hint="move it away")
    for path in folder.iterdir():
        if path.name not in known and not path.name.endswith(signatures.DSSE_ENDING):
            raise InputError(f"{path} is no signature, and would be lost", hint="move it away")


def _public_half(key: Path) -> PublicKey:
    path = key if key.suffix == ".pub" else key.with_name(f"{key.name}.pub")
    try:
        return parse_key(signatures.read_file(str(path), 0).decode("utf-8", "replace"))
    except BadKeyError as error:
        hint = f"`ssh-keygen -y -f {key} > {path}` makes the public half" if path != key else None
        raise InputError(f"{path}: {error}", hint=hint) from error


def _ssh_signature(key: Path, message: bytes, path: Path, caller: Mapping[str, str]) -> bytes:
    """Have ssh-keygen sign: it knows files, agents and tokens."""
    path.write_bytes(message)
    names = ("PATH", "HOME", "SSH_AUTH_SOCK", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "DISPLAY")
    environ = {name: caller[name] for name in names if name in caller}
    words = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", signatures.NAMESPACE, str(path)]
    try:
        process.run(words, env=environ, timeout=SECONDS)
    except CommandError as error:
        said = error.stderr.strip().splitlines()
        if error.returncode is None:
            raise MachineError(error.message, hint="install openssh-client") from error
        raise InputError(
            f"{key} cannot sign: {said[-1] if said else 'ssh-keygen gives no reason'}",
            hint="a key with a passphrase goes into an agent (ssh-add); name its public half then",
        ) from error
    return path.with_name(f"{path.name}.sig").read_bytes()


def _private_key(key: Path) -> Any:
    """Return a private key that can sign DSSE envelopes; `None` where only ssh-keygen can use it.

    What an agent or a token holds signs in the form of SSH alone, and so does a key with a passphrase.
    """
    if key.suffix == ".pub":
        return None
    try:
        return load_ssh_private_key(signatures.read_file(str(key), 0), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm, BadKeyError):
        return None


def _envelope(private: Any, statement: bytes) -> bytes:
    """Return a Sigstore bundle v0.3 with a plain key, as `cosign verify-blob-attestation --key` reads it."""
    message = signatures.pae(signatures.PAYLOAD_TYPE, statement)
    if isinstance(private, ed25519.Ed25519PrivateKey):
        signature = private.sign(message)
    elif isinstance(private, ec.EllipticCurvePrivateKey):
        signature = private.sign(message, ec.ECDSA(hashes.SHA256()))
    else:
        signature = private.sign(message, padding.PKCS1v15(), hashes.SHA256())
    spki = private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return _render(
        {
            "mediaType": BUNDLE_TYPE,
            "verificationMaterial": {"publicKey": {"hint": _base64(hashlib.sha256(spki).digest())}},
            "dsseEnvelope": {
                "payload": _base64(statement),
                "payloadType": signatures.PAYLOAD_TYPE,
                "signatures": [{"sig": _base64(signature)}],
            },
        }
    )


def _check_own(request: SigningRequest, public: PublicKey, folder: Path) -> None:
    """Verify what was written, as the image will: the public half may be of another key."""
    rules = signatures.Rules([signatures.Signer(public, {})], set(), request.name, str(request.counter))
    for name in sorted(path.name for path in folder.iterdir() if path.name != signatures.STATEMENT):
        if wrong := signatures.refusal(request.manifest, str(folder), name, rules):
            raise InputError(f"{request.key}: {name} {wrong}", hint="its .pub file must be of the same key")


def _statement(request: SigningRequest, kind: str, predicate: dict[str, Any]) -> bytes:
    digest = hashlib.sha256(request.manifest).hexdigest()
    return _render(
        {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": f"{request.name}/{manifests.NAME}", "digest": {"sha256": digest}}],
            "predicateType": kind,
            "predicate": predicate,
        }
    )


def _provenance(request: SigningRequest, described: Manifest, when: str) -> dict[str, Any]:
    """Return the predicate of SLSA v1 (https://slsa.dev/spec/v1.0/provenance)."""
    target = described.target
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "requirements": list(described.inputs.requirements),
                "constraints": list(described.inputs.constraints),
                "python": target.python,
                "machine": target.machine,
                "glibc": target.glibc,
            },
            "internalParameters": {
                signatures.NAME_FIELD: request.name,
                signatures.COUNTER_FIELD: request.counter,
                signatures.TIME_FIELD: when,
            },
            "resolvedDependencies": [
                {
                    "name": dist.filename,
                    "uri": f"pkg:pypi/{dist.name}@{dist.version}",
                    "digest": {"sha256": dist.sha256},
                }
                for dist in described.distributions
                if dist.sha256
            ],
        },
        "runDetails": {"builder": {"id": BUILDER, "version": {"envbundle": described.tool.version}}},
    }


def _test_result(described: Manifest) -> dict[str, Any]:
    """Return the predicate of in-toto's test result v0.1 for the checks of the bundle."""
    by_outcome: dict[str, list[str]] = {"passed": [], "warned": [], "failed": []}
    for one in described.checks:
        by_outcome[one.outcome].append(one.code)
    result = "FAILED" if by_outcome["failed"] else "WARNED" if by_outcome["warned"] else "PASSED"
    return {
        "result": result,
        "configuration": [{"name": "envbundle", "annotations": {"version": described.tool.version}}],
        **{f"{outcome}Tests": codes for outcome, codes in by_outcome.items()},
    }


def _render(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
