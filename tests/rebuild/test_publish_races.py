"""Builds at a URL that go, that race and that break off: `current.json` always leads to a whole one."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bundler.errors import MachineError
from bundler.rebuild.shelf import notes, remote_files
from bundler.rebuild.shelf.remote import RemoteShelf
from bundler.system.urls.folder import Folder

from tests.support.publishmaker import NAME, Build, below, current, damage, make
from tests.support.url_folders import FlakyFileSystem

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")


def notes_of(url: str) -> list[str]:
    return [name for name in below(url) if remote_files.note_parts(name)]


def age(url: str, build: str) -> None:
    """Have the notes of a build be older than a day."""
    folder = Folder(url).subfolder(NAME)
    for name in notes_of(url):
        if remote_files.note_parts(name) in {(build, "sending"), (build, "removing")}:
            note = remote_files.parse_partial(folder.read(name) or b"", build, source="x")
            text = remote_files.render_partial(build, note.objects, since=time.time() - 90_000)
            folder.write(name, text)


def test_old_builds_go_and_nothing_else(url: str, tmp_path: Path) -> None:
    builds = [make(tmp_path / str(n), version=str(n), made=f"2026-01-0{n}") for n in range(1, 6)]
    for one in builds:
        one.put(url)
    # The first is in use again, and the youngest by its record is not the current one.
    builds[0].put(url)
    folder = Folder(url).subfolder(NAME)
    foreign = [
        "readme.txt",
        "builds/readme.txt",
        "builds/0123456789abcdef/file",
        "builds/0123456789abcdef.json",
    ]
    foreign.append(f"builds/{builds[1].record.build}/somebody's")
    for name in foreign:
        folder.write(name, b"{}")
    before = below(url)
    gone = RemoteShelf(url, NAME).prune(2)
    assert gone == (builds[2].record.build, builds[1].record.build)
    kept = [builds[0], builds[3], builds[4]]
    expected = {f"builds/{name}" for one in kept for name in one.names()}
    expected |= {f"builds/{one.record.build}.json" for one in kept} | {"current.json", *foreign}
    assert below(url) == {name: before[name] for name in expected}, "nothing of what stays was touched"
    assert [damage(url, one.record, full=True) for one in kept] == ["", "", ""]
    assert RemoteShelf(url, NAME).prune(2) == ()


@pytest.mark.parametrize(
    "path",
    [
        "../../precious",
        "/precious",
        "{own}/../../precious",
        "{own}.json",
        "{other}.json",
        "{other}/manifest.json",
    ],
)
def test_a_forged_record_removes_nothing(here: str, tmp_path: Path, path: str) -> None:
    builds = [make(tmp_path / str(n), version=str(n), made=f"2026-01-0{n}") for n in (1, 2)]
    for one in builds:
        one.put(here)
    (tmp_path / "place" / "precious").write_text("x")
    folder = Folder(here).subfolder(NAME)
    own, other = (one.record.build for one in builds)
    data = json.loads(folder.read(f"builds/{own}.json") or b"")
    data["objects"].append([path.format(own=own, other=other), "0" * 64, 1, ""])
    folder.write(f"builds/{own}.json", json.dumps(data).encode())
    before = below(here)
    assert RemoteShelf(here, NAME).prune(1) == ()
    assert below(here) == before
    assert (tmp_path / "place" / "precious").exists()


@pytest.mark.parametrize(
    "objects",
    [None, 3, [3], [["x"]], [["{}/a", "0" * 64, 1]], [["{}/a", "0", 1, ""]], [["{}/a", "0" * 64, -1, ""]]],
)
def test_a_record_that_is_none_is_lost(here: str, build: Build, objects: Any) -> None:
    build.put(here)
    name = build.record.build
    folder = Folder(here).subfolder(NAME)
    data = json.loads(folder.read(f"builds/{name}.json") or b"")
    data["objects"] = json.loads(json.dumps(objects).replace("{}", name))
    folder.write(f"builds/{name}.json", json.dumps(data).encode())
    assert current(here) is None
    build.put(here)
    assert current(here) == build.record


def test_a_removal_that_broke_off_is_brought_to_its_end(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds = [make(tmp_path / str(n), version=str(n), made=f"2026-01-0{n}") for n in (1, 2)]
    for one in builds:
        one.put(url)
    genuine = Folder.remove
    asked: list[int] = []

    def breaks(folder: Folder, names: Any, **options: Any) -> None:
        asked.append(1)
        names = list(names)
        genuine(folder, names[: len(names) // 2 if len(asked) == 2 else None], **options)
        if len(asked) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "remove", breaks)
        with pytest.raises(KeyboardInterrupt):
            RemoteShelf(url, NAME).prune(1)
    assert current(url) == builds[1].record
    left = below(url)
    RemoteShelf(url, NAME).sweep()
    assert below(url) == left, "somebody may be at it: it is left alone for a day"
    old = builds[0].record.build
    age(url, old)
    RemoteShelf(url, NAME).sweep()
    names = {f"builds/{name}" for name in builds[1].names()}
    assert set(below(url)) == names | {"current.json", f"builds/{builds[1].record.build}.json"}


def test_sweeping_spares_what_a_record_tells_of(here: str, build: Build, tmp_path: Path) -> None:
    older = make(tmp_path / "older", version="0.9")
    older.put(here)
    build.put(here)
    name = build.record.build
    folder = Folder(here).subfolder(NAME)
    folder.write(f"builds/{name}.old", b"")
    for who in (name, older.record.build, "0" * 16):
        paths = [f"{who}.old", f"{who}/manifest.json"]
        note = remote_files.note_name(who, "sending", "a" * 32)
        folder.write(note, remote_files.render_partial(who, paths, since=1))
    folder.write(f"builds/{'0' * 16}/manifest.json", b"")
    folder.write(f"builds/{'1' * 16}.partial.json", b'{"kind": "other"}')
    RemoteShelf(here, NAME).sweep()
    assert damage(here, build.record, full=True) == damage(here, older.record, full=True) == ""
    assert remote_files.note_name(older.record.build, "sending", "a" * 32) not in below(here)
    assert f"builds/{'0' * 16}/manifest.json" not in below(here)
    assert f"builds/{'1' * 16}.partial.json" in below(here)
    # Of the current build nothing is swept: whoever sends it next puts it right.
    assert remote_files.note_name(name, "sending", "a" * 32) in below(here)


@pytest.mark.parametrize("kind", ["partial", f"sending-{'a' * 32}"])
def test_a_note_beside_a_whole_build_goes_when_it_is_sent_again(url: str, build: Build, kind: str) -> None:
    """The sender, or one of an older release, was killed between the record and the removal of its note."""
    build.put(url)
    whole = set(below(url))
    name = build.record.build
    note = remote_files.render_partial(name, [f"{name}/manifest.json"], since=1)
    Folder(url).subfolder(NAME).write(f"builds/{name}.{kind}.json", note)
    build.put(url)
    assert set(below(url)) == whole


def test_a_build_that_is_sent_is_not_removed(url: str, tmp_path: Path) -> None:
    old = make(tmp_path / "1", version="1", made="2026-01-01")
    new = make(tmp_path / "2", version="2", made="2026-01-02")
    old.put(url)
    new.put(url)
    calls: list[int] = []

    def prunes() -> None:
        """Another run would remove the older build just before it becomes current."""
        calls.append(1)
        if len(calls) == 2:
            assert RemoteShelf(url, NAME).prune(1) == ()

    old.put(url, stopped=prunes)
    assert len(calls) == 2
    assert current(url) == old.record
    assert damage(url, old.record, full=True) == ""


def test_a_build_that_becomes_current_before_its_removal_stays(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = make(tmp_path / "1", version="1", made="2026-01-01")
    new = make(tmp_path / "2", version="2", made="2026-01-02")
    old.put(url)
    new.put(url)
    genuine = Folder.write

    def meanwhile(folder: Folder, name: str, data: bytes) -> None:
        """Another run makes the older build current just after the note of its removal was written."""
        genuine(folder, name, data)
        if "removing" in name:
            text = remote_files.current_document(old.record, environment=())
            genuine(folder, "current.json", json.dumps(text).encode())

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "write", meanwhile)
        assert RemoteShelf(url, NAME).prune(1) == ()
    assert current(url) == old.record
    assert damage(url, old.record, full=True) == ""
    assert not notes_of(url)


def test_many_publishers_at_once_end_right(url: str, tmp_path: Path) -> None:
    builds = [make(tmp_path / str(n), version=str(n)) for n in (1, 2)]
    failures: list[BaseException] = []

    def sends(build: Build) -> None:
        try:
            build.put(url)
        except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=sends, args=(builds[n % 2],)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = current(url)
    assert found in [one.record for one in builds]
    assert [damage(url, one.record, full=True) for one in builds] == ["", ""]
    assert not notes_of(url)


SENDER = """
import pickle, sys
from pathlib import Path
from bundler.rebuild.shelf import notes
from bundler.rebuild.shelf.remote import RemoteShelf
from tests.support import url_folders
notes.ABANDONED, notes.POLL = 0.2, 0.05
builds = pickle.loads(Path(sys.argv[2]).read_bytes())
print("begun", flush=True)
while True:
    for one in builds:
        one.put(sys.argv[1])
        print("put", flush=True)
        RemoteShelf(sys.argv[1], "scoring-py38").prune(1)
"""


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["file", "plain"])
def test_killed_at_any_moment_current_is_whole(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes, "ABANDONED", 0.2)
    builds = [make(tmp_path / str(n), version=str(n)) for n in (1, 2)]
    (tmp_path / "builds").write_bytes(pickle.dumps(builds))
    url = f"{kind}://{tmp_path}/place"
    builds[0].put(url)
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    seen = set()
    for number in range(20):
        sender = subprocess.Popen(
            [sys.executable, "-c", SENDER, url, str(tmp_path / "builds")],
            stdout=subprocess.PIPE,
            env=environ,
        )
        assert sender.stdout is not None
        assert sender.stdout.readline() == b"begun\n"
        time.sleep(0.005 * number + 0.001)
        sender.send_signal(signal.SIGKILL)
        sender.communicate()
        found = current(url)
        assert found is not None
        assert damage(url, found, full=True) == ""
        seen.add(found.build)
        seen |= {"partial"} if notes_of(url) else set()
    assert seen - {"partial"} <= {one.record.build for one in builds}
    # Whatever was left, the next run brings it to its end.
    for one in reversed(builds):
        one.put(url)
        assert current(url) == one.record
        assert damage(url, one.record, full=True) == ""
    # What killed runs have begun goes after a day.
    for one in builds:
        age(url, one.record.build)
    for one in reversed(builds):
        RemoteShelf(url, NAME).sweep()
        one.put(url)
    assert not notes_of(url)
    builds[0].put(url)
    assert current(url) == builds[0].record
    assert damage(url, builds[0].record, full=True) == ""


def test_a_url_that_fails_is_said_and_leaves_current(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bundler.system.urls.folder.WAITS", (0.001,))
    new = make(tmp_path / "new", version="2")
    url = f"flaky://{tmp_path.name}"
    build.put(url)
    for number in range(0, 12, 2):
        with monkeypatch.context() as patch:
            fault: list[Exception] = [ConnectionError("the line is cut")] * 2
            patch.setattr(FlakyFileSystem, "faults", fault)
            patch.setattr(FlakyFileSystem, "asked", [])
            with suppress(MachineError):
                new.put(url, progress=_raising_after(number))
        found = current(url)
        assert found is not None
        assert damage(url, found, full=True) == ""
    new.put(url)
    assert current(url) == new.record


def _raising_after(number: int) -> Callable[[int], None]:
    seen: list[int] = []

    def count(size: int) -> None:
        seen.append(size)
        if len(seen) > number:
            raise MachineError("the line is cut")

    return count
