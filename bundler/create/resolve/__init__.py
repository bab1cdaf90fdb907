"""Resolves requirements to a lock for one target: uv by default, the target's own pip as the reference.

pip decides where uv cannot: uv does not know every manylinux tag, overlooks upper bounds and exclusions in
Requires-Python, and refuses metadata that pip can read. uv has no `--prefer-binary` either: it is asked again
with `--only-binary` for those of which only an older version has a wheel.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace

from bundler.create.resolve import reference_pip, uv
from bundler.create.resolve.resolution import Resolution, ResolveRequest, UnsatisfiedError
from bundler.create.target_pip import Pip
from bundler.errors import EnvbundleError, InputError
from bundler.model import IndexSettings, Resolver

__all__ = ["Resolution", "ResolveRequest", "UnsatisfiedError", "resolve"]

PATIENCE = 900.0
"""Seconds that pip gets where uv has refused already: it can search for hours."""
_UNPARSED = re.compile(r"has invalid metadata|could not be parsed")
"""What uv says of metadata that pip may read (pandas 0.23.4: `pytz (>=2011k)`)."""


def resolve(request: ResolveRequest, *, resolver: Resolver, pip: Pip) -> Resolution:
    """Resolve to one file for every distribution.

    :param request: requirements, target, index settings and options.
    :param pip: the pip that drives the target; it is asked as well where uv finds nothing, or chooses a file
        that does not fit the target.
    :raises InputError: nothing can satisfy the requirements, or they are wrong.
    :raises MachineError: the index is out of reach, a build that resolution needs failed, or the resolver
        crashed.
    """
    resolution = _resolve(request, resolver, pip)
    # In a run of many bundles nothing is asked again where the pages are as they were.
    unasked = resolution.cached and request.asked_since is not None
    if _looks_at_several(request.settings) and not unasked:
        from bundler.create.resolve import foreign_page  # noqa: PLC0415 - it brings requests: 40 ms

        for sentence in foreign_page.passed_over(request, resolution.lock):
            request.announce(sentence)
    return resolution


def _looks_at_several(settings: IndexSettings) -> bool:
    """Tell whether files are looked for in several places, and a named one of them is a server's."""
    named = () if settings.no_index else (settings.index_url or "", *settings.extra_index_urls)
    places = (*named, *settings.find_links)
    return len(places) > 1 and any(place.startswith(("https://", "http://")) for place in places)


def _resolve(request: ResolveRequest, resolver: Resolver, pip: Pip) -> Resolution:
    if resolver == "pip":
        try:
            return reference_pip.resolve(request, pip=pip, timeout=request.patience)
        except UnsatisfiedError as refused:
            _require_index(request, refused)
            raise
    if request.requirements.prefer_binary:
        return _of_wheels(request, (":all:",)) or _with_wheels(_by_uv(request, pip), request)
    return _by_uv(request, pip)


def _of_wheels(request: ResolveRequest, names: tuple[str, ...]) -> Resolution | None:
    """Resolve with uv to wheels alone of some distributions; `None`: there is nothing that fits."""
    wanted = request.requirements
    wanted = replace(wanted, only_binary=(*wanted.only_binary, *names))
    try:
        resolution = uv.resolve(replace(request, requirements=wanted))
    except UnsatisfiedError:
        return None
    return None if resolution.unfit else resolution


def _with_wheels(resolution: Resolution, request: ResolveRequest) -> Resolution:
    """Return a resolution with older versions that have a wheel, where they can be had.

    As with pip's `--prefer-binary`, what nothing else satisfies is built all the same.

    :param resolution: in which something is to be built.
    """
    from bundler.create.releases import older_wheels  # noqa: PLC0415 - it brings requests: 40 ms

    tried, taken = set[str](), tuple[str, ...]()
    while True:
        older = older_wheels(
            resolution.lock.distributions,
            settings=request.settings,
            target=request.target,
            wanted=request.requirements,
        )
        name = next((one.built.name for one in older if one.permitted and one.built.name not in tried), None)
        if name is None:
            return resolution
        tried.add(name)
        if found := _of_wheels(request, (*taken, name)):
            resolution, taken = found, (*taken, name)


def _by_uv(request: ResolveRequest, pip: Pip) -> Resolution:
    """Resolve with uv, and with pip where uv finds nothing or chooses what does not fit.

    :raises InputError: nothing can satisfy the requirements.
    """
    try:
        resolution = uv.resolve(request)
    except UnsatisfiedError as refused:
        _require_index(request, refused)
        if refused.certain or request.exclude_newer:
            raise
        return _second_opinion(request, pip, refused)
    if resolution.unfit and request.exclude_newer:
        raise InputError(
            f"no file of {', '.join(resolution.unfit)} fits the target (glibc "
            f"{request.target.glibc[0]}.{request.target.glibc[1]}) on Python {request.target.python_version}",
            hint="pin an older version, or raise --glibc if the image really has a newer one",
        )
    if not resolution.unfit:
        return resolution
    named = ", ".join(resolution.unfit)
    request.announce(f"uv chooses files of {named} that do not fit the target: asking pip {pip.version}")
    return reference_pip.resolve(request, pip=pip)


def _require_index(request: ResolveRequest, refused: UnsatisfiedError) -> None:
    from bundler.create.resolve import foreign_page  # noqa: PLC0415 - it brings requests: 40 ms

    foreign_page.require_index(request, refused)


def _second_opinion(request: ResolveRequest, pip: Pip, refused: UnsatisfiedError) -> Resolution:
    """Ask pip where uv found nothing.

    :raises UnsatisfiedError: pip finds nothing either; it is uv's explanation, which is the better one.
    :raises InputError: what pip ended with, or `MachineError`, where uv only cannot parse what pip can: what
        does not build then is the reason, and no requirement that uv names.
    """
    request.announce(f"uv finds nothing that satisfies the requirements: asking pip {pip.version} as well")
    began = time.monotonic()
    try:
        resolution = reference_pip.resolve(request, pip=pip, timeout=PATIENCE)
    except EnvbundleError as error:
        request.announce(f"pip {pip.version} finds nothing either, {time.monotonic() - began:.0f} s")
        if _UNPARSED.search(refused.message):
            raise
        raise refused from error
    request.announce(f"pip {pip.version} finds a solution, {time.monotonic() - began:.0f} s")
    return resolution
