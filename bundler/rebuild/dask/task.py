"""What is sent to a worker: a job and the files that it reads; and how a worker must be like this machine."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import bundler
from bundler.create import inputs, requirements
from bundler.errors import EnvbundleError, InputError
from bundler.lazy_dataclass import dataclass
from bundler.model import IndexSettings, Requirements
from bundler.rebuild.plan import Job
from bundler.targets import interpreters
from bundler.wheels.store import Store

if TYPE_CHECKING:
    from bundler.rebuild.job import Options

_NOWHERE = Path("nowhere")


@dataclass(frozen=True, kw_only=True)
class Task:
    """A job for a worker; picklable."""

    job: Job
    """Without a path of the client's."""
    options: Options
    output: str
    """URL below which the builds stand."""
    key: str
    """Of the task, for the scheduler."""
    lock: tuple[str, bytes] | None = None
    """Name and content of the job's lock."""
    image: tuple[str, bytes] | None = None
    """Name and content of the profile of an image that is not of the catalogue."""
    builds: tuple[str, ...] = ()
    """Constraints of what builds from source use."""
    deaths: int = 0
    """How many workers have died at it, under other keys."""

    def __repr__(self) -> str:
        """Return the name alone: workers log the arguments of a task, and a URL in it can have a password."""
        return f"<Task {self.job.name}>"


def pack(job: Job, *, options: Options, output: str, key: str, environ: Mapping[str, str]) -> Task:
    """Read the files that a job names on this machine.

    :param environ: where `${X}` of requirements files is looked up.
    :raises InputError: a file cannot be read, or names another one that only this machine has.
    """
    request = job.request
    wanted: Requirements | None = None
    if request.lock_file is None:
        wanted = inputs.read(request, environ)
        _require_reachable(wanted)
    _require_no_folders(request.index, where=job.place)
    profile = Path(request.image) if request.image and request.image.endswith(".json") else None
    request = replace(
        request,
        requirement_files=(),
        constraint_files=(),
        build_constraint_files=(),
        arguments=(),
        from_env=None,
        extras=(),
        groups=(),
        wanted=wanted,
        lock_file=None,
        image=None if profile else request.image,
        cache_dir=_NOWHERE,
        output=_NOWHERE,
    )
    return Task(
        job=replace(job, request=request, folder=_NOWHERE),
        options=replace(options, publish=None),
        output=output,
        key=key,
        lock=_content(job.request.lock_file),
        image=_content(profile),
        builds=requirements.read_constraints(job.request.build_constraint_files, environ=environ),
    )


def _content(path: Path | None) -> tuple[str, bytes] | None:
    if path is None:
        return None
    try:
        return path.name, path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", hint="check the path") from error


def _require_reachable(wanted: Requirements) -> None:
    """Refuse requirements on this machine's disk: the workers share none with it."""
    for project in wanted.projects:
        if project.dynamic:
            raise InputError(
                f"{project.origin}: only its build knows its {' and '.join(project.dynamic)}, and no worker "
                "has the project",
                hint="lock it here: envbundle lock, and name the lock in its place",
            )
    for one in (*wanted.requirements, *wanted.constraints):
        if "file:" in one.text:
            raise InputError(
                f"{one.origin}: {requirements.public(one)} stands on this machine's disk, where no worker is",
                hint="put its wheel on an index, or name its repository (git+https://…)",
            )
    _require_no_folders(wanted.index, where="the requirements files")


def _require_no_folders(index: IndexSettings, *, where: str) -> None:
    for link in index.find_links:
        if "://" not in link or link.startswith("file:"):
            raise InputError(
                f"{where}: find-links {link} is a folder of this machine, which workers do not have",
                hint="serve it over http, or put the wheels on an index",
            )


def unpack(task: Task, *, folder: Path, cache: Path) -> Job:
    """Return the job of a task, with paths of this machine.

    :param folder: empty, for what the job reads.
    :param cache: of this worker.
    """
    request = task.job.request
    lock = folder / task.lock[0] if task.lock else None
    image = folder / "images" / task.image[0] if task.image else None
    for path, content in ((lock, task.lock), (image, task.image)):
        if path is not None and content is not None:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content[1])
    builds = folder / "build-constraints.txt"
    builds.write_text("".join(f"{line}\n" for line in task.builds), encoding="utf-8")
    return replace(
        task.job,
        folder=folder,
        request=replace(
            request,
            lock_file=lock,
            build_constraint_files=(builds,),
            image=str(image) if image else request.image,
            cache_dir=cache,
            output=folder / "current",
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine that makes bundles, as far as their bytes depend on it."""

    tool: str
    """Version of envbundle."""
    python: str
    """Of the Python that runs it: `3.11`."""
    machine: str
    """`x86_64`."""
    targets: tuple[tuple[str, str], ...]
    """What was asked for (`3.8`), and the full version that is installed; empty: it would be downloaded."""


def describe(pythons: Iterable[str], *, cache: Path, environ: Mapping[str, str]) -> Machine:
    """Describe this machine.

    :param pythons: what the jobs ask for, `3.8` or `3.8.18`.
    """
    store = Store(cache)
    targets = []
    for python in sorted(set(pythons)):
        try:
            found = interpreters.find(
                python,
                cache_dir=store.probes,
                managed_dir=store.python,
                allow_download=False,
                announce=lambda _: None,
                environ=environ,
            ).version
        except EnvbundleError:
            found = ""
        targets.append((python, found))
    return Machine(
        tool=bundler.__version__,
        python=f"{sys.version_info[0]}.{sys.version_info[1]}",
        machine=platform.machine(),
        targets=tuple(targets),
    )


def differences(here: Machine, there: Machine, *, downloads: bool) -> tuple[str, ...]:
    """Return the differences of a worker from the client that would change its bundles.

    :param downloads: an interpreter that is missing may be downloaded.
    """
    found = []
    if here.tool != there.tool:
        found.append(f"envbundle {there.tool}, here {here.tool}")
    if here.python != there.python:
        found.append(f"runs on Python {there.python}, here {here.python}")
    if here.machine != there.machine:
        found.append(f"is {there.machine}, here {here.machine}")
    ours = dict(here.targets)
    for asked, version in there.targets:
        if not version and not downloads:
            found.append(f"has no Python {asked}")
        elif version and ours.get(asked) and version != ours[asked]:
            found.append(f"has Python {version} for {asked}, here {ours[asked]}")
    return tuple(found)
