"""Shows progress: a line with its time for each stage; on a terminal bars, and what is in work, each second.

The caller gives the stream.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm

BEAT = 1.0
"""Seconds between two lines that say what is in work."""
CLEAR = "\r\033[K"


@dataclass(kw_only=True)
class Progress:
    """The progress of one command."""

    stream: TextIO
    quiet: bool = False
    timings: dict[str, float] = field(default_factory=dict)
    """Stage → seconds, in the order in which they ended."""
    _running: dict[str, float] = field(default_factory=dict)
    """What is in work → when it began."""
    _steps: dict[str, float] = field(default_factory=dict)
    """Slow steps of it that have not ended → when they began."""
    _drawn: list[tqdm[NoReturn]] = field(default_factory=list)
    """The bars that are shown."""
    _writing: threading.RLock = field(default_factory=threading.RLock)
    _beating: bool = False

    @property
    def _terminal(self) -> bool:
        return not self.quiet and self.stream.isatty()

    @property
    def _bars(self) -> TextIO:
        """The terminal itself: a bar moves the cursor, which `stream` may keep from doing so."""
        return getattr(self.stream, "unescaped", self.stream)

    def note(self, message: str) -> None:
        """Write a line, above any bar."""
        if self._terminal:
            from tqdm import tqdm  # noqa: PLC0415 - only a terminal has bars

            # The stream itself escapes what moves the cursor; bars go past it, and so does what stands above.
            self.stream.flush()
            with self._writing, tqdm.external_write_mode(file=self._bars):
                self._line("")
                self.stream.write(f"{message}\n")
                self.stream.flush()
        elif not self.quiet:
            self.stream.write(f"{message}\n")
            self.stream.flush()

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Time a stage, and write its line when it has succeeded."""
        stage = Stage()
        started = time.perf_counter()
        with self.working(name):
            yield stage
        seconds = time.perf_counter() - started
        self.timings[name] = seconds
        self.note(f"{name:<12} {seconds:6.2f} s   {stage.result}".rstrip())

    @contextlib.contextmanager
    def working(self, name: str) -> Iterator[None]:
        """Show on a terminal, each second and in a line that goes, that something is in work."""
        if not self._terminal:
            yield
            return
        self._running[name] = time.perf_counter()
        if not self._beating:
            self._beating = True
            threading.Thread(target=self._beat, daemon=True).start()
        try:
            yield
        finally:
            with self._writing:
                self._running.pop(name, None)
                self._line("")

    def _beat(self) -> None:
        """Write what began last, and its slow steps, until nothing is in work."""
        while self._running:
            time.sleep(BEAT)
            with self._writing:
                if self._drawn:
                    self._drawn[-1].refresh()
                elif self._running:
                    name, since = list(self._running.items())[-1]
                    now = time.perf_counter()
                    steps = [f"{what} {now - began:.0f} s" for what, began in tuple(self._steps.items())]
                    self._line(f"{name:<12} {now - since:4.0f} s … {', '.join(steps)}".rstrip())
        self._beating = False

    def _line(self, text: str) -> None:
        """Write the line that goes, unless a bar stands there."""
        if not self._drawn:
            # A line that wraps would not go.
            self._bars.write(f"{CLEAR}{text[: shutil.get_terminal_size().columns - 1]}")
            self._bars.flush()

    @contextlib.contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Write a line before one slow step of a stage; on a terminal, its seconds go on until it ends."""
        self.note(f"{'':<12} {what} …")
        self.begin(what)
        try:
            yield
        finally:
            self.end(what)

    def begin(self, what: str) -> None:
        """Say that a slow step is in work from now on; may be called on any thread."""
        self._steps[what] = time.perf_counter()

    def end(self, what: str) -> None:
        """Say that it is in work no more."""
        self._steps.pop(what, None)

    @contextlib.contextmanager
    def bar(self, label: str, *, total: int | None, unit: str = "B") -> Iterator[Callable[[int], None]]:
        """Show a bar on a terminal, and give the function that advances it.

        :param total: in `unit`s; `None`: unknown.
        """
        if not self._terminal:
            yield lambda _count: None
            return
        from tqdm import tqdm  # noqa: PLC0415 - as above

        lock = threading.Lock()
        with self._writing:
            self._line("")
        with tqdm(
            total=total,
            desc=label,
            unit=unit,
            unit_scale=unit == "B",
            unit_divisor=1000,
            file=self._bars,
            leave=False,
            dynamic_ncols=True,
        ) as bar:
            self._drawn.append(bar)

            def advance(count: int) -> None:
                with lock:
                    bar.update(count)

            try:
                yield advance
            finally:
                with self._writing:
                    self._drawn.remove(bar)


@dataclass(kw_only=True)
class Stage:
    """A running stage."""

    result: str = ""
    """What its line says after the time."""
