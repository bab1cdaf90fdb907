"""A library of the builder that the image may lack: an error, unless only an optional part misses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bundler.checks.imports import library_needs
from bundler.checks.imports.evidence import ImportFailure

from tests.support.nativemaker import extension
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command

FALLBACK = "try:\n    import _fast\nexcept ImportError:\n    _fast = None\n"
LAZY = "def answer():\n    import _fast\n    return _fast\n"
NEEDED = "import _fast\n"
SETTINGS = "class ImproperlyConfigured(Exception):\n    pass\n\n\nimport _fast\nraise ImproperlyConfigured\n"


@pytest.mark.parametrize(
    ("detail", "line"),
    [
        (
            'File "a.py", line 1\n  x\nImportError: no Magick.\nTry:\n  https://docs.test/',
            "ImportError: no Magick.",
        ),
        (
            "ImportError: none.\n- c: not there\n- python: libpq.so.5: too short",
            "- python: libpq.so.5: too short",
        ),
        ("  load('libpq.so.5')\nImportError: none.", "ImportError: none."),
        ("killed the interpreter: SIGSEGV", "killed the interpreter: SIGSEGV"),
        ("", ""),
    ],
)
def test_the_line_that_says_most(detail: str, line: str) -> None:
    failure = ImportFailure(module="a", exception="ImportError", missing="", detail=detail)
    assert library_needs.told(failure, "libpq.so.5") == line


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("package", "code", "severity"),
    [
        pytest.param(FALLBACK, 0, "warning", id="does without it, as PyYAML does"),
        pytest.param(LAZY, 1, "error", id="loads it later, as cffi does: nothing is proved"),
        pytest.param(NEEDED, 1, "error", id="cannot do without it"),
        pytest.param(SETTINGS, 1, "error", id="asks for settings, after it has loaded it"),
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
