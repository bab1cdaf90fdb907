"""The table of who brings a module: what may be added to requirements, and what is only advised."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from bundler.checks.imports.evidence import ImportEvidence, ImportFailure, Reached
from bundler.checks.imports.service_code import CodeImport
from bundler.checks.rules import incomplete, providers
from bundler.model import Obligation
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.support.bundlemaker import facts, lock, locked

ROWS = providers.table()


def test_the_table_is_sound() -> None:
    rows = json.loads(providers.TABLE.read_text())
    names = [row["module"] for row in rows]
    assert names == sorted(set(names), key=lambda name: (name.lower(), name))
    assert len(rows) > 200
    for row in rows:
        assert set(row) <= {"module", "distribution", "source", "seen"}


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.module)
def test_row(row: providers.Provider) -> None:
    assert row.distribution == canonicalize_name(row.distribution)
    assert re.fullmatch(r"[A-Za-z_]\w*(\.[a-z_]\w*)*", row.module)
    assert bool(row.seen) == bool(row.source), "what may be added has both"
    if row.seen:
        assert Version(row.seen)
        assert re.fullmatch(r"https://[^\s]+", row.source)


@pytest.mark.parametrize(
    ("module", "distribution"),
    [
        ("attr", "attrs"),
        ("yaml", "pyyaml"),
        ("six.moves.urllib", "six"),
        ("google.protobuf.internal.enum_type_wrapper", "protobuf"),
        ("azure.storage.blob.aio", "azure-storage-blob"),
        # Several distributions share these, and that of the name is none of theirs.
        ("google", None),
        ("azure", None),
        ("google.cloud", None),
        ("sixth", None),
    ],
)
def test_known(module: str, distribution: str | None) -> None:
    row = providers.known(module)
    assert (row.distribution if row else None) == distribution


@pytest.mark.parametrize(
    "module", ["distutils", "multipart", "torch", "tensorflow", "pkg_resources", "ruamel"]
)
def test_what_is_only_advised(module: str) -> None:
    assert providers.advised(module) == ROWS[module].distribution
    assert not ROWS[module].seen


def test_a_guess_says_that_it_is_one() -> None:
    assert providers.provider_of("Sixth_Sense") == "sixth-sense"
    assert "sixth-sense" not in providers.advised("Sixth_Sense")
    assert "its name is not known here" in providers.advised("Sixth_Sense")


@pytest.mark.parametrize(
    ("missing", "python", "remedy", "not_said"),
    [
        ("distutils", "3.12.1", "Python has no distutils since 3.12: pin a version of beta", "add set"),
        ("distutils", "3.12.1", "setuptools in the requirements does not help", "add setuptools"),
        ("imp", "3.13.0", "Python has no imp since 3.12: pin a version of beta that works without", "add"),
        ("parser", "3.9.18", "add the distribution that brings parser", "Python has no"),
        ("asyncore", "3.12.1", "add pyasyncore to the requirements", "Python has no"),
    ],
)  # fmt: skip
def test_what_the_standard_library_no_longer_has(
    missing: str, python: str, remedy: str, not_said: str
) -> None:
    """Tried with setuptools 80 and 84 in a mounted folder of Python 3.12: `import distutils` fails."""
    exception = "ModuleNotFoundError"
    failure = ImportFailure(
        module="beta",
        exception=exception,
        missing=missing,
        detail=f"{exception}: No module named '{missing}'",
    )
    by = Obligation(kind="main", subject="beta", modules=("beta",), reason="beta is asked for")
    evidence = ImportEvidence(modules=(), reached=(Reached(obligation=by, failures=(failure,)),))
    known = {
        "beta": facts("beta", modules=["beta"]),
        "setuptools": facts("setuptools", modules=["setuptools"]),
    }
    on = replace(lock(locked("beta"), locked("setuptools")), python_version=python)
    (found,) = incomplete.imports(evidence, on, known)
    assert remedy in found.remedy
    assert not_said not in found.remedy


@pytest.mark.parametrize(
    ("module", "python", "advice", "never"),
    [
        ("yaml", "3.12", "add pyyaml to the requirements; if the image", "Python has no"),
        ("imp", "3.12", "Python has no imp since 3.12: take the import out", "to the requirements"),
        ("distutils.version", "3.12.1", "or add setuptools to the requirements and import it first", "pin"),
        ("imp", "3.11.9", "to the requirements", "Python has no"),
    ],
)
def test_what_to_do_about_an_import_of_the_service(module: str, python: str, advice: str, never: str) -> None:
    (said,) = incomplete.service([CodeImport(where="score.py:1", module=module)], python=python)
    assert advice in said.remedy
    assert never not in said.remedy
