"""The index settings of the caller's pip, and the flags and variables that pass them on.

The caller's pip reads its own configuration, once. We pass on only what says where distributions come from
and how to get there (https://pip.pypa.io/en/stable/topics/configuration/).
"""

from __future__ import annotations

import ast
import contextlib
import functools
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bundler.errors import CommandError, InputError, MachineError
from bundler.model import IndexSettings
from bundler.system import outside, process, redact
from bundler.system.address import Address
from bundler.system.files import at_home, is_folder

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
"""What a child needs of the caller's environment to get through proxies, some of which inspect TLS."""

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
_LONGEST_NETRC = 1 << 16
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
"""Settings without an effect on the result: neither passed on nor reported as ignored."""
_PLAIN = _PASSED - {"no-index", "timeout", "retries", "keyring-provider"} | {"cache-dir", "config-file"}
"""Settings for which pip takes every text."""
_NUMBERS = {"timeout", "default-timeout", "retries"}
_SWITCHES = {"disable-pip-version-check", "no-cache-dir", "no-color", "no-input"}
"""Settings for which pip takes 0 and 1; for those of `_NUMBERS` it takes whole numbers."""
_ARCHIVES = (
    ".whl",
    ".zip",
    ".gz",
    ".tgz",
    ".bz2",
    ".tbz",
    ".xz",
    ".txz",
    ".tlz",
    ".lz",
    ".lzma",
    ".tar",
    ".metadata",
)
"""How the names end that pip and uv open in a folder of --find-links."""


def read_settings(environ: Mapping[str, str] = os.environ) -> IndexSettings:
    """Read the index settings of the caller's pip: files and `PIP_*`, merged by pip itself.

    :raises MachineError: pip cannot read its own configuration.
    :raises InputError: a setting has a value that cannot be meant.
    """
    # Of these a message of uv or requests may say the password, and not as a URL.
    redact.remember(*(value for name, value in environ.items() if name.lower().endswith("_proxy")))
    listing = _listing(tuple(sorted(environ.items())))
    return parse_settings(listing if "PIP_USER" in environ else listing.replace(":env:.user='0'\n", ""))


def default_index() -> str:
    """Return the URL of the index that pip asks where the caller configured none; uv's is the same."""
    from pip._internal.models.index import PyPI  # noqa: PLC0415 - few runs need it

    return f"{PyPI.simple_url}/"


@functools.lru_cache(maxsize=1)
def _listing(environ: tuple[tuple[str, str], ...]) -> str:
    """Return what `pip config list` prints; asked once a process, and `rebuild` asks before it forks.

    It lists files in the order of their paths: where two name one key, `pip config get` tells which counts.
    """
    known = _without_files(dict(environ))
    if known is not None:
        return known
    # `quiet` would silence the list, `user` leave the global file out, and `python` ask another pip.
    env = {name: value for name, value in environ if name != "PIP_PYTHON"}
    env |= {"PIP_QUIET": "0", "PIP_USER": "0"}
    words = [sys.executable, "-I", "-m", "pip", "config"]
    try:
        lines = process.run([*words, "list"], env=env).stdout.splitlines()
        times = Counter(line.partition("=")[0] for line in lines)
        twice = [key for key, count in times.items() if count > 1]
        lines += [f"{key}={process.run([*words, 'get', key], env=env).stdout[:-1]!r}" for key in twice]
        return "".join(f"{line}\n" for line in lines)
    except CommandError as error:
        last = (error.stderr.strip().splitlines() or [error.message])[-1]
        raise MachineError(
            f"pip cannot read its configuration: {last}", hint="run `pip config debug` to find the file"
        ) from error


def _without_files(environ: Mapping[str, str]) -> str | None:
    """Return what pip would list where no file configures it and no variable can be wrong; `None`: ask pip.

    pip takes 0.3 s to say it, and nothing can be asked of an index before.
    """
    variables = {name: value for name, value in environ.items() if name.startswith("PIP_")}
    found = {name[4:].lower().replace("_", "-"): value for name, value in variables.items()}
    plain = all(
        name in _PLAIN
        or (name in _SWITCHES and value in {"0", "1"})
        or (name in _NUMBERS and value.isascii() and value.isdigit())
        for name, value in found.items()
    )
    if not plain or len(found) != len(variables) or sys.platform != "linux":
        return None
    named = environ.get("PIP_CONFIG_FILE")
    if named not in {None, os.devnull}:
        return None
    try:
        if named is None and any(path.exists() for path in _files(environ)):
            return None
    except (OSError, KeyError):
        return None
    return "".join(f":env:.{name}={value!r}\n" for name, value in sorted(found.items()))


def _files(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield every file that pip may read as its configuration on Linux, and some that it does not.

    https://pip.pypa.io/en/stable/topics/configuration/#location

    :raises KeyError: the user's home is not known.
    """
    home = Path(environ["HOME"])
    folders = [*environ.get("XDG_CONFIG_DIRS", "").split(os.pathsep), environ.get("XDG_CONFIG_HOME", "")]
    for folder in (Path("/etc/xdg"), home / ".config", *map(Path, filter(None, folders))):
        yield folder.expanduser() / "pip" / "pip.conf"
    yield from (Path("/etc/pip.conf"), home / ".pip" / "pip.conf", Path(sys.prefix, "pip.conf"))


def parse_settings(listing: str) -> IndexSettings:
    """Return the settings in the lines of `pip config list`.

    `[install]` wins over `[global]`, and the environment over both.

    :raises InputError: a setting has a value that cannot be meant.
    """
    sections: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listing.splitlines():
        key, separator, literal = line.partition("=")
        section, _, name = key.rpartition(".")
        if separator and section in sections:
            sections[section][_ALIASES.get(name, name)] = str(ast.literal_eval(literal))
    found = {**sections["global"], **sections["install"], **sections[":env:"]}
    retries = _number(found, "retries")
    settings = IndexSettings(
        index_url=found.get("index-url"),
        extra_index_urls=tuple(found.get("extra-index-url", "").split()),
        find_links=tuple(_absolute(link) for link in found.get("find-links", "").split()),
        no_index=found.get("no-index", "").lower() in {"1", "true", "t", "yes", "y", "on"},
        trusted_hosts=tuple(found.get("trusted-host", "").split()),
        cert=_absolute(found["cert"]) if "cert" in found else None,
        client_cert=_absolute(found["client-cert"]) if "client-cert" in found else None,
        proxy=found.get("proxy"),
        timeout=_number(found, "timeout"),
        retries=None if retries is None else int(retries),
        keyring_provider=found.get("keyring-provider"),
        ignored=tuple(sorted(found.keys() - _PASSED - _SILENT)),
    )
    # Even where nothing is asked for by them, a message may say them.
    redact.remember(*(url for _, url in _urls(settings)))
    return settings


def _urls(settings: IndexSettings) -> Iterator[tuple[str, str]]:
    """Yield the name of a setting and a URL in it."""
    yield "index-url", settings.index_url or ""
    yield from (("extra-index-url", url) for url in settings.extra_index_urls)
    yield from (("find-links", url) for url in settings.find_links)
    yield "proxy", settings.proxy or ""


def _absolute(path: str) -> str:
    """Return an absolute path; URLs as they are."""
    return path if "://" in path else str(at_home(path).absolute())


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
    """Return the caller's settings, overridden by those of a requirements file or the command line.

    Their passwords are kept out of every text from now on.

    :raises InputError: an address is no URL, or a local file is none.
    """
    merged = replace(
        caller,
        index_url=given.index_url or caller.index_url,
        extra_index_urls=(*caller.extra_index_urls, *given.extra_index_urls),
        find_links=(*caller.find_links, *given.find_links),
        no_index=caller.no_index or given.no_index,
        trusted_hosts=(*caller.trusted_hosts, *given.trusted_hosts),
    )
    for name, url in _urls(merged):
        redact.remember(url)
        if "://" in url:
            Address(url).check(where=name)
    for link in merged.find_links:
        _check_files(link)
    return merged


def _check_files(link: str) -> None:
    """Refuse a local place of --find-links with a FIFO or device in it: pip and uv would read it for ever."""
    place = Path(unquote(urlsplit(link).path) if link.startswith("file:") else link)
    if "://" in link and not link.startswith("file:"):
        return
    entries = [place / name for name in _archives(place)] if is_folder(place) else [place]
    for entry in entries:
        if wrong := outside.why_no_archive(entry):
            raise InputError(f"--find-links: {entry} {wrong}", hint="remove it from there")


def _archives(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if name.endswith(_ARCHIVES)]  # noqa: PTH208 - names alone
    except OSError:
        return []  # the resolver says so


def index_flags(settings: IndexSettings) -> list[str]:
    """Return pip's flags for the settings; `index_variables` returns the URLs."""
    flags = ["--no-index"] if settings.no_index else []
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
    """Return pip's variables for the URLs: every user of the machine can read a command line."""
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
    """Return the variables that a child needs for the network: proxies, certificates, netrc, keyring, PATH.

    :param scratch: a private folder for the `keyring` launcher.
    """
    passed = {name: environ[name] for name in NETWORK_VARIABLES if environ.get(name)}
    netrc = Path(environ.get("NETRC") or Path(environ.get("HOME", "/")) / ".netrc")
    if netrc.is_file():
        with contextlib.suppress(InputError):  # what is none says so to whoever reads it
            redact.remember_netrc(outside.read_text(netrc, limit=_LONGEST_NETRC, hint="", named=True))
        passed["NETRC"] = str(netrc.absolute())  # children run in other folders
    folders = [process.SYSTEM_PATH]
    if git := shutil.which("git", path=environ.get("PATH")):
        folders.append(str(Path(git).absolute().parent))
    keyring = shutil.which("keyring", path=environ.get("PATH"))
    if keyring and settings.keyring_provider in {"subprocess", "auto", "import"}:
        folders.insert(0, str(_keyring_launcher(Path(keyring), scratch=scratch, environ=environ)))
    return {**passed, "PATH": ":".join(folders)}


def _keyring_launcher(keyring: Path, *, scratch: Path, environ: Mapping[str, str]) -> Path:
    """Write a launcher that runs keyring, and nothing else, with the caller's HOME and session."""
    folder = scratch / "keyring"
    folder.mkdir(exist_ok=True)
    kept = ("HOME", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "PYTHON_KEYRING_BACKEND")
    restored = {name: environ[name] for name in kept if environ.get(name)}
    launcher, keyring = folder / "keyring", keyring.absolute()
    launcher.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        f"os.environ.update({restored!r})\n"
        f"os.execv({str(keyring)!r}, [{str(keyring)!r}, *sys.argv[1:]])\n",
        encoding="utf-8",
    )
    launcher.chmod(0o755)
    return folder
