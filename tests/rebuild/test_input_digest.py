"""What decides a bundle's bytes and its verdict is in one digest, by which a nightly sees what changed."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
from bundler.checks.imports.service_code import CodeImport
from bundler.checks.rules.publishers import PublisherRules
from bundler.create.mend.pins import Limits
from bundler.create.request import CreateRequest, Resolved
from bundler.model import Policy
from bundler.rebuild import input_digest

from tests.support.bundlemaker import interpreter, lock, locked, target

REQUEST = CreateRequest(python="3.8", cache_dir=Path("/cache"), output=Path("/out"))
COUNTED = {
    "fit": False,
    "thin": True,
    "policy": Policy(strict=True),
    "provenance": PublisherRules(require=("six",)),
    "mend": Limits(tries=3, seconds=60),
    "service": (CodeImport(where="score.py:1", module="six"),),
}
RESOLVED = (
    *("requirement_files", "constraint_files", "build_constraint_files", "arguments", "from_env", "extras"),
    *("groups", "wanted", "lock_file", "python", "glibc", "image", "server", "resolver", "index", "pre"),
    *("no_binary", "only_binary", "exclude_newer", "prefer_binary"),
)
"""They count by what comes out of them: the lock, the target, the image, the constraints of builds."""
HOW = (
    "limits",  # what failed is no build to which the next is compared, and what was proved is proved
    *("no_build", "require_isolation", "build_network", "build_timeout", "build_disk"),
    *("refresh", "asked_since", "patience", "python_downloads", "cache_dir", "output", "written_to", "force"),
    *("link_mode", "formats"),
    *("wheelhouse", "prove", "job"),
)
"""How and where it is made. Formats are counted as an argument."""


def resolved(version: str = "1.0") -> Resolved:
    return Resolved(
        lock=lock(locked("six", version)),
        target=target(),
        interpreter=interpreter(Path("/usr/bin/python3.8")),
        image=None,
        extra_indexes=(),
    )


def digest(request: CreateRequest, found: Resolved, *, formats: list[str]) -> str:
    locked = input_digest.lock_digest(found.lock, store=request.cache_dir)
    return input_digest.digest(request, found, locked=locked, formats=formats)


def test_every_field_is_counted_or_need_not_be() -> None:
    assert sorted(one.name for one in fields(CreateRequest)) == sorted((*COUNTED, *RESOLVED, *HOW))


@pytest.mark.parametrize("name", sorted(COUNTED))
def test_what_decides_the_verdict_counts(name: str) -> None:
    plain = digest(REQUEST, resolved(), formats=["dir"])
    assert digest(replace(REQUEST, **{name: COUNTED[name]}), resolved(), formats=["dir"]) != plain  # type: ignore[arg-type]  # a field's name


def test_what_it_resolves_to_counts() -> None:
    plain = digest(REQUEST, resolved(), formats=["dir"])
    assert digest(REQUEST, resolved("1.1"), formats=["dir"]) != plain
    assert (
        digest(REQUEST, replace(resolved(), build_constraints=("setuptools<60",)), formats=["dir"]) != plain
    )
    assert digest(REQUEST, resolved(), formats=["dir", "zip"]) != plain
    assert digest(replace(REQUEST, output=Path("/other"), prove=True), resolved(), formats=["dir"]) == plain
