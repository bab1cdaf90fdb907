"""What this machine has to run tests with; a test that lacks something is skipped, and fails on CI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parents[2]
TARGETS = ("3.7", "3.8")
NEWER = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
LACKS = "this machine has "
"""Begins the reason of every such skip."""
CI = os.environ.get("CI") == "true"
"""Continuous integration demands all (read here, before tests change the environment)."""


def lacking(what: str) -> NoReturn:
    """Skip this test because the machine has `what` ("no zstd"); fail on CI."""
    if CI:
        pytest.fail(f"{LACKS}{what}, and CI=true demands all")
    pytest.skip(f"{LACKS}{what}")


def need(*programs: str) -> None:
    """Skip this test where a program is missing."""
    for program in programs:
        if shutil.which(program) is None:
            lacking(f"no C compiler ({program})" if program in {"gcc", "g++", "cc"} else f"no {program}")


def need_on_trial(*programs: str) -> None:
    """Skip this test, on CI too, where a program is missing that few have: it gives a second opinion."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{LACKS}no {program}")


def find_python(version: str) -> Path | None:
    """Find an interpreter for a test without using the code under test."""
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME", home / ".local/share"))
    name = f"python{version}"
    kept = (
        (Path(os.environ.get("PYENV_ROOT", home / ".pyenv")) / "versions", f"{version}.*/bin/{name}"),
        (ROOT / ".pythons", f"*/bin/{name}"),
        (data / "uv/python", f"*/bin/{name}"),
        (Path("/opt/python"), f"*/bin/{name}"),
    )
    for folder, pattern in kept:
        if found := sorted(folder.glob(pattern)):
            return found[-1]
    on_path = shutil.which(name)
    return Path(on_path) if on_path else None


def targets() -> tuple[str, ...]:
    """The Pythons that tests make bundles for: 3.7 and 3.8, or where neither is there a newer one."""
    if any(map(find_python, TARGETS)):
        return TARGETS
    return next(((version,) for version in NEWER if find_python(version)), TARGETS)


def in_turn(cases: Iterable[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Add a target to each case: the targets in turn, or with EVERY_TARGET=1 in the environment all of them.

    For real sets that take long and whose answer is seldom another on the other target.
    """
    ours = targets()
    every = os.environ.get("EVERY_TARGET") == "1"
    return [
        (*case, target)
        for number, case in enumerate(cases)
        for target in (ours if every else (ours[number % len(ours)],))
    ]


def python(version: str) -> Path:
    """The interpreter of a version; the test is skipped where there is none."""
    found = find_python(version)
    if found is None:
        lacking(f"no CPython {version}")
    return found


def need_pip(interpreter: Path) -> None:
    """Skip this test where an interpreter has no pip to ask: Debian's has none."""
    if subprocess.run([interpreter, "-I", "-c", "import pip"], capture_output=True, check=False).returncode:
        lacking(f"no pip beside {interpreter.name}")


def skip_without_python(code: int, said: str) -> None:
    """Skip where envbundle ended because the machine lacks the Python that the test asked for."""
    asked = re.search(r"no CPython (3\.[78])\b", said) if code == 3 else None
    if asked and find_python(asked[1]) is None:
        lacking(f"no CPython {asked[1]}")


def counted(reasons: list[str]) -> list[str]:
    """Lines such as `71 skipped: no C compiler (gcc)`, the most frequent first."""
    found = Counter(reason.removeprefix("Skipped: ").removeprefix(LACKS) for reason in reasons)
    return [f"{number} skipped: {reason}" for reason, number in found.most_common()]
