"""Finds in a server's log what a person wants to see first."""

from __future__ import annotations

TRACEBACK = "Traceback (most recent call last):"
CHAINED = ("The above exception was the direct cause", "During handling of the above exception")
MOST = 20


def cause(text: str) -> str:
    """Return the exception that began it all, `ModuleNotFoundError: No module named 'x'`; empty: none."""
    block = _last_story(text.splitlines())
    return next((line.strip() for line in block[1:] if _ends_traceback(line)), "")


def meaningful(text: str) -> tuple[str, ...]:
    """Return the lines that tell what happened: the last traceback, from its first cause on, or the end."""
    lines = text.splitlines()
    story = _last_story(lines)
    if not story:
        return tuple([line for line in lines if line.strip()][-MOST:])
    # A long one is cut in the middle of its first traceback, whose end says what went wrong.
    end = next((number for number, line in enumerate(story) if number and _ends_traceback(line)), len(story))
    first = story[: end + 1]
    if len(first) > MOST:
        first = [first[0], "  …", *first[-MOST + 2 :]]
    return tuple(first)


def _last_story(lines: list[str]) -> list[str]:
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
