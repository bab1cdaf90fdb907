"""`rebuild --locked`: a glance where all is well, and never a wrong word where it is not."""

from __future__ import annotations

import json
import marshal
import os
import re
import shutil
from typing import TYPE_CHECKING

import bundler
import pytest
from bundler.targets import catalogue

from tests.support.command import Command, Outcome
from tests.support.nightly import Nightly
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


pytestmark = pytest.mark.thorough

SITE = "lib/python3.8/site-packages"


@pytest.fixture(scope="module")
def made(shared_cache: Path, pips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("glance")
    (folder / "wheels").mkdir()
    make_wheel(folder / "wheels", "alpha")
    nightly = Nightly(command=Command(cache=shared_cache, pips=pips, folder=folder), folder=folder)
    nightly.write({"web": "alpha"}, python='"3.8"')
    assert nightly.states() == {"web-py38": "built"}
    return folder


@pytest.fixture
def nightly(made: Path, envbundle: Command, tmp_path: Path) -> Nightly:
    shutil.copytree(made, tmp_path, symlinks=True, dirs_exist_ok=True)
    nightly = Nightly(command=envbundle, folder=tmp_path)
    # A copy has other times, so it is looked at more closely: what it is made of is hashed.
    shutil.rmtree(nightly.output)
    assert nightly.states() == {"web-py38": "built"}
    return nightly


def locked(nightly: Nightly, *words: str) -> tuple[Outcome, bool]:
    """Run it, and tell whether a glance was enough: the command itself needs click."""
    done = nightly.command(
        "rebuild", "--locked", *words, cwd=nightly.folder, environ={"PYTHONPROFILEIMPORTTIME": "1"}
    )
    said = "\n".join(line for line in done.stderr.splitlines() if not line.startswith("import time:"))
    click = re.search(r"\| +click$", done.stderr, re.MULTILINE)
    return type(done)(code=done.code, stdout=done.stdout, stderr=said), click is None


def without_times(text: str) -> str:
    return re.sub(r"\d+\.\d s", "N s", text)


@pytest.mark.parametrize("words", [[], ["envbundle.toml"], ["."], ["-q"]])
def test_a_glance_is_enough(nightly: Nightly, words: list[str]) -> None:
    before = nightly.snapshot()
    done, glanced = locked(nightly, *words)
    assert glanced
    assert (done.code, done.stdout) == (0, "")
    # The command itself says the same.
    slow, glanced = locked(nightly, *words, "--full")
    assert not glanced
    assert without_times(done.stderr) == without_times(slow.stderr)
    assert (done.stderr == "") is ("-q" in words)
    assert nightly.snapshot() == before


def relink(link: Path, target: str) -> None:
    link.unlink()
    link.symlink_to(target)


def edit(nightly: Nightly, old: str, new: str) -> None:
    path = nightly.folder / "envbundle.toml"
    path.write_text(path.read_text().replace(old, new))


def rewrite_record(nightly: Nightly, **changes: object) -> None:
    path = nightly.current("web-py38")
    row = nightly.record("web-py38")
    path.with_name(f"{path.name}.json").write_text(json.dumps({**row, **changes}))


def spoil_memo(content: bytes) -> Callable[[Nightly], None]:
    def spoil(nightly: Nightly) -> None:
        for path in (nightly.command.cache / "v1" / "plans").iterdir():
            path.write_bytes(content)

    return spoil


def of_another_version(nightly: Nightly) -> None:
    version = bundler.__version__.encode()
    for path in (nightly.command.cache / "v1" / "plans").iterdir():
        path.write_bytes(path.read_bytes().replace(version, b"x" * len(version)))


SECOND_LOOKS: dict[str, tuple[Callable[[Nightly], object], int]] = {
    "a changed file": (lambda n: (n.current("web-py38") / SITE / "alpha.py").write_text("VALUE = 2\n"), 1),
    "a touched file": (lambda n: os.utime(n.current("web-py38") / SITE / "alpha.py", (1, 1)), 0),
    "one file more": (lambda n: (n.current("web-py38") / SITE / "beta.py").touch(), 1),
    "no build": (lambda n: shutil.rmtree(n.output / "web-py38"), 3),
    "no output": (lambda n: shutil.rmtree(n.output), 3),
    "no link": (lambda n: (n.output / "web-py38" / "current").unlink(), 3),
    "a link elsewhere": (
        lambda n: relink(n.output / "web-py38" / "current", ".."),
        3,
    ),
    "a bundle more": (lambda n: edit(n, 'name = "web"', 'name = "more"'), 3),
    "another Python": (lambda n: edit(n, 'python = "3.8"', 'python = "3.7"'), 3),
    "another output": (lambda n: edit(n, 'output = "out"', 'output = "elsewhere"'), 3),
    "a wrong file": (lambda n: edit(n, "python", "pyhton"), 2),
    "a comment": (lambda n: edit(n, "[defaults]", "# every night\n[defaults]"), 0),
    "garbage remembered": (spoil_memo(b"{"), 0),
    "an empty file remembered": (spoil_memo(b""), 0),
    "a list remembered": (spoil_memo(marshal.dumps([1])), 0),
    "nothing remembered": (lambda n: shutil.rmtree(n.command.cache / "v1" / "plans"), 0),
    "remembered by another version": (of_another_version, 0),
    "a record of another build": (lambda n: rewrite_record(n, build="0" * 16), 3),
    "an archive that leads away": (
        lambda n: rewrite_record(
            n, archives=[{"kind": "zip", "name": "../../x", "sha256": "0" * 64, "size": 1}]
        ),
        3,
    ),
}


@pytest.mark.parametrize("name", SECOND_LOOKS)
def test_a_second_look(nightly: Nightly, name: str) -> None:
    change, code = SECOND_LOOKS[name]
    change(nightly)
    done, glanced = locked(nightly)
    assert not glanced
    assert done.code == code, done.stderr
    assert "Traceback" not in done.stderr
    if code == 0 and "touched" not in name:
        assert locked(nightly)[1]


@pytest.mark.parametrize("words", [["--json"], ["--only", "web"], ["--summary", "s.json"], ["--nonsense"]])
def test_whatever_else_is_asked_for(nightly: Nightly, words: list[str]) -> None:
    done, glanced = locked(nightly, *words)
    assert not glanced
    assert done.code == (2 if words == ["--nonsense"] else 0)


def test_the_profile_of_an_image_counts(nightly: Nightly) -> None:
    """Its name is part of the folder's, and its Python decides."""
    profile = json.loads((catalogue.FOLDER / "minimal-ubuntu20.04-py38-cpu-inference.json").read_text())
    path = nightly.folder / "image.json"
    path.write_text(json.dumps({**profile, "name": "first"}))
    nightly.write({"web": "alpha"}, python='"3.8"', keys={"web": 'image = "image.json"'})
    states = nightly.states()
    assert states == {"web-py38-first": "built"}
    assert locked(nightly)[1]
    path.write_text(json.dumps({**profile, "name": "other"}))
    done, glanced = locked(nightly)
    assert not glanced
    assert "web-py38-other" in done.stderr
    assert done.code == 3
