"""Shows progress: bars on a terminal, and a line with its time for each stage.

The caller gives the stream.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TextIO


@dataclass(kw_only=True)
class Progress:
    """The progress of one command."""

    stream: TextIO
    quiet: bool = False
    timings: dict[str, float] = field(default_factory=dict)
    """Stage → seconds, in the order in which they ended."""

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
            with tqdm.external_write_mode(file=self._bars):
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
        yield stage
        seconds = time.perf_counter() - started
        self.timings[name] = seconds
        self.note(f"{name:<12} {seconds:6.2f} s   {stage.result}".rstrip())

    def step(self, what: str) -> None:
        """Write a line before one slow step of a stage."""
        self.note(f"{'':<12} {what} …")

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

            def advance(count: int) -> None:
                with lock:
                    bar.update(count)

            yield advance


@dataclass(kw_only=True)
class Stage:
    """A running stage."""

    result: str = ""
    """What its line says after the time."""
