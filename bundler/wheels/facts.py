"""What a wheel's files and metadata say: its modules, start-up lines, build paths, and licence."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundler.model import FileFact, StartupFact, WheelFacts
from bundler.wheels import elf, import_lines

if TYPE_CHECKING:
    from packaging.metadata import RawMetadata

INSTALLER_FILES = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"})
"""Files of .dist-info that an installer writes; a wheel's own are left out."""
CONDA = (b"/feedstock_root/", b"/croot/", b"/conda-bld/", b"_h_env_placehold")
"""What is in the paths of conda's build machines. The last one is the padding of a prefix that conda's own
installer would replace: https://docs.conda.io/projects/conda-build/en/stable/resources/make-relocatable.html"""
NOT_NAMESPACES = re.compile(
    "bench|benchmarks?|bin|data|docs?|examples?|include|lib|samples?|scripts?|share|src|tests?|testing|tools"
)
"""Folders without `__init__` at the top that are left-overs of a source tree, not namespace packages."""
NAMESPACE_SIZE = 4096
"""Bytes: the `__init__.py` of a package that only shares its name is a few lines, comments included."""
_SHARING = re.compile(r"\b(extend_path|declare_namespace)\(")
_NAMESPACE = re.compile(rf"{_SHARING.pattern}|^(from|import) (pkgutil|pkg_resources)\b|^__all__ = \[\]$")
NOT_MODULES = frozenset({"__init__", "__main__", "conftest", "setup"})
"""Files at the top that a tool runs, and nobody imports."""
WINDOW = 1 << 20
"""Bytes of a file that are searched at once."""
MOST_FILES = 50
MOST_LINES = 100
LONGEST = 300
"""Most characters of a path or line that are kept."""
PTH_LIMIT = 1 << 20
OTHER_HASH = "has another hash than RECORD says"
LACKING = "stands in RECORD, and the archive lacks it"
UNLISTED = "is not in RECORD"
UNHASHED = "has no hash in RECORD"
"""What a wheel's own RECORD says wrongly of a member."""
_PATH = re.compile(rb"[A-Za-z0-9_.+@~/-]*")
_OPTION = re.compile(rb"^-[A-Za-z]+(?=/)")
_COPYRIGHT = re.compile(r"copyright\b|\(c\)|©", re.IGNORECASE)
_SENTENCE = re.compile(r"\s*[\n;]\s*")


def describe(
    prefix: Path,
    files: Sequence[FileFact],
    metadata: RawMetadata,
    *,
    site_packages: str,
    extension_suffixes: Sequence[str],
    entry_points: Iterable[str],
    **known: Any,
) -> WheelFacts:
    """Return the facts of a wheel from the files that it installs and its METADATA.

    :param prefix: the folder that the paths of `files` and `site_packages` are relative to.
    :param extension_suffixes: of the target's `importlib.machinery`.
    :param entry_points: as `launchers.declared` returns them.
    :param known: the facts that neither tells: `name`, `version`, `filename`, `sha256`, `dist_info`, `tags`.
    """
    paths = [file.path for file in files]
    inside = f"{site_packages}/"
    lines = import_lines.outside(prefix, paths, site_packages=site_packages)
    return WheelFacts(
        requires_python=metadata.get("requires_python"),
        requires=tuple(metadata.get("requires_dist", ())),
        extras=tuple(metadata.get("provides_extra", ())),
        modules=modules(
            prefix / site_packages,
            [path.removeprefix(inside) for path in paths if path.startswith(inside)],
            extension_suffixes=extension_suffixes,
        ),
        scripts=tuple(path.removeprefix("bin/") for path in paths if path.startswith("bin/")),
        files=tuple(files),
        native=elf.scan(prefix, files),
        startup=startup(prefix, paths, site_packages=site_packages),
        build_paths=build_paths(prefix, paths),
        licence=licence(metadata),
        entry_points=tuple(one_line(entry) for entry in entry_points),
        imports=lines.tops,
        imported_names=lines.names,
        **known,
    )


class _Folder(dict[str, "_Folder | None"]):
    """Name → folder, or `None` for a file."""


def modules(root: Path, files: Iterable[str], *, extension_suffixes: Sequence[str]) -> tuple[str, ...]:
    """Return the dotted names of modules that must be importable, sorted.

    Top-level modules and packages; of a namespace package (PEP 420, a folder without `__init__`)
    the first real packages and modules below it (`google.protobuf`).

    :param root: the unpacked site-packages; a `.so` without an ABI in its name is searched for `PyInit_`.
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
        elif above or not NOT_NAMESPACES.fullmatch(name):
            yield from _walk(root, child, (*above, name), suffixes)


def _is_package(path: Path, folder: _Folder, suffixes: Sequence[str]) -> bool:
    files = (name for name, child in folder.items() if child is None)
    found = [name for name in files if _module_name(path / name, suffixes) == "__init__"]
    return bool(found) and not ("__init__.py" in found and _is_namespace(path / "__init__.py"))


def _is_namespace(init: Path) -> bool:
    """Tell whether a package only shares its name with others, by one of the two idioms before PEP 420.

    https://packaging.python.org/en/latest/guides/packaging-namespace-packages/
    """
    if init.stat().st_size > NAMESPACE_SIZE:
        return False
    try:
        body = ast.parse(init.read_bytes()).body
        lines = [ast.unparse(node) for node in body if not _is_docstring(node)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # MemoryError: the parser's stack is full
        return False
    return any(_SHARING.search(line) for line in lines) and all(_NAMESPACE.search(line) for line in lines)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


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


def startup(tree: Path, paths: Iterable[str], *, site_packages: str) -> tuple[StartupFact, ...]:
    """Read the `.pth` and `.start` files that `site` would run: those directly in site-packages.

    A `.start` file (PEP 829, for Python 3.15 and later) has a line `package.module:callable` for each call.
    A `.pth` deeper down is somebody's data (weights of a neural network, often).

    :param paths: of the files below `tree`.
    :param site_packages: relative to `tree`.
    """
    return tuple(
        StartupFact(path=path, lines=startup_lines(tree / path))
        for path in paths
        if path.endswith((".pth", ".start")) and path.rpartition("/")[0] == site_packages
    )


def startup_lines(path: Path) -> tuple[str, ...]:
    """Return the lines of such a file that mean something (https://docs.python.org/3/library/site.html).

    :raises OSError: it cannot be read.
    """
    with path.open("rb") as file:
        text = file.read(PTH_LIMIT).decode("utf-8-sig", "replace")
    lines = (line.strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))[:MOST_LINES]


SOURCES = tuple(
    f".{suffix}".encode()
    for suffix in ["c", "cc", "cpp", "cu", "cxx", "f", "f90", "h", "hh", "hpp", "pxd", "pyx", "rs"]
)
"""What a compiler reads: `assert` writes such a name into machine code, and nothing opens it."""


def build_paths(
    tree: Path, paths: Iterable[str], marks: Sequence[bytes] = CONDA
) -> tuple[tuple[str, str], ...]:
    """Find paths of a build machine in the content of files, bytecode apart.

    One path a file, fifty files at most: it is a sign, not an inventory.

    :param paths: of the files below `tree`.
    :param marks: parts of such paths.
    :return: path of the file, and the path that stands in it.
    """
    found = []
    root = f"{tree}/"
    for path in paths:
        if path.endswith(".pyc"):
            continue
        inside = _first(root + path, marks)
        if inside:
            found.append((path, inside))
            if len(found) == MOST_FILES:
                break
    return tuple(found)


def _first(file: str, marks: Sequence[bytes]) -> str:
    """Search a file in pieces: a whole file that is mapped counts as memory of this process."""
    found: dict[bytes, str] = {}
    with open(file, "rb", buffering=0) as stream:  # noqa: PTH123 - thousands, and Path takes as long as the kernel
        content, begin = b"", 0
        block = stream.read(WINDOW)
        while block:
            content += block
            block = stream.read(WINDOW)
            # A mark near the end of a piece is searched again with the next piece.
            end = len(content) - LONGEST if block else len(content)
            for mark in marks:
                if mark not in found and (inside := _search(content, mark, begin, end)):
                    found[mark] = inside
            content = content[max(0, end - LONGEST) :]
            begin = min(end, LONGEST)
    return next((found[mark] for mark in marks if mark in found), "")


def _search(content: bytes, mark: bytes, begin: int, end: int) -> str:
    """Return the first path around a mark that begins from `begin` to `end`."""
    at = content.find(mark, begin)
    while 0 <= at < end:
        before = content[max(0, at - LONGEST) : at]
        head = before[len(before) - len(_trailing_path(before)) :]
        tail = _PATH.match(content[at : at + LONGEST])
        path = _OPTION.sub(b"", head + (tail[0] if tail else mark))
        # A path of a machine is absolute; anything else is a URL or prose.
        if path.startswith(b"/") and not path.startswith(b"//") and not path.endswith(SOURCES):
            return path[:LONGEST].decode("ascii", "replace")
        at = content.find(mark, at + len(mark))
    return ""


def _trailing_path(before: bytes) -> bytes:
    match = _PATH.match(before[::-1])
    return match[0] if match else b""


def licence(metadata: RawMetadata) -> str:
    """Return what METADATA says of the licence: the expression, else the field, else the classifiers.

    :return: one line; empty where nothing is said.
    """
    expression = metadata.get("license_expression", "").strip()
    if expression:
        return one_line(expression)
    field = _SENTENCE.split(metadata.get("license", "").strip(), maxsplit=1)[0].strip()
    field = "" if field.upper() in {"UNKNOWN", "NONE"} else field
    # Old metadata has the whole text of the licence there, which may begin with a copyright line.
    if field and not _COPYRIGHT.match(field):
        return one_line(field)
    classified = [
        one.rpartition("::")[2].strip()
        for one in metadata.get("classifiers", ())
        if one.startswith("License ::") and one.strip() != "License :: OSI Approved"
    ]
    return one_line("; ".join(classified) or field)


def one_line(text: str) -> str:
    """Return text that is safe to show: without control characters and line ends, and not too long."""
    return "".join(char if char.isprintable() else "\ufffd" for char in " ".join(text.split()))[:LONGEST]
