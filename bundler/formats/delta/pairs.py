"""Finds the file of an old bundle that a changed file of a new one is most like."""

from __future__ import annotations

import collections
import re
from collections.abc import Callable, Iterable, Mapping

from bundler.ontarget.delta_format import Row

VERSION = re.compile(r"-\d[^/]*?(?=\.(?:dist-info|data|egg-info)/)")
"""Of a distribution, in the name of its folder."""
HASH = re.compile(r"[-.][0-9a-f]{8,}(?=[.-]|$)")
"""That auditwheel puts into the name of a library, and others into those of assets."""
NUMBER = re.compile(r"\d+(?:\.\d+)*")
MOST_LOOKED_AT = 64 << 20
"""Bytes of files whose content is compared, where names do not tell."""
SHORTEST_LINE = 8
MOST_LINES = 4000
"""That are compared of one file."""

Read = Callable[[str], bytes]


def pair(old: Mapping[str, Row], new: Iterable[Row], *, read_old: Read, read_new: Read) -> dict[str, str]:
    """Return path in the new bundle → path in the old one.

    :param old: all files of the old bundle.
    :param new: the files to find one for.
    :param read_old, read_new: give the content of a path.
    """
    by_name: dict[str, dict[str, str]] = {}
    for simplify in (_without_hash, _without_numbers):
        names = by_name[simplify.__name__] = {}
        for path in sorted(old, reverse=True):
            names[simplify(path)] = path
    found: dict[str, str] = {}
    left = []
    paths = set()
    for row in new:
        paths.add(row.path)
        candidates = (
            row.path,
            by_name["_without_hash"].get(_without_hash(row.path), ""),
            by_name["_without_numbers"].get(_without_numbers(row.path), ""),
        )
        place = next((one for one in candidates if one in old), None)
        if place is not None:
            found[row.path] = place
        else:
            left.append(row)
    gone = [row for row in old.values() if row.path not in paths]
    return found | _by_content(gone, left, read_old=read_old, read_new=read_new)


def _without_hash(path: str) -> str:
    return HASH.sub("-", VERSION.sub("-", path))


def _without_numbers(path: str) -> str:
    return NUMBER.sub("0", _without_hash(path))


def _by_content(
    gone: Iterable[Row], left: Iterable[Row], *, read_old: Read, read_new: Read
) -> dict[str, str]:
    """Pair files that have many lines in common; a binary file has lines too, if odd ones."""
    wanted = _bounded(left)
    if not wanted:
        return {}
    places: dict[bytes, list[str]] = collections.defaultdict(list)
    for row in _bounded(gone):
        for line in _lines(read_old(row.path)):
            places[line].append(row.path)
    found = {}
    for row in wanted:
        # A line that many files have tells nothing of which is meant.
        votes = collections.Counter(
            path for line in _lines(read_new(row.path)) for path in places.get(line, ())[:8]
        )
        if votes:
            found[row.path] = max(sorted(votes), key=votes.__getitem__)
    return found


def _bounded(rows: Iterable[Row]) -> list[Row]:
    """Return the first rows that are not too much to be read."""
    found = []
    size = 0
    for row in sorted(rows, key=lambda row: (row.size, row.path)):
        size += row.size
        if size > MOST_LOOKED_AT:
            break
        found.append(row)
    return found


def _lines(data: bytes) -> set[bytes]:
    return {line for line in data.split(b"\n")[:MOST_LINES] if len(line) >= SHORTEST_LINE}
