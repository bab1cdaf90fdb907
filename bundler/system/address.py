"""URLs that may hold a secret: what of one may be shown, and to which addresses its credentials belong."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import unquote, urlsplit

from bundler.errors import InputError

_PORTS = {"http": "80", "https": "443"}
_PLAIN_FRAGMENT = re.compile(r"(?:sha\d+|md5|egg|subdirectory)=.*|[^=]*", re.DOTALL)
"""A part of a fragment that is no secret: what pip and uv read of it, or an anchor."""


@dataclass(frozen=True)
class Address:
    """A URL, a wrong one too. No accident shows its text: `str` and `repr` are without secrets."""

    text: str = field(repr=False)
    """With everything in it: only for what is fetched, and for the environment of a child."""

    def __str__(self) -> str:
        """Return `shown`."""
        return self.shown

    @cached_property
    def scheme(self) -> str:
        """With `git+` and the like in front, as it was written."""
        return self.text.partition("://")[0] if "://" in self.text else ""

    @cached_property
    def parts(self) -> tuple[str, str, str, str, str]:
        """User part, host with port, path, query, fragment; the first ends at the last @ that can end it."""
        whole = self.text.partition("://")[2] if self.scheme else self.text
        rest, _, fragment = whole.partition("#")
        before, _, query = rest.partition("?")
        authority, slash, path = before.partition("/")
        # RFC 3986 wants an @, /, ? or # in a password encoded; who forgets it must not find it printed.
        if "@" not in authority and "@" in whole and not _is_host(authority):
            user, _, rest = whole.rpartition("@")
            rest, _, fragment = rest.partition("#")
            before, _, query = rest.partition("?")
            host, slash, path = before.partition("/")
            return user, host, slash + path, query, fragment
        user, _, host = authority.rpartition("@")
        return user, host, slash + path, query, fragment

    @property
    def user_part(self) -> str:
        """`user:password` or `token`, as written; empty where there is none, or a fixed account of SSH."""
        user = self.parts[0]
        # `git@host` in an SSH address is a name that everybody knows.
        return "" if self.scheme.rpartition("+")[2].lower() == "ssh" and ":" not in user else user

    def fragment(self, instead: str | None = None) -> str:
        """Return of the fragment what may be shown: hashes, `egg`, `subdirectory`, an anchor; not `token=…`.

        :param instead: what stands for each other part; `None`: it is left out.
        """
        parts = (one if _PLAIN_FRAGMENT.fullmatch(one) else instead for one in self.parts[4].split("&"))
        return "&".join(one for one in parts if one is not None)

    @property
    def is_secret(self) -> bool:
        """Whether it has a user part, a query (signed URLs have their secret there), or an odd fragment."""
        return bool(self.user_part or self.parts[3] or self.fragment() != self.parts[4])

    @cached_property
    def shown(self) -> str:
        """It without user part and query."""
        if not self.is_secret:
            return self.text
        user, host, path = self.parts[:3]
        account = f"{user}@" if user and not self.user_part else ""
        fragment = f"#{self.fragment()}" if self.fragment() else ""
        return f"{self.scheme}://{account}{host}{path}{fragment}" if self.scheme else f"{host}{path}"

    @property
    def without_user(self) -> str:
        """It without user part, with its query: still the address of the same file."""
        return self.text.replace(f"{self.user_part}@", "", 1) if self.user_part else self.text

    @property
    def credentials(self) -> tuple[str, str] | None:
        """User and password, decoded."""
        if not self.user_part:
            return None
        user, _, password = self.user_part.partition(":")
        return unquote(user), unquote(password)

    @property
    def origin(self) -> tuple[str, str]:
        """Scheme, without `git+` and the like, and host with port, as they are compared."""
        scheme = self.scheme.rpartition("+")[2].lower()
        return scheme, self.parts[1].lower().removesuffix(f":{_PORTS.get(scheme, '')}")

    @property
    def segments(self) -> tuple[str, ...]:
        """Of the path, as a server gets it: `/a/../b` is `/b`, to which no credentials of `/a` belong."""
        found: list[str] = []
        for one in self.parts[2].split("/"):
            plain = unquote(one)
            if plain == "..":
                found = found[:-1]
            elif plain not in {"", "."}:
                found.append(one)
        return tuple(found)

    def check(self, *, where: str) -> None:
        """Refuse what is no URL.

        :param where: what it was given as, for the message.
        :raises InputError: it has no host, a wrong port, or a wrong address in brackets.
        """
        problem = ""
        try:
            parts = urlsplit(self.text)
            if not parts.scheme.endswith("file") and not parts.hostname:
                problem = "it names no host"
            if not parts.scheme.endswith("ssh"):  # `ssh://git@host:folder/…` is an old way to write it
                _ = parts.port
        except ValueError as error:
            problem = str(error)
        if not problem and ("\0" in self.text or any(one.isspace() for one in self.text)):
            problem = "it has a space or a control character in it"
        if problem:
            raise InputError(f"{where}: {self.shown!r} is not a URL: {problem}", hint="check the address")


def _is_host(authority: str) -> bool:
    """Tell whether what stands between `//` and `/` is a host, and not the beginning of a password."""
    _, colon, port = authority.rpartition(":")
    return not colon or authority.endswith("]") or (port.isdecimal() and len(port) <= 5) or not port


def nearest(url: str, known: Iterable[Address]) -> Address | None:
    """Return the address whose credentials a URL is to be fetched with; `None`: there are none for it.

    Scheme, host and port must be equal. Of several the one counts whose path has the most segments in common:
    two feeds of a host have each its own token. Where that tells them not apart, none is sent.
    """
    wanted = Address(url)
    found: dict[tuple[str, str], tuple[int, Address]] = {}
    for one in known:
        if (credentials := one.credentials) is None or one.origin != wanted.origin:
            continue
        common = 0
        for mine, other in zip(one.segments, wanted.segments, strict=False):
            if mine != other:
                break
            common += 1
        if common >= found.get(credentials, (-1, one))[0]:
            found[credentials] = (common, one)
    best = sorted(found.values(), key=lambda row: -row[0])[:2]
    if not best or (len(best) == 2 and best[0][0] == best[1][0]):
        return None
    return best[0][1]
