"""The table of known breakages: its form, and what its rows are for, with messages of real failures."""

from __future__ import annotations

import json
import re

import pytest
from bundler.create.mend import breakages
from bundler.create.mend.advice import advise
from bundler.create.mend.observed import Observed
from bundler.errors import MachineError, ProofError
from bundler.model import Finding
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROWS = breakages.table()
MEMBERS = {"id", "pattern", "why", "sources", "when", "pins", "builds", "adds", "tried"}


def test_every_row_is_sound() -> None:
    assert len(ROWS) > 40
    assert len({row.id for row in ROWS}) == len(ROWS)
    for row in json.loads(breakages.TABLE.read_text()):
        assert set(row) <= MEMBERS, row["id"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(row: breakages.Breakage) -> None:
    assert not re.search(row.pattern, ""), "it would match everything"
    assert not re.search(row.pattern, "No module named 'nothing_of_the_kind'")
    assert row.why
    assert row.sources
    assert all(re.fullmatch(r"https://[^\s]+", url) for url in row.sources)
    for name, specifier in (*row.when.items(), *row.pins.items()):
        assert name == canonicalize_name(name)
        assert list(SpecifierSet(specifier))
    assert row.adds is None or row.adds in row.pins
    if row.tried:
        python, *lines = row.tried.split()
        assert re.fullmatch(r"3\.\d+", python)
        assert {canonicalize_name(Requirement(line).name) for line in lines}.isdisjoint(row.pins)


FLASK = {"flask": "1.1.2", "jinja2": "3.1.6", "markupsafe": "2.1.5", "click": "8.1.8", "werkzeug": "2.0.3"}


@pytest.mark.parametrize(
    ("text", "versions", "cures"),
    [
        # Flask 1 needs four older ones at once; Werkzeug is old enough.
        (
            "ImportError: cannot import name 'escape' from 'jinja2' (…/jinja2/__init__.py)",
            FLASK,
            {"jinja2": "<3.1", "markupsafe": "<2.1", "click": "<8.1"},
        ),
        # Another distribution that wants the same of Jinja2 has nothing to do with Flask's release.
        (
            "ImportError: cannot import name 'contextfilter' from 'jinja2' (…/jinja2/__init__.py)",
            {"flask": "3.0.0", "jinja2": "3.1.6"},
            {"jinja2": "<3.1"},
        ),
        ("ImportError: cannot import name 'escape' from 'jinja2'", {"jinja2": "2.11.3"}, {}),
        # Its own text goes to the standard error stream; the exception has none.
        (
            "  from .onnxruntime_pybind11_state import *  # noqa\nImportError\nthe same stops: x",
            {"onnxruntime": "1.17.0", "numpy": "2.4.1"},
            {"numpy": "<2"},
        ),
        (
            "  from .onnxruntime_pybind11_state import *  # noqa\nImportError: libgomp.so.1: cannot open",
            {"onnxruntime": "1.17.0", "numpy": "2.4.1"},
            {},
        ),
        (
            "ValueError: greenlet.greenlet size changed, may indicate binary incompatibility. Expected 144",
            {"gevent": "1.4.0", "greenlet": "2.0.2"},
            {"greenlet": "<0.4.17"},
        ),
        (
            "ImportError: cannot import name 'soft_unicode' from 'markupsafe' (…)",
            {"markupsafe": "2.1.5"},
            {"markupsafe": "<2.1"},
        ),
        (
            "ImportError: cannot import name 'url_quote' from 'werkzeug.urls' (…)",
            {"flask": "2.1.3", "werkzeug": "3.0.6"},
            {"werkzeug": "<3"},
        ),
        (
            "TypeError: Descriptors cannot be created directly.",
            {"protobuf": "4.25.8"},
            {"protobuf": "<3.21"},
        ),
        (
            "TypeError: Descriptors cannot not be created directly.",
            {"protobuf": "4.21.0"},
            {"protobuf": "<3.21"},
        ),
        (
            "AttributeError: module 'numpy' has no attribute 'typeDict'",
            {"numpy": "1.24.4"},
            {"numpy": "<1.24"},
        ),
        (
            "ValueError: numpy.dtype size changed, may indicate binary incompatibility. Expected 96, got 88",
            {"numpy": "2.0.2"},
            {"numpy": "<2"},
        ),
        ("ImportError: numpy.core.multiarray failed to import", {"numpy": "1.21.0"}, {}),
        (
            "TypeError: Unable to convert function return value to a Python type! The signature was\n\t()",
            {"tensorflow": "2.8.0", "numpy": "1.26.4"},
            {"numpy": "<1.24"},
        ),
        (
            "TypeError: Unable to convert function return value to a Python type! The signature was",
            {"another": "1", "numpy": "1.26.4"},
            {},
        ),
        ("ModuleNotFoundError: No module named 'pkg_resources'", {}, {"setuptools": "<81"}),
        (
            "ModuleNotFoundError: No module named 'pkg_resources'",
            {"setuptools": "82.0"},
            {"setuptools": "<81"},
        ),
        ("ModuleNotFoundError: No module named 'pkg_resources'", {"setuptools": "75.3.2"}, {}),
        (
            "ModuleNotFoundError: No module named 'six'",
            {"azure-core": "1.36.0"},
            {"azure-core": "<1.36"},
        ),
        ("ModuleNotFoundError: No module named 'six'", {"azure-core": "1.35.1"}, {}),
        (
            "TypeError: Client.__init__() got an unexpected keyword argument 'proxies'",
            {"httpx": "0.28.1"},
            {"httpx": "<0.28"},
        ),
        ("ModuleNotFoundError: No module named 'altair.vegalite.v4'", {"altair": "5.0.1"}, {"altair": "<5"}),
        ("ModuleNotFoundError: No module named 'altair.vegalite.v5'", {"altair": "5.0.1"}, {}),
    ],
)  # fmt: skip
def test_cures(text: str, versions: dict[str, str], cures: dict[str, str]) -> None:
    found: dict[str, str] = {}
    for row in breakages.matching(text, versions):
        for name, specifier in row.cures(versions).items():
            found.setdefault(name, specifier)
    assert found == cures


def test_a_row_without_pins_names_what_fails() -> None:
    last = "ImportError: cannot import name 'Mapping' from 'collections' (lib/collections/__init__.py)"
    failed = Finding(
        code="EB201", severity="error", subject="hyper", cause=last, remedy="See.", chain=("hyper",)
    )
    error = ProofError([failed])
    advise(error, Observed())
    assert "or a newer version of hyper if there is one" in error.findings[0].remedy
    assert all("{" not in row.why for row in ROWS if row.pins), "only what advice fills in"


def test_what_fails_before_there_is_a_lock_has_a_version_too() -> None:
    said = (
        "sklearn 0.0.post12 has no wheel for the target, and building it from source to learn its "
        "requirements failed:\n  The 'sklearn' PyPI package is deprecated"
    )
    error = MachineError(said, hint="require scikit-learn instead of sklearn")
    advise(error, Observed())
    assert (error.hint or "").startswith("pin sklearn==0.0: ")
    older = MachineError(said.replace("0.0.post12", "0.0"), hint="require scikit-learn instead of sklearn")
    advise(older, Observed())
    assert older.hint == "require scikit-learn instead of sklearn"
