"""Finds the parts of an environment that somebody made: its site-packages, its Python, what else it sees.

Nothing of it is imported. Only where a virtualenv sees the packages of the system, the interpreter that it
stands on is asked for their folders.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bundler.errors import EnvbundleError, InputError
from bundler.lazy_dataclass import dataclass
from bundler.system import process
from bundler.system import scratch as scratch_folders
from bundler.system.files import exists, real_path
from bundler.system.json_values import MAX_BYTES

WHAT_TO_NAME = "name the folder of a virtualenv or a conda environment, or a site-packages folder"
_ASK_SITE = "import json, site; print(json.dumps(site.getsitepackages()))"
_ASK_SECONDS = 30.0
_LIBRARY = re.compile(r"python(?P<minor>3\.\d+)t?")
_VERSION = re.compile(r"\d+\.\d+(\.\d+)?")


@dataclass(frozen=True, kw_only=True)
class Place:
    """An environment on this machine."""

    path: Path
    """As the caller named it, absolute."""
    kind: str
    """`virtualenv`, `conda environment` or `folder`."""
    folders: tuple[Path, ...]
    """Its own site-packages folders."""
    python: str | None
    """`3.8` or `3.8.18`; `None`: nothing says it."""
    system: tuple[Path, ...] = ()
    """Folders of the interpreter below it and of the user, where it sees them."""
    conda_packages: Mapping[str, bool] | None = None
    """Entries of site-packages that came with conda packages → whether somebody asked for that package."""

    @property
    def minor(self) -> str | None:
        """`3.8`; `None`: nothing says it."""
        return ".".join(self.python.split(".")[:2]) if self.python else None


def find(path: Path, environ: Mapping[str, str]) -> Place:
    """Find the parts of an environment.

    :param path: the folder of a virtualenv, a conda environment, a site-packages folder, or its interpreter.
    :param environ: tells the user's own site-packages (HOME).
    :raises InputError: it is none of these.
    """
    given = path.absolute()
    if not exists(given):
        raise InputError(f"no such environment: {path}", hint=WHAT_TO_NAME)
    if given.is_file() and given.parent.name == "bin":
        given = given.parent.parent
    if not given.is_dir():
        raise InputError(f"{path} is no environment", hint=WHAT_TO_NAME)
    inside = given.parent.parent.parent  # of PREFIX/lib/python3.8/site-packages
    if given.name == "site-packages" and ((inside / "pyvenv.cfg").is_file() or _conda_meta(inside)):
        given = inside
    libraries = _libraries(given)
    if (given / "pyvenv.cfg").is_file():
        return _virtualenv(given, libraries, environ)
    if _conda_meta(given):
        python = _conda_python(given)
        minor = ".".join(python.split(".")[:2]) if python else None
        own = tuple(folder for one, folder in libraries if minor in (None, one))
        return Place(
            path=given,
            kind="conda environment",
            folders=own,
            python=python,
            conda_packages=_conda_packages(given),
        )
    if libraries:
        if len(libraries) > 1:
            raise InputError(
                f"{path} has site-packages of several Pythons: {', '.join(one for one, _ in libraries)}",
                hint=f"name one of them: {libraries[0][1]}",
            )
        return Place(path=given, kind="folder", folders=(libraries[0][1],), python=libraries[0][0])
    if any(given.glob("*.dist-info")) or any(given.glob("*.egg-info")) or given.name == "site-packages":
        named = _LIBRARY.fullmatch(given.parent.name)
        return Place(path=given, kind="folder", folders=(given,), python=named["minor"] if named else None)
    raise InputError(
        f"{path} is no environment: no pyvenv.cfg, no conda-meta, and no distribution stands in it",
        hint=WHAT_TO_NAME,
    )


def _libraries(prefix: Path) -> list[tuple[str, Path]]:
    """Return (minor version, site-packages) pairs of a prefix; lib64 counts where it is another folder."""
    found: dict[Path, tuple[str, Path]] = {}
    for folder in sorted(prefix.glob("lib*/python3*/site-packages")):
        named = _LIBRARY.fullmatch(folder.parent.name)
        if named and folder.is_dir():
            found.setdefault(real_path(folder), (named["minor"], folder))
    return list(found.values())


def _virtualenv(prefix: Path, libraries: list[tuple[str, Path]], environ: Mapping[str, str]) -> Place:
    settings = {}
    for line in (prefix / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace").splitlines():
        key, separator, value = line.partition("=")
        if separator:
            settings[key.strip().lower()] = value.strip()
    version = _VERSION.match(settings.get("version") or settings.get("version_info") or "")
    python = version[0] if version else libraries[0][0] if libraries else None
    system: tuple[Path, ...] = ()
    if settings.get("include-system-site-packages", "").lower() == "true":
        system = _system_folders(Path(settings.get("home", "")), python, environ)
    return Place(
        path=prefix,
        kind="virtualenv",
        folders=tuple(folder for _, folder in libraries),
        python=python,
        system=system,
    )


def _system_folders(home: Path, python: str | None, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the site-packages of the interpreter in `home`, and the user's.

    :raises InputError: there is no interpreter, or it does not answer.
    """
    minor = ".".join((python or "3").split(".")[:2])
    interpreter = next(
        (one for name in (f"python{minor}", "python3") if (one := home / name).is_file()), None
    )
    hint = "name the site-packages folder itself: then what the system has is left out"
    if interpreter is None:
        raise InputError(f"the virtualenv sees the packages of a Python in {home}, which is gone", hint=hint)
    try:
        with scratch_folders.folder() as scratch:
            done = process.run(
                [interpreter, "-I", "-S", "-c", _ASK_SITE],
                env=process.clean_environment(home=Path(scratch)),
                timeout=_ASK_SECONDS,
            )
        folders = [Path(one) for one in json.loads(done.stdout)]
    except (EnvbundleError, ValueError, TypeError) as error:
        raise InputError(f"{interpreter} does not say where its packages are: {error}", hint=hint) from error
    if environ.get("HOME"):
        folders.append(Path(environ["HOME"]) / f".local/lib/python{minor}/site-packages")
    return tuple(folder for folder in folders if folder.is_dir())


def _conda_meta(prefix: Path) -> bool:
    return (prefix / "conda-meta").is_dir()


def _conda_python(prefix: Path) -> str | None:
    for path in sorted((prefix / "conda-meta").glob("python-[0-9]*.json")):
        if found := _VERSION.match(path.name.removeprefix("python-")):
            return found[0]
    return None


def _conda_packages(prefix: Path) -> dict[str, bool]:
    """Return the entries directly below site-packages that conda packages brought."""
    found: dict[str, bool] = {}
    for document in _conda_documents(prefix):
        asked = bool(document.get("requested_spec") or document.get("requested_specs"))
        listed = document.get("files")
        for name in listed if isinstance(listed, list) else ():
            inner = str(name).partition("site-packages/")[2] if isinstance(name, str) else ""
            if inner:
                top = inner.partition("/")[0]
                found[top] = found.get(top, False) or asked
    return found


def _conda_documents(prefix: Path) -> Iterator[dict[str, Any]]:
    for path in sorted((prefix / "conda-meta").glob("*.json")):
        try:
            with path.open("rb") as stream:
                document = json.loads(stream.read(MAX_BYTES))
        except (OSError, ValueError, RecursionError):
            continue  # what it brought then counts as installed by nobody, and is told as such
        if isinstance(document, dict):
            yield document
