"""HTTP with the proxies, certificates, credentials and retries of the caller's pip, bounded in time and size.

A server may send anything, for as long as it likes: what is read here ends, and never grows beyond its limit.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

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
_BLOCK = 1 << 18


class RefusedError(requests.RequestException):
    """What a server sends is too large, too slow, or encoded in a way that was not asked for."""


class _Retry(Retry):
    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, LONGEST_WAIT)


class Network:
    """The HTTP sessions of one caller, one a thread."""

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
        adapter = HTTPAdapter(
            max_retries=_Retry(total=self.retries, backoff_factor=0.3, status_forcelist=(500, 502, 503, 504))
        )
        session.mount("https://", adapter)
        session.mount("http://", adapter)
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
        return self.session().get(
            url, headers=dict(headers), stream=True, timeout=self.timeout, auth=self.credentials(url)
        )

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
    :raises RefusedError: as `blocks`, or it is not encoded by gzip or not at all.
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
