"""Turns a template and its values into one self-contained page."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import importlib.util
import marshal
import re
import sys
from pathlib import Path
from typing import Any

import jinja2
from jinja2.bccache import Bucket
from markupsafe import Markup, escape

import bundler
from bundler.report.pages.changes import signed
from bundler.system import files
from bundler.system.installed_versions import version
from bundler.system.sizes import NO_BREAK, in_units

# Characters that HTML cannot hold; marks that reorder text, with which a name can look like another
# (https://trojansource.codes); lone surrogates, which no file in UTF-8 can hold.
_UNSEEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
SECONDS_A_MINUTE = 60
LONGEST_WHOLE = 28


def render(template: str, **values: Any) -> str:
    """Fill in a template of this folder; every value is escaped.

    :raises jinja2.UndefinedError: the template asks for what it was not given.
    """
    style, script = _text("report.css"), _text("report.js")
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src {_hash(style)}; script-src {_hash(script)}"
    )
    page: str = (
        _environment()
        .get_template(template)
        .render(
            policy=policy,
            style=Markup(style),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            version=bundler.__version__,
            **values,
        )
    )
    return page


def compile_templates(*names: str) -> None:
    """Compile templates ahead of `render`, or load them where they were compiled before."""
    for name in names:
        _environment().get_template(name)


class TemplateBytecode(jinja2.BytecodeCache):
    """Keeps the bytecode of templates where Python keeps that of this package's modules.

    To compile the templates takes five times as long as to load Jinja. As with modules, nothing is written
    where Python may write no bytecode, and a folder that cannot be written is no error.
    """

    def __init__(self, maker: Path) -> None:
        """Keep what an environment compiles.

        :param maker: the file that makes the environment, on whose options the bytecode depends as well.
        """
        made_by = (sys.version, version("Jinja2"), version("MarkupSafe"))
        self._by = hashlib.sha256(repr(made_by).encode() + maker.read_bytes()).digest()
        self._folder = Path(importlib.util.cache_from_source(str(maker))).parent

    def load_bytecode(self, bucket: Bucket) -> None:
        """Take the bytecode of this very source, if it is there."""
        with contextlib.suppress(OSError, EOFError, ValueError, TypeError):
            data, head = self._place(bucket).read_bytes(), self._head(bucket)
            if data.startswith(head):
                bucket.code = marshal.loads(data[len(head) :])  # noqa: S302 - as Python reads that of modules

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Write the bytecode: whole or not at all."""
        if sys.dont_write_bytecode:
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            files.write(self._place(bucket), self._head(bucket) + marshal.dumps(bucket.code))

    def _place(self, bucket: Bucket) -> Path:
        return self._folder / f"template-{bucket.key}.{sys.implementation.cache_tag}.pyc"

    def _head(self, bucket: Bucket) -> bytes:
        return self._by + bucket.checksum.encode("ascii")


def _text(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return a hash as a source of the policy: https://www.w3.org/TR/CSP3/#grammardef-hash-source."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_text),
        bytecode_cache=TemplateBytecode(Path(__file__)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "bytes": functools.partial(in_units, space=NO_BREAK),
        "code": code,
        "count": count,
        "number": number,
        "duration": duration,
        "milliseconds": milliseconds,
        "signed": signed,
    }
    return environment


def _visible(value: object) -> object:
    """Replace invisible characters by U+FFFD, and refuse a value that is not there."""
    if isinstance(value, str) and _UNSEEN.search(value):
        plain = _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", value)
        return Markup(plain) if isinstance(value, Markup) else plain  # noqa: S704 - it was escaped before
    if value is None:
        raise jinja2.UndefinedError("a template shows a value that is not there")
    return value


def code(text: str) -> Markup:
    """Set what stands between backticks as code, and escape all of it."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # one backtick has no partner
        return escape(text)
    marked = [_code(part) if place % 2 else escape(part) for place, part in enumerate(parts)]
    return Markup().join(marked)


def _code(part: str) -> Markup:
    """Return the text as code; a short one is not broken at a hyphen."""
    whole = ' class="whole"' if len(part) <= LONGEST_WHOLE else ""
    return Markup("<code{}>{}</code>").format(Markup(whole), part)  # noqa: S704 - our own text


def number(value: int) -> str:
    """Return `12,417`."""
    return f"{value:,}"


def count(value: int, noun: str, plural: str = "") -> str:
    """Return `1 file`, `12,417 files`."""
    return f"{value:,} {noun if value == 1 else plural or f'{noun}s'}"


def duration(seconds: float) -> str:
    """Return `0.4 s`, `12 s`, `2 min 05 s`."""
    if seconds < SECONDS_A_MINUTE:
        return f"{seconds:.1f}{NO_BREAK}s" if seconds < 10 else f"{seconds:.0f}{NO_BREAK}s"
    minutes, rest = divmod(round(seconds), SECONDS_A_MINUTE)
    return f"{minutes}{NO_BREAK}min {rest:02d}{NO_BREAK}s"


def milliseconds(seconds: float) -> str:
    """Return `1.34 s`, `412 ms`, `0.8 ms`."""
    value = seconds * 1000
    if value >= 1000:
        return f"{seconds:.2f}{NO_BREAK}s"
    return f"{value:.0f}{NO_BREAK}ms" if value >= 10 else f"{value:.1f}{NO_BREAK}ms"
