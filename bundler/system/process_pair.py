"""Does two things at the same time, in two processes, without starting a program."""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def both(first: Callable[[], bytes], second: Callable[[], bytes]) -> tuple[bytes, bytes]:
    """Return the results of two functions, the second of which runs in a child, a copy of this process.

    The process must have no threads (man 2 fork).

    :param second: of a small result (less than 64 KiB), and without effects; it may fail.
    :raises OSError: the second one failed, or no child can be made.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, second())
        finally:
            # Nothing that the parent has prepared for its own end is to happen here.
            os.kill(os.getpid(), signal.SIGKILL)
    os.close(writing)
    try:
        mine = first()
        other = os.read(reading, 1 << 16)
    finally:
        os.close(reading)
        os.waitpid(child, 0)
    if not other:
        raise OSError("a child process failed")
    return mine, other
