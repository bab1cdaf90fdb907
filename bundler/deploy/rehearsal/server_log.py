"""Finds the lines of a server's log that say why it failed."""

from __future__ import annotations

TRACEBACK = "Traceback (most recent call last):"
CHAINED = ("The above exception was the direct cause", "During handling of the above exception")
MOST = 20


def cause(text: str) -> str:
    """Return the exception behind the others, `ModuleNotFoundError: No module named 'x'`; empty: none."""
    lines = _last_chain(text.splitlines())
    return next((line.strip() for line in lines[1:] if _ends_traceback(line)), "")


def meaningful(text: str) -> tuple[str, ...]:
    """Return the lines that tell what happened: the last traceback, from its first cause on, or the end."""
    lines = text.splitlines()
    chain = _last_chain(lines)
    if not chain:
        return tuple([line for line in lines if line.strip()][-MOST:])
    # A long traceback is cut in the middle: its end says what went wrong.
    end = next((number for number, line in enumerate(chain) if number and _ends_traceback(line)), len(chain))
    first = chain[: end + 1]
    if len(first) > MOST:
        first = [first[0], "  …", *first[-MOST + 2 :]]
    return tuple(first)


def _last_chain(lines: list[str]) -> list[str]:
    """Return the lines from the first traceback of the last chain of them on."""
    starts = [number for number, line in enumerate(lines) if TRACEBACK in line]
    while starts:
        start = starts.pop()
        before = next((line for line in reversed(lines[:start]) if line.strip()), "")
        if not before.startswith(CHAINED):
            return lines[start:]
    return []


def _ends_traceback(line: str) -> bool:
    """Frames are indented; the exception is the first line that is not."""
    return bool(line) and not line[0].isspace()
