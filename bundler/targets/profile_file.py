"""Reads image profiles and servers' releases from their files; believes nothing in them.

Format: docs/images.md and images/profile.schema.json.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from bundler.errors import InputError
from bundler.system.json_values import load
from bundler.targets.image import (
    Conda,
    Image,
    ImageTarget,
    Installed,
    Mount,
    Release,
    ServerRange,
    Source,
    User,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeVar

    from bundler.system.json_values import Value

    T = TypeVar("T")

KIND = "envbundle-image"
SCHEMA_VERSION = "1.0"
SERVER_KIND = "envbundle-server"
MAX_BYTES = 20_000_000
"""A profile with ten thousand distributions has a fourth of it."""

_NAME = r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
_DISTRIBUTION = r"[a-z0-9]+(-[a-z0-9]+)*"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_FOLDER = r"/[^\0\n]*"
_LINE = r"[^\0-\x1f\x7f]{0,2000}"


def read(path: Path) -> Image:
    """Return the profile in a file.

    :raises InputError: unreadable, or wrong at a place that is named.
    """
    value = _load(path, KIND, hint="`envbundle images probe` prints the script that writes one")
    _only(value, ("kind", "schema_version", *(one.name for one in fields(Image))))
    return Image(
        name=value["name"].text(_NAME),
        os=_optional(value["os"], _line),
        references=tuple(one.text(r"[\w./:-]+") for one in value["references"]),
        tags=tuple(one.text(r"[\w.-]{1,128}") for one in value["tags"]),
        target=_target(value["target"]),
        distributions=_optional(value["distributions"], lambda one: _members(one, _DISTRIBUTION, _installed)),
        named=_members(value["named"], _DISTRIBUTION, _specifiers),
        server=_optional(value["server"], _server),
        libraries=_names(value["libraries"], r"[\w.+-]{1,200}"),
        stdlib_modules=_names(value["stdlib_modules"], r"\w{1,100}"),
        environment=_optional(value["environment"], lambda one: _members(one, _VARIABLE, _line)),
        conda=_optional(value["conda"], _conda),
        mount=_optional(value["mount"], _mount),
        honours_variables=value["honours_variables"].choice("yes", "no", "unknown"),  # type: ignore[arg-type]  # `choice` checked it
        user=_optional(value["user"], _user),
        writable=_optional(value["writable"], lambda one: tuple(each.text(_FOLDER) for each in one)),
        sources=tuple(_source(one) for one in value["sources"]),
    )


def read_server(path: Path) -> tuple[Release, ...]:
    """Return the releases of a server, the oldest first.

    :raises InputError: unreadable, or wrong at a place that is named.
    """
    value = _load(path, SERVER_KIND, hint="it is part of envbundle: install it again")
    return tuple(
        Release(
            version=_version(one["version"]),
            requires_python=_specifiers(one["requires_python"]),
            requires=one["requires"].texts(),
            beside=tuple(
                (
                    near["distribution"].text(_DISTRIBUTION),
                    Installed(version=_version(near["version"]), requires=near["requires"].texts()),
                )
                for near in one["beside"]
            ),
        )
        for one in value["releases"]
    )


def _load(path: Path, kind: str, *, hint: str) -> Value:
    try:
        if path.is_file() and path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: is larger than any profile", hint=hint)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", hint=hint) from error
    value, _ = load(path, hint=hint)
    if value["kind"].text() != kind:
        value["kind"].fail(f"is not {kind!r}")
    if value["schema_version"].text(r"\d{1,4}\.\d{1,4}").partition(".")[0] != "1":
        value["schema_version"].fail("is not one that this envbundle reads; use a newer one")
    return value


def _only(value: Value, known: tuple[str, ...]) -> None:
    """A member with a slip in its name would be passed over, and something else be taken for unknown."""
    unknown = sorted(set(value.raw) - set(known))
    if unknown:
        value.fail(f"has a member {unknown[0][:80]!r}, which a profile has not")


def _optional(value: Value, reader: Callable[[Value], T]) -> T | None:
    return None if value.raw is None else reader(value)


def _members(value: Value, names: str, reader: Callable[[Value], T]) -> dict[str, T]:
    if not isinstance(value.raw, dict):
        value.fail("must be an object")
    for key in value.raw:
        if not re.fullmatch(names, key):
            value.fail(f"{key[:80]!r} is not of the form {names}")
    return {key: reader(value[key]) for key in sorted(value.raw)}


def _names(value: Value, form: str) -> frozenset[str] | None:
    return None if value.raw is None else frozenset(one.text(form) for one in value)


def _line(value: Value) -> str:
    return value.text(_LINE)


def _version(value: Value) -> str:
    text = value.text(_LINE)
    try:
        Version(text)
    except InvalidVersion:
        value.fail(f"{text[:80]!r} is no version")
    return text


def _specifiers(value: Value) -> str:
    text = value.text(_LINE)
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        value.fail(f"{text[:80]!r} is no set of version specifiers")
    return text


def _numbers(value: Value) -> tuple[int, ...]:
    return tuple(int(part) for part in value.text(r"\d{1,4}(\.\d{1,4}){1,3}").split("."))


def _pair(value: Value) -> tuple[int, int]:
    text = value.text(r"\d{1,4}\.\d{1,4}")
    major, minor = text.split(".")
    return int(major), int(minor)


def _target(value: Value) -> ImageTarget:
    _only(value, tuple(one.name for one in fields(ImageTarget)))
    return ImageTarget(
        python=_optional(value["python"], lambda one: one.text(r"\d\.\d{1,3}(\.\d{1,3}((a|b|rc)\d+)?)?")),
        implementation=_optional(value["implementation"], lambda one: one.text(r"\w{1,50}")),
        abi=_optional(value["abi"], lambda one: one.text(r"\w{1,50}")),
        machine=_optional(value["machine"], lambda one: one.text(r"\w{1,50}")),
        libc=_optional(value["libc"], lambda one: one.choice("glibc", "musl")),
        glibc=_optional(value["glibc"], _pair),
        glibcxx=_optional(value["glibcxx"], _numbers),
        cxxabi=_optional(value["cxxabi"], _numbers),
    )


def _installed(value: Value) -> Installed:
    _only(value, ("version", "requires"))
    # What stands in METADATA need be no version; then nothing can be compared with it, and all goes on.
    requires = tuple(one.text(_LINE) for one in value["requires"])
    return Installed(version=value["version"].text(r"[^\s/\\\0]{1,200}"), requires=requires)


def _server(value: Value) -> ServerRange:
    _only(value, ("name", "at_least", "at_most"))
    return ServerRange(
        name=value["name"].text(_DISTRIBUTION),
        at_least=_optional(value["at_least"], _version),
        at_most=_optional(value["at_most"], _version),
    )


def _conda(value: Value) -> Conda:
    _only(value, ("name", "prefix"))
    return Conda(
        name=_optional(value["name"], lambda one: one.text(r"[\w.-]{1,100}")),
        prefix=value["prefix"].text(_FOLDER),
    )


def _mount(value: Value) -> Mount:
    _only(value, ("variables", "base", "order", "trailing_colon"))
    return Mount(
        variables=tuple(one.text(_VARIABLE) for one in value["variables"]),
        base=_optional(value["base"], lambda one: one.text(_FOLDER)),
        order=_optional(value["order"], lambda one: one.choice("prepend", "append")),  # type: ignore[arg-type, return-value]  # `choice` checked it
        trailing_colon=_optional(value["trailing_colon"], lambda one: one.flag()),
    )


def _user(value: Value) -> User:
    _only(value, ("name", "uid", "root"))
    return User(
        name=_optional(value["name"], lambda one: one.text(r"[\w.$-]{1,100}")),
        uid=_optional(value["uid"], lambda one: one.number()),
        root=_optional(value["root"], lambda one: one.flag()),
    )


def _source(value: Value) -> Source:
    _only(value, ("about", "url", "certainty", "says"))
    return Source(
        about=tuple(one.text(r"\*|[a-z_]+(\.[a-z_]+)*") for one in value["about"]),
        url=_optional(value["url"], lambda one: one.text(r"https://[^\s]+")),
        certainty=value["certainty"].choice("read", "inferred", "ran", "probed"),  # type: ignore[arg-type]  # `choice` checked it
        says=value["says"].text(_LINE),
    )
