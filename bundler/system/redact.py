"""Removes credentials from what is printed, logged or written."""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import quote, unquote, urlsplit

from bundler.system.address import Address

AZURE = ("abfs", "abfss", "az")
"""Protocols of fsspec for Azure Blob Storage."""

HIDDEN = "****"
SHORTEST = 6
"""Characters of a password below which it is not looked for in texts: `test` is in many."""
_LONGEST_SCHEME = 32
_END = re.compile(r"[\s\"<>`]")
_QUERY_END = re.compile(r"[\s\"'<>`]|#(?=(?:sha\d+|md5|egg|subdirectory)=)")
_SCHEME = re.compile(r"[A-Za-z0-9.+-]*\Z")
_PATH_WITH_QUERY = re.compile(r"(?:^|(?<=\s))(?P<path>/[^\s?]*\?)[^\s?]\S*")
"""What urllib3 says of a URL: `Max retries exceeded with url: /x.whl?sig=…`."""
_SIGNATURE = re.compile(r"(?P<name>\b(?:sig|AccountKey|SharedAccessSignature|password|token)=)[^\s&;'\"<>]+")
_SECRETS = ("KEY", "SECRET", "TOKEN", "PASSWORD", "CONNECTION_STRING")
_CLOUDS = ("AWS_", "AZURE_", "GOOGLE_", "FSSPEC_")
_ONE_SLASH = re.compile(
    r"\b(?P<scheme>(?:https?|ftp|sftp|ssh|s3|gs|gcs|az|abfss?)):/(?=[^/\s])", re.IGNORECASE
)
"""How a `Path` that was given a URL says it."""
_NETRC_WORDS = frozenset({"default", "machine", "login", "password", "account", "macdef"})
_remembered: set[str] = set()


def remember(*urls: str) -> None:
    """Look for the passwords of these URLs in every text from now on, wherever they stand in it."""
    for one in urls:
        address = Address(one)
        if not address.is_secret:
            continue
        user, _, password = address.user_part.partition(":")
        odd = set(address.parts[4].split("&")) - set(address.fragment().split("&"))
        pairs = [*one.partition("#")[0].partition("?")[2].split("&"), *odd]
        values = [password or user, *(pair.partition("=")[2] for pair in pairs)]
        if found := address.credentials:
            values.append(b64encode(":".join(found).encode()).decode())  # as HTTP has them
        for value in values:
            for form in (value, unquote(value), quote(unquote(value), safe="")):
                if len(form) >= SHORTEST:
                    _remembered.add(form)


def remember_netrc(content: str) -> None:
    """Look for the words of a netrc that may be secrets in every text: parsers tell those they do not expect.

    Hosts and logins are told as ever.
    """
    before = ""
    for word in content.split():
        bare = word.strip("\"'")
        if len(bare) >= SHORTEST and before not in {"machine", "login"} and bare not in _NETRC_WORDS:
            _remembered.update({bare, quote(bare, safe="")})
        before = word


def text(value: str) -> str:
    """Put `****` for user part, query and odd fragment of every URL in a text, and for remembered secrets.

    Linear in the length of the text: output of a failing build may have a million letters in a line.
    """
    for secret in sorted(_remembered, key=len, reverse=True):
        value = value.replace(secret, HIDDEN)
    value = _ONE_SLASH.sub(r"\g<scheme>://", value)
    if "://" not in value:
        return _PATH_WITH_QUERY.sub(rf"\g<path>{HIDDEN}", value)
    shown: list[str] = []
    done = 0
    while (colon := value.find("://", done)) >= 0:
        start = colon + 3
        following = value.find("://", start)
        following = len(value) if following < 0 else following
        end = _END.search(value, start, following)
        stop = end.start() if end else following
        scheme = _SCHEME.search(value, max(0, colon - _LONGEST_SCHEME), colon)
        word = f"{scheme[0] if scheme and scheme[0] else 'x'}://{value[start:stop]}"
        address = Address(word)
        shown.append(value[done:start])
        user, host, path, query, _ = address.parts
        shown.append(f"{HIDDEN}@" if address.user_part else f"{user}@" if user else "")
        shown.append(host + path)
        done = stop
        if query or "?" in word.partition("#")[0][-1:]:
            shown.append(f"?{HIDDEN}")
            # What a query names, another URL perhaps, is a part of it.
            over = _QUERY_END.search(value, value.index("?", start))
            done = over.start() if over else len(value)
        elif "#" in word:
            shown.append(f"#{address.fragment(HIDDEN)}")
    shown.append(value[done:])
    return _PATH_WITH_QUERY.sub(rf"\g<path>{HIDDEN}", "".join(shown))


def url(value: str) -> str:
    """Return a URL without user, password and query string (signed URLs carry their secret there)."""
    return Address(value).shown


def has_credentials(value: str) -> bool:
    """Tell whether a URL carries a user, a password or a query, which may be a signature."""
    return Address(value).is_secret


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
    found = _SIGNATURE.sub(rf"\g<name>{HIDDEN}", text(value))
    for name, secret in environ.items():
        if name.startswith(_CLOUDS) and any(part in name for part in _SECRETS) and len(secret) >= SHORTEST:
            found = found.replace(secret, HIDDEN)
    return found
