"""Finds what answers in the place of an index: a page to log in, a proxy's own page, a page of another kind.

Such an answer has a status of success, and to a resolver it is a page without files: "nothing satisfies these
requirements". So the pages are looked at again where a resolver found no file at all of a name; and where all
was found elsewhere, one page of each place that gave nothing: what the caller's own index has may have been
taken from a public one.

A page of an index may be empty (PEP 503), and so may a folder's listing. Only what no index has tells that a
page is none: nobody is refused because a page looks odd.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from packaging.utils import canonicalize_name

from bundler.create import index_pages
from bundler.create.index_pages import Page
from bundler.create.resolve.resolution import ResolveRequest
from bundler.errors import MachineError
from bundler.model import Lock
from bundler.system import index_settings, redact
from bundler.system.http import Network

LIMIT = 1 << 20
"""Bytes of a page above which it is not read: one of so many has files."""
MOST_NAMES = 4
"""What answers in the place of an index answers whatever is asked for."""
_TO_CHECK = "the credentials for it (netrc, keyring, or the URL in pip's configuration), and the proxy"
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
_SCRIPT = re.compile(r"<script\b", re.IGNORECASE)
_WITHOUT_SCRIPT = re.compile(r"<noscript\b(?P<said>.{0,1000})", re.IGNORECASE | re.DOTALL)
_EMPTY = re.compile(r"<(?:div|main)\s(?P<attributes>[^<>]{0,400})>\s{0,400}</(?:div|main)\b", re.IGNORECASE)
_ID = re.compile(r"(?:^|\s)id\s{0,9}=", re.IGNORECASE)
"""What a script fills with all that people see is an empty element with a name."""


def require_index(request: ResolveRequest, refused: Exception) -> None:
    """Look at the pages of the names of which a resolver found nothing.

    :param refused: what the resolver said.
    :raises MachineError: one of them is no page of an index.
    """
    names = names_without_files(str(refused))
    if not names:
        return
    network = Network(request.settings, request.requirements, retries=0)
    pages = [place.page(name) for place in _places(request) for name in names]
    for url, project in dict.fromkeys(pages):
        page = index_pages.fetch(network, url, limit=LIMIT)
        if page is not None and (reason := why_none(page, project)):
            raise MachineError(
                f"{redact.url(url)} answers with what is no page of an index: {reason}",
                hint=f"check this URL, {_TO_CHECK}",
            ) from refused


def passed_over(request: ResolveRequest, lock: Lock) -> Iterator[str]:
    """Yield a sentence for each of several places that gave nothing to a lock and answers with no page.

    Of each one page is fetched, of a name in the lock. pip does not tell which index gave what, so that all
    further ones are asked.
    """
    settings = request.settings
    found = [dist for dist in lock.distributions if dist.source == "index"]
    names = [dist.name for dist in sorted(found, key=lambda dist: not dist.requested)][:1]
    giving = {dist.index for dist in found}
    if not names:
        return
    network = Network(settings, request.requirements, retries=0)
    for place in _places(request):
        if (None if place.is_default else redact.url(place.url)) in giving:
            continue
        url, project = place.page(names[0])
        page = index_pages.fetch(network, url, limit=LIMIT)
        reason = why_none(page, project) if page else ""
        # A keyring may have credentials: the resolver asks it, and we do not.
        if page is None and not settings.keyring_provider and index_pages.wants_credentials(network, url):
            reason = "it wants credentials"
        if reason:
            yield (
                f"{redact.url(place.url)} is passed over, and all was found elsewhere: its answer is "
                f"no page of an index, {reason}; check {_TO_CHECK}"
            )


def names_without_files(said: str) -> Sequence[str]:
    """Return the normalised names of which a resolver says that it found no file, the first few."""
    found = (canonicalize_name(one[one.lastgroup or 0]) for one in _NOT_FOUND.finditer(said))
    return list(dict.fromkeys(found))[:MOST_NAMES]


class _Place(NamedTuple):
    """Where a resolver looks for files."""

    url: str
    is_index: bool
    is_default: bool = False
    """An index that the caller has not named."""

    def page(self, name: str) -> tuple[str, str | None]:
        """Return the URL that a resolver reads for a name, and the name where the page is of that alone."""
        return (urljoin(f"{self.url.rstrip('/')}/", f"{name}/"), name) if self.is_index else (self.url, None)


def _places(request: ResolveRequest) -> Iterator[_Place]:
    """Yield the indexes and pages of links, in the order in which they were named."""
    settings = request.settings
    if not settings.no_index:
        named = settings.index_url
        yield _Place(named or index_settings.default_index(), is_index=True, is_default=not named)
        for index in settings.extra_index_urls:
            yield _Place(index, is_index=True)
    for link in settings.find_links:
        yield _Place(link, is_index=False)


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
    if not names and _needs_script(text):
        return "it is a page that a browser's JavaScript makes"
    return ""


def _needs_script(text: str) -> bool:
    """Tell whether a page without a link shows people nothing either before its script has run."""
    if not _SCRIPT.search(text):
        return False
    said = (one["said"].lower().partition("</noscript")[0] for one in _WITHOUT_SCRIPT.finditer(text))
    empty = (_ID.search(one["attributes"]) for one in _EMPTY.finditer(text))
    return any("javascript" in one for one in said) or any(empty)


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
