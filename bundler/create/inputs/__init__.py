"""The one door from what people have to what is asked for: requirements, constraints, and what to tell them.

Each kind of input has a module here; requirements files are read by `bundler.create.requirements`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bundler.create import requirements
from bundler.create.inputs import (
    conda_file,
    environment_place,
    misspelt,
    named_folders,
    pipfile_lock,
    pyproject,
    tool_locks,
)
from bundler.errors import InputError
from bundler.system import index_settings
from bundler.targets import interpreters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bundler.create.request import LockRequest
    from bundler.model import Requirements

__all__ = ["may_name_python", "python_of", "read", "refuse_tool_lock"]

refuse_tool_lock = tool_locks.refuse


def read(request: LockRequest, environ: Mapping[str, str]) -> Requirements:
    """Read what a request without a lock asks for.

    A distribution that is named by itself is taken as it is named, whatever the environment has.

    :param environ: where `${X}` of requirements files is looked up; its PYTHONPATH is told of.
    :raises InputError: an input cannot be read, or says what cannot be done; names it.
    """
    held = requirements.NOTHING
    if request.from_env is not None:
        from bundler.create.inputs import installed_environment  # noqa: PLC0415 - it brings the checks: 15 ms

        held = installed_environment.read(request.from_env, environ=environ)
    start, plain = _files(request, held, environ)
    taken = named_folders.take(request.arguments)
    found = requirements.read(
        files=plain,
        constraints=request.constraint_files,
        arguments=taken.arguments,
        start=start,
        named=request.requirement_files,
        environ=environ,
    )
    asked = found.requirements[len(held.requirements) :]
    limits = found.constraints[len(held.constraints) :]
    named = {one.name for one in asked}
    return replace(
        found,
        closed_by=found.closed_by if _is_alone(request) else "",
        index=replace(found.index, find_links=(*found.index.find_links, *taken.find_links)),
        told=(*found.told, *taken.told, *named_folders.doubtful(asked), *misspelt.modules(asked)),
        requirements=(*(one for one in held.requirements if one.name not in named), *asked),
        constraints=(*(one for one in held.constraints if one.name not in named), *limits),
    )


def _is_alone(request: LockRequest) -> bool:
    """Tell whether one input alone says what is asked for, so that a lock decides all of it."""
    return len(request.requirement_files) == 1 and not request.arguments and request.from_env is None


def _files(
    request: LockRequest, start: Requirements, environ: Mapping[str, str]
) -> tuple[Requirements, list[Path]]:
    """Read those requirements files that have a form of their own; return what they ask, and the others."""
    plain = []
    extras, groups = request.extras, request.groups
    if (extras or groups) and not any(map(_is_project, request.requirement_files)):
        raise InputError(
            "--extra and --group are about a project, and none is named",
            hint="add -r pyproject.toml, or the lock of its tool",
        )
    for path in request.requirement_files:
        if _is_described(path):
            start = _joined(start, pyproject.read(path, extras=extras, groups=groups))
        elif tool_locks.is_tool_lock(path):
            start = _joined(start, tool_locks.read(path, extras=extras, groups=groups, environ=environ))
        elif conda_file.is_conda_file(path):
            start = _joined(start, conda_file.read(path, environ=environ))
        else:
            plain.append(path)
    return start, plain


def _is_project(path: Path) -> bool:
    return _is_described(path) or tool_locks.is_tool_lock(path)


def _is_described(path: Path) -> bool:
    """Tell whether a file is a project's own, by which it is built."""
    return path.name in {pyproject.NAME, *pyproject.LEGACY}


def _joined(first: Requirements, second: Requirements) -> Requirements:
    """Put a second input behind a first one; the index options of the second win."""
    return replace(
        second,
        requirements=(*first.requirements, *second.requirements),
        constraints=(*first.constraints, *second.constraints),
        told=(*first.told, *second.told),
        notes=(*first.notes, *second.notes),
        projects=(*first.projects, *second.projects),
        index=index_settings.merge(first.index, second.index),
    )


def may_name_python(path: Path) -> bool:
    """Tell by its name whether a file is of a form that can name its Python."""
    return conda_file.is_conda_file(path) or path.name == "Pipfile.lock"


def python_of(*, environment: Path | None, files: Sequence[Path], environ: Mapping[str, str]) -> str | None:
    """Return the Python that an input names, `3.8`; `None`: none does.

    :raises InputError: it is no environment, or no environment file, or names a Python that is too old.
    """
    if environment is not None:
        return environment_place.find(environment, environ).minor
    for path in files:
        if conda_file.is_conda_file(path):
            named = conda_file.python_of(path)
        else:
            named = pipfile_lock.python_of(path) if path.name == "Pipfile.lock" else None
        if named and tuple(map(int, named.split("."))) < interpreters.OLDEST:
            oldest = ".".join(map(str, interpreters.OLDEST))
            raise InputError(
                f"{path} names Python {named}, and envbundle builds for {oldest} and later",
                hint="add the --python that the service runs on",
            )
        if named:
            return named
    return None
