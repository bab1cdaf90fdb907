"""The stages in order: read this first.

    request → target → environment → resolve → fetch → install → verify → emit → bundle

The stages are functions that take and return frozen values. This file alone knows their order, and what the
command reports of each; `prepare` finds the target and makes the environment. Each function here raises
`InputError` where the caller must act, and `MachineError` where whoever looks after the machine or the
network must.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bundler.bundle import lock as locks
from bundler.bundle import manifest as manifests
from bundler.bundle import wheelhouse
from bundler.bundle.manifest import Manifest
from bundler.bundle.tree import HashedFile
from bundler.checks import policy, proof
from bundler.checks.rules import incomplete, publishers
from bundler.checks.rules.publishers import Publishing
from bundler.create import emit, fetch, image_fit, install
from bundler.create.mend.observed import Observed
from bundler.create.mend.pins import Pin, constrained
from bundler.create.mend.pins import documents as documents_of
from bundler.create.prepare import Prepared, prepare, read_requirements
from bundler.create.request import CreateRequest, CreateResult, LockRequest, LockResult, Resolved
from bundler.create.selection import Selection, select
from bundler.errors import EnvbundleError, InputError, ProofError
from bundler.formats import Packed
from bundler.lazy_dataclass import dataclass
from bundler.model import (
    Claims,
    FileFact,
    Isolation,
    LinkMode,
    Lock,
    LockedDistribution,
    Requirements,
    StoredWheel,
)
from bundler.system import process, redact, room, workspace
from bundler.system.progress import Progress
from bundler.system.workspace import Workspace
from bundler.targets import fit, target
from bundler.wheels.store import DamagedEntryError, Store

if TYPE_CHECKING:
    from bundler.create.resolve import Resolution

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What was made while the tree was written; it counts if the tree is as it was foreseen."""

    foreseen: proof.Foreseen
    documents: emit.Documents
    """Of the proof that was foreseen."""

    def of(self, proved: proof.Proof) -> emit.Documents | None:
        """Return the documents, if they are those of a proof."""
        return self.documents if self.foreseen.proof == proved else None


def resolve(request: LockRequest, *, progress: Progress, environ: Mapping[str, str]) -> Resolved:
    """Resolve, or read the lock; nothing is written but in the store."""
    target.require_supported_machine()
    _require_isolation(request)
    wanted = read_requirements(request, environ, progress)
    with Store(request.cache_dir).incoming() as folder:
        work = Workspace(environment=folder / "env", bundle=folder / "bundle", scratch=folder / "scratch")
        work.scratch.mkdir(mode=0o700)
        with prepare(request, wanted, work, pose=False, progress=progress, environ=environ) as prepared:
            lock, publishing = _attest(prepared, _resolve(prepared))
            return Resolved(
                lock=lock,
                target=prepared.target,
                interpreter=prepared.interpreter,
                image=prepared.image,
                extra_indexes=_extra_indexes(prepared),
                build_constraints=prepared.build_constraints,
                publishing=publishing,
            )


def create(
    request: CreateRequest,
    *,
    resolved: Resolved | None = None,
    progress: Progress,
    environ: Mapping[str, str],
) -> CreateResult:
    """Make a bundle: proved and in its place, or not at all.

    :param resolved: what the request resolves to, where that is known already.
    :raises ProofError: findings of severity error; nothing was emitted.
    """
    target.require_supported_machine()
    _require_isolation(request)
    emit.require_free_destinations(request)
    wanted = read_requirements(request, environ, progress)

    def make(
        wanted: Requirements | None,
        *,
        observed: Observed,
        resolved: Resolved | None = None,
        pins: tuple[Pin, ...] = (),
    ) -> CreateResult:
        once = functools.partial(_create, request, wanted, observed=observed, resolved=resolved, pins=pins)
        return _undisturbed(functools.partial(once, progress=progress, environ=environ), request, progress)

    try:
        return make(wanted, observed=(observed := Observed()), resolved=resolved)
    except EnvbundleError as error:
        from bundler.create.mend import advice, failure, other_choice  # noqa: PLC0415 - the resolvers: 30 ms

        advice.advise(error, observed)
        if wanted is None or request.lock_file is not None:
            raise
        again = functools.partial(resolve, progress=progress, environ=environ)
        if other := other_choice.of_pip(request, error, observed, resolve=again, progress=progress):
            with contextlib.suppress(EnvbundleError):
                return make(wanted, observed=Observed(), resolved=other)
        if request.mend is None:
            failure.with_offer(error, observed)
            raise
        from bundler.create.mend.search import mend  # noqa: PLC0415 - it brings requests: 40 ms

        known = replace(observed.requirements or wanted, learned=observed.learned)
        return mend(
            error,
            observed,
            wanted=known,
            attempt=lambda pins, seen: make(constrained(known, pins), observed=seen, pins=pins),
            limits=request.mend,
            progress=progress,
        )


def _undisturbed(make: Callable[[], _T], request: LockRequest, progress: Progress) -> _T:
    """Do it; where it fails and somebody has pruned the store meanwhile, do it again while nobody can."""
    store = Store(request.cache_dir)
    losses = store.losses()
    try:
        return make()
    except (EnvbundleError, OSError) as error:
        if store.losses() == losses:
            raise
        progress.note(f"the cache was pruned meanwhile; everything is made again ({error})")
    with store.keeping():
        return make()


def _create(
    request: CreateRequest,
    wanted: Requirements | None,
    *,
    observed: Observed,
    resolved: Resolved | None = None,
    pins: tuple[Pin, ...] = (),
    progress: Progress,
    environ: Mapping[str, str],
) -> CreateResult:
    """Make a bundle once.

    :param observed: gets how far it came.
    :param pins: what mending has added to `wanted`.
    """
    with (
        workspace.claim(request.destination) as work,
        prepare(
            request, wanted, work, prefetch=resolved is None, progress=progress, environ=environ
        ) as prepared,
    ):
        observed.target, observed.settings = prepared.target, prepared.settings
        observed.requirements = prepared.requirements
        observed.lock = lock = resolved.lock if resolved else _resolve(prepared)
        lock, publishing = _attest(prepared, lock, resolved=resolved)
        wheels = _fetch(prepared, lock)
        observed.facts = {wheel.locked.name: wheel.facts for wheel in wheels}
        lock = replace(lock, distributions=tuple(wheel.locked for wheel in wheels))
        selected = select(prepared, request, lock, wheels, publishing)
        asked = functools.partial(_to_prove, prepared, request, work=work, environ=environ)
        document = functools.partial(_document, prepared, request, lock, pins=pins)
        drafting = functools.partial(_draft, selected, asked, document)
        selected, seen, draft = _install(prepared, request, selected, work, drafting)
        with emit.flushing(work.bundle):
            inputs = replace(asked(selected), beside=_install_relied(prepared, selected), seen=seen)
            proved = _verify(prepared, inputs, draft)
            with wheelhouse.prepare(request.wheelhouse, wheels, store=prepared.store, target=prepared.target):
                documents = (draft and draft.of(proved)) or document(selected, proved)
                manifest, archives = _emit(prepared, request, documents, work)
        return CreateResult(
            bundle=request.destination if "dir" in request.formats else archives[0].path,
            archives=archives,
            interpreter=prepared.interpreter,
            target=prepared.target,
            lock=lock,
            findings=(*proved.findings, *proved.upload),
            evidence=proved.evidence,
            size=sum(file.size for file in manifest.files),
            files=len(manifest.files),
            digest=manifest.digest,
            relies_on=tuple(wheel.locked for wheel in selected.relied),
            proved_at=proved.proved_at,
            frozen_at=proved.frozen_at,
            shadows=fit.shadows(selected.lock, prepared.image, prepared.target.markers)
            if prepared.image
            else None,
            mended=pins,
            notes=prepared.requirements.told if prepared.requirements else (),
            publishing=publishing,
        )


def lock(
    request: LockRequest, *, outputs: Sequence[Path], progress: Progress, environ: Mapping[str, str]
) -> LockResult:
    """Resolve, and write the lock in the form that each file's name asks for.

    What has no wheel is built: only a build tells what it used, and of local projects and repositories
    version and hash.
    """
    target.require_supported_machine()
    _require_isolation(request)
    write = functools.partial(_lock, request, outputs=outputs, progress=progress, environ=environ)
    return _undisturbed(write, request, progress)


def _lock(
    request: LockRequest, *, outputs: Sequence[Path], progress: Progress, environ: Mapping[str, str]
) -> LockResult:
    pylocks = {path for path in outputs if locks.is_pylock(path)}
    wanted = read_requirements(request, environ, progress)
    with (
        workspace.claim(outputs[0].absolute()) as work,
        prepare(request, wanted, work, progress=progress, environ=environ) as prepared,
    ):
        resolved, publishing = _attest(prepared, _resolve(prepared), outputs)
        unknown = tuple(dist for dist in resolved.distributions if _is_incomplete(dist))
        wheels = _fetch(prepared, replace(resolved, distributions=unknown)) if unknown else ()
        resolved = locks.completed(resolved, {wheel.locked.name: wheel.locked for wheel in wheels})
        resolved = fetch.with_sizes(resolved, prepared)
        built = {wheel.locked.name: wheel.facts.sha256 for wheel in wheels}
        for path in outputs:
            text = locks.to_pylock(resolved) if path in pylocks else locks.to_requirements(resolved, built)
            emit.write_file(path, text)
        told = publishers.check(resolved, publishing) if publishing else ()
        return LockResult(
            lock=resolved,
            target=prepared.target,
            findings=policy.apply(request.policy, told),
            publishing=publishing,
        )


def wheels(
    request: LockRequest, work: Workspace, *, progress: Progress, environ: Mapping[str, str]
) -> tuple[StoredWheel, ...]:
    """Bring the wheels of a lock into the store, and return them in the lock's order."""
    wanted = read_requirements(request, environ, progress)
    with prepare(request, wanted, work, prefetch=True, progress=progress, environ=environ) as prepared:
        return _fetch(prepared, _resolve(prepared))


def install_only(
    request: LockRequest, work: Workspace, *, progress: Progress, environ: Mapping[str, str]
) -> Lock:
    """Install into `work.bundle` for this machine alone: nothing is proved or emitted.

    The virtualenv that poses as the target is made at `work.environment`, and stays empty. Returns what was
    installed.
    """
    wanted = read_requirements(request, environ, progress)
    with prepare(request, wanted, work, prefetch=True, progress=progress, environ=environ) as prepared:
        lock = _resolve(prepared)
        wheels = _assemble(prepared, lock, _fetch(prepared, lock), prefix=work.bundle)[0]
        prepared.environment()  # nothing else may have needed it
        return replace(lock, distributions=tuple(wheel.locked for wheel in wheels))


def _resolve(prepared: Prepared) -> Lock:
    with prepared.progress.stage("resolve") as stage:
        if prepared.locked is not None:
            image_fit.require_fit(prepared, prepared.locked)
            stage.result = f"{len(prepared.locked.distributions)} distributions, as locked"
            return prepared.locked
        found = image_fit.resolve(prepared, prepared.requirements or Requirements())
        same = ", as before: no page of the index has changed" if found.cached else ""
        stage.result = f"{len(found.lock.distributions)} distributions{same}"
    _refuse_unknown_extras(prepared, found)
    return found.lock


def _attest(
    prepared: Prepared, lock: Lock, outputs: Sequence[Path] = (), *, resolved: Resolved | None = None
) -> tuple[Lock, Publishing | None]:
    """Have it verified who published the files, where the caller wants that, before any is unpacked or built.

    To learn what a source requires the resolver may have asked its backend before, in the room of builds.

    :param outputs: where the lock will be written.
    :param resolved: of a request that was resolved before: then it was verified there.
    :returns: the lock with identities, and what is known of the publishers.
    :raises ProofError: a publisher is not the one that he must be, or not known.
    """
    rules, decides = prepared.request.provenance, prepared.request.policy
    if rules is None or resolved:
        return lock, resolved.publishing if resolved else None
    from bundler.create import provenance  # noqa: PLC0415 - it brings requests: 40 ms

    with prepared.progress.stage("provenance") as stage:
        lock, known = provenance.attest(
            lock,
            rules,
            before=_published_before(prepared, outputs),
            settings=prepared.settings,
            store=prepared.store,
            scratch=prepared.scratch,
        )
        proved = sum(bool(one.identities) for one in known.attested.values())
        stage.result = f"the publishers of {proved} of {len(known.attested)} files are known"
    findings = policy.apply(decides, publishers.check(lock, known))
    if policy.stops(decides, findings):
        raise ProofError(findings, what="the lock")
    return lock, known


def _published_before(prepared: Prepared, outputs: Sequence[Path]) -> dict[str, tuple[Claims, ...]]:
    """Return the identities of the last lock: the one that was given, or those that would be replaced."""
    if prepared.locked is not None:
        return {dist.name: dist.identities for dist in prepared.locked.distributions}
    request = prepared.request
    bundle = [request.output / "pylock.toml"] if isinstance(request, CreateRequest) else []
    found: dict[str, tuple[Claims, ...]] = {}
    for path in (*outputs, *bundle):
        found |= locks.identities_of(path)
    return found


def _refuse_unknown_extras(prepared: Prepared, found: Resolution) -> None:
    """Refuse misspelt extras, of which resolvers only warn.

    :raises InputError: names the extras that it has.
    """
    unknown = {name for name, _ in found.unknown_extras}
    dists = tuple(dist for dist in found.lock.distributions if dist.name in unknown and dist.extras)
    if not dists:
        return
    part = replace(found.lock, distributions=dists)
    facts = {wheel.locked.name: wheel.facts for wheel in _fetch(prepared, part)}
    findings = incomplete.extras(part, facts)
    asked = {req.name: req.origin for req in (prepared.requirements or Requirements()).requirements}
    for finding in findings:
        origin = asked.get(finding.subject.partition("[")[0])
        if origin and finding.severity == "error":
            raise InputError(f"{origin}: {finding.cause}", hint=finding.remedy)


def _fetch(prepared: Prepared, lock: Lock) -> tuple[StoredWheel, ...]:
    with prepared.progress.stage("fetch") as stage:
        wheels = fetch.fetch(lock, prepared)
        built = sum(1 for wheel in wheels if wheel.built_from)
        stage.result = f"{len(wheels)} wheels" + (f", {built} of them built from source" if built else "")
    return wheels


def _install(
    prepared: Prepared,
    request: CreateRequest,
    selected: Selection,
    work: Workspace,
    draft: Callable[[tuple[FileFact, ...]], Draft | None],
) -> tuple[Selection, Mapping[str, HashedFile], Draft | None]:
    """Install into the bundle, and draft the rest meanwhile; return what was written, too."""
    drafts: list[Draft | None] = []
    with prepared.progress.stage("install") as stage:
        wheels, tree = _assemble(
            prepared,
            selected.lock,
            selected.wheels,
            prefix=work.bundle,
            link_mode=request.link_mode,
            meanwhile=lambda files: drafts.append(draft(files)),
        )
        stage.result = f"{len(tree.files)} files"
    if wheels is not selected.wheels:  # the store was damaged
        return replace(selected, wheels=wheels), tree.seen, None
    return selected, tree.seen, drafts[0]


def _draft(
    selected: Selection,
    asked: Callable[[Selection], proof.ProofInputs],
    document: Callable[[Selection, proof.Proof], emit.Documents],
    files: tuple[FileFact, ...],
) -> Draft | None:
    """Do what can be done before the tree is there; `None`: imports or freeze must see it first."""
    foreseen = None if selected.relied else proof.foresee(asked(selected), files)
    if foreseen is None:
        return None
    return Draft(foreseen=foreseen, documents=document(selected, foreseen.proof))


def _assemble(
    prepared: Prepared,
    lock: Lock,
    wheels: tuple[StoredWheel, ...],
    *,
    prefix: Path,
    link_mode: LinkMode = "copy",
    meanwhile: Callable[[tuple[FileFact, ...]], None] = lambda _: None,
) -> tuple[tuple[StoredWheel, ...], install.InstalledTree]:
    """Copy the wheels into the tree; a damaged entry of the store is made again, once.

    :returns: the wheels that were installed, and the tree.
    """
    count = sum(len(wheel.facts.files) for wheel in wheels)
    with prepared.progress.bar("install", total=count, unit="files") as advance:
        assemble = functools.partial(
            install.install,
            prefix=prefix,
            site_packages=prepared.target.site_packages,
            link_mode=link_mode,
            progress=advance,
        )
        try:
            return wheels, assemble(wheels, meanwhile=meanwhile)
        except DamagedEntryError as error:
            prepared.progress.note(f"{error.message}; it is made again")
            prepared.store.drop(error.entry)
            workspace.empty(prefix)
            wheels = fetch.fetch(lock, prepared, check_sizes=True)
            return wheels, assemble(wheels)


def _to_prove(
    prepared: Prepared,
    request: CreateRequest,
    selected: Selection,
    *,
    work: Workspace,
    environ: Mapping[str, str],
) -> proof.ProofInputs:
    return proof.ProofInputs(
        prefix=work.bundle,
        lock=selected.lock,
        wheels=selected.wheels,
        target=prepared.target,
        interpreter=prepared.interpreter,
        policy=request.policy,
        image=prepared.image,
        relied=tuple(wheel.locked for wheel in selected.relied),
        isolation=Isolation(variables=process.withheld(environ), pip_settings=prepared.settings.ignored),
        extra_indexes=_extra_indexes(prepared),
        builder=(
            *map(str, (prepared.store.root, prepared.scratch, prepared.interpreter.base_prefix)),
            environ.get("HOME", ""),
        ),
        freeze=prepared.freezer.of_tree,
        kept_freeze=prepared.freezer.kept,
        scratch=prepared.scratch,
        output=request.output,
        store=prepared.store,
        service=request.service,
        afresh=request.prove,
        limits=request.limits,
        started=prepared.importing,
        publishing=selected.publishing,
    )


def _verify(prepared: Prepared, inputs: proof.ProofInputs, draft: Draft | None) -> proof.Proof:
    with prepared.progress.stage("verify") as stage:
        proved = proof.prove(inputs, draft.foreseen if draft else None)
        when = f" at {proved.proved_at}, as this very tree" if proved.proved_at else ""
        stage.result = f"{len(proved.checks)} checks, {len(proved.evidence.modules)} modules imported{when}"
    findings = (*proved.findings, *proved.upload)
    if unused := policy.unused(inputs.policy, findings):
        words = ", ".join(policy.spelled(ignore) for ignore in unused)
        prepared.progress.note(f"no finding is what --ignore says: {words}")
    if policy.stops(inputs.policy, findings):
        raise ProofError(findings)
    return proved


def _install_relied(prepared: Prepared, selected: Selection) -> Path | None:
    """Install what is left to the image, for the import proof alone; return its site-packages."""
    if not selected.relied:
        return None
    prefix = prepared.scratch / "image"
    prefix.mkdir()
    whole = replace(selected.lock, distributions=tuple(wheel.locked for wheel in selected.relied))
    _assemble(prepared, whole, selected.relied, prefix=prefix)
    return prefix / prepared.target.site_packages


def _extra_indexes(prepared: Prepared) -> tuple[str, ...]:
    """Return the further indexes that were asked: none where a lock with hashes decided."""
    if prepared.request.lock_file is not None:
        return ()
    return tuple(redact.url(url) for url in prepared.settings.extra_index_urls)


def _document(
    prepared: Prepared,
    request: CreateRequest,
    lock: Lock,
    selected: Selection,
    proved: proof.Proof,
    *,
    pins: tuple[Pin, ...],
) -> emit.Documents:
    """Make the documents of the bundle.

    :param lock: all that was resolved.
    """
    image = prepared.image
    installed = (image.distributions if image else None) or {}
    attested, provenances = emit.attested(lock, selected.publishing)
    described = manifests.build(
        target=prepared.target,
        interpreter=prepared.interpreter,
        lock=lock,
        wheels=selected.wheels,
        files=proved.files,
        checks=proved.checks,
        findings=proved.findings,
        evidence=proved.evidence,
        assumed_libraries=request.policy.assumed_libraries,
        relies_on={one.locked.name: installed[one.locked.name].version for one in selected.relied},
        image=image.name if image else None,
        notes=map(str, prepared.requirements.told if prepared.requirements else ()),
        attestations=attested,
    )
    return emit.render(
        described,
        lock=lock,
        wheels=(*selected.wheels, *selected.relied),
        texts=prepared.store,
        further={**documents_of(pins), **provenances},
    )


def _emit(
    prepared: Prepared, request: CreateRequest, documents: emit.Documents, work: Workspace
) -> tuple[Manifest, tuple[Packed, ...]]:
    """Put the bundle and its archives in their places."""
    packing = request.formats != ("dir",)
    emitted = work.scratch / "emitted" if packing else request.destination
    described = documents.manifest
    with prepared.progress.stage("emit") as stage:
        emit.emit(documents, bundle=work.bundle, output=emitted, force=request.force)
        stage.result = str(request.output) if "dir" in request.formats else "to be packed"
    if not packing:
        return described, ()
    from bundler.formats.packing import pack  # noqa: PLC0415 - most runs pack nothing: 10 ms

    archives = pack(
        emitted,
        kinds=request.formats,
        output=request.destination,
        scratch=work.scratch,
        force=request.force,
        progress=prepared.progress,
    )
    if "dir" in request.formats:
        # An old bundle may wait beside it for a moment: there, where the next run looks.
        emitted.rename(work.bundle)
        emit.publish(work.bundle, request.destination, force=request.force)
    return described, archives


def _require_isolation(request: LockRequest) -> None:
    """Refuse a machine that cannot isolate code on trial, where the caller wants that.

    :raises MachineError: names what is missing.
    """
    if request.require_isolation:
        room.require()


def _is_incomplete(dist: LockedDistribution) -> bool:
    """Tell whether version or hash of a distribution, or how it is built, is known only with its wheel."""
    artifact = dist.artifact
    untold = artifact.kind == "sdist" and dist.built is None
    return untold or artifact.kind in {"vcs", "directory"} or artifact.sha256 is None
