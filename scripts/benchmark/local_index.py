"""An index on this machine: the pages of the real one, with an ETag, and kept for as long as they may be."""

from __future__ import annotations

import contextlib
import hashlib
import json
import ssl
import subprocess
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urljoin

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ENDING = "-local"
"""Of the peers that ask it."""
WHAT = "an index with ETag and max-age"
JSON = "application/vnd.pypi.simple.v1+json"
MAX_AGE = 600
"""Seconds; what PyPI says."""
LIMIT = 60
"""Seconds for a page of the real index."""


def variables(url: str) -> dict[str, str]:
    """Return what makes pip, uv and envbundle ask an index."""
    return {"PIP_INDEX_URL": url, "UV_DEFAULT_INDEX": url}


def asked(environ: Mapping[str, str], python: Path) -> str:
    """Return the index that programs ask with these variables.

    :param python: an interpreter with pip, which knows what is asked where nothing is said.
    """
    code = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    if "PIP_INDEX_URL" in environ:
        return environ["PIP_INDEX_URL"]
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


@contextlib.contextmanager
def serving(index: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Serve the pages of an index; gives the URL.

    Each page is fetched once, with links to the files where they are. Files are not served.

    :param environ: of the programs: their certificates.
    """
    above = index.rstrip("/") + "/"
    trusted = ssl.create_default_context(cafile=environ.get("SSL_CERT_FILE") or environ.get("PIP_CERT"))
    pages: dict[str, bytes] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(above, trusted, pages, threading.Lock()))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(
    above: str, trusted: ssl.SSLContext, pages: dict[str, bytes], lock: threading.Lock
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            name = self.path.strip("/").removeprefix("simple").strip("/")
            with lock:
                if name not in pages:
                    pages[name] = _page(f"{above}{name}/", trusted)
            content = pages[name]
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            known = not content or self.headers.get("If-None-Match") == etag
            self.send_response(404 if not content else 304 if known else 200)
            self.send_header("ETag", etag)
            self.send_header("Cache-Control", f"max-age={MAX_AGE}, public")
            self.send_header("Content-Type", JSON)
            self.send_header("Content-Length", str(0 if known else len(content)))
            self.end_headers()
            self.wfile.write(b"" if known else content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _page(url: str, trusted: ssl.SSLContext) -> bytes:
    """Return a page of the real index (PEP 691); empty where there is none."""
    request = urllib.request.Request(url, headers={"Accept": JSON})
    with contextlib.suppress(OSError, ValueError):
        with urllib.request.urlopen(request, timeout=LIMIT, context=trusted) as answer:
            page = json.load(answer)
            for file in page["files"]:
                file["url"] = urljoin(answer.url, file["url"])
        return json.dumps(page).encode()
    return b""
