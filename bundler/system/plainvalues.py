"""Frozen values as JSON's, and back again, by the types of their fields; nothing in the JSON is believed."""

from __future__ import annotations

import types
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from bundler.system.json_values import Value

Kind = TypeVar("Kind")


def as_plain(value: object) -> Any:
    """Return a value as JSON's: dataclasses as objects, tuples as arrays."""
    if is_dataclass(value):
        return {field.name: as_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [as_plain(one) for one in value]
    return value


def read(kind: type[Kind], value: Value) -> Kind:
    """Read a dataclass whose fields are text, numbers, flags, literals, tuples, dataclasses, or `None`.

    Members that it does not know are passed over; one that is missing takes the field's default, if any.

    :raises InputError: a member is missing or of another type; names the place.
    """
    members: dict[str, Any] = {}
    one: Any = kind
    for name, hint in _hints(one).items():
        member = value.get(name)
        if member is not None:
            members[name] = _read(hint, member)
        elif name in _required(one):
            value.fail(f"lacks {name!r}")
    return kind(**members)


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


@cache
def _required(kind: Any) -> frozenset[str]:
    return frozenset(
        field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING
    )


def _read(hint: Any, value: Value) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value.raw is None:
            return None
        (rest,) = (one for one in arguments if one is not type(None))
        return _read(rest, value)
    if origin is tuple:
        return tuple(_read(arguments[0], one) for one in value)
    if origin is Literal:
        return value.choice(*arguments)
    if hint is str:
        return value.text()
    if hint is int:
        return value.number()
    if hint is bool:
        return value.flag()
    return read(hint, value)
