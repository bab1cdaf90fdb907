"""What goes into a bundle, and what is left to its image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.model import Lock, StoredWheel
from bundler.targets import fit

if TYPE_CHECKING:
    from bundler.checks.rules.publishers import Publishing
    from bundler.create.prepare import Prepared
    from bundler.create.request import CreateRequest


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What goes into the bundle, and what is left to the image (`--thin`)."""

    lock: Lock
    """Of what goes into the bundle."""
    wheels: tuple[StoredWheel, ...]
    relied: tuple[StoredWheel, ...] = ()
    """What is left to the image, which has it."""
    publishing: Publishing | None = None
    """What is known of those who published all of it."""


def select(
    prepared: Prepared,
    request: CreateRequest,
    lock: Lock,
    wheels: tuple[StoredWheel, ...],
    publishing: Publishing | None,
) -> Selection:
    """Decide what goes into the bundle, and what is left to the image (`--thin`)."""
    if not request.thin:
        return Selection(lock=lock, wheels=wheels, publishing=publishing)
    if prepared.image is None:
        raise InputError("--thin is about an image, and none is named", hint="add --image image.json")
    part, relied = fit.thin(lock, prepared.image)
    names = {dist.name for dist in relied}
    if not part.distributions:
        raise InputError(
            f"the image {prepared.image.name} has everything already: {', '.join(sorted(names))}",
            hint="no bundle is needed; without --thin one is made all the same",
        )
    return Selection(
        lock=part,
        wheels=tuple(wheel for wheel in wheels if wheel.locked.name not in names),
        relied=tuple(wheel for wheel in wheels if wheel.locked.name in names),
        publishing=publishing,
    )
