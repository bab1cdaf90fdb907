"""Feeds changed inputs to every reader of files from outside, and counts what is no answer.

A reader may return a value or raise an error of envbundle's. Anything else (a traceback), and a call that
takes more than five seconds of a processor or a minute (a hang), are counted and shown with the input's file.
Each reader has a process of its own. Exit code 1 where there was one, or where a process took more than
300 MiB. `tests/scripts/test_attack.py` runs it for a moment.
"""

from __future__ import annotations

import argparse
import functools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from bundler.errors import EnvbundleError

from scripts.attacks.readers import Reader, seeds

SLOW = 5
"""Seconds of a processor."""
HANGS = 60
"""Seconds."""
MEMORY = 300 << 20
TOKENS = (
    *(
        b"\0",
        b"\xff",
        b"\xed\xa0\x80",
        b"://",
        b"@",
        b"[",
        b"]",
        b"{",
        b"}",
        b'"',
        b"'",
        b"\\",
        b"\n",
        b"\r",
        b"==",
    ),
    *(
        b"null",
        b"-1",
        b"1e999",
        b"NaN",
        b"9" * 5000,
        b"../",
        b"/",
        b"a" * 3000,
        b" " * 3000,
        b"[" * 3000,
        b"-" * 3000,
    ),
    *(b"<![x", b"<a href=", b"#egg=", b"; ", b"%00", b"\x1b[2J", b"=", b",", b":", b"0" * 300, b"a." * 2000),
)


def changed(data: bytes, chance: random.Random) -> bytes:
    """Return the input with some pieces cut, doubled, flipped or put in."""
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at, length = chance.randrange(len(found) + 1), chance.choice((1, 1, 4, 40, 400))
        match chance.randrange(5):
            case 0 if at < len(found):
                found[at] ^= 1 << chance.randrange(8)
            case 1:
                del found[at : at + length]
            case 2:
                found[at:at] = found[at : at + length] * chance.choice((1, 2, 50))
            case 3:
                found[at : at + chance.choice((0, length))] = chance.choice(TOKENS)
            case _:
                found[at:at] = chance.randbytes(length)
    return bytes(found)


LEAST = 4
"""Inputs for each reader, however slow the machine is."""


def attack(
    name: str, seed: tuple[bytes, str, Reader], *, seconds: float, chance: random.Random, kept: Path
) -> int:
    """Feed one reader for some seconds; keep what got no answer, and return how many they were."""
    data, filename, read = seed
    path = kept.parent / filename
    count = answered = bad = hangs = 0
    end = time.monotonic() + seconds
    # On a slow machine too, the unchanged input and a few changed ones.
    while count < LEAST or time.monotonic() < end:
        path.write_bytes(changed(data, chance) if count else data)
        count += 1
        signal.alarm(HANGS)
        signal.setitimer(signal.ITIMER_PROF, SLOW)
        try:
            read(path)
            answered += 1
        except EnvbundleError:
            pass
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            bad += 1
            hangs += isinstance(error, TimeoutError)
            shutil.copyfile(path, kept / f"{name}-{bad}")
            print(f"  {name}: {type(error).__name__}: {str(error)[:300]} ({kept}/{name}-{bad})")
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.alarm(0)
    # Not ru_maxrss: that keeps what the process had that started this one.
    peak = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) << 10
    told = f"{bad} without an answer, {hangs} of them hang; {peak >> 20} MiB at most"
    print(f"{name:<14} {count:>8} inputs, {answered:>8} accepted, {told}", flush=True)
    return bad + (peak > MEMORY)


def _too_slow(*_: object) -> None:
    raise TimeoutError("too slow")


def apart(work: Callable[[], int]) -> int:
    """Call a function in a process of its own and return its number, at most 250."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        code = 250
        try:
            code = min(work(), 250)
            sys.stdout.flush()
        except BaseException:  # noqa: BLE001 - no child goes on as its parent
            traceback.print_exc()
        os._exit(code)
    status = os.waitpid(child, 0)[1]
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 1


def main(words: Sequence[str]) -> int:
    """Run `scripts/attack fuzz` and return its exit code."""
    parser = argparse.ArgumentParser(prog="scripts/attack fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER")
    parser.add_argument("--seconds", type=float, default=60, help="for each reader (default: 60)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(words)
    signal.signal(signal.SIGALRM, _too_slow)
    signal.signal(signal.SIGPROF, _too_slow)
    kept = Path(tempfile.mkdtemp(prefix="envbundle-attack-")) / "found"
    kept.mkdir()
    known = seeds(kept.parent)
    names = options.readers or list(known)
    if unknown := set(names) - set(known):
        parser.error(f"no reader {min(unknown)!r}; there are {', '.join(known)}")
    bad = 0
    for name in names:
        chance = random.Random(f"{options.seed} {name}")
        bad += apart(
            functools.partial(attack, name, known[name], seconds=options.seconds, chance=chance, kept=kept)
        )
    print("every input has an answer" if not bad else f"{bad} failures; the inputs are in {kept}")
    if not bad:
        shutil.rmtree(kept.parent)
    return 1 if bad else 0
