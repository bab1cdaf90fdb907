"""`create --mend`: tries constraints on what failed, proves each result, and keeps the first that holds.

    failure → what is known (breakages, and who brings what is missing) → last version with a wheel
            → time of release → older minor versions

A cure that removes what was wrong and shows the next thing is kept, and the next one is added to it. What the
caller fixed (`==`, a URL, hashes) is never changed. Where something else is wrong as well, what versions
cause is mended: the bundle stays refused, and the error says which constraints have mended what.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import field
from typing import Generic, TypeVar

from bundler.create.mend import cures
from bundler.create.mend.cures import Situation
from bundler.create.mend.failure import Defect, defects, others
from bundler.create.mend.observed import Observed
from bundler.create.mend.pins import Limits, Pin, joined
from bundler.create.releases import Releases
from bundler.errors import EnvbundleError, InputError, MachineError, ProofError
from bundler.lazy_dataclass import dataclass
from bundler.model import Requirements
from bundler.system.progress import Progress

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class _Failure:
    """How a run failed."""

    defects: tuple[Defect, ...]
    observed: Observed
    pins: tuple[Pin, ...] = ()
    """With which it ran."""
    others: frozenset[tuple[str, str]] = frozenset()
    """Code and subject of what is wrong besides."""


@dataclass(kw_only=True)
class _Mending(Generic[Result]):
    """One search for versions."""

    wanted: Requirements
    attempt: Callable[[tuple[Pin, ...], Observed], Result]
    limits: Limits
    progress: Progress
    started: float
    tried: list[tuple[Pin, ...]] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)
    remaining: tuple[EnvbundleError, tuple[Pin, ...]] | None = None
    """What is left when all that versions cause is mended, and with which pins it is."""

    def search(self, failure: _Failure) -> Result | None:
        """Try one cure after the other; `None`: none holds, or the limits are reached."""
        while failure.defects:
            following = None
            for pins in self._cures(failure):
                seen = Observed()
                try:
                    return self.attempt(pins, seen)
                except (ProofError, InputError, MachineError) as error:
                    self.progress.note(f"{'':<12} {error.message.splitlines()[0]}")
                    left, besides = defects(error, seen), others(error, seen)
                    if not left and isinstance(error, MachineError):
                        raise
                    if not left and besides and besides <= failure.others:
                        self.remaining = error, pins
                        return None
                if _is_progress(failure.defects, left):
                    following = _Failure(defects=left, observed=seen, pins=pins, others=besides)
                    break
            if following is None:
                return None
            failure = following
        return None

    def _cures(self, failure: _Failure) -> Iterator[tuple[Pin, ...]]:
        """Yield the pins of each cure that was not tried yet, until the limits are reached."""
        observed = failure.observed
        if observed.target is None or observed.settings is None:
            return
        situation = Situation(
            defects=failure.defects,
            observed=observed,
            releases=Releases(settings=observed.settings, target=observed.target),
            wanted=self.wanted,
            blocked=self.blocked,
        )
        for cure in cures.cures(situation):
            pins = joined((*failure.pins, *cure.pins))
            if pins in self.tried:
                continue
            if len(self.tried) >= self.limits.tries or self._seconds() > self.limits.seconds:
                return
            self.tried.append(pins)
            words = ", ".join(pin.text for pin in cure.pins)
            self.progress.note(f"mend         try {len(self.tried)}, {cure.label}: {words}")
            yield pins

    def _seconds(self) -> float:
        return time.monotonic() - self.started


def _is_progress(before: tuple[Defect, ...], after: tuple[Defect, ...]) -> bool:
    """Tell whether something that was wrong is gone, and the run came as far as before."""
    if not after or (after[0].kind == "build" and before[0].kind != "build"):
        return False
    gone = {one.last_line for one in before} - {one.last_line for one in after}
    return bool(gone)


def mend(
    error: EnvbundleError,
    observed: Observed,
    *,
    wanted: Requirements,
    attempt: Callable[[tuple[Pin, ...], Observed], Result],
    limits: Limits,
    progress: Progress,
) -> Result:
    """Return what an attempt with further constraints gave.

    :param error: what the run without them failed with, which is raised again if nothing helps.
    :param observed: how far that run came.
    :param attempt: makes the bundle with pins, and notes how far it came.
    :raises EnvbundleError: the error, with what was tried in its hint; or what is left of it, where what
        versions cause was mended.
    :raises MachineError: whoever looks after the machine must act.
    """
    mending = _Mending(
        wanted=wanted, attempt=attempt, limits=limits, progress=progress, started=time.monotonic()
    )
    failure = _Failure(defects=defects(error, observed), observed=observed, others=others(error, observed))
    if not failure.defects:
        raise error
    found = None if wanted.require_hashes else mending.search(failure)
    if found is not None:
        return found
    if mending.remaining:
        error, pins = mending.remaining
        cures = "; ".join(f"{pin.text} ({pin.reason})" for pin in pins)
        said = f"--mend has mended what versions cause, not this: with {cures}"
    elif mending.tried:
        said = f"--mend tried {len(mending.tried)} sets of versions, and none holds"
    elif wanted.require_hashes:
        said = "--mend changes nothing where hashes decide"
    else:
        said = "--mend knows no other versions to try"
    error.hint = "; ".join([*([error.hint] if error.hint else []), said, *mending.blocked])
    raise error
