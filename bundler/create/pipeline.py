"""The stages in order: read this first.

    request → target → environment → resolve → fetch → install → verify → emit → bundle

The stages are functions that take and return frozen values (`model.py`); this file alone knows their
order, what runs at the same time, and what is said of each.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bundler.bundle import lock as locks
from bundler.bundle import wheelhouse
from bundler.checks import policy, proof
from bundler.checks.rules import incomplete
from bundler.create import emit, environment, fetch, image_fit, install, pipeline_archives, requirements
from bundler.create.request import CreateRequest, CreateResult, LockRequest, Resolved
from bundler.create.site import Site, prepare, read_requirements
from bundler.errors import InputError, ProofError
from bundler.model import Isolation
from bundler.system import process, redact, workspace
from bundler.system.workspace import Workspace
from bundler.targets import fit, target
from bundler.wheels.store import DamagedEntryError, Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bundler.bundle.manifest import Manifest
    from bundler.bundle.tree import Seen
    from bundler.create.resolve import Resolution
    from bundler.formats import Packed
    from bundler.model import (
        LinkMode,
        Lock,
        LockedDistribution,
        StoredWheel,
        Target,
    )
    from bundler.system.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Share:
    """What the bundle brings of a lock; without `--thin` it is all of it."""

    lock: Lock
    """Of what is brought."""
    brought: tuple[StoredWheel, ...]
    relied: tuple[StoredWheel, ...] = ()
    """What is left to the image, which has it."""


def resolve(request: LockRequest, *, progress: Progress, environ: Mapping[str, str]) -> Resolved:
    """Resolve, or read the lock; nothing is written but in the store.

    :raises InputError: the caller must act.
    :raises MachineError: whoever looks after the machine or the network must act.
    """
    target.require_supported_machine()
    wanted = read_requirements(request, environ)
    with Store(request.cache_dir).incoming() as folder:
        work = Workspace(environment=folder / "env", bundle=folder / "bundle", scratch=folder / "scratch")
        work.scratch.mkdir(mode=0o700)
        with prepare(request, wanted, work, pose=False, progress=progress, environ=environ) as site:
            return Resolved(
                lock=_resolve(site),
                target=site.target,
                interpreter=site.interpreter,
                image=site.image,
                extra_indexes=_extra_indexes(site),
            )


def create(
    request: CreateRequest,
    *,
    resolved: Resolved | None = None,
    progress: Progress,
    environ: Mapping[str, str],
) -> CreateResult:
    """Make a bundle: proved and in its place, or not at all.

    :param resolved: what the request comes to, where that is known already.
    :raises ProofError: findings of severity error; nothing was emitted.
    :raises InputError: the caller must act.
    :raises MachineError: whoever looks after the machine or the network must act.
    """
    target.require_supported_machine()
    place = request.place or request.output
    pipeline_archives.require_places(request)
    wanted = read_requirements(request, environ)
    with (
        workspace.claim(place) as work,
        prepare(request, wanted, work, ahead=resolved is None, progress=progress, environ=environ) as site,
    ):
        lock = resolved.lock if resolved else _resolve(site)
        wheels = _fetch(site, lock)
        lock = replace(lock, distributions=tuple(wheel.locked for wheel in wheels))
        share = _divide(site, request, lock, wheels)
        brought, tree = _install(site, request, share, work)
        share = replace(share, brought=brought)
        with emit.flushing(work.bundle):
            verdict = _verify(site, request, share, work, seen=tree.seen, environ=environ)
            with wheelhouse.beside(request.wheelhouse, wheels, store=site.store, target=site.target):
                manifest, archives = _emit(site, request, lock, share=share, verdict=verdict, work=work)
        return CreateResult(
            bundle=place if "dir" in request.formats else archives[0].path,
            archives=archives,
            interpreter=site.interpreter,
            target=site.target,
            lock=lock,
            findings=(*verdict.findings, *verdict.around),
            evidence=verdict.evidence,
            size=sum(file.size for file in manifest.files),
            files=len(manifest.files),
            digest=manifest.digest,
            relies_on=tuple(wheel.locked for wheel in share.relied),
            proved_at=verdict.proved_at,
            shadows=_shadows(site, share.lock),
        )


def lock(
    request: LockRequest, *, outputs: Sequence[Path], progress: Progress, environ: Mapping[str, str]
) -> tuple[Lock, Target]:
    """Write a lock, in the form that each file's name says; returns it and its target.

    What only a build can tell (version and hash of local projects and repositories) is built.

    :raises InputError: the caller must act.
    :raises MachineError: whoever looks after the machine or the network must act.
    """
    target.require_supported_machine()
    wanted = read_requirements(request, environ)
    with (
        workspace.claim(outputs[0].absolute()) as work,
        prepare(request, wanted, work, progress=progress, environ=environ) as site,
    ):
        resolved = _resolve(site)
        unknown = tuple(dist for dist in resolved.distributions if _only_a_file_tells(dist))
        wheels = _fetch(site, replace(resolved, distributions=unknown)) if unknown else ()
        resolved = locks.completed(resolved, {wheel.locked.name: wheel.locked for wheel in wheels})
        resolved = fetch.with_sizes(resolved, _kitchen(site))
        built = {wheel.locked.name: wheel.facts.sha256 for wheel in wheels}
        for path in outputs:
            text = (
                locks.to_pylock(resolved) if locks.is_pylock(path) else locks.to_requirements(resolved, built)
            )
            emit.write_file(path, text)
        return resolved, site.target


def wheels(
    request: LockRequest, work: Workspace, *, progress: Progress, environ: Mapping[str, str]
) -> tuple[StoredWheel, ...]:
    """Bring the wheels of a lock into the store, and return them in the lock's order.

    :raises InputError: the caller must act.
    :raises MachineError: whoever looks after the machine or the network must act.
    """
    wanted = read_requirements(request, environ)
    with prepare(request, wanted, work, ahead=True, progress=progress, environ=environ) as site:
        return _fetch(site, _resolve(site))


def install_aside(
    request: LockRequest, work: Workspace, *, progress: Progress, environ: Mapping[str, str]
) -> Lock:
    """Install into `work.bundle` what only this machine will use: nothing is proved or emitted.

    The virtualenv that poses as the target stands beside it, empty. Returns what was installed.

    :raises InputError: the caller must act.
    :raises MachineError: whoever looks after the machine or the network must act.
    """
    wanted = read_requirements(request, environ)
    with prepare(request, wanted, work, ahead=True, progress=progress, environ=environ) as site:
        lock = _resolve(site)
        wheels = _assemble(site, lock, _fetch(site, lock), prefix=work.bundle)[0]
        return replace(lock, distributions=tuple(wheel.locked for wheel in wheels))


def _resolve(site: Site) -> Lock:
    with site.progress.stage("resolve") as stage:
        if site.locked is not None:
            image_fit.require_fit(site, site.locked)
            stage.result = f"{len(site.locked.distributions)} distributions, as locked"
            return site.locked
        found = image_fit.resolve(site, site.wanted or requirements.NOTHING)
        same = ", as before: no page of the index has changed" if found.remembered else ""
        stage.result = f"{len(found.lock.distributions)} distributions{same}"
    _refuse_unknown_extras(site, found)
    return found.lock


def _divide(site: Site, request: CreateRequest, lock: Lock, wheels: tuple[StoredWheel, ...]) -> Share:
    """Decide what the bundle brings, and what is left to the image (`--thin`)."""
    if not request.thin:
        return Share(lock=lock, brought=wheels)
    if site.image is None:
        raise InputError("--thin is about an image, and none is named", hint="add --image image.json")
    part, relied = fit.thin(lock, site.image)
    names = {dist.name for dist in relied}
    if not part.distributions:
        raise InputError(
            f"the image {site.image.name} has everything already: {', '.join(sorted(names))}",
            hint="no bundle is needed; without --thin one is made all the same",
        )
    return Share(
        lock=part,
        brought=tuple(wheel for wheel in wheels if wheel.locked.name not in names),
        relied=tuple(wheel for wheel in wheels if wheel.locked.name in names),
    )


def _shadows(site: Site, lock: Lock) -> fit.Shadows | None:
    return fit.shadows(lock, site.image, site.target.markers) if site.image else None


def _refuse_unknown_extras(site: Site, found: Resolution) -> None:
    """An extra that does not exist is an error with the names that do: resolvers only warn."""
    unknown = {name for name, _ in found.unknown_extras}
    dists = tuple(dist for dist in found.lock.distributions if dist.name in unknown and dist.extras)
    if not dists:
        return
    part = replace(found.lock, distributions=dists)
    facts = {wheel.locked.name: wheel.facts for wheel in _fetch(site, part)}
    findings = incomplete.extras(part, facts)
    asked = {req.name: req.origin for req in (site.wanted or requirements.NOTHING).requirements}
    for finding in findings:
        origin = asked.get(finding.subject.partition("[")[0])
        if origin:
            raise InputError(f"{origin}: {finding.cause}", hint=finding.remedy)


def _kitchen(site: Site) -> fetch.Kitchen:
    return fetch.Kitchen(
        store=site.store,
        interpreter=site.interpreter,
        target=site.target,
        pose=lambda: site.environment,
        pip=site.pip,
        settings=site.settings,
        requirements=site.wanted,
        scratch=site.scratch,
        no_build=site.request.no_build,
        progress=site.progress,
        ahead=site.ahead,
    )


def _fetch(site: Site, lock: Lock) -> tuple[StoredWheel, ...]:
    with site.progress.stage("fetch") as stage:
        wheels = fetch.fetch(lock, _kitchen(site))
        built = sum(1 for wheel in wheels if wheel.built_from)
        stage.result = f"{len(wheels)} wheels" + (f", {built} of them built from source" if built else "")
    return wheels


def _install(
    site: Site, request: CreateRequest, share: Share, work: Workspace
) -> tuple[tuple[StoredWheel, ...], install.InstalledTree]:
    """Install into the bundle, which then is the environment's site-packages too."""
    with site.progress.stage("install") as stage:
        wheels, tree = _assemble(
            site, share.lock, share.brought, prefix=work.bundle, link_mode=request.link_mode
        )
        site.baseline.result()  # of the environment while it was empty
        environment.join(site.environment, work.bundle / site.target.site_packages)
        stage.result = f"{len(tree.files)} files"
    return wheels, tree


def _assemble(
    site: Site,
    lock: Lock,
    wheels: tuple[StoredWheel, ...],
    *,
    prefix: Path,
    link_mode: LinkMode = "copy",
) -> tuple[tuple[StoredWheel, ...], install.InstalledTree]:
    """Assemble the tree; a store entry that turns out to be damaged is made again, once.

    :returns: the wheels that were installed, and the tree.
    """
    count = sum(len(wheel.facts.files) for wheel in wheels)
    with site.progress.bar("install", total=count, unit="files") as advance:
        assemble = functools.partial(
            install.install,
            prefix=prefix,
            site_packages=site.target.site_packages,
            link_mode=link_mode,
            progress=advance,
        )
        try:
            return wheels, assemble(wheels)
        except DamagedEntryError as error:
            site.progress.note(f"{error.message}; it is made again")
            site.store.drop(error.entry)
            workspace.empty(prefix)
            wheels = fetch.fetch(lock, replace(_kitchen(site), wary=True))
            return wheels, assemble(wheels)


def _verify(
    site: Site,
    request: CreateRequest,
    share: Share,
    work: Workspace,
    *,
    seen: Mapping[str, Seen],
    environ: Mapping[str, str],
) -> proof.Verdict:
    with site.progress.stage("verify") as stage:
        beside = _stand_in(site, share)
        verdict = proof.verify(
            proof.Case(
                prefix=work.bundle,
                lock=share.lock,
                wheels=share.brought,
                target=site.target,
                interpreter=site.interpreter,
                policy=request.policy,
                profile=site.image,
                relied=tuple(wheel.locked for wheel in share.relied),
                beside=beside,
                baseline=site.baseline.result(),
                isolation=Isolation(variables=process.held_back(environ), pip_settings=site.settings.ignored),
                extra_indexes=_extra_indexes(site),
                builder=(
                    *map(str, (site.store.root, site.scratch, site.interpreter.base_prefix)),
                    environ.get("HOME", ""),
                ),
                freeze=site.freeze,
                scratch=site.scratch,
                output=request.output,
                seen=seen,
                store=site.store,
                afresh=request.prove,
            )
        )
        when = f" at {verdict.proved_at}, as this very tree" if verdict.proved_at else ""
        stage.result = f"{len(verdict.checks)} checks, {len(verdict.evidence.modules)} modules imported{when}"
    findings = (*verdict.findings, *verdict.around)
    if unused := policy.unused(request.policy, findings):
        words = ", ".join(policy.spelled(ignore) for ignore in unused)
        site.progress.note(f"no finding is what --ignore says: {words}")
    if policy.stops(request.policy, findings):
        raise ProofError(findings)
    return verdict


def _stand_in(site: Site, share: Share) -> Path | None:
    """Install what is left to the image where the import proof finds it; nobody else ever will."""
    if not share.relied:
        return None
    prefix = site.scratch / "image"
    prefix.mkdir()
    whole = replace(share.lock, distributions=tuple(wheel.locked for wheel in share.relied))
    _assemble(site, whole, share.relied, prefix=prefix)
    return prefix / site.target.site_packages


def _extra_indexes(site: Site) -> tuple[str, ...]:
    """Further indexes that decided what is installed: none where a lock with hashes did."""
    if site.request.lock_file is not None:
        return ()
    return tuple(redact.url(url) for url in site.settings.extra_index_urls)


def _emit(
    site: Site, request: CreateRequest, lock: Lock, *, share: Share, verdict: proof.Verdict, work: Workspace
) -> tuple[Manifest, tuple[Packed, ...]]:
    with site.progress.stage("emit") as stage:
        manifest = emit.emit(
            emit.Proved(
                target=site.target,
                interpreter=site.interpreter,
                lock=lock,
                wheels=share.brought,
                relied=share.relied,
                relies_on=_as_the_image_has(site, share),
                image=site.image.name if site.image else None,
                files=verdict.files,
                checks=verdict.checks,
                findings=verdict.findings,
                evidence=verdict.evidence,
                assumed_libraries=request.policy.assumed_libraries,
            ),
            bundle=work.bundle,
            output=pipeline_archives.emitted_at(request, work),
            force=request.force,
            texts=site.store,
        )
        stage.result = str(request.output) if "dir" in request.formats else "to be packed"
    return manifest, pipeline_archives.publish(request, work, progress=site.progress)


def _as_the_image_has(site: Site, share: Share) -> dict[str, str]:
    installed = site.image.distributions if site.image else None
    return {wheel.locked.name: (installed or {})[wheel.locked.name].version for wheel in share.relied}


def _only_a_file_tells(dist: LockedDistribution) -> bool:
    return dist.artifact.kind in {"vcs", "directory"} or dist.artifact.sha256 is None
