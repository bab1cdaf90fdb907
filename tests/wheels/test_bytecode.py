"""Compilers that stay: what one chunk does to its process is nothing to the next, and none is left behind."""

from __future__ import annotations

import os
import re
import resource
import subprocess
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING

import pytest
from bundler.errors import CommandError
from bundler.targets import interpreters
from bundler.wheels import bytecode
from bundler.wheels.bytecode import Compilers

from tests.support.machine import need

if TYPE_CHECKING:
    from pathlib import Path

    from bundler.model import Interpreter

SITE = "lib"


@pytest.fixture
def interpreter(target_python: Path, tmp_path: Path) -> Interpreter:
    return interpreters.probe(target_python, cache_dir=tmp_path / "probes", origin="given")


def tree(folder: Path, name: str, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (folder / name / SITE / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / name / SITE / path).write_text(text)
    return folder / name


def compilers_running() -> list[str]:
    need("ps")
    words = ["ps", "-ww", "--ppid", str(os.getpid()), "-o", "args="]
    listing = subprocess.run(words, capture_output=True, text=True, check=True)
    return [line for line in listing.stdout.splitlines() if str(bytecode.SCRIPT) in line]


def test_bytecode_that_the_disk_does_not_take_is_no_fault_of_the_file(
    interpreter: Interpreter, tmp_path: Path
) -> None:
    """A tree that lacked it was kept, and each later bundle lacked it too."""
    made = tree(tmp_path, "made", {"sound.py": "x = 1\n", "broken.py": "def f(:\n"})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with Compilers(interpreter) as compilers:
            assert compilers.begin(made, ["broken.py"], site_packages=SITE).result() == []
            with pytest.raises(OSError, match="File too large"):
                compilers.begin(made, ["sound.py"], site_packages=SITE).result()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_chunks_in_any_order_give_the_same_bytes(interpreter: Interpreter, tmp_path: Path) -> None:
    files = {
        f"m{number}.py": f"def f{number}(self, common): return 'common', {number}\n" for number in range(9)
    }
    files["broken.py"] = "def f(:\n"
    found = []
    for name, paths in (("first", sorted(files)), ("second", sorted(files, reverse=True))):
        made = tree(tmp_path, name, files)
        with Compilers(interpreter) as compilers:
            begun = [compilers.begin(made, [path], site_packages=SITE) for path in paths]
            found.append({fact.path: fact.sha256 for one in begun for fact in one.result()})
            assert 1 <= len(compilers_running()) <= len(os.sched_getaffinity(0))
        assert compilers_running() == []
    assert found[0] == found[1]
    assert {re.sub(r"\..*", "", path.rpartition("/")[2]) for path in found[0]} == {f"m{n}" for n in range(9)}


def test_a_source_that_kills_its_compiler_harms_no_other(interpreter: Interpreter, tmp_path: Path) -> None:
    killer = "x = " + "-" * 200_000 + "1\n"
    made = tree(tmp_path, "deep", {"a.py": "A = 1\n", "deep.py": killer, "z.py": "Z = 1\n"})
    with Compilers(interpreter) as compilers:
        facts = compilers.begin(made, ["a.py", "deep.py", "z.py"], site_packages=SITE).result()
        again = compilers.begin(made, ["a.py"], site_packages=SITE).result()
    names = {fact.path.rpartition("/")[2].partition(".")[0] for fact in facts}
    assert names - {"deep"} == {"a", "z"}
    assert again[0] in facts


def test_an_interpreter_that_does_not_run(interpreter: Interpreter, tmp_path: Path) -> None:
    made = tree(tmp_path, "one", {"a.py": "A = 1\n"})
    lame = type(interpreter)(**{**vars(interpreter), "executable": "/bin/false"})
    with Compilers(lame) as compilers:
        for _ in range(3):  # more often than there are compilers
            with pytest.raises(CommandError):
                compilers.begin(made, ["a.py"], site_packages=SITE).result(20)


def test_closing_begins_nothing_more(interpreter: Interpreter, tmp_path: Path) -> None:
    made = tree(tmp_path, "one", {f"m{number}.py": "A = 1\n" * 20_000 for number in range(40)})
    with Compilers(interpreter) as compilers:
        begun = [compilers.begin(made, [f"m{number}.py"], site_packages=SITE) for number in range(40)]
    assert begun[0].result(0)
    with pytest.raises(CancelledError):
        begun[-1].result(0)
    assert compilers_running() == []
