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


PKG_RESOURCES = "ModuleNotFoundError: No module named 'pkg_resources'"


@pytest.mark.parametrize(
    ("requires", "dead", "last", "expected"),
    [
        (("Luis==0.2",), ["luis.a", "luis.b"], PKG_RESOURCES, "error"),
        (('luis; python_version >= "3"',), ["luis.a", "luis.b"], PKG_RESOURCES, "error"),
        (('luis; extra == "luis"',), ["luis.a", "luis.b"], PKG_RESOURCES, "info"),  # who asks for it, has it
        ((), ["luis.a", "luis.b"], PKG_RESOURCES, "info"),
        (("luis",), ["luis.a"], PKG_RESOURCES, "info"),  # it is of use without that module
        (("luis",), ["luis.a", "luis.b"], "ImportError: cannot connect to X server", "info"),
    ],
)
def test_a_part_that_needs_what_is_required_and_does_not_import_at_all(
    requires: tuple[str, ...], dead: list[str], last: str, expected: str
) -> None:
    """botbuilder-ai 4.14: botbuilder.ai.luis, beside botbuilder.ai.qna, which works."""

    def failure(module: str) -> ImportFailure:
        missing = "pkg_resources" if last == PKG_RESOURCES else ""
        return ImportFailure(
            module=module, exception=last.partition(":")[0], missing=missing, detail=f"File x\n{last}"
        )

    known = {
        "bot": facts("bot", modules=["bot"], requires=requires),
        "luis": facts("luis", modules=["luis.a", "luis.b"]),
    }
    below = Obligation(
        kind="main", subject="bot", modules=("bot.luis", "bot.qna"), reason="bot is asked for", optional=True
    )
    evidence = ImportEvidence(
        modules=(),
        failures=tuple(map(failure, dead)),
        reached=(Reached(obligation=below, failures=(failure("bot.luis"),)),),
    )
    found = list(incomplete.imports(evidence, lock(locked("bot"), locked("luis")), known))
    assert {one.severity for one in found} == {expected}
    if expected == "error":
        (one,) = found
        assert one.cause.startswith(
            "bot is asked for, and a part for which it requires luis does not import:\nFile x\n"
        )
        assert one.cause.endswith("\nthe same stops: luis.a; luis.b")
