"""Reads JSON that anybody may have written: every value with the place where it stands."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from bundler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHA256 = re.compile(r"[0-9a-f]{64}")
LIMIT = 1 << 40
"""No size or count in our formats is larger; Python's integers have no end."""


@dataclass(frozen=True, kw_only=True)
class Value:
    """A JSON value and the place where it stands, such as `distributions[3].sha256`."""

    raw: Any
    place: str
    source: str
    """The file, for messages."""

    def fail(self, problem: str) -> NoReturn:
        """Raise an InputError that names the place."""
        where = f"{self.source}: {self.place}" if self.place else self.source
        raise InputError(f"{where}: {problem}", hint="it was changed by hand, or is no file of envbundle's")

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
        return Value(raw=self.raw[key], place=place, source=self.source)

    def __iter__(self) -> Iterator[Value]:
        """Iterate over an array."""
        if not isinstance(self.raw, list):
            self.fail("must be an array")
        for number, raw in enumerate(self.raw):
            yield Value(raw=raw, place=f"{self.place}[{number}]", source=self.source)

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

    def texts(self) -> tuple[str, ...]:
        """Return an array of strings."""
        return tuple(value.text() for value in self)


def path_problem(path: str) -> str:
    """Return why a relative POSIX path is not acceptable; empty where it is."""
    if not path or "\0" in path:
        return "is no path"
    if path.startswith("/") or any(part in ("", ".", "..") for part in path.split("/")):
        return "leaves its folder or is not normal"
    return ""


def load(path: Path, *, hint: str = "name the folder of a bundle") -> tuple[Value, bytes]:
    """Read a JSON file and return its value, and the bytes that it came from.

    :param hint: what to do where there is no such file.
    :raises InputError: unreadable, no JSON, or an object with the same member twice.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", hint=hint) from error
    return parse(data, source=str(path)), data


def parse(data: bytes, *, source: str) -> Value:
    """Read JSON.

    :param source: what it came from, for messages.
    :raises InputError: no JSON, or an object with the same member twice.
    """
    try:
        raw = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        problem = str(error) if isinstance(error, ValueError) else "is nested too deeply"
        raise InputError(f"{source}: is not sound JSON: {problem}") from error
    return Value(raw=raw, place="", source=source)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object has the same member twice")
    return result


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
