"""Repeats imports with a library of the system hidden, to see whether what is reached needs it.

Which are hidden, `doubtful` in `checks/rules/libraries.py` decides; `ontarget/isolate.py` hides them.

What the builder has and the image may lack can be linked, or loaded by name while a module is imported
(ctypes, cffi). Only an import without the library shows whether it is needed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace

from bundler.checks.imports.evidence import ImportEvidence, ImportFailure, LibraryNeed, Reached
from bundler.checks.imports.evidence_cache import Importer

HIDDEN = "hidden"
"""In the isolation of evidence: the library was really hidden."""
_CUT_OFF = ": file too short"
"""What the loader says of a library that is hidden."""


def import_without(
    evidence: ImportEvidence, *, doubtful: Callable[[ImportEvidence], Iterable[str]], importer: Importer
) -> ImportEvidence:
    """Return the evidence with `without` and `needs`: each library is hidden alone from what had loaded it.

    What comes with libraries that are not needed may be needed by itself: cairocffi loads libgdk-3, which
    brings libcairo, if it is there, and libcairo in any case.

    :param evidence: of the imports with all that this machine has.
    :param doubtful: the SONAMEs of what imports loaded and the image may lack.
    """
    without: list[str] = []
    needs: list[LibraryNeed] = []
    waiting = deque(doubtful(evidence) if "read-only" in evidence.isolation else ())
    tried = set(waiting)
    while waiting:
        library = waiting.popleft()
        loading = [one for one in evidence.reached if library in one.libraries]
        again = importer.import_modules({}, obligations=[one.obligation for one in loading], hidden=[library])
        if HIDDEN not in again.isolation:
            continue
        pairs = zip(loading, again.reached, strict=True)
        broken = [one for before, now in pairs if (one := _new(before, now, library)).fails]
        if not broken and any(len(one.failures) < len(one.obligation.modules) for one in loading):
            without.append(library)
        needs += [
            LibraryNeed(
                library=library,
                subject=one.obligation.subject,
                reason=one.obligation.reason,
                detail=told(one.failures[0], library).replace(_CUT_OFF, ": it is not there"),
            )
            for one in broken
        ]
        if not waiting:
            waiting += [
                one for one in _brought(evidence, tried, without, doubtful, importer) if one not in tried
            ]
            tried.update(waiting)
    return replace(evidence, without=tuple(without), needs=tuple(needs))


def _brought(
    evidence: ImportEvidence,
    tried: set[str],
    without: list[str],
    doubtful: Callable[[ImportEvidence], Iterable[str]],
    importer: Importer,
) -> list[str]:
    """Return what is still loaded, and may be lacking, where all that is not needed is hidden at once."""
    if not without or tried.issuperset(doubtful(replace(evidence, indirect=()))):
        return []
    loading = [one for one in evidence.reached if not set(without).isdisjoint(one.libraries)]
    again = importer.import_modules({}, obligations=[one.obligation for one in loading], hidden=without)
    return list(doubtful(again)) if HIDDEN in again.isolation else []


def _new(before: Reached, now: Reached, library: str) -> Reached:
    """Return what fails for want of a library, and not with it too.

    What failed before (it may only ask for Django's settings) fails for the library where it says so.
    """
    failed = {one.module for one in before.failures}
    return replace(
        now,
        failures=tuple(
            one
            for one in now.failures
            if one.module not in failed or f"{library}{_CUT_OFF}" in one.detail.rpartition("\n")[2]
        ),
    )


def told(failure: ImportFailure, library: str) -> str:
    """Return the line of a failure that says most: Wand's message ends with the address of its guide.

    :param library: the SONAME that is hidden; a line with it is best.
    """
    lines = failure.detail.splitlines() or [""]
    message = [line for line in lines if failure.exception and line.startswith(f"{failure.exception}:")]
    naming = [line for line in lines if library in line and not line.startswith(("File ", "  "))]
    return [*naming, *message[-1:], lines[-1]][0]
