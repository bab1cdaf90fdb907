"""What uv's log (`--verbose`) tells: which pages and files it asked for."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from bundler.system import redact

_ASKED = re.compile(
    r"^DEBUG (?:No cache entry for|Found (?P<state>fresh|stale|modified|not-modified) response for): "
    r"(?P<url>https?://\S+)$",
    re.MULTILINE,
)
_LOGGED = re.compile(r"^(?:TRACE|DEBUG|INFO|WARN) .*\n?", re.MULTILINE)


def asked(line: str) -> str | None:
    """Return the URL that uv needed, from a line of its log; `None` where it tells of something else."""
    found = _ASKED.match(line)
    return found["url"] if found else None


def pages(log: str) -> frozenset[str]:
    """Return the URLs of all index pages, without credentials; files have names that end otherwise."""
    return frozenset(redact.url(one["url"]) for one in _ASKED.finditer(log) if _is_page(one["url"]))


def took_unasked(log: str) -> bool:
    """Tell whether uv used an index page that it had, without asking whether it has changed."""
    return any(one["state"] == "fresh" and _is_page(one["url"]) for one in _ASKED.finditer(log))


def _is_page(url: str) -> bool:
    return urlsplit(url).path.endswith("/")


def without_log(text: str) -> str:
    """Return what uv says to its user: warnings and errors."""
    return _LOGGED.sub("", text)
