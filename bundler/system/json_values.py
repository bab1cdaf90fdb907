"""JSON that anybody may have written, read by the types of frozen values, and such values as JSON.

Every error names the file and the place in it: `manifest.json: files[3].sha256: must be a string`.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NoReturn,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.ontarget.bounded import parse_json
from bundler.system import outside

if TYPE_CHECKING:
    _Members = Mapping[str, Callable[["Value"], Any]]

SHA256 = re.compile(r"[0-9a-f]{64}")
LIMIT = 1 << 40
"""No size or count in our formats is larger; Python's integers have no end."""
MAX_BYTES = 64 << 20
"""The most bytes of a file that are read."""
CHANGED = "it was changed by hand, or is no file of envbundle's"

Kind = TypeVar("Kind")


@dataclass(frozen=True, kw_only=True)
class Value:
    """A JSON value and the place where it stands, such as `distributions[3].sha256`."""

    raw: Any
    place: str = ""
    source: str
    """The file, for messages."""
    hint: str = CHANGED
    """What to do where it is not as it should be."""

    def fail(self, problem: str) -> NoReturn:
        """Raise an InputError that names the place."""
        where = f"{self.source}: {self.place}" if self.place else self.source
        raise InputError(f"{where}: {problem}", hint=self.hint)

    def names(self) -> list[str]:
        """Return the names of an object's members, sorted."""
        if not isinstance(self.raw, dict):
            self.fail("must be an object")
        return sorted(self.raw)

    def __getitem__(self, key: str) -> Value:
        """Return a member of an object; it must be there."""
        found = self.get(key)
        if found is None:
            self.fail(f"lacks {key!r}")
        return found

    def get(self, key: str) -> Value | None:
        """Return a member of an object, or `None` where there is none."""
        if not isinstance(self.raw, dict):
            self.fail("must be an object")
        if key not in self.raw:
            return None
        place = f"{self.place}.{key}" if self.place else key
        return Value(raw=self.raw[key], place=place, source=self.source, hint=self.hint)

    def __iter__(self) -> Iterator[Value]:
        """Iterate over an array."""
        if not isinstance(self.raw, list):
            self.fail("must be an array")
        for number, raw in enumerate(self.raw):
            yield Value(raw=raw, place=f"{self.place}[{number}]", source=self.source, hint=self.hint)

    def text(self, pattern: str = "") -> str:
        """Return a string that matches the whole pattern."""
        if not isinstance(self.raw, str):
            self.fail("must be a string")
        if pattern and not re.fullmatch(pattern, self.raw):
            self.fail(f"{self.raw[:80]!r} is not of the form {pattern}")
        return self.raw

    def choice(self, *words: str) -> str:
        """Return a string that is one of the words."""
        if self.raw not in words or not isinstance(self.raw, str):
            self.fail(f"must be one of {', '.join(words)}")
        return self.raw

    def number(self) -> int:
        """Return a whole number that is not negative."""
        if isinstance(self.raw, bool) or not isinstance(self.raw, int) or not 0 <= self.raw < LIMIT:
            self.fail("must be a whole number of at least 0")
        return self.raw

    def flag(self) -> bool:
        """Return a boolean."""
        if not isinstance(self.raw, bool):
            self.fail("must be true or false")
        return self.raw

    def sha256(self) -> str:
        """Return a lower-case hexadecimal sha256."""
        if not isinstance(self.raw, str) or not SHA256.fullmatch(self.raw):
            self.fail("must be a sha256 in lower-case hexadecimal")
        return self.raw

    def path(self) -> str:
        """Return a POSIX path that stays below its folder."""
        text = self.text()
        if problem := path_problem(text):
            self.fail(f"{text[:80]!r} {problem}")
        return text

    def absolute(self) -> Path:
        """Return an absolute path of this machine."""
        return Path(self.text("/[^\0]*"))

    def texts(self) -> tuple[str, ...]:
        """Return an array of strings."""
        return tuple(value.text() for value in self)

    def require_kind(self, kind: str) -> None:
        """Refuse a document that is not of this `kind`, or of another major version than 1."""
        if self["kind"].text() != kind:
            self["kind"].fail(f"is not {kind!r}")
        if self["schema_version"].text(r"\d{1,4}\.\d{1,4}").partition(".")[0] != "1":
            self["schema_version"].fail("is not one that this envbundle reads; use a newer one")


def path_problem(path: str) -> str:
    """Return why a relative POSIX path is not acceptable; empty where it is."""
    if not path or "\0" in path:
        return "is no path"
    if path.startswith("/") or any(part in ("", ".", "..") for part in path.split("/")):
        return "leaves its folder or is not normal"
    return ""


def load(
    path: Path, *, hint: str = "name the folder of a bundle", limit: int = MAX_BYTES, named: bool = False
) -> Value:
    """Read a JSON file.

    :param hint: what to do where there is no such file.
    :param limit: the most bytes that it may have.
    :param named: the caller has named it, so it may be a symlink.
    :raises InputError: unreadable, no regular file, too large, nested too deeply, no JSON, or an object with
        the same member twice.
    """
    return parse(outside.read(path, limit=limit, hint=hint, named=named), source=str(path))


def parse(data: bytes, *, source: str, hint: str = CHANGED) -> Value:
    """Read JSON.

    :param source: what it came from, for messages.
    :param hint: what to do where it is none, or says something else than it should.
    :raises InputError: no JSON, nested too deeply, or an object with the same member twice.
    """
    try:
        raw = parse_json(data)
    except ValueError as error:
        raise InputError(f"{source}: is not sound JSON: {error}", hint=hint) from error
    return Value(raw=raw, source=source, hint=hint)


def from_json(kind: type[Kind], value: Value, *, exact: bool = False) -> Kind:
    """Read a value by the types of its fields: a dataclass from an object, a NamedTuple from an array.

    The type of a field is `str`, `int` (not negative), `bool`, `Path` (absolute), a `Literal` of words,
    `X | None`, `tuple[X, ...]`, `frozenset[X]`, `Mapping[str, X]`, or a dataclass or NamedTuple itself.
    `Annotated[X, how]` says more: `how` is the pattern of a text, or the function that reads the `Value`,
    such as `Value.sha256`. All these types must be imported at run time, `Mapping` and `Path` excepted.

    :param exact: an object must have every member, and no other. Else a member that is missing takes the
        field's default, and one that is unknown is passed over.
    :raises InputError: a member is missing, unknown (`exact`) or of another type; names the place.
    """
    hint: Any = kind
    read: Callable[[Value], Kind] = _reader(hint, exact)
    return read(value)


@cache
def _reader(hint: Any, exact: bool) -> Callable[[Value], Any]:  # noqa: FBT001 - only the cache sees it
    """Return the function that reads values of a type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if origin is Annotated:
        how = arguments[1]
        return (lambda value: value.text(how)) if isinstance(how, str) else how
    if origin is Literal:
        return lambda value: value.choice(*arguments)
    if origin in (Union, types.UnionType):
        (read,) = (_reader(one, exact) for one in arguments if one is not type(None))
        return lambda value: None if value.raw is None else read(value)
    if origin in (tuple, frozenset):
        one = _reader(arguments[0], exact)
        return lambda value: origin(map(one, value))
    if origin is Mapping:
        key, member = (_reader(one, exact) for one in arguments)
        return lambda value: {
            key(Value(raw=name, place=value.place, source=value.source)): member(value[name])
            for name in value.names()
        }
    known = {"Mapping": Mapping, "Path": Path}
    hints = get_type_hints(hint, localns=known, include_extras=True)
    members = {name: _reader(type_, exact) for name, type_ in hints.items()}
    if is_dataclass(hint):
        return lambda value: _read_object(hint, members, value, exact=exact)
    return lambda value: _read_row(hint, members, value)


_PLAIN: Mapping[Any, Callable[[Value], Any]] = {
    str: Value.text,
    int: Value.number,
    bool: Value.flag,
    Path: Value.absolute,
}


def _read_object(
    kind: Any, members: Mapping[str, Callable[[Value], Any]], value: Value, *, exact: bool
) -> Any:
    if exact and (unknown := sorted(set(value.names()) - set(members))):
        value.fail(f"has a member {unknown[0][:80]!r}, which is not known")
    found = {}
    for field in fields(kind):
        member = value.get(field.name)
        if member is not None:
            found[field.name] = members[field.name](member)
        elif exact or (field.default is MISSING and field.default_factory is MISSING):
            value.fail(f"lacks {field.name!r}")
    return kind(**found)


def _read_row(kind: Any, members: _Members, value: Value) -> Any:
    if not isinstance(value.raw, list) or len(value.raw) != len(members):
        value.fail(f"must be [{', '.join(members)}]")
    return kind(*(read(one) for read, one in zip(members.values(), value, strict=True)))


def as_json(value: object) -> Any:
    """Return a value as `from_json` reads it: dataclasses as objects, tuples and sorted sets as arrays."""
    if is_dataclass(value):
        return {field.name: as_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {name: as_json(one) for name, one in value.items()}
    if isinstance(value, tuple | frozenset):
        return [as_json(one) for one in (value if isinstance(value, tuple) else sorted(value))]
    return str(value) if isinstance(value, Path) else value
