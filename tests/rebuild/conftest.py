"""Six bundles that are made once, and a copy of them for each test; a build to publish, and URLs for it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.support.command import Command
from tests.support.nightly import BUNDLES, KEYS, NAMES, Nightly, stock
from tests.support.publishmaker import Build, make
from tests.support.url_folders import GIVEN, KINDS, folder_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def first_run(
    shared_cache: Path, pips: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, dict[str, object]]]:
    """Six bundles, three requirement sets for two Pythons, and what the run said that made them."""
    folder = tmp_path_factory.mktemp("nightly")
    stock(folder / "wheels")
    six = Nightly(command=Command(cache=shared_cache, pips=pips, folder=folder), folder=folder)
    six.write(BUNDLES, keys=KEYS)
    return folder, six.rows("--jobs", "2")


@pytest.fixture
def six(first_run: tuple[Path, dict[str, dict[str, object]]], envbundle: Command, tmp_path: Path) -> Nightly:
    """A copy of the six bundles: as on a machine to which they were moved."""
    shutil.copytree(first_run[0], tmp_path, symlinks=True, dirs_exist_ok=True)
    return Nightly(command=envbundle, folder=tmp_path)


@pytest.fixture
def one(six: Nightly) -> Nightly:
    """Only the bundle `web` for 3.8, of the six."""
    six.write({"web": BUNDLES["web"]}, python='"3.8"')
    for name in NAMES:
        if name != "web-py38":
            shutil.rmtree(six.output / name)
    return six


@pytest.fixture
def build(tmp_path: Path) -> Build:
    return make(tmp_path / "made")


@pytest.fixture(params=[*KINDS, *GIVEN])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with folder_url(request.param, tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture
def here(tmp_path: Path) -> str:
    return f"file://{tmp_path}/place"
