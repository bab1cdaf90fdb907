"""The keys of `envbundle.toml`: in which table each may stand, and how its value is read.

envbundle.schema.json says the same for editors, and docs/rebuild.md for people; tests compare the three.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import field
from datetime import date, datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bundler.bundle import identities
from bundler.checks import policy
from bundler.checks.rules.codes import CODES
from bundler.create import cutoff
from bundler.errors import InputError
from bundler.formats import NAMES
from bundler.lazy_dataclass import dataclass
from bundler.system import redact
from bundler.targets import catalogue, target

if TYPE_CHECKING:
    from bundler.rebuild.config.document import Value

MOST_JOBS = 1024
MOST_BUILDS = 1000
LONGEST_BUILD = 86_400
"""Seconds."""
LONGEST_NOTE = 2000
BUNDLE_NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}"
PYTHON = r"3\.(?:[7-9]|[1-9][0-9])(?:\.(?:0|[1-9][0-9]?))?"
_VERSION = r"[A-Za-z0-9][A-Za-z0-9.+!_-]*"
_DISTRIBUTION = r":all:|:none:|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_HOST = r"[^\s/@]+"
_REMOTE = r"[A-Za-z][A-Za-z0-9+.-]*://[^\s]+"
_URL = rf"{_REMOTE}|\$\{{[^\s]*"
_BRACED = re.compile(r"\$\{(?P<name>[^}]*)(?P<end>\}?)")
_CAPITALS = re.compile(r"[A-Z0-9_]+")


@dataclass(frozen=True, kw_only=True)
class Context:
    """What reading a value needs besides it."""

    folder: Path
    """Of the file, absolute."""
    images: dict[str, ImageChoice] = field(default_factory=dict)
    """Those that were read already, by their names in the file: a hundred bundles name three."""


@dataclass(frozen=True, kw_only=True)
class ImageChoice:
    """An image that a bundle names."""

    given: str
    """Name, reference or absolute path of a profile's file."""
    name: str
    """As the profile has it, fit for a folder's name."""
    python: str | None
    """`3.8`; `None`: the profile does not say it."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What is demanded of those who published the files."""

    require: tuple[str, ...] = ()
    publishers: tuple[tuple[str, str], ...] = ()
    trusted_root: Path | None = None
    """A file; `None`: the one that sigstore ships."""


Reader = Callable[["Value", Context], Any]


def _path(value: Value, context: Context) -> Path:
    """A path relative to the file's folder."""
    text = value.text(form="a path")
    if text.startswith("~"):
        value.fail(
            f"{value.key}: {text[:80]!r} begins with ~",
            hint="write the folder out: under a timer or in a container home is another one",
        )
    _plain(value, text)
    path = context.folder / text
    if ".." not in path.parts:
        return path
    if path.name == "..":
        return Path(os.path.realpath(path))
    return Path(os.path.realpath(path.parent)) / path.name


def _plain(value: Value, text: str) -> None:
    if "${" in text:
        value.fail(
            f"{value.key}: a variable is put in place in URLs of indexes only",
            hint="write the value out" if value.key != "publish" else "the store's own variables log in",
        )


def _paths(value: Value, context: Context) -> tuple[Path, ...]:
    return tuple(_path(one, context) for one in value.elements(needed=value.key == "requirements"))


def _python(value: Value, _: Context) -> tuple[str, ...]:
    hint = (
        'write python = "3.8", or ["3.7", "3.8"], or "3.8.18": in quotes, for a bare 3.10 is the number 3.1'
    )
    versions = tuple(
        one.text(PYTHON, form="a Python of 3.7 or later in quotes", hint=hint)
        for one in value.elements(needed=True)
    )
    minors = [version.split(".")[1] for version in versions]
    if len(set(minors)) < len(minors):
        value.fail(
            f"python names a 3.{max(minors, key=minors.count)} twice",
            hint="a bundle is for a minor version: its releases share one folder",
        )
    return versions


def _images(value: Value, context: Context) -> tuple[ImageChoice, ...]:
    if value.raw is False:
        return ()
    found: dict[str, ImageChoice] = {}
    for one in value.elements(needed=True):
        given = one.text(form="the name of an image, or false")
        if given.endswith(".json"):
            given = str(_path(one, context))
        else:
            _plain(one, given)
        choice = context.images.get(given)
        if choice is None:
            choice = context.images[given] = _told(one, functools.partial(_image, given))
        if choice.name in found:
            one.fail(f"image: {given[:80]!r} is called {choice.name} as another one", hint="name it once")
        found[choice.name] = choice
    return tuple(found.values())


def _image(given: str) -> ImageChoice:
    image = catalogue.load(given)
    return ImageChoice(given=given, name=image.name.replace("/", "-"), python=image.minor)


def _told(value: Value, reader: Callable[[], Any]) -> Any:
    """Call a reader, and put file and line before the message of its error."""
    try:
        return reader()
    except InputError as error:
        message = error.message.removeprefix("--")
        raise InputError(f"{value.where}: {message}", hint=error.hint) from None


def _formats(value: Value, _: Context) -> tuple[str, ...]:
    chosen = {one.choice(NAMES) for one in value.elements()}
    return tuple(name for name in NAMES if name in chosen and name != "dir")


def _exclude_newer(value: Value, _: Context) -> str | None:
    if value.raw is False:
        return None
    text = value.raw
    if isinstance(text, datetime):
        moment = text if text.tzinfo else text.replace(tzinfo=timezone.utc)
        text = moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    elif isinstance(text, date):
        text = text.isoformat()
    elif not isinstance(text, str):
        value.wrong("a length of time or a date in quotes, or false", hint=cutoff.FORMS)
    _told(value, lambda: cutoff.parse(text))
    return str(text)


def _glibc(value: Value, _: Context) -> str:
    least, most = target.OLDEST_GLIBC_MINOR, target.NEWEST_GLIBC_MINOR
    form = f"a glibc between 2.{least} and 2.{most} in quotes"
    hint = 'write glibc = "2.31": `ldd --version` in the image tells it'
    text = value.text(r"2\.[1-9][0-9]?", form=form, hint=hint)
    if not least <= int(text[2:]) <= most:
        value.fail(f"glibc must be {form}, not {text!r}", hint=hint)
    return text


def _url(value: Value) -> str:
    """The URL of an index, in which `${NAME}` may stand, but no password."""
    text = value.text(_URL, form="a URL: https://…")
    for variable in _BRACED.finditer(text):
        if not variable["end"] or not _CAPITALS.fullmatch(variable["name"]):
            value.fail(
                f"{value.key}: {variable[0][:80]!r} is no variable",
                hint="write ${NAME}, of capital letters, digits and _, as in requirements files",
            )
    if password(_BRACED.sub("", text)):
        value.fail(
            f"{value.key} holds a password: {redact.text(text)[:200]}",
            hint="write ${NAME} in its place, and set that variable where envbundle runs",
        )
    return text


def password(url: str) -> str | None:
    """Return the password in a URL; an empty one is none."""
    try:
        return urlsplit(url).password or None
    except ValueError:
        return None


def _find_links(value: Value, context: Context) -> tuple[str, ...]:
    return tuple(
        _url(one) if isinstance(one.raw, str) and "://" in one.raw else str(_path(one, context))
        for one in value.elements()
    )


def _publish(value: Value, context: Context) -> str:
    """A URL, or a folder relative to the file's."""
    if isinstance(value.raw, str) and "://" not in value.raw:
        return str(_path(value, context))
    text = value.text(_REMOTE, form="a folder or a URL: abfs://…, s3://…, file:///…")
    _plain(value, text)
    if password(text):
        value.fail(
            f"publish holds a password: {redact.text(text)[:200]}",
            hint="leave it out: the store's own variables log in",
        )
    return text.rstrip("/")


def _ignores(value: Value, _: Context) -> tuple[Any, ...]:
    return tuple(
        _told(one, functools.partial(policy.parse_ignore, one.text(), known=CODES))
        for one in value.elements()
    )


def _libraries(value: Value, _: Context) -> tuple[str, ...]:
    return tuple(_told(one, functools.partial(policy.parse_library, one.text())) for one in value.elements())


def _provenance(value: Value, context: Context) -> Provenance | None:
    """True, false, or a table of what is demanded."""
    if isinstance(value.raw, bool):
        return Provenance() if value.raw else None
    if not isinstance(value.raw, dict):
        value.wrong("true, false or a table: [provenance]")
    found: dict[str, Any] = {}
    for key, one in value.members().items():
        if key not in _PROVENANCE:
            one.fail(f"provenance has no key {key[:80]!r}", hint=f"it has {', '.join(_PROVENANCE)}")
        found[key.replace("-", "_")] = _PROVENANCE[key](one, context)
    return Provenance(**found)


def _publishers(value: Value, _: Context) -> tuple[tuple[str, str], ...]:
    return tuple(
        _told(one, functools.partial(identities.parse_pin, name, one.text()))
        for name, one in value.members().items()
    )


def _note(value: Value, _: Context) -> str:
    """Text of one or more lines."""
    if not isinstance(value.raw, str):
        value.wrong("a string")
    value.check_characters(value.raw.replace("\n", "").replace("\t", ""))
    if len(value.raw) > LONGEST_NOTE:
        value.fail(f"note is longer than {LONGEST_NOTE} characters")
    return value.raw.strip()


def _texts(pattern: str = "", form: str = "") -> Reader:
    return lambda value, _: tuple(one.text(pattern, form=form) for one in value.elements())


def _text(pattern: str, form: str) -> Reader:
    return lambda value, _: value.text(pattern, form=form)


def _flag(value: Value, _: Context) -> bool:
    return value.flag()


_PROVENANCE: Mapping[str, Reader] = {
    "require": _texts(r"[A-Za-z0-9*?._-]+", "a name, or a pattern such as internal-*"),
    "publishers": _publishers,
    "trusted-root": _path,
}
_NAMES = _texts(_DISTRIBUTION, "the name of a distribution, or :all:")
INDEX: Mapping[str, Reader] = {
    "exclude-newer": _exclude_newer,
    "index-url": lambda value, _: _url(value),
    "extra-index-url": lambda value, _: tuple(_url(one) for one in value.elements()),
    "find-links": _find_links,
    "no-index": _flag,
    "trusted-host": _texts(_HOST, "a host, with or without a port"),
    "provenance": _provenance,
}
TOP: Mapping[str, Reader] = {
    "output": _path,
    "jobs": lambda value, _: value.number(most=MOST_JOBS),
    "cache-dir": _path,
    "publish": _publish,
    "python-downloads": _flag,
    **INDEX,
}
DEFAULTS: Mapping[str, Reader] = {
    "requirements": _paths,
    "constraints": _paths,
    "build-constraints": _paths,
    "python": _python,
    "image": _images,
    "formats": _formats,
    "keep": lambda value, _: value.number(most=MOST_BUILDS),
    "glibc": _glibc,
    "fit": _flag,
    "resolver": lambda value, _: value.choice(("uv", "pip")),
    "no-binary": _NAMES,
    "only-binary": _NAMES,
    "pre": _flag,
    "prefer-binary": _flag,
    "build-timeout": lambda value, _: value.number(most=LONGEST_BUILD),
    "build-disk": lambda value, _: value.number(least=16, most=1 << 24),
    "import-timeout": lambda value, _: value.number(most=LONGEST_BUILD),
    "memory-limit": lambda value, _: value.number(least=64, most=1 << 24),
    "process-limit": lambda value, _: value.number(least=8, most=1 << 22),
    "output-limit": lambda value, _: value.number(most=1 << 14),
    "no-build": _flag,
    "build-network": _flag,
    "require-isolation": _flag,
    "sign": _path,
    "thin": _flag,
    "mend": _flag,
    "entry": _paths,
    "source": _paths,
    "strict": _flag,
    "ignore": _ignores,
    "assume-lib": _libraries,
    "deny-licence": _texts(),
    "note": _note,
}
BUNDLE: Mapping[str, Reader] = {
    "name": _text(BUNDLE_NAME, "a name of letters, digits and . _ - that begins with none of . and -"),
    "lock": _path,
    "from-env": _path,
    "extra": _NAMES,
    "group": _NAMES,
    "output": _path,
    "server": _text(_VERSION, "a version"),
    **DEFAULTS,
    **INDEX,
}
FIELDS = {
    "image": "images",
    "import-timeout": "import_seconds",
    "memory-limit": "memory_mib",
    "process-limit": "processes",
    "output-limit": "output_mib",
    "extra": "extras",
    "group": "groups",
    "extra-index-url": "extra_index_urls",
    "trusted-host": "trusted_hosts",
    "ignore": "ignores",
    "assume-lib": "assumed_libraries",
    "deny-licence": "denied_licences",
}
"""Key → field of `Bundle`, `IndexSettings` or `Policy`, where that has another name."""
ADDED = ("constraints", "ignore", "assume-lib", "deny-licence")
"""A bundle's value of these keys is added to the default; of every other key it replaces the default."""
NOT_OF_A_LOCK = frozenset(
    {"requirements", "from-env", "extra", "group", "constraints", "exclude-newer", "pre"}
)
"""Keys of what a lock has decided already."""
