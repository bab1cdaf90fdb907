"""Public keys and their signatures, against RFC 8032, ssh-keygen, and a second implementation."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundler.ontarget import public_keys
from bundler.ontarget.public_keys import BadKeyError, PublicKey, parse_key, wire_string
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from tests.support.machine import need

L = 2**252 + 27742317777372353535851937790883648493

RFC_8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]  # section 7.1


@pytest.mark.parametrize(("key", "message", "signature"), RFC_8032)
def test_vectors_of_the_rfc(key: str, message: str, signature: str) -> None:
    point, signed, made = bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature)
    assert public_keys.ed25519(point, made, signed)
    assert not public_keys.ed25519(point, made, signed + b"x")
    for place in (0, 31, 32, 63):
        changed = bytearray(made)
        changed[place] ^= 4
        assert not public_keys.ed25519(point, bytes(changed), signed)


def test_a_signature_has_one_form() -> None:
    """S and S + L fit the same equation (RFC 8032 section 8.4); only the first is taken."""
    point, made = bytes.fromhex(RFC_8032[1][0]), bytes.fromhex(RFC_8032[1][2])
    other = int.from_bytes(made[32:], "little") + L
    assert not public_keys.ed25519(point, made[:32] + other.to_bytes(32, "little"), b"\x72")
    assert not public_keys.ed25519(point, made[:63], b"\x72")
    assert not public_keys.ed25519(point, b"\xff" * 32 + made[32:], b"\x72")


SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
]


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_points_of_small_order_sign_nothing(point: str) -> None:
    with pytest.raises(BadKeyError, match="small order"):
        public_keys.ed25519(bytes.fromhex(point), b"\1" + b"\0" * 63, b"anything")


def ed25519_key(data: bytes) -> bytes:
    return wire_string(b"ssh-ed25519") + wire_string(data)


def rsa_key(exponent: bytes, modulus: bytes) -> bytes:
    return wire_string(b"ssh-rsa") + wire_string(exponent) + wire_string(modulus)


GOOD = ed25519_key(bytes.fromhex(RFC_8032[0][0]))
NO_KEYS = {
    "not canonical": (ed25519_key((2**255 - 18).to_bytes(32, "little")), "canonical"),
    "no point": (ed25519_key(b"\2" + b"\0" * 31), "no point"),
    "minus zero": (ed25519_key(b"\1" + b"\0" * 30 + b"\x80"), "no point"),
    "short": (ed25519_key(b"\1" * 31), "32 bytes"),
    "cut off": (GOOD[:-1], "cut off"),
    "longer": (GOOD + b"x", "behind its end"),
    "huge length": (b"\xff\xff\xff\xff", "cut off"),
    "of another kind": (wire_string(b"ssh-dss"), "not known"),
    "certificate": (wire_string(b"ssh-ed25519-cert-v01@openssh.com"), "not known"),
    "P-256 off its curve": (
        wire_string(b"ecdsa-sha2-nistp256") + wire_string(b"nistp256") + wire_string(b"\4" + b"\1" * 64),
        "no point of P-256",
    ),
    "P-256 compressed": (
        wire_string(b"ecdsa-sha2-nistp256") + wire_string(b"nistp256") + wire_string(b"\2" + b"\1" * 32),
        "65 bytes",
    ),
    "short RSA": (rsa_key(b"\1\0\1", b"\0" + b"\xff" * 128), "2048"),
    "endless RSA": (rsa_key(b"\1\0\1", b"\0" + b"\xff" * 4096), "16384"),
    "RSA without exponent": (rsa_key(b"\1", b"\0" + b"\xff" * 256), "exponent"),
    "negative number": (rsa_key(b"\x81", b"\0" + b"\xff" * 256), "negative"),
}


@pytest.mark.parametrize("case", NO_KEYS)
def test_no_keys(case: str) -> None:
    data, says = NO_KEYS[case]
    with pytest.raises(BadKeyError, match=says):
        PublicKey(data)


TEXTS = {
    "one word": ("ssh-ed25519", "reads"),
    "damaged base64": ("ssh-ed25519 AAAA*", "base64"),
    "says another kind": (f"ssh-rsa {base64.b64encode(GOOD).decode()}", "holds ssh-ed25519"),
    "PEM of something else": (
        "-----BEGIN PUBLIC KEY-----\n" + "A" * 44 + "\n-----END PUBLIC KEY-----\n", "must be of Ed25519",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TEXTS)
def test_texts_that_are_no_keys(case: str) -> None:
    with pytest.raises(BadKeyError, match=TEXTS[case][1]):
        parse_key(TEXTS[case][0])


def in_ssh_form(key: Any) -> PublicKey:
    form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return parse_key(key.public_key().public_bytes(*form).decode())


def sign(key: Any, message: bytes) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)  # 64 bytes, the message itself is signed
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA(hashes.SHA256()))
    signed: bytes = key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    return signed


KINDS: dict[str, Callable[[], Any]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_implementation_agrees(kind: str) -> None:
    key = KINDS[kind]()
    public = in_ssh_form(key)
    for number in range(8):
        message = hashlib.sha512(bytes([number])).digest() * number
        signature = sign(key, message)
        assert public.verify_plain(signature, message)
        assert not public.verify_plain(signature, message + b"x")
        changed = bytearray(signature)
        changed[-1 - number] ^= 1
        assert not public.verify_plain(bytes(changed), message)
    other = in_ssh_form(KINDS[kind]())
    assert not other.verify_plain(signature, message)
    if kind != "rsa":
        form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        assert parse_key(key.public_key().public_bytes(*form).decode()) == public


N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def der(*numbers: int) -> bytes:
    coded = [number.to_bytes(number.bit_length() // 8 + 1, "big") for number in numbers]
    body = b"".join(b"\2" + bytes([len(one)]) + one for one in coded)
    return b"\x30" + bytes([len(body)]) + body


@pytest.mark.parametrize("pair", [(N, 1), (1, N), (N - 1, N - 1)])
def test_p256_numbers_out_of_range(pair: tuple[int, int]) -> None:
    public = in_ssh_form(ec.generate_private_key(ec.SECP256R1()))
    assert not public.verify_plain(der(*pair), b"x")


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        b"\x30\x00",
        der(0, 1),
        der(1, 0),
        der(1),
        der(1, 2, 3),
        der(1, 2) + b"x",
        b"\x30\x81" + der(1, 2)[1:],
    ],
)
def test_p256_signatures_that_are_none(signature: bytes) -> None:
    public = in_ssh_form(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(BadKeyError):
        public.verify_plain(signature, b"x")


def test_a_token_signs_its_own_form_and_must_be_touched() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    kind = b"sk-ssh-ed25519@openssh.com"
    public = PublicKey(wire_string(kind) + wire_string(raw) + wire_string(b"ssh:"))
    for flags, holds in ((b"\1", True), (b"\5", True), (b"\0", False)):
        behind = flags + b"\0\0\0\7"
        head = hashlib.sha256(b"ssh:").digest() + behind
        signature = key.sign(head + hashlib.sha256(b"message").digest())
        blob = wire_string(kind) + wire_string(signature) + behind
        assert public.verify_ssh(blob, b"message") is holds
        assert not public.verify_ssh(blob, b"another")


def test_fingerprint_as_ssh_keygen_shows_it(tmp_path: Path) -> None:
    need("ssh-keygen")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    shown = subprocess.run(["ssh-keygen", "-l", "-f", tmp_path / "key"], check=True, capture_output=True)
    assert parse_key((tmp_path / "key.pub").read_text()).fingerprint() in shown.stdout.decode()
