"""Finds what answers in the place of an index: a page to log in, a proxy's own page, a page of another kind.

Such an answer has status 200, and to a resolver it is a page without files: "nothing satisfies these
requirements". So the pages are looked at again where a resolver found no file at all of a name.

A page of an index may be empty (PEP 503), and so may a folder's listing. Only what no index has tells that a
page is none: nobody is refused because a page looks odd.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from urllib.parse import urljoin, urlsplit

from packaging.utils import canonicalize_name

from bundler.create import index_pages
from bundler.create.index_pages import Page
from bundler.create.resolve.resolution import ResolveRequest
from bundler.errors import MachineError
from bundler.system import index_settings, redact
from bundler.system.http import Network

LIMIT = 1 << 20
"""Bytes of a page above which it is not read: one of so many has files."""
MOST_NAMES = 4
"""What answers in the place of an index answers whatever is asked for."""
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}"
_NOT_FOUND = re.compile(
    rf"\bthere (?:is|are) no versions? of (?P<unknown>{_NAME})"
    rf"|(?<![A-Za-z0-9._-])(?P<absent>{_NAME})(?:\[[^\]]{{0,200}}\])? was not found in "
    rf"|No matching distribution found for (?P<to_pip>{_NAME})"
)
"""What uv and pip say of a name of which they found no file that they may take."""
_FILES = (".whl", ".gz", ".bz2", ".xz", ".tgz", ".zip", ".tar", ".egg", ".exe", ".metadata")
_INPUT = re.compile(r"<input\s[^<>]{0,2000}", re.IGNORECASE)
_PASSWORD = re.compile(r"""\stype\s*=\s*["']?password\b""", re.IGNORECASE)
_SAML = re.compile(r"""\sname\s*=\s*["']?SAML(?:Request|Response)\b""", re.IGNORECASE)
"""What a form of the HTTP POST binding must have (SAML 2.0 Bindings, 3.5.4)."""
_META = re.compile(r"<meta\s[^<>]{0,2000}", re.IGNORECASE)
_REFRESH = re.compile(r"""\shttp-equiv\s*=\s*["']?refresh\b""", re.IGNORECASE)
_REFRESH_URL = re.compile(r"""\burl\s*=\s*["']?(?P<url>[^"'\s>]+)""", re.IGNORECASE)
_ACTIVE = re.compile(r"<(?:form|script)\b", re.IGNORECASE)
"""What is on pages for people, and on no stored page of an index without files."""


def require_index(request: ResolveRequest, refused: Exception) -> None:
    """Look at the pages of the names of which a resolver found nothing.

    :param refused: what the resolver said.
    :raises MachineError: one of them is no page of an index.
    """
    names = names_without_files(str(refused))
    if not names:
        return
    network = Network(request.settings, request.requirements, retries=0)
    for url, project in _pages(request, names):
        page = index_pages.fetch(network, url, limit=LIMIT)
        if page is not None and (reason := why_none(page, project)):
            raise MachineError(
                f"{redact.url(url)} answers with what is no page of an index: {reason}",
                hint="check this URL, the credentials for it (netrc, keyring, or the URL in pip's "
                "configuration), and the proxy",
            ) from refused


def names_without_files(said: str) -> Sequence[str]:
    """Return the normalised names of which a resolver says that it found no file, the first few."""
    found = (canonicalize_name(one[one.lastgroup or 0]) for one in _NOT_FOUND.finditer(said))
    return list(dict.fromkeys(found))[:MOST_NAMES]


def _pages(request: ResolveRequest, names: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the URLs that a resolver has read, each with the project whose page it is."""
    settings = request.settings
    indexes = [settings.index_url or index_settings.default_index(), *settings.extra_index_urls]
    for index in () if settings.no_index else indexes:
        for name in names:
            yield urljoin(f"{index.rstrip('/')}/", f"{name}/"), name
    for link in settings.find_links:
        yield link, None


def why_none(page: Page, project: str | None) -> str:
    """Say why an answer is no page of an index; empty where it is one, or may be one.

    :param project: normalised name of the project whose page was asked for; `None`: it is a page of links.
    """
    if not page.sha256:
        return ""
    try:
        names = index_pages.filenames(page)
    except ValueError:
        return f"it is {page.kind[:60] or 'of no media type'}, or cannot be read"
    if not index_pages.is_html(page) or any(name.lower().endswith(_FILES) for name in names):
        return ""
    text = page.content.decode("utf-8", "replace")
    fields = [one[0] for one in _INPUT.finditer(text)]
    if any(map(_PASSWORD.search, fields)):
        return "it asks for a password"
    if any(map(_SAML.search, fields)):
        return "it sends a browser on to log in (SAML)"
    if (target := _refresh(page, text)) is not None:
        return f"it sends a browser on to {target}"
    parts = [canonicalize_name(part) for part in urlsplit(page.came_from or page.url).path.split("/")]
    if project is not None and canonicalize_name(project) not in parts and _ACTIVE.search(text):
        return f"the server redirects to {page.came_from}"
    return ""


def _refresh(page: Page, text: str) -> str | None:
    """Return the other page that an answer sends browsers to, and resolvers do not go to."""
    for meta in _META.finditer(text):
        if _REFRESH.search(meta[0]) and (match := _REFRESH_URL.search(meta[0])):
            try:
                target = redact.url(urljoin(page.came_from or page.url, html.unescape(match["url"])))
            except ValueError:
                continue
            if target not in {page.url, page.came_from}:
                return target
    return None
