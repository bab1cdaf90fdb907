"""What the modules of a wheel import at their top from outside of it, as their lines look."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from bundler.lazy_dataclass import dataclass

PLACES = 3
"""Files that are kept for a name."""
MOST_BYTES = 4 << 20
"""A larger file is a table of data."""
_LINE = re.compile(
    rb"\n(?:from[ \t]+([^\W\d][\w.]*)(?:[ \t]+import[ \t]+(\([^()]*\)|[^(\n\\]*(?:\\\n[^\n\\]*)*))?"
    rb"|import[ \t]+([\w., \t]+))"
)
"""With the end of the line before: what begins with a character is found three times as fast as with `^`."""
_COMMENT = re.compile(rb"#[^\n]*")
_NAMESPACE = re.compile(rb"\bextend_path\b|\bdeclare_namespace\b")
"""What makes a package one that distributions share, as `google` and `azure` were."""
_SHORT = 4096
"""Bytes of an `__init__.py` that does nothing else."""
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
    """A module, and what is imported from it, a row: `os.path join split`, sorted. Of a namespace that the
    wheel shares with others, their part is outside: `google.api_core` for google-cloud-storage."""


def outside(tree: Path, paths: Iterable[str], *, site_packages: str) -> ImportLines:
    """Return what modules import in their first column and the wheel does not bring.

    Found by a look at the lines, since every file of every wheel is read: words of a docstring may be among
    them. Who needs to know asks `checks.rules.submodules` or `gone_names`, which read the syntax tree.

    :param paths: of the files below `tree`, sorted.
    """
    inside = f"{site_packages}/"
    code = [path for path in paths if path.startswith(inside) and path.endswith(".py")]
    own = {path.removeprefix(inside).partition("/")[0].partition(".")[0] for path in paths}
    packages = _packages(tree, paths, inside)
    places: dict[str, list[str]] = {}
    rows: dict[str, set[str]] = {}
    root = f"{tree}/"
    for path in code:
        if is_aside(path.removeprefix(inside)) or os.stat(root + path).st_size > MOST_BYTES:  # noqa: PTH116 - as below
            continue
        with open(root + path, "rb", buffering=0) as stream:  # noqa: PTH123 - thousands, and Path takes as long as the kernel
            content = stream.read()
        tops = set()
        for module, names in _imports(content):
            top = module.partition(".")[0]
            if top not in own and top.isidentifier():
                tops.add(top)
                rows.setdefault(module, set()).update(names)
            elif top in own and not _is_within(module, packages):
                others = [name for name in names if not _is_within(f"{module}.{name}", packages)]
                if others or not names:
                    rows.setdefault(module, set()).update(others)
        for top in tops:
            known = places.setdefault(top, [])
            if len(known) < PLACES:
                known.append(path)
    return ImportLines(
        tops=tuple((name, path) for name in sorted(places) for path in places[name]),
        names=tuple(" ".join([module, *sorted(rows[module])]) for module in sorted(rows)),
    )


def _packages(tree: Path, paths: Iterable[str], inside: str) -> frozenset[str]:
    """The modules and packages that a wheel has for itself, as near to the top as it shares none of them."""
    members: dict[str, set[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        while f"{folder}/".startswith(inside):
            known = members.setdefault(f"{folder}/", set())
            if name in known:
                break
            known.add(name)
            folder, _, last = folder.rpartition("/")
            name = f"{last}/"
    found: set[str] = set()
    waiting = [inside]
    while waiting:
        folder = waiting.pop()
        for name in members.get(folder, ()):
            below = f"{folder}{name}"
            if name.endswith("/") and _is_shared(tree, below, members[below]):
                waiting.append(below)
            else:
                found.add(below.removeprefix(inside).partition(".")[0].strip("/").replace("/", "."))
    return frozenset(found)


def _is_shared(tree: Path, folder: str, members: Collection[str]) -> bool:
    """Tell whether a folder is a namespace: without an `__init__`, or with one that says so."""
    initial = [name for name in members if name.partition(".")[0] == "__init__"]
    if initial != ["__init__.py"]:
        return not initial
    file = tree / folder / "__init__.py"
    return file.stat().st_size <= _SHORT and _NAMESPACE.search(file.read_bytes()) is not None


def _is_within(module: str, packages: Collection[str]) -> bool:
    """Tell whether a module is one of the packages, or below one."""
    while module and module not in packages:
        module = module.rpartition(".")[0]
    return bool(module)


def is_aside(path: str) -> bool:
    """Tell whether a module is for tests, documentation or builds: no service imports it.

    :param path: of its file, relative to site-packages.
    """
    return _ASIDE.search(path) is not None


def _imports(data: bytes) -> Iterator[tuple[str, list[str]]]:
    """The modules that lines import, and what they import from each."""
    for module, several, plain in _LINE.findall(b"\n" + data):
        if module:
            yield module.decode("utf-8", "replace"), [one for one in _listed(several) if one.isidentifier()]
        else:
            yield from ((one, []) for one in _listed(plain))


def _listed(text: bytes) -> list[str]:
    """What an import lists, without what it is called after `as`."""
    plain = _COMMENT.sub(b"", text).translate(None, b"()\\").decode("utf-8", "replace")
    return [words[0] for one in plain.split(",") if (words := one.split())]
