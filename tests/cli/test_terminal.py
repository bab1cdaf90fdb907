"""On a terminal no command is silent for more than two seconds; colours go where they are wanted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.terminal import record
from tests.support.wheelmaker import make_wheel

SLOW = "import time\nprint(1, flush=True)\ntime.sleep(4)\n"
"""A module whose import takes longer than anybody waits in silence."""
LONGEST = 2.0
STAGES = """
import sys, time
from bundler.system.progress import Progress
progress = Progress(stream=sys.stderr)
with progress.stage("resolve"):
    time.sleep({seconds})
with progress.stage("fetch"), progress.bar("download", total=9) as advance:
    advance(1)
    time.sleep({seconds})
"""


@pytest.mark.thorough
def test_stages_and_bars_say_each_second_that_they_run(envbundle: Command, tmp_path: Path) -> None:
    code = STAGES.format(seconds=3)
    said = record([sys.executable, "-c", code], cwd=tmp_path, env=envbundle.environment())
    assert (said.code, said.longest < LONGEST) == (0, True), said.text
    assert "resolve         2 s …" in said.text
    assert "download:" in said.text


@pytest.mark.thorough
def test_a_silence_is_measured(envbundle: Command, tmp_path: Path) -> None:
    said = record([sys.executable, "-c", SLOW], cwd=tmp_path, env=envbundle.environment())
    assert (said.code, said.longest > 3) == (0, True)


@pytest.mark.thorough
def test_no_command_is_silent(envbundle: Command, wheels: Path, tmp_path: Path, python38: Path) -> None:
    make_wheel(wheels, "slow", files={"slow.py": SLOW})
    (tmp_path / "envbundle.toml").write_text(
        f'output = "builds"\nno-index = true\nfind-links = ["{wheels}", "{envbundle.pips}"]\n'
        '[[bundle]]\nname = "one"\npython = "3.8"\nrequirements = "requirements.txt"\n'
    )
    (tmp_path / "requirements.txt").write_text("slow\n")
    commands = [
        ["create", "slow", "--python", str(python38), "-o", "out", *envbundle.offline(wheels)],
        ["pack", "out", "--format", "tar.gz,zip", "-o", "packed"],
        ["verify", "out"],
        ["deploy", "out", "--to", "docker", "--base", "python:3.8", "-o", "deploy"],
        ["rebuild"],
    ]
    for words in commands:
        said = record(envbundle.argv(*words), cwd=tmp_path, env=envbundle.environment())
        assert said.code == 0, said.text
        assert said.longest < LONGEST, (words, said.longest, said.text)


@pytest.mark.parametrize(
    ("environ", "terminal", "coloured"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
    ],
)
def test_colours(
    envbundle: Command, tmp_path: Path, environ: dict[str, str], *, terminal: bool, coloured: bool
) -> None:
    if terminal:
        said = record(envbundle.argv("create"), cwd=tmp_path, env=envbundle.environment(environ)).text
    else:
        said = envbundle("create", environ=environ).stderr
    assert "error:" in said
    assert ("\x1b[31m" in said) is coloured
