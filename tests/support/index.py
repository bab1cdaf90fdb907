"""A package index on the loopback interface: PEP 503 pages over a folder, which can fail as real ones do."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass
class Index:
    """Serves `folder`; the fields may be changed while it runs."""

    folder: Path
    url: str = ""
    """Of the simple API."""
    password: tuple[str, str] | None = None
    """User and password that every request must carry."""
    yanked: dict[str, str] = field(default_factory=dict)
    """File name → reason."""
    requires_python: dict[str, str] = field(default_factory=dict)
    """File name → specifier."""
    upload_time: dict[str, str] = field(default_factory=dict)
    """File name → ISO 8601; uv reads it for `--exclude-newer`."""
    corrupt: set[str] = field(default_factory=set)
    """Names of files of which the served bytes are changed."""
    broken: set[str] = field(default_factory=set)
    """Names of files of which the next answer ends in the middle; then they are whole again."""
    delay: float = 0
    """Seconds that each file takes."""
    at_once: int = 0
    """The most files that were served at the same time."""
    etags: bool = False
    """Pages carry an ETag, and one that has not changed is answered with 304."""
    max_age: int = 0
    """Seconds for which a page may be kept without asking."""
    modified: str = ""
    """When each page was last modified, as it says (HTTP date)."""
    hashes: bool = True
    """Pages name the hash of each file."""
    provenance: dict[str, str] = field(default_factory=dict)
    """File name → its provenance object (PEP 740)."""
    media_type: str = "text/html"
    """Of pages that are not in JSON."""
    json: bool = False
    """Pages are in JSON (PEP 691) for those who accept it."""
    status: tuple[str, str] = ("", "")
    """What pages say of their project (PEP 792), and the reason."""
    portal: str = ""
    """HTML with which a portal answers, whatever page is asked for."""
    portal_status: int = 200
    leads_to: str = ""
    """Path to which pages redirect."""
    failing: bool = False
    """Every page is answered with 500."""
    after_page: Callable[[str], None] = lambda _: None
    """Called with the name of each project of which a page was served."""
    requests: list[str] = field(default_factory=list)
    """Paths asked for, in order."""
    _serving: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        """Count the files that are served at the same time."""
        with self._lock:
            self._serving += 1
            self.at_once = max(self.at_once, self._serving)
        time.sleep(self.delay)
        yield
        with self._lock:
            self._serving -= 1

    def _files(self, name: str) -> list[Path]:
        name = canonicalize_name(name)
        return [
            path
            for path in sorted(self.folder.iterdir())
            if canonicalize_name(path.name.split("-")[0]) == name
        ]

    def json_page(self, name: str) -> str | None:
        """The page of a project in JSON; `None` where there is no file of it."""
        rows = [
            {
                "filename": path.name,
                "url": f"/files/{path.name}",
                "hashes": {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()},
                "requires-python": self.requires_python.get(path.name),
                "yanked": self.yanked.get(path.name, False),
                "provenance": f"{self.url}/{path.name}/provenance" if path.name in self.provenance else None,
            }
            for path in self._files(name)
        ]
        status = {"status": self.status[0] or "active", "reason": self.status[1]}
        page = {"meta": {"api-version": "1.4"}, "name": name, "files": rows, "project-status": status}
        return json.dumps(page) if rows else None

    def page(self, name: str) -> str | None:
        """The page of a project; `None` where there is no file of it."""
        links = []
        for path in self._files(name):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            extra = ""
            if path.name in self.yanked:
                extra += f' data-yanked="{self.yanked[path.name]}"'
            if path.name in self.requires_python:
                extra += f' data-requires-python="{self.requires_python[path.name].replace(">", "&gt;")}"'
            if path.name in self.upload_time:
                extra += f' data-upload-time="{self.upload_time[path.name]}"'
            if path.name in self.provenance:
                extra += f' data-provenance="{self.url}/{path.name}/provenance"'
            fragment = f"#sha256={digest}" if self.hashes else ""
            links.append(f'<a href="/files/{path.name}{fragment}"{extra}>{path.name}</a><br>')
        head = "".join(
            f'<meta name="pypi:project-status{name}" content="{said}">'
            for name, said in zip(("", "-reason"), self.status, strict=True)
            if said
        )
        return f"<!DOCTYPE html><html>{head}<body>{''.join(links)}</body></html>" if links else None


class _Handler(BaseHTTPRequestHandler):
    index: Index

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        index = self.index
        path = unquote(urlsplit(self.path).path)
        index.requests.append(path)
        if index.password is not None:
            token = base64.b64encode(":".join(index.password).encode()).decode()
            if self.headers.get("Authorization") != f"Basic {token}":
                self._send(401, b"", body=body, headers={"WWW-Authenticate": 'Basic realm="index"'})
                return
        if path.endswith("/provenance"):
            self._answer_cached(index.provenance.get(path.split("/")[-2], ""), body=body)
            return
        if index.portal and not path.startswith("/files/"):
            self._answer_portal(path, body=body)
            return
        if path.startswith("/simple/"):
            self._answer_page(path.split("/")[2], body=body)
            return
        file = index.folder / path.rpartition("/")[2]
        if not path.startswith("/files/") or not file.is_file():
            self._send(404, b"", body=body)
            return
        data = file.read_bytes()
        if file.name in index.corrupt:
            data = data[:-1] + bytes([data[-1] ^ 1])
        with index.serving():
            if body and file.name in index.broken:
                index.broken.discard(file.name)
                self._send(200, data, body=False)
                self.wfile.write(data[: len(data) // 2])
                return
            self._send(200, data, body=body)

    def _answer_portal(self, path: str, *, body: bool) -> None:
        there = self.index.leads_to
        if there and path != urlsplit(there).path:
            self._send(302, b"", body=body, headers={"Location": there})
        else:
            self._send(
                self.index.portal_status, self.index.portal.encode(), body=body, kind=self.index.media_type
            )

    def _answer_page(self, name: str, *, body: bool) -> None:
        asked = "application/vnd.pypi.simple.v1+json"
        if self.index.json and asked in self.headers.get("Accept", ""):
            self._answer_cached(self.index.json_page(name) or "", body=body, kind=asked)
        else:
            self._answer_cached(self.index.page(name) or "", body=body, kind=self.index.media_type)
        self.index.after_page(name)

    def _answer_cached(self, text: str, *, body: bool, kind: str = "application/json") -> None:
        index = self.index
        page = text.encode()
        headers = {"Cache-Control": f"max-age={index.max_age}"} if index.max_age else {}
        if index.modified:
            headers["Last-Modified"] = index.modified
        tag = f'"{hashlib.sha256(page).hexdigest()}"'
        if index.etags:
            headers["ETag"] = tag
        if index.failing:
            self._send(500, b"", body=body)
        elif index.etags and self.headers.get("If-None-Match") == tag:
            self._send(304, b"", body=False, headers=headers)
        else:
            self._send(200 if page else 404, page, body=body, kind=kind, headers=headers)

    def _send(
        self,
        status: int,
        data: bytes,
        *,
        body: bool,
        kind: str = "application/octet-stream",
        headers: dict[str, str] | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Say nothing."""


def serve(folder: Path) -> tuple[Index, ThreadingHTTPServer]:
    """Start an index over a folder; the caller shuts the server down."""
    index = Index(folder=folder)
    handler = type("Handler", (_Handler,), {"index": index})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    index.url = f"http://127.0.0.1:{server.server_address[1]}/simple"
    return index, server
