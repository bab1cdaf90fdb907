"""A run over many jobs: so many at a time, in processes beside each other; what breaks one stops no other."""

from __future__ import annotations

import fcntl
import io
import os
import signal
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.checks.rules.publishers import PublisherRules
from bundler.create.request import CreateRequest, LockRequest
from bundler.errors import InputError, MachineError
from bundler.model import IndexSettings
from bundler.rebuild.job import Options, resolving_once
from bundler.rebuild.outcome import Bug, Event, Message, Outcome, State, skipped
from bundler.rebuild.plan import Job
from bundler.rebuild.run import run
from bundler.rebuild.shelf.local import LocalShelf
from bundler.rebuild.shelf.run_lock import lock_folders
from bundler.system.progress import Progress

from tests.support.nightly import held

if TYPE_CHECKING:
    from collections.abc import Callable

    from bundler.rebuild.record import Record


class ScriptedShelf(LocalShelf):
    """A shelf of which the first question decides what becomes of the job."""

    def __init__(self, folder: Path, script: Callable[[], None]) -> None:
        super().__init__(folder)
        self._script = script

    def current(self) -> Record | None:
        self._script()
        raise MachineError("the script is over", hint="run the next")


def job(name: str, folder: Path) -> Job:
    return Job(
        name=name,
        bundle=name,
        folder=folder / name,
        request=CreateRequest(python="3.8", cache_dir=folder / "cache", output=folder / name / "current"),
        formats=(),
        keep=1,
        place="envbundle.toml:1",
    )


def run_jobs(
    tmp_path: Path, scripts: dict[str, Callable[[], None]], *, workers: int = 2
) -> tuple[tuple[Outcome, ...], list[Event]]:
    events: list[Event] = []
    outcomes = run(
        [job(name, tmp_path) for name in scripts],
        Options(),
        workers=workers,
        shelf=lambda one: ScriptedShelf(one.folder, scripts[one.name]),
        environ={},
        on_event=events.append,
    )
    return outcomes, events


def bug() -> None:
    raise RuntimeError("this cannot be")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def full_disk() -> None:
    raise OSError(28, "No space left on device", "/srv/bundles")


def nothing() -> None:
    pass


def test_what_breaks_one_stops_no_other(tmp_path: Path) -> None:
    parent = os.getpid()

    def die_as_a_child() -> None:
        # The parent asks as well, to tell which build is still there.
        if os.getpid() != parent:
            die()

    outcomes, events = run_jobs(
        tmp_path, {"bug": bug, "dead": die_as_a_child, "full": full_disk, "plain": nothing}
    )
    assert [one.name for one in outcomes] == ["bug", "dead", "full", "plain"]
    assert {one.state for one in outcomes} == {"failed"}
    assert [one.exit_code for one in outcomes] == [4, 3, 3, 3]
    errors = [one.error or "" for one in outcomes]
    assert errors[0] == "this is a bug in envbundle: RuntimeError: this cannot be"
    assert errors[1] == "the process that made it was ended by signal 9"
    assert errors[2] == "/srv/bundles: No space left on device"
    assert errors[3] == "the script is over"
    [bug_event] = [event for event in events if isinstance(event, Bug)]
    assert bug_event.name == "bug"
    assert "in bug" in bug_event.trace
    begun = [event.name for event in events if isinstance(event, Message) and not event.text]
    assert sorted(begun) == ["bug", "dead", "full", "plain"]


@pytest.mark.thorough
@pytest.mark.parametrize("workers", [1, 3])
def test_so_many_at_a_time(tmp_path: Path, workers: int) -> None:
    (tmp_path / "busy").mkdir()
    most = tmp_path / "most"

    def work() -> None:
        mine = tmp_path / "busy" / str(os.getpid())
        mine.touch()
        with most.open("a") as log:
            log.write(f"{len(list((tmp_path / 'busy').iterdir()))}\n")
        time.sleep(0.3)
        mine.unlink()

    started = time.monotonic()
    run_jobs(tmp_path, {str(number): work for number in range(6)}, workers=workers)
    seconds = time.monotonic() - started
    counts = [int(line) for line in most.read_text().split()]
    assert len(counts) == 6
    assert max(counts) == workers
    assert seconds >= 0.3 * 6 / workers


def test_what_made_nothing_does_the_next_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a build or a failure leaves in memory goes with its process."""
    script: dict[str, State] = {
        "1": "unchanged", "2": "would-build", "3": "built", "4": "unchanged", "5": "failed", "6": "unchanged",
        "7": "not-proved", "8": "unchanged",
    }  # fmt: skip

    def rebuild_one(one: Job, *_: object, **__: object) -> Outcome:
        (tmp_path / one.name).write_text(str(os.getpid()))
        return replace(skipped(one), state=script[one.name])

    monkeypatch.setattr("bundler.rebuild.run.rebuild_one", rebuild_one)
    outcomes, _ = run_jobs(tmp_path, dict.fromkeys(script, nothing), workers=1)
    assert {one.name: one.state for one in outcomes} == script
    at_work = [(tmp_path / name).read_text() for name in script]
    assert [at_work.index(pid) for pid in at_work] == [0, 0, 0, 3, 3, 5, 5, 7]
    assert str(os.getpid()) not in at_work


def test_a_process_that_was_killed_between_two_jobs_takes_none_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rebuild_one(one: Job, *_: object, **__: object) -> Outcome:
        return replace(skipped(one), state="unchanged", reason=str(os.getpid()))

    def kill(event: Event) -> None:
        if isinstance(event, Outcome) and event.name == "first":
            os.kill(int(event.reason), signal.SIGKILL)
            os.waitid(os.P_PID, int(event.reason), os.WEXITED | os.WNOWAIT)

    monkeypatch.setattr("bundler.rebuild.run.rebuild_one", rebuild_one)
    jobs = [job(name, tmp_path) for name in ("first", "second")]
    first, second = run(
        jobs,
        Options(),
        workers=1,
        shelf=lambda one: LocalShelf(one.folder),
        environ={},
        on_event=kill,
    )
    assert first.state == second.state == "unchanged"
    assert first.reason != second.reason


def request(**values: object) -> CreateRequest:
    plain = CreateRequest(python="3.8", arguments=("six",), cache_dir=Path("/cache"), output=Path("/out"))
    return replace(plain, **values)  # type: ignore[arg-type]  # names of fields


PROGRESS = Progress(stream=io.StringIO())
ASKED = {
    "another bundle": request(job="other", output=Path("/other/current"), formats=("zip",), thin=True),
    "another Python": request(python="3.7"),
    "another requirement": request(arguments=("attrs",)),
    "another index": request(index=IndexSettings(index_url="https://index.example/simple")),
    "with publishers": request(provenance=PublisherRules(require=("six",))),
}


@pytest.mark.parametrize("name", ASKED)
def test_an_equal_question_is_answered_once(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    asked: list[CreateRequest] = []

    def resolve(one: CreateRequest, **_: object) -> CreateRequest:
        asked.append(one)
        return one

    monkeypatch.setattr("bundler.create.pipeline.resolve", resolve)
    once = resolving_once()
    first, second = request(), ASKED[name]
    told = [str(once(one, progress=PROGRESS, environ={})) for one in (first, second, first, second)]
    same = name == "another bundle"
    assert told == 2 * [str(first), str(first if same else second)]
    # Who published the files is compared with the bundle that was made before.
    again = name == "with publishers"
    assert len(asked) == (1 if same else 3 if again else 2)


def test_what_was_not_answered_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([MachineError("the index is out of reach", hint="run it again"), "resolved"])

    def resolve(*_: object, **__: object) -> object:
        answer = next(answers)
        if isinstance(answer, MachineError):
            raise answer
        return answer

    monkeypatch.setattr("bundler.create.pipeline.resolve", resolve)
    once = resolving_once()
    with pytest.raises(MachineError, match="out of reach"):
        once(request(), progress=PROGRESS, environ={})
    assert {str(once(request(), progress=PROGRESS, environ={})) for _ in range(3)} == {"resolved"}


def test_all_that_is_asked_for_is_in_the_question() -> None:
    """A field that is missing there would give one bundle the lock of another one."""
    assert len(request().question or ()) == len(fields(LockRequest)) - 1
    assert request(job="other").question == request().question


def test_stopping_waits_for_what_is_undone(tmp_path: Path) -> None:
    """Each process that is at work takes away what it began; none is left, and no further one begins."""

    def told_to_stop(*_: object) -> None:
        raise KeyboardInterrupt

    def work() -> None:
        signal.signal(signal.SIGTERM, told_to_stop)
        (tmp_path / f"begun-{os.getpid()}").touch()
        try:
            time.sleep(30)
        finally:
            time.sleep(0.3)
            (tmp_path / f"undone-{os.getpid()}").touch()

    def note(event: Event) -> None:
        if isinstance(event, Outcome):
            while len(list(tmp_path.glob("begun-*"))) < 2:
                time.sleep(0.01)
            raise KeyboardInterrupt

    scripts = {"0": work, "1": work, "2": nothing, "3": work}
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(
            [job(name, tmp_path) for name in scripts], Options(), workers=3, environ={}, on_event=note,
            shelf=lambda one: ScriptedShelf(one.folder, scripts[one.name]),
        )  # fmt: skip
    assert time.monotonic() - started < 10
    pids = {path.name.partition("-")[2] for path in tmp_path.glob("begun-*")}
    assert len(pids) == 2
    assert {path.name.partition("-")[2] for path in tmp_path.glob("undone-*")} == pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("kind", "writing", "whole", "granted"),
    [
        (fcntl.LOCK_EX, True, True, False),
        (fcntl.LOCK_EX, False, True, False),
        (fcntl.LOCK_SH, True, True, False),
        (fcntl.LOCK_SH, True, False, True),
        (fcntl.LOCK_SH, False, True, True),
    ],
)
def test_lock_folders(tmp_path: Path, kind: int, *, writing: bool, whole: bool, granted: bool) -> None:
    folders = [tmp_path / "b", tmp_path / "a"]
    for folder in folders:
        folder.mkdir()
    with held(folders[0], kind):
        if granted:
            with lock_folders(folders, writing=writing, whole=whole):
                pass
        else:
            words = rf"process {os.getpid()}\) is at work in .*/b"
            with pytest.raises(InputError, match=words), lock_folders(folders, writing=writing, whole=whole):
                pass
    # Nothing is left of either.
    with lock_folders(folders, writing=True, whole=True):
        pass


def test_folders_are_made_only_to_write(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with lock_folders([folder], writing=False, whole=True):
        assert not folder.exists()
    with lock_folders([folder], writing=True, whole=True):
        assert folder.is_dir()
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises((InputError, MachineError)), lock_folders([wrong], writing=True, whole=True):
            pass
