"""The pictures of the README are current: told by what they were made of, for no browser draws them here."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from scripts import drawing
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command

AGAIN = "run `.venv/bin/python scripts/pictures`: it needs an index, CPython 3.8 and Chromium"
CHANGES_WITH_THE_RUN = (
    (r"/\S*/(?=src/myenv)", ""),
    (r"\b(?:\d+(?:\.\d+)*|[kMG]?B)\b", "#"),
    (r"\((?!s\))\w+\)", "()"),
    (r"(?<=\w)s\b", ""),
    (r"^held back .*\n", ""),
    (r" {2,}", "  "),
)
"""Folders, numbers and units, where the interpreter was found, plurals, the caller's variables, columns."""


def shape(transcript: str) -> list[str]:
    """Return the lines of a run, without what differs between runs."""
    for pattern, instead in CHANGES_WITH_THE_RUN:
        transcript = re.sub(pattern, instead, transcript, flags=re.MULTILINE)
    # The environment is made while the resolver waits: which of the two ends first is chance.
    return sorted(transcript.splitlines())


def test_shape() -> None:
    first = shape("install  1.20 s   1 file\nsize   1.0 kB in 1 file\nemit  0.1 s  /a/src/myenv\n")
    assert first == shape(
        "install  31.2 s   70 files\nsize   9.0 MB in 70 files\nemit  2.1 s  /b/c/src/myenv"
    )
    assert first != shape("unpack  1.20 s   1 file\nsize   1.0 kB in 1 file\nemit  0.1 s  /a/src/myenv\n")
    assert first != shape("install  1.20 s   1 file\nsize   1.0 kB of 1 file\nemit  0.1 s  /a/src/myenv\n")


def test_the_terminal_is_drawn_of_its_transcript() -> None:
    transcript = drawing.TRANSCRIPT.read_text(encoding="utf-8")
    assert drawing.TERMINAL.read_text(encoding="utf-8") == drawing.terminal(transcript), AGAIN


def test_text_is_escaped() -> None:
    assert "<tspan" not in drawing.terminal("a <b> & c").partition("</style>")[2]
    assert "a &lt;b&gt; &amp; c" in drawing.terminal("a <b> & c")


@pytest.mark.thorough
def test_create_prints_what_the_transcript_shows(tmp_path: Path, envbundle: Command) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name in ("alpha", "beta"):
        make_wheel(wheels, name)
    command, _, shown = drawing.TRANSCRIPT.read_text(encoding="utf-8").partition("\n")
    assert command == f"$ {drawing.COMMAND}"
    (envbundle.folder / "requirements.txt").write_text("alpha==1.0\nbeta==1.0\n")
    said = subprocess.run(
        envbundle.argv(*drawing.COMMAND.split()[1:], *envbundle.offline(wheels)),
        cwd=envbundle.folder, env=envbundle.environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True,
    ).stdout  # fmt: skip
    assert shape(said) == shape(shown), AGAIN


@pytest.mark.pypi
def test_the_sample_makes_the_transcript(tmp_path: Path) -> None:
    shown = drawing.TRANSCRIPT.read_text(encoding="utf-8")
    assert shape(drawing.run_create(tmp_path)) == shape(shown), AGAIN


def test_the_report_is_drawn_of_todays_templates() -> None:
    recorded = json.loads(drawing.SOURCES.read_text(encoding="utf-8"))
    assert drawing.sources(recorded["manifest"]) == recorded, AGAIN
    assert drawing.REPORT.read_bytes().startswith(b"\x89PNG")
    assert drawing.REPORT.stat().st_size < 200_000
