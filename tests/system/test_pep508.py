"""Requirements and markers that nest too deep are none, wherever they come from."""

from __future__ import annotations

import pytest
from bundler.create.resolve import resolution
from bundler.system import pep508
from bundler.targets import fit
from packaging.markers import InvalidMarker
from packaging.requirements import InvalidRequirement


def nested(depth: int) -> str:
    return "(" * depth + "python_version > '3'" + ")" * depth


@pytest.mark.parametrize("depth", [0, 12, pep508.MOST])
def test_what_real_ones_have_is_read(depth: int) -> None:
    assert pep508.requirement(f"alpha>=1; {nested(depth)}").name == "alpha"
    assert pep508.marker(nested(depth)).evaluate({"python_version": "3.8"})


@pytest.mark.parametrize("depth", [pep508.MOST + 1, 100_000])
def test_what_nests_too_deep_is_none(depth: int) -> None:
    with pytest.raises(InvalidRequirement, match="parentheses"):
        pep508.requirement(f"alpha; {nested(depth)}")
    with pytest.raises(InvalidMarker, match="parentheses"):
        pep508.marker(nested(depth))


def test_readers_pass_it_over() -> None:
    lines = [f"alpha; {nested(5000)}", "beta>=1"]
    assert [one.name for one in fit.demands_of(lines, ("root 1",), {"python_version": "3.8"})] == ["beta"]
    assert not resolution.is_valid(lines, None)
    assert resolution.is_valid(lines[1:], None)
