"""Servers that send too much, too slowly, or what nobody asked for."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import ipaddress
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from bundler.create import index_pages
from bundler.errors import InputError, MachineError
from bundler.model import IndexSettings
from bundler.system import http as network
from bundler.system.http import Network, RefusedError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

JSON = "application/vnd.pypi.simple.v1+json"


class Hostile(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: dict[str, int]

    def do_GET(self) -> None:
        name = self.path.strip("/")
        self.asked[name] = self.asked.get(name, 0) + 1
        getattr(self, f"send_{name}")()

    def log_message(self, *_: Any) -> None:
        pass

    def begin(self, *headers: tuple[str, str], status: int = 200) -> None:
        self.send_response(status)
        for header in headers:
            self.send_header(*header)
        self.end_headers()

    def endless(self, block: bytes, pause: float = 0) -> None:
        try:
            while True:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
                time.sleep(pause)
        except OSError:
            self.close_connection = True

    def send_endless(self) -> None:
        self.begin(("Transfer-Encoding", "chunked"), ("Content-Type", JSON))
        self.endless(b"x" * 65536)

    def send_drip(self) -> None:
        self.begin(("Content-Length", "100000"), ("Content-Type", JSON))
        try:
            while True:
                self.wfile.write(b"x")
                time.sleep(0.05)
        except OSError:
            self.close_connection = True

    def send_bomb(self) -> None:
        data = gzip.compress(bytes(200 << 20), 9)
        self.begin(("Content-Length", str(len(data))), ("Content-Encoding", "gzip"), ("Content-Type", JSON))
        self.wfile.write(data)

    def send_packed(self) -> None:
        data = gzip.compress(b'{"files": []}')
        self.begin(("Content-Length", str(len(data))), ("Content-Encoding", "gzip"), ("Content-Type", JSON))
        self.wfile.write(data)

    def send_appended(self) -> None:
        self.begin(("Transfer-Encoding", "chunked"), ("Content-Encoding", "gzip"), ("Content-Type", JSON))
        packed = gzip.compress(b'{"files": []}')
        with contextlib.suppress(OSError):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(packed), packed))
            for _ in range(8):
                self.wfile.write(b"10000\r\n%s\r\n" % bytes(65536))
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def send_brotli(self) -> None:
        self.begin(("Content-Length", "2"), ("Content-Encoding", "br"), ("Content-Type", JSON))
        self.wfile.write(b"xx")

    def send_busy(self) -> None:
        if self.asked["busy"] == 1:
            self.begin(("Retry-After", "3600"), ("Content-Length", "0"), status=503)
        else:
            self.begin(("Content-Length", "2"))
            self.wfile.write(b"ok")

    def send_moved(self) -> None:
        self.begin(("Location", "/packed"), ("Transfer-Encoding", "chunked"), status=302)
        self.endless(b"x" * 1024, 0.01)

    def send_port(self) -> None:
        port = str(self.client_address[1]).encode()
        self.begin(("Content-Length", str(len(port))))
        self.wfile.write(port)

    def send_interim(self) -> None:
        self.dripped(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

    def send_letters(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: ")
        self.dripped(b"x")

    def send_trailers(self) -> None:
        self.begin(("Transfer-Encoding", "chunked"), ("Content-Type", JSON))
        self.wfile.write(b"2\r\nok\r\n0\r\n")
        self.dripped(b"x: y\r\n" * 100)

    def dripped(self, piece: bytes) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(piece)
                time.sleep(0.02)
        self.close_connection = True

    def send_nowhere(self) -> None:
        self.begin(("Location", "http://[/x"), ("Content-Length", "0"), status=302)

    def send_folded(self) -> None:
        # Normalised (NFKC) its host has a slash.
        location = "http://a\N{ACCOUNT OF}b/".encode().decode("latin-1")
        self.begin(("Location", location), ("Content-Length", "0"), status=302)

    def send_garbled(self) -> None:
        self.begin(("Location", "\xff\xfe"), ("Content-Length", "0"), status=302)


@pytest.fixture
def server() -> Iterator[str]:
    handler = type("Handler", (Hostile,), {"asked": {}})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as found:
        found.daemon_threads = True
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_address[1]}"
        found.shutdown()


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["endless", "bomb", "brotli", "drip"])
def test_what_never_ends_is_refused(server: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "PATIENCE", 0.5)
    began = time.monotonic()
    with pytest.raises(InputError, match=f"/{name} (has more than|is encoded by 'br'|comes too slowly)"):
        Network(IndexSettings()).read(f"{server}/{name}", limit=1 << 20)
    assert index_pages.fetch(Network(IndexSettings()), f"{server}/{name}") is None
    assert time.monotonic() - began < 20


def test_what_is_compressed_or_moved_is_read(server: str) -> None:
    for name in ("packed", "moved"):
        assert Network(IndexSettings()).read(f"{server}/{name}", limit=1 << 20) == b'{"files": []}'
        page = index_pages.fetch(Network(IndexSettings()), f"{server}/{name}")
        assert page is not None
        assert page.content == b'{"files": []}'


def test_what_follows_the_end_of_what_is_compressed_is_refused(server: str) -> None:
    with pytest.raises(InputError, match="/appended has bytes after the end of what is compressed"):
        Network(IndexSettings()).read(f"{server}/appended", limit=1 << 20)
    assert index_pages.fetch(Network(IndexSettings()), f"{server}/appended") is None


@pytest.mark.parametrize(("name", "timeout"), [("interim", 0.1), ("letters", 0.4), ("trailers", 0.1)])
def test_a_server_that_never_gets_to_the_point_is_left(
    server: str, name: str, timeout: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "PATIENCE", 0.2)
    patient = Network(IndexSettings(timeout=timeout))
    began = time.monotonic()
    with pytest.raises(MachineError, match=f"cannot read {server}/{name}: it sends no whole answer"):
        patient.read(f"{server}/{name}", limit=1 << 20)
    assert max(0.2, timeout) < time.monotonic() - began < 5
    assert patient.read(f"{server}/packed", limit=1 << 20) == b'{"files": []}'
    assert index_pages.fetch(patient, f"{server}/{name}") is None


def test_connections_are_used_again(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "PATIENCE", 0.1)
    patient = Network(IndexSettings(timeout=0.1))
    port = patient.read(f"{server}/port", limit=100)
    time.sleep(0.2)  # the deadline of the first answer is none of the next
    assert patient.read(f"{server}/port", limit=100) == port


@pytest.mark.parametrize("name", ["nowhere", "folded", "garbled"])
def test_a_redirect_to_no_url_is_told(server: str, name: str) -> None:
    with pytest.raises(MachineError, match=f"cannot read {server}/{name}: it leads to what is no URL"):
        Network(IndexSettings()).read(f"{server}/{name}", limit=1 << 20)
    assert index_pages.fetch(Network(IndexSettings()), f"{server}/{name}") is None


def test_a_server_cannot_make_us_wait_for_an_hour(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "LONGEST_WAIT", 0.2)
    began = time.monotonic()
    assert Network(IndexSettings()).read(f"{server}/busy", limit=10) == b"ok"
    assert time.monotonic() - began < 10


def test_blocks_are_limited_before_they_are_kept(server: str) -> None:
    with Network(IndexSettings()).get(f"{server}/endless", headers={}) as response:
        found = network.blocks(response, limit=1 << 20)
        kept = 0
        with contextlib.suppress(RefusedError):
            kept = sum(map(len, iter(lambda: next(found), None)))
    assert kept == 0, "it ended without a refusal"


def certificate(folder: Path, name: str) -> Path:
    """A certificate of 127.0.0.1 that vouches for itself, with its key in the same file."""
    key, called = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
    )
    now = datetime.now(timezone.utc)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(called)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / f"{name}.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def test_certificates_are_read_once_and_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    right, wrong = certificate(tmp_path, "right"), certificate(tmp_path, "wrong")
    handler = type("Handler", (Hostile,), {"asked": {}})
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(right)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as found:
        found.socket = tls.wrap_socket(found.socket, server_side=True)
        found.daemon_threads = True
        threading.Thread(target=found.serve_forever, daemon=True).start()
        url = f"https://127.0.0.1:{found.server_address[1]}/packed"
        network._context_of.cache_clear()
        trusting = Network(IndexSettings(cert=str(right), retries=0))
        with ThreadPoolExecutor(3) as pool:
            read = list(pool.map(lambda _: trusting.read(url, limit=100), range(6)))
        assert read == [b'{"files": []}'] * 6
        assert network._context_of.cache_info().misses == 1
        assert network._context_of.cache_info().currsize == 1
        for settings in (IndexSettings(cert=str(wrong), retries=0), IndexSettings(retries=0)):
            with pytest.raises(MachineError, match="CERTIFICATE_VERIFY_FAILED"):
                Network(settings).read(url, limit=100)
        (tmp_path / "damaged.pem").write_text("no certificate")
        for name in ("damaged", "missing"):
            with pytest.raises((MachineError, OSError), match=r"(?i)certificate"):
                Network(IndexSettings(cert=f"{tmp_path / name}.pem", retries=0)).read(url, limit=100)
        assert trusting.read(url, limit=100) == b'{"files": []}'
        found.shutdown()
