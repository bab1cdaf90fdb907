"""Ends the run on a signal, by an exception in the main thread, so that everything begun is undone.

Python runs the handler of a signal between two instructions of the main thread. Three things go wrong there:

- The signal comes when the main thread is about to wait for another one, or another thread gets it: Python
  takes note of it, and the handler does not run before the wait is over. A thread that hears of each signal
  wakes the main thread. A forked process has neither that thread nor the timer, and gets its own.
- The exception comes while Python's own code has taken a lock and does not guard it yet (importlib does so
  in pure Python): nobody releases the lock, and threads that the run waits for never end. There the handler
  comes back a moment later.
- A destructor or the callback of a weak reference drops what it raises, and so does some code in C. The
  exception is raised anew.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

from bundler.errors import Terminated
from bundler.system import process

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals after which a run cleans up: 130, 143, 129, 131."""
_AGAIN = 0.005
"""Seconds between two attempts to stop the run."""
_LOCKING = frozenset({
    *("_frozen_importlib", "_frozen_importlib_external"),
    *("importlib._bootstrap", "importlib._bootstrap_external"),
    *("threading", "queue", "weakref", "logging", "concurrent.futures._base", "concurrent.futures.thread"),
    *("multiprocessing.synchronize", "tqdm.std"),
    __name__,
})  # fmt: skip
"""Modules whose code takes locks that are soon free; and this one: a handler interrupts another."""
_WAITING = frozenset({("threading", "wait"), ("threading", "join"), ("threading", "_wait_for_tstate_lock")})
"""Their functions that wait for long, and restore what they have taken."""


class _Stopped(Terminated):
    """Stops the run once more if it is gone before somebody has heard it."""

    def __init__(self, number: int, lost: Callable[[], None]) -> None:
        super().__init__()
        self.number = number
        self._lost = lost

    def __del__(self) -> None:
        if not self.heard:
            self._lost()


class _Handler:
    """Raises, in the main thread, what stops the run, as soon as that leaves no lock behind."""

    def __init__(self) -> None:
        self._number = 0
        self._wanted = False
        """Whether an exception is to come."""
        self._before: tuple[FrameType, int] | None = None
        self._since = 0.0
        """When it was there first: a second handler may run there at once."""

    def first(self, number: int, frame: FrameType | None) -> None:
        """Stop the run; further signals do nothing, so that they do not interrupt the cleaning up."""
        for one in SIGNALS:
            # Not SIG_IGN: Python prints a traceback for a signal that has come already.
            signal.signal(one, _do_nothing)
        self._number = number
        self._want()
        self.again(number, frame)

    def again(self, _: int, frame: FrameType | None) -> None:
        """Stop the run if a signal has said so before."""
        if not self._wanted:
            signal.setitimer(signal.ITIMER_REAL, 0)
        elif frame is None or self._is_safe(frame):
            self._wanted, self._before = False, None  # before what takes longer than the timer
            process.stop()  # not earlier: nobody must take a program that was killed for one that failed
            # A name for it, in this frame, would keep it alive.
            raise _Stopped(self._number, self._want)

    def after_fork(self) -> None:
        """Hear of signals in a new process, and stop it too if the other one is about to be stopped."""
        _listen()
        if self._wanted:
            _arm()

    def _want(self) -> None:
        self._wanted = True
        _arm()

    def _is_safe(self, frame: FrameType) -> bool:
        """Tell whether an exception leaves no lock behind."""
        module = frame.f_globals.get("__name__")
        if (module, frame.f_code.co_name) not in _WAITING:
            return module not in _LOCKING
        where, now = (frame, frame.f_lasti), time.monotonic()
        if where != self._before:
            self._before, self._since = where, now
        return now - self._since > _AGAIN / 2


def install() -> None:
    """Let the signals stop the run."""
    handler = _Handler()
    signal.signal(signal.SIGALRM, handler.again)
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # `nohup` ignores SIGHUP
            signal.signal(number, handler.first)
    sys.unraisablehook = _unraisable
    _listen()
    os.register_at_fork(after_in_child=handler.after_fork)
    # Python takes its handlers away in the end: what comes then would kill the process.
    atexit.register(signal.signal, signal.SIGALRM, signal.SIG_IGN)


def stopped_by(error: BaseException) -> Terminated | None:
    """Return what stopped the run if an exception came of that, as of a lock that was not taken."""
    context: BaseException | None = error
    while context is not None and not isinstance(context, Terminated):
        context = context.__context__
    return context


def _listen() -> None:
    heard, told = os.pipe()
    os.set_blocking(told, False)
    before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    if before >= 0:  # the other process hears of its own signals alone
        os.close(before)
    threading.Thread(target=_wake, args=(heard,), daemon=True).start()


def _wake(heard: int) -> None:
    """Interrupt what the main thread waits for after each signal: Python writes its number to a pipe."""
    while number := os.read(heard, 1):
        if number[0] in SIGNALS:
            _arm()


def _arm() -> None:
    signal.setitimer(signal.ITIMER_REAL, _AGAIN, _AGAIN)


def _do_nothing(_: int, _frame: FrameType | None) -> None:
    pass


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """Say what Python drops, but not that a run is stopped: that comes again."""
    if not isinstance(unraisable.exc_value, Terminated):
        sys.__unraisablehook__(unraisable)
