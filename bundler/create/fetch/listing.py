"""Reads a project's page on an index: JSON (PEP 691) or HTML (PEP 503).

A page may hold anything. What has no sha256, leads to another kind of place or cannot be a file's name is
left out: nothing but what is listed here is fetched on the word of a page.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bundler.create.index_pages import Page

LIMIT = 64 << 20
"""Bytes of a page above which it is not looked at."""
ANCHOR_LIMIT = 8192
"""Characters of an anchor above which it is not looked at."""
_JSON = "application/vnd.pypi.simple.v1+json"
_HTML = frozenset({"application/vnd.pypi.simple.v1+html", "text/html"})
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ANCHOR = re.compile(r"<a\s", re.IGNORECASE)
_HREF = re.compile(r"""(?:^|\s)href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>"']+))""", re.IGNORECASE)
_REQUIRES = re.compile(r"""\sdata-requires-python\s*=\s*(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A file that a page names, with its hash."""

    filename: str
    url: str
    """Absolute."""
    sha256: str
    size: int | None = None
    requires_python: str = ""


def files(page: Page) -> Iterator[Listed]:
    """Yield the files that a page lists; none of a page that cannot be read."""
    if len(page.content) > LIMIT:
        return
    if page.kind == _JSON:
        yield from _from_json(page)
    elif page.kind in _HTML:
        yield from _from_html(page)


def wheels(listed: Iterable[Listed], *, specifier: SpecifierSet, python_version: str) -> list[Listed]:
    """Return the wheels of the newest version that a pin permits, for a Python (full version)."""
    versions: dict[str, Version | None] = {}
    found: list[tuple[Version, Listed]] = []
    for one in listed:
        # Pages hold thousands of files: what they say otherwise is read for those of the version alone.
        parts = one.filename.split("-", 2)
        if not one.filename.endswith(".whl") or len(parts) < 3:
            continue
        if parts[1] not in versions:
            versions[parts[1]] = _permitted(parts[1], specifier)
        version = versions[parts[1]]
        if version is not None and _is_wheel(one.filename) and _fits(one.requires_python, python_version):
            found.append((version, one))
    newest = max((version for version, _ in found), default=None)
    return [one for version, one in found if version == newest]


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


def _fits(requires_python: str, python_version: str) -> bool:
    try:
        return SpecifierSet(requires_python).contains(python_version, prereleases=True)
    except InvalidSpecifier:
        return True  # installers overlook what they cannot read


def _from_json(page: Page) -> Iterator[Listed]:
    try:
        parsed: Any = json.loads(page.content)
    except (ValueError, RecursionError):
        return
    rows = parsed.get("files") if isinstance(parsed, dict) else None
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, dict):
            continue
        hashes = row.get("hashes")
        size = row.get("size")
        requires = row.get("requires-python")
        yield from _listed(
            page.url,
            filename=row.get("filename"),
            url=row.get("url"),
            sha256=hashes.get("sha256") if isinstance(hashes, dict) else None,
            size=size if type(size) is int and size > 0 else None,
            requires_python=requires if isinstance(requires, str) else "",
        )


def _from_html(page: Page) -> Iterator[Listed]:
    for piece in _ANCHOR.split(page.content.decode("utf-8", "replace"))[1:]:
        anchor = piece[:ANCHOR_LIMIT]
        href = _HREF.search(anchor)
        if href is None:
            continue
        url, _, fragment = html.unescape(next(filter(None, href.groups()), "")).partition("#")
        requires = _REQUIRES.search(anchor)
        yield from _listed(
            page.url,
            filename=unquote(url.partition("?")[0].rpartition("/")[2]),
            url=url,
            sha256=fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else None,
            size=None,
            requires_python=html.unescape(next(filter(None, requires.groups()), "")) if requires else "",
        )


def _listed(
    page_url: str, *, filename: object, url: object, sha256: object, size: int | None, requires_python: str
) -> Iterator[Listed]:
    if not (isinstance(filename, str) and isinstance(url, str) and isinstance(sha256, str)):
        return
    if not _SHA256.fullmatch(sha256) or not filename or set(filename) & set("/\\\0"):
        return
    try:
        absolute = urljoin(page_url, url)
        scheme, host = urlsplit(absolute).scheme, urlsplit(absolute).hostname
    except ValueError:
        return
    # From a page that came by https nothing is fetched that anybody on the way could read or change.
    if host and scheme in {"https", urlsplit(page_url).scheme} & {"https", "http"}:
        yield Listed(
            filename=filename, url=absolute, sha256=sha256, size=size, requires_python=requires_python
        )
