"""Reads `poetry.lock`, and what a project of poetry asks for (https://python-poetry.org/docs/pyproject/)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bundler.create import requirements
from bundler.create.inputs import pinned, pyproject
from bundler.create.inputs.pinned import Pin, ToolLock, sha256_only
from bundler.errors import InputError
from bundler.model import Requirement
from bundler.system.files import real_path
from bundler.system.json_values import Value

_HINT = "lock again with a current poetry: poetry lock"
_PIECE = re.compile(r"(?P<operator>\^|~=|~|[<>=!]=?|)\s*(?P<version>[0-9]+(?:\.[0-9a-z]+)*(?:\.\*)?|\*)")


def read(path: Path, *, extras: Sequence[str], groups: Sequence[str]) -> ToolLock:
    """Read a lock of poetry.

    :param extras: of the project beside it that are wanted as well.
    :param groups: dependency groups of that project that are wanted as well.
    :raises InputError: it cannot be read, or has no such extra or group.
    """
    document = pinned.values(path, hint=_HINT)
    packages = list(document.get("package") or ())
    apart = _hashes_apart(document)
    project = path.with_name(pyproject.NAME)
    if project.is_file():
        roots, told = tuple(_roots(project, extras, groups)), pyproject.told_of(project)
    else:
        roots, told = None, ()
        if extras:
            raise InputError(
                f"--extra is about a project, and no {pyproject.NAME} is beside {path}",
                hint=f"put the {pyproject.NAME} of that project into its folder",
            )
        packages = [one for one in packages if _is_in(one, ("main", *groups))]
    return ToolLock(
        path=path,
        pins=tuple(_pin(one, apart, path) for one in packages),
        roots=roots,
        indexes=tuple(dict.fromkeys(url for one in packages if (url := _index(one)))),
        told=told,
    )


def _is_in(package: Value, groups: Sequence[str]) -> bool:
    """Tell whether a package is of some groups; true where its lock does not tell groups."""
    if (optional := package.get("optional")) and optional.flag():
        return False
    if named := package.get("groups"):
        return bool(set(named.texts()) & set(groups))
    category = package.get("category")
    return category is None or category.text() in groups


def _hashes_apart(document: Value) -> dict[str, tuple[str, ...]]:
    """Return name → hashes, of the forms before poetry 1.3 that keep them in a table of their own."""
    metadata = document.get("metadata")
    if metadata is None:
        return {}
    if files := metadata.get("files"):
        return {name: _hashes(files[name]) for name in files.names()}
    if hashes := metadata.get("hashes"):
        names = hashes.names()
        return {name: sha256_only(f"sha256:{one}" for one in hashes[name].texts()) for name in names}
    return {}


def _hashes(files: Value | None) -> tuple[str, ...]:
    return sha256_only(one["hash"].text() for one in files or ())


def _pin(package: Value, apart: dict[str, tuple[str, ...]], path: Path) -> Pin:
    name = package["name"].text()
    return Pin(
        name=name,
        version=package["version"].text(),
        url=_url(package, path),
        marker=_marker(package.get("markers")),
        hashes=_hashes(package.get("files")) or apart.get(name, ()),
    )


def _marker(markers: Value | None) -> str:
    """Return when a package is meant: one marker, or one for each group."""
    if markers is None:
        return ""
    if isinstance(markers.raw, dict):
        each = [markers[name].text() for name in markers.names()]
        return " or ".join(f"({one})" for one in dict.fromkeys(each))
    return markers.text()


def _index(package: Value) -> str:
    source = package.get("source")
    kind = source.get("type") if source else None
    return source["url"].text() if source and kind and kind.text() == "legacy" else ""


def _url(package: Value, path: Path) -> str:
    source = package.get("source")
    if source is None or (kind := source["type"].text()) == "legacy":
        return ""
    url = source["url"].text()
    inner = source.get("subdirectory")
    place = f"#subdirectory={inner.text()}" if inner else ""
    if kind == "git":
        return f"git+{url}@{source['resolved_reference'].text(r'[0-9a-f]{7,64}')}{place}"
    if kind == "url":
        return url + place
    if kind not in {"directory", "file"}:
        source["type"].fail(f"{kind[:80]!r} is none that is read here")
    return real_path(path.parent / url).as_uri()


def _roots(path: Path, extras: Sequence[str], groups: Sequence[str]) -> Iterator[Requirement]:
    """Yield what a project asks for: by `[project]`, or by poetry's own tables, whose versions the lock has.

    :raises InputError: it has no such extra or group.
    """
    document = pinned.values(path, hint="mend it")
    project, tool = document.get("project"), document.get("tool")
    own = tool.get("poetry") if tool else None
    if own is None or (project and project.get("dependencies") and project["dependencies"].raw):
        standard = tuple(one for one in groups if own is None or _group(own, one) is None)
        yield from pyproject.read(path, extras=extras, groups=standard, sourced=True).requirements
        groups = [one for one in groups if one not in standard]
    else:
        dependencies = own.get("dependencies")
        if dependencies:
            yield from _listed(dependencies, path, optional=_brought(own, extras, path))
    for name in groups:
        listed = _group(own, name) if own else None
        if listed is not None:
            yield from _listed(listed, path, optional=frozenset())
        else:
            yield from pyproject.read_groups(path, [name], others=_group_names(own) if own else ())


def _group(own: Value, name: str) -> Value | None:
    if name == "dev" and (found := own.get("dev-dependencies")):
        return found
    groups = own.get("group")
    group = groups.get(name) if groups else None
    return group["dependencies"] if group else None


def _group_names(own: Value) -> tuple[str, ...]:
    groups = own.get("group")
    return (*(["dev"] if own.get("dev-dependencies") else []), *(groups.names() if groups else ()))


def _brought(own: Value, extras: Sequence[str], path: Path) -> frozenset[str]:
    """Return the normalised names of the optional dependencies that extras bring."""
    table = own.get("extras")
    offered = {canonicalize_name(name): name for name in (table.names() if table else ())}
    for extra in extras:
        if table is None or canonicalize_name(extra) not in offered:
            has = f"it has {', '.join(sorted(offered))}" if offered else "it has none"
            raise InputError(f"{path} has no extra {extra!r}", hint=has)
    return frozenset(
        canonicalize_name(name.partition("[")[0].strip())
        for extra in extras
        if table is not None
        for name in table[offered[canonicalize_name(extra)]].texts()
    )


def _listed(table: Value, path: Path, *, optional: frozenset[str]) -> Iterator[Requirement]:
    """Yield the dependencies of a table.

    :param optional: normalised names of the optional ones that are wanted.
    """
    for name in table.names():
        if canonicalize_name(name) == "python":
            continue
        said = table[name]
        for one in said if isinstance(said.raw, list) else [said]:
            if isinstance(one.raw, dict):
                flag = one.get("optional")
                if flag and flag.flag() and canonicalize_name(name) not in optional:
                    continue
                extras = one["extras"].texts() if one.get("extras") else ()
                marker = _when(one)
            else:
                one.text()
                extras, marker = (), ""
            bracket = f"[{','.join(extras)}]" if extras else ""
            text = f"{name}{bracket}" + (f" ; {marker}" if marker else "")
            yield requirements.parse(text, origin=f"{path}: {table.place}", folder=path.parent)


def _when(said: Value) -> str:
    """Return the marker of a dependency: of `markers`, `python` and `platform`."""
    parts = [said["markers"].text()] if said.get("markers") else []
    if python := said.get("python"):
        parts += [found] if (found := python_marker(python)) else []
    if platform := said.get("platform"):
        parts.append(f"sys_platform == '{platform.text(r'[a-z0-9]+')}'")
    return " and ".join(f"({one})" for one in parts) if len(parts) > 1 else "".join(parts)


def python_marker(said: Value) -> str:
    """Return Pythons as poetry names them (`^3.8`, `>=3.8,<3.10 || 3.12.*`) as a marker; empty: all."""
    either = []
    for part in re.split(r"\|\|?", said.text()):
        pieces = list(_PIECE.finditer(part))
        if not pieces or re.sub(r"[\s,]", "", _PIECE.sub("", part)):
            said.fail(f"{said.raw[:80]!r} names no Pythons")
        every = [f"python_full_version {one}" for piece in pieces for one in _limits(piece, said)]
        if not every:
            return ""
        either.append(" and ".join(every))
    return " or ".join(f"({one})" for one in either) if len(either) > 1 else either[0]


def _limits(piece: re.Match[str], said: Value) -> Iterator[str]:
    operator, text = piece["operator"], piece["version"]
    if text == "*":
        return
    if operator in {"^", "~"}:
        try:
            release = Version(text).release
        except InvalidVersion:
            said.fail(f"{text[:80]!r} is no version")
        kept = 1 if operator == "^" or len(release) < 2 else 2
        above = (*release[: kept - 1], release[kept - 1] + 1)
        yield f">= '{text}'"
        yield f"< '{'.'.join(map(str, above))}'"
    elif operator in {"", "="}:
        yield f"== '{text}.*'" if text.count(".") == 1 and "*" not in text else f"== '{text}'"
    else:
        yield f"{operator} '{text}'"
