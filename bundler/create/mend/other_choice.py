"""Asks pip once where uv's choice between what was asked for is not proved.

Where the newest versions of two requirements exclude each other there is more than one way out: the newest
mlflow with an azure-ai-ml of last year, or the newest azure-ai-ml with an older mlflow. uv and pip choose
differently, and an old release that requires too little (marshmallow 4 has gone past it) is often what allows
the newest of the others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.version import Version

from bundler.create.mend.cures import is_fixed
from bundler.create.mend.failure import defects, others
from bundler.create.mend.observed import Observed
from bundler.errors import EnvbundleError, ProofError
from bundler.system.progress import Progress

if TYPE_CHECKING:
    from bundler.create.request import CreateRequest, LockRequest, Resolved

PATIENCE = 300.0
"""Seconds that pip gets; a resolution that takes longer is given up."""


def of_pip(
    request: CreateRequest,
    error: EnvbundleError,
    observed: Observed,
    *,
    resolve: Callable[[LockRequest], Resolved],
    progress: Progress,
) -> Resolved | None:
    """Return what pip resolves the requirements to; `None`: nothing else than uv, or it is not asked.

    It is asked where versions cause all that is wrong, and uv took an older version of something that was
    asked for than the caller and the target permit.

    :param error: what the run with uv's versions ended with.
    :param observed: how far that run came.
    """
    if request.resolver != "uv" or request.exclude_newer or not isinstance(error, ProofError):
        return None
    found = defects(error, observed)
    if not found or others(error, observed) or any(one.kind != "import" for one in found):
        return None
    older = held_back(observed)
    if not older:
        return None
    progress.note(f"not proved with the {', '.join(older)} that uv has chosen: asking pip as well")
    try:
        other = resolve(replace(request, resolver="pip", patience=PATIENCE))
    except EnvbundleError as refused:
        progress.note(f"pip has no other versions: {refused.message.splitlines()[0]}")
        return None
    versions = {dist.name: dist.version for dist in other.lock.distributions}
    return other if versions != observed.versions else None


def held_back(observed: Observed) -> tuple[str, ...]:
    """Return what was asked for and is in the lock in an older version than caller and target permit."""
    from bundler.create.releases import Releases, is_permitted  # noqa: PLC0415 - it brings requests: 40 ms

    wanted, versions = observed.requirements, observed.versions
    if wanted is None or observed.target is None or observed.settings is None:
        return ()
    names = [one.name for one in wanted.requirements if one.name in versions and not is_fixed(one)]
    releases = Releases(settings=observed.settings, target=observed.target)
    releases.read_ahead(names)
    return tuple(
        f"{name} {versions[name]}"
        for name in dict.fromkeys(names)
        if any(
            (one.wheel or one.source)
            and one.version > Version(versions[name])
            and is_permitted(name, one.version, wanted)
            for one in releases.of(name)
        )
    )
