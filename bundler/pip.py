"""The one home of pip: the caller's index settings, pip's flags, and the pip that drives the target.

The caller's pip configuration is read once, by the caller's own rules; only what says where
distributions come from and how to get there is passed on, as explicit flags. Every pip of ours runs
with `PIP_CONFIG_FILE` on the null device, since `--isolated` still reads the global configuration
(https://pip.pypa.io/en/stable/topics/configuration/).
"""

from __future__ import annotations

import ast
import functools
import os
import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from bundler import pipfolder, process, redact
from bundler.errors import CommandError, InputError, MachineError
from bundler.model import IndexSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bundler.model import Interpreter
    from bundler.store import Store

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


@dataclass(frozen=True, kw_only=True)
class _Release:
    version: str
    sha256: str

    @property
    def filename(self) -> str:
        return f"pip-{self.version}-py3-none-any.whl"


# The last pip that each Python can run; an older one did not finish some resolutions in minutes.
_LAST_FOR_37 = _Release(
    version="24.0", sha256="ba0d021a166865d2265246961bec0152ff124de910c5cc39f1156ce3fa7c69dc"
)
_LAST_FOR_38 = _Release(
    version="25.0.1", sha256="c46efd13b6aa8279f33f2864459c8ce587ea6a1a59ee20de055868d8f7688f7f"
)
_FROM_39 = _Release(
    version="26.0.1", sha256="bdb1b08f4274833d62c1aa29e20907365a2ceb950410df15fc9521bad440122b"
)


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


def _nothing() -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Pip:
    """The pip that the target interpreter runs from outside its environment."""

    folder: Path
    version: str
    settings: IndexSettings
    variables: Mapping[str, str]
    """What `network_variables` gave."""
    glibc: tuple[int, int]
    ready: Callable[[], None] = field(default=_nothing, repr=False, compare=False)
    """Waits until it is there; raises `MachineError` where it cannot be had."""

    def run(
        self,
        python: Path,
        command: Sequence[str | Path],
        *,
        scratch: Path,
        pose: bool = True,
        check: bool = True,
        extra: Mapping[str, str] | None = None,
    ) -> process.Completed:
        """Run `pip COMMAND` with `python`.

        :param scratch: stands for HOME and TMPDIR.
        :param pose: report the image's glibc; a build's own tools run on the builder and need not.
        :raises CommandError: pip failed (with `check`).
        """
        env = self.environment(scratch, pose=pose, extra=extra)
        return process.run([python, "-I", self.folder / "pip", *command], env=env, cwd=scratch, check=check)

    def environment(
        self, scratch: Path, *, pose: bool = True, extra: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """Variables with which a pip of ours runs, once it is there; the parameters are those of `run`."""
        self.ready()
        env = process.clean_environment(
            home=scratch,
            **{
                **self.variables,
                **index_variables(self.settings),
                "PIP_CONFIG_FILE": os.devnull,
                "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                "PIP_NO_INPUT": "1",
                "ENVBUNDLE_GLIBC": ".".join(map(str, self.glibc)) if pose else "99.99",
                **(extra or {}),
            },
        )
        # pip itself lies outside the bundle: let it keep its own bytecode, 0.3 s instead of 0.8 s a run.
        del env["PYTHONDONTWRITEBYTECODE"]
        return env


def obtain(
    interpreter: Interpreter,
    *,
    store: Store,
    settings: IndexSettings,
    glibc: tuple[int, int],
    scratch: Path,
    environ: Mapping[str, str] = os.environ,
    begin: Callable[[Callable[[], None]], Callable[[], None]] | None = None,
) -> Pip:
    """Give the last pip that the target can run: from the store, else fetched once, by hash.

    :param begin: calls something on another thread, and returns what waits for its end: then `Pip` is given
        at once, and whoever uses it waits, and hears of what went wrong.
    :raises MachineError: the index does not give it.
    """
    release = _release_for(interpreter.version)
    folder = _folder(release, store)
    variables = network_variables(settings, scratch=scratch, environ=environ)

    def bring() -> None:
        wheel = store.file(release.sha256, release.filename) or _download(
            release, store=store, settings=settings, variables=variables, scratch=scratch
        )
        pipfolder.unpack(wheel, folder, store=store)

    tool = Pip(folder=folder, version=release.version, settings=settings, variables=variables, glibc=glibc)
    if pipfolder.is_whole(folder):
        return tool
    if begin:
        return replace(tool, ready=begin(bring))
    bring()
    return tool


def wheels() -> tuple[tuple[str, str], ...]:
    """Return sha256 and filename of every pip that drives a target."""
    return tuple((one.sha256, one.filename) for one in (_LAST_FOR_37, _LAST_FOR_38, _FROM_39))


def is_stored(interpreter: Interpreter, *, store: Store) -> bool:
    """Tell whether `obtain` needs no index."""
    return pipfolder.is_whole(_folder(_release_for(interpreter.version), store))


def _folder(release: _Release, store: Store) -> Path:
    return store.tools / f"pip-{release.version}"


def _release_for(python_version: str) -> _Release:
    version = Version(python_version)
    if version < Version("3.8"):
        return _LAST_FOR_37
    return _LAST_FOR_38 if version < Version("3.9") else _FROM_39


def _download(
    release: _Release,
    *,
    store: Store,
    settings: IndexSettings,
    variables: Mapping[str, str],
    scratch: Path,
) -> Path:
    requirement = scratch / "pip.txt"
    requirement.write_text(f"pip=={release.version} --hash=sha256:{release.sha256}\n", encoding="utf-8")
    folder = scratch / "pip-wheel"
    env = process.clean_environment(
        home=scratch,
        **{
            **variables,
            **index_variables(settings),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        },
    )
    command = ["download", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-cache-dir"]
    command += ["--dest", str(folder), "--requirement", str(requirement), "--no-input"]
    try:
        process.run([sys.executable, "-I", "-m", "pip", *command, *index_flags(settings)], env=env)
    except CommandError as error:
        last = (error.stderr.strip().splitlines() or [error.message])[-1]
        raise MachineError(
            f"pip {release.version}, which drives the target's Python, could not be fetched: {last}",
            hint="make the index reachable, or put that wheel into a folder and name it with --find-links",
        ) from error
    return store.add_file(folder / release.filename, filename=release.filename, sha256=release.sha256)
