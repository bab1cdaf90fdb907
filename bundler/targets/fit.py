"""Compares a lock with what an image has: what it must fit, what it shadows, what it may leave out.

The bundle is first on the import path, so the image's distributions run with the bundle's versions of
what both have.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.model import Lock, LockedDistribution, Requirement, Requirements
from bundler.system import pep508

if TYPE_CHECKING:
    from bundler.targets.image import Demand, Image, Installed


@dataclass(frozen=True, kw_only=True)
class Break:
    """A demand of the image that the bundle does not meet."""

    demand: Demand
    brings: str
    """The version that the bundle puts before the image's."""


@dataclass(frozen=True, kw_only=True)
class Shadows:
    """What changes for the image's distributions with the bundle before them on the import path."""

    image: str
    known: bool
    """Whether all that the image has is known; else only its server's requirements were compared."""
    changed: tuple[tuple[str, str, str], ...] = ()
    """(Name, version of the image, version of the bundle), by name."""
    breaks: tuple[Break, ...] = ()


def server_demands(image: Image, markers: Mapping[str, str]) -> tuple[Demand, ...]:
    """Return the requirements of the image's server; nothing where they are not known.

    From a probed image they are the requirements of what is installed, from the server down. From the
    catalogue they are those of its release and of what was most likely installed with it.

    :param markers: the target's.
    """
    if image.server is None or image.server.version is None:
        return ()
    name = image.server.name
    if image.distributions is not None:
        return tuple(_walk([name], image.distributions, markers)) if name in image.distributions else ()
    from bundler.targets import catalogue  # noqa: PLC0415 - 20 ms that are about images alone

    release = next((one for one in catalogue.releases(name) if one.version == image.server.version), None)
    if release is None:
        return ()
    own = f"{name} {release.version}"
    found = list(demands_of(release.requires, (own,), markers))
    for beside in release.beside:
        chain = (own, f"{beside.distribution} {beside.version}")
        found += demands_of(beside.requires, chain, markers)
    return tuple(found)


def _walk(
    roots: Iterable[str], installed: Mapping[str, Installed], markers: Mapping[str, str]
) -> Iterator[Demand]:
    """Yield the requirements of what is installed, breadth first, without those that were never met."""
    work: deque[tuple[str, tuple[str, ...]]] = deque(
        (name, (f"{name} {installed[name].version}",)) for name in roots
    )
    seen = set(roots)
    while work:
        name, chain = work.popleft()
        for demand in demands_of(installed[name].requires, chain, markers):
            there = installed.get(demand.name)
            if there is None or not _met(demand, there.version):
                continue  # the image runs without it
            yield demand
            if demand.name not in seen:
                seen.add(demand.name)
                work.append((demand.name, (*chain, f"{demand.name} {there.version}")))


def demands_of(lines: Iterable[str], chain: tuple[str, ...], markers: Mapping[str, str]) -> Iterator[Demand]:
    """Yield the requirements in Requires-Dist lines that apply without extras; invalid lines are passed over.

    :param chain: `name version` of who requires, outermost first.
    :param markers: the target's.
    """
    from bundler.targets.image import Demand  # noqa: PLC0415 - as above

    for line in lines:
        try:
            requirement = pep508.requirement(line)
        except InvalidRequirement:
            continue  # as pip does
        if requirement.marker and not requirement.marker.evaluate({**markers, "extra": ""}):
            continue
        name = canonicalize_name(requirement.name)
        yield Demand(name=name, text=f"{name}{requirement.specifier}", chain=chain)


def met(specifier: SpecifierSet, version: str) -> bool:
    """Tell whether a version satisfies a specifier; true where it is no version, for nothing can be said."""
    try:
        return specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return True


def _met(demand: Demand, version: str) -> bool:
    return met(pep508.requirement(demand.text).specifier, version)


def constraints(demands: Iterable[Demand], wanted: Requirements) -> tuple[Requirement, ...]:
    """Return demands as constraints of a resolution.

    What the requirements name is in the bundle, and then the demands of the image's own do not count.
    """
    own = {one.name for one in wanted.requirements if one.name}
    rows = {
        demand.text: Requirement(
            text=demand.text,
            name=demand.name,
            origin=f"the image's server {demand.chain[0]}",
            constraint=True,
        )
        for demand in in_force(demands, own)
        if demand.text != demand.name
    }
    return tuple(rows.values())


def in_force(demands: Iterable[Demand], brought: Collection[str]) -> Iterator[Demand]:
    """Yield the demands that still count: the bundle brings none of the distributions that ask."""
    for demand in demands:
        if not any(asking.partition(" ")[0] in brought for asking in demand.chain):
            yield demand


def breaks(lock: Lock, demands: Iterable[Demand]) -> tuple[Break, ...]:
    """Return the demands that a lock does not meet, one for each requirement."""
    brought = {dist.name: dist.version for dist in lock.distributions}
    found = {
        (demand.chain[-1], demand.text): Break(demand=demand, brings=brought[demand.name])
        for demand in in_force(demands, brought)
        if demand.name in brought and not _met(demand, brought[demand.name])
    }
    return tuple(found.values())


def unfit(lock: Lock, found: Iterable[Break], *, image: Image, wanted: Requirements | None) -> InputError:
    """Return the error for a lock that breaks the image's server, with both chains and the choices."""
    origins = {one.name: one.origin for one in (wanted.requirements if wanted else ()) if one.name}
    lines, pins = [], []
    for one in found:
        chain = lock.chain(one.demand.name)
        origin = f"{origins[chain[0]]}: " if chain[0] in origins else ""
        versions = {dist.name: dist.version for dist in lock.distributions}
        lines += [
            f"  the bundle: {origin}{' → '.join(f'{name} {versions[name]}' for name in chain)}",
            f"  the image:  {' → '.join((*one.demand.chain, one.demand.text))}",
        ]
        pins.append(one.demand.text)
    guess = ""
    if image.server and not image.server.exact:
        guess = "; if the image's tag has another server, name its version: --server"
    return InputError(
        f"the image's server cannot live with the bundle, which stands before it ({image.name}):\n"
        + "\n".join(lines),
        hint=f"pin {', '.join(dict.fromkeys(pins))}; or choose an image whose server takes it{guess}; "
        "--no-fit leaves the server out of account",
    )


def without_unused(lock: Lock, given: Iterable[Requirement]) -> Lock:
    """Leave out of a lock's constraints those of the image whose distribution is not in it."""
    names = {dist.name for dist in lock.distributions}
    idle = {one.text for one in given if one.name not in names}
    return replace(lock, constraints=tuple(text for text in lock.constraints if text not in idle))


def shadows(lock: Lock, image: Image, markers: Mapping[str, str]) -> Shadows:
    """Return which of the image's distributions change version, and which of its requirements break.

    :param lock: what the bundle brings.
    """
    installed = image.distributions
    if installed is None:
        found = breaks(lock, server_demands(image, markers))
        return Shadows(image=image.name, known=False, breaks=found)
    brought = {dist.name: dist.version for dist in lock.distributions}
    changed = tuple(
        (name, installed[name].version, brought[name])
        for name in sorted(brought.keys() & installed.keys())
        if not _same(installed[name].version, brought[name])
    )
    in_use = [
        one
        for one in image_demands(installed, markers)
        if one.name not in installed or _met(one, installed[one.name].version)
    ]
    return Shadows(image=image.name, known=True, changed=changed, breaks=breaks(lock, in_use))


def image_demands(installed: Mapping[str, Installed], markers: Mapping[str, str]) -> Iterator[Demand]:
    """Yield every requirement of what an image has, met or not."""
    for name, one in sorted(installed.items()):
        yield from demands_of(one.requires, (f"{name} {one.version}",), markers)


def thin(lock: Lock, image: Image) -> tuple[Lock, tuple[LockedDistribution, ...]]:
    """Divide a lock into what the bundle must bring and what the image has in the very version.

    What comes from a URL, a repository or a folder is always brought: its version does not tell it apart.

    :raises InputError: nobody knows what the image has.
    """
    installed = image.distributions
    if installed is None or not image.probed:
        raise InputError(
            f"what the image {image.name} has is not known, so nothing can be left out",
            hint="run the script of `envbundle images probe` in it, and give --image image.json",
        )
    relied = tuple(
        dist
        for dist in lock.distributions
        if dist.source == "index"
        and dist.name in installed
        and _same(installed[dist.name].version, dist.version)
    )
    names = {dist.name for dist in relied}
    return replace(
        lock, distributions=tuple(one for one in lock.distributions if one.name not in names)
    ), relied


def _same(left: str, right: str) -> bool:
    try:
        return Version(left) == Version(right)
    except InvalidVersion:
        return left == right
