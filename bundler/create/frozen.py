"""What `pip freeze` says of the environment, empty and with the bundle in it; kept for the same tree.

An answer is kept only where the room held, and it is given again only for a tree with the same digest, the
same interpreter and the same pip. A run that was told so by the one before makes no virtualenv.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import field, replace
from datetime import datetime, timezone
from pathlib import Path

from bundler.checks.imports import evidence_cache
from bundler.checks.proof import Frozen
from bundler.create import environment, target_pip
from bundler.create.target_pip import Freeze
from bundler.errors import InputError, MachineError
from bundler.lazy_dataclass import dataclass
from bundler.model import Environment, Interpreter, RoomLimits, Target
from bundler.ontarget import isolate, pip_freeze
from bundler.system import files, json_values, room
from bundler.system.installed_versions import version
from bundler.wheels.store import Store


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is to be made, for whom: once it has been made, what pip says of its tree is most likely kept."""

    store: Store
    interpreter: Interpreter
    target: Target
    asked: str
    """What was asked for: where it is the same, so is the tree, most likely."""
    afresh: bool = False
    """Ask pip even where its answer is kept."""
    limits: RoomLimits = field(default_factory=RoomLimits)
    """Of the freeze; one that meets them gives no answer."""

    @functools.cached_property
    def known(self) -> tuple[object, ...]:
        """What decides an answer beside the tree, as JSON values."""
        return (
            *(files.digest(Path(str(one.__file__))) for one in (pip_freeze, isolate, room)),
            *(target_pip.version(self.interpreter), version("virtualenv")),
            *(self.target.site_packages, self.target.glibc, evidence_cache.identity(self.interpreter)),
        )

    @functools.cached_property
    def is_answered(self) -> bool:
        """Whether an answer was kept or found when the same was made before, and shall do."""
        return not self.afresh and not self.is_new

    @functools.cached_property
    def is_new(self) -> bool:
        """Whether nobody has made the same before, as far as the store knows."""
        return self.store.text(self._key) is None

    @functools.cached_property
    def _key(self) -> str:
        return _key("question", self.asked, *self.known)

    def keep(self) -> None:
        """Write down that it was answered.

        :raises MachineError: the store cannot be written.
        """
        if self.is_new:
            self.store.keep_text(self._key, "answered")


@dataclass(frozen=True, kw_only=True)
class Freezer:
    """Asks `pip freeze`, or gives what it said of the same tree."""

    question: Question
    bundle: Path
    """The prefix of the bundle: the environment gets its site-packages as its own."""
    posing: Callable[[], Environment] = field(repr=False)
    """Returns the environment, and makes it where it is not there yet."""
    ask: Callable[[], Freeze] = field(repr=False)
    """Runs `pip freeze --all` in the environment, as it is then."""
    ahead: Future[Freeze] | None = field(repr=False)
    """The answer of the empty environment, where it was asked ahead."""

    def of_tree(self, digest: str) -> Frozen:
        """Return what `pip freeze` says of the bundle's tree, once that is whole.

        :param digest: as of `evidence_cache.digest`; empty: nothing is kept.
        :raises CommandError: pip failed.
        """
        if found := self.kept(digest):
            return found
        key = self._key(digest)
        empty = self.ahead.result() if self.ahead else self.ask()
        environment.join(self.posing(), self.bundle / self.question.target.site_packages)
        full = self.ask()
        answer = Frozen(baseline=empty.lines, lines=full.lines, isolation=full.isolation)
        if key and {*room.CONFINED} <= {*empty.isolation} & {*full.isolation}:
            now = datetime.now(timezone.utc).isoformat(timespec="seconds")
            self._keep({key: json.dumps(json_values.as_json(replace(answer, frozen_at=now)))})
        return answer

    def kept(self, digest: str) -> Frozen | None:
        """Return what it said of the same tree; `None`: that is not known, or shall not do."""
        key = self._key(digest)
        text = self.question.store.text(key) if key and not self.question.afresh else None
        found = None if text is None else _read(text)
        if found:
            self._keep({})
        return found

    def _key(self, digest: str) -> str:
        return _key("frozen", digest, *self.question.known) if digest else ""

    def _keep(self, texts: Mapping[str, str]) -> None:
        # An answer that cannot be kept is good for this run.
        with contextlib.suppress(MachineError):
            for key, text in texts.items():
                self.question.store.keep_text(key, text)
            self.question.keep()


def _key(*values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _read(text: str) -> Frozen | None:
    try:
        return json_values.from_json(Frozen, json_values.parse(text.encode(), source="freeze"), exact=True)
    except InputError:
        return None
