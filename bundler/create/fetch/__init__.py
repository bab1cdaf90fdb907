"""Brings every distribution of a lock into the store: downloads several at once, builds what has no wheel."""

from __future__ import annotations

import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from bundler.create.fetch import build
from bundler.errors import InputError, MachineError
from bundler.model import StoredWheel
from bundler.system import files
from bundler.system.index_settings import index_flags
from bundler.wheels.bytecode import Compilers
from bundler.wheels.store import DamagedEntryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bundler.create.fetch.ahead import Ahead
    from bundler.create.fetch.download import Downloader, Fetched
    from bundler.create.target_pip import Pip
    from bundler.model import (
        Environment,
        IndexSettings,
        Interpreter,
        Lock,
        LockedDistribution,
        Requirements,
        Target,
    )
    from bundler.system.progress import Progress
    from bundler.wheels.store import Store, StoredTree


@dataclass(frozen=True, kw_only=True)
class Kitchen:
    """What fetching and building work with."""

    store: Store
    interpreter: Interpreter
    target: Target
    pose: Callable[[], Environment]
    """Gives the environment that poses as the target: asked only where something is built in it."""
    pip: Pip
    settings: IndexSettings
    requirements: Requirements | None
    """For credentials in direct URLs; a lock holds none."""
    scratch: Path
    no_build: bool
    progress: Progress
    ahead: Ahead | None = None
    """What has begun to fetch already."""
    wary: bool = False
    """A file of the store was not what it should be: look at all of them, and not when they are copied."""


@dataclass(frozen=True, kw_only=True)
class _Wheel:
    """A wheel file in the store."""

    locked: LockedDistribution
    path: Path
    sha256: str
    built_from: str | None


def fetch(lock: Lock, kitchen: Kitchen) -> tuple[StoredWheel, ...]:
    """Give every distribution of the lock as an unpacked, verified wheel in the store.

    :returns: in the order of the lock; `locked` is completed with what only the file could tell
        (size; version and hash of local projects).
    :raises InputError: a wrong hash, or `no_build` and something to build (all of it is named).
    :raises MachineError: the index is out of reach, or a build failed.
    """
    if kitchen.ahead:
        kitchen.ahead.resolved()
    try:
        return _unpack(_collect(lock, kitchen), kitchen)
    except DamagedEntryError as error:
        # The store has dropped what was damaged: fetching again is the cure, and once is enough.
        kitchen.progress.note(f"{error.message}; fetching it again")
        return _unpack(_collect(lock, kitchen), kitchen)


def _collect(lock: Lock, kitchen: Kitchen) -> list[_Wheel]:
    """The wheel file of every distribution, in the order of the lock."""
    if kitchen.no_build:
        _refuse_builds(lock.distributions)
    wheels = {
        dist.name: _from_store(dist, kitchen.store, kitchen.interpreter, kitchen.target)
        for dist in lock.distributions
    }
    missing = [dist for dist in lock.distributions if wheels[dist.name] is None]
    files = _download([dist for dist in missing if dist.artifact.kind in {"wheel", "sdist"}], kitchen)
    for dist in missing:
        if dist.artifact.kind == "wheel":
            wheels[dist.name] = files[dist.name]
        else:
            wheels[dist.name] = _build(dist, files.get(dist.name), kitchen)
    return [wheel for wheel in wheels.values() if wheel is not None]


def is_stored(lock: Lock, *, store: Store, interpreter: Interpreter, target: Target) -> bool:
    """Tell whether `fetch` would neither download nor build anything."""
    found = (_from_store(dist, store, interpreter, target) for dist in lock.distributions)
    return all(wheel is not None for wheel in found)


def _from_store(
    dist: LockedDistribution, store: Store, interpreter: Interpreter, target: Target
) -> _Wheel | None:
    """What an earlier run left; a local project is always built anew, since it may have changed."""
    artifact = dist.artifact
    if artifact.kind == "wheel" and artifact.sha256:
        path = store.file(artifact.sha256, artifact.filename)
        return None if path is None else _wheel_file(dist, path, artifact.sha256)
    key = build.key(artifact, interpreter=interpreter, target=target)
    path = store.built(key) if key else None
    if path is None:
        return None
    origin = artifact.sha256 or artifact.commit
    return _Wheel(locked=dist, path=path, sha256=path.parent.name, built_from=origin)


def _wheel_file(dist: LockedDistribution, path: Path, sha256: str) -> _Wheel:
    artifact = replace(dist.artifact, sha256=sha256, size=path.stat().st_size)
    return _Wheel(locked=replace(dist, artifact=artifact), path=path, sha256=sha256, built_from=None)


def _refuse_builds(distributions: Sequence[LockedDistribution]) -> None:
    sources = [dist for dist in distributions if dist.artifact.kind != "wheel"]
    if sources:
        names = ", ".join(f"{dist.name}=={dist.version}" if dist.version else dist.name for dist in sources)
        raise InputError(
            f"--no-build, and these have no wheel for the target: {names}",
            hint="pin versions that have a wheel, or leave --no-build out",
        )


def _download(missing: Sequence[LockedDistribution], kitchen: Kitchen) -> dict[str, _Wheel]:
    """Put wheels and sdists into the store: local files by copying, the others from the index."""
    remote: list[LockedDistribution] = []
    found: dict[str, _Wheel] = {}
    for dist in missing:
        artifact = dist.artifact
        local = _local_file(dist, kitchen)
        if local is not None:
            sha256 = artifact.sha256 or files.digest(local)
            path = kitchen.store.add_file(local, filename=artifact.filename, sha256=sha256)
            found[dist.name] = _wheel_file(dist, path, sha256)
        elif artifact.url:
            remote.append(dist)
        else:
            raise MachineError(
                f"{artifact.filename or dist.name} (sha256 {artifact.sha256}) was built from a local project "
                "and is not in this machine's store",
                hint="name the folder that holds the wheel with --find-links, or build from the project",
            )
    if remote:
        with _unpacking(kitchen) as arrived:
            results = _downloader(kitchen).run(
                [dist.artifact for dist in remote], kitchen.progress, arrived, kitchen.ahead
            )
        for dist, result in zip(remote, results, strict=True):
            found[dist.name] = _wheel_file(dist, result.path, result.sha256)
    return found


@contextlib.contextmanager
def _unpacking(kitchen: Kitchen) -> Iterator[Callable[[Fetched], None]]:
    """Unpack and compile each wheel that is given while others are still on their way.

    What fails here is tried again by `_unpack`, which says what is wrong.
    """
    if ahead := kitchen.ahead:
        yield lambda fetched: ahead.unpack(fetched.path, fetched.sha256)
        return
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    with Compilers(kitchen.interpreter) as compilers:

        def begin(fetched: Fetched) -> None:
            if fetched.path.suffix == ".whl":
                pool.submit(
                    kitchen.store.ensure_tree, fetched.path, fetched.sha256, kitchen.interpreter, compilers
                )

        try:
            yield begin
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        pool.shutdown()


def _local_file(dist: LockedDistribution, kitchen: Kitchen) -> Path | None:
    """A file that needs no network: named by path, or lying in a --find-links folder."""
    artifact = dist.artifact
    candidates = [Path(artifact.path)] if artifact.path else []
    if artifact.url and artifact.url.startswith("file:"):
        candidates.append(Path(unquote(urlsplit(artifact.url).path)))
    if artifact.filename:
        candidates += [Path(folder) / artifact.filename for folder in kitchen.settings.find_links]
    for candidate in candidates:
        if candidate.is_file() and (not artifact.sha256 or files.digest(candidate) == artifact.sha256):
            return candidate
    if artifact.path and Path(artifact.path).is_file():
        raise InputError(
            f"{artifact.path} does not have the expected hash sha256:{artifact.sha256}",
            hint="the file has changed since the lock was made: make the lock anew",
        )
    return None


def _build(dist: LockedDistribution, source: _Wheel | None, kitchen: Kitchen) -> _Wheel:
    artifact = source.locked.artifact if source else dist.artifact
    with kitchen.progress.step(f"building {dist.name} {dist.version}".rstrip()):
        path = build.build(
            replace(dist, artifact=artifact),
            source=source.path if source else None,
            store=kitchen.store,
            interpreter=kitchen.interpreter,
            target=kitchen.target,
            python=kitchen.pose().python,
            pip=kitchen.pip,
            scratch=kitchen.scratch,
            variables=build.git_variables(kitchen.requirements),
        )
    origin = artifact.sha256 or artifact.commit or "local project"
    return _Wheel(
        locked=replace(dist, artifact=artifact), path=path, sha256=path.parent.name, built_from=origin
    )


def _unpack(wheels: Sequence[_Wheel], kitchen: Kitchen) -> tuple[StoredWheel, ...]:
    with kitchen.progress.bar("unpack", total=len(wheels), unit="wheels") as advance:
        if kitchen.ahead:
            kitchen.ahead.settle()
        trees = kitchen.store.ensure_trees(
            [(wheel.path, wheel.sha256) for wheel in wheels],
            kitchen.interpreter,
            progress=advance,
            sizes=kitchen.wary,
        )
    return tuple(_stored(wheel, trees[wheel.sha256]) for wheel in wheels)


def _stored(wheel: _Wheel, tree: StoredTree) -> StoredWheel:
    """Complete what is locked by what the wheel says; a local path goes no further than here."""
    locked = replace(wheel.locked, version=wheel.locked.version or tree.facts.version)
    artifact = replace(locked.artifact, path=None)
    if artifact.kind == "directory":
        artifact = replace(
            artifact,
            kind="wheel",
            filename=tree.facts.filename,
            sha256=wheel.sha256,
            size=wheel.path.stat().st_size,
            subdirectory=None,
        )
    return StoredWheel(
        locked=replace(locked, artifact=artifact),
        facts=tree.facts,
        tree=tree.path,
        built_from=wheel.built_from,
    )


def with_sizes(lock: Lock, kitchen: Kitchen) -> Lock:
    """Complete sizes that the index did not tell, from the store or by asking the server."""
    open_ones = [dist for dist in lock.distributions if dist.artifact.size is None]
    asked = _downloader(kitchen).sizes([dist.artifact for dist in open_ones])
    known = {
        dist.name: replace(dist, artifact=replace(dist.artifact, size=size))
        for dist, size in zip(open_ones, asked, strict=True)
    }
    return replace(lock, distributions=tuple(known.get(dist.name, dist) for dist in lock.distributions))


def _downloader(kitchen: Kitchen) -> Downloader:
    from bundler.create.fetch.download import Downloader  # noqa: PLC0415 - it brings requests: 40 ms

    def ask_pip(command: Sequence[str]) -> None:
        words = [*command, *index_flags(kitchen.settings)]
        kitchen.pip.run(kitchen.pose().python, words, scratch=kitchen.scratch)

    return Downloader(
        store=kitchen.store, settings=kitchen.settings, requirements=kitchen.requirements, ask_pip=ask_pip
    )
