"""What the service's own code imports, found in its syntax trees: nothing of it is run."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from bundler.checks.imports.conditions import Conditions
from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass

MAX_BYTES = 8 << 20
"""Of one file of source."""
MAX_FILES = 20_000
HINT = "--entry names the file that starts the service, --source the folder with its code"
_CATCHES = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
_SKIPPED = {"__pycache__", "node_modules", "site-packages", "test", "tests"}
_OF_TESTS = re.compile(r"(test_.*|.*_test|conftest|setup|noxfile)\.py")
"""Files of a source folder that no service imports."""
_BY_NAME = {"import_module", "importlib.import_module", "__import__", "importlib.__import__"}
_LOOKS_FIRST = re.compile(r"\b(find_spec|find_module|find_loader)\(")
_ENDS = {"sys.exit", "exit", "quit", "os._exit", "os.abort"}


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
    instead_of: tuple[str, ...] = ()
    """Dotted names of modules: the code imports it only if one of them does not import."""
    own: bool = False
    """A file of that name stands beside the importing one: no distribution need bring it."""

    @property
    def top(self) -> str:
        """The top-level name."""
        return self.module.partition(".")[0]


def read(entries: Iterable[Path], sources: Iterable[Path], *, python: str | None) -> tuple[CodeImport, ...]:
    """Return what the service's own code imports from outside of itself.

    :param entries: files that start the service.
    :param sources: folders with its code.
    :param python: the target's version, such as `3.8`; what is none stands for the newest syntax, and
        conditions on the version count as unknown.
    :raises InputError: something of it is missing or cannot be read.
    """
    match = re.match(r"3\.(\d+)", python or "")
    version = (3, int(match[1])) if match else None
    found = [one for path in entries for one in of_entry(path, python=version)]
    return tuple(found + [one for path in sources for one in of_source(path, python=version)])


def of_entry(path: Path, *, python: tuple[int, int] | None) -> tuple[CodeImport, ...]:
    """Return what a file, and the modules of its folder that it imports, import from outside of that folder.

    Imports inside functions count: a service makes them when the first request comes; so do those by name
    (`importlib.import_module("alpha")`). Those for type checkers, other platforms and other Pythons do not.

    :param python: the target's version, whose syntax the code may use.
    :raises InputError: the file is not there, is not Python, or is too large.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file", hint=HINT)
    path = path.absolute()
    roots = _roots(path.parent, [path])
    found: list[CodeImport] = []
    seen: set[Path] = set()
    waiting = [path]
    while waiting:
        file = waiting.pop(0)
        if file in seen:
            continue
        seen.add(file)
        if len(seen) > MAX_FILES:
            raise InputError(f"{path}: imports more than {MAX_FILES} files of its folder", hint=HINT)
        for one in _read(file, roots, shown=os.path.relpath(file, path.parent), python=python):
            own = _own_files(one, roots)
            waiting += own
            if not own:
                found.append(one)
    return tuple(found)


def of_source(folder: Path, *, python: tuple[int, int] | None) -> tuple[CodeImport, ...]:
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
        files += [
            Path(at, name) for name in sorted(names) if name.endswith(".py") and not _OF_TESTS.fullmatch(name)
        ]
        if len(files) > MAX_FILES:
            raise InputError(f"{folder}: holds more than {MAX_FILES} Python files", hint=HINT)
    files = [file for file in files if file.is_file() and not file.is_symlink()]
    if not files:
        raise InputError(f"{folder}: holds no Python file", hint=HINT)
    roots = _roots(root, files)
    return tuple(
        one
        for file in files
        for one in _read(
            file, roots, shown=f"{folder.name}/{file.relative_to(root).as_posix()}", python=python
        )
        if not _own_files(one, roots)
    )


def needed(imports: Iterable[CodeImport], there: Collection[str]) -> tuple[CodeImport, ...]:
    """Return the imports that the code cannot do without.

    :param there: top-level names of what it can import.
    """
    return tuple(
        one
        for one in imports
        if not one.optional
        and (not one.instead_of or any(name.partition(".")[0] not in there for name in one.instead_of))
    )


def _roots(folder: Path, files: Iterable[Path]) -> tuple[Path, ...]:
    """The folders from which the service's own modules are imported: where it lies, and above its package.

    `uvicorn app.main:app` starts app/main.py beside `app`; its code says `from app import …`.
    """
    above = folder
    while (above / "__init__.py").is_file():
        above = above.parent
    if above == folder:
        itself = re.compile(rf"^\s*(?:from|import)\s+{re.escape(folder.name)}\b".encode(), re.MULTILINE)
        if any(itself.search(file.read_bytes()) for file in files if file.stat().st_size <= MAX_BYTES):
            above = folder.parent
    src = [folder / "src"] if (folder / "src").is_dir() else []
    return tuple(dict.fromkeys((folder, *src, above)))


def _own_files(one: CodeImport, roots: Iterable[Path]) -> list[Path]:
    """The files of the service that an import loads; none where it means somebody else's module."""
    parts = one.module.split(".")
    modules = [*(parts[: end + 1] for end in range(len(parts))), *([*parts, name] for name in one.names)]
    for root in roots:
        found = []
        for names in modules:
            place = root.joinpath(*names)
            found += [path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()]
        if found:
            return found
        if (root / parts[0]).is_dir() and any((root / parts[0]).glob("*.py")):
            return [root / parts[0] / "__init__.py"]  # a folder without `__init__` is a package too (PEP 420)
    return []


def _read(
    path: Path, roots: Sequence[Path], *, shown: str, python: tuple[int, int] | None
) -> Sequence[CodeImport]:
    if not path.exists():
        return ()
    host = sys.version_info[:2]
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InputError(f"{path}: larger than {MAX_BYTES >> 20} MiB", hint=HINT)
        # The host's parser takes what newer Pythons know, but for what `feature_version` leaves out.
        feature = min(python or host, host)
        tree = ast.parse(path.read_bytes(), str(path), feature_version=feature)
        reader = _Reader(path, roots, shown=shown, python=python)
        reader.visit(tree)
    except SyntaxError as error:
        version = ".".join(map(str, python or host))
        raise InputError(
            f"{path}:{error.lineno or 1}: Python {version} cannot read it: {error.msg}", hint=HINT
        ) from error
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{path}: cannot be read: {error}", hint=HINT) from error
    return reader.found


class _Reader(ast.NodeVisitor):
    """Collects the imports of one file."""

    def __init__(
        self, path: Path, roots: Sequence[Path], *, shown: str, python: tuple[int, int] | None
    ) -> None:
        self.folder, self.roots, self.shown = path.parent, roots, shown
        inside = next(root for root in reversed(roots) if path.is_relative_to(root))
        self.package = path.relative_to(inside).parts[:-1]
        self.conditions = Conditions(python)
        self.found: list[CodeImport] = []
        self.optional = False
        self.instead_of: tuple[str, ...] = ()
        self.functions = 0
        """How many functions are around what is read."""

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(node, alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        names = tuple(alias.name for alias in node.names if alias.name != "*")
        above = self.package[: len(self.package) - node.level + 1] if node.level else ()
        module = ".".join([*above, *([node.module] if node.module else [])])
        relative = bool(node.level)
        if module:
            self._add(node, module, names, relative=relative)
        else:
            for name in names:  # `from . import name` beside the entry
                self._add(node, name, relative=relative)

    def visit_Call(self, node: ast.Call) -> None:
        first = node.args[0] if node.args else None
        name = first.value if isinstance(first, ast.Constant) else None
        by_name = isinstance(name, str) and re.fullmatch(r"\w+(\.\w+)*", name)
        if by_name and ast.unparse(node.func) in _BY_NAME:
            self._add(node, by_name[0])
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.functions += 1
        self.generic_visit(node)
        self.functions -= 1

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - ast names it

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        calls = [one.context_expr for one in node.items if isinstance(one.context_expr, ast.Call)]
        kinds = [kind for one in calls if _last_name(one.func) == "suppress" for kind in one.args]
        self._below(calls, optional=False)
        self._below(node.body, optional=any(_last_name(kind) in _CATCHES for kind in kinds))

    visit_AsyncWith = visit_With  # noqa: N815 - ast names it

    def visit_Try(self, node: ast.Try) -> None:
        catching = next((one for one in node.handlers if _catches_imports(one)), None)
        # Inside of a function it is a feature that says what it lacks; at the top nothing goes on after it.
        ends = catching is not None and not self.functions and _ends(catching.body)
        before = len(self.found)
        self._below(node.body, optional=catching is not None and not ends)
        tried = tuple(dict.fromkeys(one.module for one in self.found[before:]))
        for handler in node.handlers:
            if handler is not catching or not tried or any(map(self._is_own, tried)):
                self._below(handler.body, optional=True)
                continue
            outer, self.instead_of = self.instead_of, (*self.instead_of, *tried)
            self._below(handler.body, optional=False)
            self.instead_of = outer
        self._below([*node.orelse, *node.finalbody], optional=False)

    visit_TryStar = visit_Try  # noqa: N815 - ast names it

    def visit_If(self, node: ast.If) -> None:
        text = ast.unparse(node.test)
        says = self.conditions.says(node.test)
        looks = _LOOKS_FIRST.search(text) is not None
        if says is not False:
            self._below(node.body, optional=looks or text.startswith("__name__ =="))
        if says is not True:
            self._below(node.orelse, optional=looks)

    def _below(self, nodes: Iterable[ast.AST], *, optional: bool) -> None:
        before = self.optional
        self.optional = before or optional
        for one in nodes:
            self.visit(one)
        self.optional = before

    def _add(
        self, node: ast.AST, module: str, names: tuple[str, ...] = (), *, relative: bool = False
    ) -> None:
        found = CodeImport(
            where=f"{self.shown}:{getattr(node, 'lineno', 1)}",
            module=module,
            names=names,
            optional=self.optional,
            instead_of=self.instead_of,
            own=self._is_beside(module),
        )
        # Nothing but the service itself can bring a relative one: _version.py may be written by its build.
        if not relative or _own_files(found, self.roots):
            self.found.append(found)

    def _is_own(self, module: str) -> bool:
        return bool(_own_files(CodeImport(where="", module=module), self.roots)) or self._is_beside(module)

    def _is_beside(self, module: str) -> bool:
        """Whether a file of that name stands beside the importing one, or a compiled one at the root."""
        top = module.partition(".")[0]
        compiled = any(any(folder.glob(f"{top}.*so")) for folder in (self.folder, *self.roots))
        return (
            compiled or (self.folder / f"{top}.py").is_file() or (self.folder / top / "__init__.py").is_file()
        )


def _last_name(node: ast.expr) -> str:
    return ast.unparse(node).rpartition(".")[2]


def _ends(body: Sequence[ast.stmt]) -> bool:
    """Whether nothing goes on behind these statements."""
    last = body[-1]
    if isinstance(last, ast.Expr) and isinstance(last.value, ast.Call):
        return ast.unparse(last.value.func) in _ENDS
    return isinstance(last, ast.Raise)


def _catches_imports(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(_last_name(kind) in _CATCHES for kind in kinds)
