"""Fetches distributions while the resolver is still at work, and unpacks wheels as they come.

As soon as the resolver asks for the page of a project that is pinned to one version, or selects a version of
another one, the file that the target will take is looked up on that page, downloaded into the store and
unpacked. Nothing that is done here decides what is installed: a file has the hash that its page names, the
stage `fetch` takes only what the lock names by its hash, and what failed it tries again and reports.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from bundler.lazy_dataclass import dataclass
from bundler.model import Artifact, IndexSettings, Interpreter, Requirements, Target
from bundler.system import pep508, redact
from bundler.system.address import Address
from bundler.targets import target as targets
from bundler.wheels.bytecode import Compilers
from bundler.wheels.store import Store

if TYPE_CHECKING:
    from bundler.create.fetch.download import Downloader
    from bundler.create.index_pages import Listed, Page

logger = logging.getLogger(__name__)

PARALLEL = 6
SELECTIONS = 3
"""Versions of one distribution that are fetched because a resolver selects them: it may go back often."""
GRACE = 2.0
"""Seconds that downloads and unpacking get to clean up after an error."""
GRACE_INTERRUPTED = 0.2
"""The same after Ctrl-C, which has ended the programs already. What is left is removed by the next sweep."""


class _AbortedError(Exception):
    """The download is not needed: the run has ended, or another file was chosen."""


@dataclass(frozen=True, kw_only=True)
class PinnedVersion:
    """The one version of a project that the requirements ask for, or that the resolver selects."""

    specifier: SpecifierSet
    hashes: frozenset[str]
    """Hexadecimal sha256 of the files that are permitted; empty: any."""


@dataclass(kw_only=True)
class _Download:
    """A download that has begun."""

    name: str
    """Of the distribution, normalised."""
    dropped: bool = False
    """Another file was chosen."""
    result: Future[Path | None] = field(default_factory=Future)
    bytes: int = 0
    """How many have come."""
    advance: Callable[[int], None] | None = None
    """Called with the number of bytes that come, once `Prefetcher.wait_for` waits for it."""


@dataclass(frozen=True, kw_only=True)
class _Packed:
    """A page that was read, a tenth as large: all pages of a resolution are many megabytes."""

    head: Page
    """Without its content."""
    content: bytes
    others: frozenset[str]
    """Names of its files that are for other Pythons."""

    @classmethod
    def of(cls, page: Page, others: frozenset[str]) -> _Packed:
        return cls(head=replace(page, content=b""), content=zlib.compress(page.content, 1), others=others)

    def page(self) -> Page:
        return replace(self.head, content=zlib.decompress(self.content))


def pinned(requirements: Requirements, target: Target) -> dict[str, PinnedVersion]:
    """Return what will be taken from a wheel on an index in exactly one version, by normalised name."""
    if ":all:" in requirements.no_binary:
        return {}
    found: dict[str, PinnedVersion] = {}
    sources = {canonicalize_name(name) for name in requirements.no_binary}
    for one in requirements.requirements:
        try:
            parsed = pep508.requirement(one.text)
        except InvalidRequirement:
            continue
        name = canonicalize_name(parsed.name)
        specifiers = list(parsed.specifier)
        exact = len(specifiers) == 1 and specifiers[0].operator == "==" and "*" not in specifiers[0].version
        if parsed.url or not exact or name in sources:
            continue
        if parsed.marker is not None and not parsed.marker.evaluate({**target.markers, "extra": ""}):
            continue
        if pin := _pin(requirements, name, parsed.specifier):
            found.setdefault(name, pin)
    return found


def _pin(requirements: Requirements, name: str, specifier: SpecifierSet) -> PinnedVersion | None:
    """Return a pin with the hashes that are permitted; `None` where hashes are required and none is known."""
    hashes = {
        value.removeprefix("sha256:")
        for same in (*requirements.requirements, *requirements.constraints)
        for value in same.hashes
        if same.name == name
    }
    if requirements.require_hashes and not hashes:
        return None
    return PinnedVersion(specifier=specifier, hashes=frozenset(hashes))


class _DaemonThreads:
    """Runs functions on daemon threads, a few at a time: unlike an executor's, they never delay the exit.

    A server can be silent for minutes, and nobody must wait for it who wants to leave.
    """

    def __init__(self, size: int) -> None:
        self._slots = threading.Semaphore(size)
        self._closed = threading.Event()
        self._futures: list[Future[None]] = []

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    def submit(self, function: Callable[..., None], *args: object) -> None:
        future: Future[None] = Future()
        self._futures.append(future)

        def run() -> None:
            try:
                with self._slots:
                    if not self.closed:
                        function(*args)
            finally:
                future.set_result(None)

        threading.Thread(target=run, daemon=True).start()

    def close(self) -> None:
        """Run nothing more that has not begun."""
        self._closed.set()

    def wait(self, seconds: float | None = None) -> None:
        wait(list(self._futures), timeout=seconds)


class Prefetcher:
    """Downloads files into the store, and unpacks wheels, on threads of its own."""

    def __init__(
        self,
        store: Store,
        interpreter: Interpreter,
        target: Target,
        settings: IndexSettings,
        requirements: Requirements | None,
    ) -> None:
        """Find the pins; nothing is fetched before `page_requested` is called.

        :param requirements: what is asked for. `None`: nothing is fetched.
        """
        self._store = store
        self._interpreter = interpreter
        self._target = target
        self._settings = settings
        self._requirements = requirements
        self._pinned = pinned(requirements, target) if requirements and not settings.no_index else {}
        self._aborted = threading.Event()
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._requested: dict[str, list[str]] = {}
        self._selected: dict[str, list[str]] = {}
        self._pages: dict[str, Future[_Packed | None]] = {}
        self._needed: frozenset[str] | None = None
        self._claimed: set[str] = set()
        self._downloads: dict[str, _Download] = {}
        self._lookups = _DaemonThreads(PARALLEL)
        self._unpacking = _DaemonThreads(len(os.sched_getaffinity(0)))
        self._compilers = Compilers(interpreter)

    def page_requested(self, url: str) -> None:
        """Take note of a URL that the resolver asks for; neither fails nor waits.

        The URL of a project's page ends with the project's name and a slash (PEP 503).
        """
        name = canonicalize_name(urlsplit(url).path.rstrip("/").rpartition("/")[2])
        known = self._requested.setdefault(name, [])
        if url in known or not urlsplit(url).path.endswith("/"):
            return
        known.append(url)
        if pin := self._pinned.get(name):
            self._lookups.submit(self._prefetch, name, pin, url)

    def selected(self, name: str, version: str) -> None:
        """Take note of a version that the resolver selects, perhaps not for good; neither fails nor waits."""
        name, wanted = canonicalize_name(name), self._requirements
        versions = self._selected.setdefault(name, [])
        if (
            wanted is None
            or self._settings.no_index
            or name in self._pinned
            or version in versions
            or len(versions) == SELECTIONS
            or {name, ":all:"} & {*map(canonicalize_name, wanted.no_binary)}
        ):
            return
        versions.append(version)
        with contextlib.suppress(InvalidSpecifier):
            if pin := _pin(wanted, name, SpecifierSet(f"=={version}")):
                self._drop(lambda download, _: download.name == name)
                self._claimed.discard(name)
                for url in self._requested.get(name, ()):
                    self._lookups.submit(self._prefetch, name, pin, url)

    def for_other_pythons(self, url: str) -> frozenset[str] | None:
        """Return the names of files that a page says are for other Pythons; `None`: it was not fetched.

        It waits for a page that is on its way.

        :param url: without credentials.
        """
        fetched = self._pages.get(url)
        packed = fetched.result() if fetched else None
        return packed.others if packed else None

    def unpack(self, path: Path) -> None:
        """Begin to unpack and compile a wheel of the store; another file is left as it is."""
        if path.suffix == ".whl":
            self._unpacking.submit(self._ensure_tree, path, lambda: True)

    def _unpack_ahead(self, path: Path) -> None:
        self._unpacking.submit(self._ensure_tree, path, functools.partial(self._is_needed, path))

    def wait_for(self, artifact: Artifact, advance: Callable[[int], None]) -> Path | None:
        """Wait for a download that has begun; `None` where none has, or it failed.

        :param advance: called with the number of bytes that have come, then of those that come.
        """
        with self._lock:
            download = self._downloads.get(artifact.sha256 or "")
            if download is None:
                return None
            download.advance = advance
            advance(download.bytes)
        path = download.result.result()
        if path is None:
            advance(-download.bytes)
        return path

    def is_downloading(self, artifact: Artifact) -> bool:
        """Tell whether there is a download that `wait_for` would wait for."""
        return artifact.sha256 in self._downloads

    def close(self, needed: Iterable[str | None] | None = None) -> None:
        """Begin no more downloads: from now on the stage `fetch` downloads what is missing.

        :param needed: sha256 of the files that were chosen; the others are given up. `None`: none is.
        """
        with self._lock:
            self._lookups.close()
        self._pages.clear()
        if needed is not None:
            self._needed = chosen = frozenset(filter(None, needed))
            self._drop(lambda _, sha256: sha256 not in chosen)

    def _drop(self, condition: Callable[[_Download, str], bool]) -> None:
        with self._lock:
            for sha256, download in self._downloads.items():
                download.dropped = download.dropped or condition(download, sha256)

    def finish(self) -> None:
        """Begin no more downloads, and wait until everything that has begun is done."""
        self.close()
        self._lookups.wait()
        self._unpacking.wait()

    def abort(self, *, grace: float) -> None:
        """End everything.

        :param grace: seconds to wait for what has begun.
        """
        self._aborted.set()
        self.close()
        self._unpacking.close()
        self._lookups.wait(grace / 2)
        self._unpacking.wait(grace / 2)
        self._compilers.close()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """End everything afterwards."""
        try:
            yield
        except BaseException as error:
            self.abort(grace=GRACE if isinstance(error, Exception) else GRACE_INTERRUPTED)
            raise
        self.abort(grace=0)

    def _prefetch(self, name: str, pin: PinnedVersion, url: str) -> None:
        try:
            key = self._key(pin, url)
            if not self._is_stored(key, pin):
                self._fetch(name, pin, url, key)
        except _AbortedError:
            logger.info("%s is not prefetched: it is not needed", name)
        except Exception as error:  # noqa: BLE001 - the stage `fetch` meets it again and reports it
            logger.info("%s is not prefetched: %s", name, redact.text(str(error)))

    def _key(self, pin: PinnedVersion, url: str) -> str:
        """Return the key under which the store keeps which file of a page the target takes."""
        aim = self._target
        words = ("wheel of", redact.url(url), str(pin.specifier), aim.python_version, aim.abi, aim.machine)
        text = "\n".join((*words, f"{aim.glibc[0]}.{aim.glibc[1]}", *sorted(pin.hashes)))
        return hashlib.sha256(text.encode()).hexdigest()

    def _is_stored(self, key: str, pin: PinnedVersion) -> bool:
        """Tell whether the file that was taken last time is in the store: then the page is not asked for."""
        text = self._store.text(key)
        if text is None:
            return False
        sha256, filename = json.loads(text)
        if pin.hashes and sha256 not in pin.hashes:
            return False
        if self._store.has_tree(sha256, self._interpreter.cache_tag):
            return True
        path = self._store.file(sha256, filename)
        if path is not None:
            self._unpack_ahead(path)
        return path is not None

    def _fetch(self, name: str, pin: PinnedVersion, url: str, key: str) -> None:
        artifact = self._choose(pin, url)
        if artifact is None or artifact.sha256 is None:
            return
        path = self._store.file(artifact.sha256, artifact.filename)
        if path is None:
            download = _Download(name=name)
            with self._lock:
                if self._lookups.closed or name in self._claimed:
                    return  # nobody would wait for it, or it comes from another index already
                self._claimed.add(name)
                self._downloads[artifact.sha256] = download
            try:
                path = self._download(artifact, download)
            finally:
                download.result.set_result(path)
        self._unpack_ahead(path)
        self._store.keep_text(key, json.dumps([artifact.sha256, path.name]))

    def _choose(self, pin: PinnedVersion, url: str) -> Artifact | None:
        """Return the wheel of a page that the target takes; `None` where a --find-links folder has it."""
        listed = self._wheels(pin, url)
        if not listed or self._aborted.is_set():
            return None
        by_name = {one.filename: one for one in listed if not pin.hashes or one.sha256 in pin.hashes}
        best = targets.best_wheel(self._target, by_name)
        if best is None or any((Path(link) / best).is_file() for link in self._settings.find_links):
            return None
        one = by_name[best]
        return Artifact(
            kind="wheel", filename=best, url=Address(one.url).without_user, sha256=one.sha256, size=one.size
        )

    def _wheels(self, pin: PinnedVersion, url: str) -> list[Listed] | None:
        """Return the wheels of a page; it is fetched once for all versions that are selected, and packed."""
        from bundler.create import index_pages  # noqa: PLC0415 - it brings requests: 40 ms

        mine: Future[_Packed | None] = Future()
        with self._lock:
            if self._lookups.closed:
                return None
            begun = self._pages.setdefault(redact.url(url), mine)
        if begun is not mine:
            packed = begun.result()
            return self._read(packed.page(), pin)[0] if packed else None
        packed = listed = None
        try:
            if page := index_pages.fetch(self._downloader.network, url):
                listed, others = self._read(page, pin)
                packed = _Packed.of(page, others)
        finally:
            mine.set_result(packed)
        return listed

    def _read(self, page: Page, pin: PinnedVersion) -> tuple[list[Listed], frozenset[str]]:
        from bundler.create import index_pages  # noqa: PLC0415 - it brings requests: 40 ms

        # Parsing a long page takes ten times its size in memory, and is not faster beside another one.
        with self._reading:
            return index_pages.wheels(
                page, specifier=pin.specifier, python_version=self._target.python_version
            )

    def _download(self, artifact: Artifact, download: _Download) -> Path:
        def advance(count: int) -> None:
            if self._aborted.is_set() or download.dropped:
                raise _AbortedError
            with self._lock:
                download.bytes += count
                if download.advance:
                    download.advance(count)

        return self._downloader.fetch(artifact, advance)

    @functools.cached_property
    def _downloader(self) -> Downloader:
        from bundler.create.fetch.download import Downloader  # noqa: PLC0415 - it brings requests: 40 ms

        return Downloader(store=self._store, settings=self._settings, requirements=self._requirements)

    def _is_needed(self, path: Path) -> bool:
        """Tell whether a file was chosen, or nothing is chosen yet."""
        return self._needed is None or path.parent.name in self._needed

    def _ensure_tree(self, path: Path, needed: Callable[[], bool]) -> None:
        if self._aborted.is_set() or not needed():
            return
        try:
            self._store.ensure_tree(path, path.parent.name, self._interpreter, self._compilers)
        except Exception as error:  # noqa: BLE001 - the stage `fetch` tries again and reports it
            logger.info("%s is not unpacked yet: %s", path.name, redact.text(str(error)))
