"""Finds the line of every key and element of a TOML document, which its parser does not give.

The parser of the standard library returns values alone; so a second, much smaller reader follows the
structure of the document (https://toml.io/en/v1.0.0). It expects that the parser has accepted the document.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

from bundler.system import toml_text

KeyPath = tuple[str | int, ...]
"""Keys and, in arrays, numbers from 0: `("bundle", 2, "python", 1)`."""

# White space and comments between keys and values.
_SPACE = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_KEY = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\s\"'.=\]]+")
# The text of a multi-line string may itself end with one or two quotes.
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"""{1,3}|'
    r"'''(?:[^']|'(?!''))*'''{1,3}|"
    r'"(?:[^"\\]|\\.)*"|'
    r"'[^']*'",
    re.DOTALL,
)
_BARE = re.compile(r"[^,\]}#\n]+")


def locate(text: str) -> dict[KeyPath, int]:
    """Return the line, from 1, of every key, table, array of tables and element of an array.

    :param text: a valid document.
    :raises RecursionError: arrays in arrays, too deep.
    """
    scanner = _Scanner(text=text.replace("\r\n", "\n"))
    scanner.read()
    return scanner.found


@dataclass(kw_only=True)
class _Scanner:
    text: str
    at: int = 0
    found: dict[KeyPath, int] = field(default_factory=dict)
    last: dict[KeyPath, int] = field(default_factory=dict)
    """Array of tables → the number of its last table, to which a header below it belongs."""

    def __post_init__(self) -> None:
        self.starts = [0, *(match.end() for match in re.finditer("\n", self.text))]

    def read(self) -> None:
        table: KeyPath = ()
        while self.peek():
            if self.peek() == "[":
                table = self.header()
            else:
                self.pair(table)

    def peek(self, length: int = 1) -> str:
        """Skip white space and comments, and return the next characters; empty at the end."""
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.text[self.at : self.at + length]

    def take(self, pattern: re.Pattern[str]) -> str:
        self.peek()
        found = pattern.match(self.text, self.at)
        if found is None:
            raise AssertionError(f"the parser took what is no TOML, at character {self.at}")
        self.at = found.end()
        return found[0]

    def note(self, key_path: KeyPath) -> None:
        """Keep the line in which a path first occurs."""
        self.found.setdefault(key_path, bisect_right(self.starts, self.at))

    def header(self) -> KeyPath:
        array = self.peek(2) == "[["
        self.at += 2 if array else 1
        self.peek()
        start = self.at
        keys = self.keys()
        end, self.at = self.at, start
        key_path: KeyPath = ()
        for number, key in enumerate(keys, start=1):
            key_path += (key,)
            self.note(key_path)
            if array and number == len(keys):
                self.last[key_path] = self.last.get(key_path, -1) + 1
            if key_path in self.last:
                key_path += (self.last[key_path],)
                self.note(key_path)
        self.at = end
        self.peek()
        self.at += 2 if array else 1
        return key_path

    def keys(self) -> list[str]:
        """Read `a."b.c".d`."""
        keys = [self.key()]
        while self.peek() == ".":
            self.at += 1
            keys.append(self.key())
        return keys

    def key(self) -> str:
        word = self.take(_KEY)
        return next(iter(toml_text.loads(f"{word} = 0"))) if word[0] in "\"'" else word

    def pair(self, table: KeyPath) -> None:
        self.peek()
        start = self.at
        keys = self.keys()
        end, self.at = self.at, start
        key_path = table
        for key in keys:
            key_path += (key,)
            self.note(key_path)
        self.at = end
        self.peek()
        self.at += 1
        self.value(key_path)

    def value(self, key_path: KeyPath) -> None:
        start = self.peek()
        if start not in ("[", "{"):
            self.take(_STRING if start in ('"', "'") else _BARE)
            return
        self.at += 1
        number = 0
        while (found := self.peek()) not in ("]", "}"):
            if found == ",":
                self.at += 1
            elif start == "{":
                self.pair(key_path)
            else:
                element = (*key_path, number)
                self.note(element)
                self.value(element)
                number += 1
        self.at += 1
