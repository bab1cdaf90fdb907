"""HTTP with the proxies, certificates, credentials and retries of the caller's pip, bounded in time and size.

A server may send anything, for as long as it likes: what is read here ends, and never grows beyond its limit.
"""

from __future__ import annotations

import functools
import http.client
import io
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.util.retry import Retry
from urllib3.util.ssl_ import create_urllib3_context

from bundler.errors import InputError, MachineError
from bundler.model import IndexSettings, Requirements
from bundler.system import redact
from bundler.system.address import Address, nearest

LONGEST_WAIT = 30.0
"""Seconds that we wait because a server asks for it (Retry-After)."""
SLOWEST = 1 << 10
"""Bytes a second that must come on average …"""
PATIENCE = 60.0
"""… once so many seconds have passed."""
_TIMEOUT = 30.0
_CONNECTIONS = 24
"""How many to one server are kept for the next request."""
_BLOCK = 1 << 18
_READING = threading.Lock()
"""Held while the certificates are read: that takes 40 ms of a processor, once and not once a thread."""


class RefusedError(requests.RequestException):
    """What a server sends is too large, too slow, or encoded in a way that was not asked for."""


class _LateError(urllib3.exceptions.HTTPError):
    """A server sends, but never what is waited for; no other attempt is made."""


class _Stream(io.RawIOBase):
    """What comes from a server. The limit of a socket begins anew with each byte, `deadline` does not."""

    def __init__(self, stream: io.RawIOBase) -> None:
        self._stream = stream
        self.deadline: float | None = None
        """Moment of `time.monotonic` after which nothing is read."""

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def readinto(self, buffer: Any) -> int | None:
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise _LateError("it sends no whole answer in time")
        read: int | None = self._stream.readinto(buffer)
        return read

    def close(self) -> None:
        self._stream.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer whose header, and each piece of whose body, is there within `PATIENCE`.

    `http.client` passes over any number of interim answers (100 Continue) and of lines after the last chunk.
    """

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._patience = max(PATIENCE, sock.gettimeout() or 0)
        self._stream = _Stream(self.fp.detach())
        self.fp = io.BufferedReader(self._stream)
        self._stream.deadline = time.monotonic() + self._patience

    def begin(self) -> None:
        """Read the header, as `http.client` does."""
        super().begin()
        self._stream.deadline = None

    def read1(self, n: int = -1) -> bytes:
        """Read what is there of the body, as `http.client` does."""
        self._stream.deadline = time.monotonic() + self._patience
        block = super().read1(n)
        self._stream.deadline = None
        return block


@functools.cache
def _bounded(connection: type[Any]) -> type[Any]:
    """Return a class of connections (direct, TLS, SOCKS) whose answers are an `_Answer`."""
    return type(connection.__name__, (connection,), {"response_class": _Answer})


class _Retry(Retry):
    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, LONGEST_WAIT)


class _Adapter(HTTPAdapter):
    """Reads the certificates once: requests reads them for each connection, which takes 20 ms."""

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        """Return what tells the connections of one server from those of another."""
        server, how = super().build_connection_pool_key_attributes(request, verify, cert)
        context = _context(verify) if verify and server["scheme"] == "https" else None
        if context is None:
            return server, how
        return server, {**how, "ca_certs": None, "ca_cert_dir": None, "ssl_context": context}

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return the connections to a server, with our limits."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        if pool.ConnectionCls.response_class is not _Answer:
            pool.ConnectionCls = _bounded(pool.ConnectionCls)
        return pool

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Check that the certificates are there; what is in the context already is not read again."""
        super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]  # requests has none
        if conn.conn_kw.get("ssl_context"):
            conn.ca_certs = conn.ca_cert_dir = None


def _context(verify: str | Literal[True]) -> ssl.SSLContext | None:
    """Return what verifies servers; `None` where the certificates cannot be read: requests tells that best.

    :param verify: the path of the certificates; `True`: those of requests.
    """
    path = Path(DEFAULT_CA_BUNDLE_PATH if verify is True else verify)
    try:
        with _READING:  # the downloads begin together
            return _context_of(path, path.stat().st_mtime_ns)
    except OSError:
        return None


@functools.lru_cache(maxsize=4)
def _context_of(path: Path, _: int) -> ssl.SSLContext:
    context = create_urllib3_context()
    if path.is_dir():
        context.load_verify_locations(capath=path)
    else:
        context.load_verify_locations(cafile=path)
    return context


class Network:
    """The HTTP sessions of one caller, one a thread; they share their connections."""

    def __init__(
        self, settings: IndexSettings, requirements: Requirements | None = None, *, retries: int | None = None
    ) -> None:
        """Collect the credentials in the URLs of settings and requirements.

        :param retries: of a failed request; by default as the settings say.
        """
        self._settings = settings
        self._known = _addresses(settings, requirements)
        self._local = threading.local()
        configured = 5 if settings.retries is None else settings.retries
        self.retries = configured if retries is None else retries
        self.timeout = settings.timeout or _TIMEOUT
        """Seconds without a byte after which a request fails."""
        self._adapter = _Adapter(
            max_retries=_Retry(total=self.retries, backoff_factor=0.3, status_forcelist=(500, 502, 503, 504)),
            pool_maxsize=_CONNECTIONS,
        )

    def credentials(self, url: str) -> tuple[str, str] | None:
        """Return user and password for a URL (see `nearest`); `None`: `requests` looks in netrc."""
        found = nearest(url, self._known)
        return found.credentials if found else None

    def session(self) -> requests.Session:
        """Return the session of this thread: `requests` does not promise that threads may share one."""
        existing: requests.Session | None = getattr(self._local, "session", None)
        if existing is not None:
            return existing
        settings = self._settings
        session = requests.Session()
        session.mount("https://", self._adapter)
        session.mount("http://", self._adapter)
        session.hooks["response"] = [_drop_redirect]
        if settings.cert:
            session.verify = settings.cert
        if settings.client_cert:
            session.cert = settings.client_cert
        if settings.proxy:
            session.proxies = {"http": settings.proxy, "https": settings.proxy}
        self._local.session = session
        return session

    def get(self, url: str, *, headers: Mapping[str, str]) -> requests.Response:
        """Ask for a file with the credentials that belong to its URL; its content is read by `blocks`.

        :raises requests.RequestException: no answer.
        """
        auth = self.credentials(url)
        try:
            return self.session().get(
                url, headers=dict(headers), stream=True, timeout=self.timeout, auth=auth
            )
        except requests.RequestException:
            raise
        except _LateError as error:
            raise requests.ReadTimeout(str(error)) from error
        except ValueError as error:  # of `http://[/x`, for example: `requests` does not catch it
            raise requests.exceptions.InvalidURL(f"it leads to what is no URL: {error}") from error

    def read(self, url: str, *, limit: int) -> bytes:
        """Return the content of a file that is not on an index.

        :param limit: bytes.
        :raises InputError: it has more bytes.
        :raises MachineError: it is out of reach.
        """
        told = redact.url(url)
        try:
            with self.get(url, headers={"Accept-Encoding": "gzip"}) as response:
                response.raise_for_status()
                return content(response, limit=limit)
        except RefusedError as error:
            raise InputError(f"{told} {error}", hint="check the URL") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise MachineError(
                f"cannot read {told}: {redact.text(str(error))}",
                hint="check URL, network, proxy and certificate, or save the file and name its path",
            ) from error


def blocks(response: requests.Response, *, limit: int) -> Iterator[bytes]:
    """Yield the bytes of an answer as they come, without decoding them.

    :param limit: the most bytes.
    :raises RefusedError: there are more, or they come at less than `SLOWEST`.
    :raises urllib3.exceptions.HTTPError: the connection broke.
    """
    started = time.monotonic()
    size = 0
    # `read1` returns what is there: `iter_content` waits for a whole block, for days if it comes by the byte.
    while block := response.raw.read1(_BLOCK, decode_content=False):
        size += len(block)
        if size > limit:
            raise RefusedError(f"has more than {limit} bytes")
        passed = time.monotonic() - started
        if passed > PATIENCE and size < passed * SLOWEST:
            raise RefusedError(f"comes too slowly: {size} bytes in {passed:.0f} seconds")
        yield block


def content(response: requests.Response, *, limit: int) -> bytes:
    """Return the whole content of an answer, decompressed.

    :param limit: the most bytes, compressed and not.
    :raises RefusedError: as `blocks`, or it is encoded, and not by gzip or with more bytes after its end.
    :raises urllib3.exceptions.HTTPError: the connection broke.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        return b"".join(blocks(response, limit=limit))
    if encoding not in {"gzip", "x-gzip"}:
        raise RefusedError(f"is encoded by {encoding[:40]!r}, which was not asked for")
    found = bytearray()
    work = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        for block in blocks(response, limit=limit):
            # A thousand times its size can be in a block: no more of it is unpacked than may be kept.
            found += work.decompress(block, limit + 1 - len(found))
            if len(found) > limit:
                raise RefusedError(f"has more than {limit} bytes")
            if work.unused_data:  # each further block would copy it again
                raise RefusedError("has bytes after the end of what is compressed")
    except zlib.error as error:
        raise RefusedError(f"is damaged: {error}") from error
    if not work.eof:
        raise RefusedError("is cut off")
    return bytes(found)


def _drop_redirect(response: requests.Response, **_: Any) -> None:
    """Leave the body of a redirection unread: `requests` would read it to its end."""
    if response.is_redirect:
        response.close()


def _addresses(settings: IndexSettings, requirements: Requirements | None) -> tuple[Address, ...]:
    """Return the index URLs and direct URLs: files are usually on the same host."""
    urls = [settings.index_url or "", *settings.extra_index_urls, *settings.find_links]
    if requirements:
        urls += [one.text.partition(" @ ")[2] or one.text for one in requirements.requirements]
    return tuple(Address(url) for url in urls)
