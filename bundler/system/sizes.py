"""Numbers of bytes for people."""

from __future__ import annotations

NO_BREAK = "\N{NO-BREAK SPACE}"


def in_units(count: int, *, space: str = " ") -> str:
    """Return a number of bytes in decimal units: `0 B`, `12.3 MB`, `1.25 GB`.

    :param space: stands between the number and the unit; `NO_BREAK` keeps them in one line of HTML.
    """
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if abs(value) < 1000:
            return f"{value:.0f}{space}{unit}" if unit == "B" else f"{value:.1f}{space}{unit}"
        value /= 1000
    return f"{value:.2f}{space}GB"
