"""Which modules a wheel brings: what `import` must find once it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

NOT_NAMESPACES = frozenset(
    {
        "bench",
        "benchmark",
        "benchmarks",
        "bin",
        "data",
        "doc",
        "docs",
        "example",
        "examples",
        "include",
        "lib",
    }
    | {"sample", "samples", "script", "scripts", "share", "src", "test", "testing", "tests", "tools"}
)
"""Folders without `__init__` at the top that are left-overs of a source tree, not namespace packages."""
NOT_MODULES = frozenset({"__init__", "__main__", "conftest", "setup"})
"""Files at the top that are there to be run by a tool, not to be imported."""


class _Folder(dict[str, "_Folder | None"]):
    """Name → folder, or `None` for a file."""


def modules(root: Path, files: Iterable[str], *, extension_suffixes: Sequence[str]) -> tuple[str, ...]:
    """Return the dotted names that `import` must find, sorted.

    Top-level modules and packages; of a namespace package (PEP 420, a folder without `__init__`)
    the first real packages and modules below it (`google.protobuf`).

    :param root: the unpacked site-packages; a `.so` without an ABI in its name is looked into.
    :param files: paths relative to it.
    :param extension_suffixes: of the target's `importlib.machinery`.
    """
    tree = _Folder()
    for path in files:
        *folders, name = path.split("/")
        node = tree
        for folder in folders:
            child = node.setdefault(folder, _Folder())
            if child is None:
                break
            node = child
        else:
            node[name] = None
    suffixes = sorted({".py", ".pyc", *extension_suffixes}, key=len, reverse=True)
    return tuple(sorted(set(_walk(root, tree, (), suffixes))))


def _walk(root: Path, folder: _Folder, above: tuple[str, ...], suffixes: Sequence[str]) -> Iterable[str]:
    for name, child in folder.items():
        if child is None:
            stem = _module_name(root.joinpath(*above, name), suffixes)
            if stem is not None and stem not in NOT_MODULES:
                yield ".".join((*above, stem))
        elif not name.isidentifier() or name == "__pycache__":
            continue
        elif _is_package(root.joinpath(*above, name), child, suffixes):
            yield ".".join((*above, name))
        elif above or name not in NOT_NAMESPACES:
            yield from _walk(root, child, (*above, name), suffixes)


def _is_package(path: Path, folder: _Folder, suffixes: Sequence[str]) -> bool:
    files = (name for name, child in folder.items() if child is None)
    return any(_module_name(path / name, suffixes) == "__init__" for name in files)


def _module_name(path: Path, suffixes: Sequence[str]) -> str | None:
    suffix = next((suffix for suffix in suffixes if path.name.endswith(suffix)), None)
    if suffix is None:
        return None
    stem = path.name.removesuffix(suffix)
    if not stem.isidentifier():
        return None
    # A plain library can end in .so as well; only an extension module has this function (PEP 489).
    if suffix == ".so" and f"PyInit_{stem}".encode() not in path.read_bytes():
        return None
    return stem
