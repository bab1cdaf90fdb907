"""Removes credentials from what is printed, logged or written."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

AZURE = ("abfs", "abfss", "az")
"""Protocols of fsspec for Azure Blob Storage."""

_USERINFO = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/@\s'\"]+@", re.IGNORECASE)
# `git@host` in an SSH address is a fixed account name, not a secret.
_ACCOUNT = re.compile(r"^(?:git\+)?ssh://[^/:@\s]+@", re.IGNORECASE)
_QUERY = re.compile(r"(?P<address>[a-z][a-z0-9+.-]*://[^\s?'\"<>]+)\?[^\s'\"<>]*", re.IGNORECASE)
_SIGNATURE = re.compile(r"(?P<name>\b(?:sig|AccountKey|SharedAccessSignature|password|token)=)[^\s&;'\"<>]+")
_SECRETS = ("KEY", "SECRET", "TOKEN", "PASSWORD", "CONNECTION_STRING")
_CLOUDS = ("AWS_", "AZURE_", "GOOGLE_", "FSSPEC_")


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


def storage_url(value: str) -> str:
    """Return a URL of fsspec without password, key or signature; the container of an Azure URL stays."""
    protocol, separator, _ = value.partition("://")
    if not separator:
        return text(value)
    if protocol.lower() in {"file", "local", "memory"}:
        return value
    if protocol.lower() not in AZURE:
        return url(value)
    # abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/…: the part before the @ is no secret here.
    parts = urlsplit(value)
    container, _, account = parts.netloc.rpartition("@")
    host = f"{container.partition(':')[0]}@{account}" if container else account
    return f"{protocol}://{host}{parts.path}"


def error_text(value: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the message of another package's exception without anything that may be a secret.

    Removed are credentials and queries of URLs, signatures, and the values of secret variables of the clouds.
    """
    found = _QUERY.sub(r"\g<address>?****", text(value))
    found = _SIGNATURE.sub(r"\g<name>****", found)
    for name, secret in environ.items():
        if name.startswith(_CLOUDS) and any(part in name for part in _SECRETS) and len(secret) >= 6:
            found = found.replace(secret, "****")
    return found
