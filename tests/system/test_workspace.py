"""The folder beside an output: whose it is, and what another user can do with it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bundler.errors import InputError
from bundler.system import workspace
from bundler.system.files import RETIRED


def planted(output: Path, *, mode: int) -> Path:
    folder = workspace.folder_for(output)
    (folder / RETIRED).mkdir(parents=True)
    (folder / RETIRED / "planted").touch()
    folder.chmod(mode)
    return folder


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_another_users_folder_is_refused_and_left(tmp_path: Path) -> None:
    folder = planted(tmp_path / "out", mode=0o755)
    os.chown(folder, 65534, 65534)
    with pytest.raises(InputError, match="belongs to another user"), workspace.claim(tmp_path / "out"):
        pass
    assert (folder / RETIRED / "planted").exists()
    assert not (tmp_path / "out").exists()


def test_what_others_may_have_planted_is_no_old_bundle(tmp_path: Path) -> None:
    folder = planted(tmp_path / "out", mode=0o777)
    with workspace.claim(tmp_path / "out"):
        assert folder.stat().st_mode & 0o077 == 0
    assert not (tmp_path / "out").exists()


def test_what_a_killed_run_moved_aside_comes_back(tmp_path: Path) -> None:
    planted(tmp_path / "out", mode=0o700)
    with workspace.claim(tmp_path / "out"):
        pass
    assert (tmp_path / "out" / "planted").exists()
