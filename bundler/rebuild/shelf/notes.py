"""Notes beside a build at a URL: who sends it, who removes it. So that nobody sends what another removes.

Two machines share nothing but the store, and no store has a lock. What every store has (S3, Azure, Google, a
disk) is that a write which has ended is seen by every later look. The rules need nothing else:

1. Whoever sends a build first writes a note of its own, `builds/ID.sending-TOKEN.json`, and then looks for
   notes of those that remove it. Where there is one, it waits until that is gone, and only then looks for
   what is lacking. Its note stays until `current.json` names the build. It removes nothing.
2. Whoever removes a build first writes `builds/ID.removing-TOKEN.json`, and then looks: at the notes of those
   that send it, at `current.json`, at the record. Where somebody sends it, where it is the current build or
   has changed since, the note is taken back; nothing was removed so far. Else the record goes, then the
   objects, then the note.
3. Each writes before it looks: of two that begin at the same time at least the later one sees the other. If
   both see each other, the one that removes gives way. Several may send, and several may remove, one build at
   once: each name below `builds/ID` has one content.
4. After `current.json` was written the sender looks again: at the notes, at the record, at every object. If
   anything is lacking or somebody removes, it begins anew.
5. Whoever removes objects that no record lists any more is a remover too, but for `current.json`.
6. A run that was killed leaves its note. A remover writes its own anew while it is at work (`BEAT`), and
   removes nothing later than `FRESH` after that; a sender that has seen such a note unchanged for
   `ABANDONED`, by its own clock, takes it away. Notes of senders go after a day, with what no record lists.

Conditional writes would not do more: fsspec offers the creation of a new object only ("create" of
`pipe_file`, on S3 "only known to work on AWS"), no replacement or removal under a condition; and what must be
safe is the removal of thousands of objects, each with the content that it always has.
"""

from __future__ import annotations

import itertools
import logging
import time
import uuid
from collections.abc import Callable, Collection, Iterable

from bundler.errors import InputError, MachineError
from bundler.lazy_dataclass import dataclass
from bundler.rebuild.shelf import remote_files
from bundler.rebuild.shelf.remote_files import BUILDS, LIMIT, REMOVING, SENDING, Partial
from bundler.system.urls.disk import STALE
from bundler.system.urls.folder import Folder

logger = logging.getLogger(__name__)

BEAT = 15.0
"""Seconds after which a remover writes its note anew."""
FRESH = 60.0
"""Seconds after its note was written in which a remover may begin to remove an object."""
ABANDONED = 600.0
"""Seconds without a change after which a remover is dead: longer than any request takes that it has begun."""
LONGEST = 3600.0
"""Seconds that a sender waits at most."""
POLL = 1.0
_BATCH = 500
pause = time.sleep


def clock() -> float:
    """Return seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, kw_only=True)
class Found:
    """A note that stands beside a build."""

    name: str
    build: str
    kind: str
    """`SENDING`, `REMOVING`, or `PARTIAL`: of an older release."""


class Note:
    """A note of this run."""

    def __init__(self, folder: Folder, build: str, kind: str, paths: Collection[str]) -> None:
        """Write it.

        :param paths: what the run may leave or remove, below `builds/`.
        """
        self.name = remote_files.note_name(build, kind, uuid.uuid4().hex)
        self._folder = folder
        self._build = build
        self._paths = paths
        self._beats = 0
        self._write()

    def _write(self) -> None:
        began = clock()
        self._folder.write(
            self.name,
            remote_files.render_partial(self._build, self._paths, since=time.time(), beat=self._beats),
        )
        self._written = began

    def remove(self, names: Iterable[str]) -> None:
        """Remove files while the note holds.

        :raises MachineError: it took so long that another may take this run for dead.
        """
        pending = iter(names)
        while batch := list(itertools.islice(pending, _BATCH)):
            self._require_fresh()
            if clock() - self._written > BEAT:
                self._beats += 1
                self._write()
            self._folder.remove(batch, before=self._require_fresh)

    def _require_fresh(self) -> None:
        if clock() - self._written > FRESH:
            raise MachineError(
                f"{self._folder.shown}: the removal of {self._build} took too long and was left off",
                hint="a run of tomorrow goes on with it",
            )

    def end(self) -> None:
        """Take it away."""
        self._folder.remove([self.name])


def found(folder: Folder, build: str | None = None) -> list[Found]:
    """Return the notes that stand beside a build, or beside all, in a fixed order."""
    parsed = ((name, remote_files.note_parts(name)) for name in sorted(folder.listing(BUILDS, deep=False)))
    notes = [Found(name=name, build=parts[0], kind=parts[1]) for name, parts in parsed if parts]
    return [one for one in notes if build in (None, one.build)]


def of_kind(folder: Folder, build: str, kind: str) -> list[str]:
    """Return the names of a build's notes of one kind."""
    return [one.name for one in found(folder, build) if one.kind == kind]


def is_sent(folder: Folder, build: str, *, but: Collection[str] = ()) -> bool:
    """Tell whether somebody sends a build.

    :param but: names of notes that do not count.
    """
    return not set(of_kind(folder, build, SENDING)) <= set(but)


def read(folder: Folder, note: Found) -> Partial | None:
    """Read a note; `None` where it is gone or wrong, which is told."""
    data = folder.read(note.name, limit=LIMIT)
    if data is None:
        return None
    try:
        return remote_files.parse_partial(data, note.build, source=f"{folder.shown}/{note.name}")
    except InputError as error:
        logger.warning("%s", error.message)
        return None


def stale(folder: Folder, notes: Iterable[Found]) -> dict[Found, Partial]:
    """Return those of some notes whose run has been dead for long."""
    parsed = ((note, read(folder, note)) for note in notes)
    return {note: one for note, one in parsed if one is not None and time.time() - one.since > STALE}


def wait_for_removers(folder: Folder, build: str, *, stopped: Callable[[], None]) -> None:
    """Return when nobody removes a build any more; the caller's own note must stand by then.

    :param stopped: as of `RemoteShelf`.
    :raises MachineError: it takes too long.
    """
    seen: dict[str, tuple[bytes | None, float]] = {}
    began = clock()
    while names := of_kind(folder, build, REMOVING):
        stopped()
        if not seen:
            logger.warning("%s: another run removes %s, which is to be sent: waiting", folder.shown, build)
        for name in names:
            data = folder.read(name, limit=LIMIT)
            if name not in seen or seen[name][0] != data:
                seen[name] = (data, clock())
            elif clock() - seen[name][1] > ABANDONED:
                folder.remove([name])
        if clock() - began > LONGEST:
            raise MachineError(
                f"{folder.shown}: another run has been removing {build} for an hour",
                hint="run again when it has ended",
            )
        pause(POLL)
