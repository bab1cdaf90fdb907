"""A library of the builder that the image may lack: an error, unless only an optional part misses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.nativemaker import extension
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command

FALLBACK = "try:\n    import _fast\nexcept ImportError:\n    _fast = None\n"
LAZY = "def answer():\n    import _fast\n    return _fast\n"
NEEDED = "import _fast\n"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("package", "code", "severity"),
    [
        pytest.param(FALLBACK, 0, "warning", id="does without it, as PyYAML does"),
        pytest.param(LAZY, 1, "error", id="loads it later, as cffi does: nothing is proved"),
        pytest.param(NEEDED, 1, "error", id="cannot do without it"),
    ],
)
def test_library_of_the_builder(
    envbundle: Command, wheels: Path, tmp_path: Path, package: str, code: int, severity: str
) -> None:
    module = extension(tmp_path / "_fast.so", "_fast", flags=["-Wl,--no-as-needed", "-lgomp"])
    files: dict[str, str | bytes] = {
        "pack.py": package,
        "_fast.cpython-38-x86_64-linux-gnu.so": module.read_bytes(),
    }
    make_wheel(wheels, "pack", files=files, tag="cp38-cp38-linux_x86_64", root_is_purelib=False)
    done = envbundle(
        "create",
        "pack",
        "--python",
        "3.8",
        "--glibc",
        "2.36",
        "-o",
        "b",
        "--json",
        *envbundle.offline(wheels),
    )
    said = {one["code"]: one["severity"] for one in done.json()["findings"] if one["code"] == "EB303"}
    assert (done.code, said) == (code, {"EB303": severity}), done.stderr
    if code == 0:
        again = envbundle("verify", "b", "--json")
        assert again.code == 0, again.stderr
        assert {one["code"]: one["severity"] for one in again.json()["findings"]}["EB303"] == "warning"
