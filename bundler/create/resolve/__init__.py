"""Resolves requirements to a lock for one target: uv by default, the target's own pip as the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.create.resolve import reference_pip, uv
from bundler.create.resolve.resolution import Resolution, ResolveRequest
from bundler.errors import InputError

if TYPE_CHECKING:
    from bundler.create.target_pip import Pip
    from bundler.model import Resolver

__all__ = ["Resolution", "ResolveRequest", "resolve"]


def resolve(request: ResolveRequest, *, resolver: Resolver, pip: Pip) -> Resolution:
    """Resolve to one file for every distribution.

    :param request: requirements, target, index settings and options.
    :param pip: the pip that drives the target; decides also where uv's answer leaves a
        distribution without a file that the target accepts (uv does not know every manylinux tag).
    :raises InputError: nothing can satisfy the requirements, or they are wrong.
    :raises MachineError: the index is out of reach, or a build that resolution needs failed.
    """
    if resolver == "pip":
        return reference_pip.resolve(request, pip=pip)
    resolution = uv.resolve(request)
    if resolution.unfit and request.exclude_newer:
        raise InputError(
            f"no file of {', '.join(resolution.unfit)} fits the target (glibc "
            f"{request.target.glibc[0]}.{request.target.glibc[1]})",
            hint="pin an older version, or raise --glibc if the image really has a newer one",
        )
    return reference_pip.resolve(request, pip=pip) if resolution.unfit else resolution
