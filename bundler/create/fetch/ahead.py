"""Fetches while the requirements are still being resolved: what is pinned exactly is known beforehand.

As soon as the resolver asks for the page of a pinned project, the file that the target will take is looked
up there, brought into the store and unpacked. Whatever goes wrong here is left to the stage `fetch`, which
says what it is; nothing that is done here decides anything.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import threading
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Pep508
from packaging.utils import canonicalize_name

from bundler.create.fetch import listing
from bundler.model import Artifact
from bundler.system import redact
from bundler.targets import target as targets
from bundler.wheels.bytecode import Compilers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from packaging.specifiers import SpecifierSet

    from bundler.create.fetch.download import Downloader, Fetched
    from bundler.model import IndexSettings, Interpreter, Requirements, Target
    from bundler.system.http import Network
    from bundler.wheels.store import Store

logger = logging.getLogger(__name__)

PARALLEL = 6
GRACE = 2.0
"""Seconds for what is under way to come to an end after a failure, so that it can tidy up."""
INTERRUPTED = 0.2
"""The same after a Ctrl-C: its programs have been ended already. The store sweeps what is left."""


class _StoppedError(Exception):
    """Nobody wants it any more."""


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A project of which exactly one version is asked for."""

    specifier: SpecifierSet
    hashes: frozenset[str]
    """Hexadecimal sha256 of the files that are permitted; empty: any."""


@dataclass(kw_only=True)
class _Coming:
    """A file on its way: how far it is, and who wants to know."""

    future: Future[Fetched | None] = field(default_factory=Future)
    bytes: int = 0
    advance: Callable[[int], None] | None = None


def pins(requirements: Requirements, target: Target) -> dict[str, Pin]:
    """Return what is pinned exactly and will be taken from a wheel on an index: normalised name → pin."""
    if ":all:" in requirements.no_binary:
        return {}
    found: dict[str, Pin] = {}
    sources = {canonicalize_name(name) for name in requirements.no_binary}
    for one in requirements.requirements:
        try:
            parsed = Pep508(one.text)
        except InvalidRequirement:
            continue
        name = canonicalize_name(parsed.name)
        specifiers = list(parsed.specifier)
        exact = len(specifiers) == 1 and specifiers[0].operator == "==" and "*" not in specifiers[0].version
        if parsed.url or not exact or name in sources:
            continue
        if parsed.marker is not None and not parsed.marker.evaluate({**target.markers, "extra": ""}):
            continue
        hashes = {
            value.removeprefix("sha256:")
            for same in (*requirements.requirements, *requirements.constraints)
            for value in same.hashes
            if same.name == name
        }
        if hashes or not requirements.require_hashes:
            found.setdefault(name, Pin(specifier=parsed.specifier, hashes=frozenset(hashes)))
    return found


class _Crew:
    """A few threads for which nobody waits who leaves: a server can be silent for minutes."""

    def __init__(self, size: int) -> None:
        self._gate = threading.Semaphore(size)
        self._closed = threading.Event()
        self._futures: list[Future[None]] = []

    def begin(self, work: Callable[..., None], *args: object) -> None:
        future: Future[None] = Future()
        self._futures.append(future)

        def run() -> None:
            try:
                with self._gate:
                    if not self._closed.is_set():
                        work(*args)
            finally:
                future.set_result(None)

        threading.Thread(target=run, daemon=True).start()

    def close(self) -> None:
        """Begin nothing more."""
        self._closed.set()

    def wait(self, seconds: float | None = None) -> None:
        wait(list(self._futures), timeout=seconds)


class Ahead:
    """Brings pinned files into the store while something else is going on."""

    def __init__(
        self,
        store: Store,
        interpreter: Interpreter,
        target: Target,
        settings: IndexSettings,
        requirements: Requirements,
    ) -> None:
        """Begin nothing yet: `look` does.

        :param requirements: what is asked for; the pins among them are what may be fetched.
        """
        self._store = store
        self._interpreter = interpreter
        self._target = target
        self._settings = settings
        self._requirements = requirements
        self._pins: Mapping[str, Pin] = {} if settings.no_index else pins(requirements, target)
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._seen: set[str] = set()
        self._claimed: set[str] = set()
        self._coming: dict[str, _Coming] = {}
        self._late = False
        self._looking = _Crew(PARALLEL)
        self._unpacking = _Crew(len(os.sched_getaffinity(0)))
        self._compilers = Compilers(interpreter)

    def look(self, url: str) -> None:
        """Hear of a URL that the resolver asks for; neither fails nor waits.

        Pages of projects end with the project's name and a slash (PEP 503).
        """
        name = canonicalize_name(urlsplit(url).path.rstrip("/").rpartition("/")[2])
        pin = self._pins.get(name)
        if pin is None or url in self._seen or not urlsplit(url).path.endswith("/"):
            return
        self._seen.add(url)
        self._looking.begin(self._bring, name, pin, url)

    def unpack(self, path: Path, sha256: str) -> None:
        """Begin to unpack and compile a wheel of the store."""
        if path.suffix == ".whl":
            self._unpacking.begin(self._ensure_tree, path, sha256)

    def join(self, artifact: Artifact, advance: Callable[[int], None]) -> Fetched | None:
        """Wait for a file that is on its way; `None` where it is not, or has not come.

        :param advance: is told the bytes that have come and that come.
        """
        with self._lock:
            coming = self._coming.get(artifact.sha256 or "")
            if coming is None:
                return None
            coming.advance = advance
            advance(coming.bytes)
        fetched = coming.future.result()
        if fetched is None:
            advance(-coming.bytes)
        return fetched

    def is_coming(self, artifact: Artifact) -> bool:
        """Tell whether there is something to join."""
        return artifact.sha256 in self._coming

    def resolved(self) -> None:
        """Look for nothing more: whatever has not begun by now is fetched with the rest."""
        with self._lock:
            self._late = True
        self._looking.close()

    def settle(self) -> None:
        """Wait until everything that has begun is done."""
        self.resolved()
        self._looking.wait()
        self._unpacking.wait()

    def stop(self, *, grace: float) -> None:
        """Let go of everything.

        :param grace: seconds to wait for what is under way.
        """
        self._stopped.set()
        self.resolved()
        self._unpacking.close()
        self._looking.wait(grace / 2)
        self._unpacking.wait(grace / 2)
        self._compilers.close()

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Let go of everything afterwards."""
        try:
            yield
        except BaseException as error:
            self.stop(grace=GRACE if isinstance(error, Exception) else INTERRUPTED)
            raise
        self.stop(grace=0)

    def _bring(self, name: str, pin: Pin, url: str) -> None:
        try:
            memory = self._memory(pin, url)
            if not self._is_stored(memory, pin):
                self._fetch(name, pin, url, memory)
        except _StoppedError:
            logger.info("%s is not fetched ahead: it was stopped", name)
        except Exception as error:  # noqa: BLE001 - the stage `fetch` meets it again and says what it is
            logger.info("%s is not fetched ahead: %s", name, redact.text(str(error)))

    def _memory(self, pin: Pin, url: str) -> str:
        aim = self._target
        words = ("wheel of", redact.url(url), str(pin.specifier), aim.python_version, aim.abi, aim.machine)
        text = "\n".join((*words, f"{aim.glibc[0]}.{aim.glibc[1]}", *sorted(pin.hashes)))
        return hashlib.sha256(text.encode()).hexdigest()

    def _is_stored(self, memory: str, pin: Pin) -> bool:
        """Tell whether what the page named before is in the store, unpacked: then it is not asked for."""
        text = self._store.text(memory)
        if text is None:
            return False
        sha256, filename = json.loads(text)
        if pin.hashes and sha256 not in pin.hashes:
            return False
        if self._store.has_tree(sha256, self._interpreter.cache_tag):
            return True
        path = self._store.file(sha256, filename)
        if path is not None:
            self.unpack(path, sha256)
        return path is not None

    def _fetch(self, name: str, pin: Pin, url: str, memory: str) -> None:
        chosen = self._choose(pin, url)
        if chosen is None or chosen.sha256 is None:
            return
        path = self._store.file(chosen.sha256, chosen.filename)
        if path is not None:
            self._remember(memory, path, chosen.sha256)
            return
        coming = _Coming()
        with self._lock:
            if self._late or name in self._claimed:
                return  # too late to be joined, or another index has it as well
            self._claimed.add(name)
            self._coming[chosen.sha256] = coming
        fetched: Fetched | None = None
        try:
            fetched = self._download(chosen, coming)
        finally:
            coming.future.set_result(fetched)
        self._remember(memory, fetched.path, fetched.sha256)

    def _remember(self, memory: str, path: Path, sha256: str) -> None:
        self.unpack(path, sha256)
        self._store.keep_text(memory, json.dumps([sha256, path.name]))

    def _choose(self, pin: Pin, url: str) -> Artifact | None:
        from bundler.create import index_pages  # noqa: PLC0415 - it brings requests: 40 ms

        page = index_pages.fetch(self._network, url)
        if page is None or self._stopped.is_set():
            return None
        # A long page takes ten times its size to read, and no less time beside others.
        with self._reading:
            listed = listing.wheels(
                listing.files(page), specifier=pin.specifier, python_version=self._target.python_version
            )
        by_name = {one.filename: one for one in listed if not pin.hashes or one.sha256 in pin.hashes}
        best = targets.best_wheel(self._target, by_name)
        if best is None or any((Path(link) / best).is_file() for link in self._settings.find_links):
            return None
        one = by_name[best]
        return Artifact(
            kind="wheel", filename=best, url=redact.url(one.url), sha256=one.sha256, size=one.size
        )

    def _download(self, artifact: Artifact, coming: _Coming) -> Fetched:
        def advance(count: int) -> None:
            if self._stopped.is_set():
                raise _StoppedError
            with self._lock:
                coming.bytes += count
                if coming.advance:
                    coming.advance(count)

        return self._downloader.one(artifact, advance)

    @functools.cached_property
    def _network(self) -> Network:
        from bundler.system.http import Network  # noqa: PLC0415 - it brings requests: 40 ms

        return Network(self._settings, self._requirements)

    @functools.cached_property
    def _downloader(self) -> Downloader:
        from bundler.create.fetch.download import Downloader  # noqa: PLC0415 - as above

        return Downloader(store=self._store, settings=self._settings, requirements=self._requirements)

    def _ensure_tree(self, path: Path, sha256: str) -> None:
        if self._stopped.is_set():
            return
        try:
            self._store.ensure_tree(path, sha256, self._interpreter, self._compilers)
        except Exception as error:  # noqa: BLE001 - it is tried again, and then says what is wrong
            logger.info("%s is not unpacked ahead: %s", path.name, redact.text(str(error)))
