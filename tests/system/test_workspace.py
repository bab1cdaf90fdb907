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


def killed(output: Path) -> Path:
    """Leave what a killed run leaves beside an output."""
    folder = workspace.folder_for(output)
    (folder / "scratch" / "deep").mkdir(parents=True)
    (folder / "bundle").mkdir()
    (folder / "bundle" / "file").touch()
    folder.chmod(0o700)
    return folder


def test_what_killed_runs_left_beside_other_outputs_goes(tmp_path: Path) -> None:
    left = [killed(tmp_path / name) for name in ("one", "two.tar.gz")]
    replaced = planted(tmp_path / "three", mode=0o700)
    with workspace.claim(tmp_path / "out") as work:
        assert not any(os.path.lexists(one) for one in (*left, replaced))
        assert list(work.scratch.iterdir()) == []
    assert [one.name for one in tmp_path.iterdir()] == ["three"], "an old bundle comes back"
    assert (tmp_path / "three" / "planted").exists()


def test_what_is_in_use_or_not_ours_stays(tmp_path: Path) -> None:
    other = killed(tmp_path / "other")
    (other / "somebody's").touch()
    elsewhere = killed(tmp_path / "elsewhere" / "out")
    (tmp_path / ".link.envbundle").symlink_to(elsewhere)
    (tmp_path / ".file.envbundle").write_text("x")
    (tmp_path / ".envbundle").mkdir()
    before = {one.name for one in tmp_path.iterdir()}
    with workspace.claim(tmp_path / "at work") as work:
        (work.bundle / "file").touch()
        with workspace.claim(tmp_path / "out"):
            assert (work.bundle / "file").exists()
    assert {one.name for one in tmp_path.iterdir()} == before
    assert (elsewhere / "bundle" / "file").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_what_another_user_left_stays(tmp_path: Path) -> None:
    folder = killed(tmp_path / "other")
    os.chown(folder, 65534, 65534)
    with workspace.claim(tmp_path / "out"):
        pass
    assert (folder / "bundle" / "file").exists()


def test_what_others_may_have_planted_beside_another_output_does_not_come_back(tmp_path: Path) -> None:
    folder = planted(tmp_path / "other", mode=0o777)
    with workspace.claim(tmp_path / "out"):
        assert not folder.exists()
    assert list(tmp_path.iterdir()) == []
