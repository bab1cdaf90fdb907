"""Standard output and error as the command line writes them: there, writable, and safe for a terminal."""

from __future__ import annotations

import contextlib
import io
import os
import re
import secrets
import sys
import unicodedata
from typing import TextIO

import click

_TOKEN = secrets.token_hex(8)
"""Marks the styles that are our own: no text from outside knows it."""
_OURS = re.compile(rf"\x1b{_TOKEN}(\[[0-9;]*m)")


class PlainStream(io.TextIOWrapper):
    """UTF-8 in which no text from outside moves the cursor, hides a line or ends with an error."""

    def __init__(self, stream: TextIO) -> None:
        """Write to the same place as `stream`, which must not be used beside it but for progress bars."""
        super().__init__(
            stream.buffer, encoding="utf-8", errors="backslashreplace", line_buffering=stream.isatty()
        )
        self.unescaped = stream
        """For progress bars alone, which move the cursor."""

    def write(self, text: str) -> int:
        """Write a text; whatever is no character of a text, but for line ends and tabs, is escaped."""
        if not text.isprintable():
            parts = _OURS.split(text)
            escape = "\x1b" if coloured(self) else ""
            text = "".join(
                (escape and escape + part) if number % 2 else escaped(part)
                for number, part in enumerate(parts)
            )
        return super().write(text)


def coloured(stream: TextIO) -> bool:
    """Tell whether a stream gets colours (https://no-color.org, https://force-color.org)."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or stream.isatty()


def styled(text: str, *, fg: str | None = None, bold: bool | None = None, dim: bool | None = None) -> str:
    """Return a text in a colour, as `click.style` does it, where it is printed on a terminal."""
    found = click.style(text, fg=fg, bold=bold, dim=dim)
    return found.replace("\x1b", f"\x1b{_TOKEN}") if isinstance(sys.stderr, PlainStream) else found


def escaped(text: str) -> str:
    """Return a text without control characters and without those that turn the direction of writing."""
    return "".join(one if _is_text(one) else ascii(one)[1:-1] for one in text)


def _is_text(character: str) -> bool:
    return character.isprintable() or character in "\n\t" or unicodedata.category(character) == "Zs"


def prepare() -> None:
    """Open what the caller has closed, so that no file gets its descriptor, and make both streams plain."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is None:
            stream = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
        setattr(sys, name, PlainStream(stream))


def finish(code: int) -> int:
    """Write what is still in the buffers, and return the exit code: 3 where standard output takes it no more.

    Python itself would end with 120, and a message that says nothing.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop(sys.stdout)  # as `| head` does
    except OSError as error:
        drop(sys.stdout)
        with contextlib.suppress(OSError):
            print(f"error: standard output: {error.strerror}", file=sys.stderr)
        code = code or 3
    try:
        sys.stderr.flush()
    except OSError:
        drop(sys.stderr)
    return code


def drop(stream: TextIO) -> None:
    """Let what a stream still holds, and all that follows, go nowhere."""
    number = 1 if stream is sys.stdout else 2
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)
