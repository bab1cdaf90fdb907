"""The stage `resolve` for an image: the versions must suit the inference server that the image runs."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

from bundler.create import fetch
from bundler.errors import InputError
from bundler.model import Lock, Requirements
from bundler.targets import fit

if TYPE_CHECKING:
    from bundler.create.prepare import Prepared
    from bundler.create.resolve import Resolution
    from bundler.targets.image import Demand


def resolve(prepared: Prepared, wanted: Requirements) -> Resolution:
    """Resolve to versions with which the image's server works, where an image is named and its server known.

    What the server requires are constraints of the resolution: they add no distribution.

    :raises InputError: nothing can satisfy the requirements, or not together with the server (both chains).
    :raises MachineError: the index is out of reach, or a build that resolution needs failed.
    """
    demands = _demands(prepared)
    # Where every version is pinned with its hash there is nothing to choose.
    given = () if wanted.require_hashes else fit.constraints(demands, wanted)
    try:
        resolution = _resolve(prepared, replace(wanted, constraints=(*wanted.constraints, *given)))
    except InputError:
        if not given:
            raise
        # If this fails as well, the server has nothing to do with it.
        resolution = _resolve(prepared, wanted)
    _refuse_unfit(prepared, resolution.lock, demands)
    return replace(resolution, lock=fit.without_unused(resolution.lock, given))


def _resolve(prepared: Prepared, wanted: Requirements) -> Resolution:
    from bundler.create import resolve as resolvers  # noqa: PLC0415 - a lock needs none of it

    request = prepared.request
    asked = resolvers.ResolveRequest(
        requirements=wanted,
        target=prepared.target,
        interpreter=prepared.interpreter,
        settings=prepared.settings,
        variables=dict(prepared.pip.variables),
        scratch=prepared.scratch,
        uv_cache=prepared.store.uv,
        learn=functools.partial(fetch.learn, context=prepared),
        exclude_newer=request.exclude_newer,
        patience=request.patience,
        no_build=request.no_build,
        dependencies=request.lock_file is None,
        store=prepared.store,
        refresh=request.refresh,
        asked_since=request.asked_since,
        announce=prepared.progress.note,
        began=prepared.progress.begin,
        ended=prepared.progress.end,
        on_request=prepared.prefetcher.page_requested,
        on_selection=prepared.prefetcher.selected,
        for_other_pythons=prepared.prefetcher.for_other_pythons,
    )
    return resolvers.resolve(asked, resolver=request.resolver, pip=prepared.pip)


def _demands(prepared: Prepared) -> tuple[Demand, ...]:
    """Return what the image's server requires, where that is known and the caller wants it to count."""
    image = prepared.image
    if image is None or not prepared.request.fit:
        return ()
    if image.server and image.server.version is None:
        prepared.progress.note(
            f"nobody says which {image.server.name} the image {image.name} has, so nothing is fitted to it: "
            "probe the image, or add --server VERSION"
        )
    return fit.server_demands(image, prepared.target.markers)


def require_fit(prepared: Prepared, lock: Lock) -> None:
    """Refuse a lock with which the image's server does not work.

    :raises InputError: with both chains.
    """
    _refuse_unfit(prepared, lock, _demands(prepared))


def _refuse_unfit(prepared: Prepared, lock: Lock, demands: tuple[Demand, ...]) -> None:
    found = fit.breaks(lock, demands)
    if found and prepared.image:
        raise fit.unfit(lock, found, image=prepared.image, wanted=prepared.requirements)
