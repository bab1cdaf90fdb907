"""Programs that modules start while they are imported: those of the builder are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bundler.checks.rules import system_programs

from tests.support import machine
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command

CHILD = 'File "/x/subprocess.py", line 1702, in _execute_child\n  raise child_exception_type(errno_num)\n'
NO_FILE = "FileNotFoundError: [Errno 2] No such file or directory: "
GIT = (
    "ImportError: Failed to initialize: Bad git executable.\nThe git executable must be specified:\n    - so"
)
STARTS = 'import subprocess\nsubprocess.run(["{}", "--version"], stdout=subprocess.DEVNULL, check=True)\n'


@pytest.mark.parametrize(
    ("detail", "program"),
    [
        (f"{CHILD}{NO_FILE}'ffmpeg'", "ffmpeg"),
        (GIT, "git"),
        # A file that is opened is no program, and neither is what a module names by its path.
        (f'File "beta.py", line 1, in <module>\n  open("ffmpeg")\n{NO_FILE}\'ffmpeg\'', None),
        (f"{CHILD}{NO_FILE}'/opt/tool/bin/run'", None),
        ('  raise ImportError("Bad git executable")\nValueError: other', None),
    ],
)
def test_the_program_that_an_import_could_not_start(detail: str, program: str | None) -> None:
    assert system_programs.lacking(detail) == program


@pytest.mark.thorough
def test_programs_of_the_builder_are_not_there(envbundle: Command, wheels: Path, python38: Path) -> None:
    """The builder has git, and every image has grep."""
    machine.need("git")
    make_wheel(wheels, "asks", files={"asks.py": STARTS.format("git")})
    make_wheel(wheels, "greps", files={"greps.py": STARTS.format("grep")})
    make_wheel(wheels, "top", files={"top.py": ""}, requires=["asks", "greps"])

    def said(name: str) -> set[tuple[str, str, str]]:
        words = ["create", name, "--python", str(python38), "-o", f"out-{name}", "--json"]
        done = envbundle(*words, *envbundle.offline(wheels))
        if done.code == 0 and "own-root" not in done.json()["isolation"]["proof"]:
            machine.lacking("no namespaces")
        return {
            (one["severity"], one["subject"], one["remedy"].partition(":")[0])
            for one in done.json()["findings"]
            if one["code"] == "EB201"
        }

    assert said("greps") == set()
    assert said("asks") == {("error", "asks", "install git in the image")}
    # What nothing reaches, and the image may have, is information.
    assert {row[:2] for row in said("top")} == {("info", "asks")}
