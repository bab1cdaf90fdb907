"""What the benchmark runs on and with: its own installations, the target's Python, the machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.benchmark.rows import Tools

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = ("bundler", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
PEERS = ("uv", "virtualenv", "pex")
LAST_PIP = {"3.7": "24.0", "3.8": "25.0.1"}
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy")
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
PAUSE = 2.0
PAUSE_WITHOUT_JOURNAL = 65.0
"""Seconds: ext4 without a journal takes no inode that was freed in the last minute, and looks for another one
for a long time (`recently_deleted` in https://github.com/torvalds/linux/blob/master/fs/ext4/ialloc.c).
The same 12,000 files took 5.1 s just after as many had been deleted, and 0.24 s seventy seconds later."""


class UnableError(Exception):
    """The machine lacks something; the message says what."""


def find_python(request: str) -> tuple[Path, str]:
    """Find the target's interpreter: a path, or a version on PATH or among pyenv's.

    :returns: the interpreter, and its full version.
    :raises UnableError: there is none.
    """
    candidates = [request]
    if "/" not in request:
        pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
        managed = sorted(pyenv.glob(f"{request}.*/bin/python{request}"), key=_by_number, reverse=True)
        candidates = [shutil.which(f"python{request}") or "", *map(str, managed)]
    code = "import os, sys; print(os.path.realpath(sys.executable)); print('%d.%d.%d' % sys.version_info[:3])"
    for candidate in filter(None, candidates):
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            # A pyenv shim may be on PATH and not run.
            done = subprocess.run([candidate, "-I", "-c", code], check=True, capture_output=True, text=True)
            path, version = done.stdout.split()
            if "/" in request or version.startswith(f"{request}."):
                return Path(path), version
    raise UnableError(f"no CPython {request} on PATH or among pyenv's versions")


def _by_number(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", path.parent.parent.name)]


def settings(*, index_url: str | None) -> dict[str, str]:
    """Return the variables that every program gets: certificates, proxies, the index, and no configuration.

    A caller's pip configuration names the machine's index and certificates, and is not read otherwise.
    """
    configured = _pip_configuration()
    environ = {name: os.environ[name] for name in (*CERTIFICATES, *PROXIES) if os.environ.get(name)}
    if "cert" in configured:
        environ.setdefault("PIP_CERT", configured["cert"])
        environ.setdefault("SSL_CERT_FILE", configured["cert"])
    index = index_url or os.environ.get("PIP_INDEX_URL") or configured.get("index-url")
    if index:
        environ |= {"PIP_INDEX_URL": index, "UV_DEFAULT_INDEX": index}
    return {
        **environ,
        "PATH": SYSTEM_PATH,
        "LANG": "C.UTF-8",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        "UV_NO_CONFIG": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }


def _pip_configuration() -> dict[str, str]:
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.findall(r"^(?:global|install)\.(cert|index-url)='(.*)'$", done.stdout, re.MULTILINE)
    return dict(found)


def set_up(
    work: Path, *, python: Path, version: str, environ: Mapping[str, str], pins: Sequence[str]
) -> Tools:
    """Install the peers and this checkout, each in a virtualenv of its own; what is there already stays.

    :param version: of the target, 3.8.
    :param pins: `uv==0.13.8`, instead of the newest.
    :raises UnableError: a program could not be installed.
    """
    tools = work / "tools"
    tools.mkdir(parents=True, exist_ok=True)
    pinned = {pin.partition("==")[0]: pin for pin in pins}
    peers, shiv, own = tools / "peers", tools / f"shiv-{version}", tools / "envbundle"
    last = pinned.get("pip", f"pip=={LAST_PIP[version]}" if version in LAST_PIP else "pip")
    _venv(peers, Path(sys.executable), [pinned.get(name, name) for name in PEERS], environ)
    _venv(shiv, python, [last, pinned.get("shiv", "shiv")], environ)
    pip = tools / f"pip-{version}"
    if not pip.is_dir():
        shutil.copytree(next(shiv.glob("lib/python*/site-packages")) / "pip", pip / "pip")
    _venv(own, Path(sys.executable), [str(_copy_source(work))], environ, stamp=_digest_of_source())
    versions = {
        **{name: _version(peers, name) for name in PEERS},
        "shiv": _version(shiv, "shiv"),
        "pip": _version(shiv, "pip"),
        "envbundle": _version(own, "envbundle"),
        "envbundle's uv": _version(own, "uv"),
    }
    return Tools(envbundle=own, peers=peers, shiv=shiv, pip=pip, versions=versions)


def _venv(
    folder: Path, python: Path, wanted: list[str], environ: Mapping[str, str], *, stamp: str = ""
) -> None:
    """Make a virtualenv with distributions; its stamp is written last."""
    said = json.dumps([str(python), wanted, stamp])
    if (folder / "stamp").is_file() and (folder / "stamp").read_text(encoding="utf-8") == said:
        return
    shutil.rmtree(folder, ignore_errors=True)
    install: list[str | Path] = [
        folder / "bin" / "python",
        "-m",
        "pip",
        "install",
        "-q",
        "--upgrade",
        *wanted,
    ]
    try:
        subprocess.run([python, "-m", "venv", folder], check=True, env=dict(environ))
        subprocess.run(install, check=True, env={**environ, "HOME": str(folder)})
    except subprocess.CalledProcessError as error:
        raise UnableError(f"{' and '.join(wanted)} could not be installed, see above") from error
    (folder / "stamp").write_text(said, encoding="utf-8")


def _version(folder: Path, name: str) -> str:
    """The version of a distribution in a virtualenv."""
    found = next(folder.glob(f"lib/python*/site-packages/{name}-*.dist-info"))
    return found.name.removesuffix(".dist-info").partition("-")[2]


def _copy_source(work: Path) -> Path:
    """A copy: a build in the checkout would leave its traces, and take those of earlier ones."""
    copy = work / "source"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for name in SOURCE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    return copy


def _digest_of_source() -> str:
    digest = hashlib.sha256()
    for name in SOURCE:
        for path in sorted((ROOT / name).rglob("*")) if (ROOT / name).is_dir() else [ROOT / name]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(
                    f"{path.relative_to(ROOT)}\0{path.stat().st_size}\0".encode() + path.read_bytes()
                )
    return digest.hexdigest()


def machine(work: Path) -> dict[str, str]:
    """Say in words what is measured on; no names of hosts or folders."""
    described = {
        "system": _release(),
        "kernel": f"Linux {platform.release()}",
        "processors": f"{len(os.sched_getaffinity(0))}, {_first('/proc/cpuinfo', 'model name')}",
        "memory": _memory(),
        "file system": file_system(work)[0],
        "Python of envbundle": f"CPython {platform.python_version()}",
    }
    return {name: said for name, said in described.items() if said}


def _release() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""


def _memory() -> str:
    kilobytes = _first("/proc/meminfo", "MemTotal").removesuffix("kB").strip()
    return f"{int(kilobytes) / 1024 / 1024:.0f} GiB" if kilobytes else ""


def _first(file: str, key: str) -> str:
    with contextlib.suppress(OSError):
        for line in Path(file).read_text(encoding="utf-8", errors="replace").splitlines():
            name, colon, value = line.partition(":")
            if colon and name.strip() == key:
                return value.strip()
    return ""


def file_system(folder: Path) -> tuple[str, float]:
    """Return the type of a folder's file system, and how many seconds to wait before each run on it."""
    device = folder.stat().st_dev
    numbers = f"{os.major(device)}:{os.minor(device)}"
    kind, source = "", ""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields, _, rest = line.partition(" - ")
        if fields.split()[2] == numbers:
            kind, source = rest.split()[:2]
    if kind != "ext4":
        return kind, PAUSE
    block = Path(f"/sys/dev/block/{numbers}")
    name = block.resolve().name if block.exists() else Path(source).name
    journals = Path("/proc/fs/jbd2")
    if not journals.is_dir() or any(one.name.startswith(f"{name}-") for one in journals.iterdir()):
        return kind, PAUSE
    return f"{kind} without a journal", PAUSE_WITHOUT_JOURNAL
