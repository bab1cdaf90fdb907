"""Versions of what is installed are told as `importlib.metadata` tells them."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

import pytest
from bundler.system.installed_versions import version

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["click", "Jinja2", "MarkupSafe", "py-serializable", "cyclonedx_python_lib"])
def test_it_is_what_the_metadata_says(name: str) -> None:
    assert version(name) == metadata.version(name)


def test_the_first_folder_of_the_path_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, folders_name in (("a", "Some.Name-1.0.post1.dist-info"), ("b", "some_name-2.0.dist-info")):
        made = tmp_path / folder / folders_name
        made.mkdir(parents=True)
        (made / "METADATA").write_text(f"Name: some-name\nVersion: {folders_name.split('-')[1][:-10]}\n")
    monkeypatch.setattr("sys.path", [str(tmp_path / name) for name in ("none", "a", "b")])
    assert version("some-name") == "1.0.post1"


def test_an_egg_is_found_and_what_is_not_there_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "old-3.0-py3.8.egg-info"
    made.mkdir()
    (made / "PKG-INFO").write_text("Metadata-Version: 1.0\nName: old\nVersion: 3.0\n")
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert version("old") == "3.0"
    with pytest.raises(metadata.PackageNotFoundError):
        version("other")
