"""Kills runs of every command at a random moment: the next run must heal, and give the same.

With `--stop` they get SIGHUP, SIGINT, SIGQUIT and SIGTERM in turn instead: such a run says so by its exit
code, and leaves nothing itself.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.rehearsalmaker import SCORE, SERVER
from tests.support.wheelmaker import make_wheel

from scripts.attacks.world import World, adopting, descendants, digest, end, make_world

NIGHTS = 4
"""Builds on the shelf of which `load --keep` removes some."""
STOPS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
PATIENCE = 60
"""Seconds that a run which is stopped has to end."""
GRACE = 1.0
"""Seconds after which nothing that a killed run has started may be alive."""
CONFIGURATION = """\
output = "nightly"
no-index = true
find-links = ["../wheels"]
publish = "file://{shelf}"
[defaults]
python = "3.8"
[[bundle]]
name = "one"
requirements = "requirements.txt"
"""


@dataclass(frozen=True, kw_only=True)
class Victim:
    """A command that is killed."""

    words: tuple[str, ...]
    alone: bool = False
    """It is no command of envbundle, but a program that travels, run by the target's Python."""
    removed: tuple[str, ...] = ()
    """What is removed before each run, so that there is something to do; relative to the working folder."""
    copied: tuple[tuple[str, str], ...] = ()
    """Folders that are copied before each run: from, to."""
    product: Callable[[World], str]
    """Returns what must be the same after every run that ended."""
    then: tuple[str, ...] = ()
    """The next command; empty: the same again."""
    before: tuple[tuple[str, ...], ...] = ()
    """Commands that make what it reads."""
    made: Callable[[World], object] = lambda _: None
    """Makes what it reads, where commands alone do not."""


def victims() -> dict[str, Victim]:
    """Return name → what is killed. Each is run in a folder that has the bundle `out`, but for `removed`."""
    source = ("--no-index", "-f", "../wheels", "--python", "3.8")
    make = ("create", "-r", "requirements.txt", *source, "--force", "-o", "out")
    newer = ("create", "beta", *source, "--force", "-o", "newer")
    delta = ("delta", "out", "newer", "--force", "-o", "x.delta")

    def same(*names: str) -> Callable[[World], str]:
        return lambda world: digest(*(world.work / name for name in names))

    return {
        "create": Victim(words=make, removed=("out",), product=same("out")),
        "create --prove": Victim(words=(*make, "--prove"), product=same("out")),
        "create, empty cache": Victim(words=make, removed=("out", "../cache"), product=same("out")),
        "lock": Victim(
            words=("lock", "-r", "requirements.txt", *source, "-o", "pylock.toml"),
            removed=("pylock.toml",),
            product=same("pylock.toml"),
        ),
        "pack": Victim(
            words=("pack", "out", "--force", "--format", "tar.gz", "-o", "packed"),
            removed=("packed.tar.gz",),
            product=same("packed.tar.gz"),
        ),
        "deploy": Victim(
            words=("deploy", "out", "--to", "docker", "-o", "context", "--base", "registry.test/base:1"),
            removed=("context",),
            product=same("context"),
        ),
        "delta": Victim(words=delta, removed=("x.delta",), product=same("x.delta"), before=(newer,)),
        "delta --force": Victim(words=delta, product=same("x.delta"), before=(newer,)),
        "apply": Victim(
            words=("apply", "out", "x.delta", "-o", "applied"),
            removed=("applied",),
            product=same("applied"),
            before=(newer, delta),
        ),
        "apply.py --verify": Victim(
            words=("x.delta/apply.py", "--verify", "out", "-o", "applied"),
            alone=True,
            removed=("applied",),
            product=same("applied"),
            before=(newer, delta),
        ),
        "verify": Victim(words=("verify", "out"), product=same("out")),
        "cache prune": Victim(words=("cache", "prune", "--all"), product=same("out"), then=make),
        "cache verify": Victim(words=("cache", "verify"), product=same("out"), then=make),
        "audit": Victim(words=("audit", "out", "--python", "3.8"), product=same("out")),
        "diff": Victim(words=("diff", "out", "newer", "--files"), product=same("out"), before=(newer,)),
        "inspect": Victim(words=("inspect", "out"), product=same("out")),
        "report": Victim(
            words=("report", "out", "-o", "page.html", "--no-import-times"),
            removed=("page.html",),
            product=same("page.html"),
        ),
        "report --import-times": Victim(
            words=("report", "out", "-o", "page.html", "--import-times"),
            removed=("page.html",),
            product=same("out"),
        ),
        "rehearse": Victim(
            words=("rehearse", "out", "--entry", "score.py", "--server", "9.1", *source[:3]),
            product=same("out"),
            made=make_service,
        ),
        "save": Victim(
            words=("save", "shelf", "-o", "parcel"),
            removed=("parcel", "shelf/sent.json"),
            product=same("parcel", "shelf/sent.json"),
        ),
        "load": Victim(words=("load", "carried", "loaded"), removed=("loaded",), product=same("loaded")),
        "load --keep": Victim(
            words=("load", f"carried-{NIGHTS}", "kept", "--keep", "1"),
            removed=("kept",),
            copied=(("full", "kept"),),
            product=same("kept"),
            made=make_nights,
        ),
        "rebuild": Victim(words=("rebuild",), removed=("nightly",), product=_published),
        "rebuild, publish": Victim(words=("rebuild",), removed=("nightly", "../shelf"), product=_published),
    }


def _published(world: World) -> str:
    """The digests of the current builds, here and where they are published."""
    (here,) = (world.work / "nightly").glob("one*/current/manifest.json")
    (there,) = (world.root / "shelf").rglob("current.json")
    return f"{json.loads(here.read_bytes())['manifest_digest']} {json.loads(there.read_bytes())['digest']}"


def reset(world: World, victim: Victim) -> None:
    """Remove what a command is to make."""
    for name in victim.removed:
        path = world.work / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for source, name in victim.copied:
        shutil.copytree(world.work / source, world.work / name, symlinks=True)


def checked(world: World, words: Sequence[str], *, alone: bool = False) -> float:
    """Run to the end, which must be a good one, and return the seconds that it took."""
    started = time.monotonic()
    code, printed = world.run(*words, alone=alone)
    if code:
        raise RuntimeError(f"{' '.join(words)}: exit code {code}\n{printed[-2000:]}")
    return time.monotonic() - started


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """How a command is when nobody kills it."""

    seconds: float
    product: str
    names: frozenset[str]


def baseline(world: World, victim: Victim) -> Baseline:
    """Run a command that nobody disturbs."""
    victim.made(world)
    for words in victim.before:
        checked(world, words)
    reset(world, victim)
    seconds = checked(world, victim.words, alone=victim.alone)
    if victim.then:
        checked(world, victim.then)
    return Baseline(seconds=seconds, product=victim.product(world), names=frozenset(world.temporary_names()))


def kill(
    world: World,
    victim: Victim,
    known: Baseline,
    *,
    moment: float,
    by: signal.Signals = signal.SIGKILL,
) -> list[str]:
    """Kill or stop one run after so many seconds, run again, and return what was wrong."""
    reset(world, victim)
    before = descendants()
    process = world.start(*victim.words, alone=victim.alone)
    end_of_start = time.monotonic() + PATIENCE
    while by in STOPS and not hears(process.pid) and time.monotonic() < end_of_start:
        time.sleep(0.001)  # until then a signal ends Python itself
    time.sleep(moment)
    process.send_signal(by)
    wrong = []
    try:
        printed = process.communicate(timeout=PATIENCE)[0]
    except subprocess.TimeoutExpired:
        wrong.append(f"goes on for {PATIENCE} s")
    else:
        # It may have ended before; and where Python itself ends, a signal ends it, as any process.
        known_ends = {0, 128 + by, -by} if is_whole(world, victim, known) else {128 + by}
        if by in STOPS and process.returncode not in known_ends:
            wrong.append(f"exit code {process.returncode}: {printed.decode(errors='replace')[-500:]}")
    time.sleep(GRACE)
    left = {number: line for number, line in descendants().items() if number not in before}
    wrong += [f"still runs after {GRACE:g} s: {line[:200]}" for line in left.values()]
    end(left)
    if by in STOPS:
        wrong += [f"leaves {name}" for name in sorted(world.temporary_names() - known.names)]
    try:
        checked(world, victim.then or victim.words, alone=victim.alone)
    except RuntimeError as error:
        return [*wrong, f"the next run fails: {error}"]
    if victim.product(world) != known.product:
        wrong.append("the next run gives something else")
    wrong += [f"left over: {name}" for name in sorted(world.temporary_names() - known.names)]
    return wrong


def is_whole(world: World, victim: Victim, known: Baseline) -> bool:
    """Tell whether what a run was to make is there."""
    try:
        return victim.product(world) == known.product
    except (OSError, ValueError):
        return False


def hears(number: int) -> bool:
    """Tell whether a process handles SIGTERM, or has ended (man 5 proc_pid_status)."""
    try:
        status = Path(f"/proc/{number}/status").read_text()
    except OSError:
        return True
    caught = re.search(r"^SigCgt:\t(\w+)$", status, re.MULTILINE)
    return "\nState:\tZ" in status or (
        caught is not None and bool(int(caught[1], 16) >> (signal.SIGTERM - 1) & 1)
    )


def prepare(world: World) -> None:
    """Write what the commands read, and make the bundle."""
    (world.work / "requirements.txt").write_text("alpha\n")
    (world.work / "envbundle.toml").write_text(CONFIGURATION.format(shelf=world.root / "shelf"))
    checked(world, victims()["create"].words)
    shelf = CONFIGURATION.replace('"nightly"', '"shelf"').replace("publish", "# publish")
    (world.work / "shelf.toml").write_text(shelf)
    checked(world, ("rebuild", "shelf.toml"))
    checked(world, ("save", "shelf", "-o", "carried"))


def make_nights(world: World) -> None:
    """Make a shelf with many builds, each with an archive, and a parcel with the next one."""
    shelf = CONFIGURATION.replace('"nightly"', '"nights"').replace("publish", "# publish")
    (world.work / "nights.toml").write_text(shelf.replace("requirements.txt", "night.txt"))
    for night in range(1, NIGHTS + 1):
        (world.work / "night.txt").write_text(f"alpha>=0.{night}\n")
        checked(world, ("rebuild", "nights.toml"))
        checked(world, ("save", "nights", "-o", f"carried-{night}"))
        if night < NIGHTS:
            checked(world, ("load", f"carried-{night}", "full"))
    for record in (world.work / "full").glob("*/builds/*.json"):
        checked(world, ("pack", str(record.with_suffix("")), "--format", "tar.gz"))


def make_service(world: World) -> None:
    """Make an entry script, and a server for it."""
    (world.work / "score.py").write_text(SCORE)
    make_wheel(
        world.wheels,
        "azureml-inference-server-http",
        "9.1",
        files={"fakeserver.py": SERVER},
        entry_points="[console_scripts]\nazmlinfsrv = fakeserver:run\n",
    )


def attack(
    world: World,
    names: Sequence[str],
    *,
    count: int,
    seed: int,
    signals: Sequence[signal.Signals] = (signal.SIGKILL,),
) -> int:
    """Kill or stop so many runs, the commands in turn; return how many were not sound."""
    chance = random.Random(seed)
    table = victims()
    prepare(world)
    known: dict[str, Baseline] = {}
    killed = dict.fromkeys(names, 0)
    unsound = dict.fromkeys(names, 0)
    with adopting():
        for number in range(count):
            name = names[number % len(names)]
            if name not in known:
                known[name] = baseline(world, table[name])
            moment = chance.uniform(0, 1.05) * known[name].seconds
            by = signals[number // len(names) % len(signals)]
            wrong = kill(world, table[name], known[name], moment=moment, by=by)
            killed[name] += 1
            unsound[name] += bool(wrong)
            for one in wrong:
                print(f"  {name}, {by.name} after {moment:.2f} s: {one}", flush=True)
    what = "kills" if signals == (signal.SIGKILL,) else "stops"
    for name in names:
        print(f"{name:<21} {killed[name]:>5} {what}, {unsound[name]} not sound")
    print(f"{sum(killed.values())} {what}, {sum(unsound.values())} not sound")
    return sum(unsound.values())


def main(argv: Sequence[str]) -> int:
    """Run `scripts/attack kills` and return its exit code."""
    table = victims()
    parser = argparse.ArgumentParser(prog="scripts/attack kills", description=__doc__)
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help=f"of: {', '.join(table)}")
    parser.add_argument("--count", type=int, default=len(table), help="kills (default: one a command)")
    parser.add_argument(
        "--stop", action="store_true", help="stop them: SIGHUP, SIGINT, SIGQUIT, SIGTERM in turn"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    if unknown := set(options.commands) - set(table):
        parser.error(f"no command {min(unknown)!r}; there are {', '.join(table)}")
    with tempfile.TemporaryDirectory(prefix="envbundle-kills-") as folder:
        world = make_world(Path(folder))
        # A program that travels has no handlers: a signal ends it as any program of Python's.
        every = [name for name, victim in table.items() if not (options.stop and victim.alone)]
        names = options.commands or every
        signals = STOPS if options.stop else (signal.SIGKILL,)
        unsound = attack(world, names, count=options.count, seed=options.seed, signals=signals)
        return 1 if unsound else 0
