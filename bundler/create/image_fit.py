"""The stage `resolve` beside an image: the versions must suit what the image goes on using."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bundler.errors import InputError
from bundler.targets import fit

if TYPE_CHECKING:
    from bundler.create.resolve import Resolution
    from bundler.create.site import Site
    from bundler.model import Lock, Requirements
    from bundler.targets.image import Demand


def resolve(site: Site, wanted: Requirements) -> Resolution:
    """Resolve to versions with which the image's server can live, where one is named and known.

    What the server asks for are constraints of the resolution: they bring nothing in.

    :raises InputError: nothing can satisfy the requirements, or not together with the server (both chains).
    :raises MachineError: the index is out of reach, or a build that resolution needs failed.
    """
    demands = _demands(site)
    # Where every version is pinned with its hash there is nothing to choose.
    given = () if wanted.require_hashes else fit.constraints(demands, wanted)
    try:
        resolution = _ask(site, replace(wanted, constraints=(*wanted.constraints, *given)))
    except InputError:
        if not given:
            raise
        # If this fails as well, the server has nothing to do with it.
        resolution = _ask(site, wanted)
    _refuse_unfit(site, resolution.lock, demands)
    return replace(resolution, lock=fit.without_unused(resolution.lock, given))


def _ask(site: Site, wanted: Requirements) -> Resolution:
    from bundler.create import resolve as resolver  # noqa: PLC0415 - a lock needs none of it

    request = site.request
    question = resolver.Question(
        requirements=wanted,
        target=site.target,
        interpreter=site.interpreter,
        settings=site.settings,
        variables=dict(site.pip.variables),
        watch=site.ahead.look if site.ahead else None,
        scratch=site.scratch,
        uv_cache=site.store.uv,
        exclude_newer=request.exclude_newer,
        no_build=request.no_build,
        dependencies=request.lock_file is None,
        store=site.store,
        afresh=request.refresh,
    )
    return resolver.resolve(question, resolver=request.resolver, pip=site.pip)


def _demands(site: Site) -> tuple[Demand, ...]:
    """What the image's server asks for, where that counts and is known."""
    image = site.image
    if image is None or not site.request.fit:
        return ()
    if image.server and image.server.version is None:
        site.progress.note(
            f"nobody says which {image.server.name} the image {image.name} has, so nothing is fitted to it: "
            "probe the image, or add --server VERSION"
        )
    return fit.server_demands(image, site.target.markers)


def require_fit(site: Site, lock: Lock) -> None:
    """Refuse a lock with which the image's server cannot live.

    :raises InputError: with both chains.
    """
    _refuse_unfit(site, lock, _demands(site))


def _refuse_unfit(site: Site, lock: Lock, demands: tuple[Demand, ...]) -> None:
    found = fit.breaks(lock, demands)
    if found and site.image:
        raise fit.unfit(lock, found, image=site.image, wanted=site.wanted)
