"""Scripts in bin/ that run on the target wherever the bundle lies, without a path of the builder.

Entry points: https://packaging.python.org/specifications/entry-points/
"""

from __future__ import annotations

import ast
import configparser
import re
from collections.abc import Container

from bundler.lazy_dataclass import dataclass

# The shell runs the lines between the quotes and does not return from `exec`; for Python they are a string,
# as in distlib's launchers with a long shebang. `readlink -f` finds the script's own folder when it is
# started through a link. `{up}` removes bin/NAME.
_HEADER = """\
#!/bin/sh
{cookie}''':'
script=$(readlink -f -- "$0") || exit 127
PYTHONPATH=${{script%{up}}}/lib/python{minor}/site-packages${{PYTHONPATH:+:$PYTHONPATH}}
export PYTHONPATH
exec "${{ENVBUNDLE_PYTHON:-python{minor}}}" "$0" "$@"
'''
"""
_BODY = """\
import sys
from {module} import {imported}
if __name__ == '__main__':
    sys.exit({attribute}())
"""
LONGEST_LINE = 4096
"""Characters of a line of entry_points.txt: `configparser` takes quadratic time for one without a `=`."""
_NAME = re.compile(r"\w+")
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*[-\w.]+")  # PEP 263


class EntryPointError(ValueError):
    """entry_points.txt cannot be understood."""


@dataclass(frozen=True, kw_only=True)
class EntryPoint:
    """The function that a script calls."""

    module: str
    attribute: str


def entry_points(text: str, *, minor: str) -> dict[str, EntryPoint]:
    """Return script name → entry point, console and GUI scripts alike, as pip makes them.

    :raises EntryPointError: it is not well-formed, or a script has nothing to call.
    """
    groups = _parsed(text)
    console, gui = (
        dict(groups[name]) if name in groups else {} for name in ("console_scripts", "gui_scripts")
    )
    return {name: _parse(name, value) for name, value in {**_versioned(console, minor=minor), **gui}.items()}


def declared(text: str) -> tuple[str, ...]:
    """Return the entry points of every group, as `console_scripts: flask = flask.cli:main`, sorted.

    :raises EntryPointError: it is not well-formed.
    """
    parser = _parsed(text)
    return tuple(
        sorted(
            f"{group}: {name} = {value}"
            for group in parser.sections()
            for name, value in parser[group].items()
        )
    )


def _parsed(text: str) -> configparser.ConfigParser:
    if any(len(line) > LONGEST_LINE for line in text.splitlines()):
        raise EntryPointError(f"has a line of more than {LONGEST_LINE} characters")
    parser = configparser.ConfigParser(
        delimiters=("=",),
        comment_prefixes=("#", ";"),
        strict=False,
        interpolation=None,
        default_section="",  # a section [DEFAULT] is a group like any other
    )
    parser.optionxform = str  # type: ignore[method-assign, assignment]  # the documented way to keep case
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise EntryPointError(f"is not well-formed: {error.message.splitlines()[0]}") from error
    return parser


def _parse(name: str, value: str) -> EntryPoint:
    called = value.strip()
    if called.endswith("]"):
        called = called.partition("[")[0]  # extras, which an installer need not look at
    module, _, attribute = (part.strip() for part in called.partition(":"))
    if not all(_NAME.fullmatch(part) for dotted in (module, attribute) for part in dotted.split(".")):
        raise EntryPointError(f"has a script {name!r} without a function to call: {value[:200]!r}")
    return EntryPoint(module=module, attribute=attribute)


def _versioned(console: dict[str, str], *, minor: str) -> dict[str, str]:
    """Name pip's and easy_install's versioned scripts after the target, as pip does.

    Their wheels name the Python that built them (pip's `get_console_script_specs`).
    """
    scripts = {
        name: value
        for name, value in console.items()
        if not ("pip" in console and re.fullmatch(r"pip(\d+(\.\d+)?)?", name))
        and not ("easy_install" in console and re.fullmatch(r"easy_install(-\d+\.\d+)?", name))
    }
    if "pip" in console:
        scripts |= dict.fromkeys(("pip", f"pip{minor.partition('.')[0]}", f"pip{minor}"), console["pip"])
    if "easy_install" in console:
        scripts |= dict.fromkeys(("easy_install", f"easy_install-{minor}"), console["easy_install"])
    return scripts


def is_wrapper_of(script: str, names: Container[str]) -> bool:
    """Tell whether a file of the `scripts` scheme is setuptools' wrapper of an entry point.

    pip leaves those out and writes the script itself.
    """
    base = script.rpartition("/")[2]
    lower = base.lower()
    for suffix in (".exe", "-script.py", ".pya"):
        if lower.endswith(suffix):
            return base[: -len(suffix)] in names
    return base in names


def launcher(entry_point: EntryPoint, *, minor: str) -> bytes:
    """Return the script in bin/ that calls an entry point, from wherever the bundle is."""
    return _header(minor=minor) + _body(entry_point)


def plain(entry_point: EntryPoint, *, python: str) -> bytes:
    """Return the script of an ordinary environment that calls an entry point, bound to its Python."""
    return f"#!{python}\n".encode() + _body(entry_point)


def _body(entry_point: EntryPoint) -> bytes:
    imported = entry_point.attribute.partition(".")[0]
    body = _BODY.format(module=entry_point.module, imported=imported, attribute=entry_point.attribute)
    return body.encode()


def relocatable(script: bytes, *, depth: int, minor: str) -> bytes:
    """Return a script of the `scripts` scheme with our header in place of its `#!python` line.

    :param depth: folders between the prefix and the script; 1 for bin/x.
    """
    rest = _docstring_assigned(script.partition(b"\n")[2])
    first, newline, after = rest.partition(b"\n")
    if _COOKIE.match(first):
        # The encoding must be in the first two lines (PEP 263); the shell takes it for a comment.
        return _header(minor=minor, depth=depth, cookie=first + newline) + after
    return _header(minor=minor, depth=depth) + rest


def _header(*, minor: str, depth: int = 1, cookie: bytes = b"") -> bytes:
    text = _HEADER.format(cookie="@cookie@", up="/*" * (depth + 1), minor=minor)
    return text.encode().replace(b"@cookie@", cookie, 1)


def _docstring_assigned(source: bytes) -> bytes:
    """Make a script's docstring an assignment, since the header takes the docstring's place.

    Scripts print their `__doc__` (docopt's do), and a `from __future__` may follow one string only.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # of Python 2, a template, or hostile
        return source
    text = ast.get_docstring(tree, clean=False)
    docstring = tree.body[0] if text is not None else None
    if docstring is None or any(other.lineno <= (docstring.end_lineno or 1) for other in tree.body[1:]):
        return source
    head = 1
    while head < len(tree.body) and _is_future(tree.body[head]):
        head += 1
    lines = source.split(b"\n")
    lines.insert(tree.body[head - 1].end_lineno or 1, b"__doc__ = " + ascii(text).encode())
    first, last = docstring.lineno - 1, docstring.end_lineno or 1
    lines[first:last] = [b""] * (last - first)
    return b"\n".join(lines)


def _is_future(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
