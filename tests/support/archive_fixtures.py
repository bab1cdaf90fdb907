"""Fixtures of the tests that damage archives; a plugin of those alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.archivemaker import ARCHIVES, SMALL, make_archived, need, pack


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archived(tmp_path_factory.mktemp("bundles") / "env", files=SMALL)


@pytest.fixture(scope="module")
def archives(bundle: Path) -> dict[str, Path]:
    kinds = [kind for kind in ARCHIVES if kind != "squashfs" or shutil.which("mksquashfs")]
    return dict(zip(kinds, pack(bundle, bundle.with_name("packed"), *kinds), strict=True))


@pytest.fixture
def archive(archives: dict[str, Path], tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of the archive of one kind, for the test to damage."""
    kind: str = request.param
    need(kind)
    copy = tmp_path / "damaged"
    if archives[kind].is_dir():
        return Path(shutil.copytree(archives[kind], copy))
    return Path(shutil.copyfile(archives[kind], copy))
