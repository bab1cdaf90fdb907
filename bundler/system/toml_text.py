"""Reads TOML that anybody may have written."""

from __future__ import annotations

import re
import sys
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PARTS = 64
"""Of a dotted key. Time and memory of the parser grow with their square: 30 KiB of `a.a.a…` took 15 s."""
LINE = 256 << 10
"""Characters. A dotted key stands in one line: one whose parts are too long for the pattern has few."""
DOTS = 16 << 20
"""Sum of the squares of the dots of each line that has `PARTS` and more: what a parser takes grows with it
where parts are too long for the pattern (0.3 s, 64 MiB)."""
_PART = r"""(?:[A-Za-z0-9_-]{1,250}|"(?:[^"\\\n]|\\.){0,250}"|'[^'\n]{0,250}')"""
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_-]){_PART}(?:[ \t]*\.[ \t]*{_PART}){{{PARTS}}}")


def loads(text: str) -> dict[str, Any]:
    """Parse TOML.

    :raises ValueError: it is none, has a key of too many parts, a line that is too long, or a number of too
        many digits.
    :raises RecursionError: its arrays are nested too deep.
    """
    lines = text.split("\n")  # other separators can stand in a key
    if max(map(len, lines)) > LINE:
        raise ValueError(f"a line has more than {LINE} characters")
    dotted = [line for line in lines if line.count(".") >= PARTS]
    if any(map(_LONG_KEY.search, dotted)):
        raise ValueError(f"a key has more than {PARTS} parts")
    if sum(line.count(".") ** 2 for line in dotted) > DOTS:
        raise ValueError("its lines have too many dots")
    parsed: dict[str, Any] = tomllib.loads(text)
    return parsed
