"""What a module that protoc has generated declares, read from the descriptor in it.

Several distributions bring the module of one `.proto` file (`google/api/field_behavior_pb2.py` is in
googleapis-common-protos and in google-cloud-alloydb-connector), each as the protoc of its day wrote it.
"""

from __future__ import annotations

import ast
from typing import NamedTuple


class _Kind(NamedTuple):
    """A message of https://github.com/protocolbuffers/protobuf/blob/main/src/google/protobuf/descriptor.proto."""

    inner: dict[int, str]
    """Number of a field → what it holds."""
    options: frozenset[int]
    """Numbers of fields that say nothing of what is declared: options, and where it stands in the source."""


_KINDS = {
    "file": _Kind({4: "message", 5: "enum", 6: "service", 7: "field"}, frozenset({8, 9})),
    "message": _Kind({2: "field", 3: "message", 4: "enum", 6: "field", 8: "oneof"}, frozenset({7})),
    "field": _Kind({}, frozenset({8})),
    "oneof": _Kind({}, frozenset({2})),
    "enum": _Kind({2: "value"}, frozenset({3})),
    "value": _Kind({}, frozenset({3})),
    "service": _Kind({2: "method"}, frozenset({3})),
    "method": _Kind({}, frozenset({4})),
}
_VARINT, _BYTES = 0, 2
"""The two wire types that descriptors use outside of options."""
Declared = tuple[tuple[int, object], ...]


def declared(module: ast.Module) -> Declared | None:
    """Return names, numbers and types that a generated module declares, without options; `None`: it is none.

    :raises ValueError: the descriptor in it is none.
    """
    found = [
        one.args[0].value
        for one in ast.walk(module)
        if isinstance(one, ast.Call)
        and isinstance(one.func, ast.Attribute)
        and one.func.attr == "AddSerializedFile"
        and len(one.args) == 1
        and isinstance(one.args[0], ast.Constant)
        and isinstance(one.args[0].value, bytes)
    ]
    return _read(found[0], "file") if len(found) == 1 else None


def _read(data: bytes, kind: str) -> Declared:
    inner, options = _KINDS[kind]
    rows: list[tuple[int, object]] = []
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire not in (_VARINT, _BYTES):
            raise ValueError(f"wire type {wire} in a descriptor")
        amount, at = _varint(data, at)
        value: object = amount
        if wire == _BYTES:
            content, at = data[at : at + amount], at + amount
            if at > len(data):
                raise ValueError("a descriptor that is cut off")
            value = _read(content, inner[number]) if number in inner else content
        if number not in options:
            rows.append((number, value))
    return tuple(rows)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise ValueError("a number of a descriptor does not end")
