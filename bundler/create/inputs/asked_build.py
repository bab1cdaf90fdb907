"""Asks the build of a project what its pyproject.toml leaves to it: what is `dynamic`, or all (PEP 621, 517).

The build runs with the target's Python in a room, as that of an sdist does, since its code is nobody's: only
its metadata is asked for (PEP 517). Nothing of the project is installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Pep508
from packaging.utils import canonicalize_name

from bundler.create import requirements
from bundler.create.fetch import build, build_room
from bundler.create.fetch.context import FetchContext
from bundler.create.inputs import pyproject
from bundler.errors import InputError
from bundler.model import Artifact, Learned, LockedDistribution, Note, Project, Requirement, Requirements
from bundler.system import pep508
from bundler.targets import target


def complete(wanted: Requirements, context: FetchContext) -> Requirements:
    """Return requirements with all that their projects require; what was found out of them is told.

    :raises InputError: a build is needed and refused, or a project has no such extra.
    :raises MachineError: a build failed.
    """
    for project in wanted.projects:
        pythons, name = project.requires_python, project.name
        found, told = tuple[Requirement, ...](), list[Note]()
        if project.dynamic:
            learned = _asked(project, context)
            found = tuple(_required(learned, project, context))
            name, pythons = learned.name, learned.requires_python or pythons
            told += [] if project.name else [pyproject.not_installed(name)]
        if not target.permits(pythons, context.target.python_version):
            text = f"requires Python {pythons}, and the bundle is for {context.target.python_version}"
            told.append(Note(subject=name, text=text))
        for note in told:
            context.progress.note(f"input: {note}")
        wanted = replace(wanted, requirements=(*wanted.requirements, *found), told=(*wanted.told, *told))
    if not wanted.requirements:
        names = ", ".join(project.origin for project in wanted.projects)
        raise InputError(
            f"nothing is required: the build of {names} names no requirement",
            hint="add what is to be bundled",
        )
    return replace(wanted, projects=())


def _asked(project: Project, context: FetchContext) -> Learned:
    """Return what the build of a project says."""
    if context.no_build:
        raise InputError(
            f"{project.origin}: its {' and '.join(project.dynamic)} are dynamic: only the project's build "
            "knows them, and --no-build refuses builds",
            hint="leave --no-build out, or write what it requires into a requirements.txt",
        )
    artifact = Artifact(kind="directory", filename="", url=None, path=str(project.folder))
    name = canonicalize_name(project.name)
    dist = LockedDistribution(name=name, version="", artifact=artifact, source="local")
    with context.progress.stage("metadata") as stage:
        learned = build.learn(dist, None, context, goal=build_room.PROJECT_METADATA)
        stage.result = f"the build of {learned.name} was asked what it requires"
    return learned


def _required(learned: Learned, project: Project, context: FetchContext) -> Iterator[Requirement]:
    """Yield what a project requires for the target; one that names the project stands for its extras."""
    listed = _listed(learned, project)
    offered = set(map(canonicalize_name, learned.extras))
    base = [one for one in listed if _holds(one, "", context)]
    if "dependencies" in project.dynamic:
        yield from _parsed(base, project)
    waiting = [*project.extras] if "optional-dependencies" in project.dynamic else []
    seen = set[str]()
    while waiting:
        extra = canonicalize_name(waiting.pop(0))
        if extra in seen:
            continue
        seen.add(extra)
        if extra not in offered:
            raise InputError(f"{project.origin} has no extra {extra!r}", hint=pyproject.offer(offered))
        more = [one for one in listed if one not in base and _holds(one, extra, context)]
        within = [one for one in more if canonicalize_name(one.name) == learned.name and not one.url]
        waiting += [name for one in within for name in sorted(one.extras)]
        yield from _parsed([one for one in more if one not in within], project)


def _listed(learned: Learned, project: Project) -> list[Pep508]:
    """Return the lines of Requires-Dist."""
    try:
        return [pep508.requirement(text) for text in learned.requires]
    except InvalidRequirement as error:
        raise InputError(
            f"{project.origin}: its build requires what is no requirement: {str(error).splitlines()[0]}",
            hint="mend what the build says",
        ) from error


def _holds(one: Pep508, extra: str, context: FetchContext) -> bool:
    """Tell whether a requirement is meant for the target, with an extra."""
    return one.marker is None or one.marker.evaluate({**context.target.markers, "extra": extra})


def _parsed(found: Sequence[Pep508], project: Project) -> Iterator[Requirement]:
    """Yield requirements without their markers, which hold."""
    for one in found:
        bare = pep508.requirement(str(one))
        bare.marker = None
        origin = f"{project.origin}: its build"
        yield requirements.parse(str(bare), origin=origin, folder=project.folder)
