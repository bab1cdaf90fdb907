"""Runs a program in a room: without the caller's files, variables, network and processes.

What is made of namespaces, and how, is in `ontarget/isolate.py`. What the machine refuses is told.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import IO

from bundler.errors import CommandError, MachineError, OutputLimitError
from bundler.lazy_dataclass import dataclass
from bundler.model import Interpreter, RoomLimits
from bundler.ontarget import isolate
from bundler.system import process, redact
from bundler.system import scratch as scratch_folders
from bundler.system.files import real_path

logger = logging.getLogger(__name__)

_HITS = tuple(
    (re.compile(pattern, re.MULTILINE), remedy)
    for pattern, remedy in (
        (
            r"\bMemoryError\b|\bbad_alloc\b|annot allocate memory|nable to allocate \d|memory exhausted",
            "it met the limit of memory: give a process more with --memory-limit, if the machine has it",
        ),
        (
            r"can't start new thread|Resource temporarily unavailable|fork: retry",
            "it met the limit of processes and threads: allow more with --process-limit",
        ),
        (
            r"\[Errno 27\]|File too large|File size limit exceeded",
            "it met the limit of disk: give a build more with --build-disk",
        ),
        (
            r"^did not end within [\d.]+ seconds$",
            "it met the limit of time: give an import more with --import-timeout",
        ),
    )
)
"""What a program says that has met a limit of its room, and what to do."""
_LINKED = re.compile(r" => (/.+) \(0x[0-9a-f]+\)$", re.MULTILINE)
NOBODY = 65534
"""Whom root becomes in a room."""
CONFINED = ("no-network", "own-processes", "own-root", "read-only")
"""What must be in force so that code in a room can neither change nor reach anything outside of it."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """What a program sees beside the system's own folders."""

    show: Mapping[str, Path]
    """Path in the room → file or folder here, read-only. Where the first has another path, it has `moved`."""
    write: Mapping[str, Path] = field(default_factory=dict)
    """Path in the room → folder here, writable."""
    cover: Sequence[Path] = ()
    """Folders that stay hidden where a folder above them is shown."""
    hide: Sequence[str] = ()
    """SONAMEs of the system's libraries that cannot be loaded."""
    programs: Sequence[str] | None = None
    """Names of the system's programs that PATH leads to; `None`: all."""
    network: bool = False
    """Whether the caller's network is there."""
    folder: str = "/"
    """The working folder, in the room."""
    limits: RoomLimits = field(default_factory=RoomLimits)
    """Of each program; `import_seconds` is for the program itself to keep."""
    largest: int | None = None
    """Bytes of a file that it may write; `None`: no limit."""

    def plan(self, inside: Sequence[str | Path], in_place: Sequence[str | Path]) -> str:
        """Return what `isolate.py` reads."""
        return json.dumps(
            {
                "show": _pairs(self.show),
                "write": _pairs(self.write),
                "cover": sorted({os.path.realpath(folder) for folder in self.cover}),
                "hide": list(self.hide),
                "programs": self.programs,
                "user": NOBODY,
                "network": self.network,
                "folder": self.folder,
                "limits": resources(self.limits) | ({"FSIZE": self.largest} if self.largest else {}),
                "parent": os.getpid(),
                "inside": [str(word) for word in inside],
                "in_place": [str(word) for word in in_place],
            }
        )


@dataclass(frozen=True, kw_only=True)
class RoomRun(process.Completed):
    """How a program in a room ended."""

    isolation: tuple[str, ...]
    """What was in force: see `ontarget/isolate.py`."""


def run(
    room: Room,
    program: Sequence[str | Path],
    *,
    in_place: Sequence[str | Path] = (),
    scratch: Path,
    stdin: str | IO[bytes] | None = None,
    extra: Mapping[str, str] | None = None,
    timeout: float | None = None,
    on_wait: Callable[[float], None] | None = None,
    check: bool = True,
) -> RoomRun:
    """Run a program in a room to its end.

    :param in_place: what is run where the machine refuses a room of its own; by default the same.
    :param scratch: a folder for temporary files; left empty.
    :param stdin: as of `process.run`.
    :param extra: variables beside those of `process.clean_environment`.
    :param timeout: seconds; everything in the room is killed then.
    :param on_wait: as of `process.run`.
    :raises TimeLimitError: it took too long.
    :raises OutputLimitError: it printed too much.
    :raises CommandError: it cannot be started, or failed (with `check`).
    :raises MachineError: nothing tells how it was isolated.
    """
    most = room.limits.output_mib
    with _prepared(room, program, in_place or program, scratch=scratch, extra=extra) as (
        words,
        env,
        isolation,
    ):
        try:
            done = process.run(
                words,
                env=env,
                stdin=stdin,
                timeout=timeout,
                on_wait=on_wait,
                most=most << 20,
                check=check,
            )
        except OutputLimitError as error:
            said = f"{program[0]} printed more than {most} MiB, and was ended"
            raise OutputLimitError(
                said, argv=error.argv, returncode=None, hint="--output-limit says how much it may print"
            ) from error
        except CommandError as error:
            error.hint = error.hint or limit_hit(f"{error.stdout}\n{error.stderr}")
            raise
        return RoomRun(
            returncode=done.returncode,
            stdout=done.stdout,
            stderr=done.stderr,
            isolation=isolation(done.stderr),
        )


@contextlib.contextmanager
def converse(
    room: Room, program: Sequence[str | Path], *, scratch: Path, extra: Mapping[str, str] | None = None
) -> Iterator[tuple[process.Conversation, Callable[[], tuple[str, ...]]]]:
    """Run a program in a room that answers each line with one line, and end it afterwards.

    Yields the conversation, and a function that tells what is in force once there was an answer. The program
    ends with the thread that calls this.

    :raises CommandError: it cannot be started.
    """
    with (
        _prepared(room, program, program, scratch=scratch, extra=extra) as (words, env, isolation),
        process.converse(words, env=env) as conversation,
    ):
        yield conversation, isolation


@contextlib.contextmanager
def _prepared(
    room: Room,
    inside: Sequence[str | Path],
    in_place: Sequence[str | Path],
    *,
    scratch: Path,
    extra: Mapping[str, str] | None,
) -> Iterator[tuple[list[str], dict[str, str], Callable[..., tuple[str, ...]]]]:
    """Write the plan, and yield command, environment and what reads the report."""
    with tempfile.TemporaryDirectory(dir=scratch, prefix="room-") as folder:
        at, home, plan, report = (Path(folder, name) for name in ("root", "home", "plan.json", "report.json"))
        at.mkdir()
        home.mkdir()
        plan.write_text(room.plan(inside, in_place), encoding="utf-8")

        def isolation(said: str = "") -> tuple[str, ...]:
            try:
                return tuple(json.loads(report.read_bytes()))
            except (OSError, ValueError) as error:
                raise MachineError("the isolation gave no report", hint=said[-400:] or None) from error

        logger.info("in a room: %s", redact.text(shlex.join(map(str, inside))))
        words = [sys.executable, "-I", "-S", isolate.__file__, str(plan), str(at), str(report)]
        yield words, process.clean_environment(home=home, **(extra or {})), isolation


def require() -> None:
    """Refuse a machine on which code on trial could reach anything outside of a room, by trying.

    :raises MachineError: names what is missing.
    """
    with scratch_folders.folder() as scratch:
        held = run(Room(show={}), ["/bin/sh", "-c", ":"], scratch=scratch).isolation
    if lacking := sorted(set(CONFINED) - set(held)):
        raise MachineError(
            f"this machine cannot isolate imports and builds: it refuses {', '.join(lacking)}",
            hint="`envbundle doctor` says what to allow; without --require-isolation they run less isolated",
        )


def resources(limits: RoomLimits) -> dict[str, int]:
    """Return the limits of each process in a room; by default what no sound import or build comes near."""
    memory = (limits.memory_mib or 0) << 20 or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    processes = limits.processes or max(4096, 512 * (os.cpu_count() or 1))
    return {"CORE": 0, "DATA": memory, "NPROC": processes}


def limit_hit(text: str) -> str | None:
    """Return what to do where what a program said shows that it has met a limit; `None`: it shows none."""
    return next((remedy for pattern, remedy in _HITS if pattern.search(text)), None)


def interpreter_at_home(interpreter: Interpreter) -> dict[str, Path]:
    """Return what to show of an interpreter, at its own paths: an environment has absolute ones in it."""
    wanted = [interpreter.base_prefix, interpreter.executable, *interpreter.stdlib]
    wanted += _linked(interpreter.executable)
    # A standard library may be made of symlinks, file by file.
    wanted += [real_path(folder / "os.py").parent for folder in interpreter.stdlib]
    shown: dict[str, Path] = {}
    for path in (*wanted, *(real_path(one) for one in wanted)):
        name = str(path)
        known = name == "/usr" or name.startswith(("/usr/", "/lib", *(f"{one}/" for one in shown)))
        if path.exists() and not known:
            shown.setdefault(name, path)
    return shown


@functools.cache
def _linked(executable: Path) -> tuple[Path, ...]:
    """Return the libraries that the loader gives an interpreter: its libpython may lie outside of its prefix.

    As ldd(1) does; nothing of the interpreter is run where it is linked dynamically.
    """
    words: list[str | Path] = [executable, "-I", "-S", "-c", ""]
    # The loader would read the variable for a launcher as well.
    said = process.run(words, env={"LD_TRACE_LOADED_OBJECTS": "1"}, check=False, tied=False).stdout
    return tuple(Path(found) for found in _LINKED.findall(said))


def _pairs(shown: Mapping[str, Path]) -> list[list[str]]:
    return [[str(source), path] for path, source in shown.items()]
