"""On a terminal every command says each second that it runs; colours go where they are wanted."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from bundler.wheels.store import Store

from tests.support.command import Command
from tests.support.terminal import record
from tests.support.wheelmaker import make_wheel

SLOW = "import time\nprint(1, flush=True)\ntime.sleep(4.3)\n"
"""A module whose import takes longer than anybody waits in silence."""
LONGEST = 4.0
"""Seconds: a line that comes each second comes late on a machine with other work."""
SLOW_FILES = """
import time

from fsspec.implementations.local import LocalFileSystem

class Slow(LocalFileSystem):
    protocol = "slow"
    slept = set()

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(str(path).removeprefix("slow://"))

    def sleep(self, what):
        if what not in self.slept:
            self.slept.add(what)
            time.sleep(4.3)
            with open({log!r}, "a") as log:
                print(what, file=log)

    def get_file(self, *words, **options):
        self.sleep("get_file")
        return super().get_file(*words, **options)

    def put_file(self, *words, **options):
        self.sleep("put_file")
        return super().put_file(*words, **options)
"""
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
    code = STAGES.format(seconds=5)
    said = record([sys.executable, "-c", code], cwd=tmp_path, env=envbundle.environment())
    assert (said.code, said.longest < LONGEST) == (0, True), said.text
    assert "resolve         2 s …" in said.text
    assert "download:" in said.text


@pytest.mark.thorough
def test_a_silence_is_measured(envbundle: Command, tmp_path: Path) -> None:
    said = record([sys.executable, "-c", SLOW], cwd=tmp_path, env=envbundle.environment())
    assert (said.code, said.longest > LONGEST) == (0, True)


def slow_url(folder: Path) -> str:
    """Give fsspec, by an entry point in `site`, a filesystem that takes its time once in each process."""
    (folder / "site/slow-1.dist-info").mkdir(parents=True)
    (folder / "site/slow-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: slow\nVersion: 1\n")
    (folder / "site/slow-1.dist-info/entry_points.txt").write_text("[fsspec.specs]\nslow = slowly:Slow\n")
    (folder / "site/slowly.py").write_text(SLOW_FILES.format(log=str(folder / "slept")))
    return f"slow://{folder}/place"


@pytest.mark.thorough
def test_no_command_is_silent(envbundle: Command, wheels: Path, tmp_path: Path, python38: Path) -> None:
    make_wheel(wheels, "slow", files={"slow.py": SLOW})
    for name in ("here", "there"):
        (tmp_path / f"{name}.toml").write_text(
            f'output = "{name}"\nno-index = true\nfind-links = ["{wheels}", "{envbundle.pips}"]\n'
            '[[bundle]]\nname = "one"\npython = "3.8"\nrequirements = "requirements.txt"\n'
        )
    (tmp_path / "requirements.txt").write_text("slow\n")
    url = slow_url(tmp_path)
    envbundle = replace(envbundle, cache=tmp_path / "cache")  # `cache verify` reads all of it
    environ = envbundle.environment()
    environ["PYTHONPATH"] += f":{tmp_path / 'site'}"
    shared = ["--store-url", f"{url}/store"]
    commands = [
        ["create", "slow", "--python", str(python38), "-o", "out", *envbundle.offline(wheels)],
        ["pack", "out", "--format", "tar.gz,zip", "-o", "packed"],
        ["verify", "out"],
        ["deploy", "out", "--to", "docker", "--base", "python:3.8", "-o", "deploy"],
        ["audit", "out", "--python", str(python38)],
        ["report", "out", "-o", "report.html"],
        ["rebuild", "here.toml", *shared, "--publish", f"{url}/builds"],
        # Another machine, which gets the wheel from the place at the URL.
        ["rebuild", "there.toml", *shared, "--cache-dir", "other"],
        ["cache", "verify"],
        ["cache", "prune"],
        ["doctor", "--python", "3.8"],
    ]
    for words in commands:
        said = record(envbundle.argv(*words), cwd=tmp_path, env=environ)
        assert said.code == 0, said.text
        assert said.longest < LONGEST, (words, said.longest, said.text)
        assert "Traceback" not in said.text, said.text
    asked = (tmp_path / "slept").read_text().split()
    assert {"get_file", "put_file"} <= {*asked}, asked


@pytest.mark.thorough
def test_a_command_that_waits_for_others_says_so(envbundle: Command, tmp_path: Path) -> None:
    """`cache prune` waits for runs that use the cache."""
    store, held, ended = Store(tmp_path / "cache"), threading.Event(), threading.Event()
    store.keep_text("0" * 64, "a text")

    def use() -> None:
        with store.keeping():
            held.set()
            ended.wait()

    using = threading.Thread(target=use)
    using.start()
    held.wait()
    threading.Timer(5, ended.set).start()
    words = envbundle.argv("cache", "prune", "--all", "--cache-dir", tmp_path / "cache")
    said = record(words, cwd=tmp_path, env=envbundle.environment())
    using.join()
    assert (said.code, said.longest < LONGEST) == (0, True), said.text
    assert "prune           1 s …" in said.text


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
