"""Publishers and pruners at one URL, through every interleaving of requests: what is current is whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from bundler.errors import MachineError
from bundler.rebuild.shelf import notes, remote_files
from bundler.rebuild.shelf.remote import RemoteShelf
from bundler.system.urls.folder import Folder

from tests.support.interleavings import URLS, explore
from tests.support.publishmaker import NAME, Build, make

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

TOP = f"/place/{NAME}/"


def _check(builds: tuple[Build, ...]) -> Callable[[Mapping[str, bytes]], None]:
    """Return what refuses a store whose current build is not whole."""
    names = {
        one.record.build: {f"{TOP}builds/{name}" for name in (*one.names(), f"{one.record.build}.json")}
        for one in builds
    }

    def check(store: Mapping[str, bytes]) -> None:
        if (data := store.get(f"{TOP}current.json")) is not None:
            build = json.loads(data)["build"]
            lacking = names[build] - store.keys()
            assert not lacking, f"current.json names {build}, which lacks {sorted(lacking)}"

    return check


def _publish(url: str, build: Build, keep: int | None = None) -> Callable[[], object]:
    """Return what `rebuild --publish` does for a build."""

    def program() -> None:
        build.put(url)
        shelf = RemoteShelf(url, NAME)
        if keep is not None:
            shelf.sweep()
            shelf.prune(keep)

    return program


def _stored(monkeypatch: pytest.MonkeyPatch, *builds: Build) -> Mapping[str, bytes]:
    """Return the store in which builds were published one after the other."""

    def program() -> None:
        for one in builds:
            one.put(URLS[0])

    return explore([program, lambda: None], {}, check=_check(builds), monkeypatch=monkeypatch).ends[0]


@pytest.fixture
def builds(tmp_path: Path) -> tuple[Build, ...]:
    return tuple(make(tmp_path / str(n), version=str(n), made=f"2026-01-0{n}") for n in (1, 2, 3))


@pytest.mark.thorough
@pytest.mark.parametrize("killed", ["", "killed"])
def test_a_build_that_one_sends_and_another_removes(
    builds: tuple[Build, ...], killed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest of two becomes current again, while another run removes all but the youngest."""
    outcome = explore(
        [_publish(URLS[0], builds[0]), lambda: RemoteShelf(URLS[1], NAME).prune(1)],
        _stored(monkeypatch, *builds[:2]),
        check=_check(builds),
        monkeypatch=monkeypatch,
        killed=bool(killed),
    )
    assert outcome.states > 500
    assert outcome.astray <= outcome.runs // 10
    for store in outcome.ends:
        left = [name for name in store if remote_files.note_parts(name.removeprefix(TOP))]
        assert len(left) <= bool(killed)
        assert json.loads(store[f"{TOP}current.json"])["build"] == builds[0].record.build


@pytest.mark.thorough
def test_two_that_publish(builds: tuple[Build, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one that wrote `current.json` is current."""
    outcome = explore(
        [_publish(URLS[0], builds[0]), _publish(URLS[1], builds[1])],
        _stored(monkeypatch, *builds[:2]),
        check=_check(builds),
        monkeypatch=monkeypatch,
    )
    assert outcome.states > 500
    assert outcome.astray <= outcome.runs // 10
    for store in outcome.ends:
        assert not [name for name in store if remote_files.note_parts(name.removeprefix(TOP))]


def test_a_remover_that_was_long_asleep_removes_nothing(
    builds: tuple[Build, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"file://{tmp_path}/place"
    for one in builds[:2]:
        one.put(url)
    asleep = [0.0]
    folder = Folder(url).subfolder(NAME)
    monkeypatch.setattr(notes, "clock", lambda: asleep[0])
    note = notes.Note(folder, builds[0].record.build, "removing", [])
    asleep[0] = notes.FRESH + 1
    with pytest.raises(MachineError, match="took too long"):
        note.remove([f"builds/{builds[0].record.build}.json"])
    assert not RemoteShelf(url, NAME).damage(builds[0].record, full=True)


def test_a_sender_waits_for_a_remover_that_is_at_work_and_not_for_a_dead_one(
    builds: tuple[Build, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"file://{tmp_path}/place"
    folder = Folder(url).subfolder(NAME)
    build = builds[0].record.build
    name = remote_files.note_name(build, "removing", "a" * 32)
    waited: list[float] = []

    def pause(seconds: float) -> None:
        """Ten minutes go by each time; the first three times the remover has done something."""
        waited.append(seconds)
        if len(waited) <= 3:
            folder.write(name, remote_files.render_partial(build, [], since=0, beat=len(waited)))

    folder.write(name, remote_files.render_partial(build, [], since=0))
    monkeypatch.setattr(notes, "clock", lambda: len(waited) * (notes.ABANDONED + 1))
    monkeypatch.setattr(notes, "pause", pause)
    builds[0].put(url)
    assert len(waited) == 4 + 1
    assert RemoteShelf(url, NAME).current() == builds[0].record
    assert folder.read(name) is None
