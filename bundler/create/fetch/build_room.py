"""Builds one wheel, or its metadata alone, in a room: without credentials, and a network only if it is given.

What a build needs is fetched before, by the resolver and under its rules; the pip in the room takes it from a
folder. What a backend asks for beyond its pyproject.toml is known only once it was asked, so the build begins
anew with it.
"""

from __future__ import annotations

import contextlib
import functools
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from urllib.parse import quote

from packaging.requirements import InvalidRequirement

from bundler.create.fetch import project_files, sdist_file
from bundler.create.fetch.build_disk import DiskWatch
from bundler.create.fetch.context import FetchContext, Tools
from bundler.errors import CommandError, InputError, MachineError
from bundler.lazy_dataclass import dataclass
from bundler.model import BuildTool, LockedDistribution, Target
from bundler.ontarget import bounded
from bundler.system import pep508, process, room, toml_text
from bundler.targets import target

LEGACY = ("setuptools>=40.8.0", "wheel")
"""What a project without a build system needs (https://pip.pypa.io/en/stable/reference/build-system/); older
setuptools ask for `wheel` as well."""
ROUNDS = 12
"""Builds of one wheel: each asks for at least one requirement more."""
_LACKING = re.compile(r"^ *ERROR: No matching distribution found for (.+?)(?: \(from .*\))?$", re.MULTILINE)
_QUIET = {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}
_ISOLATED = frozenset({"own-root", "own-processes"})


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a build is asked for."""

    pip: tuple[str, ...]
    """Command and options of pip; a path in the folder for what it makes follows."""
    file: str
    """That path; empty: the folder."""
    failure: str
    """What is said where it cannot be had: NAME VERSION and this."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """What the build sees beside the usual."""


WHEEL = Goal(
    pip=("wheel", "--wheel-dir"),
    file="",
    failure="has no wheel for the target, and building it from source failed",
)
PROJECT_METADATA = Goal(
    pip=("install", "--dry-run", "--ignore-installed", "--ignore-requires-python", "--report"),
    file="report.json",
    failure="leaves to its build what it requires, and asking that failed",
    variables=dict.fromkeys(("SETUPTOOLS_SCM_PRETEND_VERSION", "PBR_VERSION", "PDM_BUILD_SCM_VERSION"), "0")
    | {"POETRY_DYNAMIC_VERSIONING_BYPASS": "0"},
)
"""The backend's `prepare_metadata_for_build_wheel`, or where it has none a wheel (PEP 517), as pip reports it
(https://pip.pypa.io/en/stable/reference/installation-report/). The version is not asked for: what would ask
the repository for it finds none in a room."""
SOURCE_METADATA = replace(
    PROJECT_METADATA,
    variables={},
    failure="has no wheel for the target, and building it from source to learn its requirements failed",
)


@dataclass(frozen=True, kw_only=True)
class _Source:
    """What pip is to build."""

    here: Path
    there: str
    subdirectory: str = ""
    writable: bool = False
    """A folder, which pip builds in place: a copy."""

    def argument(self, path: str) -> str:
        """Return pip's argument for the source at a path."""
        if self.writable:
            return f"{path}/{self.subdirectory}".rstrip("/")
        return f"file://{quote(path)}#subdirectory={self.subdirectory}" if self.subdirectory else path


def build(
    dist: LockedDistribution,
    file: Path | None,
    *,
    goal: Goal = WHEEL,
    context: FetchContext,
    folder: Path,
    variables: Mapping[str, str],
    git: Mapping[str, str],
    stop: Callable[[tuple[BuildTool, ...]], bool],
    on_wait: Callable[[float], None],
) -> tuple[tuple[BuildTool, ...], Path | None]:
    """Build a wheel, or make a report of its metadata; return what was used, sorted by name, and where it is.

    Where a lock says what its build used, that is used, and nothing else. What was stopped has no place.

    :param file: the sdist, or the folder of a repository that is here already; `None`: a repository is
        fetched, a local project is where it is.
    :param folder: private and empty.
    :param variables: what the build sees beside the usual.
    :param git: what git sees as well, to read the repository.
    :param stop: tells whether nothing needs to be built, as soon as it is known what a build uses.
    :param on_wait: as of `process.run`.
    :raises TimeLimitError: the build took longer than `context.build_timeout`.
    :raises DiskLimitError: it filled more than `context.build_disk`.
    :raises CommandError: the build, or git, failed.
    :raises MachineError: what the build needs cannot be had, or it made no wheel.
    """
    source = _source(dist, file, context=context, folder=folder, git=git, on_wait=on_wait)
    wanted, left = _requires(source), float(context.build_timeout)
    for _ in range(ROUNDS):
        found = _needed(dist, wanted, goal, context)
        tools = tuple(sorted(found, key=lambda tool: tool.name))
        if stop(tools):
            return tools, None
        began = time.monotonic()
        try:
            _run(
                source,
                _links(found.values(), folder=folder),
                goal=goal,
                context=context,
                folder=folder,
                variables={**variables, **goal.variables},
                timeout=left,
                on_wait=on_wait,
            )
            return tools, _made(folder / "made", goal, context.target)
        except CommandError as error:
            left -= time.monotonic() - began
            more = _valid(_LACKING.findall(f"{error.stdout}\n{error.stderr}")) - set(wanted)
            if not more:
                raise
            if dist.built is not None:
                raise _unlike(dist, more, tools) from error
            wanted = (*wanted, *sorted(more))
    raise MachineError(
        f"the build of {dist.name} asks for more each time: {', '.join(wanted)}",
        hint="pin a version that has a wheel",
    )


def _needed(dist: LockedDistribution, wanted: Sequence[str], goal: Goal, context: FetchContext) -> Tools:
    """Return what a build uses.

    :raises MachineError: it cannot be had.
    """
    if not wanted and dist.built is None:
        return {}
    try:
        return context.build_tools(context, wanted, dist.built)
    except MachineError as error:
        raise MachineError(
            f"{f'{dist.name} {dist.version}'.strip() or 'a source'} {goal.failure}: {error.message}",
            hint=error.hint,
        ) from error


def _unlike(dist: LockedDistribution, asked: Iterable[str], tools: Iterable[BuildTool]) -> MachineError:
    """Return the error for a build that asks for what the lock does not name."""
    used = ", ".join(f"{tool.name} {tool.version}" for tool in tools) or "nothing"
    return MachineError(
        f"the build of {dist.name} {dist.version} asks for {', '.join(sorted(asked))}, and the lock says "
        f"that it used {used}",
        hint="make the lock anew: envbundle lock",
    )


def _run(
    source: _Source,
    tools: Path,
    *,
    goal: Goal,
    context: FetchContext,
    folder: Path,
    variables: Mapping[str, str],
    timeout: float,
    on_wait: Callable[[float], None],
) -> None:
    pip, environment = context.pip, context.environment()
    pip.ready()
    made, temporary = folder / "made", folder / "tmp"
    for one in (made, temporary):
        shutil.rmtree(one, ignore_errors=True)
        one.mkdir()

    def command(place: str, links: str, out: str) -> list[str]:
        words = [str(environment.python), "-I", str(pip.folder / "pip"), *goal.pip]
        words += [f"{out}/{goal.file}".rstrip("/"), "--no-deps", "--no-cache-dir", "--use-pep517"]
        return [*words, "--no-index", "--find-links", links, source.argument(place)]

    seen = {"/links": tools, str(environment.prefix): environment.prefix, str(pip.folder): pip.folder}
    seen |= room.interpreter_at_home(context.interpreter)
    written = {"/made": made, "/tmp": temporary}  # noqa: S108 - of the room
    (written if source.writable else seen)[source.there] = source.here
    watch = DiskWatch(folder, mebibytes=context.build_disk, on_wait=on_wait)
    done = room.run(
        room.Room(
            show=seen,
            write=written,
            cover=[context.store.root],
            network=context.build_network,
            limits=context.limits,
            largest=context.build_disk << 20,
        ),
        command(source.there, "/links", "/made"),
        in_place=command(str(source.here), str(tools), str(made)),
        scratch=folder,
        extra={**pip.variables_without_index(pose=False), **variables},
        timeout=timeout,
        on_wait=watch,
    )
    watch.look()
    if lacking := _ISOLATED - set(done.isolation):
        context.progress.note(f"the machine refuses what isolates a build: {', '.join(sorted(lacking))}")


def _made(folder: Path, goal: Goal, made_for: Target) -> Path:
    """Return what a build made: one file of its own, and no wheel that `pip install` would refuse.

    :raises MachineError: it made something else.
    """
    found = sorted(folder.glob(goal.file or "*.whl"))
    if len(found) != 1 or not stat.S_ISREG(found[0].lstat().st_mode):
        what = goal.file or "wheel"
        raise MachineError(f"the build did not make one {what}", hint="pin a version that has a wheel")
    if not goal.file and not target.supports(made_for, found[0].name):
        raise MachineError(
            f"the build made {found[0].name}, which the target does not accept",
            hint="pin a version that has a wheel",
        )
    return found[0]


def _links(wheels: Iterable[Path], *, folder: Path) -> Path:
    """Copy what a build uses into a folder for --find-links, and return it."""
    links = folder / "links"
    shutil.rmtree(links, ignore_errors=True)
    links.mkdir()
    for wheel in wheels:
        shutil.copyfile(wheel, links / wheel.name)
    return links


def _source(
    dist: LockedDistribution,
    file: Path | None,
    *,
    context: FetchContext,
    folder: Path,
    git: Mapping[str, str],
    on_wait: Callable[[float], None],
) -> _Source:
    """Return what pip is to build: an sdist, or a copy of a repository or a project."""
    artifact = dist.artifact
    below = artifact.subdirectory or ""
    if file is not None and file.is_file():
        return _Source(here=file, there=f"/source/{file.name}", subdirectory=below)
    project = folder / "project"
    if file is not None:
        shutil.copytree(file, project, symlinks=True)
    elif artifact.kind == "vcs":
        env = process.clean_environment(home=folder, **{**context.pip.variables, **git, **_QUIET})
        run = functools.partial(process.run, env=env, timeout=context.build_timeout, on_wait=on_wait)
        _clone(artifact.url or "", artifact.commit or "", project, run=run)
    else:
        shutil.copytree(
            artifact.path or "", project, symlinks=True, ignore=project_files.left_out(context.store.root)
        )
    return _Source(here=project, there="/source/project", subdirectory=below, writable=True)


def _clone(url: str, commit: str, project: Path, *, run: Callable[..., process.Completed]) -> None:
    """Bring a commit of a repository into a folder; nothing of it runs."""
    tool, _, address = url.partition("+")
    if tool != "git":
        raise InputError(f"{url}: only repositories of git are built", hint="name a release, or a folder")
    run(["git", "clone", "--quiet", "--no-checkout", address, project])
    run(["git", "checkout", "--quiet", "--detach", commit], cwd=project)
    run(["git", "submodule", "update", "--init", "--recursive", "--quiet"], cwd=project)


def _requires(source: _Source) -> tuple[str, ...]:
    """Return what a source's pyproject.toml requires for its build."""
    try:
        parsed = toml_text.loads(_pyproject(source).decode())
    except (ValueError, RecursionError):
        return ()  # pip says what is wrong with it
    system = parsed.get("build-system")
    requires = system.get("requires") if isinstance(system, dict) else None
    if not isinstance(requires, list):
        return LEGACY
    found = _valid(one for one in requires if isinstance(one, str))
    return tuple(sorted(found | ({"wheel"} if "build-backend" not in (system or {}) else set())))


def _valid(texts: Iterable[str]) -> set[str]:
    """Return the requirements among texts; those of files of this machine are none."""
    found = set()
    for text in texts:
        with contextlib.suppress(InvalidRequirement):
            requirement = pep508.requirement(text)
            if not (requirement.url or "https:").startswith(("file:", "/", ".")):
                found.add(str(requirement))
    return found


def _pyproject(source: _Source) -> bytes:
    """Return a source's pyproject.toml; empty where it has none."""
    if not source.writable:
        return sdist_file.pyproject(source.here, source.subdirectory)
    path = source.here / source.subdirectory / "pyproject.toml"
    try:
        return bounded.read_regular(str(path), sdist_file.LARGEST)
    except (OSError, bounded.TooLargeError):
        return b""  # pip says what is wrong with it
