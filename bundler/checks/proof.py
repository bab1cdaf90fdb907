"""The stage `verify`: expected = installed = emitted = imported, before anything is emitted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bundler import tree
from bundler.checks import complete, conflicts, leaks, mounted, observed
from bundler.checks.codes import outcomes
from bundler.model import Evidence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bundler.checks.mounted import ImportEvidence
    from bundler.model import (
        CheckResult,
        Environment,
        FileFact,
        Finding,
        Interpreter,
        Isolation,
        Lock,
        StoredWheel,
        Target,
        WheelFacts,
    )
    from bundler.pip import Pip
    from bundler.tree import Tree

CODES = (*leaks.CODES, *complete.CODES, *conflicts.CODES)


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is to be proved."""

    prefix: Path
    environment: Environment
    lock: Lock
    wheels: tuple[StoredWheel, ...]
    target: Target
    interpreter: Interpreter
    baseline: tuple[str, ...]
    isolation: Isolation
    """What was kept out; how the proof was isolated is added to it."""
    pip: Pip
    scratch: Path


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Every finding, and what was seen."""

    files: tuple[FileFact, ...]
    findings: tuple[Finding, ...]
    checks: tuple[CheckResult, ...]
    evidence: Evidence


def verify(case: Case) -> Verdict:
    """Run every check; nothing is believed of what earlier stages said they did.

    The freeze, the hashes and the imports take longest and need different things: at the same time.
    """
    facts = {wheel.locked.name: wheel.facts for wheel in case.wheels}
    modules = sorted({module for one in facts.values() for module in one.modules})
    with ThreadPoolExecutor(max_workers=3) as pool:
        frozen = pool.submit(case.pip.freeze, case.environment, scratch=case.scratch)
        imported = pool.submit(
            mounted.prove,
            case.prefix,
            site_packages=case.target.site_packages,
            modules=modules,
            interpreter=case.interpreter,
            scratch=case.scratch,
        )
        scanned = tree.scan(case.prefix)
        freeze, proof = frozen.result(), imported.result()
    findings = _findings(case, facts, freeze=freeze, proof=proof, scanned=scanned)
    return Verdict(
        files=scanned.files,
        findings=findings,
        checks=outcomes(CODES, findings),
        evidence=Evidence(
            baseline_freeze=case.baseline,
            freeze=freeze,
            expected=tuple(f"{dist.name}=={dist.version}" for dist in case.lock.distributions),
            modules=proof.modules,
            libraries=proof.libraries,
            isolation=_with_proof(case.isolation, proof),
        ),
    )


def _with_proof(isolation: Isolation, proof: ImportEvidence) -> Isolation:
    return replace(isolation, proof=proof.isolation)


def _findings(
    case: Case,
    facts: dict[str, WheelFacts],
    *,
    freeze: Sequence[str],
    proof: ImportEvidence,
    scanned: Tree,
) -> tuple[Finding, ...]:
    site_packages = case.target.site_packages
    seen = observed.read(case.prefix / site_packages)
    rows = observed.read_records(case.prefix, site_packages, seen)
    owned = {row.path for row in rows}
    trees = {wheel.locked.name: wheel.tree for wheel in case.wheels}

    def content(name: str, path: str) -> bytes:
        return Path(trees[name], path).read_bytes()

    return (
        *leaks.baseline(case.baseline),
        *leaks.installed(case.lock, seen),
        *leaks.freeze(case.lock, freeze),
        *leaks.unowned([file.path for file in scanned.files], owned=owned),
        *leaks.odd_entries(seen, site_packages=site_packages, owned=owned, irregular=scanned.irregular),
        *leaks.loaded_elsewhere(proof.elsewhere),
        *complete.imports(proof, case.lock, facts),
        *complete.records(rows, scanned.files),
        *complete.closure(case.lock, facts, case.target),
        *complete.extras(case.lock, facts),
        *conflicts.shared_paths(case.lock, facts, site_packages=site_packages, read=content),
    )
