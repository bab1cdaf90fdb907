"""Hashes of files, and files and folders that come into their places in one step."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.ontarget import new_bundle
from bundler.system import files

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("content", [b"", b"short", b"long" * files.BLOCK])
def test_digest(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert files.digest(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    assert files.digest(tmp_path / "file", "md5") == hashlib.md5(content, usedforsecurity=False).hexdigest()


def at_work(output: Path) -> None:
    """As the run of a program that travels."""
    with new_bundle.workplace(str(output)) as work:
        (Path(work) / "file").touch()


def removing(output: Path) -> None:
    """As the run of a command."""
    output.mkdir()
    (output / "file").touch()
    files.remove(output)


@pytest.mark.parametrize("run", [at_work, removing])
def test_what_is_removed_is_so_though_a_signal_comes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[[Path], None]
) -> None:
    """The last that a run does takes a second where much has to go."""
    unlink, interrupted = os.unlink, list[str]()

    def unlinked(path: str, **place: int) -> None:
        if not interrupted:
            interrupted.append(path)
            raise KeyboardInterrupt
        unlink(path, **place)

    monkeypatch.setattr(os, "unlink", unlinked)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out")
    assert interrupted == ["file"]
    assert list(tmp_path.iterdir()) == []


def test_written_whole_or_not_at_all(tmp_path: Path) -> None:
    files.write(tmp_path / "file", "é\n")
    assert (tmp_path / "file").read_bytes() == b"\xc3\xa9\n"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644
    with pytest.raises(UnicodeEncodeError):
        files.write(tmp_path / "file", "begun\udc80")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"\xc3\xa9\n"]


def test_what_a_killed_run_had_begun_goes_with_the_next_file(tmp_path: Path) -> None:
    """Only what is named like ours, is a file of this user, and is written by nobody."""
    gone = tmp_path / ".other.toml-ab12cd34.envbundle"
    gone.touch()
    (tmp_path / ".link-ab12cd34.envbundle").symlink_to("kept")
    os.mkfifo(tmp_path / ".fifo-ab12cd34.envbundle")
    (tmp_path / ".folder-ab12cd34.envbundle").mkdir()
    for name in ("kept", ".kept-ab12cd34", ".kept-ab12cd345.envbundle", "kept-ab12cd34.envbundle"):
        (tmp_path / name).touch()
    with (tmp_path / ".busy-ab12cd34.envbundle").open("w") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        before = {path.name for path in tmp_path.iterdir()}
        files.write(tmp_path / "file", "")
        assert {path.name for path in tmp_path.iterdir()} == before - {gone.name} | {"file"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_what_another_user_had_begun_stays(tmp_path: Path) -> None:
    other = tmp_path / ".other-ab12cd34.envbundle"
    other.touch()
    os.chown(other, 65534, 65534)
    files.write(tmp_path / "file", "")
    assert other.exists()


BEGIN = """
import os, sys
from pathlib import Path
from bundler.system import files
os.fsync = lambda _: os.kill(os.getpid(), 9)
files.write(Path(sys.argv[1]), "new")
"""


def test_a_killed_run_leaves_the_old_file_and_what_is_swept(tmp_path: Path) -> None:
    path = tmp_path / f"{'n' * 240}.txt"
    files.write(path, "old")
    subprocess.run([sys.executable, "-c", BEGIN, path], check=False)
    assert path.read_text() == "old"
    (left,) = tmp_path.glob(".n*")
    files.sweep(tmp_path)
    assert not left.exists()


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


WRITES = """
import os, sys, time
os.makedirs(sys.argv[1])
end = time.monotonic() + 0.3
while time.monotonic() < end:
    try:
        open(sys.argv[1] + "/" + str(time.monotonic_ns()), "w").close()
    except OSError:
        pass
"""


def test_removed_while_something_still_writes_there(tmp_path: Path) -> None:
    """As a room whose processes have been killed, and are not gone yet."""
    folders = [tmp_path / str(number) for number in range(3)]
    for folder in folders:
        with subprocess.Popen([sys.executable, "-c", WRITES, folder]) as writing:
            while not folder.is_dir():
                assert writing.poll() is None
            files.remove(folder)
            assert not folder.exists()
