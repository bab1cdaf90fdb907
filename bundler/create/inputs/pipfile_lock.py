"""Reads `Pipfile.lock` and the `Pipfile` beside it (https://pipenv.pypa.io/en/latest/pipfile.html)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bundler.create import requirements
from bundler.create.inputs import pinned
from bundler.create.inputs.pinned import LIMIT, Pin, ToolLock, sha256_only
from bundler.errors import InputError
from bundler.model import Requirement
from bundler.system import json_values, outside
from bundler.system.files import real_path
from bundler.system.json_values import Value

_HINT = "lock again: pipenv lock"
_MARKERS = (
    *("os_name", "sys_platform", "platform_machine", "platform_python_implementation"),
    *("platform_release", "platform_system", "platform_version", "python_version", "python_full_version"),
    *("implementation_name", "implementation_version"),
)
"""Keys of a package that stand for a marker: `sys_platform = "== 'linux'"`."""


def read(path: Path, *, extras: Sequence[str], groups: Sequence[str], environ: Mapping[str, str]) -> ToolLock:
    """Read a lock of pipenv.

    :param groups: categories that are wanted as well; `dev`, `develop` and `dev-packages` are one.
    :param environ: where `${X}` in URLs of indexes is looked up.
    :raises InputError: it cannot be read, has no such category, or extras are asked for, which it has not.
    """
    if extras:
        raise InputError(f"{path}: a Pipfile has no extras", hint="name its categories: --group develop")
    document = _load(path)
    sections = ["default", *(_section(name, document, path) for name in groups)]
    beside = path.with_name("Pipfile")
    roots = None
    if beside.is_file():
        asked = pinned.values(beside, hint="mend it")
        roots = tuple(root for name in sections for root in _roots(asked, name, beside))
    return ToolLock(
        path=path,
        pins=tuple(pin for name in sections if (found := document.get(name)) for pin in _pins(found, path)),
        roots=roots,
        indexes=tuple(_sources(document, environ)),
    )


def _load(path: Path) -> Value:
    data = outside.read(path, limit=LIMIT, hint=_HINT, named=True)
    return json_values.parse(data, source=str(path), hint=_HINT)


def python_of(path: Path) -> str | None:
    """Return the minor version of the Python that a lock names, `3.8`; `None`: it names none.

    :raises InputError: it is no lock of pipenv.
    """
    document = _load(path)
    meta = document.get("_meta")
    requires = meta.get("requires") if meta else None
    for key in ("python_version", "python_full_version"):
        if requires and (found := requires.get(key)):
            version = found.text().split(".")
            return ".".join(version[:2]) if len(version) > 1 and version[0] == "3" else None
    return None


def _section(group: str, document: Value, path: Path) -> str:
    name = "develop" if group in {"dev", "dev-packages"} else group
    if name not in document.names() or name.startswith("_"):
        has = ", ".join(one for one in document.names() if not one.startswith("_"))
        raise InputError(f"{path} has no category {group!r}", hint=f"it has {has}")
    return name


def _roots(document: Value, section: str, path: Path) -> Iterator[Requirement]:
    key = {"default": "packages", "develop": "dev-packages"}.get(section, section)
    packages = document.get(key)
    for name in packages.names() if packages else ():
        said = packages[name] if packages else document
        extras: tuple[str, ...] = ()
        marker = ""
        if isinstance(said.raw, dict):
            extras = said["extras"].texts() if said.get("extras") else ()
            marker = _marker(said)
        bracket = f"[{','.join(extras)}]" if extras else ""
        text = f"{name}{bracket}" + (f" ; {marker}" if marker else "")
        yield requirements.parse(text, origin=f"{path}: {key}", folder=path.parent)


def _marker(said: Value) -> str:
    parts = [said["markers"].text()] if said.get("markers") else []
    parts += [f"{key} {said[key].text()}" for key in _MARKERS if said.get(key)]
    return " and ".join(f"({one})" for one in parts) if len(parts) > 1 else "".join(parts)


def _pins(packages: Value, path: Path) -> Iterator[Pin]:
    for name in packages.names():
        said = packages[name]
        hashes, version = said.get("hashes"), said.get("version")
        url = _url(said, path)
        if version is None and not url:
            said.fail("has neither a version nor a place")
        yield Pin(
            name=name,
            version=version.text(r"==.+").removeprefix("==") if version else "",
            url=url,
            marker=_marker(said),
            hashes=sha256_only(hashes.texts()) if hashes else (),
        )


def _url(said: Value, path: Path) -> str:
    inner = said.get("subdirectory")
    place = f"#subdirectory={inner.text()}" if inner else ""
    if git := said.get("git"):
        url = git.text()
        url = url if url.startswith("git+") else f"git+{url}"
        return f"{url}@{said['ref'].text(r'[0-9a-f]{7,64}')}{place}"
    for key in ("file", "path"):
        if found := said.get(key):
            text = found.text()
            return text + place if "://" in text else real_path(path.parent / text).as_uri()
    return ""


def _sources(document: Value, environ: Mapping[str, str]) -> Iterator[str]:
    meta = document.get("_meta")
    sources = meta.get("sources") if meta else None
    for source in sources or ():
        url = source["url"]
        yield requirements.expand(url.text(), origin=f"{url.source}: {url.place}", environ=environ)
