"""A project's page on an index, JSON (PEP 691) or HTML (PEP 503): fetched as pip does, and read.

A page may hold anything. What has no sha256, leads to another kind of place or cannot be a file's name is
left out: only what `files` returns is fetched because a page names it.
"""

from __future__ import annotations

import functools
import hashlib
import html
import json
import re
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

import requests
import urllib3
from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from bundler.lazy_dataclass import dataclass
from bundler.ontarget.bounded import at_most_values
from bundler.system import redact
from bundler.system.http import Network
from bundler.system.http import content as http_content
from bundler.targets.target import permits

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
ABSENT = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
LIMIT = 64 << 20
"""Bytes of a page above which it is not read."""
MOST_VALUES = 1_000_000
"""Values of a page in JSON above which it is not parsed (of 100 bytes each): 30,000 files have 575,000."""
LONGEST_HEAD = 1 << 16
"""Bytes in which what a page says of the project must stand."""
ANCHOR_LIMIT = 8192
"""Characters of an anchor above which it is not read."""
_PARSING = threading.Lock()
"""Held by whoever parses a page: many are fetched at once, and a parsed one can take ten times its size."""
_JSON = "application/vnd.pypi.simple.v1+json"
_HTML = frozenset({"application/vnd.pypi.simple.v1+html", "text/html"})
_STRONG = ("sha256", "sha384", "sha512")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ANCHOR = re.compile(r"<a[\s/]", re.IGNORECASE)
_HREF = re.compile(r"""(?:^|\s)href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))""", re.IGNORECASE)
_REQUIRES = re.compile(r"""\sdata-requires-python\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
_UPLOADED = re.compile(r"""\sdata-upload-time\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
"""PEP 700 knows it in JSON alone; mirrors write it in HTML as well, and uv reads it there."""
_YANKED = re.compile(r"\sdata-yanked(?:[\s=>]|$)", re.IGNORECASE)
_META = re.compile(
    r"""<meta\s+name="pypi:project-status(?P<name>(?:-reason)?)"\s+content="(?P<content>[^"]*)\"""",
    re.IGNORECASE,
)
_PROVENANCE = re.compile(r"""\sdata-provenance\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\+00:00)")


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
    came_from: str = ""
    """The URL that answered in the end, without credentials: the server may redirect."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A file that a page names, with its hash."""

    filename: str
    url: str
    """Absolute."""
    sha256: str
    size: int | None = None
    requires_python: str = ""
    uploaded: str = ""
    """When it was uploaded (ISO 8601, UTC; PEP 700); empty where the index does not say it."""
    yanked: bool = False
    provenance: str = ""
    """URL of its provenance object (PEP 740), absolute; empty where the index offers none."""


def fetch(
    network: Network, url: str, *, known: Page | None = None, accept: str = ACCEPT, limit: int = LIMIT
) -> Page | None:
    """Fetch a page, or what a page names; `None` where no answer came that can be relied upon.

    To uv and pip whatever has a status of success is the page: 203 of a proxy, 202 of one that wants a
    browser.

    :param known: the page as it was when it was last fetched.
    :param accept: the media types that are wanted.
    :param limit: bytes.
    """
    headers = {"Accept": accept, "Accept-Encoding": "gzip", "Cache-Control": "max-age=0"}
    if known and known.etag:
        headers["If-None-Match"] = known.etag
    plain = redact.url(url)
    if urlsplit(url).query:
        return None  # a query may hold a secret, and may have been cut off by whoever told the URL
    try:
        with network.get(plain, headers=headers) as response:
            is_answer = HTTPStatus.OK <= response.status_code < HTTPStatus.MULTIPLE_CHOICES
            fetched = http_content(response, limit=limit) if is_answer else b""
    except (requests.RequestException, urllib3.exceptions.HTTPError):
        return None
    if known and response.status_code == HTTPStatus.NOT_MODIFIED:
        return known
    if response.status_code in ABSENT:
        return Page(url=plain, sha256="", hashes=True)
    if not is_answer:
        return None
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return Page(
        url=plain,
        sha256=hashlib.sha256(fetched).hexdigest(),
        etag=response.headers.get("ETag", ""),
        kind=kind,
        content=fetched,
        came_from=redact.url(response.url),
    )


def wants_credentials(network: Network, url: str) -> bool:
    """Tell whether a server wants credentials that it did not get, or does not accept.

    Forbidden (403) says less: some stores of files answer it for one that they do not have.
    """
    try:
        with network.get(redact.url(url), headers={"Accept": ACCEPT}) as response:
            return response.status_code == HTTPStatus.UNAUTHORIZED
    except (requests.RequestException, urllib3.exceptions.HTTPError):
        return False


def file_named(page: Page, filename: str, sha256: str) -> Listed | None:
    """Return a file of a page; `None` where the page does not list it with this hash, or cannot be read."""
    return next((one for one in files(page, filename.__eq__) if one.sha256 == sha256), None)


def project_status(page: Page) -> tuple[str, str]:
    """Return what an index says of the whole project (PEP 792): a word such as `archived`, and the reason.

    Both are empty where it says nothing, or the page cannot be read.
    """
    if page.kind == _JSON:
        try:
            with _PARSING:
                said = _parsed(page.content)["project-status"]
            return str(said.get("status", "")), str(said.get("reason") or "")
        except (ValueError, KeyError, TypeError, AttributeError):
            return "", ""
    metas = {one["name"].lower(): one["content"] for one in _META.finditer(_head(page.content))}
    return metas.get("", ""), html.unescape(metas.get("-reason", ""))


def _head(content: bytes) -> str:
    """Return what of a page stands before its first anchor."""
    return _ANCHOR.split(content[:LONGEST_HEAD].decode("utf-8", "replace"), maxsplit=1)[0]


def with_hashes_seen(page: Page) -> Page:
    """Return the page with `hashes` set, for which all of it is read; one without content as it is."""
    if not page.content:
        return page
    try:
        with _PARSING:
            return replace(page, hashes=all(any(map(row.hashes.get, _STRONG)) for row in _rows(page)))
    except ValueError:
        return page


def files(page: Page, only: Callable[[str], bool] = bool) -> Iterator[Listed]:
    """Yield the files that a page lists with a sha256; none of a page that cannot be read.

    :param only: tells by its name whether a file is wanted: a page can list thousands.
    """
    yield from _files(page, lambda row: only(str(row.filename)))


def _files(page: Page, wanted: Callable[[_Row], bool]) -> list[Listed]:
    """Return the files of a page that have a sha256, of those rows with a name that are wanted."""
    try:
        with _PARSING:
            return [
                listed
                for row in _rows(page)
                if isinstance(row.filename, str) and wanted(row) and (listed := _listed(page.url, row))
            ]
    except ValueError:
        return []


def is_html(page: Page) -> bool:
    """Tell whether a page is in HTML, by its media type."""
    return page.kind in _HTML


def filenames(page: Page) -> list[str]:
    """Return the names of all that a page has a link to, with a hash or without.

    :raises ValueError: the page is of another media type, or cannot be parsed.
    """
    with _PARSING:
        return [row.filename for row in _rows(page) if isinstance(row.filename, str)]


def for_other_pythons(page: Page, filenames: Collection[str], *, python_version: str) -> Iterator[str]:
    """Yield those of some files that a page says are not for a Python (full version)."""
    for one in files(page, filenames.__contains__):
        if not permits(one.requires_python, python_version):
            yield one.filename


def wheels(
    page: Page, *, specifier: SpecifierSet, python_version: str
) -> tuple[list[Listed], frozenset[str]]:
    """Return the wheels of the newest version that a specifier permits, for a Python (full version).

    And the names of all files that the page says are for other Pythons: it is parsed once.
    """
    permitted = functools.cache(lambda text: _permitted(text, specifier))
    suits = functools.cache(lambda text: permits(text, python_version))
    others: set[str] = set()

    def version(filename: str) -> Version | None:
        parts = filename.split("-", 2)
        return permitted(parts[1]) if filename.endswith(".whl") and len(parts) == 3 else None

    def wanted(row: _Row) -> bool:
        filename = str(row.filename)
        if isinstance(row.requires_python, str) and not suits(row.requires_python):
            others.add(filename)
            return False
        return version(filename) is not None

    listed = _files(page, wanted)
    found = [(version(one.filename), one) for one in listed if _is_wheel(one.filename)]
    newest = max((number for number, _ in found if number), default=None)
    return [one for number, one in found if number == newest], frozenset(others)


def _permitted(text: str, specifier: SpecifierSet) -> Version | None:
    try:
        version = Version(text.replace("_", "-"))
    except InvalidVersion:
        return None
    return version if specifier.contains(version, prereleases=True) else None


def _is_wheel(filename: str) -> bool:
    try:
        parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return False
    return True


class _Row(NamedTuple):
    """What a page says of one file; none of it is checked.

    No dataclass: a page has thousands, and making them took a fifth of its reading.
    """

    filename: object
    url: object
    hashes: Mapping[str, object]
    size: object = None
    requires_python: object = ""
    uploaded: object = ""
    yanked: bool = False
    provenance: object = ""


def _rows(page: Page) -> Iterator[_Row]:
    """Yield what a page says of each file.

    :raises ValueError: the page is too long, of another media type, or cannot be parsed.
    """
    if len(page.content) > LIMIT or page.kind not in {_JSON, *_HTML}:
        raise ValueError(f"{page.url} is no page of an index")
    yield from _json_rows(page.content) if page.kind == _JSON else _html_rows(page.content)


def _parsed(content: bytes) -> Any:
    """Return a page in JSON; `parse_json` takes two and a half times as long.

    :raises ValueError: it is none, is nested too deeply or has more than `MOST_VALUES`.
    """
    if at_most_values(content) > MOST_VALUES:
        raise ValueError(f"has more than {MOST_VALUES} values")
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _json_rows(content: bytes) -> Iterator[_Row]:
    parsed = _parsed(content)
    rows = parsed.get("files") if isinstance(parsed, dict) else None
    if not isinstance(rows, list):
        raise ValueError("no list of files")  # noqa: TRY004 - as for whatever cannot be parsed
    for row in rows:
        values = row if isinstance(row, dict) else {}
        hashes = values.get("hashes")
        yield _Row(
            filename=values.get("filename"),
            url=values.get("url"),
            hashes=hashes if isinstance(hashes, dict) else {},
            size=values.get("size"),
            requires_python=values.get("requires-python"),
            uploaded=values.get("upload-time"),
            yanked=bool(values.get("yanked")),
            provenance=values.get("provenance"),
        )


def _html_rows(content: bytes) -> Iterator[_Row]:
    for anchor in _anchors(content.decode("utf-8", "replace")):
        href = _HREF.search(anchor)
        if href is None:
            yield _Row(filename=None, url=None, hashes={})
            continue
        url, _, fragment = html.unescape(_value(href)).partition("#")
        yield _Row(
            filename=unquote(url.partition("?")[0].rpartition("/")[2]),
            url=url,
            hashes=dict(part.partition("=")[::2] for part in fragment.split("&")),
            requires_python=html.unescape(_value(_REQUIRES.search(anchor))),
            uploaded=_value(_UPLOADED.search(anchor)),
            yanked=_YANKED.search(anchor.partition(">")[0]) is not None,
            provenance=html.unescape(_value(_PROVENANCE.search(anchor))),
        )


def _anchors(text: str) -> Iterator[str]:
    """Yield what follows each beginning of an anchor up to the next, at most `ANCHOR_LIMIT` of it."""
    begins = -1
    for match in _ANCHOR.finditer(text):
        if begins >= 0:
            yield text[begins : min(match.start(), begins + ANCHOR_LIMIT)]
        begins = match.end()
    if begins >= 0:
        yield text[begins : begins + ANCHOR_LIMIT]


def _value(match: re.Match[str] | None) -> str:
    """Return the group that matched: an attribute's value in one of the quotations of HTML."""
    return next(filter(None, match.groups()), "") if match else ""


def _listed(page_url: str, row: _Row) -> Listed | None:
    filename, url, sha256 = row.filename, row.url, row.hashes.get("sha256")
    if not (isinstance(filename, str) and isinstance(url, str) and isinstance(sha256, str)):
        return None
    if not _SHA256.fullmatch(sha256) or not filename or set(filename) & set("/\\\0"):
        return None
    absolute = _absolute(page_url, url)
    if not absolute:
        return None
    size, requires, uploaded = row.size, row.requires_python, row.uploaded
    return Listed(
        filename=filename,
        url=absolute,
        sha256=sha256,
        size=size if type(size) is int and size > 0 else None,
        requires_python=requires if isinstance(requires, str) else "",
        uploaded=uploaded if isinstance(uploaded, str) and _MOMENT.fullmatch(uploaded) else "",
        yanked=row.yanked,
        provenance=_absolute(page_url, row.provenance) if isinstance(row.provenance, str) else "",
    )


def _absolute(page_url: str, url: str) -> str:
    """Return an address on a page as a whole URL; empty where nothing may be fetched from there."""
    try:
        absolute = urljoin(page_url, url) if url else ""
        scheme, host = urlsplit(absolute).scheme, urlsplit(absolute).hostname
    except ValueError:
        return ""
    # A page that came by https names nothing that could be read or changed on its way.
    return absolute if host and scheme in {"https", urlsplit(page_url).scheme} & {"https", "http"} else ""
