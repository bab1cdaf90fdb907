"""The stage `verify`: the lock, the installed tree and what its modules import must agree."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.bundle import tree
from bundler.bundle.tree import HashedFile, Tree
from bundler.checks import installed, policy
from bundler.checks.imports import evidence_cache, library_needs, reach
from bundler.checks.imports.evidence import ImportEvidence
from bundler.checks.imports.service_code import CodeImport
from bundler.checks.installed import Observed
from bundler.checks.rules import (
    conflicts,
    first_use,
    gone_names,
    incomplete,
    leaks,
    libraries,
    lost,
    misfits,
    publishers,
    records,
    root_causes,
    submodules,
    supply,
    unversioned,
)
from bundler.checks.rules.codes import outcomes
from bundler.checks.rules.providers import provider_of
from bundler.lazy_dataclass import dataclass
from bundler.model import (
    CheckResult,
    Evidence,
    FileFact,
    Finding,
    Interpreter,
    Isolation,
    Lock,
    LockedDistribution,
    Obligation,
    Policy,
    RoomLimits,
    StoredWheel,
    Target,
    WheelFacts,
)
from bundler.system import room
from bundler.system.files import folders_above
from bundler.wheels.facts import startup

if TYPE_CHECKING:
    from bundler.targets.image import Image
    from bundler.wheels.store import Store

CODES = tuple(
    code for family in (leaks, incomplete, misfits, conflicts, lost, supply) for code in family.CODES
)


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """What `pip freeze --all` said of the environment, empty and with the bundle in it."""

    baseline: tuple[str, ...] = ()
    """Of the empty environment."""
    lines: tuple[str, ...] = ()
    isolation: tuple[str, ...] = ()
    """What was in force while the bundle's own start-up files ran."""
    frozen_at: str = ""
    """When it was asked of the same tree (ISO 8601, UTC); empty: just now."""


@dataclass(frozen=True, kw_only=True)
class CheckInputs:
    """A tree and all that is known of it: one that `create` has made, or a bundle that exists already."""

    prefix: Path
    lock: Lock
    wheels: tuple[StoredWheel, ...]
    target: Target
    interpreter: Interpreter
    policy: Policy = field(default_factory=Policy)
    image: Image | None = None
    """The profile of the image, where one is named."""
    relied: tuple[LockedDistribution, ...] = ()
    """What the bundle leaves to the image (`--thin`)."""
    extra_indexes: tuple[str, ...] = ()
    """Without credentials; empty where a lock with hashes decided what is taken."""
    builder: tuple[str, ...] = ()
    """Folders of this machine, whose paths must not be in what was built here."""
    service: tuple[CodeImport, ...] = ()
    """What the service's own code imports, where it is given."""
    publishing: publishers.Publishing | None = None
    """What is known of the files' publishers; `None`: nobody asked."""

    @functools.cached_property
    def facts(self) -> Mapping[str, WheelFacts]:
        """Normalised name → facts of its wheel."""
        return {wheel.locked.name: wheel.facts for wheel in self.wheels}

    @property
    def built(self) -> frozenset[str]:
        """Names of the distributions that were built here."""
        return frozenset(wheel.locked.name for wheel in self.wheels if wheel.built_from)

    @functools.cached_property
    def _trees(self) -> Mapping[str, Path]:
        return {wheel.locked.name: wheel.tree for wheel in self.wheels}

    def place(self, name: str, path: str) -> Path:
        """Return where a file of a distribution is: normalised name, path relative to the prefix."""
        return self._trees[name] / path

    def read(self, name: str, path: str) -> bytes:
        """Return such a file."""
        return self.place(name, path).read_bytes()

    @functools.cached_property
    def obligations(self) -> tuple[Obligation, ...]:
        """What must import: for the sake of what was asked for, and of the service's own code."""
        site_packages = self.target.site_packages
        named = {
            wheel.locked.name: installed.named_modules(wheel.tree / site_packages / wheel.facts.dist_info)
            for wheel in self.wheels
        }
        asked = reach.obligations(
            self.lock, self.facts, site_packages=site_packages, named=named, read=self.read
        )
        if self.service:  # it tells what it imports from below an empty package
            asked = tuple(one for one in asked if one.kind != "main" or not one.optional)
        return (*asked, *self._service[0])

    @functools.cached_property
    def _service(self) -> tuple[tuple[Obligation, ...], tuple[CodeImport, ...]]:
        return reach.service_obligations(self.service, self.facts, standard=self.interpreter.stdlib_modules)

    def missing_imports(self) -> tuple[CodeImport, ...]:
        """What the service's own code imports and neither the bundle nor the image brings."""
        had = (self.image.distributions if self.image else None) or {}
        left = {dist.name for dist in self.relied}
        names = [(one, provider_of(one.top)) for one in self._service[1]]
        return tuple(one for one, name in names if name not in had and name not in left)

    def linkage(self, evidence: ImportEvidence) -> libraries.Linkage:
        """Return how the native files are linked, as the image and the imports show."""
        known = libraries.KnownLibraries(
            image=self.image,
            assumed=self.policy.assumed_libraries,
            mapped=libraries.asked_for(evidence),
            loaded=evidence.loaded,
            without=evidence.without,
            needs=evidence.needs,
        )
        return libraries.linkage(
            self.facts, target=self.target, known=known, built=self.built, roots=self.lock.roots
        )


@dataclass(frozen=True, kw_only=True)
class ProofInputs(CheckInputs):
    """What is to be proved before it is emitted."""

    beside: Path | None = None
    """A folder that has what is left to the image; the imports use it as the image's site-packages."""
    freeze: Callable[[str], Frozen]
    """Gives `pip freeze --all` of the environment, given the digest of the tree (`evidence_cache.digest`)."""
    kept_freeze: Callable[[str], Frozen | None] = lambda _: None
    """Gives it where it is kept, so that no tree is needed."""
    isolation: Isolation
    """What was kept out of the build; how the imports were isolated is added to it."""
    scratch: Path
    output: Path
    """Where the bundle will stand, absolute."""
    seen: Mapping[str, HashedFile] = field(default_factory=dict)
    """The hashes of files, taken while they were written."""
    store: Store | None = None
    """Where the evidence of imports is kept; `None`: nowhere."""
    afresh: bool = False
    """Import even where evidence is kept."""
    limits: RoomLimits = field(default_factory=RoomLimits)
    """Of what is imported."""
    started: Callable[[str], room.RoomRun] | None = None
    """The program that imports, where it was started ahead (`evidence.starting`)."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """The findings that follow from the lock, the wheels' facts and the list of the tree's files."""

    of_lock: tuple[Finding, ...]
    of_files: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Every finding, and what was compared."""

    files: tuple[FileFact, ...]
    findings: tuple[Finding, ...]
    upload: tuple[Finding, ...]
    """About ignore files beside the bundle, not about the bundle: they are not in the manifest."""
    checks: tuple[CheckResult, ...]
    evidence: Evidence
    proved_at: str = ""
    """When the same tree was imported (ISO 8601, UTC); empty: just now."""
    frozen_at: str = ""
    """When `pip freeze` was asked of the same tree (ISO 8601, UTC); empty: just now."""


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """What a proof will say if the tree gets the files that it is to get, and no others."""

    digest: str
    """Of that tree (`evidence_cache.digest`)."""
    evidence: ImportEvidence
    listed: Listed
    of_imports: tuple[Finding, ...]
    proof: Proof
    """Where the tree itself has no finding."""


def foresee(inputs: ProofInputs, files: tuple[FileFact, ...]) -> Foreseen | None:
    """Do, while the tree is being written, what needs its list of files alone.

    :param inputs: `seen` is not used.
    :param files: what the tree shall have, sorted by path.
    :returns: `None` where imports or freeze are not kept: they need the tree.
    """
    digest = evidence_cache.digest_of(files)
    freeze = inputs.kept_freeze(digest)
    try:
        evidence = _import(inputs, digest, kept_only=True) if freeze else None
    except evidence_cache.NotKeptError:
        return None
    if freeze is None or evidence is None:
        return None
    listed = _listed_findings(inputs, files)
    of_imports = import_findings(inputs, evidence)
    static = (*listed.of_lock, *listed.of_files)
    return Foreseen(
        digest=digest,
        evidence=evidence,
        listed=listed,
        of_imports=of_imports,
        proof=_proof(inputs, files, evidence, freeze, (*static, *of_imports)),
    )


def prove(inputs: ProofInputs, foreseen: Foreseen | None = None) -> Proof:
    """Run every check on the tree as it is; what earlier stages reported is not relied on.

    `pip freeze` and the imports run while the other checks read the tree.

    :param foreseen: what `foresee` gave for the same inputs; it counts if the tree is as foreseen.
    """
    scanned = tree.scan(inputs.prefix, seen=inputs.seen)
    if foreseen is None or scanned.irregular or scanned.files != foreseen.proof.files:
        return _prove(inputs, scanned)
    freeze = inputs.kept_freeze(foreseen.digest)
    if freeze is None:  # it was kept, until somebody removed it
        return _prove(inputs, scanned)
    static = static_findings(inputs, scanned, foreseen.listed)
    return _proof(inputs, scanned.files, foreseen.evidence, freeze, (*static, *foreseen.of_imports))


def _prove(inputs: ProofInputs, scanned: Tree) -> Proof:
    with ThreadPoolExecutor(max_workers=2) as pool:
        digest = evidence_cache.digest(scanned)
        freezing = pool.submit(inputs.freeze, digest)
        importing = pool.submit(_import, inputs, digest)
        static = static_findings(inputs, scanned)
        evidence = importing.result()
        freeze = freezing.result()
        if not ("read-only" in evidence.isolation and "read-only" in freeze.isolation):
            # Without namespaces the code on trial could write into the tree.
            scanned = tree.scan(inputs.prefix)
            static = static_findings(inputs, scanned)
    findings = (*static, *import_findings(inputs, evidence))
    return _proof(inputs, scanned.files, evidence, freeze, findings)


def _proof(
    inputs: ProofInputs,
    files: tuple[FileFact, ...],
    evidence: ImportEvidence,
    freeze: Frozen,
    found: tuple[Finding, ...],
) -> Proof:
    frozen = (*leaks.baseline(freeze.baseline), *leaks.freeze(inputs.lock, freeze.lines))
    findings = policy.apply(inputs.policy, (*frozen, *found))
    listed = [file.path for file in files]
    return Proof(
        files=files,
        findings=findings,
        upload=policy.apply(
            inputs.policy, lost.dropped_from_upload(listed, lost.ignore_files(inputs.output))
        ),
        checks=outcomes((*CODES, *(publishers.CODES if inputs.publishing else ())), findings),
        evidence=Evidence(
            baseline_freeze=freeze.baseline,
            freeze=freeze.lines,
            expected=tuple(f"{dist.name}=={dist.version}" for dist in inputs.lock.distributions),
            modules=evidence.modules,
            reached=tuple(one.obligation for one in evidence.reached),
            unproved=incomplete.unproved(evidence, inputs.policy.assumed_libraries),
            libraries=evidence.libraries,
            without=evidence.without,
            isolation=replace(inputs.isolation, proof=_in_force(evidence, freeze)),
        ),
        proved_at=evidence.proved_at,
        frozen_at=freeze.frozen_at,
    )


def _in_force(evidence: ImportEvidence, freeze: Frozen) -> tuple[str, ...]:
    """Return what isolated the imports, less what did not isolate the start-up files that a freeze runs.

    As whom they ran is left out: it depends on who makes the bundle.
    """
    both = set(freeze.isolation) | {"moved"}
    return tuple(name for name in evidence.isolation if name in both and name != "other-user")


def _import(inputs: ProofInputs, digest: str, *, kept_only: bool = False) -> ImportEvidence:
    """Import what the service reaches, then every other module of the wheels, as the image will."""
    importer = evidence_cache.Importer(
        prefix=inputs.prefix,
        site_packages=inputs.target.site_packages,
        interpreter=inputs.interpreter,
        scratch=inputs.scratch,
        tree=digest,
        store=inputs.store,
        afresh=inputs.afresh,
        beside=inputs.beside,
        limits=inputs.limits,
        started=inputs.started,
        kept_only=kept_only,
    )
    brought = {name: one.modules for name, one in inputs.facts.items()}
    evidence = importer.import_modules(brought, obligations=inputs.obligations)

    def doubtful(seen: ImportEvidence) -> tuple[str, ...]:
        return libraries.doubtful(seen, inputs.facts, inputs.linkage(seen))

    return library_needs.import_without(evidence, doubtful=doubtful, importer=importer)


def static_findings(inputs: CheckInputs, scanned: Tree, listed: Listed | None = None) -> tuple[Finding, ...]:
    """Run the checks that need the tree and what is known of it, and no imports.

    :param listed: the findings of its list of files, where they are known.
    """
    seen = installed.read(inputs.prefix / inputs.target.site_packages)
    listed = listed or _listed_findings(inputs, scanned.files)
    return (
        *_of_records(inputs, seen, scanned),
        *listed.of_lock,
        *_of_tree(inputs, seen, scanned),
        *listed.of_files,
    )


def _listed_findings(inputs: CheckInputs, files: tuple[FileFact, ...]) -> Listed:
    return Listed(of_lock=tuple(_of_lock(inputs)), of_files=tuple(_of_files(inputs, files)))


def import_findings(inputs: CheckInputs, evidence: ImportEvidence) -> tuple[Finding, ...]:
    """Run the checks that need the evidence of imports, made now or when the bundle was made."""
    return root_causes.merged(
        (
            *leaks.loaded_elsewhere(evidence.elsewhere),
            *incomplete.imports(evidence, inputs.lock, inputs.facts, assumed=inputs.policy.assumed_libraries),
            *incomplete.service(inputs.missing_imports(), python=inputs.lock.python_version),
            *_of_submodules(inputs, evidence),
            *_of_gone_names(inputs, evidence),
            *_of_misfits(inputs, evidence),
            *conflicts.shadows(inputs.lock, inputs.facts, inputs.interpreter, evidence),
        )
    )


def _of_misfits(inputs: CheckInputs, evidence: ImportEvidence) -> Iterator[Finding]:
    linkage = inputs.linkage(evidence)
    needs = unversioned.needs(
        inputs.facts,
        linkage,
        used=evidence.used,
        place=inputs.place,
        limits=misfits.newest_versions(linkage),
    )
    yield from misfits.check(inputs.lock, inputs.facts, linkage, unversioned=needs)


def _of_submodules(inputs: CheckInputs, evidence: ImportEvidence) -> Iterator[Finding]:
    failures = (*evidence.failures, *(failure for one in evidence.reached for failure in one.failures))
    had = (inputs.image.distributions if inputs.image else None) or {}
    left = {*had, *(dist.name for dist in inputs.relied)}
    tops = {top for one in inputs.facts.values() for top, _ in one.imports}
    tried = (*evidence.modules, *(failure.module for failure in failures))
    yield from submodules.unmet(
        inputs.lock,
        inputs.facts,
        site_packages=inputs.target.site_packages,
        known={
            *inputs.interpreter.stdlib_modules,
            *(failure.missing.partition(".")[0] for failure in failures),
            *(module.partition(".")[0] for module in tried),
            *(top for top in tops if provider_of(top) in left),
        },
        read=inputs.read,
    )


def _of_gone_names(inputs: CheckInputs, evidence: ImportEvidence) -> Iterator[Finding]:
    told = {
        one.obligation.subject
        for one in evidence.reached
        if one.obligation.kind == "main" and one.fails
        if any(failure.exception in {"ImportError", "ModuleNotFoundError"} for failure in one.failures)
    }
    service = [one.obligation.modules for one in evidence.reached if one.obligation.kind == "service"]
    failures = (*evidence.failures, *(failure for one in evidence.reached for failure in one.failures))
    yield from gone_names.check(
        inputs.lock,
        inputs.facts,
        site_packages=inputs.target.site_packages,
        read=inputs.read,
        told=told,
        service=[one for modules in service for one in modules] if service else None,
        settled={failure.module: failure.behind for failure in failures if failure.behind},
    )


def _of_records(inputs: CheckInputs, seen: Observed, scanned: Tree) -> Iterator[Finding]:
    lock, site_packages = inputs.lock, inputs.target.site_packages
    rows = installed.read_records(inputs.prefix, site_packages, seen)
    owned = {row.path for row in rows}
    yield from leaks.installed(lock, seen)
    yield from leaks.unowned([file.path for file in scanned.files], owned=owned)
    yield from leaks.odd_entries(seen, site_packages=site_packages, owned=owned, irregular=scanned.irregular)
    yield from records.of_tree(rows, scanned.files)


def _of_lock(inputs: CheckInputs) -> Iterator[Finding]:
    lock = inputs.lock
    # What the image has is not missing.
    whole = replace(lock, distributions=(*lock.distributions, *inputs.relied))
    yield from incomplete.closure(whole, inputs.facts, inputs.target)
    yield from incomplete.extras(lock, inputs.facts)
    yield from first_use.check(lock)
    yield from conflicts.shared_paths(
        lock,
        inputs.facts,
        site_packages=inputs.target.site_packages,
        read=inputs.read,
    )


def _of_tree(inputs: CheckInputs, seen: Observed, scanned: Tree) -> Iterator[Finding]:
    prefix, site_packages = inputs.prefix, inputs.target.site_packages
    listed = [file.path for file in scanned.files]
    pth_files = startup(prefix, listed, site_packages=site_packages)
    yield from leaks.startup(pth_files, site_packages=site_packages)
    yield from leaks.finders(listed, site_packages=site_packages)
    yield from leaks.leaving_links(prefix, scanned.irregular)
    yield from leaks.origins(prefix, site_packages, seen)
    yield from lost.modes(scanned)


def _of_files(inputs: CheckInputs, files: tuple[FileFact, ...]) -> Iterator[Finding]:
    lock, facts, site_packages = inputs.lock, inputs.facts, inputs.target.site_packages
    listed = [file.path for file in files]
    yield from lost.names(files)
    yield from lost.amounts(files)
    yield from leaks.builders(lock, inputs.wheels, builder=inputs.builder)
    yield from leaks.interpreter(inputs.interpreter)
    yield from records.of_wheels(lock, facts)
    yield from conflicts.case_twins(lock, facts, listed, site_packages=site_packages)
    yield from conflicts.seeds(lock, facts, inputs.target)
    yield from conflicts.customizers(lock, facts)
    if inputs.image:
        yield from conflicts.image(lock, inputs.image, inputs.target)
    yield from lost.startup(lock, facts, site_packages=site_packages, folders=folders_above(listed))
    yield from lost.data_files(lock, facts, site_packages=site_packages)
    yield from lost.scripts(facts)
    yield from lost.programs(lock, facts, site_packages=site_packages)
    yield from supply.yanked(lock)
    yield from supply.built(lock, inputs.wheels)
    yield from supply.unpinned(lock)
    yield from supply.direct(lock)
    yield from supply.indexes(lock, extra=inputs.extra_indexes)
    yield from supply.licences(lock, facts, denied=inputs.policy.denied_licences)
    if inputs.publishing:
        yield from publishers.check(lock, inputs.publishing)
