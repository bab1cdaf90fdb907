"""Reads `pdm.lock` (https://pdm-project.org/en/latest/usage/lockfile/)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bundler.create.inputs import pinned, pyproject
from bundler.create.inputs.pinned import Pin, ToolLock, sha256_only
from bundler.errors import InputError
from bundler.system.files import real_path
from bundler.system.json_values import Value

_HINT = "lock again with a current pdm: pdm lock"


def read(path: Path, *, extras: Sequence[str], groups: Sequence[str]) -> ToolLock:
    """Read a lock of pdm.

    :param extras: of the project beside it that are wanted as well.
    :param groups: dependency groups of that project that are wanted as well.
    :raises InputError: it cannot be read, or has no such extra or group.
    """
    document = pinned.values(path, hint=_HINT)
    packages = list(document.get("package") or ())
    old = _files_apart(document)
    project = path.with_name(pyproject.NAME)
    if project.is_file() and pyproject.tells_dependencies(project):
        asked = pyproject.read(project, extras=extras, groups=groups, sourced=True)
        roots, told, indexes = asked.requirements, asked.told, pyproject.pdm_sources(project)
    else:
        roots, told, indexes = None, (), ()
        packages = list(_of_groups(packages, ("default", *extras, *groups), path))
    return ToolLock(
        path=path,
        pins=tuple(_pin(one, old, path) for one in packages),
        roots=roots,
        indexes=indexes,
        told=told,
    )


def _of_groups(packages: Sequence[Value], wanted: Sequence[str], path: Path) -> Iterator[Value]:
    """Yield the packages of some groups; all of them where the lock does not tell groups."""
    known = {name for one in packages for name in _groups(one)}
    if known and (absent := [name for name in wanted if name not in known and name != "default"]):
        raise InputError(
            f"{path} has no group {absent[0]!r}", hint=f"it has {', '.join(sorted(known)) or 'none'}"
        )
    yield from (one for one in packages if not known or set(wanted) & set(_groups(one)))


def _groups(package: Value) -> tuple[str, ...]:
    found = package.get("groups")
    return found.texts() if found else ()


def _files_apart(document: Value) -> dict[str, tuple[str, ...]]:
    """Return `NAME VERSION` → hashes, of the form before pdm 2.8 that keeps them in a table of their own."""
    metadata = document.get("metadata")
    files = metadata.get("files") if metadata else None
    if files is None:
        return {}
    return {name: _hashes(files[name]) for name in files.names()}


def _hashes(files: Value | None) -> tuple[str, ...]:
    return sha256_only(one["hash"].text() for one in files or ())


def _pin(package: Value, old: dict[str, tuple[str, ...]], path: Path) -> Pin:
    name = package["name"].text()
    version = package["version"].text() if package.get("version") else ""
    marker = package.get("marker")
    return Pin(
        name=name,
        version=version,
        url=_url(package, path),
        marker=marker.text() if marker else "",
        hashes=_hashes(package.get("files")) or old.get(f"{name} {version}", ()),
    )


def _url(package: Value, path: Path) -> str:
    inner = package.get("subdirectory")
    place = f"#subdirectory={inner.text()}" if inner else ""
    if git := package.get("git"):
        return f"git+{git.text()}@{package['revision'].text(r'[0-9a-f]{7,64}')}{place}"
    if url := package.get("url"):
        return url.text() + place
    if local := package.get("path"):
        return real_path(path.parent / local.text()).as_uri()
    return ""
