"""EB208: pairs of versions that import, and of which one fails when it is first used."""

from __future__ import annotations

from dataclasses import replace

import pytest
from bundler.checks.rules import first_use
from bundler.create.mend import breakages
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.support.bundlemaker import lock, locked


@pytest.mark.parametrize(
    ("name", "version", "other", "its", "expected"),
    [
        ("dash", "2.4.1", "flask", "2.3.3", ["error"]),
        ("dash", "2.4.1", "flask", "3.0.3", ["error"]),
        ("dash", "2.4.1", "flask", "2.2.5", []),
        ("dash", "2.7.0", "flask", "2.3.3", []),
        ("flask-sqlalchemy", "2.5.1", "sqlalchemy", "2.0.30", ["error"]),
        ("flask-sqlalchemy", "2.5.1", "sqlalchemy", "1.4.54", []),
        ("flask-sqlalchemy", "3.0.0", "sqlalchemy", "2.0.30", []),
        ("openai", "1.55.2", "httpx", "0.28.1", ["error"]),
        ("openai", "1.55.3", "httpx", "0.28.1", []),
        ("openai", "0.28.1", "httpx", "0.28.1", []),
        ("openai", "1.40.0", "httpx", "0.27.2", []),
        ("openai", "1.40.0", "requests", "2.0", []),
        ("openai", "of today", "httpx", "0.28.1", []),
        ("black", "21.12b0", "click", "8.1.3", ["error"]),
        ("black", "19.10b0", "click", "8.1.3", ["error"]),
        ("black", "22.3.0", "click", "8.1.3", []),
        ("black", "21.12b0", "click", "8.0.4", []),
        ("celery", "5.2.7", "importlib-metadata", "6.7.0", []),  # 3.8 has it in itself
    ],
)
def test_a_pair_of_versions(name: str, version: str, other: str, its: str, expected: list[str]) -> None:
    found = list(first_use.check(lock(locked(name, version), locked(other, its))))
    assert [one.severity for one in found] == expected
    assert [(one.code, one.subject) for one in found] == [("EB208", name)] * len(expected)
    for one in found:
        assert f"{other} {its}" in one.cause
        assert one.remedy.startswith(f"pin {other}<")


@pytest.mark.parametrize(
    ("python", "name", "version", "its", "expected"),
    [
        ("3.7.16", "celery", "5.1.2", "6.7.0", ["error"]),
        ("3.7.16", "celery", "5.1.2", "4.13.0", []),
        ("3.7.16", "celery", "4.3.0", "6.7.0", []),
        ("3.7.16", "flake8", "3.9.2", "6.7.0", ["error"]),
        ("3.8.0", "flake8", "3.9.2", "6.7.0", []),
    ],
)
def test_only_some_pythons_ask_the_other_one(
    python: str, name: str, version: str, its: str, expected: list[str]
) -> None:
    pair = lock(locked(name, version), locked("importlib-metadata", its, required_by=(name,)))
    found = first_use.check(replace(pair, python_version=python))
    assert [one.severity for one in found] == expected


@pytest.mark.parametrize(
    ("above", "extras", "severity"),
    [((), ("bcrypt",), "error"), ((), (), "warning"), (("root",), ("bcrypt",), "warning")],
)
def test_who_makes_the_call_is_certain_or_not(
    above: tuple[str, ...], extras: tuple[str, ...], severity: str
) -> None:
    passlib = locked("passlib", "1.7.4", extras=extras, required_by=above)
    bcrypt = locked("bcrypt", "5.0.0", required_by=("passlib",))
    (found,) = first_use.check(lock(locked("root"), passlib, bcrypt))
    assert found.severity == severity


@pytest.mark.parametrize("row", first_use.KNOWN, ids=lambda row: row.name)
def test_row(row: first_use.FirstUse) -> None:
    """What a row says is sound, and mending knows what cures it."""
    assert (row.name, row.other) == (canonicalize_name(row.name), canonicalize_name(row.other))
    assert list(SpecifierSet(row.versions))
    assert row.source.startswith("https://")
    assert not row.python or list(SpecifierSet(row.python))
    cured = [one.cures({row.other: row.since}) for one in breakages.matching(row.exception, {})]
    assert any(row.other in one for one in cured)
