"""Gives git the credentials of the caller's own VCS requirements, where no other user can read them."""

from __future__ import annotations

import re
from base64 import b64encode

from bundler.model import Requirements
from bundler.system.address import Address

PATIENCE = {"GIT_HTTP_LOW_SPEED_LIMIT": "1024", "GIT_HTTP_LOW_SPEED_TIME": "60"}
"""A server that sends less than so many bytes a second, for so many seconds, is given up: by itself git waits
for ever, and so would a resolver."""
_VCS = re.compile(r"(?P<before>^|.* @ )(?P<url>git\+https?://\S+)(?P<after>.*)", re.DOTALL)


def without_credentials(text: str) -> str:
    """Return a requirement as the resolver gets it: that of a repository without user and password.

    Else they stand in the command line of git, which every user of the machine can read.
    """
    match = _VCS.fullmatch(text)
    return f"{match['before']}{Address(match['url']).shown}{match['after']}" if match else text


def variables(requirements: Requirements | None) -> dict[str, str]:
    """Return variables for git: its patience, and the credentials of these requirements; a lock has none.

    These set `http.URL.extraHeader` (git 2.31 and later). `url.WITH.insteadOf` would put them into the
    command line of git's own helpers. A header is for the repository's own URL; for all of its host,
    submodules above all, where the host has one user only.
    """
    known: list[Address] = []
    for requirement in requirements.requirements if requirements else ():
        match = _VCS.fullmatch(requirement.text)
        if match and Address(match["url"]).credentials:
            known.append(Address(match["url"].removeprefix("git+")))
    headers: dict[str, str] = {}
    for one in known:
        same = {other.credentials for other in known if other.origin == one.origin}
        path = "/".join(one.segments) if len(same) > 1 else ""
        before, at, _ = path.rpartition("@")
        url = f"{one.origin[0]}://{one.origin[1]}/{before if at else path}"
        user, password = one.credentials or ("", "")
        basic = b64encode(f"{user}:{password}".encode()).decode()
        headers[f"http.{url}.extraHeader"] = f"Authorization: Basic {basic}"
    found = {**PATIENCE, **({"GIT_CONFIG_COUNT": str(len(headers))} if headers else {})}
    for number, (key, value) in enumerate(headers.items()):
        found |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return found
