"""What the modules of a wheel import at their top from outside of it, as their lines look."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

PLACES = 3
"""Files that are kept for a name."""
MOST_BYTES = 4 << 20
"""A larger file is a table of data."""
_LINE = re.compile(rb"^(?:from[ \t]+(\w+)|import[ \t]+([\w., \t]+))", re.MULTILINE)
_ASIDE = re.compile(
    r"(^|/)(_?tests?|testing|docs?|_?examples?|_?vendor(ed)?|benchmarks?|conftest\.py|setup\.py)(/|$)"
)
"""What no service imports."""


def outside(tree: Path, paths: Iterable[str], *, site_packages: str) -> tuple[tuple[str, str], ...]:
    """Return the top-level names that modules import in their first column and the wheel does not bring.

    Found by a look at the lines, since every file of every wheel is read: words of a docstring may be among
    them. Who needs to know asks `checks.rules.submodules`, which reads the syntax tree.

    :param paths: of the files below `tree`, sorted.
    :return: name and path of a file, sorted; the first files of each name.
    """
    inside = f"{site_packages}/"
    code = [path for path in paths if path.startswith(inside) and path.endswith(".py")]
    own = {path.removeprefix(inside).partition("/")[0].partition(".")[0] for path in paths}
    places: dict[str, list[str]] = {}
    for path in code:
        if _ASIDE.search(path.removeprefix(inside)) or (tree / path).stat().st_size > MOST_BYTES:
            continue
        for name in set(_names((tree / path).read_bytes())) - own:
            known = places.setdefault(name, [])
            if len(known) < PLACES:
                known.append(path)
    return tuple((name, path) for name in sorted(places) for path in places[name])


def _names(data: bytes) -> Iterator[str]:
    for module, several in _LINE.findall(data):
        for one in [module] if module else several.split(b","):
            name = one.strip().partition(b".")[0].partition(b" ")[0].decode("ascii", "replace")
            if name.isidentifier():
                yield name
