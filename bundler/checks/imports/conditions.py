"""What a condition in the service's code says on the target, where the target alone decides it."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

_UNKNOWN = object()
_ANY_MICRO = 1 << 30
"""Stands for the micro version, which nobody has told: `sys.version_info > (3, 8)` on 3.8.0."""
_OF_TARGET: dict[str, object] = {
    "TYPE_CHECKING": False,
    "typing.TYPE_CHECKING": False,
    "t.TYPE_CHECKING": False,
    "sys.platform": "linux",
    "os.name": "posix",
    "platform.system()": "Linux",
    "sys.implementation.name": "cpython",
    "platform.python_implementation()": "CPython",
}
"""What an expression says on every target, as code writes it."""
_COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda one, many: one in many,
    ast.NotIn: lambda one, many: one not in many,
}


class Conditions:
    """Conditions on the platform and on the version of Python."""

    def __init__(self, python: tuple[int, int] | None) -> None:
        """Take the target's version; `None`: it is not known."""
        self._known = {**_OF_TARGET, **(_of_version(python) if python else {})}

    def says(self, test: ast.expr) -> bool | None:
        """Return what a condition says on the target; `None`: only the running service knows."""
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            inner = self.says(test.operand)
            return None if inner is None else not inner
        if isinstance(test, ast.BoolOp):
            decides = isinstance(test.op, ast.Or)
            said = [self.says(one) for one in test.values]
            return decides if decides in said else None if None in said else not decides
        if isinstance(test, ast.Compare):
            if len(test.ops) > 1:
                return None
            left, right = self._value(test.left), self._value(test.comparators[0])
            return _compare(_COMPARED.get(type(test.ops[0])), left, right)
        if isinstance(test, ast.Call) and isinstance(test.func, ast.Attribute) and len(test.args) == 1:
            text, start = self._value(test.func.value), self._value(test.args[0])
            if test.func.attr == "startswith" and isinstance(text, str) and isinstance(start, str | tuple):
                return text.startswith(start)
        value = self._value(test)
        return None if value is _UNKNOWN else bool(value)

    def _value(self, node: ast.expr) -> object:
        text = ast.unparse(node)
        if text in self._known:
            return self._known[text]
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError):
            return _UNKNOWN


def _of_version(python: tuple[int, int]) -> dict[str, object]:
    major, minor = python
    ends: dict[str, object] = {
        "": (major, minor, _ANY_MICRO),
        "[:2]": python,
        "[0]": major,
        ".major": major,
        "[1]": minor,
        ".minor": minor,
    }
    return {name + end: value for name in ("sys.version_info", "version_info") for end, value in ends.items()}


def _compare(how: Callable[[Any, Any], Any] | None, left: object, right: object) -> bool | None:
    if how is None or left is _UNKNOWN or right is _UNKNOWN:
        return None
    if isinstance(left, tuple) and isinstance(right, tuple):
        longer = min(len(left), len(right)) > 2
        if longer and left[:2] == right[:2]:
            return None  # the micro version decides
    try:
        return bool(how(left, right))
    except TypeError:
        return None
