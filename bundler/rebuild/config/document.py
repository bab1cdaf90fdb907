"""Reads a TOML file that people write: every value with its line, every problem in one message."""

from __future__ import annotations

import contextlib
import difflib
import re
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, NoReturn

from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.rebuild.config.lines import KeyPath, locate
from bundler.system import toml_text
from bundler.system.files import exists

MAX_BYTES = 2_000_000
"""Ten thousand bundles of a few lines each."""
MAX_LISTED = 20
"""Problems in one message."""
PAGES = (
    Path(__file__).parents[3] / "docs",
    Path(sysconfig.get_path("data"), "share", "doc", "envbundle"),
)
"""Where the pages are: in a checkout, and where an installed wheel has put them."""
PAGE = next((folder / "rebuild.md" for folder in PAGES if (folder / "rebuild.md").is_file()), "rebuild.md")
REFERENCE = f"{PAGE} tells every key"
_POSITION = re.compile(r" \(at (?:line (?P<line>[0-9]+), column [0-9]+|end of document)\)$")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
LONGEST = 4096
"""Characters of a value."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """A parsed file, and what was found wrong with it."""

    source: str
    """The file, for messages."""
    lines: Mapping[KeyPath, int]
    problems: list[tuple[int, InputError]] = field(default_factory=list)

    def line(self, key_path: KeyPath) -> int:
        """Return the line of a key or element, or of the table or array that holds it."""
        while key_path and key_path not in self.lines:
            key_path = key_path[:-1]
        return self.lines.get(key_path, 1)

    @contextlib.contextmanager
    def collecting(self, value: Value) -> Iterator[None]:
        """Go on after a problem, so that one message has all of them."""
        try:
            yield
        except InputError as error:
            self.problems.append((value.line, error))

    def settle(self) -> None:
        """Raise the problems that were collected, in the order of their lines.

        :raises InputError: there was a problem.
        """
        found = sorted(self.problems, key=lambda one: one[0])
        if len(found) == 1:
            raise found[0][1]
        if found:
            rows = [f"{error.message} ({error.hint})" if error.hint else error.message for _, error in found]
            more = [f"and {len(rows) - MAX_LISTED} more"] if len(rows) > MAX_LISTED else []
            raise InputError("\n".join([*rows[:MAX_LISTED], *more]), hint=REFERENCE)


@dataclass(frozen=True, kw_only=True)
class Value:
    """A value and where it stands."""

    raw: Any
    key_path: KeyPath
    document: Document

    @property
    def line(self) -> int:
        """From 1."""
        return self.document.line(self.key_path)

    @property
    def where(self) -> str:
        """`envbundle.toml:17`."""
        return f"{self.document.source}:{self.line}"

    @property
    def key(self) -> str:
        """The last key of its path."""
        return next((part for part in reversed(self.key_path) if isinstance(part, str)), "the file")

    def fail(self, problem: str, *, hint: str = REFERENCE) -> NoReturn:
        """Raise an InputError that names file and line."""
        raise InputError(f"{self.where}: {problem}", hint=hint)

    def wrong(self, expected: str, *, hint: str = REFERENCE) -> NoReturn:
        """Raise an InputError about a type."""
        self.fail(f"{self.key} must be {expected}, not {_kind(self.raw)}", hint=hint)

    def members(self) -> dict[str, Value]:
        """Return a table's members."""
        if not isinstance(self.raw, dict):
            self.wrong(f"a table: [{self.key}]")
        return {key: self._at(key, raw) for key, raw in self.raw.items()}

    def elements(self, *, needed: bool = False) -> list[Value]:
        """Return a list's elements; one value stands for a list of it.

        :param needed: an empty list is refused.
        """
        if not isinstance(self.raw, list):
            return [self]
        if needed and not self.raw:
            self.fail(
                f"{self.key} is empty: nothing would come of it", hint="leave it out, or name something"
            )
        seen: set[str] = set()
        for number, raw in enumerate(self.raw):
            if isinstance(raw, str):
                if raw in seen:
                    self._at(number, raw).fail(f"{self.key} has {raw[:80]!r} twice", hint="name it once")
                seen.add(raw)
        return [self._at(number, raw) for number, raw in enumerate(self.raw)]

    def _at(self, part: str | int, raw: Any) -> Value:
        return Value(raw=raw, key_path=(*self.key_path, part), document=self.document)

    def text(self, pattern: str = "", *, form: str = "", hint: str = REFERENCE) -> str:
        """Return a line of text.

        :param pattern: the whole text must match it.
        :param form: the pattern in words, for messages.
        """
        if not isinstance(self.raw, str):
            self.wrong(form or "a string", hint=hint)
        if not self.raw.strip():
            self.fail(f"{self.key} is empty", hint="leave it out, or name something")
        self.check_characters(self.raw)
        if pattern and not re.fullmatch(pattern, self.raw):
            self.fail(f"{self.key} must be {form}, not {self.raw[:80]!r}", hint=hint)
        return self.raw

    def check_characters(self, text: str) -> None:
        """Refuse control characters, and texts that are too long."""
        if found := _CONTROL.search(text):
            self.fail(f"{self.key} has a control character ({found[0]!r})", hint="write it on one line")
        if len(text) > LONGEST:
            self.fail(f"{self.key} is longer than {LONGEST} characters")

    def choice(self, words: Iterable[str]) -> str:
        """Return a string that is one of the words."""
        known = tuple(words)
        text = self.text()
        if text not in known:
            self.fail(
                f"{self.key}: {text[:80]!r} is not known",
                hint=f"{meant(text, known)}it is one of {', '.join(known)}",
            )
        return text

    def flag(self) -> bool:
        """Return true or false."""
        if not isinstance(self.raw, bool):
            self.wrong("true or false", hint="without quotes")
        return self.raw

    def number(self, *, least: int = 1, most: int) -> int:
        """Return a whole number in a range."""
        form = f"a whole number from {least} to {most}"
        if isinstance(self.raw, bool) or not isinstance(self.raw, int):
            self.wrong(form)
        if not least <= self.raw <= most:
            # Python refuses to print a number of ten thousand digits.
            shown = str(self.raw) if abs(self.raw) < 10**20 else "one of many digits"
            self.fail(f"{self.key} must be {form}, not {shown}")
        return self.raw


def load(path: Path) -> Value:
    """Read a file.

    :raises InputError: unreadable, too large, no UTF-8 or no TOML; names the line.
    """
    text = _text(path)
    try:
        raw = toml_text.loads(text)
        lines = locate(text)
    except RecursionError:
        raise InputError(f"{path}: its arrays are nested too deeply", hint=REFERENCE) from None
    except ValueError as error:
        # Not only TOMLDecodeError: an integer of five thousand digits raises one that has no line.
        found = _POSITION.search(str(error))
        end = text.rstrip("\n").count("\n") + 1
        where = f"{path}:{found['line'] or end}" if found else str(path)
        hint = "TOML: strings stand in quotes, [[bundle]] begins a bundle; https://toml.io"
        raise InputError(f"{where}: {_POSITION.sub('', str(error))[:200]}", hint=hint) from None
    return Value(raw=raw, key_path=(), document=Document(source=str(path), lines=lines))


def _text(path: Path) -> str:
    hint = "name the file, or the folder that has it"
    try:
        if not exists(path):
            raise InputError(f"{path}: there is no such file", hint=hint)
        if not path.is_file():
            raise InputError(f"{path}: is not a file", hint=hint)
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{path}: {problem}", hint=hint) from error
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: is larger than {MAX_BYTES:,} bytes", hint="is it the right file?")
    try:
        # Some editors on Windows begin every file with a byte order mark.
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{number}: is not UTF-8 text", hint="save the file as UTF-8") from None


def meant(word: str, known: Iterable[str]) -> str:
    """Return `did you mean …? `, or nothing where nothing is near."""
    spelled = {one.lower().replace("_", "-"): one for one in known}
    near = difflib.get_close_matches(word.lower().replace("_", "-"), spelled, n=2, cutoff=0.6)
    return f"did you mean {' or '.join(spelled[one] for one in near)}? " if near else ""


def _kind(raw: Any) -> str:
    """Return a TOML type in words, with the value of a flag or a float."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, float):
        return f"the number {raw}"
    for kind, word in (
        (str, "a string"),
        (int, "a number"),
        (list, "a list"),
        (dict, "a table"),
        ((date, datetime, time), "a date or time"),
    ):
        if isinstance(raw, kind):
            return word
    raise AssertionError(f"TOML has no {type(raw)}")
