"""The table of who brings a module: what may be added to requirements, and what is only advised."""

from __future__ import annotations

import json
import re

import pytest
from bundler.checks.rules import providers
from packaging.utils import canonicalize_name
from packaging.version import Version

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
