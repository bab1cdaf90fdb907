"""What a build of a local project sees, and by what a nightly knows that it has changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bundler.create.fetch.project_files import left_out

TAG = "Signature: 8a477f597d28d172789f06e886806a55\n# a cache"
BUNDLE = ("manifest.json", "SHA256SUMS", "pylock.toml", "verify.py")


def make(project: Path) -> None:
    for path, text in {
        "cache/CACHEDIR.TAG": TAG,
        "untagged/CACHEDIR.TAG": "Signature: 0",
        **{f"bundle/{name}": "" for name in BUNDLE},
        **{f"half/{name}": "" for name in BUNDLE[1:]},
        "builds-of-one/builds/0/manifest.json": "{}",
        "other/builds/x": "",
        "store/v1/x": "",
        ".git/x": "",
        "package.egg-info/x": "",
        "package/module.py": "",
        "manifest.json": "",
    }.items():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text(text)
    (project / "builds-of-one/current").symlink_to("builds/0")
    (project / "other/current").symlink_to("elsewhere/0")
    (project / "pipe").mkdir()
    os.mkfifo(project / "pipe/CACHEDIR.TAG")
    (project / "link").symlink_to("cache")


def test_what_tools_keep_in_a_project_is_not_seen(tmp_path: Path) -> None:
    project = tmp_path / "project"
    make(project)
    (tmp_path / "way").symlink_to(project)
    hidden = left_out(tmp_path / "way/store/v1")
    found = sorted(path.name for path in project.iterdir())
    assert hidden(str(project), found) == {"cache", "bundle", "builds-of-one", ".git", "package.egg-info"}
    assert hidden(str(project / "store"), ["v1"]) == {"v1"}


@pytest.mark.parametrize("name", ["cache/CACHEDIR.TAG", "builds-of-one/current"])
def test_a_folder_is_seen_without_what_tells_it(name: str, tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / name).unlink()
    assert left_out(tmp_path / "store")(str(tmp_path), [name.split("/", maxsplit=1)[0]]) == set()
