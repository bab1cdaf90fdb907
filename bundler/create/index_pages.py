"""A project's page on an index (PEP 503, PEP 691): fetched as pip does, and again only if it changed."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests

from bundler.system import redact

if TYPE_CHECKING:
    from bundler.system.http import Network

_HASHED = re.compile(r"#(?:.*&)?(?:sha256|sha384|sha512)=[0-9a-fA-F]{64,128}\b")
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
ABSENT = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


@dataclass(frozen=True, kw_only=True)
class Page:
    """What an index says of a project at one moment."""

    url: str
    """Without credentials."""
    sha256: str
    """Of the page; empty where the index has no such project."""
    etag: str = ""
    """By which the server tells whether the page has changed (RFC 9110); empty where it does not."""
    kind: str = ""
    """Its media type."""
    content: bytes = b""
    """Empty where the server only said that it has not changed."""
    hashes: bool = False
    """It names a hash of every file, so that none can change while the page does not."""


def fetch(network: Network, url: str, *, known: Page | None = None) -> Page | None:
    """Fetch a page; `None` where no answer came that can be relied upon.

    :param known: what it was before.
    """
    headers = {"Accept": ACCEPT, "Cache-Control": "max-age=0"}
    if known and known.etag:
        headers["If-None-Match"] = known.etag
    plain = redact.url(url)
    if urlsplit(url).query:
        return None  # it holds a secret perhaps, and whoever told the URL may have cut it
    try:
        response = network.session().get(
            plain, headers=headers, timeout=network.timeout, auth=network.credentials(plain)
        )
    except requests.RequestException:
        return None
    if known and response.status_code == HTTPStatus.NOT_MODIFIED:
        return known
    if response.status_code in ABSENT:
        return Page(url=plain, sha256="", hashes=True)
    if response.status_code != HTTPStatus.OK:
        return None
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return Page(
        url=plain,
        sha256=hashlib.sha256(response.content).hexdigest(),
        etag=response.headers.get("ETag", ""),
        kind=kind,
        content=response.content,
    )


def with_hashes_seen(page: Page) -> Page:
    """Look for a hash of every file (`Page.hashes`), which takes its time on a long page."""
    if not page.content:
        return page
    if not page.kind.endswith("+json"):
        links = _Links()
        links.feed(page.content.decode("utf-8", "replace"))
        return replace(page, hashes=all(_HASHED.search(link) for link in links.found))
    try:
        told = all(one["hashes"] for one in json.loads(page.content)["files"])
    except (ValueError, KeyError, TypeError):
        told = False
    return replace(page, hashes=told)


class _Links(HTMLParser):
    """Collects where the anchors of a page lead."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found += [value or "" for name, value in attrs if name == "href"]
