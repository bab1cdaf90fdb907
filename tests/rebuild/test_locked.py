"""`rebuild --locked`: says whether the current builds are whole, and is never wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import TYPE_CHECKING

import pytest
from bundler.targets import catalogue

from tests.support.nightly import BUNDLES, SITE, Nightly

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


pytestmark = pytest.mark.thorough


@pytest.fixture
def nightly(one: Nightly) -> Nightly:
    # The copy has other times: this run hashes it and notes them.
    assert one.states() == {"web-py38": "unchanged"}
    return one


def without_times(text: str) -> str:
    return re.sub(r"\d+\.\d s", "N s", text)


@pytest.mark.parametrize("words", [[], ["envbundle.toml"], ["."], ["-q"]])
def test_whole(nightly: Nightly, words: list[str]) -> None:
    before = nightly.snapshot()
    done = nightly("--locked", *words)
    assert (done.code, done.stdout) == (0, "")
    hashed = nightly("--locked", *words, "--full")
    assert without_times(done.stderr) == without_times(hashed.stderr)
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


CHANGES: dict[str, tuple[Callable[[Nightly], object], int, str]] = {
    "a changed file": (
        lambda n: (n.current("web-py38") / SITE / "leaf.py").write_text("VALUE = 2\n"),
        1,
        "not proved   web-py38",
    ),
    "a touched file": (
        lambda n: os.utime(n.current("web-py38") / SITE / "leaf.py", (1, 1)),
        0,
        "unchanged    web-py38",
    ),
    "one file more": (
        lambda n: (n.current("web-py38") / SITE / "beta.py").touch(),
        1,
        "beta.py does not belong to it",
    ),
    "no build": (lambda n: shutil.rmtree(n.output / "web-py38"), 3, "there is no current build"),
    "no output": (lambda n: shutil.rmtree(n.output), 3, "there is no current build"),
    "no link": (lambda n: (n.output / "web-py38" / "current").unlink(), 3, "there is no current build"),
    "a link elsewhere": (
        lambda n: relink(n.output / "web-py38" / "current", ".."),
        2,
        "is no link to a build",
    ),
    "a bundle more": (lambda n: edit(n, 'name = "web"', 'name = "more"'), 3, "failed       more-py38"),
    "another Python": (lambda n: edit(n, 'python = "3.8"', 'python = "3.7"'), 3, "failed       web-py37"),
    "another output": (
        lambda n: edit(n, 'output = "out"', 'output = "elsewhere"'),
        3,
        "there is no current build",
    ),
    "a wrong file": (lambda n: edit(n, "python", "pyhton"), 2, "has no key 'pyhton'"),
    "a comment": (lambda n: edit(n, "[defaults]", "# every night\n[defaults]"), 0, "unchanged    web-py38"),
    "a record of another build": (
        lambda n: rewrite_record(n, build="0" * 16),
        3,
        "there is no current build",
    ),
    "an archive that leads away": (
        lambda n: rewrite_record(
            n, archives=[{"kind": "zip", "name": "../../x", "sha256": "0" * 64, "size": 1}]
        ),
        3,
        "there is no current build",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed(nightly: Nightly, name: str) -> None:
    change, code, said = CHANGES[name]
    change(nightly)
    done = nightly("--locked")
    assert done.code == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    if said == "there is no current build":
        assert "without --locked" in done.stderr
    if name == "no output":
        assert not nightly.output.exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [(["--json"], 0), (["--only", "web"], 0), (["--summary", "s.json"], 0), (["--nonsense"], 2)],
)
def test_other_options(nightly: Nightly, words: list[str], code: int) -> None:
    assert nightly("--locked", *words).code == code
    assert (nightly.folder / "s.json").exists() is ("--summary" in words)


def test_the_profile_of_an_image_counts(nightly: Nightly) -> None:
    """Its name is part of the folder's, and its Python decides."""
    profile = json.loads((catalogue.FOLDER / "minimal-ubuntu20.04-py38-cpu-inference.json").read_text())
    path = nightly.folder / "image.json"
    path.write_text(json.dumps({**profile, "name": "first"}))
    nightly.write({"web": BUNDLES["web"]}, python='"3.8"', keys={"web": 'image = "image.json"'})
    assert nightly.states() == {"web-py38-first": "built"}
    assert nightly("--locked").code == 0
    path.write_text(json.dumps({**profile, "name": "other"}))
    done = nightly("--locked")
    assert "web-py38-other" in done.stderr
    assert done.code == 3
