"""Requirements and markers as PEP 508 writes them; anybody may have written them."""

from __future__ import annotations

from packaging.markers import InvalidMarker, Marker
from packaging.requirements import InvalidRequirement, Requirement

MOST = 100
"""Parentheses of a requirement: parsers call themselves for each. Real ones have a dozen."""
LONGEST_NAME = 240
"""Characters of a name: no file of a distribution, whose name has 255 at most, can have a longer one."""


def requirement(text: str) -> Requirement:
    """Parse a requirement.

    :raises InvalidRequirement: it is none, has too many parentheses or too long a name.
    """
    if text.count("(") > MOST:
        raise InvalidRequirement(f"more than {MOST} parentheses")
    found = Requirement(text)
    if len(found.name) > LONGEST_NAME:
        raise InvalidRequirement(f"a name of more than {LONGEST_NAME} characters")
    return found


def marker(text: str) -> Marker:
    """Parse a marker.

    :raises InvalidMarker: it is none, or has too many parentheses.
    """
    if text.count("(") > MOST:
        raise InvalidMarker(f"more than {MOST} parentheses")
    return Marker(text)
