"""Shows a run over many bundles: a line for each that is done, and on a terminal below them those in work."""

from __future__ import annotations

import contextlib
import re
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import click

from bundler.cli import streams
from bundler.cli.boundary import write_bug_report
from bundler.cli.output import print_findings, print_isolation
from bundler.rebuild.outcome import Bug, Event, Outcome
from bundler.rebuild.summary import Run
from bundler.report.compare.difference import Difference
from bundler.report.compare.sections import names
from bundler.report.pages.changes import versions
from bundler.system.progress import BEAT
from bundler.system.sizes import in_units

WORD = 12
"""Columns of the word that says what became of a bundle."""
WORDS = {
    "built": ("built", "green"),
    "unchanged": ("unchanged", ""),
    "would-build": ("would build", "cyan"),
    "not-proved": ("not proved", "red"),
    "failed": ("failed", "red"),
    "skipped": ("skipped", "yellow"),
}
MOST_VERSIONS = 4
MOST_BUNDLES = 4
_STAGE = re.compile(r"\S+ +\d+\.\d\d s\b")
"""The beginning of the line of a stage that has ended: not shown, the line of the bundle is enough."""


class Display:
    """Shows events on stderr."""

    def __init__(self, *, total: int, quiet: bool, arguments: Sequence[str]) -> None:
        self._total = total
        self._quiet = quiet
        self._arguments = arguments
        self._live = not quiet and sys.stderr.isatty()
        self._busy: dict[str, str] = {}
        self._done: Counter[str] = Counter()
        self._shown: set[str] = set()
        self._began = time.monotonic()
        self._writing = threading.RLock()

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Clear the last line in the end, and add to Ctrl-C how far the run came."""
        ended = threading.Event()
        if self._live:
            threading.Thread(target=self._beat, args=(ended,), daemon=True).start()
        try:
            yield
        except KeyboardInterrupt as error:
            done, built = self._done.total(), self._done["built"]
            error.args = (f"{done} of {self._total} bundles were done, {built} of them built anew",)
            raise
        finally:
            ended.set()
            with self._writing:
                self._clear()

    def _beat(self, ended: threading.Event) -> None:
        """Draw what is in work anew each second, with the time."""
        while not ended.wait(BEAT):
            with self._writing:
                if not ended.is_set():
                    self._draw()

    def show(self, event: Event) -> None:
        """Show an event."""
        with self._writing:
            self._show(event)

    def _show(self, event: Event) -> None:
        if isinstance(event, Outcome):
            self._busy.pop(event.name, None)
            self._done[event.state] += 1
            self._clear()
            self._outcome(event)
        elif isinstance(event, Bug):
            self._clear()
            path = write_bug_report(event.trace, self._arguments)
            click.echo(f"{event.name}: please report this bug of envbundle with the file {path}", err=True)
        elif event.begins:
            self._busy[event.name] = event.text
        elif not (self._quiet or _STAGE.match(event.text) or event.text in self._shown):
            # Every bundle says the same of the machine: once is enough.
            self._shown.add(event.text)
            self._clear()
            click.echo(f"{event.name}: {event.text.strip()}", err=True)
        self._draw()

    def _outcome(self, outcome: Outcome) -> None:
        if self._quiet and outcome.ok:
            return
        word, colour = WORDS[outcome.state]
        line = f"{word:<{WORD}} {outcome.name:<24} {outcome.seconds:6.1f} s   {_text(outcome)}".rstrip()
        if colour:
            line = streams.styled(line[:WORD], fg=colour, bold=True) + line[WORD:]
        click.echo(line, err=True)
        if outcome.state == "not-proved":
            print_findings(outcome.findings)
        if outcome.hint:
            click.echo(f"  {streams.styled('hint:', fg='cyan', bold=True)} {outcome.hint}", err=True)

    def _draw(self) -> None:
        if self._live and self._busy:
            work = " · ".join(f"{name} {text}".strip() for name, text in self._busy.items())
            seconds = time.monotonic() - self._began
            line = f"[{self._done.total()}/{self._total}, {seconds:.0f} s] {work}"
            self._clear(line[: shutil.get_terminal_size().columns - 1])

    def _clear(self, text: str = "") -> None:
        """Replace the last line; what is written past the stream's own escapes is escaped here."""
        if self._live:
            sys.stderr.flush()
            terminal = getattr(sys.stderr, "unescaped", sys.stderr)
            terminal.write(f"\r\x1b[K{streams.escaped(text)}")
            terminal.flush()

    def close(self, run: Run) -> None:
        """Show the counts of the whole run."""
        if self._quiet:
            return
        counts = [f"{self._done[state]} {word}" for state, (word, _) in WORDS.items() if self._done[state]]
        for absent, bundles in _not_isolated(run.outcomes).items():
            print_isolation(absent, of=f"the proof of {bundles}")
        told = ", ".join(counts) or "nothing to do"
        noun = "bundle" if self._total == 1 else "bundles"
        click.echo(f"{self._total} {noun} in {run.seconds:.1f} s: {told}", err=True)


def _not_isolated(outcomes: Iterable[Outcome]) -> dict[tuple[str, ...], str]:
    """Return parts of the isolation that were not in force → bundles of which that is true, in words."""
    found: dict[tuple[str, ...], list[str]] = {}
    for one in outcomes:
        if one.not_isolated:
            found.setdefault(one.not_isolated, []).append(one.name)
    return {absent: names(bundles, most=MOST_BUNDLES) for absent, bundles in found.items()}


def _text(outcome: Outcome) -> str:
    """Return the text behind a bundle's name."""
    if outcome.error:
        return outcome.error
    words = [outcome.reason] if outcome.reason else []
    if outcome.changes is not None:
        words = [changed(outcome.changes) or outcome.reason or "the same content"]
    elif outcome.state == "built":
        words.append(f"{in_units(outcome.size)} in {outcome.files} files")
    warnings = sum(1 for one in outcome.findings if one.accepted is None and one.severity == "warning")
    if warnings:
        words.append(f"{warnings} warning{'s' if warnings != 1 else ''}")
    if outcome.published:
        words.append(f"at {outcome.published}")
    return "; ".join(words)


def changed(changes: Difference) -> str:
    """Return `requests 2.31.0 → 2.32.3, + idna 3.7, 2 more`; empty: no distribution changed."""
    every = versions(changes)
    shown = every if len(every) <= MOST_VERSIONS + 1 else every[:MOST_VERSIONS]
    more = len(every) - len(shown)
    return ", ".join([*shown, *([f"{more} more"] if more else [])])
