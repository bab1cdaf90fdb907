"""A Sigstore instance in memory: it attests files in the name of any publisher, and has a trust root.

Certificates, timestamps of the certificate log and entries of the transparency log are whole, so that what
verifies those of the public instance verifies these.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
_CLAIMS = "1.3.6.1.4.1.57264.1."
"""Object identifier of Fulcio's extensions (https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md)."""
_TIMESTAMPS = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")


@dataclass(frozen=True)
class Sigstore:
    """An instance with keys of its own."""

    authority: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    certificates: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )
    log: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def provenance(
        self, filename: str, data: bytes, repository: str = "alpha/alpha", **publisher: str
    ) -> str:
        """A provenance object for a file, by a workflow of a repository on GitHub.

        :param publisher: what the index says of it: another repository, another kind, an environment.
        """
        said = {"kind": "GitHub", "repository": repository, "workflow": "release.yml", **publisher}
        bundle = {"publisher": said, "attestations": [self.attestation(filename, data, repository)]}
        return json.dumps({"version": 1, "attestation_bundles": [bundle]})

    def attestation(self, filename: str, data: bytes, repository: str) -> dict[str, Any]:
        """An attestation (PEP 740) that a workflow has published a file."""
        from pypi_attestations import AttestationType  # noqa: PLC0415 - it takes a second

        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._certificate(key, repository)
        statement = json.dumps(
            {
                "_type": "https://in-toto.io/Statement/v1",
                "subject": [{"name": filename, "digest": {"sha256": hashlib.sha256(data).hexdigest()}}],
                "predicateType": AttestationType.PYPI_PUBLISH_V1.value,
                "predicate": None,
            }
        ).encode()
        kind = b"application/vnd.in-toto+json"
        signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(statement), statement)
        signature = _sign(key, signed)
        return {
            "version": 1,
            "envelope": {"statement": _text(statement), "signature": _text(signature)},
            "verification_material": {
                "certificate": _text(certificate.public_bytes(serialization.Encoding.DER)),
                "transparency_entries": [self._entry(certificate, statement, signature)],
            },
        }

    def _certificate(self, key: ec.EllipticCurvePrivateKey, repository: str) -> x509.Certificate:
        workflow = f"https://github.com/{repository}/.github/workflows/release.yml@refs/tags/v1"
        claims = {
            "8": "https://token.actions.githubusercontent.com",
            "12": f"https://github.com/{repository}",
            "13": "0" * 40,
            "14": "refs/tags/v1",
            "18": workflow,
        }
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(_NAME)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(minutes=1))
            .not_valid_after(NOW + timedelta(minutes=9))
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.authority.public_key()),
                critical=False,
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(workflow)]), critical=True
            )
        )
        for number, value in claims.items():
            identifier = x509.ObjectIdentifier(f"{_CLAIMS}{number}")
            builder = builder.add_extension(
                x509.UnrecognizedExtension(identifier, _der(0x0C, value.encode())), critical=False
            )
        unlogged = builder.sign(self.authority, hashes.SHA256())
        stamped = x509.UnrecognizedExtension(_TIMESTAMPS, self._timestamp(unlogged.tbs_certificate_bytes))
        return builder.add_extension(stamped, critical=False).sign(self.authority, hashes.SHA256())

    def _timestamp(self, certificate: bytes) -> bytes:
        """The list with the one timestamp of the certificate log (RFC 6962, 3.2 and 3.3)."""
        moment = int(NOW.timestamp() * 1000)
        entry = _key_id(self.authority) + len(certificate).to_bytes(3, "big") + certificate
        signature = _sign(self.certificates, struct.pack("!BBQH", 0, 0, moment, 1) + entry + b"\0\0")
        stamp = b"\0" + _key_id(self.certificates) + struct.pack("!Q", moment) + b"\0\0"
        stamp += b"\x04\x03" + len(signature).to_bytes(2, "big") + signature
        listed = len(stamp).to_bytes(2, "big") + stamp
        return _der(0x04, len(listed).to_bytes(2, "big") + listed)

    def _entry(self, certificate: x509.Certificate, statement: bytes, signature: bytes) -> dict[str, Any]:
        """The entry of a transparency log that has nothing else in it."""
        signer = _text(certificate.public_bytes(serialization.Encoding.PEM))
        digest = {"algorithm": "sha256", "value": hashlib.sha256(statement).hexdigest()}
        body = _canonical(
            {
                "apiVersion": "0.0.1",
                "kind": "dsse",
                "spec": {
                    "envelopeHash": digest,
                    "payloadHash": digest,
                    "signatures": [{"signature": _text(signature), "verifier": signer}],
                },
            }
        )
        root = hashlib.sha256(b"\0" + body).digest()
        moment, log = int(NOW.timestamp()), _key_id(self.log)
        note = f"log.example - 1\n1\n{_text(root)}\n"
        mark = _text(log[:4] + _sign(self.log, note.encode()))
        promised = {"body": _text(body), "integratedTime": moment, "logID": log.hex(), "logIndex": 0}
        return {
            "canonicalizedBody": _text(body),
            "integratedTime": str(moment),
            "logId": {"keyId": _text(log)},
            "logIndex": "0",
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "inclusionPromise": {"signedEntryTimestamp": _text(_sign(self.log, _canonical(promised)))},
            "inclusionProof": {
                "checkpoint": {"envelope": f"{note}\n\u2014 log.example {mark}\n"},
                "hashes": [],
                "logIndex": "0",
                "rootHash": _text(root),
                "treeSize": "1",
            },
        }

    def trusted_root(self) -> str:
        """The content of its `trusted_root.json`."""
        start = {"start": "2020-01-01T00:00:00Z"}
        root = (
            x509.CertificateBuilder()
            .subject_name(_NAME)
            .issuer_name(_NAME)
            .public_key(self.authority.public_key())
            .serial_number(1)
            .not_valid_before(NOW - timedelta(days=900))
            .not_valid_after(NOW + timedelta(days=9000))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.authority.public_key()), critical=False
            )
            .sign(self.authority, hashes.SHA256())
        )
        logs = {
            name: [
                {
                    "baseUrl": "https://log.example",
                    "hashAlgorithm": "SHA2_256",
                    "publicKey": {
                        "rawBytes": _text(_public(key)),
                        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                        "validFor": start,
                    },
                    "logId": {"keyId": _text(_key_id(key))},
                }
            ]
            for name, key in {"tlogs": self.log, "ctlogs": self.certificates}.items()
        }
        authority = {
            "subject": {"organization": "example", "commonName": "example"},
            "uri": "https://authority.example",
            "certChain": {
                "certificates": [{"rawBytes": _text(root.public_bytes(serialization.Encoding.DER))}]
            },
            "validFor": start,
        }
        kind = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
        return json.dumps({"mediaType": kind, **logs, "certificateAuthorities": [authority]})


_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "example")])


def _usage(*, signs: bool) -> x509.KeyUsage:
    names = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")
    others = dict.fromkeys((*names, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=signs, key_cert_sign=not signs, **others)


def _sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def _public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _key_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(_public(key)).digest()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + content
