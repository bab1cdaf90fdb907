"""A second import proof, from which the libraries are hidden that nobody says the image has.

What a wheel that was built here links against the builder's libraries may be an optional part that its
package does without (PyYAML's `_yaml` and libyaml). Only an import without them tells.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bundler.checks.rules import libraries

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundler.checks.imports.evidence import ImportEvidence
    from bundler.checks.imports.kept import Court
    from bundler.checks.rules.libraries import Scene
    from bundler.model import WheelFacts

HIDDEN = "hidden"
"""Stands in the isolation of a proof from which libraries were really hidden."""


def retry(
    proof: ImportEvidence,
    *,
    scene: Scene,
    facts: Mapping[str, WheelFacts],
    court: Court,
) -> ImportEvidence:
    """Complete a proof by what it can do `without`; unchanged where nothing is lacking.

    :param proof: of the imports with all that this machine has.
    :param facts: normalised name → facts of its wheel.
    """
    lacking = libraries.lacking(facts, scene)
    if not lacking or "read-only" not in proof.isolation:
        return proof
    # An extension module that is named by itself was not tried by its package: only the others count.
    named = {
        _module(path, court.site_packages)
        for name, library in lacking
        for path in _needing(facts[name], library)
    }
    public = [module for module in proof.modules if module not in named]
    tried = court.prove(public)
    again = court.prove(public, hidden=sorted({library for _, library in lacking}))
    if HIDDEN not in again.isolation:
        return proof
    tolerated = [
        f"{name}:{library}"
        for name, library in sorted(lacking)
        if _does_without(facts[name], _needing(facts[name], library), tried=tried, again=again)
    ]
    return replace(proof, without=tuple(tolerated))


def _needing(facts: WheelFacts, library: str) -> frozenset[str]:
    return frozenset(fact.path for fact in facts.native if library in fact.needed)


def _module(path: str, site_packages: str) -> str:
    return path.removeprefix(f"{site_packages}/").partition(".")[0]


def _does_without(
    facts: WheelFacts, needing: frozenset[str], *, tried: ImportEvidence, again: ImportEvidence
) -> bool:
    """Tell whether a distribution imports as before although none of the files that need a library loads.

    Its own modules must have loaded each of them while the library was there: what nothing tried proves
    nothing (cffi imports without its backend, and is of no use).
    """
    before = set(facts.modules) & set(tried.modules)
    return (
        bool(before)
        and needing <= set(tried.loaded)
        and not needing & set(again.loaded)
        and before <= set(again.modules)
    )
