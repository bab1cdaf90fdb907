"""Reads what a project says it needs: `pyproject.toml`, with extras (PEP 621) and groups (PEP 735).

What the file leaves to the project's build is noted, and asked by `asked_build`. The project itself is not
installed: its folder on the command line does that.
"""

from __future__ import annotations

import configparser
import contextlib
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.dependency_groups import resolve_dependency_groups
from packaging.errors import ExceptionGroup
from packaging.requirements import InvalidRequirement
from packaging.utils import canonicalize_name

from bundler.create import requirements
from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.model import Note, Project, Requirement, Requirements
from bundler.system import outside, pep508, toml_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from typing import Literal

    _Key = Literal["dependencies", "optional-dependencies"]

NAME = "pyproject.toml"
LEGACY = ("setup.py", "setup.cfg")
"""Files of a project that has no `[project]` table: its build knows what it requires."""
_LIMIT = 8 << 20
"""Bytes."""


def read(
    path: Path, *, extras: Sequence[str] = (), groups: Sequence[str] = (), sourced: bool = False
) -> Requirements:
    """Read the requirements of a project.

    :param path: the `pyproject.toml`, or a file of `LEGACY`, which stands for the project in its folder.
    :param extras: names of its extras that are wanted as well.
    :param groups: names of its dependency groups that are wanted as well.
    :param sourced: a lock says where everything comes from.
    :raises InputError: it cannot be read, has no such extra or group, or its requirements stand elsewhere.
    """
    path = beside if path.name in LEGACY and (beside := path.with_name(NAME)).is_file() else path
    project = _Project(path=path, document=_load(path))
    texts = [*project.dependencies(extras, sourced=sourced), *project.groups(groups)]
    found = tuple(
        requirements.parse(text, origin=f"{path}: {place}", folder=path.parent) for place, text in texts
    )
    sources = () if sourced else project.sources({one.name for one in found})
    return Requirements(
        requirements=found,
        told=(*project.not_installed(), *sources),
        projects=(project.described(extras),),
    )


def read_groups(path: Path, groups: Sequence[str], *, others: Iterable[str] = ()) -> tuple[Requirement, ...]:
    """Read dependency groups of a project alone.

    :param others: groups that stand elsewhere in the file, for the message.
    :raises InputError: it cannot be read, or has no such group.
    """
    texts = _Project(path=path, document=_load(path)).groups(groups, others=others)
    return tuple(
        requirements.parse(text, origin=f"{path}: {place}", folder=path.parent) for place, text in texts
    )


def told_of(path: Path) -> tuple[Note, ...]:
    """Return what people should know of a project whose requirements are in a bundle.

    :raises InputError: it cannot be read.
    """
    return tuple(_Project(path=path, document=_load(path)).not_installed())


def tells_dependencies(path: Path) -> bool:
    """Tell whether the file says what its project requires: it has a project, whose dependencies are static.

    :raises InputError: it cannot be read.
    """
    project = _Project(path=path, document=_load(path)).table("project")
    return bool(project) and "dependencies" not in project.get("dynamic", ())


def pdm_sources(path: Path) -> tuple[str, ...]:
    """Return the URLs of the indexes that a project of pdm names.

    :raises InputError: it cannot be read.
    """
    listed = _Project(path=path, document=_load(path)).table("tool", "pdm").get("source", [])
    found = [one.get("url") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return tuple(url for url in found if isinstance(url, str) and "://" in url)


def _load(path: Path) -> dict[str, Any]:
    text = outside.read_text(path, limit=_LIMIT, hint="name the pyproject.toml of a project", named=True)
    if path.name in LEGACY:
        return {}  # only a build can read it
    try:
        return toml_text.loads(text)
    # A number of ten thousand digits is a ValueError that is no TOMLDecodeError.
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not TOML: {error}", hint="mend it") from None


@dataclass(frozen=True, kw_only=True)
class _Project:
    path: Path
    document: dict[str, Any]
    seen: set[str] = field(default_factory=set)
    """Extras that were followed already."""

    def table(self, *keys: str) -> dict[str, Any]:
        """Return a table; empty where there is none."""
        value: Any = self.document
        for key in keys:
            value = value.get(key, {})
            if not isinstance(value, dict):
                raise InputError(f"{self.path}: {'.'.join(keys)} is no table", hint="see PEP 621")
        return dict(value)

    def dependencies(self, extras: Sequence[str], *, sourced: bool = False) -> Iterator[tuple[str, str]]:
        """Yield (place, requirement) of the project and of its extras, as far as the file says them.

        :param sourced: as of `read`: then all must stand here.
        :raises InputError: they are not in the file, or there is no such extra.
        """
        project, dynamic = self.table("project"), self.dynamic(extras)
        if dynamic and sourced:
            raise InputError(
                f"{self.path}: project.{dynamic[0]} is dynamic: only the project's build knows it",
                hint=f"give the project without its lock: -r {self.path}",
            )
        if not (project or dynamic or self.table("dependency-groups")):
            raise InputError(f"{self.path} has no [project] table", hint=self._way_out())
        yield from self._listed(project.get("dependencies", []), "project.dependencies")
        if "optional-dependencies" not in dynamic:
            for extra in extras:
                yield from self._extra(extra)

    def dynamic(self, extras: Sequence[str]) -> tuple[_Key, ...]:
        """Return what is wanted and only the project's build knows (PEP 621)."""
        both: tuple[_Key, ...] = ("dependencies", "optional-dependencies")
        named = self.table("project").get("dynamic", ()) if "project" in self.document else both
        if "project" not in self.document and not self._is_built():
            return ()
        return tuple(key for key in both if key in named and (key == "dependencies" or extras))

    def _is_built(self) -> bool:
        """Tell whether a project without a `[project]` table can be built."""
        if self.table("tool", "poetry").get("package-mode") is False:
            return False
        legacy = self.path.with_name("setup.py").is_file() or self._is_configured()
        return legacy or bool(self.table("build-system"))

    def _is_configured(self) -> bool:
        """Tell whether a `setup.cfg` beside it describes the project; most configure other tools alone."""
        parser = configparser.RawConfigParser(strict=False)
        with contextlib.suppress(OSError, ValueError, configparser.Error):
            parser.read(self.path.with_name("setup.cfg"), encoding="utf-8")
        return self.path.name == NAME and (parser.has_section("options") or parser.has_section("metadata"))

    def described(self, extras: Sequence[str]) -> Project:
        """Return what remains to be asked of its build, and to be compared with the target."""
        project = self.table("project")
        named = project.get("name") or self.table("tool", "poetry").get("name")
        pythons = project.get("requires-python")
        return Project(
            name=str(named or ""),
            folder=self.path.absolute().parent,
            origin=str(self.path),
            requires_python=pythons if isinstance(pythons, str) else "",
            dynamic=self.dynamic(extras),
            extras=tuple(extras),
        )

    def _folder(self) -> str:
        parent = str(self.path.parent)
        return parent if parent.startswith((".", "/")) else f"./{parent}"

    def _way_out(self) -> str:
        if "poetry" in self.table("tool"):
            return "poetry keeps its own: give its lock, -r poetry.lock"
        return f"write its requirements into a file, or give its folder: {self._folder()}"

    def _extra(self, wanted: str) -> Iterator[tuple[str, str]]:
        offered = {
            canonicalize_name(name): (name, value)
            for name, value in self.table("project", "optional-dependencies").items()
        }
        name = canonicalize_name(wanted)
        if name not in offered:
            raise InputError(f"{self.path} has no extra {wanted!r}", hint=offer(offered))
        if name not in self.seen:
            self.seen.add(name)
            yield from self._listed(offered[name][1], f"project.optional-dependencies.{offered[name][0]}")

    def _listed(self, values: object, place: str) -> Iterator[tuple[str, str]]:
        """Yield the requirements of a list; one that names the project stands for its extras."""
        own = canonicalize_name(str(self.table("project").get("name", "")))
        for text in _texts(values, f"{self.path}: {place}"):
            try:
                parsed = pep508.requirement(text)
            except InvalidRequirement:
                parsed = None  # the reader of requirements says what is wrong
            if parsed is not None and canonicalize_name(parsed.name) == own and not parsed.url:
                for extra in sorted(parsed.extras):
                    yield from self._extra(extra)
            else:
                yield place, text

    def groups(self, wanted: Sequence[str], *, others: Iterable[str] = ()) -> Iterator[tuple[str, str]]:
        """Yield (place, requirement) of dependency groups.

        :param others: as of `read_groups`.
        :raises InputError: there is no such group, or it is wrong.
        """
        # pdm kept them in a table of its own until there was PEP 735.
        groups = {**self.table("tool", "pdm", "dev-dependencies"), **self.table("dependency-groups")}
        for name in wanted:
            if canonicalize_name(name) not in {canonicalize_name(one) for one in groups}:
                raise InputError(f"{self.path} has no group {name!r}", hint=offer([*groups, *others]))
            try:
                found = resolve_dependency_groups(groups, name)
            except (ValueError, TypeError, LookupError, ExceptionGroup) as error:
                raise InputError(f"{self.path}: group {name}: {error}", hint="see PEP 735") from None
            yield from ((f"dependency-groups.{name}", str(text)) for text in found)

    def not_installed(self) -> Iterator[Note]:
        """Tell that the project itself is not in the bundle."""
        name = self.table("project").get("name") or self.table("tool", "poetry").get("name")
        if name:
            yield not_installed(str(name))

    def sources(self, required: Collection[str | None]) -> Iterator[Note]:
        """Tell of what is required and has a place that counts for one tool alone."""
        places = self.table("tool", "uv", "sources")
        for name in sorted(name for name in places if canonicalize_name(name) in required):
            yield Note(
                subject=name,
                text="tool.uv.sources says where it comes from, which counts for uv alone: it is taken "
                "from the index",
            )


def _texts(values: object, where: str) -> Iterable[str]:
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise InputError(f"{where} is no list of strings", hint="see PEP 621")
    return values


def not_installed(name: str) -> Note:
    """Tell that a project itself is not in the bundle."""
    return Note(
        subject=name,
        text=f"what it requires is in the bundle, the project itself is not: {NAME} says no more",
    )


def offer(names: Iterable[str]) -> str:
    """Say which names there are."""
    return f"it has {', '.join(sorted(names))}" if names else "it has none"
