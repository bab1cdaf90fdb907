"""Runs two programs that share a filesystem through every interleaving of their requests.

Each runs on a thread of its own and stops before each request; a scheduler says who goes on. Programs are
determined by what they are answered: so a state is the store and what each was told until now, and what
follows from a state that was seen before is not tried again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import fsspec
from bundler.rebuild.shelf import notes
from bundler.system.urls import folder
from fsspec import AbstractFileSystem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pytest

T = TypeVar("T")
URLS = ("step-one://place", "step-two://place")


PATIENCE = 120
"""Seconds in which a program comes to its next request."""


class _Abandoned(BaseException):
    """What follows was tried before, or the program is killed."""


@dataclass(eq=False)
class _Actor:
    """A program on its thread."""

    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    told: Any = field(default_factory=hashlib.sha256)
    """Of all that it was answered."""
    seen: int | None = None
    """The writes that there were when it began to wait for another; `None`: it does not wait."""
    ended: bool = False
    error: BaseException | None = None


class _World:
    """The one run that goes on."""

    actors: tuple[_Actor, ...] = ()
    parked = threading.Semaphore(0)
    writes = 0
    time = 0.0
    abandoned = False
    store: dict[str, tuple[bytes, str]] = {}  # noqa: RUF012 - of this run
    """Path → content and entity tag."""


def _step(number: int, action: Callable[[], T], *, writes: bool = False) -> T:
    """Stop before a request until the scheduler lets it happen."""
    actor = _World.actors[number]
    _World.parked.release()
    actor.turn.acquire()
    if _World.abandoned:
        raise _Abandoned
    _World.writes += writes
    try:
        answer = action()
    except Exception as error:
        actor.told.update(repr(error).encode())
        raise
    actor.told.update(repr(answer).encode())
    return answer


class _Stepped(AbstractFileSystem):  # type: ignore[misc]  # fsspec carries no types
    """An object store in memory, seen by one of the programs."""

    number = 0
    cachable = False

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return f"/{path.rpartition('://')[2].strip('/')}"

    def info(self, path: str, **_: object) -> object:
        return _step(self.number, lambda: _info(_found(self._strip_protocol(path))))

    def cat_file(self, path: str, **_: object) -> bytes:
        # `Folder.read` has asked for the size just before: a read is one step.
        answer = _World.store[_found(self._strip_protocol(path))][0]
        _World.actors[self.number].told.update(answer)
        return answer

    def _below(self, path: str, *, deep: bool) -> list[dict[str, Any]]:
        top = f"{self._strip_protocol(path)}/"
        names = [key for key in sorted(_World.store) if key.startswith(top)]
        return [_info(key) for key in names if deep or "/" not in key[len(top) :]]

    def ls(self, path: str, **_: object) -> object:
        return _step(self.number, lambda: self._below(path, deep=False))

    def find(self, path: str, **_: object) -> object:
        found = _step(self.number, lambda: self._below(path, deep=True))
        return {str(one["name"]): one for one in found}

    def pipe_file(self, path: str, value: bytes, **_: object) -> None:
        def write() -> None:
            _World.store[self._strip_protocol(path)] = (value, _tag(value))

        _apart(path, self.number, write)

    def put_file(self, lpath: str, rpath: str, **_: object) -> None:
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def rm_file(self, path: str) -> None:
        _apart(path, self.number, lambda: _World.store.pop(self._strip_protocol(path), None))


def _found(key: str) -> str:
    if key not in _World.store:
        raise FileNotFoundError(key)
    return key


def _info(key: str) -> dict[str, Any]:
    data, tag = _World.store[key]
    return {"name": key, "size": len(data), "type": "file", "ETag": tag}


@functools.lru_cache(maxsize=1024)
def _tag(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _apart(path: str, number: int, write: Callable[[], object]) -> None:
    """Write as a step of its own; of the objects of a build the first and the last are steps."""
    if path.endswith((".json", ".html", "verify.py")) and not path.endswith("manifest.json"):
        _step(number, write, writes=True)
    else:
        write()


class _One(_Stepped):
    protocol = "step-one"
    number = 0


class _Two(_Stepped):
    protocol = "step-two"
    number = 1


fsspec.register_implementation("step-one", _One, clobber=True)
fsspec.register_implementation("step-two", _Two, clobber=True)


def _number() -> int:
    return int(threading.current_thread().name.removeprefix("actor-"))


def _pause(_: float) -> None:
    """Wait until the other has written something; where it has ended, let time go by."""
    number = _number()
    _World.actors[number].seen = _World.writes

    def waited() -> None:
        if _World.actors[1 - number].ended:
            _World.time += notes.ABANDONED / 2 + 1
        _World.actors[number].seen = None

    _step(number, waited)


@contextlib.contextmanager
def stepped(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have clocks and tokens of the programs be the same each time."""
    counters = (itertools.count(), itertools.count())

    class Token:
        @property
        def hex(self) -> str:
            number = _number() if threading.current_thread().name.startswith("actor-") else 2
            return f"{number}{'0' * 31}" if number == 2 else f"{number}{next(counters[number]):031x}"

    with monkeypatch.context() as patch:
        patch.setattr(notes, "pause", _pause)
        patch.setattr(notes, "clock", lambda: _World.time)
        patch.setattr("bundler.rebuild.shelf.notes.uuid.uuid4", Token)
        patch.setattr(folder, "THREADS", 1)
        patch.setattr(folder, "_ATOMIC", frozenset({"step-one", "step-two"}))
        patch.setattr("bundler.rebuild.shelf.notes.time.time", lambda: 1e9)
        _World.time = 0.0
        yield


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of all interleavings."""

    runs: int
    states: int
    ends: tuple[Mapping[str, bytes], ...]
    """What was in the store when both had ended, each once."""
    astray: int
    """Runs that could not repeat the run before them, and were left off: on a slow machine a program may ask
    once more."""


def explore(
    programs: Sequence[Callable[[], object]],
    start: Mapping[str, bytes],
    *,
    check: Callable[[Mapping[str, bytes]], None],
    monkeypatch: pytest.MonkeyPatch,
    killed: bool = False,
) -> Outcome:
    """Run two programs through every interleaving.

    :param start: what is in the store at first.
    :param check: called with what is in the store at every state.
    :param killed: the second may be killed before any of its requests: that is a choice as well.
    """
    seen: set[tuple[object, ...]] = set()
    ends: dict[str, Mapping[str, bytes]] = {}
    pending: list[tuple[int, ...]] = [()]
    runs = astray = 0
    while pending:
        prefix = pending.pop()
        runs += 1
        with stepped(monkeypatch):
            astray += not _run(programs, start, prefix, check, seen, ends, pending, killed=killed)
    return Outcome(runs=runs, states=len(seen), ends=tuple(ends.values()), astray=astray)


def _run(
    programs: Sequence[Callable[[], object]],
    start: Mapping[str, bytes],
    prefix: tuple[int, ...],
    check: Callable[[Mapping[str, bytes]], None],
    seen: set[tuple[object, ...]],
    ends: dict[str, Mapping[str, bytes]],
    pending: list[tuple[int, ...]],
    *,
    killed: bool,
) -> bool:
    """Run the programs once: as the prefix says, then the first as long as it can.

    :returns: whether it could go as the prefix says.
    """
    _World.store = {key: (data, _tag(data)) for key, data in start.items()}
    _World.actors = tuple(_Actor() for _ in programs)
    _World.parked = threading.Semaphore(0)
    _World.writes, _World.abandoned = 0, False
    threads = [
        threading.Thread(target=_live, args=(actor, program), name=f"actor-{number}", daemon=True)
        for number, (actor, program) in enumerate(zip(_World.actors, programs, strict=True))
    ]
    for thread in threads:
        thread.start()
        _park()
    done: list[int] = []
    repeated = True
    while enabled := _enabled(killed=killed):
        state = (
            _state(),
            *((one.told.hexdigest(), one.seen is None, one.ended) for one in _World.actors),
        )
        if len(done) >= len(prefix):
            if state in seen:
                break
            seen.add(state)
            check(contents())
            pending += [(*done, other) for other in enabled[1:]]
        choice = prefix[len(done)] if len(done) < len(prefix) else enabled[0]
        if choice not in enabled:
            repeated = False
            break
        done.append(choice)
        _let(choice)
    else:
        for actor in _World.actors:
            if actor.error is not None and not isinstance(actor.error, _Abandoned):
                raise actor.error
        check(contents())
        ends[_state()] = contents()
    _World.abandoned = True
    for actor, thread in zip(_World.actors, threads, strict=True):
        while thread.is_alive():
            actor.turn.release()
            thread.join(0.001)
    return repeated


def _park() -> None:
    """Wait until a program has come to its next request, or has ended."""
    assert _World.parked.acquire(timeout=PATIENCE), "a program makes no request and does not end"


def _enabled(*, killed: bool) -> list[int]:
    """Return who may go on; 2: the second is killed."""
    one, two = _World.actors
    found = [
        number
        for number, (actor, other) in enumerate(((one, two), (two, one)))
        if not actor.ended and (actor.seen is None or actor.seen != _World.writes or other.ended)
    ]
    assert found or (one.ended and two.ended), "each waits for the other"
    return [*found, 2] if killed and not two.ended else found


def _let(choice: int) -> None:
    if choice == 2:
        _World.abandoned = True
        _World.actors[1].turn.release()
        _park()
        _World.abandoned = False
    else:
        _World.actors[choice].turn.release()
        _park()


def _live(actor: _Actor, program: Callable[[], object]) -> None:
    try:
        program()
    except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
        actor.error = error
    actor.ended = True
    _World.parked.release()


def contents() -> dict[str, bytes]:
    """Return what is in the store."""
    return {key: data for key, (data, _) in _World.store.items()}


def _state() -> str:
    """Return what tells this store from others."""
    tags = sorted((key, tag) for key, (_, tag) in _World.store.items())
    return hashlib.sha256(repr(tags).encode()).hexdigest()
