"""Servers that send too much, too slowly, or what nobody asked for."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from bundler.create import index_pages
from bundler.errors import InputError
from bundler.model import IndexSettings
from bundler.system import http as network
from bundler.system.http import Network, RefusedError

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
