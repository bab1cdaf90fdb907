"""The standard library's `dataclass`, but a frozen one gets its methods when they are first needed.

The original writes and compiles up to six functions for each class as its module is loaded: half a
millisecond a class on Python 3.11, together a fifth of a small `create`. Most classes of a run make no value,
and few values are ever compared or printed. So comparing, printing and refusing changes are functions that
all classes share, and `__init__` is compiled for the first value of a class. Type checkers see the original.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import reprlib
from collections.abc import Callable
from dataclasses import MISSING, FrozenInstanceError, fields
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(*, frozen: bool = False, kw_only: bool = False) -> Callable[[type[_T]], type[_T]]:
        """Return the decorator; what is not frozen or takes positions is left to the original."""
        return _value if frozen and kw_only else dataclasses.dataclass(frozen=frozen, kw_only=kw_only)


_T = TypeVar("_T")


def _value(cls: type[_T]) -> type[_T]:
    own = dict(vars(cls))
    made = dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=True)(cls)
    shared = {"__repr__": _repr, "__eq__": _eq, "__hash__": _hash, "__init__": _first_init(made)}
    for name, function in shared.items():
        # A class with __eq__ of its own has __hash__ = None, as everywhere.
        if name not in own:
            setattr(made, name, function)
    made.__setattr__ = made.__delattr__ = _refuse  # type: ignore[method-assign]  # of a frozen class
    return made


def _first_init(cls: type) -> Callable[..., None]:
    """Return an `__init__` that puts the compiled one in its place."""

    def __init__(self: Any, /, *args: Any, **values: Any) -> None:  # noqa: N807 - it is a method
        compiled = _compiled_init(cls)
        cls.__init__ = compiled  # type: ignore[misc]  # that is what it is for
        compiled(self, *args, **values)

    return __init__


def _compiled_init(cls: Any) -> Callable[..., None]:
    names: dict[str, Any] = {"_set": object.__setattr__, "_unset": MISSING}
    parameters, lines = [], []
    for one in fields(cls):
        value = one.name
        if one.default_factory is not MISSING:
            names[f"_make_{one.name}"] = one.default_factory
            parameters.append(f"{one.name}=_unset")
            value = f"_make_{one.name}() if {one.name} is _unset else {one.name}"
        elif one.default is not MISSING:
            names[f"_default_{one.name}"] = one.default
            parameters.append(f"{one.name}=_default_{one.name}")
        else:
            parameters.append(one.name)
        lines.append(f"\n    _set(self, {one.name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append("\n    self.__post_init__()")
    head = f"def __init__({', '.join(['self', '*', *parameters] if parameters else ['self'])}):"
    exec(head + ("".join(lines) or "\n    pass"), names)  # noqa: S102 - as the standard library does
    compiled: Callable[..., None] = names["__init__"]
    compiled.__qualname__ = f"{cls.__qualname__}.__init__"
    return compiled


@functools.cache
def _key(cls: Any, *, hashed: bool) -> Callable[[Any], Any]:
    """Return what gives those values of an instance by which it is compared or hashed."""
    names = [one.name for one in fields(cls) if (one.compare if one.hash is None or not hashed else one.hash)]
    return operator.attrgetter(*names) if names else lambda _: ()


def _eq(self: Any, other: Any) -> Any:
    if self.__class__ is not other.__class__:
        return NotImplemented
    key = _key(self.__class__, hashed=False)
    return key(self) == key(other)


def _hash(self: Any) -> int:
    return hash(_key(self.__class__, hashed=True)(self))


@reprlib.recursive_repr()
def _repr(self: Any) -> str:
    shown = (f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if one.repr)
    return f"{self.__class__.__qualname__}({', '.join(shown)})"


def _refuse(self: Any, name: str, value: Any = None) -> NoReturn:
    del self, value
    raise FrozenInstanceError(f"cannot change the field {name!r}")
