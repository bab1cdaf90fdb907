"""Fixtures of the tests of bad input: a plugin of these alone."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.bad_input import BACKEND, project
from tests.support.command import Command
from tests.support.wheelmaker import make_sdist, make_wheel

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def offered(wheels: Path) -> Path:
    """The wheels and the sdist that the inputs name."""
    make_wheel(wheels, "root-dist", "2.0", requires=["middle"])
    make_wheel(wheels, "middle", requires=["leaf>=1"])
    make_wheel(wheels, "picky", requires=["leaf<1"])
    make_wheel(wheels, "leaf", "0.9")
    make_wheel(wheels, "leaf", "1.5")
    make_wheel(wheels, "plug", extras=["socks", "security"])
    make_wheel(wheels, "native", tag="cp310-cp310-manylinux_2_17_x86_64")
    make_wheel(wheels, "modern", "3.0")
    make_wheel(wheels, "needs-glibc", tag="cp38-cp38-manylinux_2_35_x86_64")
    make_wheel(wheels, "bent", files={"bent.py": "import nothing_brings_this\n"})
    make_sdist(wheels, "unbuildable", files=project("unbuildable", BACKEND))
    return wheels


@pytest.fixture(scope="session")
def old_bundle(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path, pips: Path) -> Path:
    """A bundle that lies at the output before the run, and must lie there unchanged after it."""
    folder = tmp_path_factory.mktemp("old")
    make_wheel(folder, "previous")
    envbundle = Command(cache=shared_cache, pips=pips, folder=folder)
    done = envbundle("create", "previous", "--python", "3.8", "-o", "out", *envbundle.offline(folder))
    assert done.code == 0, done.stderr
    return folder / "out"


@pytest.fixture
def work_folder(offered: Path, old_bundle: Path, tmp_path: Path) -> Path:
    """The caller's folder: wheels, and the bundle of an earlier run."""
    shutil.copytree(old_bundle, tmp_path / "out")
    return tmp_path
