"""Brings every distribution of a lock into the store: downloads several at once, builds what has no wheel."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from bundler.bundle import lock as locks
from bundler.checks.rules import supply
from bundler.create.fetch.build_keys import Keys, compared
from bundler.create.fetch.context import FetchContext, Tools
from bundler.errors import InputError, MachineError
from bundler.lazy_dataclass import dataclass
from bundler.model import (
    Artifact,
    BuildTool,
    Interpreter,
    Learned,
    Lock,
    LockedDistribution,
    StoredWheel,
    Target,
)
from bundler.system import files, json_values
from bundler.system.files import is_file
from bundler.system.index_settings import index_flags
from bundler.wheels.store import DamagedEntryError, Store, StoredTree

if TYPE_CHECKING:
    from bundler.create.fetch.download import Downloader


@dataclass(frozen=True, kw_only=True)
class _Wheel:
    """A wheel file in the store."""

    locked: LockedDistribution
    path: Path
    built_from: str | None

    @property
    def sha256(self) -> str:
        """The store keeps a file in a folder named after its hash."""
        return self.path.parent.name


def fetch(lock: Lock, context: FetchContext, *, check_sizes: bool = False) -> tuple[StoredWheel, ...]:
    """Bring every distribution of the lock into the store as an unpacked, verified wheel.

    :param check_sizes: compare the sizes of all unpacked files too, after one turned out to be damaged.
    :returns: in the order of the lock; `locked` is completed with what only the file could tell
        (size; version and hash of local projects).
    :raises InputError: a wrong hash, or `no_build` and something to build (all of it is named).
    :raises MachineError: the index is out of reach, or a build failed.
    """
    context.prefetcher.close(dist.artifact.sha256 for dist in lock.distributions)
    try:
        return _unpack(_collect(lock, context), context, check_sizes=check_sizes)
    except DamagedEntryError as error:
        # The store has dropped what was damaged, so that it is fetched again, once.
        context.progress.note(f"{error.message}; fetching it again")
        return _unpack(_collect(lock, context), context, check_sizes=check_sizes)


def _collect(lock: Lock, context: FetchContext) -> list[_Wheel]:
    """Return the wheel file of every distribution, in the order of the lock."""
    if context.no_build:
        _refuse_builds(lock.distributions)
    wheels = {dist.name: _from_store(dist, Keys.of(context), context.store) for dist in lock.distributions}
    missing = [dist for dist in lock.distributions if wheels[dist.name] is None]
    _announce_builds(missing, context)
    for dist in missing:
        _drop_damaged(dist.artifact, context.store)
    files = _download([dist for dist in missing if dist.artifact.kind in {"wheel", "sdist"}], context)
    for dist in missing:
        if dist.artifact.kind == "wheel":
            wheels[dist.name] = files[dist.name]
    for wheel in _build([dist for dist in missing if dist.artifact.kind != "wheel"], files, context):
        wheels[wheel.locked.name] = wheel
    found = [wheel for wheel in wheels.values() if wheel is not None]
    for one in found:
        if one.locked.built and (difference := supply.difference(one.locked.built)):
            context.progress.note(f"{one.locked.name} {one.locked.version}: {difference}")
    return found


def learn(dist: LockedDistribution, source: Path | None, *, context: FetchContext) -> Learned:
    """Return what a source says of its wheel: as an earlier run has learned, else by its build, in a room.

    :param dist: name and version are empty where nobody knows them.
    :param source: the sdist or the repository's folder, where it is on this machine.
    :raises InputError: the sdist has another hash.
    :raises MachineError: the index is out of reach, or the build failed.
    """
    artifact, store = dist.artifact, context.store
    key = Keys.of(context).metadata(artifact)
    if kept := store.text(key) if key else None:
        with contextlib.suppress(InputError):
            return json_values.from_json(Learned, json_values.parse(kept.encode(), source="the store"))
    if source is not None and source.is_file() and artifact.sha256:
        source = store.add_file(source, filename=artifact.filename, sha256=artifact.sha256)
    elif source is None and artifact.kind == "sdist":
        source = _download([dist], context)[dist.name].path
    from bundler.create.fetch import build  # noqa: PLC0415 - builds are rare

    learned = build.learn(dist, source, context)
    if key:
        store.keep_text(key, json.dumps(json_values.as_json(learned)))
    return learned


def tools_of(lock: Lock, context: FetchContext) -> Tools:
    """Bring the wheel files of a lock into the store, as `fetch` does, and return them, not unpacked."""
    return {_tool(wheel): wheel.path for wheel in _collect(lock, context)}


def _tool(wheel: _Wheel) -> BuildTool:
    artifact, version = wheel.locked.artifact, wheel.locked.version
    if artifact.kind in {"wheel", "sdist"} and artifact.sha256:
        filename, sha256 = artifact.filename, artifact.sha256
    else:
        filename, sha256 = wheel.path.name, wheel.sha256
    version = version or filename.split("-")[1]
    return BuildTool(name=wheel.locked.name, version=version, filename=filename, sha256=sha256)


def is_stored(
    lock: Lock,
    *,
    store: Store,
    interpreter: Interpreter,
    target: Target,
    build_constraints: Sequence[str],
) -> bool:
    """Tell whether `fetch` would neither download nor build anything."""
    keys = Keys(interpreter=interpreter, target=target, constraints=tuple(build_constraints))
    return all(_from_store(dist, keys, store) is not None for dist in lock.distributions)


def _from_store(dist: LockedDistribution, keys: Keys, store: Store) -> _Wheel | None:
    """Return the wheel that an earlier run stored; never that of a local project, which may have changed.

    A wheel that was built counts only if the tools of its build are those that the lock names.
    """
    artifact = dist.artifact
    if artifact.kind == "wheel" and artifact.sha256:
        path = _whole_file(artifact, artifact.sha256, store)
        return None if path is None else _wheel_file(dist, path)
    key = keys.known(dist)
    found = store.built(key) if key else None
    if found is None:
        return None
    path, built = found
    built = compared(built, dist.built)
    return _Wheel(locked=replace(dist, built=built), path=path, built_from=artifact.sha256 or artifact.commit)


def _drop_damaged(artifact: Artifact, store: Store) -> None:
    """Drop a stored source that is not the one of its hash: it is about to be built."""
    if artifact.kind == "sdist" and artifact.sha256:
        _whole_file(replace(artifact, size=None), artifact.sha256, store)


def _whole_file(artifact: Artifact, sha256: str, store: Store) -> Path | None:
    """Return a stored file that may be the one of its hash; where no size is known, its content tells.

    Another is dropped. Other runs may place or take it between two looks.
    """
    path = store.file(sha256, artifact.filename)
    if path is None:
        return None
    with contextlib.suppress(FileNotFoundError):
        seen = path.lstat().st_ino
        if artifact.size is not None:
            whole = path.stat().st_size == artifact.size
        else:
            whole = files.digest(path) == sha256
        if whole:
            return path
        store.discard(path, "it is not the file of its hash", seen=seen)
    return None


def _wheel_file(dist: LockedDistribution, path: Path) -> _Wheel:
    artifact = replace(dist.artifact, sha256=path.parent.name)
    # A source is not here when its wheel was built before: its size is what lock or index gave.
    if artifact.kind == "wheel":
        artifact = replace(artifact, size=path.stat().st_size)
    return _Wheel(locked=replace(dist, artifact=artifact), path=path, built_from=None)


def _refuse_builds(distributions: Sequence[LockedDistribution]) -> None:
    sources = [dist for dist in distributions if dist.artifact.kind != "wheel"]
    if sources:
        names = ", ".join(f"{dist.name}=={dist.version}" if dist.version else dist.name for dist in sources)
        raise InputError(
            f"--no-build, and these have no wheel for the target: {names}",
            hint="pin versions that have a wheel, or leave --no-build out",
        )


def _download(missing: Sequence[LockedDistribution], context: FetchContext) -> dict[str, _Wheel]:
    """Put wheels and sdists into the store: local files by copying, the others from the index."""
    remote: list[LockedDistribution] = []
    found: dict[str, _Wheel] = {}
    for dist in missing:
        artifact = dist.artifact
        local = _local_file(dist, context)
        if local is not None:
            sha256 = artifact.sha256 or files.digest(local)
            path = context.store.add_file(local, filename=artifact.filename, sha256=sha256)
            found[dist.name] = _wheel_file(dist, path)
        elif artifact.url:
            remote.append(dist)
        else:
            raise MachineError(
                f"{artifact.filename or dist.name} (sha256 {artifact.sha256}) was built from a local project "
                "and is not in this machine's store",
                hint="name the folder that holds the wheel with --find-links, or build from the project",
            )
    if remote:
        paths = _fetch_remote([dist.artifact for dist in remote], context)
        for dist, path in zip(remote, paths, strict=True):
            found[dist.name] = _wheel_file(dist, path)
    return found


def _fetch_remote(artifacts: Sequence[Artifact], context: FetchContext) -> list[Path]:
    """Download files, and begin to unpack each wheel while others are still on their way."""
    from bundler.create.fetch import download  # noqa: PLC0415 - it brings requests: 40 ms

    downloader, prefetcher = _downloader(context), context.prefetcher

    def fetch(artifact: Artifact, advance: Callable[[int], None]) -> Path:
        path = prefetcher.wait_for(artifact, advance)
        if path is None:
            path = downloader.fetch(artifact, advance)
            prefetcher.unpack(path)
        return path

    # Waiting for what the prefetcher downloads needs a thread as well.
    waiting = sum(map(prefetcher.is_downloading, artifacts))
    return downloader.fetch_all(artifacts, context.progress, fetch, threads=download.PARALLEL + waiting)


def _local_file(dist: LockedDistribution, context: FetchContext) -> Path | None:
    """Return a file that needs no network: named by its path, or in a --find-links folder."""
    artifact = dist.artifact
    candidates = [Path(artifact.path)] if artifact.path else []
    if artifact.url and artifact.url.startswith("file:"):
        candidates.append(Path(unquote(urlsplit(artifact.url).path)))
    if artifact.filename:
        candidates += [Path(folder) / artifact.filename for folder in context.settings.find_links]
    for candidate in candidates:
        if is_file(candidate) and (not artifact.sha256 or files.digest(candidate) == artifact.sha256):
            return candidate
    if artifact.path and is_file(Path(artifact.path)):
        raise InputError(
            f"{artifact.path} does not have the expected hash sha256:{artifact.sha256}",
            hint="the file has changed since the lock was made: make the lock anew",
        )
    return None


def _build(
    dists: Sequence[LockedDistribution], sources: Mapping[str, _Wheel], context: FetchContext
) -> Iterator[_Wheel]:
    """Build distributions and yield their wheels.

    :param sources: name → sdist in the store, of those that are one.
    """
    if not dists:
        return
    from bundler.create.fetch import build  # noqa: PLC0415 - as above

    locked = [sources[dist.name].locked if dist.name in sources else dist for dist in dists]
    files = [sources[dist.name].path if dist.name in sources else None for dist in dists]
    made = build.build_all(list(zip(locked, files, strict=True)), context)
    for dist, (path, built) in zip(locked, made, strict=True):
        origin = dist.artifact.sha256 or dist.artifact.commit or "local project"
        yield _Wheel(locked=replace(dist, built=built), path=path, built_from=origin)


def _announce_builds(distributions: Sequence[LockedDistribution], context: FetchContext) -> None:
    """Say which of what must be built has an older version with a wheel for the target."""
    if all(dist.artifact.kind != "sdist" for dist in distributions):
        return
    from bundler.create import releases  # noqa: PLC0415 - it brings requests: 40 ms

    older = releases.older_wheels(
        distributions, settings=context.settings, target=context.target, wanted=context.requirements
    )
    for one in older:
        way = "--prefer-binary takes it" if one.permitted else f"pin {one.built.name}=={one.version}"
        context.progress.note(
            f"{one.built.name} {one.built.version} has no wheel for CPython {context.target.minor}, glibc "
            f"{context.target.glibc[0]}.{context.target.glibc[1]}; {one.version} has one: {way}"
        )


def _unpack(wheels: Sequence[_Wheel], context: FetchContext, *, check_sizes: bool) -> tuple[StoredWheel, ...]:
    with context.progress.bar("unpack", total=len(wheels), unit="wheels") as advance:
        context.prefetcher.finish()
        trees = context.store.ensure_trees(
            [(wheel.path, wheel.sha256) for wheel in wheels],
            context.interpreter,
            progress=advance,
            sizes=check_sizes,
        )
    return tuple(_stored(wheel, trees[wheel.sha256]) for wheel in wheels)


def _stored(wheel: _Wheel, tree: StoredTree) -> StoredWheel:
    """Complete the locked distribution from its wheel, and remove local paths from it."""
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


def with_sizes(lock: Lock, context: FetchContext) -> Lock:
    """Add the sizes that the index did not give, from the store or from the server."""
    unsized = [dist for dist in lock.distributions if dist.artifact.size is None]
    asked = _downloader(context).sizes([dist.artifact for dist in unsized])
    return locks.completed(
        lock,
        {
            dist.name: replace(dist, artifact=replace(dist.artifact, size=size))
            for dist, size in zip(unsized, asked, strict=True)
        },
    )


def _downloader(context: FetchContext) -> Downloader:
    from bundler.create.fetch.download import Downloader  # noqa: PLC0415 - it brings requests: 40 ms

    def ask_pip(command: Sequence[str]) -> None:
        words = [*command, *index_flags(context.settings)]
        context.pip.run(context.environment().python, words, scratch=context.scratch)

    return Downloader(
        store=context.store, settings=context.settings, requirements=context.requirements, ask_pip=ask_pip
    )
