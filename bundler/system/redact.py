"""Takes credentials out of whatever is printed, logged or written."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

_USERINFO = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/@\s'\"]+@", re.IGNORECASE)
# `git@host` in an SSH address is a fixed account name, not a secret.
_ACCOUNT = re.compile(r"^(?:git\+)?ssh://[^/:@\s]+@", re.IGNORECASE)


def text(value: str) -> str:
    """Replace `user:password@` (or `token@`) of every URL in a text by `****@`."""

    def replaced(match: re.Match[str]) -> str:
        return match[0] if _ACCOUNT.match(match[0]) else f"{match['scheme']}****@"

    return _USERINFO.sub(replaced, value)


def url(value: str) -> str:
    """Return a URL without user, password and query string (signed URLs carry their secret there)."""
    if _ACCOUNT.match(value):
        return value
    parts = urlsplit(value)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", parts.fragment))


def has_credentials(value: str) -> bool:
    """Tell whether a URL carries a user or password."""
    return "@" in urlsplit(value).netloc and not _ACCOUNT.match(value)
