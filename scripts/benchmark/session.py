"""One session: the rows of one set on one Python, in turn, and what they took."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
import time
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from scripts.benchmark import local_index, measure, nights, ours, peers, prepare, results, world
from scripts.benchmark.results import Measured, Results, Sample, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from scripts.benchmark.rows import Place, Row, Step

CACHES = {"ENVBUNDLE_CACHE_DIR": "envbundle", "UV_CACHE_DIR": "uv", "PIP_CACHE_DIR": "pip", "PEX_ROOT": "pex"}


def rows_of(place: Place) -> tuple[Row, ...]:
    """Every row there is of one bundle, or of a night."""
    return nights.rows(place) if place.bundles else (*ours.rows(place), *peers.rows(place))


class Runner:
    """Runs the rows of a place, each in a world of its own."""

    def __init__(self, place: Place, *, pause: float, local: str = "") -> None:
        self._place = place
        self.pause = pause
        """Seconds."""
        self._local = local
        """URL of the benchmark's own index."""
        self._log = place.work / "output.log"

    def environment(self, peer: str, *, cold: bool = False) -> dict[str, str]:
        """Variables of a peer: a home and caches that no other one sees; cold ones are thrown away."""
        home = self._place.work / ("cold" if cold else "homes") / peer
        folders = {"HOME": home / "home", "TMPDIR": home / "tmp"}
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        caches = {variable: home / "cache" / name for variable, name in CACHES.items()}
        own = local_index.variables(self._local) if peer.endswith(local_index.ENDING) else {}
        named = {name: str(path) for name, path in {**folders, **caches}.items()}
        return {**self._place.environ, **own, **named}

    def once(self, row: Row, turn: str) -> Sample:
        """Run a row once.

        :raises measure.StepError: a program of it failed.
        """
        environ = self.environment(row.peer, cold=row.cold)
        for step in row.before:
            self._run(step, environ)
        os.sync()
        # What creates no files does not care what was deleted before.
        time.sleep(self.pause if row.output else min(self.pause, world.PAUSE))
        usage = measure.NOTHING
        for _ in range(row.repeat):
            for step in row.steps:
                usage = usage.then(self._run(step, environ, said=row.said))
        said = self._log.read_text(encoding="utf-8", errors="replace")
        if row.expects not in said:
            raise measure.StepError(row.steps[-1], 0, f"{said}\n{row.expects!r} is not in it")
        usage = usage.shared_by(row.repeat)
        return Sample(
            turn=turn,
            wall=usage.wall,
            cpu=usage.cpu,
            own=usage.own,
            together=usage.together,
            largest=usage.largest,
        )

    def prepare(self, peer: str, step: Step) -> None:
        """Run a step that is not timed."""
        self._run(step, self.environment(peer))

    def verify(self, *, imports: bool) -> None:
        """Hold the bundle that was timed against what it says of itself.

        :raises measure.StepError: it is not what it says.
        """
        place = self._place
        verifier = (str(place.python), "-I", "-S", str(place.out / "verify.py"))
        self.prepare("envbundle", verifier if imports else (*verifier, "--no-imports"))

    def clear(self) -> None:
        """Delete what a run made."""
        for path in (self._place.out, self._place.work / "cold"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _run(self, step: Step, environ: Mapping[str, str], *, said: bool = False) -> measure.Usage:
        return measure.run(step, environ=environ, log=self._log, said=said)


def hold(
    place: Place,
    rows: tuple[Row, ...],
    *,
    chosen: str,
    runs: int,
    pause: float,
    say: Callable[[str], None],
    keep: Callable[[Results], None],
) -> Results:
    """Run each row once to warm up, and then all of them in turn.

    :param keep: takes what is known after every turn, so that nothing of a broken session is lost.
    """
    prepare.write_requirements(place, chosen)
    with contextlib.ExitStack() as until_the_end:
        local = ""
        if any(row.peer.endswith(local_index.ENDING) for row in rows):
            index = local_index.asked(place.environ, place.tools.envbundle / "bin" / "python")
            local = until_the_end.enter_context(local_index.serving(index, place.environ))
        quick, rested = (Runner(place, pause=seconds, local=local) for seconds in (0, pause))
        rested.clear()
        return _take_turns(place, rows, (quick, rested), chosen=chosen, runs=runs, say=say, keep=keep)


def _take_turns(
    place: Place,
    rows: tuple[Row, ...],
    runners: tuple[Runner, Runner],
    *,
    chosen: str,
    runs: int,
    say: Callable[[str], None],
    keep: Callable[[Results], None],
) -> Results:
    """Run all rows in turn.

    :param runners: one that does not rest, and one that does.
    """
    disk = world.file_system(place.work)[0]
    measured = {row.name: results.begin(row, chosen=chosen, python=place.version, disk=disk) for row in rows}
    quick, rested = runners
    _make_ready(place, rows, measured, quick, say)
    session = _session(place, chosen=chosen, runs=runs, pause=rested.pause)
    found = Results()
    for turn in range(runs + 1):
        for row in rows:
            if measured[row.name].failed:
                continue
            # Nothing is compared in the turn that warms up, so nothing needs to rest before it.
            known = _run(rested if turn else quick, row, measured[row.name], turn=turn,
                         last=turn == runs, session=session.name, out=place.out)  # fmt: skip
            measured[row.name] = known
            took = f"{known.samples[-1].wall:8.3f} s" if turn and known.samples else ""
            say(f"{f'run {turn}' if turn else 'warm-up':<8} {row.name:<18} {took or known.failed}")
        found = Results(sessions=(session,), rows=tuple(measured.values()))
        keep(found)
    return found


def _make_ready(
    place: Place,
    rows: tuple[Row, ...],
    measured: dict[str, Measured],
    runner: Runner,
    say: Callable[[str], None],
) -> None:
    for name, make in prepare.MAKERS.items():
        waiting = [row.name for row in rows if name in row.needs and not measured[row.name].failed]
        if not waiting:
            continue
        say(f"{'prepare':<8} {name}")
        try:
            make(place, runner.prepare)
        except measure.StepError as error:
            _tell(error)
            for row in waiting:
                measured[row] = replace(measured[row], failed=f"{name} could not be prepared")


def _run(
    runner: Runner, row: Row, known: Measured, *, turn: int, last: bool, session: str, out: Path
) -> Measured:
    try:
        sample = runner.once(row, f"{session}/{turn}")
        if row.output:
            files, size, pyc = census(out)
            known = replace(known, files=files, size=size, pyc=pyc)
        if row.proved:
            runner.verify(imports=last)
    except measure.StepError as error:
        _tell(error)
        return replace(
            known, failed=f"failed with exit code {error.code}" if error.code else "did something else"
        )
    finally:
        runner.clear()
    return replace(known, samples=(*known.samples, sample)) if turn else known


def _tell(error: measure.StepError) -> None:
    print(error, file=sys.stderr, flush=True)


def census(path: Path) -> tuple[int, int, int]:
    """Return files, bytes and files of bytecode of what a row made."""
    found = (
        [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file() or one.is_symlink()]
    )
    return (
        len(found),
        sum(one.lstat().st_size for one in found),
        sum(one.suffix == ".pyc" for one in found),
    )


def _session(place: Place, *, chosen: str, runs: int, pause: float) -> Session:
    distributions = 0
    with contextlib.suppress(OSError):
        distributions = place.lock.read_text(encoding="utf-8").count("\n[[packages]]")
    now = datetime.now(tz=timezone.utc)
    return Session(
        name=f"{now:%Y%m%d%H%M%S}-{secrets.token_hex(3)}",
        date=f"{now:%Y-%m-%d}",
        chosen=chosen,
        python=place.full,
        runs=runs,
        pause=pause,
        distributions=distributions,
        machine=world.machine(place.work),
        tools=dict(place.tools.versions),
    )
