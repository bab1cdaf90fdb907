"""`envbundle explain` and the reference page say the same, and enough."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.checks.rules import codes, conflicts, incomplete, leaks
from bundler.checks.rules.codes import CODES
from bundler.model import FAMILIES, Code
from bundler.system import process

if TYPE_CHECKING:
    from tests.support.command import Command

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_every_code_says_enough(code: Code) -> None:
    for field in fields(Code):
        text = getattr(code, field.name)
        assert text.strip(), f"{code.code} has no {field.name}"
        if field.name in {"cause", "remedy", "example"}:
            assert text.endswith((".", "`", ")")), f"{code.code}: {field.name} is no sentence"
            assert len(text.split()) >= 2, f"{code.code}: {field.name} says nothing"
    assert "  " not in f"{code.cause}{code.remedy}{code.example}"
    assert code.code[:3] in FAMILIES


def test_codes_are_unique() -> None:
    every = [code.code for family in codes._TEXTS for code in family.CODES]
    assert len(every) == len(set(every)) == len(CODES)


def test_page_is_current() -> None:
    done = process.run([sys.executable, ROOT / "scripts/docs", "--check"], env={}, check=False)
    assert done.returncode == 0, "the texts have changed: run scripts/docs"
    page = (ROOT / "docs/checks.md").read_text(encoding="utf-8")
    assert all(f"{code.code}: {code.title}" in page and code.example in page for code in CODES.values())


def test_explain(envbundle: Command) -> None:
    done = envbundle("explain", "eb204")
    assert done.code == 0
    plain = " ".join(done.stdout.split())
    known = CODES["EB204"]
    assert all(text in plain for text in (known.title, known.cause, known.example, known.remedy, "error"))
    as_json = envbundle("explain", "EB204", "--json").json()
    assert as_json["ok"]
    assert (as_json["code"], as_json["remedy"]) == ("EB204", known.remedy)


def test_list(envbundle: Command) -> None:
    listed = envbundle("explain", "--list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == list(CODES)
    assert [one["code"] for one in envbundle("explain", "--list", "--json").json()["codes"]] == list(CODES)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["EB024"], "did you mean EB204"),
        (["frob"], "explain --list"),
        ([], "name one code"),
        (["EB204", "--list"], "name one code"),
    ],
)
def test_unknown_code_names_the_nearest(envbundle: Command, words: list[str], said: str) -> None:
    done = envbundle("explain", *words, "--json")
    assert (done.code, done.json()["ok"]) == (2, False)
    assert said in done.stderr


# --- codes and outcomes ----------------------------------------------------------------------------


def test_codes_are_in_order_and_every_check_names_its_own() -> None:
    assert list(codes.CODES) == sorted(codes.CODES)
    assert set(leaks.CODES + incomplete.CODES + conflicts.CODES) <= set(codes.CODES)


def test_outcomes() -> None:
    findings = [
        codes.finding("EB101", subject="x", cause="y"),
        codes.finding("EB401", subject="x", cause="y", severity="info"),
        codes.finding("EB105", subject="x", cause="y", severity="warning"),
    ]
    found = codes.outcomes(["EB102", "EB401", "EB101", "EB105"], findings)
    assert [(one.code, one.outcome) for one in found] == [
        ("EB101", "failed"),
        ("EB102", "passed"),
        ("EB105", "warned"),
        ("EB401", "passed"),
    ]
