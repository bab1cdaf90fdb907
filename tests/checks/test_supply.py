"""EB6xx: where the content comes from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from bundler.checks.rules import incomplete, supply
from bundler.model import NativeFact, StoredWheel

from tests.support.bundlemaker import facts, lock, locked
from tests.support.findings import brief


def test_yanked() -> None:
    dists = [
        replace(locked(name), yanked=reason) for name, reason in (("a", None), ("b", ""), ("c", "broken"))
    ]
    found = list(supply.yanked(lock(*dists)))
    assert brief(found) == [("EB601", "b"), ("EB601", "c")]
    assert [one.severity for one in found] == ["warning", "warning"]
    assert found[0].cause == "b 1.0 is yanked: no reason is given"


@pytest.mark.parametrize(
    ("built_from", "versions", "severity", "words"),
    [
        (None, ["libc.so.6:GLIBC_2.34"], "", ""),
        ("00", None, "info", "built on this machine"),
        (
            "00",
            ["libc.so.6:GLIBC_2.2.5", "libc.so.6:GLIBC_2.17", "libm.so.6:GLIBC_2.9"],
            "warning",
            "glibc 2.17",
        ),
        ("00", ["libstdc++.so.6:GLIBCXX_3.4.29"], "warning", "1 native files"),
    ],
)
def test_built(built_from: str | None, versions: list[str] | None, severity: str, words: str) -> None:
    known = facts("alpha")
    if versions is not None:
        known = replace(known, native=(NativeFact(path="lib/a.so", versions=tuple(versions)),))
    wheel = StoredWheel(locked=locked("alpha"), facts=known, tree=Path("x"), built_from=built_from)
    found = list(supply.built(lock(locked("alpha")), [wheel]))
    assert [(one.code, one.severity) for one in found] == ([("EB602", severity)] if severity else [])
    assert all(words in one.cause for one in found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("requests", True),
        ("requests>=2", True),
        ("requests==2.*", True),
        ("requests[socks]==2.28.2", False),
        ("requests===2.28.2", False),
        ("requests @ https://host.example/requests-2.28.2-py3-none-any.whl", False),
        ("git+https://host.example/alpha@main", False),
    ],
)
def test_unpinned(text: str, found: bool) -> None:  # noqa: FBT001 - a parameter of the table
    findings = list(supply.unpinned(lock(locked("requests"), requirements=(text,))))
    assert [(one.code, one.severity) for one in findings] == ([("EB603", "info")] if found else [])


def test_direct() -> None:
    vcs = locked("b", url="git+https://host.example/b")
    vcs = replace(vcs, source="vcs", artifact=replace(vcs.artifact, kind="vcs", commit="abc"))
    url = replace(locked("c", url="https://host.example/c.whl"), source="url")
    found = list(supply.direct(lock(locked("a"), vcs, url, replace(locked("d"), source="local"))))
    assert brief(found) == [("EB604", "b"), ("EB604", "c")]
    assert found[0].cause == "b 1.0 comes from git+https://host.example/b at abc"


PRIVATE, PUBLIC = "https://private.example/simple", "https://public.example/simple"


@pytest.mark.parametrize(
    ("extra", "served", "found"),
    [
        ((), (None, PRIVATE), False),  # one index, or a lock with hashes
        ((PRIVATE,), (PRIVATE, PRIVATE), False),
        ((PRIVATE,), (None, None), True),
        ((PRIVATE,), (PRIVATE, None), True),
        ((PRIVATE,), (PRIVATE, PUBLIC), True),
        ((PRIVATE,), (), False),
    ],
)
def test_indexes(extra: tuple[str, ...], served: tuple[str | None, ...], found: bool) -> None:  # noqa: FBT001 - as above
    dists = [replace(locked(f"dist{number}"), index=index) for number, index in enumerate(served)]
    dists.append(replace(locked("direct"), source="url"))
    findings = list(supply.indexes(lock(*dists), extra=extra))
    assert [(one.code, one.severity) for one in findings] == ([("EB605", "warning")] if found else [])


@pytest.mark.parametrize(
    ("licence", "denied", "severity"),
    [
        ("MIT", [], ""),
        ("MIT", ["GPL"], ""),
        ("", [], "info"),
        ("GPL-3.0-only", ["gpl"], "error"),
        ("GNU General Public License v3 (GPLv3)", ["GPL"], "error"),
        ("LGPL-2.1", ["GPL"], ""),
        ("GNU Affero General Public License v3; AGPLv3", ["AGPL"], "error"),
        ("MIT OR GPL-2.0-only", ["GPL"], ""),
        ("AGPL-3.0-only or GPL-2.0-only", ["GPL", "AGPL"], "error"),
        ("MIT AND GPL-2.0-only", ["GPL"], "error"),
        ("Apache-2.0", ["Apache-2.0 WITH"], ""),
        ("C++ (weird*", ["c++ (weird*"], "error"),
    ],
)
def test_licences(licence: str, denied: list[str], severity: str) -> None:
    known = {"alpha": replace(facts("alpha"), licence=licence)}
    found = list(supply.licences(lock(locked("alpha")), known, denied=denied))
    assert [(one.code, one.severity) for one in found] == ([("EB606", severity)] if severity else [])


def test_a_requirement_of_a_thousand_parentheses_is_none() -> None:
    """Its parser goes one call deeper for each, where a wheel's requirements are followed."""
    assert incomplete._requirement("a; " + "(" * 3000 + "python_version > '3'" + ")" * 3000) is None
