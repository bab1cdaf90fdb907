"""What uv's log (`--verbose`) tells: which pages and files it asked for."""

from __future__ import annotations

import re

_ASKED = re.compile(
    r"^DEBUG (?:No cache entry for|Found (?:fresh|stale|modified|not-modified) response for): "
    r"(?P<url>https?://\S+)$"
)
_LOGGED = re.compile(r"^(?:TRACE|DEBUG|INFO|WARN) .*\n?", re.MULTILINE)


def asked(line: str) -> str | None:
    """Return the URL that uv needed, from a line of its log; `None` where it tells of something else."""
    found = _ASKED.match(line)
    return found["url"] if found else None


def without_log(text: str) -> str:
    """Return what uv says to its user: warnings and errors."""
    return _LOGGED.sub("", text)
