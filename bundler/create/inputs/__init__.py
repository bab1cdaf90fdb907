"""The one door from what people have to what is asked for: requirements, constraints, and what to tell them.

Each kind of input has a module here; requirements files are read by `bundler.create.requirements`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bundler.create import requirements
from bundler.create.inputs import environment_place, installed_environment, misspelt, named_folders

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bundler.create.request import LockRequest
    from bundler.model import Requirements

__all__ = ["python_of", "read"]


def read(request: LockRequest, environ: Mapping[str, str]) -> Requirements:
    """Read what a request without a lock asks for.

    A distribution that is named by itself is taken as it is named, whatever the environment has.

    :param environ: where `${X}` of requirements files is looked up; its PYTHONPATH is told of.
    :raises InputError: an input cannot be read, or says what cannot be done; names it.
    """
    start = requirements.NOTHING
    if request.from_env is not None:
        start = installed_environment.read(request.from_env, environ=environ)
    taken = named_folders.take(request.arguments)
    found = requirements.read(
        files=request.requirement_files,
        constraints=request.constraint_files,
        arguments=taken.arguments,
        start=start,
        environ=environ,
    )
    links = (*found.index.find_links, *taken.find_links)
    named = {one.name for one in found.requirements[len(start.requirements) :]}
    kept = tuple(one for one in start.requirements if one.name not in named)
    held = tuple(one for one in start.constraints if one.name not in named)
    return replace(
        found,
        index=replace(found.index, find_links=links),
        told=(
            *found.told,
            *taken.told,
            *named_folders.doubtful(found.requirements),
            *misspelt.modules(found.requirements),
        ),
        requirements=(*kept, *found.requirements[len(start.requirements) :]),
        constraints=(*held, *found.constraints[len(start.constraints) :]),
    )


def python_of(*, environment: Path | None, environ: Mapping[str, str]) -> str | None:
    """Return the Python that an input names, `3.8`; `None`: none does.

    :raises InputError: it is no environment.
    """
    return environment_place.find(environment, environ).minor if environment else None
