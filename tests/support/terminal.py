"""Runs a program on a terminal of its own, and measures how long it says nothing."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What a terminal got."""

    code: int
    text: str
    longest: float
    """Seconds of the longest silence, from the first word to the end."""
    start: float
    """Seconds until the first word, which are the machine's: Python has to start."""


def record(argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str]) -> Recording:
    """Run a program with a terminal as its standard output and error."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    last = time.monotonic()
    longest, start = 0.0, 0.0
    parts: list[bytes] = []
    running = subprocess.Popen(
        list(map(str, argv)), cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=its, stderr=its
    )
    os.close(its)
    while True:
        ready, _, _ = select.select([ours], [], [], 0.05)
        now = time.monotonic()
        if parts:
            longest = max(longest, now - last)
        else:
            start = now - last
        if not ready:
            continue
        try:
            part = os.read(ours, 65536)
        except OSError:  # Linux: the last program that had it has ended
            part = b""
        if not part:
            break
        parts.append(part)
        last = now
    os.close(ours)
    return Recording(
        code=running.wait(), text=b"".join(parts).decode(errors="replace"), longest=longest, start=start
    )
