"""What the modules of a wheel import at their top from outside of it, as their lines look."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bundler.lazy_dataclass import dataclass

PLACES = 3
"""Files that are kept for a name."""
MOST_BYTES = 4 << 20
"""A larger file is a table of data."""
_LINE = re.compile(
    rb"^(?:from[ \t]+([^\W\d][\w.]*)(?:[ \t]+import[ \t]+(\([^()]*\)|[^(\n\\]*(?:\\\n[^\n\\]*)*))?"
    rb"|import[ \t]+([\w., \t]+))",
    re.MULTILINE,
)
_COMMENT = re.compile(rb"#[^\n]*")
_ASIDE = re.compile(
    r"(^|/)(_?tests?|testing|docs?|_?examples?|_?vendor(ed)?|benchmarks?|conftest\.py|setup\.py)(/|$)"
)
"""What no service imports."""


@dataclass(frozen=True, kw_only=True)
class ImportLines:
    """What the modules of a wheel import in their first column and the wheel does not bring."""

    tops: tuple[tuple[str, str], ...]
    """Top-level name and path of a file, sorted; the first files of each name."""
    names: tuple[str, ...]
    """A module, and what is imported from it, a row: `os.path join split`, sorted."""


def outside(tree: Path, paths: Iterable[str], *, site_packages: str) -> ImportLines:
    """Return what modules import in their first column and the wheel does not bring.

    Found by a look at the lines, since every file of every wheel is read: words of a docstring may be among
    them. Who needs to know asks `checks.rules.submodules` or `gone_names`, which read the syntax tree.

    :param paths: of the files below `tree`, sorted.
    """
    inside = f"{site_packages}/"
    code = [path for path in paths if path.startswith(inside) and path.endswith(".py")]
    own = {path.removeprefix(inside).partition("/")[0].partition(".")[0] for path in paths}
    places: dict[str, list[str]] = {}
    rows: dict[str, set[str]] = {}
    for path in code:
        if is_aside(path.removeprefix(inside)) or (tree / path).stat().st_size > MOST_BYTES:
            continue
        tops = set()
        for module, names in _imports((tree / path).read_bytes()):
            top = module.partition(".")[0]
            if top not in own and top.isidentifier():
                tops.add(top)
                rows.setdefault(module, set()).update(names)
        for top in tops:
            known = places.setdefault(top, [])
            if len(known) < PLACES:
                known.append(path)
    return ImportLines(
        tops=tuple((name, path) for name in sorted(places) for path in places[name]),
        names=tuple(" ".join([module, *sorted(rows[module])]) for module in sorted(rows)),
    )


def is_aside(path: str) -> bool:
    """Tell whether a module is for tests, documentation or builds: no service imports it.

    :param path: of its file, relative to site-packages.
    """
    return _ASIDE.search(path) is not None


def _imports(data: bytes) -> Iterator[tuple[str, list[str]]]:
    """The modules that lines import, and what they import from each."""
    for module, several, plain in _LINE.findall(data):
        if module:
            yield module.decode("utf-8", "replace"), [one for one in _listed(several) if one.isidentifier()]
        else:
            yield from ((one, []) for one in _listed(plain))


def _listed(text: bytes) -> list[str]:
    """What an import lists, without what it is called after `as`."""
    plain = _COMMENT.sub(b"", text).translate(None, b"()\\").decode("utf-8", "replace")
    return [words[0] for one in plain.split(",") if (words := one.split())]
