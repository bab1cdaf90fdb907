"""Runs `envbundle` as a user does: another process, its own environment, exit code and both streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support import imported
from tests.support.machine import lacking, skip_without_python

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


TIMEOUT = 300
"""Seconds after which a run is taken to hang."""
REFUSE = """
for kind in user pid mnt net; do echo 0 > /proc/sys/user/max_${kind}_namespaces; done
exec "$@"
"""
"""Shell: a machine that gives no namespaces, in one of users (`unshare -Ur`)."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run left."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> dict[str, Any]:
        """The one object that `--json` prints."""
        parsed: dict[str, Any] = json.loads(self.stdout)
        return parsed


@dataclass(frozen=True, kw_only=True)
class Command:
    """`envbundle` with a cache that has the pips of the targets, and no index but what a test gives."""

    cache: Path
    pips: Path
    folder: Path
    """Where it runs."""

    def argv(self, *words: str | Path) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", "bundler", *map(str, words)]

    def environment(self, environ: Mapping[str, str] | None = None) -> dict[str, str]:
        """The caller's environment of a run, with changes."""
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH120, PTH100 - one line
        base = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
        return {
            **base,
            "PYTHONPATH": root,
            "ENVBUNDLE_CACHE_DIR": str(self.cache),
            **(environ or {}),
        }

    def __call__(
        self, *words: str | Path, environ: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Outcome:
        """Run to the end."""
        environment = self.environment(environ)
        alone = threading.current_thread() is threading.main_thread()  # a parent forks one after the other
        if alone and imported.parent().fits(environment):
            done = self._forked(words, environment, cwd or self.folder)
        else:
            done = self._started(words, environment, cwd or self.folder)
        skip_without_python(done.code, done.stdout + done.stderr)
        return done

    def _forked(self, words: Sequence[str | Path], environment: Mapping[str, str], cwd: Path) -> Outcome:
        code, stdout, stderr = imported.parent().run(
            list(map(str, words)), environ=environment, cwd=cwd, timeout=TIMEOUT
        )
        return Outcome(code=code, stdout=stdout, stderr=stderr)

    def _started(self, words: Sequence[str | Path], environment: Mapping[str, str], cwd: Path) -> Outcome:
        done = subprocess.run(
            self.argv(*words),
            env=environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        return Outcome(code=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def without_namespaces(self) -> Wrapped:
        """The command as on a machine that refuses to isolate; skips where that cannot be had."""
        wrapper = ("unshare", "-Ur", "sh", "-ec", REFUSE, "sh")
        tried = subprocess.run([*wrapper, "true"], capture_output=True, text=True, check=False)
        if tried.returncode != 0:
            lacking(f"no user namespaces to take away: {tried.stderr.strip()}")
        return Wrapped(cache=self.cache, pips=self.pips, folder=self.folder, wrapper=wrapper)

    def offline(self, wheels: Path) -> list[str]:
        """Options that make a folder of wheels the only place where distributions come from."""
        return ["--no-index", "--find-links", str(wheels), "--find-links", str(self.pips)]


@dataclass(frozen=True, kw_only=True)
class Wrapped(Command):
    """The command, started by another program."""

    wrapper: tuple[str, ...]

    def argv(self, *words: str | Path) -> list[str]:
        return [*self.wrapper, *super().argv(*words)]

    def _forked(self, words: Sequence[str | Path], environment: Mapping[str, str], cwd: Path) -> Outcome:
        return self._started(words, environment, cwd)
