"""Finds the CPython of the image's version on the builder, and describes it.

Names of files prove nothing: every candidate runs `ontarget/describe_python.py`. What that prints is kept
under the identity of the file, so that asking again costs a `stat`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from packaging.version import Version

from bundler.errors import InputError, MachineError
from bundler.lazy_dataclass import dataclass
from bundler.model import Interpreter
from bundler.ontarget import describe_python
from bundler.ontarget.describe_python import MARK
from bundler.system import files, process
from bundler.system import scratch as scratch_folders
from bundler.system.files import real_path
from bundler.system.json_values import Value, from_json, load, parse
from bundler.targets.managed import MANAGED_SINCE, fetch

logger = logging.getLogger(__name__)

OLDEST = (3, 7)
PROBE = Path(describe_python.__file__)
PROBE_TIMEOUT = 30.0
REQUEST_FORMS = "say a version (`3.8`, `3.8.18`) or the path of an interpreter (`/opt/python3.8/bin/python`)"


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The interpreters in one of the folders where a builder keeps them."""

    origin: str
    """`PATH`, `pyenv`, `uv` …"""
    where: str
    """The folder, for the message that lists where we looked."""
    paths: tuple[Path, ...]
    in_order: bool = False
    """The first that fits is taken (PATH); otherwise the newest."""


def find(
    request: str,
    *,
    cache_dir: Path,
    managed_dir: Path,
    allow_download: bool,
    announce: Callable[[str], None],
    environ: Mapping[str, str] = os.environ,
) -> Interpreter:
    """Find the interpreter that `request` names.

    :param request: `3.8`, `3.8.18`, or a path of an interpreter, a virtualenv or a prefix.
    :param cache_dir: where descriptions of interpreters are kept; made when missing.
    :param managed_dir: where fetched interpreters are kept; made when something is fetched.
    :param allow_download: fetch a managed build when no other is found.
    :param announce: called with a line for the user before something slow.
    :param environ: the caller's environment: PATH, PYENV_ROOT and the like are read from it.
    :raises InputError: the request is no version of 3.7 or later, or no usable CPython.
    :raises MachineError: there is none, and none could be fetched; lists the places looked at.
    """
    request = request.strip()
    version = re.fullmatch(r"([0-9]+)\.([0-9]+)(\.[0-9]+)?", request, re.ASCII)
    if version is None:
        if "/" in request or (request and Path(request).exists()):
            return _by_path(request, cache_dir=cache_dir)
        raise InputError(f"{request!r} is neither a Python version nor a path", hint=REQUEST_FORMS)
    minor = (int(version[1]), int(version[2]))
    if minor < OLDEST or minor[0] != OLDEST[0]:
        raise InputError(f"envbundle builds for CPython 3.7 and later, not for {request}", hint=REQUEST_FORMS)
    looked: list[str] = []
    for candidates in all_candidates(minor, environ=environ, managed_dir=managed_dir):
        found = _best(candidates, request, cache_dir=cache_dir, looked=looked)
        if found is not None:
            return found
    if minor < MANAGED_SINCE:
        fetched = f"no managed build of 3.{minor[1]} exists that could be fetched"
    elif not allow_download:
        fetched = "fetching one is not allowed"
    else:
        try:
            fetch(request, managed_dir=managed_dir, announce=announce, environ=environ)
        except MachineError as error:
            raise _not_found(request, error.message, looked, hint=error.hint) from error
        found = _best(_managed(minor, managed_dir), request, cache_dir=cache_dir, looked=looked)
        if found is not None:
            return found
        fetched = "the one that uv fetched can't be used"
    raise _not_found(request, fetched, looked)


def probe(python: Path, *, cache_dir: Path, origin: str) -> Interpreter:
    """Describe the base interpreter of `python`, which may be a virtualenv's or a launcher.

    :param cache_dir: where descriptions are kept; a damaged one is made anew.
    :param origin: recorded in the result.
    :raises MachineError: it does not run, or is no Python 3.6 or later.
    """
    # A symlink to an interpreter is that interpreter; a launcher (asdf, mise) needs the name that it is
    # called by.
    real = real_path(python)
    python = real if real.name.startswith("python") else python.absolute()
    interpreter = _described(python, cache_dir=cache_dir, origin=origin)
    if interpreter.executable != python:
        interpreter = _described(interpreter.executable, cache_dir=cache_dir, origin=origin)
    return interpreter


def all_candidates(
    minor: tuple[int, int], *, environ: Mapping[str, str], managed_dir: Path, root: Path = Path("/")
) -> Iterator[Candidates]:
    """Yield what may be a CPython `minor`, folder by folder, the preferred first; nothing is run.

    :param root: stands for `/`.
    """
    dotted = f"{minor[0]}.{minor[1]}"
    name = f"python{dotted}"
    home = Path(environ.get("HOME") or Path.home())
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local/share")
    yield _on_path((name, "python3", "python"), environ.get("PATH", ""))

    def kept(origin: str, folder: Path, *patterns: str) -> Candidates:
        return Candidates(origin=origin, where=str(folder), paths=_glob(folder, *patterns))

    within = f"*/bin/{name}"
    yield kept("pyenv", Path(environ.get("PYENV_ROOT") or home / ".pyenv") / "versions", within)
    given = environ.get("UV_PYTHON_INSTALL_DIR")
    uv_folders = [Path(given)] if given else []
    for folder in dict.fromkeys((*uv_folders, data / "uv/python", home / ".local/share/uv/python")):
        yield kept("uv", folder, within)
    tag = f"cp{minor[0]}{minor[1]}-*"
    yield kept("/opt/python", root / "opt/python", within, f"{tag}/bin/python", f"{dotted}*/bin/python")
    yield kept("/opt", root / "opt", f"{name}*/bin/{name}", f"{name}*/bin/python")
    for system in ("usr/local/bin", "usr/bin"):
        yield kept(f"/{system}", root / system, name)
    yield kept("asdf", Path(environ.get("ASDF_DATA_DIR") or home / ".asdf") / "installs/python", within)
    yield kept("mise", Path(environ.get("MISE_DATA_DIR") or data / "mise") / "installs/python", within)
    yield _managed(minor, managed_dir)


def _managed(minor: tuple[int, int], managed_dir: Path) -> Candidates:
    """Return the interpreters that envbundle fetched itself."""
    found = _glob(managed_dir, f"*/bin/python{minor[0]}.{minor[1]}")
    return Candidates(origin="managed", where=str(managed_dir), paths=found)


def _on_path(names: tuple[str, ...], path: str) -> Candidates:
    folders = [Path(entry) for entry in path.split(os.pathsep) if entry.startswith("/")]
    # Shims of pyenv, asdf and the like are scripts that need their manager's own environment; the
    # interpreters that they start are found in that manager's folder.
    folders = [folder for folder in folders if folder.name != "shims"]
    found = _executables([folder / name for name in names for folder in folders])
    return Candidates(origin="PATH", where="its folders", paths=found, in_order=True)


def _glob(folder: Path, *patterns: str) -> tuple[Path, ...]:
    try:
        return _executables([path for pattern in patterns for path in sorted(folder.glob(pattern))])
    except OSError:  # we may not read it
        return ()


def _executables(paths: list[Path]) -> tuple[Path, ...]:
    """Return those that can be run, each real file once."""
    by_file: dict[str, Path] = {}
    for path in paths:
        if path.is_file() and os.access(path, os.X_OK):
            by_file.setdefault(os.path.realpath(path), path)
    return tuple(by_file.values())


def _best(candidates: Candidates, request: str, *, cache_dir: Path, looked: list[str]) -> Interpreter | None:
    """Return the one that fits best; where none does, append to `looked` what there was."""
    fitting: list[Interpreter] = []
    refused: list[str] = []
    for path in candidates.paths:
        try:
            interpreter = probe(path, cache_dir=cache_dir, origin=candidates.origin)
        except MachineError as error:
            refused.append(f"{path}: {_reason(error)}")
            continue
        fits = request in (interpreter.version, interpreter.minor)
        refusal = _unfit(interpreter, named=False) if fits else f"is {interpreter.version}"
        if refusal is not None:
            refused.append(f"{path} {refusal}")
            continue
        if candidates.in_order:
            return interpreter
        fitting.append(interpreter)
    if fitting:
        return max(fitting, key=lambda interpreter: Version(interpreter.version))
    looked.append(f"{candidates.origin} ({candidates.where}): {'; '.join(refused) or 'none'}")
    return None


def _unfit(interpreter: Interpreter, *, named: bool) -> str | None:
    """Return why bundles cannot be made with an interpreter, or `None`.

    :param named: the caller gave its path, so what is only unwise is allowed.
    """
    plain = "cp{}{}".format(*interpreter.minor.split("."))
    flags = interpreter.abi.removeprefix(plain)
    if interpreter.implementation != "cpython":
        return f"is {interpreter.implementation}, not CPython"
    if Version(interpreter.minor) < Version("3.7"):
        return f"is {interpreter.version}; envbundle builds for CPython 3.7 and later"
    if interpreter.machine != "x86_64":
        return f"is built for {interpreter.machine}, not for x86_64"
    if not interpreter.glibc:
        return "is not linked against glibc, which the images have"
    if "d" in flags:
        return "is a debug build, whose extension modules no image loads"
    if "t" in flags and not named:
        return "is a free-threaded build; name it by its path to use it all the same"
    if interpreter.conda and not named:
        return "comes from conda; name it by its path to use it all the same"
    return None


def _by_path(request: str, *, cache_dir: Path) -> Interpreter:
    path = files.at_home(request).absolute()
    if not path.exists():
        raise InputError(f"{path} does not exist", hint=REQUEST_FORMS)
    if path.is_dir():
        inside = _glob(path / "bin", "python", "python3", "python3.[0-9]", "python3.[0-9][0-9]")
        if not inside:
            raise InputError(f"the folder {path} has no bin/python", hint=REQUEST_FORMS)
        path = inside[0]
    if not os.access(path, os.X_OK):
        raise InputError(f"{path} is not executable", hint=REQUEST_FORMS)
    try:
        interpreter = probe(path, cache_dir=cache_dir, origin="given")
    except MachineError as error:
        raise InputError(
            f"{path} did not run as a CPython 3.7 or later: {_reason(error)}", hint=REQUEST_FORMS
        ) from error
    refusal = _unfit(interpreter, named=True)
    if refusal is not None:
        raise InputError(f"{path} {refusal}", hint=REQUEST_FORMS)
    return interpreter


def _not_found(request: str, fetched: str, looked: list[str], *, hint: str | None = None) -> MachineError:
    minor = ".".join(request.split(".")[:2])
    ways = [f"`pyenv install {request}`"]
    if Version(minor) >= Version("{}.{}".format(*MANAGED_SINCE)):
        ways.append(f"`uv python install {request}`")
    ways.append(f"the distribution's python{minor} package (for Ubuntu the deadsnakes archive has it)")
    ways.append(f"or name one: --python /path/to/python{minor}")
    lines = "".join(f"\n  {line}" for line in looked)
    return MachineError(
        f"no CPython {request} on this machine, and {fetched}; looked at:{lines}",
        hint=", ".join(ways) + (f"; {hint}" if hint else ""),
    )


def _reason(error: MachineError) -> str:
    """Return the line of a failed probe that gives the reason."""
    lines = [line for line in getattr(error, "stderr", "").splitlines() if line.strip()]
    if not lines:
        return error.message
    return str(lines[-1] if lines[0].startswith("Traceback") else lines[0]).strip()


def _described(python: Path, *, cache_dir: Path, origin: str) -> Interpreter:
    """Describe an interpreter; the description is kept while the file and the system stay the same."""
    try:
        status = python.stat()
    except OSError as error:
        raise MachineError(f"{python} can't be read: {error.strerror}") from error
    # The description includes kernel and libc, which are upgraded without the interpreter.
    identity = [
        files.digest(PROBE), str(python), str(real_path(python)), status.st_dev, status.st_ino,
        status.st_size, status.st_mtime_ns, platform.release(), platform.libc_ver(),
    ]  # fmt: skip
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    entry = cache_dir / f"{key}.json"
    with contextlib.suppress(InputError):
        return replace(from_json(Interpreter, load(entry)), origin=origin)
    description = _run_probe(python)
    try:
        interpreter = replace(from_json(Interpreter, description), origin=origin)
    except InputError as error:
        raise MachineError(f"it describes itself in a way that makes no sense ({error.message})") from error
    if interpreter.executable != real_path(python):
        # A virtualenv's copy or a launcher: the interpreter behind it can change while the file does not.
        return interpreter
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        files.write(entry, json.dumps(description.raw, sort_keys=True))
    except OSError as error:
        logger.warning("the description of %s could not be kept: %s", python, error)
    return interpreter


def _run_probe(python: Path) -> Value:
    with scratch_folders.folder() as home:
        completed = process.run(
            [python, "-I", "-S", PROBE],
            env=process.clean_environment(home=Path(home)),
            cwd=Path(home),
            timeout=PROBE_TIMEOUT,
        )
    for line in completed.stdout.splitlines():
        if line.startswith(MARK):
            with contextlib.suppress(InputError):
                return parse(line.removeprefix(MARK).encode(), source="its description")
    raise MachineError("it does not answer as a Python does")
