"""What a lock of another tool says, as requirements: its roots are asked for, what it pins are constraints.

Nothing else may come in: a distribution that the lock does not have is an error, and so is a file without one
of its hashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bundler.bundle import lock as locks
from bundler.create import requirements
from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.model import IndexSettings, Note, Requirement, Requirements
from bundler.system import index_settings, outside, pep508, redact
from bundler.system.json_values import Value

LIMIT = 32 << 20
"""Bytes of a lock."""
_FORMER_HOST = "pypi.python.org"
"""The default index before pip 10, under the name that locks of then have."""


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A distribution in a lock; one that has several versions is several pins."""

    name: str
    version: str = ""
    url: str = ""
    """Where it comes from if not from an index: `git+https://…@COMMIT`, `https://…`, `file:///…`."""
    marker: str = ""
    """When it is meant (PEP 508); empty: always."""
    hashes: tuple[str, ...] = ()
    """`sha256:…` of its files."""

    def text(self, extras: Iterable[str] = (), marker: str = "") -> str:
        """Return it as a requirement.

        :param extras: that are asked for.
        :param marker: when it is asked for; empty: always.
        """
        wanted = f"[{','.join(sorted(extras))}]" if extras else ""
        source = f" @ {self.url}" if self.url else f"=={self.version}"
        return f"{self.name}{wanted}{source}" + (f" ; {marker}" if marker else "")


@dataclass(frozen=True, kw_only=True)
class ToolLock:
    """A lock of another tool, read."""

    path: Path
    pins: tuple[Pin, ...]
    roots: tuple[Requirement, ...] | None
    """What the project beside it asks for; `None`: there is no project, so all of it is asked for."""
    indexes: tuple[str, ...] = ()
    """URLs of the indexes that it names; the default one may be among them."""
    told: tuple[Note, ...] = ()


def values(path: Path, *, hint: str) -> Value:
    """Read a file of TOML from outside.

    :param hint: what to do where it cannot be read.
    :raises InputError: unreadable, no regular file, larger than `LIMIT`, or no TOML.
    """
    text = outside.read_text(path, limit=LIMIT, hint=hint, named=True)
    return Value(raw=locks.parse_toml(text, where=str(path), hint=hint), source=str(path), hint=hint)


def sha256_only(hashes: Iterable[str]) -> tuple[str, ...]:
    """Return those of some hashes that are trusted, sorted: `sha256:…`."""
    return tuple(sorted({one for one in hashes if one.startswith("sha256:")}))


def as_requirements(lock: ToolLock) -> Requirements:
    """Return what a lock asks for and what it pins.

    :raises InputError: a name, a version, a marker or a URL in it is none, or it lacks a root.
    """
    named = _by_name(lock)
    constraints = [_parsed(lock, one.text(marker=one.marker), one) for pins in named.values() for one in pins]
    limits = [_parsed(lock, text, one) for text, one in _ranges(lock)]
    if lock.roots is None:
        roots = [*constraints, *(replace(one, name=one.name) for one in limits)]
        constraints, limits = [], []
    else:
        roots = [found for root in lock.roots for found in _root(root, named, limits, lock)]
    bare = sorted({one.name for one in lock.pins if not (one.hashes or one.url)})
    told = list(lock.told)
    if bare:
        text = f"has no sha256 of {', '.join(bare)}: their versions alone are held to"
        told.append(Note(subject=lock.path.name, text=text))
    # The default index stands for whatever the caller has configured in its place.
    usual = {urlsplit(index_settings.default_index()).hostname, _FORMER_HOST}
    others = [url for url in dict.fromkeys(lock.indexes) if urlsplit(url).hostname not in usual]
    return Requirements(
        requirements=tuple(roots),
        constraints=tuple(replace(one, constraint=True) for one in (*constraints, *limits)),
        closed_by=lock.path.name,
        index=IndexSettings(extra_index_urls=tuple(others)),
        told=tuple(told),
    )


def _parsed(lock: ToolLock, text: str, pin: Pin) -> Requirement:
    origin = f"{lock.path}: {pin.name[:80]}"
    return replace(requirements.parse(text, origin=origin, folder=lock.path.parent), hashes=pin.hashes)


def _merged(pins: Iterable[Pin]) -> list[Pin]:
    """Return the pins of one name, each version once: locks repeat one for its extras, or for its groups."""
    found: dict[tuple[str, str], Pin] = {}
    for one in pins:
        key = (one.version, one.url)
        found[key] = _joined(found[key], one) if key in found else one
    return list(found.values())


def _joined(first: Pin, second: Pin) -> Pin:
    marker = first.marker
    if marker != second.marker:
        marker = f"({marker}) or ({second.marker})" if marker and second.marker else ""
    return replace(first, marker=marker, hashes=sha256_only((*first.hashes, *second.hashes)))


def _grouped(lock: ToolLock) -> dict[str, list[Pin]]:
    found: dict[str, list[Pin]] = {}
    for one in lock.pins:
        found.setdefault(canonicalize_name(one.name), []).append(one)
    return {name: _merged(pins) for name, pins in found.items()}


def _by_name(lock: ToolLock) -> dict[str, list[Pin]]:
    """Return normalised name → pins, of those whose markers say which one is meant."""
    found = {}
    for name, pins in _grouped(lock).items():
        if len(pins) == 1:
            # A constraint brings nothing in, so it can hold always; what is asked for keeps its marker.
            found[name] = [replace(pins[0], marker="") if lock.roots is not None else pins[0]]
        elif all(one.marker for one in pins):
            found[name] = pins
    return found


def _ranges(lock: ToolLock) -> Iterator[tuple[str, Pin]]:
    """Yield a range of versions for what a lock has in several, without saying when: old poetry's.

    Their hashes then hold the resolver to one of the versions.
    """
    for name, pins in _grouped(lock).items():
        if len(pins) == 1 or all(one.marker for one in pins):
            continue
        if any(one.url for one in pins):
            raise InputError(
                f"{lock.path}: {name} comes from several places, and nothing says which one is meant",
                hint="lock again with a newer release of the tool",
            )
        try:
            ordered = sorted(pins, key=lambda one: Version(one.version))
        except InvalidVersion as error:
            raise InputError(f"{lock.path}: {name}: {error}", hint="lock again") from None
        hashes = sha256_only(one for pin in pins for one in pin.hashes)
        text = f"{name}>={ordered[0].version},<={ordered[-1].version}"
        yield text, Pin(name=name, hashes=hashes)


def _root(
    root: Requirement, named: Mapping[str, Sequence[Pin]], limits: Sequence[Requirement], lock: ToolLock
) -> Iterator[Requirement]:
    """Yield a root, from where the lock has it: a project's own file need not tell.

    :raises InputError: the lock does not have it.
    """
    try:
        parsed = pep508.requirement(root.text) if root.name else None
    except InvalidRequirement:
        parsed = None
    if parsed is None:
        yield root  # a path without a name
        return
    pins = named.get(str(root.name), ())
    marker = str(parsed.marker) if parsed.marker else ""
    if not pins and not any(one.name == root.name for one in limits) and not marker:
        raise InputError(
            f"{lock.path} does not have {root.name}, which {redact.text(root.origin)} asks for",
            hint="it is older than the project: lock again",
        )
    if not any(one.url for one in pins):
        yield root
        return
    for pin in pins:
        both = [one for one in (marker, pin.marker) if one]
        text = pin.text(root.extras, f"({') and ('.join(both)})" if len(both) > 1 else "".join(both))
        yield replace(_parsed(lock, text, pin), origin=root.origin, extras=root.extras)
