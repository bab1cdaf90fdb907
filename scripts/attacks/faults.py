"""Lets disks fill up and damages the store: a run heals, or says once what is wrong, and nothing is lost."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bundler.ontarget import isolate

from scripts.attacks.kills import Baseline, Victim, baseline, checked, prepare, reset, victims
from scripts.attacks.world import World, make_world

COMMANDS = ("create", "create, empty cache", "pack", "delta", "apply", "rebuild", "verify", "cache verify")
PLACES = ("work", "cache", "tmp")
"""Folders of a world that get a file system of their own."""
SIZE = 256
"""MiB of such a file system."""
LEAST, MOST = 8 << 10, 6 << 20
"""Bytes that are left on a full one."""
MOST_INODES = 200
PATIENCE = 120
"""Seconds after which a run counts as one that hangs: FIFOs make careless readers wait."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a run with a fault ended."""

    code: int | None
    """`None`: it had to be killed."""
    printed: str


def run(world: World, words: Sequence[str]) -> Ended:
    """Run envbundle to its end, if it comes to one."""
    process = world.start(*words)
    try:
        printed = process.communicate(timeout=PATIENCE)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return Ended(code=None, printed=process.communicate()[0].decode("utf-8", "replace"))
    return Ended(code=process.returncode, printed=printed.decode("utf-8", "replace"))


def wrong_end(ended: Ended, *, findings: bool, rebuild: bool = False) -> list[str]:
    """Return what is wrong with an end that is no error of ours, said once.

    :param findings: whether 1 is an answer: what is damaged was found.
    :param rebuild: whether `rebuild` has ended so.
    """
    if ended.code is None:
        return [f"hangs: {ended.printed[-300:]}"]
    wrong = []
    if "Traceback" in ended.printed or "this is a bug" in ended.printed:
        wrong.append(f"a traceback: {ended.printed[-600:]}")
    if ended.code not in ({0, 1, 3} if findings else {0, 3}):
        wrong.append(f"exit code {ended.code}: {ended.printed[-300:]}")
    # `rebuild` tells it of a bundle, below whose name a hint stands.
    told = "hint: " if rebuild else "error: "
    errors = sum(line.strip().startswith(told) for line in ended.printed.splitlines())
    if errors != (ended.code == 3):
        wrong.append(f"{errors} errors are told: {ended.printed[-300:]}")
    return wrong


# --- disks -----------------------------------------------------------------------------------------


def _leave(place: Path, kind: str, chance: random.Random) -> str:
    """Leave less than there is on a file system that is mounted at `place`; say how much."""
    found = os.statvfs(place)
    used = (found.f_blocks - found.f_bfree) * found.f_frsize
    inodes = found.f_files - found.f_ffree
    if kind == "full":
        left = int(LEAST * (MOST / LEAST) ** chance.random())
        options, said = f"size={used + left}", f"{left >> 10} KiB left"
    elif kind == "no inodes":
        left = chance.randrange(MOST_INODES)
        options, said = f"nr_inodes={inodes + left}", f"{left} inodes left"
    else:
        options, said = "", kind
    flags = isolate.MS_REMOUNT | (isolate.MS_RDONLY if kind == "read-only" else 0)
    isolate.attach("tmpfs", str(place), "tmpfs", flags, options)
    return said


@contextlib.contextmanager
def disk(place: Path, kind: str, chance: random.Random) -> Iterator[str]:
    """Give a folder a small file system with all that was in it; afterwards there is space again."""
    aside = place.with_name(f"{place.name}.aside")
    place.mkdir(exist_ok=True)  # an empty cache is none
    shutil.copytree(place, aside, symlinks=True)
    isolate.attach("tmpfs", str(place), "tmpfs", 0, f"size={SIZE}m,mode=755")
    try:
        shutil.copytree(aside, place, symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(aside)
        yield _leave(place, kind, chance)
    finally:
        isolate.attach("tmpfs", str(place), "tmpfs", isolate.MS_REMOUNT, f"size={SIZE}m,nr_inodes=1000000")
        shutil.copytree(place, aside, symlinks=True)
        isolate.LIBC.umount2(os.fsencode(place), 0)
        shutil.rmtree(place)
        aside.rename(place)


# --- the store -------------------------------------------------------------------------------------


def _truncate(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(path.stat().st_size or 1))


def _flip(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes()) or bytearray(1)
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def _replace(path: Path, by: Callable[[Path], object]) -> None:
    path.unlink()
    by(path)


DAMAGE: dict[str, Callable[[Path, random.Random], object]] = {
    "FIFO": lambda path, _: _replace(path, os.mkfifo),
    "folder": lambda path, _: _replace(path, Path.mkdir),
    "symlink": lambda path, _: _replace(path, lambda one: one.symlink_to("/dev/zero")),
    "missing": lambda path, _: path.unlink(),
    "truncated": _truncate,
    "bit flipped": _flip,
}


@contextlib.contextmanager
def store(cache: Path, kind: str, chance: random.Random) -> Iterator[str]:
    """Damage a file of the store; its kinds of files come in turn, however many there are of each."""
    kinds: dict[str, list[Path]] = {}
    for path in sorted(cache.rglob("*")):
        if path.is_file() and not path.is_symlink() and ".lock" not in path.name:
            below = path.relative_to(cache).parts
            name = f"{path.suffix}{'' if len(below) > 3 else path.name}"
            kinds.setdefault(f"{below[0]} {below[1] if len(below) > 2 else ''} {name}", []).append(path)
    path = chance.choice(kinds[chance.choice(sorted(kinds))])
    aside = cache.with_name("cache.aside")
    shutil.copytree(cache, aside, symlinks=True)
    DAMAGE[kind](path, chance)
    try:
        yield str(path.relative_to(cache))
    finally:
        shutil.rmtree(cache)
        aside.rename(cache)


# --- both ------------------------------------------------------------------------------------------


def disk_fault(world: World, victim: Victim, known: Baseline, where: str, chance: random.Random) -> list[str]:
    """Run with a fault of a disk, then without; return what was wrong."""
    place, _, kind = where.partition(" ")
    is_rebuild = victim.words[0] == "rebuild"
    reset(world, victim)
    with disk(world.root / place, kind, chance) as said:
        ended = run(world, victim.words)
        wrong = [f"{said}: {one}" for one in wrong_end(ended, findings=False, rebuild=is_rebuild)]
        wrong += [f"{said}: left over: {name}" for name in sorted(world.temporary_names() - known.names)]
        if ended.code == 0 and not victim.then and victim.product(world) != known.product:
            wrong.append(f"{said}: it gives something else")
    return [*wrong, *_then(world, victim, known)]


def store_fault(world: World, victim: Victim, known: Baseline, kind: str, chance: random.Random) -> list[str]:
    """Run with a damaged store, and again if that was an error; return what was wrong."""
    reset(world, victim)
    with store(world.cache, kind, chance) as path:
        ended = run(world, victim.words)
        wrong = wrong_end(ended, findings=victim.words[0] == "cache", rebuild=victim.words[0] == "rebuild")
        if ended.code == 3:
            run(world, ("cache", "verify"))
        wrong += _then(world, victim, known)
    return [f"{path}: {one}" for one in wrong]


def _then(world: World, victim: Victim, known: Baseline) -> list[str]:
    """Run the next command, which must end well, give the same, and leave nothing."""
    try:
        checked(world, victim.then or victim.words)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return [f"the next run fails: {error}"]
    wrong = [] if victim.product(world) == known.product else ["the next run gives something else"]
    left = sorted(world.temporary_names() - known.names)
    for name in left:  # it is told once, not of each later run
        path = world.root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return wrong + [f"left over: {name}" for name in left]


def faults() -> list[str]:
    """Return the names of all faults."""
    kinds = ("full", "no inodes", "read-only", "of another kind")
    return [*(f"{place} {kind}" for place in PLACES for kind in kinds), *(f"store {one}" for one in DAMAGE)]


def attack(world: World, names: Sequence[str], *, count: int, seed: int) -> int:
    """Make so many runs with a fault; return how many were not sound."""
    chance = random.Random(seed)
    table = victims()
    prepare(world)
    known: dict[str, Baseline] = {}
    cases = [
        (name, fault)
        for fault in faults()
        for name in names
        if not (fault.startswith("store") and "../cache" in table[name].removed)  # there is none then
    ]
    chance.shuffle(cases)
    tried = dict.fromkeys(faults(), 0)
    unsound = dict.fromkeys(faults(), 0)
    for number in range(count):
        name, fault = cases[number % len(cases)]
        if name not in known:
            known[name] = baseline(world, table[name])
        place, _, kind = fault.partition(" ")
        if place == "store":
            wrong = store_fault(world, table[name], known[name], kind, chance)
        else:
            wrong = disk_fault(world, table[name], known[name], fault, chance)
        tried[fault] += 1
        unsound[fault] += bool(wrong)
        for one in wrong:
            print(f"  {name}, {fault}: {one}", flush=True)
    for fault in tried:
        if tried[fault]:
            print(f"{fault:<24} {tried[fault]:>4} runs, {unsound[fault]} not sound")
    print(f"{sum(tried.values())} runs, {sum(unsound.values())} not sound")
    return sum(unsound.values())


def main(argv: Sequence[str]) -> int:
    """Run `scripts/attack faults` and return its exit code."""
    parser = argparse.ArgumentParser(prog="scripts/attack faults", description=__doc__)
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help=f"of: {', '.join(COMMANDS)}")
    every = len(faults()) * len(COMMANDS)
    parser.add_argument("--count", type=int, default=every, help="runs (default: each fault of each command)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    if unknown := set(options.commands) - set(COMMANDS):
        parser.error(f"no command {min(unknown)!r}; there are {', '.join(COMMANDS)}")
    # What is mounted is seen by this process and its children alone, and goes with them.
    if not isolate.unshare(isolate.CLONE_NEWNS):
        print("this machine lets nobody mount: no disk can be made full", file=sys.stderr)
        return 3
    isolate.attach("none", "/", "", isolate.MS_REC | isolate.MS_PRIVATE)
    with tempfile.TemporaryDirectory(prefix="envbundle-faults-") as folder:
        world = make_world(Path(folder))
        return 1 if attack(world, options.commands or COMMANDS, count=options.count, seed=options.seed) else 0
