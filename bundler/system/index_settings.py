"""The index settings of the caller's pip: where distributions come from, as pip's own rules have it.

The caller's pip configuration is read once, by the caller's own pip; only what says where
distributions come from and how to get there is passed on, as explicit flags and variables
(https://pip.pypa.io/en/stable/topics/configuration/).
"""

from __future__ import annotations

import ast
import functools
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.errors import CommandError, InputError, MachineError
from bundler.model import IndexSettings
from bundler.system import process, redact

if TYPE_CHECKING:
    from collections.abc import Mapping


NETWORK_VARIABLES = (
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "GIT_SSH_COMMAND",
    "SSH_AUTH_SOCK",
)
"""Without these a scrubbed child trusts no certificate behind an inspecting proxy."""

_PASSED = {
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "trusted-host",
    "cert",
    "client-cert",
    "proxy",
    "timeout",
    "retries",
    "keyring-provider",
}
_ALIASES = {"default-timeout": "timeout", "pypi-url": "index-url"}
_SILENT = {
    "cache-dir",
    "no-cache-dir",
    "config-file",
    "disable-pip-version-check",
    "no-color",
    "progress-bar",
    "quiet",
    "verbose",
    "no-input",
}
"""Settings without an effect on the result: neither passed on nor worth a word."""


def read_settings(environ: Mapping[str, str] = os.environ) -> IndexSettings:
    """Read the index settings of the caller's pip: files and `PIP_*`, merged by pip itself.

    :raises MachineError: pip cannot read its own configuration.
    :raises InputError: a setting has a value that cannot be meant.
    """
    listing = _listing(tuple(sorted(environ.items())))
    return parse_settings(listing if "PIP_USER" in environ else listing.replace(":env:.user='0'\n", ""))


@functools.lru_cache(maxsize=1)
def _listing(environ: tuple[tuple[str, str], ...]) -> str:
    """Ask pip, once a process: a run over many bundles asks before it divides into processes."""
    # `quiet` silences the list too, `user` leaves the global file out of it, `python` asks another pip.
    env = {name: value for name, value in environ if name != "PIP_PYTHON"}
    env |= {"PIP_QUIET": "0", "PIP_USER": "0"}
    try:
        return process.run([sys.executable, "-I", "-m", "pip", "config", "list"], env=env).stdout
    except CommandError as error:
        last = (error.stderr.strip().splitlines() or [error.message])[-1]
        raise MachineError(
            f"pip cannot read its configuration: {last}", hint="run `pip config debug` to find the file"
        ) from error


def parse_settings(listing: str) -> IndexSettings:
    """Turn the lines of `pip config list` into settings; later sections win, the environment last."""
    merged: dict[str, str] = {}
    ignored: set[str] = set()
    order = {"global": 0, "install": 1, ":env:": 2}
    rows: list[tuple[int, str, str]] = []
    for line in listing.splitlines():
        key, separator, literal = line.partition("=")
        section, dot, name = key.rpartition(".")
        if separator and dot and section in order:
            rows.append((order[section], _ALIASES.get(name, name), str(ast.literal_eval(literal))))
    for _, name, value in sorted(rows, key=lambda row: row[0]):
        if name in _PASSED:
            merged[name] = value
        elif name not in _SILENT:
            ignored.add(name)
    return IndexSettings(
        index_url=merged.get("index-url"),
        extra_index_urls=tuple(merged.get("extra-index-url", "").split()),
        find_links=tuple(_absolute(link) for link in merged.get("find-links", "").split()),
        no_index=merged.get("no-index", "").lower() in {"1", "true", "t", "yes", "y", "on"},
        trusted_hosts=tuple(merged.get("trusted-host", "").split()),
        cert=_absolute(merged["cert"]) if "cert" in merged else None,
        client_cert=_absolute(merged["client-cert"]) if "client-cert" in merged else None,
        proxy=merged.get("proxy"),
        timeout=_number(merged, "timeout"),
        retries=None if (retries := _number(merged, "retries")) is None else int(retries),
        keyring_provider=merged.get("keyring-provider"),
        ignored=tuple(sorted(ignored)),
    )


def _absolute(place: str) -> str:
    """A path that means the same in another current folder; URLs as they are."""
    return place if "://" in place else str(Path(place).expanduser().absolute())


def _number(settings: Mapping[str, str], name: str) -> float | None:
    value = settings.get(name)
    if not value:
        return None
    try:
        return float(value)
    except ValueError:
        raise InputError(
            f"pip's configuration: {name} = {value!r} is no number",
            hint="run `pip config debug` to find where it is set",
        ) from None


def merge(caller: IndexSettings, given: IndexSettings) -> IndexSettings:
    """Put what a requirements file or the command line says over the caller's configuration."""
    return replace(
        caller,
        index_url=given.index_url or caller.index_url,
        extra_index_urls=(*caller.extra_index_urls, *given.extra_index_urls),
        find_links=(*caller.find_links, *given.find_links),
        no_index=caller.no_index or given.no_index,
        trusted_hosts=(*caller.trusted_hosts, *given.trusted_hosts),
    )


def index_flags(settings: IndexSettings) -> list[str]:
    """Flags of pip that say where distributions come from; `index_variables` has the URLs."""
    flags: list[str] = []
    if settings.no_index:
        flags.append("--no-index")
    for link in settings.find_links:
        if not redact.has_credentials(link):
            flags += ["--find-links", link]
    for host in settings.trusted_hosts:
        flags += ["--trusted-host", host]
    for flag, value in (
        ("--cert", settings.cert),
        ("--client-cert", settings.client_cert),
        ("--timeout", f"{settings.timeout:g}" if settings.timeout else None),
        ("--retries", None if settings.retries is None else str(settings.retries)),
        ("--keyring-provider", settings.keyring_provider),
    ):
        if value is not None:
            flags += [flag, value]
    return flags


def index_variables(settings: IndexSettings) -> dict[str, str]:
    """The index URLs as variables: every user of the machine can read the words of a command."""
    variables: dict[str, str] = {}
    if settings.index_url:
        variables["PIP_INDEX_URL"] = settings.index_url
    if settings.extra_index_urls:
        variables["PIP_EXTRA_INDEX_URL"] = " ".join(settings.extra_index_urls)
    if pages := [link for link in settings.find_links if redact.has_credentials(link)]:
        variables["PIP_FIND_LINKS"] = " ".join(pages)
    if settings.proxy:
        variables["PIP_PROXY"] = settings.proxy
    return variables


def network_variables(
    settings: IndexSettings, *, scratch: Path, environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Variables that a child needs for the network: proxies, certificates, netrc, keyring, the PATH of tools.

    :param scratch: a folder of the run's own, which gets the `keyring` launcher.
    """
    passed = {name: environ[name] for name in NETWORK_VARIABLES if environ.get(name)}
    netrc = Path(environ.get("NETRC") or Path(environ.get("HOME", "/")) / ".netrc")
    if netrc.is_file():
        passed["NETRC"] = str(netrc)
    folders = [process.SYSTEM_PATH]
    if git := shutil.which("git", path=environ.get("PATH")):
        folders.append(str(Path(git).parent))
    keyring = shutil.which("keyring", path=environ.get("PATH"))
    if keyring and settings.keyring_provider in {"subprocess", "auto", "import"}:
        folders.insert(0, str(_keyring_launcher(Path(keyring), scratch=scratch, environ=environ)))
    return {**passed, "PATH": ":".join(folders)}


def _keyring_launcher(keyring: Path, *, scratch: Path, environ: Mapping[str, str]) -> Path:
    """Write a launcher that gives the caller's HOME and session back to keyring, and to it alone."""
    folder = scratch / "keyring"
    folder.mkdir(exist_ok=True)
    kept = ("HOME", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "PYTHON_KEYRING_BACKEND")
    restored = {name: environ[name] for name in kept if environ.get(name)}
    launcher = folder / "keyring"
    launcher.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        f"os.environ.update({restored!r})\n"
        f"os.execv({str(keyring)!r}, [{str(keyring)!r}, *sys.argv[1:]])\n",
        encoding="utf-8",
    )
    launcher.chmod(0o755)
    return folder
