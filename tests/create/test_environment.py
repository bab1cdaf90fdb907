"""The virtualenv that poses as the image, where the cache cannot be written."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from bundler.create import environment
from bundler.system import workspace
from bundler.targets import target

from tests.support.bundlemaker import interpreter


@pytest.mark.parametrize("writable", [True, False])
def test_nothing_stays_among_the_temporary_files(
    tmp_path: Path, python38: Path, monkeypatch: pytest.MonkeyPatch, *, writable: bool
) -> None:
    """virtualenv makes folders there for what it cannot keep."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "cache").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    base = interpreter(python38, "3.8")
    app_data = tmp_path / ("kept" if writable else "cache") / "virtualenv"
    with workspace.claim(tmp_path / "out") as work:
        made = environment.create(base, target.for_interpreter(base, glibc=None), work, app_data)
        assert made.python.exists()
    assert not list((tmp_path / "tmp").iterdir())
    assert app_data.is_dir() is writable
