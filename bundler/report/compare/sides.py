"""One side of a comparison: a bundle or a lock, as far as it can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field, replace

from bundler.bundle import identities
from bundler.bundle.manifest.values import Manifest, ManifestDistribution
from bundler.lazy_dataclass import dataclass
from bundler.model import Lock, LockedDistribution
from bundler.report import requirers
from bundler.report.compare.difference import Release, SideKind
from bundler.report.compare.sections import ASPECTS
from bundler.system import redact

_OUTCOMES = ("passed", "warned", "failed")
_SINCE_1_1 = ("needs", "licences", "native", "entry_points")


@dataclass(frozen=True, kw_only=True)
class Side:
    """What is compared; `of_manifest`, `of_lock` and the readers in `locks` make it."""

    name: str
    """As the caller named it, for people; may be empty."""
    kind: SideKind
    knows: frozenset[str]
    """Aspects that it tells of (`sections.ASPECTS`); distributions it always knows."""
    releases: Mapping[str, Release]
    """Normalised name → what it has of it."""
    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Normalised name → a shortest chain from what was asked for down to it."""
    requirements: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    target: Mapping[str, str] = field(default_factory=dict)
    """`target.python` … → value."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Further members of a manifest that are one value: `image`, `proof` …"""
    manifest: Manifest | None = None
    """Of a bundle."""


def of_manifest(manifest: Manifest, *, name: str = "") -> Side:
    """Return a bundle's side.

    :param name: for people, a path for instance.
    """
    unknown: tuple[str, ...] = ()
    if any(dist.files and not dist.contents for dist in manifest.distributions):
        # A manifest of schema 1.0 says nothing of these; an empty list here is not one there.
        unknown = _SINCE_1_1
    target = manifest.target
    publishers = {one.name: identities.spellings(one.identities) for one in manifest.attestations}
    return Side(
        name=name,
        kind="bundle",
        knows=frozenset(ASPECTS).difference(unknown),
        releases={
            dist.name: replace(
                _of_bundle(dist, licences="licences" not in unknown), publishers=publishers.get(dist.name, ())
            )
            for dist in manifest.distributions
        },
        chains=chains((dist.name, dist.requested, dist.required_by) for dist in manifest.distributions),
        requirements=manifest.inputs.requirements,
        constraints=manifest.inputs.constraints,
        target={
            "target.python": target.python,
            "target.implementation": target.implementation,
            "target.abi": target.abi,
            "target.machine": target.machine,
            "target.glibc": target.glibc,
        },
        settings=_settings(manifest),
        manifest=manifest,
    )


def of_lock(lock: Lock, *, name: str = "") -> Side:
    """Return a lock's side.

    :param name: for people, a path for instance.
    """
    return Side(
        name=name,
        kind="lock",
        knows=frozenset({"chains", "requirements", "target"}),
        releases={
            dist.name: replace(
                _release(dist, dist.artifact.filename, dist.artifact.sha256, dist.artifact.commit),
                publishers=identities.spellings(map(dict, dist.identities)),
            )
            for dist in lock.distributions
        },
        chains=chains((dist.name, dist.requested, dist.required_by) for dist in lock.distributions),
        requirements=lock.requirements,
        constraints=lock.constraints,
        target={
            "target.python": lock.python_version,
            "target.machine": lock.machine,
            "target.glibc": f"{lock.glibc[0]}.{lock.glibc[1]}",
        },
    )


def verdict(manifest: Manifest) -> str:
    """Return the worst outcome of a bundle's checks."""
    return max((one.outcome for one in manifest.checks), key=_OUTCOMES.index, default="passed")


def chains(rows: Iterable[tuple[str, bool, tuple[str, ...]]]) -> dict[str, tuple[str, ...]]:
    """Return for each name a shortest chain from one that was asked for (or that nothing brings in) to it.

    :param rows: name, whether it was asked for, what requires it. What requires it and is no row itself was
        left to the image, and begins the chain.
    """
    parents, starts = {}, set()
    for name, requested, required_by in rows:
        parents[name] = required_by
        if requested or not required_by:
            starts.add(name)
    image = {parent for required_by in parents.values() for parent in required_by} - parents.keys()
    return requirers.chains(parents, [*sorted(starts), *sorted(image)])


def public_index(index: str | None) -> str | None:
    """Return an index as a manifest has it: without credentials, and none of the builder's disk."""
    if index is None or index.startswith("file:"):
        return None
    try:
        return redact.url(index)
    except ValueError:  # no URL at all, such as https://[x
        return redact.text(index)


def _of_bundle(dist: ManifestDistribution, *, licences: bool) -> Release:
    return replace(
        _release(dist, dist.filename, dist.sha256, dist.commit),
        built_from=dist.built_from,
        bytes=dist.bytes,
        licence=dist.licence if licences else None,
    )


def _release(
    dist: ManifestDistribution | LockedDistribution, filename: str, sha256: str | None, commit: str | None
) -> Release:
    return Release(
        version=dist.version,
        filename=filename or None,
        hashes=(sha256,) if sha256 else (),
        source=dist.source,
        index=public_index(dist.index),
        commit=commit,
        requested=dist.requested,
        extras=tuple(sorted(dist.extras)),
        yanked=dist.yanked,
    )


def _settings(manifest: Manifest) -> dict[str, str]:
    builder = manifest.interpreter
    values = {
        "verdict": verdict(manifest),
        "proof": ", ".join(manifest.evidence.isolation.proof),
        "image": manifest.image or "",
        "assumed_libraries": ", ".join(manifest.assumed_libraries),
        **{f"relies_on.{name}": version for name, version in manifest.relies_on.items()},
        **{f"environment.{name}": path for name, path in manifest.environment.items()},
        "interpreter": f"{builder.version}{' (conda)' if builder.conda else ''}",
        "tool": manifest.tool.version,
    }
    return {name: value for name, value in values.items() if value}
