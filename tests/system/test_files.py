"""Hashes of files, and files and folders that come into their places in one step."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from bundler.system import files

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("content", [b"", b"short", b"long" * files.BLOCK])
def test_digest(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert files.digest(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    assert files.digest(tmp_path / "file", "md5") == hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_written_whole_or_not_at_all(tmp_path: Path) -> None:
    files.write(tmp_path / "file", "é\n")
    assert (tmp_path / "file").read_bytes() == b"\xc3\xa9\n"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
    with pytest.raises(UnicodeEncodeError):
        files.write(tmp_path / "file", "begun\udc80")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"\xc3\xa9\n"]


def make(path: Path, kind: str, content: str) -> None:
    if kind == "folder":
        path.mkdir()
        path = path / "file"
    if kind != "nothing":
        path.write_text(content)


def seen(path: Path) -> str:
    return (path / "file" if path.is_dir() else path).read_text()


@pytest.mark.parametrize("can_swap", [True, False])
@pytest.mark.parametrize("old", ["nothing", "file", "folder"])
@pytest.mark.parametrize("new", ["file", "folder"])
def test_placed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new: str, old: str, *, can_swap: bool
) -> None:
    (tmp_path / "work").mkdir()
    staged, destination = tmp_path / "work" / "staged", tmp_path / "there"
    make(staged, new, "new")
    make(destination, old, "old")
    if not can_swap:
        monkeypatch.setattr(files, "swap", lambda *_: False)
    files.place(staged, destination)
    assert seen(destination) == "new"
    assert destination.is_dir() is (new == "folder")
    if "folder" in (old, new) and old != "nothing":
        assert seen(staged) == "old"
    assert len([*(tmp_path / "work").iterdir()]) == ("folder" in (old, new) and old != "nothing")


def test_what_stood_there_comes_back_where_the_new_one_cannot_be_placed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "swap", lambda *_: False)
    make(tmp_path / "there", "folder", "old")
    (tmp_path / "work").mkdir()
    with pytest.raises(FileNotFoundError):
        files.place(tmp_path / "work" / "gone", tmp_path / "there")
    assert seen(tmp_path / "there") == "old"
    assert [*(tmp_path / "work").iterdir()] == []


def test_swap(tmp_path: Path) -> None:
    make(tmp_path / "one", "folder", "first")
    make(tmp_path / "two", "file", "second")
    assert files.swap(tmp_path / "one", tmp_path / "two")
    assert (seen(tmp_path / "one"), seen(tmp_path / "two")) == ("second", "first")
    assert not files.swap(tmp_path / "one", tmp_path / "nothing")


def test_on_the_disk(tmp_path: Path) -> None:
    files.sync(tmp_path)
    files.sync_filesystem(tmp_path)
    for flush in (files.sync, files.sync_filesystem):
        with pytest.raises(FileNotFoundError):
            flush(tmp_path / "nothing")
