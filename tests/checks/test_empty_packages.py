"""Empty packages with a module for each of several frameworks, of which a service chooses one."""

from __future__ import annotations

import pytest
from bundler.checks.imports.evidence import ImportEvidence, ImportFailure, Reached
from bundler.checks.rules import incomplete
from bundler.model import Obligation

from tests.support.bundlemaker import facts, lock, locked

LACKS = ("ModuleNotFoundError: No module named 'aiotool'", "aiotool")
BROKEN = ("ImportError: cannot import name 'escape' from 'jinja2'", "")


@pytest.mark.parametrize(
    ("works", "fail", "last", "expected"),
    [
        ("three", ["one", "two"], LACKS, ["info"]),  # what three names was chosen: an extra brings it
        ("two", ["one", "three"], LACKS, ["info"]),  # or it is an extra itself
        ("four", ["one", "three"], LACKS, ["error"]),  # tritonclient.utils
        ("three", ["one", "two"], BROKEN, ["error"]),
        ("", ["one", "two", "three"], LACKS, ["error"]),
    ],
)
def test_modules_of_which_a_service_chooses_one(
    works: str, fail: list[str], last: tuple[str, str], expected: list[str]
) -> None:
    """apispec-webframeworks 1.2 with Flask alone: what is for aiohttp, bottle and tornado lacks these."""
    requires = ("four", 'aiotool; extra == "one"', 'Three>=2; extra == "tests"')
    known = facts("beta", modules=["ns.beta"], extras=("one", "two", "tests"), requires=requires)
    below = Obligation(
        kind="main",
        subject="beta",
        modules=tuple(f"ns.beta.{name}" for name in (*fail, works) if name),
        reason="beta is asked for, whose empty package ns.beta is of use only for what is below",
        optional=True,
    )
    failures = tuple(
        ImportFailure(
            module=f"ns.beta.{name}",
            exception=last[0].partition(":")[0],
            missing=last[1],
            detail=f"File x\n{last[0]}",
        )
        for name in fail
    )
    evidence = ImportEvidence(modules=(), reached=(Reached(obligation=below, failures=failures),))
    found = list(incomplete.imports(evidence, lock(locked("beta")), {"beta": known}))
    assert sorted({one.severity for one in found}) == expected
