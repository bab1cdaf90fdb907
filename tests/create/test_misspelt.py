"""Misspelt names: a well-known distribution is proposed, never one that only looks like the name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.create.inputs.misspelt import WELL_KNOWN, meant, modules
from bundler.create.requirements import parse

from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from tests.support.command import Command
    from tests.support.index import Index


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("sklearn", "scikit-learn"),
        ("scikit-lern", "scikit-learn"),
        ("scikitlearn", "scikit-learn"),
        ("reqests", "requests"),
        ("cv2", "opencv-python-headless"),
        ("pandsa", "pandas"),
        ("acme-scoring", ""),
        ("numbat", "numba"),
        ("six", ""),
        ("requests", ""),
    ],
)
def test_what_was_meant(name: str, guess: str) -> None:
    assert meant(name) == guess


def test_no_two_well_known_names_are_taken_for_each_other() -> None:
    assert {name: meant(name) for name in WELL_KNOWN if meant(name)} == {}


@pytest.mark.thorough
def test_a_name_that_no_index_has(envbundle: Command, wheels: Path, index: Index) -> None:
    """A stranger with a name even nearer is not proposed."""
    make_wheel(wheels, "scikit-lerns")
    done = envbundle("create", "scikit-lern", "--python", "3.8", "-i", index.url, "-f", envbundle.pips)
    assert done.code == 2
    assert "hint: did you mean scikit-learn instead of scikit-lern?" in done.stderr


def test_a_module_that_its_own_distribution_brings_too() -> None:
    named = [parse(name, origin="r.txt:1", folder=Path()) for name in ("psycopg2==2.8.3", "sklearn")]
    assert [note.subject for note in modules(named)] == ["sklearn"]


@pytest.mark.thorough
def test_a_module_that_another_distribution_brings(envbundle: Command, wheels: Path) -> None:
    make_wheel(wheels, "sklearn")
    make_wheel(wheels, "other")
    done = envbundle("create", "sklearn", "other", "--python", "3.8", *envbundle.offline(wheels))
    assert done.code == 0
    assert "input: sklearn: scikit-learn brings the module of this name" in done.stderr
    assert done.stderr.count("input: ") == 1
