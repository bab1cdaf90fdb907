"""Reads `envbundle.toml`: which bundles there are, and how each is made.

Format: docs/rebuild.md and envbundle.schema.json beside this file. Of the files that it names only
profiles of images are opened here: a requirements file that is gone must not stop the other bundles.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from bundler.create import inputs
from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.model import BUILD_DISK, IndexSettings, Policy, Resolver, RoomLimits
from bundler.rebuild.config import document, keys
from bundler.rebuild.config.keys import ImageChoice, Provenance, Reader

if TYPE_CHECKING:
    from bundler.rebuild.config.document import Document, Value

NAME = "envbundle.toml"
DEFAULT_OUTPUT = "bundles"
DEFAULT_KEEP = 3


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A `[[bundle]]`, with the values of `[defaults]` and of the top of the file."""

    name: str
    requirements: tuple[Path, ...] = ()
    constraints: tuple[Path, ...] = ()
    build_constraints: tuple[Path, ...] = ()
    from_env: Path | None = None
    """An environment that works."""
    extras: tuple[str, ...] = ()
    """Of a project whose pyproject.toml is among the requirements."""
    groups: tuple[str, ...] = ()
    """Dependency groups of that project."""
    lock: Path | None = None
    python: tuple[str, ...] = ()
    """`3.8` or `3.8.18`; empty where the image or the lock names it."""
    images: tuple[ImageChoice, ...] = ()
    output: Path
    """The folder in which the bundle's own folders are."""
    formats: tuple[str, ...] = ()
    """Without `dir`."""
    keep: int = DEFAULT_KEEP
    glibc: str | None = None
    server: str | None = None
    fit: bool = True
    resolver: Resolver = "uv"
    no_binary: tuple[str, ...] = ()
    only_binary: tuple[str, ...] = ()
    pre: bool = False
    prefer_binary: bool = False
    build_timeout: int = 900
    """Seconds."""
    build_disk: int = BUILD_DISK
    """MiB."""
    limits: RoomLimits = field(default_factory=RoomLimits)
    no_build: bool = False
    build_network: bool = False
    require_isolation: bool = False
    sign: Path | None = None
    """A key, which is on the machine of the run."""
    thin: bool = False
    mend: bool = False
    entry: tuple[Path, ...] = ()
    """Files that start the service."""
    source: tuple[Path, ...] = ()
    """Folders with the service's own code."""
    exclude_newer: str | None = None
    """As it is written, `7 days`; `None`: files of any age are used."""
    index: IndexSettings = field(default_factory=IndexSettings)
    """With `${NAME}` as in the file, not expanded."""
    policy: Policy = field(default_factory=Policy)
    provenance: Provenance | None = None
    """`None`: nobody is asked who published the files."""
    note: str = ""
    places: Mapping[str, str]
    """Key → `envbundle.toml:17`, where its value stands; `bundle` → where the bundle stands."""
    own: frozenset[str] = frozenset()
    """Keys that stand in the bundle's own table."""

    def place(self, key: str) -> str:
        """Return where the value of a key stands; where the key is not given, where the bundle does."""
        return self.places.get(key, self.places["bundle"])


@dataclass(frozen=True, kw_only=True)
class Config:
    """An `envbundle.toml`."""

    path: Path
    """The file, as it was named."""
    output: Path
    """Absolute."""
    bundles: tuple[Bundle, ...]
    jobs: int | None = None
    """How many at once; `None`: not said."""
    cache_dir: Path | None = None
    publish: str | None = None
    """URL, or an absolute path."""
    python_downloads: bool = True


def read(path: Path) -> Config:
    """Read a file, or the `envbundle.toml` of a folder.

    Relative paths in it are relative to the folder of `path`: where that is a symlink, it is not followed.

    :raises InputError: it cannot be read, or its content is wrong; the message has file and line of every
        problem.
    """
    if path.is_dir():
        path = path / NAME
    value = document.load(path)
    folder = path.absolute().parent
    # A `..` behind a symlink is the parent of where it leads, as for the system itself.
    context = keys.Context(folder=Path(os.path.realpath(folder)) if ".." in folder.parts else folder)
    top = _members(value, keys.TOP, context, where="the top of the file")
    defaults = _Table(values={}, places={}, value=value)
    bundles: list[_Table] = []
    for key, one in value.members().items():
        with value.document.collecting(one):
            if key == "defaults":
                defaults = _members(one, keys.DEFAULTS, context, where="[defaults]")
            elif key == "bundle":
                bundles = _bundles(one, context)
    value.document.settle()
    if not bundles:
        raise InputError(
            f"{path}: no bundle is named", hint="write [[bundle]], and below it name = … and requirements = …"
        )
    settings = {"output": context.folder / DEFAULT_OUTPUT, **_fields(Config, top.values)}
    made = []
    for table in bundles:
        with value.document.collecting(table.value):
            made.append(_bundle(table, defaults, top, settings["output"]))
    _refuse_twins(value.document, bundles)
    value.document.settle()
    return Config(path=path, bundles=tuple(made), **settings)


@dataclass(frozen=True, kw_only=True)
class _Table:
    """The values of a table, and where they stand."""

    values: Mapping[str, Any]
    places: Mapping[str, str]
    value: Value


def _members(value: Value, known: Mapping[str, Reader], context: keys.Context, *, where: str) -> _Table:
    """Read every key that is known; note a problem for each other one."""
    values, places = {}, {}
    for key, one in value.members().items():
        if not value.key_path and key in ("defaults", "bundle"):
            continue
        with value.document.collecting(one):
            if key not in known:
                one.fail(f"{where} has no key {key[:80]!r}", hint=_advice(key, known, where=where))
            values[key] = known[key](one, context)
            places[key] = one.where
    return _Table(values=values, places=places, value=value)


def _advice(key: str, known: Mapping[str, Reader], *, where: str) -> str:
    """Return a hint about a key that is not known here: one of another table, or a misspelt one."""
    homes = {
        "the top of the file": {**keys.TOP, "bundle": None, "defaults": None},
        "[defaults]": keys.DEFAULTS,
        "[[bundle]]": keys.BUNDLE,
    }
    elsewhere = [home for home, names in homes.items() if home != where and key in names]
    if elsewhere:
        return f"{key} belongs to {' or '.join(elsewhere)}"
    here = homes[where] if where == "the top of the file" else known
    guess = document.meant(key, here) or document.meant(key, set().union(*homes.values()))
    return f"{guess}{document.REFERENCE}"


def _bundles(value: Value, context: keys.Context) -> list[_Table]:
    if not isinstance(value.raw, list) or not all(isinstance(one, dict) for one in value.raw):
        value.fail(
            f"bundle must be a list of tables, not {'one table' if isinstance(value.raw, dict) else 'this'}",
            hint="write [[bundle]] with two brackets, once for each bundle",
        )
    return [
        _members(one, keys.BUNDLE, context, where="[[bundle]]")
        for one in (value.elements() if value.raw else [])
    ]


def _fields(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of those keys that a dataclass has, by the names of its fields."""
    named = {keys.FIELDS.get(key, key.replace("-", "_")): value for key, value in values.items()}
    return {one.name: named[one.name] for one in fields(kind) if one.name in named}


def _bundle(table: _Table, defaults: _Table, top: _Table, output: Path) -> Bundle:
    """Join the values of a bundle with the defaults; refuse those that contradict each other.

    :param output: of the whole file.
    """
    header = table.value
    if "name" not in table.values:
        header.fail("the bundle has no name", hint='write name = "scoring", of letters, digits and . _ -')
    own = frozenset(table.values)
    values = {"output": output, **top.values, **defaults.values, **table.values}
    for key in keys.ADDED:
        both = (*defaults.values.get(key, ()), *table.values.get(key, ()))
        values[key] = tuple(dict.fromkeys(both))
    if "lock" in values:
        values = {key: one for key, one in values.items() if key in own or key not in keys.NOT_OF_A_LOCK}
    places = {**top.places, **defaults.places, **table.places, "bundle": header.where}
    _require_sense(values, own, places)
    return Bundle(
        **_fields(Bundle, values),
        index=IndexSettings(**_fields(IndexSettings, values)),
        policy=Policy(**_fields(Policy, values)),
        limits=RoomLimits(**_fields(RoomLimits, values)),
        places=places,
        own=own,
    )


def _require_sense(values: Mapping[str, Any], own: frozenset[str], places: Mapping[str, str]) -> None:
    """Refuse values of one bundle that contradict each other."""
    name = values["name"]

    def fail(key: str, problem: str, hint: str) -> NoReturn:
        raise InputError(f"{places.get(key, places['bundle'])}: {name}: {problem}", hint=hint)

    if "lock" in values:
        twice = sorted(key for key in own & keys.NOT_OF_A_LOCK if values.get(key))
        if twice:
            fail(twice[0], f"lock and {twice[0]} exclude each other", "leave one out: a lock says it all")
    elif not (values.get("requirements") or values.get("from-env")):
        fail("bundle", "nothing to install is named", 'write requirements = "requirements.txt", or lock = …')
    if values.get("exclude-newer") and values.get("resolver") == "pip":
        fail(
            "resolver",
            "exclude-newer needs the resolver uv: the target's last pip knows no upload times",
            "leave the resolver out, or write exclude-newer = false in the bundle",
        )
    for key in ("server", "thin"):
        if values.get(key) and not values.get("image"):
            fail(key, f"{key} is about an image, and none is named", "add image = …")
    told = any(key in values for key in ("lock", "from-env"))
    told = told or any(map(inputs.may_name_python, values.get("requirements") or ()))
    if not (values.get("python") or values.get("image") or told):
        fail("bundle", "the image's Python is not named", 'write python = "3.8", or image = …')


def _refuse_twins(found: Document, bundles: list[_Table]) -> None:
    """Refuse names that differ in case alone: they are one folder on some filesystems."""
    seen: dict[str, Value] = {}
    for table in bundles:
        name = table.values.get("name")
        if name is None:
            continue
        header = table.value
        first = seen.setdefault(name.lower(), header)
        if first is not header:
            error = InputError(
                f"{table.places['name']}: the name {name!r} is that of the bundle in line {first.line}",
                hint="names differ by more than their case: they are names of folders",
            )
            found.problems.append((header.line, error))
