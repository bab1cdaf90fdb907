"""Programs: a conversation with one that answers lines, and what is said where it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bundler.errors import CommandError
from bundler.system import process

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("script", ["pass", "input(); raise SystemExit(3)", "import os; os._exit(0)"])
def test_a_program_that_ends_is_told(tmp_path: Path, target_python: Path, script: str) -> None:
    env = process.clean_environment(home=tmp_path)
    with (
        process.converse([target_python, "-c", script], env=env) as program,
        pytest.raises(CommandError, match="ended with exit code"),
    ):
        program.ask("anything")


def test_answers_come_in_turn(tmp_path: Path, target_python: Path) -> None:
    script = "import sys\nfor line in sys.stdin: print(line.strip() * 2, flush=True)"
    env = process.clean_environment(home=tmp_path)
    with process.converse([target_python, "-c", script], env=env) as program:
        assert [program.ask(word) for word in ("a", "b", "ü" * 70_000)] == ["aa", "bb", "ü" * 140_000]
    with (
        pytest.raises(CommandError, match="could not be started"),
        process.converse([tmp_path / "nothing"], env=env),
    ):
        pass
