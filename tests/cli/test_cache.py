"""`envbundle cache verify`, with the interpreters of this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.wheelmaker import make_wheel


@pytest.mark.thorough
def test_verify_makes_trees_again_with_the_interpreter_of_each(
    envbundle: Command, wheels: Path, tmp_path: Path
) -> None:
    envbundle = replace(envbundle, cache=tmp_path / "cache")
    make_wheel(wheels, "alpha")
    done = envbundle("create", "alpha", "--python", "3.8", "-o", "out", *envbundle.offline(wheels))
    assert done.code == 0, done.stderr
    sound = envbundle("cache", "verify", "--json")
    assert (sound.code, sound.json()) == (0, {"ok": True, "damaged": [], "unproved": []})
    (tree,) = (tmp_path / "cache").glob("v1/trees/*/*")
    tree.rename(tree.with_name(tree.name.replace("-38", "-99")))
    told = envbundle("cache", "verify", "--json")
    assert (told.code, told.json()["unproved"]) == (0, ["cpython-99"])
    assert "trees for cpython-99 are not compared with their wheels" in told.stderr
