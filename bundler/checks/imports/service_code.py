"""What the service's own code imports, found in its syntax trees: nothing of it is run."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundler.errors import InputError

MAX_BYTES = 8 << 20
"""Of one file of source."""
MAX_FILES = 20_000
HINT = "--entry names the file that starts the service, --source the folder with its code"
_CATCHES = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
_SKIPPED = {"__pycache__", "node_modules", "site-packages"}
_FOR_TYPES = {"TYPE_CHECKING", "typing.TYPE_CHECKING", "t.TYPE_CHECKING"}


@dataclass(frozen=True, kw_only=True)
class CodeImport:
    """One import of the service's code."""

    where: str
    """File and line: `src/score.py:3`."""
    module: str
    """Dotted name: `a.b` of `import a.b` and of `from a.b import c`."""
    names: tuple[str, ...] = ()
    """`c` of `from a.b import c`: an attribute of the module, or a module below it."""
    optional: bool = False
    """The code catches a failure and goes on without, or imports it only when it is run as a script."""

    @property
    def top(self) -> str:
        """The top-level name."""
        return self.module.partition(".")[0]


def read(entries: Iterable[Path], sources: Iterable[Path], *, python: str | None) -> tuple[CodeImport, ...]:
    """Return what the service's own code imports from outside of itself.

    :param entries: files that start the service.
    :param sources: folders with its code.
    :param python: the target's version, such as `3.8`; what is none stands for the newest syntax.
    :raises InputError: something of it is missing or cannot be read.
    """
    match = re.match(r"3\.(\d+)", python or "")
    version = (3, int(match[1])) if match else (sys.version_info[0], sys.version_info[1])
    found = [one for path in entries for one in of_entry(path, python=version)]
    return tuple(found + [one for path in sources for one in of_source(path, python=version)])


def of_entry(path: Path, *, python: tuple[int, int]) -> tuple[CodeImport, ...]:
    """Return what a file, and the modules of its folder that it imports, import from outside of that folder.

    Imports inside functions count: a service makes them when the first request comes. Those under
    `if TYPE_CHECKING:` do not.

    :param python: the target's version, whose syntax the code may use.
    :raises InputError: the file is not there, is not Python, or is too large.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file", hint=HINT)
    root = path.absolute().parent
    found: list[CodeImport] = []
    seen: set[Path] = set()
    waiting = [path.absolute()]
    while waiting:
        file = waiting.pop(0)
        if file in seen:
            continue
        seen.add(file)
        if len(seen) > MAX_FILES:
            raise InputError(f"{path}: imports more than {MAX_FILES} files of its folder", hint=HINT)
        for one in _read(file, root, shown=os.path.relpath(file, root), python=python):
            own = _own_files(one, root)
            waiting += own
            if not own:
                found.append(one)
    return tuple(found)


def of_source(folder: Path, *, python: tuple[int, int]) -> tuple[CodeImport, ...]:
    """Return what the Python files below a folder import from outside of it.

    :param python: the target's version, whose syntax the code may use.
    :raises InputError: it is no folder, holds no Python, or something that is none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder", hint=HINT)
    root = folder.absolute()
    files = []
    for at, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED and not name.startswith("."))
        files += [Path(at, name) for name in sorted(names) if name.endswith(".py")]
        if len(files) > MAX_FILES:
            raise InputError(f"{folder}: holds more than {MAX_FILES} Python files", hint=HINT)
    files = [file for file in files if file.is_file() and not file.is_symlink()]
    if not files:
        raise InputError(f"{folder}: holds no Python file", hint=HINT)
    return tuple(
        one
        for file in files
        for one in _read(
            file, root, shown=f"{folder.name}/{file.relative_to(root).as_posix()}", python=python
        )
        if not _own_files(one, root)
    )


def _own_files(one: CodeImport, root: Path) -> list[Path]:
    """The files of the service that an import loads; none where it means somebody else's module."""
    found = []
    parts = one.module.split(".")
    modules = [*(parts[: end + 1] for end in range(len(parts))), *([*parts, name] for name in one.names)]
    for names in modules:
        place = root.joinpath(*names)
        found += [path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()]
    if not found and (root / parts[0]).is_dir() and any((root / parts[0]).glob("*.py")):
        return [root / parts[0] / "__init__.py"]  # a folder without `__init__` is a package too (PEP 420)
    return found


def _read(path: Path, root: Path, *, shown: str, python: tuple[int, int]) -> Sequence[CodeImport]:
    if not path.exists():
        return ()
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: larger than {MAX_BYTES >> 20} MiB", hint=HINT)
        # The host's parser takes what newer Pythons know, but for what `feature_version` leaves out.
        feature = min(python, sys.version_info[:2])
        tree = ast.parse(path.read_bytes(), str(path), feature_version=feature)
        package = path.relative_to(root).parts[:-1]
        reader = _Reader(shown, package)
        reader.visit(tree)
    except SyntaxError as error:
        raise InputError(
            f"{path}:{error.lineno or 1}: Python {python[0]}.{python[1]} cannot read it: {error.msg}",
            hint=HINT,
        ) from error
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{path}: cannot be read: {error}", hint=HINT) from error
    return reader.found


class _Reader(ast.NodeVisitor):
    """Collects the imports of one file."""

    def __init__(self, shown: str, package: Sequence[str]) -> None:
        self.shown = shown
        self.package = package
        self.found: list[CodeImport] = []
        self.optional = False

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        names = tuple(alias.name for alias in node.names if alias.name != "*")
        above = self.package[: len(self.package) - node.level + 1] if node.level else ()
        module = ".".join([*above, *([node.module] if node.module else [])])
        if module:
            self._add(node, module, names)
        else:
            for name in names:  # `from . import name` beside the entry
                self._add(node, name)

    def visit_Try(self, node: ast.Try) -> None:
        self._below(node.body, optional=any(_catches_imports(handler) for handler in node.handlers))
        # What stands in for a missing module is needed only where that is missing.
        self._below([one for handler in node.handlers for one in handler.body], optional=True)
        self._below([*node.orelse, *node.finalbody], optional=False)

    def visit_If(self, node: ast.If) -> None:
        text = ast.unparse(node.test)
        if text not in _FOR_TYPES:
            self._below(node.body, optional=text.startswith("__name__ =="))
        self._below(node.orelse, optional=False)

    def _below(self, statements: Iterable[ast.stmt], *, optional: bool) -> None:
        before = self.optional
        self.optional = before or optional
        for one in statements:
            self.visit(one)
        self.optional = before

    def _add(self, node: ast.stmt, module: str, names: tuple[str, ...] = ()) -> None:
        where = f"{self.shown}:{node.lineno}"
        self.found.append(CodeImport(where=where, module=module, names=names, optional=self.optional))


def _catches_imports(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(ast.unparse(kind).rpartition(".")[2] in _CATCHES for kind in kinds)
