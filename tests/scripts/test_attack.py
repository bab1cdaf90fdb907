"""`scripts/attack`: every reader answers a few changed inputs, and one that does not is told."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "attack"


@pytest.mark.thorough
def test_every_reader_answers() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "--seconds", "0.5", "--seed", "7"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(
        r"^(\S.*?) +(\d+) inputs, +(\d+) accepted, 0 without an answer$", done.stdout, re.MULTILINE
    )
    assert {"manifest", "lock", "wheel", "tar.gz", "page-json"} <= {name for name, _, _ in rows}
    assert all(int(accepted) >= 1 for _, _, accepted in rows), "the unchanged input is accepted"
    assert sum(int(count) for _, count, _ in rows) > 2 * len(rows)


@pytest.mark.thorough
def test_an_unknown_reader_is_named() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no reader 'nonsense'" in done.stderr
