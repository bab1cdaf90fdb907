"""The constraints and requirements that mending adds, and the files that say them with their reasons."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import replace

from bundler.lazy_dataclass import dataclass
from bundler.model import Requirement, Requirements

NAME = "constraints.txt"
ORIGIN = "--mend"
_HEAD = """\
# What `envbundle create --mend` pinned, so that the bundle is proved. Keep it beside the requirements:
# envbundle create -r requirements.txt -c constraints.txt (pip takes it as well)
"""
ADDED_NAME = "added-requirements.txt"
_ADDED_HEAD = """\
# What `envbundle create --mend` added, since what was asked for imports it and does not require it. A
# constraint asks for nothing, so these are requirements; move them to your own, or keep the file beside them:
# envbundle create -r requirements.txt -r added-requirements.txt (pip takes it as well)
"""
BUILD_NAME = "build-constraints.txt"
_BUILD_HEAD = """\
# What `envbundle create --mend` holds builds from source to. Keep it beside the requirements:
# envbundle create -r requirements.txt --build-constraint build-constraints.txt (pip 25.3 takes it as well)
"""
TRIES = 8
SECONDS = 180.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long mending goes on."""

    tries: int = TRIES
    seconds: float = SECONDS
    """No try begins later; one that has begun is finished."""


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A constraint or requirement that was not asked for."""

    name: str
    """Normalised."""
    specifier: str
    """Empty: any version."""
    reason: str
    source: str = ""
    """URL of what says so; empty where it was only tried."""
    added: bool = False
    """It is a requirement: nothing else brings the distribution."""
    build: bool = False
    """It holds where something is built from source, and for nothing in the bundle."""

    @property
    def text(self) -> str:
        """The constraint as pip reads it."""
        return f"{self.name}{self.specifier}"


def joined(pins: Iterable[Pin]) -> tuple[Pin, ...]:
    """Return the pins sorted by name, those of one distribution joined, with the last one's reason."""
    found: dict[tuple[str, bool], Pin] = {}
    for pin in pins:
        before = found.get((pin.name, pin.build))
        specifiers = (before.specifier if before else "", pin.specifier)
        parts = [part for one in specifiers for part in one.split(",") if part]
        found[pin.name, pin.build] = replace(
            pin,
            specifier=",".join(dict.fromkeys(parts)),
            added=pin.added or bool(before and before.added),
        )
    return tuple(found[key] for key in sorted(found))


def constrained(wanted: Requirements, pins: Sequence[Pin]) -> Requirements:
    """Return requirements with pins as further constraints, or as requirements where nothing else asks."""
    build = tuple(pin.text for pin in pins if pin.build)
    pins = tuple(pin for pin in pins if not pin.build)

    def lines(which: Iterable[Pin], *, constraint: bool) -> tuple[Requirement, ...]:
        return tuple(
            Requirement(text=pin.text, name=pin.name, origin=ORIGIN, constraint=constraint) for pin in which
        )

    return replace(
        wanted,
        build_constraints=(*wanted.build_constraints, *build),
        requirements=(
            *wanted.requirements,
            *lines((pin for pin in pins if pin.added), constraint=False),
        ),
        constraints=(
            *wanted.constraints,
            *lines((pin for pin in pins if not pin.added), constraint=True),
        ),
    )


def documents(pins: Iterable[Pin]) -> dict[str, str]:
    """Return name → text of the files that tell of the pins, of those that have any."""
    pins = tuple(pins)
    files = (
        (NAME, _HEAD, [pin for pin in pins if not pin.build and not pin.added]),
        (ADDED_NAME, _ADDED_HEAD, [pin for pin in pins if pin.added]),
        (BUILD_NAME, _BUILD_HEAD, [pin for pin in pins if pin.build]),
    )
    return {name: head + _rows(own) for name, head, own in files if own}


def _rows(pins: Iterable[Pin]) -> str:
    """Return a reason and a line for each pin."""
    rows = []
    for pin in pins:
        source = f" ({pin.source})" if pin.source else ""
        reason = " ".join(f"{pin.reason}{source}".split())
        rows += textwrap.wrap(reason, 108, initial_indent="# ", subsequent_indent="#   ")
        rows.append(pin.text)
    return "".join(f"{row}\n" for row in rows)
