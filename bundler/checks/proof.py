"""The stage `verify`: expected = installed = emitted = imported, before anything is emitted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.bundle import tree
from bundler.checks import installed, policy
from bundler.checks.imports import hidden, kept
from bundler.checks.rules import (
    conflicts,
    incomplete,
    leaks,
    libraries,
    lost,
    misfits,
    supply,
)
from bundler.checks.rules.codes import outcomes
from bundler.model import Evidence, Policy
from bundler.wheels.facts import startup

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bundler.bundle.tree import Seen, Tree
    from bundler.checks.imports.evidence import ImportEvidence
    from bundler.model import (
        CheckResult,
        FileFact,
        Finding,
        Interpreter,
        Isolation,
        Lock,
        LockedDistribution,
        StoredWheel,
        Target,
        WheelFacts,
    )
    from bundler.targets.image import Image
    from bundler.wheels.store import Store

CODES = (
    *leaks.CODES,
    *incomplete.CODES,
    *misfits.CODES,
    *conflicts.CODES,
    *lost.CODES,
    *supply.CODES,
)


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """A tree on trial with all that is known of it: in the making, or a bundle that is there already."""

    prefix: Path
    lock: Lock
    wheels: tuple[StoredWheel, ...]
    target: Target
    interpreter: Interpreter
    policy: Policy = field(default_factory=Policy)
    profile: Image | None = None
    """What is known of the image."""
    relied: tuple[LockedDistribution, ...] = ()
    """What was left to the image, which has it."""
    beside: Path | None = None
    """Where that stands for the import proof, as if in the image's own site-packages."""
    extra_indexes: tuple[str, ...] = ()
    """Without credentials; empty where a lock with hashes decided what is taken."""
    builder: tuple[str, ...] = ()
    """Folders of this machine that must not stand in what was built here."""


@dataclass(frozen=True, kw_only=True)
class Case(Exhibit):
    """What is to be proved before it is emitted."""

    baseline: tuple[str, ...]
    freeze: Callable[[], tuple[str, ...]]
    """`pip freeze --all` of the environment."""
    isolation: Isolation
    """What was kept out; how the proof was isolated is added to it."""
    scratch: Path
    output: Path
    """Where the bundle will stand, absolute."""
    seen: Mapping[str, Seen] = field(default_factory=dict)
    """What was hashed while it was written."""
    store: Store | None = None
    """Where the evidence of proofs is kept; `None`: nowhere."""
    afresh: bool = False
    """Import even where the evidence is there."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Every finding, and what was seen."""

    files: tuple[FileFact, ...]
    findings: tuple[Finding, ...]
    around: tuple[Finding, ...]
    """What lies in the place of the bundle, and not in itself: stands in no manifest."""
    checks: tuple[CheckResult, ...]
    evidence: Evidence
    proved_at: str = ""
    """When the same tree was imported (ISO 8601, UTC); empty: just now."""


def verify(case: Case) -> Verdict:
    """Run every check; nothing is believed of what earlier stages said they did.

    `pip freeze` runs while the tree is read and imported.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:
        frozen = pool.submit(case.freeze)
        scanned = tree.scan(case.prefix, seen=case.seen)
        proving = pool.submit(_imports, case, scanned)
        examined = examine(case, scanned)
        proof = proving.result()
        if "read-only" not in proof.isolation:
            # Where the machine allows no namespaces, what was imported could write into the tree.
            scanned = tree.scan(case.prefix, seen=case.seen)
            examined = examine(case, scanned)
        freeze = frozen.result()
    said = (
        *leaks.baseline(case.baseline),
        *leaks.freeze(case.lock, freeze),
        *examined,
        *examine_imports(case, proof),
    )
    findings = policy.apply(case.policy, said)
    return Verdict(
        files=scanned.files,
        findings=findings,
        around=policy.apply(
            case.policy,
            lost.dropped_from_upload([file.path for file in scanned.files], lost.ignore_files(case.output)),
        ),
        checks=outcomes(CODES, findings),
        evidence=Evidence(
            baseline_freeze=case.baseline,
            freeze=freeze,
            expected=tuple(f"{dist.name}=={dist.version}" for dist in case.lock.distributions),
            modules=proof.modules,
            libraries=proof.libraries,
            without=proof.without,
            isolation=_with_proof(case.isolation, proof),
        ),
        proved_at=proof.proved_at,
    )


def _with_proof(isolation: Isolation, proof: ImportEvidence) -> Isolation:
    return replace(isolation, proof=proof.isolation)


def _imports(case: Case, scanned: Tree) -> ImportEvidence:
    """Import every module that the wheels bring, as the image will."""
    court = kept.Court(
        prefix=case.prefix,
        site_packages=case.target.site_packages,
        interpreter=case.interpreter,
        scratch=case.scratch,
        tree=kept.digest(scanned),
        store=case.store,
        afresh=case.afresh,
        beside=case.beside,
    )
    proof = court.prove(sorted({module for wheel in case.wheels for module in wheel.facts.modules}))
    facts = {wheel.locked.name: wheel.facts for wheel in case.wheels}
    around = _around(case, proof)
    scene = libraries.scene(facts, target=case.target, around=around, built=_built_here(case))
    return hidden.retry(proof, scene=scene, facts=facts, court=court)


def examine(case: Exhibit, scanned: Tree) -> tuple[Finding, ...]:
    """Run the checks that need nothing but the tree and what is known of it."""
    facts = {wheel.locked.name: wheel.facts for wheel in case.wheels}
    site_packages = case.target.site_packages
    seen = installed.read(case.prefix / site_packages)
    rows = installed.read_records(case.prefix, site_packages, seen)
    owned = {row.path for row in rows}
    trees = {wheel.locked.name: wheel.tree for wheel in case.wheels}

    def content(name: str, path: str) -> bytes:
        return Path(trees[name], path).read_bytes()

    return (
        *leaks.installed(case.lock, seen),
        *leaks.unowned([file.path for file in scanned.files], owned=owned),
        *leaks.odd_entries(seen, site_packages=site_packages, owned=owned, irregular=scanned.irregular),
        *incomplete.records(rows, scanned.files),
        *_examine_closure(case, facts),
        *incomplete.extras(case.lock, facts),
        *conflicts.shared_paths(case.lock, facts, site_packages=site_packages, read=content),
        *_examine_tree(case, seen, scanned),
        *_examine_wheels(case, facts, scanned),
    )


def examine_imports(case: Exhibit, proof: ImportEvidence) -> tuple[Finding, ...]:
    """Run the checks that judge by what the imports showed, now or when the bundle was made."""
    facts = {wheel.locked.name: wheel.facts for wheel in case.wheels}
    around = _around(case, proof)
    return (
        *leaks.loaded_elsewhere(proof.elsewhere),
        *incomplete.imports(proof, case.lock, facts),
        *misfits.check(case.lock, facts, target=case.target, built=_built_here(case), around=around),
        *conflicts.shadows(case.lock, facts, case.interpreter, proof),
    )


def _built_here(case: Exhibit) -> frozenset[str]:
    return frozenset(wheel.locked.name for wheel in case.wheels if wheel.built_from)


def _around(case: Exhibit, proof: ImportEvidence) -> libraries.Surroundings:
    return libraries.Surroundings(
        profile=case.profile,
        assumed=case.policy.assumed_libraries,
        mapped=libraries.asked_for(proof),
        loaded=proof.loaded,
        without=proof.without,
    )


def _examine_closure(case: Exhibit, facts: Mapping[str, WheelFacts]) -> tuple[Finding, ...]:
    """What the image has counts as brought."""
    whole = replace(case.lock, distributions=(*case.lock.distributions, *case.relied))
    return incomplete.closure(whole, facts, case.target)


def _examine_tree(case: Exhibit, seen: installed.Observed, scanned: Tree) -> tuple[Finding, ...]:
    site_packages = case.target.site_packages
    listed = [file.path for file in scanned.files]
    started = startup(case.prefix, listed, site_packages=site_packages)
    return (
        *leaks.startup(started, site_packages=site_packages),
        *leaks.finders(listed, site_packages=site_packages),
        *leaks.leaving_links(case.prefix, scanned.irregular),
        *leaks.origins(case.prefix, site_packages, seen),
        *lost.modes(scanned),
        *lost.names(scanned.files),
        *lost.amounts(scanned.files),
    )


def _examine_wheels(case: Exhibit, facts: Mapping[str, WheelFacts], scanned: Tree) -> tuple[Finding, ...]:
    lock, site_packages = case.lock, case.target.site_packages
    listed = [file.path for file in scanned.files]
    has = (case.profile.distributions if case.profile else None) or {}
    return (
        *leaks.builders(lock, case.wheels, builder=case.builder),
        *leaks.interpreter(case.interpreter),
        *conflicts.case_twins(lock, facts, listed, site_packages=site_packages),
        *conflicts.seeds(lock, facts, case.target),
        *conflicts.customizers(lock, facts),
        *(
            conflicts.changes(
                lock,
                case.target,
                distributions={name: one.version for name, one in has.items()},
                requires={name: one.requires for name, one in has.items()},
            )
            if has
            else ()
        ),
        *lost.startup(lock, facts, site_packages=site_packages, folders=tree.folders(listed)),
        *lost.data_files(lock, facts, site_packages=site_packages),
        *lost.scripts(facts),
        *lost.programs(lock, facts, site_packages=site_packages),
        *supply.yanked(lock),
        *supply.built(lock, case.wheels),
        *supply.unpinned(lock),
        *supply.direct(lock),
        *supply.indexes(lock, extra=case.extra_indexes),
        *supply.licences(lock, facts, denied=case.policy.denied_licences),
    )
