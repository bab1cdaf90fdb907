"""Imports a tree once more, with those libraries hidden that the image is not known to have.

An extension module that was built here may be an optional part that its package does without (PyYAML's
`_yaml`, which needs libyaml). Only an import without the library shows it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bundler.checks.rules import libraries

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundler.checks.imports.evidence import ImportEvidence
    from bundler.checks.imports.kept import Importer
    from bundler.checks.rules.libraries import Linkage
    from bundler.model import WheelFacts

HIDDEN = "hidden"
"""In the isolation of evidence: the libraries were really hidden."""


def import_without(
    evidence: ImportEvidence, *, linkage: Linkage, facts: Mapping[str, WheelFacts], importer: Importer
) -> ImportEvidence:
    """Return the evidence with `without`: the missing libraries that only an optional part needs.

    :param evidence: of the imports with all that this machine has.
    :param facts: normalised name → facts of its wheel.
    """
    missing = libraries.missing_errors(facts, linkage)
    if not missing or "read-only" not in evidence.isolation:
        return evidence
    # An extension module that is imported by its own name says nothing of its package: leave it out.
    named = {
        path.removeprefix(f"{importer.site_packages}/").partition(".")[0]
        for name, library in missing
        for path in _needing(facts[name], library)
    }
    modules = [module for module in evidence.modules if module not in named]
    before = importer.import_modules(modules)
    after = importer.import_modules(modules, hidden=sorted({library for _, library in missing}))
    if HIDDEN not in after.isolation:
        return evidence
    tolerated = [
        f"{name}:{library}"
        for name, library in sorted(missing)
        if _does_without(facts[name], _needing(facts[name], library), before=before, after=after)
    ]
    return replace(evidence, without=tuple(tolerated))


def _needing(facts: WheelFacts, library: str) -> frozenset[str]:
    return frozenset(fact.path for fact in facts.native if library in fact.needed)


def _does_without(
    facts: WheelFacts, needing: frozenset[str], *, before: ImportEvidence, after: ImportEvidence
) -> bool:
    """Tell whether a distribution imports as before although no file that needs the library was loaded.

    Its own modules must have loaded all these files while the library was there: if they did not, nothing
    is shown (cffi imports without its backend, and is of no use).
    """
    imported = set(facts.modules) & set(before.modules)
    return (
        bool(imported)
        and needing <= set(before.loaded)
        and not needing & set(after.loaded)
        and imported <= set(after.modules)
    )
