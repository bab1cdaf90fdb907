"""The store's wheels at a URL, so that machines which share no disk do each download and build once.

Before a bundle is built its wheels are fetched from there; afterwards those that are not there are sent.
Where the URL does not answer, everything comes from the index and is built here, as without it.

    files/ab/SHA256/FILENAME         wheels, fetched and built, and the pips that drive the targets
    built/KEY/SHA256/FILENAME        how the wheel was built for a key of the local store (of a source, an
                                     interpreter and a pose), as JSON

Only wheels travel. What comes is hashed before the local store takes it, and its facts and bytecode are
made anew here: they follow from the wheel, and unpacking costs less than believing. The hash of a fetched
wheel stands in the lock, so nobody can put another in its place. Of a built wheel no lock knows the hash:
whoever may write to the URL is believed to have built it, as whoever may write bundles there is believed.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from bundler import model
from bundler.create import target_pip
from bundler.errors import InputError, MachineError, ProofError
from bundler.lazy_dataclass import dataclass
from bundler.model import Lock, LockedDistribution
from bundler.system.files import digest
from bundler.system.json_values import SHA256, as_json, from_json, parse
from bundler.system.progress import Progress
from bundler.system.urls.folder import DamagedObjectError, Folder
from bundler.wheels.store import NOTE, Store

logger = logging.getLogger(__name__)

LIMIT = 1 << 20
"""Bytes of what is noted of a build."""
PARALLEL = 8
"""Wheels that are fetched at once: some have hundreds of megabytes."""


def pull_tools(url: str, cache_dir: Path) -> None:
    """Fetch the pips that drive the targets, which are needed before anything is resolved.

    :param url: of the store, as the caller gave it.
    """
    with _optional():
        SharedStore(url).pull_tools(Store(cache_dir))


@contextlib.contextmanager
def shared(url: str, cache_dir: Path, lock: Lock, progress: Progress) -> Iterator[None]:
    """Fetch the wheels of a lock into the local store, and afterwards send what was downloaded or built.

    A bundle that is not proved has its wheels all the same: they are sent too.

    :param url: of the store, as the caller gave it.
    """
    store = Store(cache_dir)
    with _optional(), progress.stage("pull") as stage:
        there = SharedStore(url)
        stage.result = f"{there.pull(lock.distributions, store)} wheels"
        logger.info("pull: %s from %s", stage.result, there.shown)
    try:
        yield
    except ProofError:
        _push(url, store, lock, progress)
        raise
    _push(url, store, lock, progress)


def _push(url: str, store: Store, lock: Lock, progress: Progress) -> None:
    with _optional(), progress.stage("push") as stage:
        there = SharedStore(url)
        stage.result = f"{there.push(lock.distributions, store)} wheels"
        logger.info("push: %s to %s", stage.result, there.shown)


@contextlib.contextmanager
def _optional() -> Iterator[None]:
    """Go on where the URL does not answer."""
    try:
        yield
    except MachineError as error:
        logger.warning("the store at a URL is not used: %s", error.message)


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A wheel file, by content and by name."""

    sha256: str
    filename: str

    @property
    def name(self) -> str:
        """Where it stands at the URL."""
        return f"files/{self.sha256[:2]}/{self.sha256}/{self.filename}"


@dataclass(frozen=True, kw_only=True)
class Built:
    """A wheel that was built, under the key of what it was built from."""

    key: str
    wheel: Wheel

    @property
    def name(self) -> str:
        """Where it stands at the URL."""
        return f"built/{self.key}/{self.wheel.sha256}/{self.wheel.filename}"


class SharedStore:
    """A store at a URL; safe for any number of machines at once."""

    def __init__(self, url: str) -> None:
        self._folder = Folder(url)
        self.shown = self._folder.shown

    def pull(self, distributions: Iterable[LockedDistribution], store: Store) -> int:
        """Bring into the local store what a lock needs and the URL has; returns how many wheels came.

        What is damaged there is taken away, as far as we may, and is then made here.

        :raises MachineError: the URL does not answer, or the local store cannot be written.
        """
        meant = _Meant(distributions)
        new = [one for one in self._built() if store.built(one.key) is None] if meant.sources else []
        new = [one for one in new if meant.has_source(one)]
        came = self._bring({*meant.fetched, *(one.wheel for one in new)}, store=store)
        for one in new:
            path, built = store.file(one.wheel.sha256, one.wheel.filename), self._how(one)
            if path and built:
                store.remember_built(one.key, path, built)
        return came

    def _how(self, one: Built) -> model.Built | None:
        """Return what is noted of a build; `None` where that cannot be read."""
        data = self._folder.read(one.name, limit=LIMIT)
        try:
            built = from_json(model.Built, parse(data or b"", source=one.name))
        except InputError:
            return None
        return built if built.sha256 == one.wheel.sha256 else None

    def pull_tools(self, store: Store) -> int:
        """Bring the pips that drive the targets, as far as the URL has them; see `pull`."""
        return self._bring(_tools(), store=store)

    def push(self, distributions: Iterable[LockedDistribution], store: Store) -> int:
        """Send what a lock needed and the URL lacks, and the pips; returns how many wheels went.

        What the local store does not have is passed over.

        :raises MachineError: the URL does not answer or take them.
        """
        meant = _Meant(distributions)
        built = [one for one in _local_builds(store) if meant.has_source(one)] if meant.sources else []
        files: dict[str, Path] = {}
        for one in {*meant.fetched, *_tools(), *(one.wheel for one in built)}:
            path = store.file(one.sha256, one.filename)
            if path is not None:
                files[one.name] = path
        lacking = self._lacking(files)
        # What was damaged here since it was made must not go out.
        sound = {name: path for name, path in lacking.items() if digest(path) == path.parent.name}
        self._folder.send(sound)
        self._folder.flush()
        there = {one.name for one in self._built()} if built else set()
        for note in built:
            how = store.built(note.key)
            sent = note.wheel.name in sound or note.wheel.name not in lacking
            if how and sent and note.name not in there:
                self._folder.write(note.name, json.dumps(as_json(how[1])).encode())
        return len(sound)

    def _lacking(self, local: dict[str, Path]) -> dict[str, Path]:
        with ThreadPoolExecutor(PARALLEL) as pool:
            there = dict(zip(local, pool.map(self._folder.size, local), strict=True))
        return {name: path for name, path in local.items() if there[name] != path.stat().st_size}

    def _built(self) -> list[Built]:
        found = []
        for name in self._folder.listing("built"):
            parts = name.split("/")
            if len(parts) == 4 and SHA256.fullmatch(parts[1]) and SHA256.fullmatch(parts[2]):
                found.append(Built(key=parts[1], wheel=Wheel(sha256=parts[2], filename=parts[3])))
        return sorted(found, key=lambda one: one.name)

    def _bring(self, wheels: Iterable[Wheel], *, store: Store) -> int:
        """Fetch wheels that the local store lacks; returns how many there were at the URL."""
        lacking = [one for one in wheels if store.file(one.sha256, one.filename) is None]
        if not lacking:
            return 0
        with store.incoming() as folder, ThreadPoolExecutor(PARALLEL) as pool:

            def bring(wheel: Wheel) -> bool:
                path = folder / wheel.sha256
                try:
                    if not self._folder.fetch(wheel.name, path, sha256=wheel.sha256):
                        return False
                except DamagedObjectError as error:
                    logger.warning("%s; it is taken from elsewhere", error.message)
                    self._drop(wheel)
                    return False
                store.add_file(path, filename=wheel.filename, sha256=wheel.sha256)
                path.unlink()
                return True

            try:
                return sum(pool.map(bring, lacking))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _drop(self, wheel: Wheel) -> None:
        try:
            self._folder.remove([wheel.name])
        except MachineError as error:
            logger.warning("%s", error.message)


class _Meant:
    """What a lock needs: wheels by their hash, and sources whose wheels have a name only."""

    def __init__(self, distributions: Iterable[LockedDistribution]) -> None:
        every = tuple(distributions)
        self.fetched = [
            Wheel(sha256=dist.artifact.sha256, filename=dist.artifact.filename)
            for dist in every
            if dist.artifact.kind == "wheel" and dist.artifact.sha256
        ]
        self.sources = [dist for dist in every if dist.artifact.kind in {"sdist", "vcs"}]

    def has_source(self, built: Built) -> bool:
        """Whether a wheel is named after one of the sources; its key decides whether it is used."""
        try:
            name, version, _, _ = parse_wheel_filename(built.wheel.filename)
            return any(
                name == canonicalize_name(dist.name)
                and (not dist.version or version == Version(dist.version))
                for dist in self.sources
            )
        except (InvalidWheelFilename, InvalidVersion):
            return False


def _tools() -> list[Wheel]:
    return [Wheel(sha256=sha256, filename=filename) for sha256, filename in target_pip.wheels()]


def _local_builds(store: Store) -> list[Built]:
    found = []
    for note in sorted(store.built_notes.glob(f"*{NOTE}")):
        known = store.built(note.stem)
        if known is not None and SHA256.fullmatch(note.stem):
            wheel = Wheel(sha256=known[1].sha256, filename=known[0].name)
            found.append(Built(key=note.stem, wheel=wheel))
    return found
