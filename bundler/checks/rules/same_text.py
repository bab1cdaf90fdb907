"""Tells whether two files of different distributions do the same, where their bytes differ."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Sequence

from bundler.checks.imports.reach import says_nothing
from bundler.checks.rules import protocol_buffers

SIZE_LIMIT = 1 << 20
"""Bytes of a Python file that is parsed; a longer one is compared as text."""
_NAMESPACE = frozenset(
    {
        "import pkgutil",
        "from pkgutil import extend_path",
        "__path__ = extend_path(__path__, __name__)",
        "__path__ = pkgutil.extend_path(__path__, __name__)",
        "__path__ = __import__('pkgutil').extend_path(__path__, __name__)",
        "import pkg_resources",
        "from pkg_resources import declare_namespace",
        "declare_namespace(__name__)",
        "pkg_resources.declare_namespace(__name__)",
        "__import__('pkg_resources').declare_namespace(__name__)",
    }
)
"""Statements that make a package a namespace, as `ast.unparse` writes them.

https://packaging.python.org/en/latest/guides/packaging-namespace-packages/
"""


def same(path: str, left: bytes, right: bytes) -> bool:
    """Tell whether two files of one path do the same.

    Text is compared without line ends and outer blank lines. Python is compared as its syntax tree, so
    without comments and blank lines; an `__init__.py` also without its docstring. Two that do nothing but
    make their package a namespace, or nothing at all, are the same: in one folder, each finds every part.
    So are two modules that only run something under `python -m`: jupyter.py of jupyter and of jupyter-core,
    and two that protoc has generated, where they declare the same.

    :param path: relative to the prefix.
    """
    if b"\0" in left or b"\0" in right:
        return left == right
    if left.replace(b"\r\n", b"\n").strip() == right.replace(b"\r\n", b"\n").strip():
        return True
    if not path.endswith(".py") or max(len(left), len(right)) > SIZE_LIMIT:
        return False
    try:
        return _same_code(left, right, package=path.endswith("/__init__.py"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False  # this Python cannot read it, or it is too deep


def _same_code(left: bytes, right: bytes, *, package: bool) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its escapes, which are nobody's concern here
        trees = [ast.parse(left), ast.parse(right)]
    if package:
        trees = [_without_docstring(tree) for tree in trees]
        if all(_is_namespace(tree.body) for tree in trees):
            return True
    elif all(_is_program(tree.body) for tree in trees):
        return True
    generated = [protocol_buffers.declared(tree) for tree in trees]
    if None not in generated and generated[0] == generated[1]:
        return True
    return ast.dump(trees[0]) == ast.dump(trees[1])


def _is_program(statements: Sequence[ast.stmt]) -> bool:
    """Tell whether a module defines nothing and only runs something as `python -m` (jupyter.py)."""
    guards = [one for one in statements if isinstance(one, ast.If) and not one.orelse]
    guarded = [one for one in guards if ast.unparse(one.test) == "__name__ == '__main__'"]
    return bool(guarded) and all(one in guarded or says_nothing(one) for one in statements)


def _without_docstring(tree: ast.Module) -> ast.Module:
    documented = ast.get_docstring(tree, clean=False) is not None
    return ast.Module(body=tree.body[1:], type_ignores=[]) if documented else tree


def _is_namespace(statements: Iterable[ast.stmt]) -> bool:
    """Tell whether statements do nothing but make their package a namespace."""
    return all(_makes_namespace(one) for one in statements)


def _makes_namespace(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Try):
        parts = (statement.body, statement.orelse, statement.finalbody)
        return all(map(_is_namespace, (*parts, *(one.body for one in statement.handlers))))
    if isinstance(statement, ast.ImportFrom) and statement.module == "__future__":
        return True
    if isinstance(statement, ast.AnnAssign) and statement.value:
        statement = ast.Assign(targets=[statement.target], value=statement.value, lineno=0)
    return isinstance(statement, ast.Pass) or ast.unparse(statement) in _NAMESPACE
