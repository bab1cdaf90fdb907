"""`lock --check` tells a lock that is not what the requirements ask for, and writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.wheelmaker import make_wheel


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["pylock.toml", "requirements.lock"])
def test_a_lock_is_compared_with_its_requirements(
    envbundle: Command, wheels: Path, tmp_path: Path, python38: Path, name: str
) -> None:
    make_wheel(wheels, "alpha", "1.0", requires=["beta"])
    make_wheel(wheels, "beta", "1.0")
    (tmp_path / "in.txt").write_text("alpha\n")
    words = ["lock", "-r", "in.txt", "--python", str(python38), "-o", name, *envbundle.offline(wheels)]
    missing = envbundle(*words, "--check")
    assert (missing.code, "is not there" in missing.stderr) == (1, True)
    assert envbundle(*words).code == 0
    before = (tmp_path / name).read_bytes()

    same = envbundle(*words, "--check")
    assert (same.code, "every lock is what" in same.stderr) == (0, True), same.stderr
    make_wheel(wheels, "beta", "2.0")  # a newer release makes no lock stale
    assert envbundle(*words, "--check").code == 0
    for wanted in ("alpha\nbeta>=2\n", "beta\n"):
        (tmp_path / "in.txt").write_text(wanted)
        stale = envbundle(*words, "--check", "--json")
        assert (stale.code, len(stale.json()["stale"])) == (1, 1)
    assert (tmp_path / name).read_bytes() == before
