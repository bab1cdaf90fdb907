"""Reads a conda environment file: the Python that it names, its `pip:` part, and its packages.

A conda package is taken from an index only where the table beside this file knows its distribution: what has
the same name there can be another one, and many packages are no Python at all.
Format: https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-environments.html
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from bundler.create import requirements
from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.model import Note, Requirement, Requirements
from bundler.system import outside

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LIMIT = 1 << 20
"""Bytes."""
_TABLE = Path(__file__).with_name("conda_names.json")
_SPEC = re.compile(r"(?:[^\s:]+::)?(?P<name>[A-Za-z0-9_.-]+)(?:\[.*\])?\s*(?P<version>.*)")
_PYTHON = re.compile(r"=*\s*(?P<version>3\.\d+)(?:\.\d+)?(?:\.\*|\*)?(?:=.*)?")
_BUILDERS = frozenset({"pip", "python", "setuptools", "wheel"})
"""What a conda environment has so that pip works in it."""
HINT = "write the distributions that it needs into a requirements.txt"


@dataclass(frozen=True, kw_only=True)
class _Package:
    """A line of `dependencies`."""

    name: str
    version: str
    """As conda writes it: `=1.2`, `==1.2.3=py38_0`, `>=1,<2`; empty for any."""


def is_conda_file(path: Path) -> bool:
    """Tell by its name whether a file is for conda."""
    return path.suffix in {".yml", ".yaml"}


def read(path: Path, *, environ: Mapping[str, str]) -> Requirements:
    """Read an environment file.

    :returns: as requirements its `pip:` part and the conda packages whose distributions are known; the
        others are told by name.
    :raises InputError: it is no environment file, or requires nothing.
    """
    packages, pip = _read(path)
    wanted: list[Requirement] = []
    unknown: list[str] = []
    other, same = _names()
    for package in packages:
        if package.name in _BUILDERS:
            continue
        name = other.get(package.name) or (package.name if canonicalize_name(package.name) in same else None)
        if name is None:
            unknown.append(package.name)
            continue
        text = f"{name}{_specifier(package.version, where=f'{path}: {package.name}')}"
        wanted.append(requirements.parse(text, origin=f"{path}: {package.name}", folder=path.parent))
    found = Requirements(requirements=tuple(wanted), told=tuple(_told([one.text for one in wanted], unknown)))
    if pip:
        found = requirements.read_lines(pip, path=path, start=found, environ=environ)
    if not found.requirements:
        raise InputError(f"{path} names no distribution that is known", hint=HINT)
    return found


def _told(taken: list[str], unknown: list[str]) -> Iterator[Note]:
    """Tell what becomes of the conda packages: in two notes, for a file can have two hundred of them."""
    if taken:
        yield Note(
            subject="conda packages",
            text=f"not conda's own are taken, but from the index: {', '.join(taken)}",
        )
    if unknown := list(dict.fromkeys(unknown)):
        yield Note(
            subject="conda packages",
            text=f"no distribution is known for {', '.join(unknown)}: what is Python, name as a requirement; "
            "what is a library or a program, the image must have",
        )


def python_of(path: Path) -> str | None:
    """Return the minor version of the Python that the file names, `3.8`; `None`: it names none.

    :raises InputError: it is no environment file.
    """
    for package in _read(path)[0]:
        if package.name == "python" and (found := _PYTHON.fullmatch(package.version)):
            return found["version"]
    return None


@functools.cache
def _names() -> tuple[dict[str, str], frozenset[str]]:
    table = json.loads(_TABLE.read_text(encoding="utf-8"))
    return dict(table["other"]), frozenset(map(canonicalize_name, table["same"]))


def _read(path: Path) -> tuple[list[_Package], list[str]]:
    """Return the packages of an environment file, and the lines of its `pip:` parts."""
    import yaml  # noqa: PLC0415 - few inputs are YAML: 10 ms

    text = outside.read_text(path, limit=_LIMIT, hint="check the path of the environment file", named=True)
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"{path} is not YAML: {error}", hint="mend it") from None
    listed = document.get("dependencies") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise InputError(f"{path} is not a conda environment file: it has no dependencies", hint=HINT)
    packages, pip = [], []
    for one in listed:
        if isinstance(one, str):
            packages.append(_package(one, path))
        else:
            pip += list(_pip(one, path))
    return packages, pip


def _package(text: str, path: Path) -> _Package:
    found = _SPEC.fullmatch(text.strip())
    if found is None:
        raise InputError(
            f"{path}: no package: {text[:80]!r}", hint="write NAME, NAME=VERSION or NAME>=VERSION"
        )
    return _Package(name=found["name"].lower(), version=found["version"].strip())


def _pip(entry: Any, path: Path) -> Iterator[str]:
    lines = entry.get("pip") if isinstance(entry, dict) else None
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise InputError(f"{path}: an entry of dependencies is neither text nor a pip list", hint=HINT)
    yield from lines


def _specifier(version: str, *, where: str) -> str:
    """Return a version of conda as PEP 440 has it: `=1.2` is any 1.2, `=1.2.3=py38_0` that version.

    :raises InputError: it has alternatives (`|`), which PEP 440 has not.
    """
    text = re.sub(r"\s+", "", version)
    if "|" in text:
        raise InputError(
            f"{where}: {version} has alternatives", hint="give one of them in a requirements.txt"
        )
    exact = text.startswith("==")
    plain = text.lstrip("=")
    if not plain or plain == "*":
        return ""
    if text[0] in "<>!~":
        return text
    number, _, build = plain.partition("=")
    if number.endswith("*"):
        return f"=={number.rstrip('*').rstrip('.')}.*"
    return f"=={number}" if exact or build else f"=={number}.*"
