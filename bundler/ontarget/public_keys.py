"""Verifies signatures of Ed25519, RSA and ECDSA P-256 keys with the standard library alone.

It takes public keys in the form of SSH (RFC 4253 section 6.6, RFC 5656, RFC 8709). Nothing here is secret, so
nothing needs constant time.
"""

import base64
import hashlib
import re

MYPY = False
if MYPY:
    from collections.abc import Callable  # noqa: F401 - used in type comments

    Point = tuple[int, int, int]

RSA_BITS = (2048, 16384)
"""Shorter keys prove nothing, and longer ones take seconds."""


class BadKeyError(ValueError):
    """A key or a signature that is none: damaged, non-canonical, or of a kind that is not known here."""


class Wire:
    """Reads the fields of an SSH message (RFC 4251 section 5)."""

    def __init__(self, data):
        # type: (bytes) -> None
        self.data = data

    def take(self, count):
        # type: (int) -> bytes
        """Return the next bytes."""
        if count > len(self.data):
            raise BadKeyError("it is cut off")
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def number(self):
        # type: () -> int
        """Return a uint32."""
        return int.from_bytes(self.take(4), "big")

    def string(self):
        # type: () -> bytes
        """Return a string with its length in front."""
        return self.take(self.number())

    def integer(self):
        # type: () -> int
        """Return an mpint that is not negative."""
        data = self.string()
        if data[:1] > b"\x7f" or (data[:1] == b"\0" and data[1:2] < b"\x80"):
            raise BadKeyError("it holds a number that is negative, or not in its shortest form")
        return int.from_bytes(data, "big")

    def end(self):
        # type: () -> None
        """Require that nothing is left."""
        if self.data:
            raise BadKeyError("something stands behind its end")


def wire_string(data):
    # type: (bytes) -> bytes
    """Return data as a string of an SSH message."""
    return len(data).to_bytes(4, "big") + data


class PublicKey:
    """A public key in the form of SSH."""

    def __init__(self, data):
        # type: (bytes) -> None
        self.data = data
        wire = Wire(data)
        self.kind = wire.string().decode("ascii", "replace")
        self.application = b""
        if self.kind in ("ssh-ed25519", "sk-ssh-ed25519@openssh.com"):
            self.point = wire.string()
            _ed25519_point(self.point)
            if self.kind != "ssh-ed25519":
                self.application = wire.string()
        elif self.kind == "ecdsa-sha2-nistp256":
            if wire.string() != b"nistp256":
                raise BadKeyError("its curve is not the one that it names")
            self.curve_point = _p256_point(wire.string())
        elif self.kind == "ssh-rsa":
            self.exponent, self.modulus = wire.integer(), wire.integer()
            if not RSA_BITS[0] <= self.modulus.bit_length() <= RSA_BITS[1]:
                raise BadKeyError("an RSA key must have {} to {} bits".format(*RSA_BITS))
            if not 3 <= self.exponent < 1 << 64 or self.exponent % 2 == 0:
                raise BadKeyError("its exponent is none of an RSA key")
        else:
            raise BadKeyError("keys of the kind {!r} are not known here".format(self.kind))
        wire.end()

    def __eq__(self, other):
        # type: (object) -> bool
        return isinstance(other, PublicKey) and other.data == self.data

    def __hash__(self):
        # type: () -> int
        return hash(self.data)

    def fingerprint(self):
        # type: () -> str
        """Return it as ssh-keygen -l shows it."""
        digest = hashlib.sha256(self.data).digest()
        return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")

    def verify_ssh(self, blob, message):
        # type: (bytes, bytes) -> bool
        """Return whether the signature, in the form of SSH, is this key's over the message."""
        wire = Wire(blob)
        kind, signature = wire.string().decode("ascii", "replace"), wire.string()
        if self.kind == "sk-ssh-ed25519@openssh.com":
            # The token signs its own counter and flags too (OpenSSH, PROTOCOL.u2f); bit 0: a touch.
            flags, counter = wire.take(1), wire.take(4)
            wire.end()
            hashed = hashlib.sha256(self.application).digest() + flags + counter
            touched = flags[0] & 1 == 1
            signed = hashed + hashlib.sha256(message).digest()
            return kind == self.kind and touched and ed25519(self.point, signature, signed)
        wire.end()
        if self.kind == "ssh-ed25519":
            return kind == self.kind and ed25519(self.point, signature, message)
        if self.kind == "ecdsa-sha2-nistp256":
            numbers = Wire(signature)
            r, s = numbers.integer(), numbers.integer()
            numbers.end()
            return kind == self.kind and _p256(self.curve_point, r, s, message)
        hashes = {"rsa-sha2-256": "sha256", "rsa-sha2-512": "sha512"}
        return kind in hashes and self._rsa(signature, message, hashes[kind])

    def verify_plain(self, signature, message):
        # type: (bytes, bytes) -> bool
        """Return whether a signature in the form of DSSE (ECDSA: DER) is this key's over the message."""
        if self.kind == "ssh-ed25519":
            return ed25519(self.point, signature, message)
        if self.kind == "ecdsa-sha2-nistp256":
            r, s = _der_numbers(signature)
            return _p256(self.curve_point, r, s, message)
        return self.kind == "ssh-rsa" and self._rsa(signature, message, "sha256")

    def _rsa(self, signature, message, name):
        # type: (bytes, bytes, str) -> bool
        """RSASSA-PKCS1-v1_5 (RFC 8017 section 8.2.2): the whole block is compared, nothing is parsed."""
        size = (self.modulus.bit_length() + 7) // 8
        value = int.from_bytes(signature, "big")
        if len(signature) != size or value >= self.modulus:
            return False
        prefix = {
            "sha256": b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
            "sha512": b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40",
        }[name]
        tail = prefix + hashlib.new(name, message).digest()
        block = b"\x00\x01" + b"\xff" * (size - len(tail) - 3) + b"\x00" + tail
        return pow(value, self.exponent, self.modulus).to_bytes(size, "big") == block


# Ed25519, RFC 8032. Points are (X, Y, Z, T) with x = X/Z, y = Y/Z, xy = T/Z.

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)
_BASE = b"\x58" + b"\x66" * 31


def _ed25519_point(data):
    # type: (bytes) -> tuple[int, int, int, int]
    """Decode a point (section 5.1.3); one in another than its only form is refused."""
    if len(data) != 32:
        raise BadKeyError("a point of Ed25519 has 32 bytes")
    value = int.from_bytes(data, "little")
    y, sign = value & ((1 << 255) - 1), value >> 255
    if y >= _P:
        raise BadKeyError("a point of Ed25519 is not in its canonical form")
    squared = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(squared, (_P + 3) // 8, _P)
    if (x * x - squared) % _P:
        x = x * _ROOT % _P
    if (x * x - squared) % _P or (x == 0 and sign):
        raise BadKeyError("its bytes are no point of Ed25519")
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _ed25519_add(p, q):
    # type: (tuple[int, int, int, int], tuple[int, int, int, int]) -> tuple[int, int, int, int]
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % _P, (p[1] + p[0]) * (q[1] + q[0]) % _P
    c, d = 2 * p[3] * q[3] * _D % _P, 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def ed25519(key, signature, message):
    # type: (bytes, bytes, bytes) -> bool
    """Return whether a signature is the key's over the message (section 5.1.7)."""
    if len(signature) != 64:
        return False
    point = _ed25519_point(key)
    neutral = (0, 1, 1, 0)
    eight = point
    for _ in range(3):
        eight = _ed25519_add(eight, eight)
    if eight[0] == 0:
        # A key of small order: whatever is signed, the same signature fits.
        raise BadKeyError("its point is of small order")
    try:
        r = _ed25519_point(signature[:32])
    except BadKeyError:
        return False
    s = int.from_bytes(signature[32:], "little")
    if s >= _L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % _L
    base, minus = _ed25519_point(_BASE), (_P - point[0], point[1], 1, _P - point[3])
    # s*B - h*A, both at once, must be R.
    both = _ed25519_add(base, minus)
    total = neutral
    for bit in range(252, -1, -1):
        total = _ed25519_add(total, total)
        choice = (s >> bit & 1) + 2 * (h >> bit & 1)
        if choice:
            total = _ed25519_add(total, (base, minus, both)[choice - 1])
    return (total[0] - r[0] * total[2]) % _P == 0 and (total[1] - r[1] * total[2]) % _P == 0


# ECDSA on P-256, FIPS 186-5 and SEC 1. Points are (X, Y, Z) with x = X/Z**2, y = Y/Z**3; Z = 0 is infinity.

_Q = 2**256 - 2**224 + 2**192 + 2**96 - 1
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
    1,
)


def _p256_point(data):
    # type: (bytes) -> Point
    if len(data) != 65 or data[:1] != b"\4":
        raise BadKeyError("a point of P-256 has 65 bytes")
    x, y = int.from_bytes(data[1:33], "big"), int.from_bytes(data[33:], "big")
    if x >= _Q or y >= _Q or (y * y - x * x * x + 3 * x - _B) % _Q:
        raise BadKeyError("its bytes are no point of P-256")
    return x, y, 1


def _p256_double(p):
    # type: (Point) -> Point
    x, y, z = p
    squared, fourth = y * y % _Q, 4 * x * y * y % _Q
    slope = 3 * (x - z * z) * (x + z * z) % _Q
    new = (slope * slope - 2 * fourth) % _Q
    return new, (slope * (fourth - new) - 8 * squared * squared) % _Q, 2 * y * z % _Q


def _p256_add(p, q):
    # type: (Point, Point) -> Point
    if p[2] == 0 or q[2] == 0:
        return q if p[2] == 0 else p
    u, v = p[0] * q[2] ** 2 % _Q, q[0] * p[2] ** 2 % _Q
    s, t = p[1] * q[2] ** 3 % _Q, q[1] * p[2] ** 3 % _Q
    h, r = (v - u) % _Q, (t - s) % _Q
    if h == 0:
        return _p256_double(p) if r == 0 else (1, 1, 0)
    h2, h3 = h * h % _Q, h * h * h % _Q
    x = (r * r - h3 - 2 * u * h2) % _Q
    return x, (r * (u * h2 - x) - s * h3) % _Q, h * p[2] * q[2] % _Q


def _p256(point, r, s, message):
    # type: (Point, int, int, bytes) -> bool
    """Return whether (r, s) is the key's signature over the message, hashed by SHA-256."""
    if not (0 < r < _N and 0 < s < _N):
        return False
    inverse = pow(s, _N - 2, _N)
    u = int.from_bytes(hashlib.sha256(message).digest(), "big") * inverse % _N
    v = r * inverse % _N
    both = _p256_add(_G, point)
    total = (1, 1, 0)
    for bit in range(255, -1, -1):
        total = _p256_double(total)
        choice = (u >> bit & 1) + 2 * (v >> bit & 1)
        if choice:
            total = _p256_add(total, (_G, point, both)[choice - 1])
    if total[2] == 0:
        return False
    return total[0] * pow(total[2] ** 2, _Q - 2, _Q) % _Q % _N == r


def _der_numbers(data):
    # type: (bytes) -> tuple[int, int]
    """Return r and s of SEQUENCE { INTEGER, INTEGER }, DER with short lengths as P-256 has them."""
    numbers = []
    if len(data) < 8 or data[0] != 0x30 or data[1] != len(data) - 2 or data[1] > 0x7F:
        raise BadKeyError("the signature is no pair of numbers")
    rest = data[2:]
    while rest:
        if len(rest) < 3 or rest[0] != 2 or not 0 < rest[1] <= len(rest) - 2:
            raise BadKeyError("the signature is no pair of numbers")
        numbers.append(Wire(wire_string(rest[2 : 2 + rest[1]])).integer())
        rest = rest[2 + rest[1] :]
    if len(numbers) != 2:
        raise BadKeyError("the signature is no pair of numbers")
    return numbers[0], numbers[1]


_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----\s([A-Za-z0-9+/=\s]{40,4000})-----END PUBLIC KEY-----\s*")
_SPKI = {
    # The bytes of a SubjectPublicKeyInfo before the point (RFC 8410; RFC 5480).
    bytes.fromhex("302a300506032b6570032100"): (32, "ssh-ed25519"),
    bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200"): (65, "ecdsa-sha2-nistp256"),
}


def parse_key(text):
    # type: (str) -> PublicKey
    """Read `ssh-ed25519 AAAA... comment`, or the PEM of an Ed25519 or P-256 key, as openssl writes it.

    :raises BadKeyError: it is neither.
    """
    pem = _PEM.fullmatch(text.strip() + "\n")
    try:
        if pem:
            data = base64.b64decode("".join(pem.group(1).split()), validate=True)
            for head, (size, kind) in _SPKI.items():
                if data.startswith(head) and len(data) == len(head) + size:
                    curve = wire_string(b"nistp256") if size == 65 else b""
                    return PublicKey(
                        wire_string(kind.encode("ascii")) + curve + wire_string(data[len(head) :])
                    )
            raise BadKeyError("a PEM key must be of Ed25519 or P-256")
        words = text.split()
        if len(words) < 2:
            raise BadKeyError("a key reads `ssh-ed25519 AAAA...`")
        key = PublicKey(base64.b64decode(words[1], validate=True))
    except BadKeyError:
        raise
    except ValueError:
        raise BadKeyError("its base64 is damaged")  # noqa: B904 - Python 2 parses this
    if key.kind != words[0]:
        raise BadKeyError("it says {} and holds {}".format(words[0], key.kind))
    return key
