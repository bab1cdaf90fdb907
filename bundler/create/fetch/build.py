"""Builds wheels from sdists, repositories and local projects: by pip, in isolation, for the target.

Several are built at once, one a processor; each has a time limit, and the first that fails ends the others.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bundler.create import build_advice, git_access
from bundler.create.fetch import build_room
from bundler.create.fetch.build_keys import Keys, compared
from bundler.create.fetch.context import FetchContext
from bundler.errors import (
    CommandError,
    DiskLimitError,
    InputError,
    MachineError,
    OutputLimitError,
    TimeLimitError,
)
from bundler.model import BuildTool, Built, Learned, LockedDistribution
from bundler.system import files, json_values, redact, room

EPOCH = "315532800"
"""1980-01-01, the earliest time that a zip member can have."""
MOST = 4
"""Builds at once, however many processors there are: each may need a gigabyte."""
_REPORT = 8 << 20
"""Bytes of a report of metadata: long descriptions are in it."""
_DIST_NAME = r"[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]"
_DIST_VERSION = r"[A-Za-z0-9][A-Za-z0-9.!+_-]{0,200}"
_REMINDER = 60
"""Seconds after which a build that goes on is named again."""


class _EndedError(Exception):
    """Another build has failed."""


def build_all(
    wanted: Sequence[tuple[LockedDistribution, Path | None]], context: FetchContext
) -> list[tuple[Path, Built]]:
    """Build wheels with the target's interpreter, keep them in the store, and return where and how.

    :param wanted: each with its sdist's file, already checked against its hash; `None` for the other kinds.
    :returns: in the same order.
    :raises MachineError: a build failed (says the last meaningful lines, the log and a remedy), or took too
        long; the others are ended.
    """
    if not wanted:
        return []
    context.environment()  # made once, before several threads ask for it
    failed = threading.Event()
    context = replace(context, ends=(*context.ends, failed))

    def one(dist: LockedDistribution, source: Path | None) -> tuple[Path, Built]:
        with context.progress.step(f"building {_name(dist)}"):
            return _build(dist, source, context)

    pool = ThreadPoolExecutor(max_workers=min(len(wanted), len(os.sched_getaffinity(0)), MOST))
    try:
        futures = [pool.submit(one, dist, source) for dist, source in wanted]
        wait(futures, return_when=FIRST_EXCEPTION)
        failed.set()
        errors = [future.exception() for future in futures if future.done()]
        for error in errors:
            if error is not None and not isinstance(error, _EndedError):
                raise error
        return [future.result() for future in futures]
    finally:
        failed.set()
        pool.shutdown(cancel_futures=True)


def _watch(name: str, context: FetchContext) -> Callable[[float], None]:
    """Return what is called each second of a build: it says that the build goes on, or ends it."""
    told = [0]

    def watch(seconds: float) -> None:
        if any(end.is_set() for end in context.ends):
            raise _EndedError
        if seconds // _REMINDER > told[0]:
            told[0] = int(seconds // _REMINDER)
            limit = f"{context.build_timeout} s at most (--build-timeout)"
            context.progress.note(f"{'':<12} building {name} for {seconds:.0f} s now, {limit} …")

    return watch


def _build(dist: LockedDistribution, source: Path | None, context: FetchContext) -> tuple[Path, Built]:
    store, keys = context.store, Keys.of(context)

    def stored(tools: Sequence[BuildTool]) -> tuple[Path, Built] | None:
        key = keys.by_tools(dist.artifact, tools)
        return store.built(key) if key else None

    with store.incoming() as folder:
        tools, wheel = _made(
            dist, source, build_room.WHEEL, folder, context, stop=lambda tools: stored(tools) is not None
        )
        if wheel is None:
            path, built = stored(tools) or _gone(dist)
        else:
            sha256 = files.digest(wheel)
            path = store.add_file(wheel, filename=wheel.name, sha256=sha256)
            built = Built(sha256=sha256, tools=tools)
    if key := keys.by_tools(dist.artifact, tools):
        built = compared(built, dist.built, store.ever_built(key))
        store.remember_built(key, path, built)
    latest = keys.latest(dist.artifact)
    if latest and (dist.built is None or store.built(latest) is None):
        store.remember_built(latest, path, built)
    return path, built


def learn(
    dist: LockedDistribution,
    source: Path | None,
    context: FetchContext,
    *,
    goal: build_room.Goal = build_room.SOURCE_METADATA,
) -> Learned:
    """Return what a source says of its wheel, as its build backend makes it in a room (PEP 517).

    Nothing is installed or kept.

    :param dist: name and version are empty where nobody knows them.
    :param source: as `file` of `build_room.build`.
    :raises MachineError: that failed or took too long, or it is another distribution.
    """
    context.environment()
    with context.store.incoming() as folder:
        _, report = _made(dist, source, goal, folder, context)
        learned = _described(report or folder)
    if (dist.name or learned.name) != learned.name or not _same_version(dist.version, learned.version):
        raise MachineError(
            f"{_name(dist)} says of itself that it is {learned.name} {learned.version}",
            hint="pin another version",
        )
    return learned


def _described(report: Path) -> Learned:
    """Return what a source says of its wheel, as pip has reported it.

    :raises MachineError: it is not what a source says.
    """
    try:
        (one,) = json_values.load(report, limit=_REPORT)["install"]
        said = one["metadata"]
        names = ("requires_dist", "provides_extra")
        texts = {name: value.texts() if (value := said.get(name)) else () for name in names}
        learned = Learned(
            name=canonicalize_name(said["name"].text(_DIST_NAME)),
            version=said["version"].text(_DIST_VERSION),
            requires=texts["requires_dist"],
            requires_python=value.text() if (value := said.get("requires_python")) else None,
            extras=texts["provides_extra"],
        )
    except (InputError, ValueError) as error:
        raise MachineError(
            f"the build made no metadata: {error}", hint="pin a version that has a wheel"
        ) from error
    everything = (learned.requires_python or "", *learned.requires, *learned.extras)
    if not all(text.replace("\t", " ").isprintable() for text in everything):
        raise MachineError("the build made metadata with control characters", hint="pin another version")
    return learned


def _same_version(known: str, said: str) -> bool:
    try:
        return not known or Version(known) == Version(said)
    except InvalidVersion:
        return known == said


def _name(dist: LockedDistribution) -> str:
    folder = Path(dist.artifact.path or "").name
    return f"{dist.name} {dist.version}".strip() or folder or "a source"


def _gone(dist: LockedDistribution) -> NoReturn:
    raise MachineError(f"the wheel of {dist.name} has just gone from the store", hint="run it again")


def _made(
    dist: LockedDistribution,
    source: Path | None,
    goal: build_room.Goal,
    folder: Path,
    context: FetchContext,
    *,
    stop: Callable[[Sequence[BuildTool]], bool] = lambda _: False,
) -> tuple[tuple[BuildTool, ...], Path | None]:
    """Return what a build used and made; what it fails with names distribution, log and remedy.

    :param stop: as of `build_room.build`.
    """
    try:
        return build_room.build(
            dist,
            source,
            goal=goal,
            context=context,
            folder=folder,
            variables=_build_variables(),
            git=git_access.variables(context.requirements),
            stop=stop,
            on_wait=_watch(_name(dist), context),
        )
    except TimeLimitError as error:
        why = f"took longer than {context.build_timeout} s"
        raise _ended(dist, goal, why, "more time with --build-timeout") from error
    except OutputLimitError as error:
        why = f"printed more than {context.limits.output_mib} MiB"
        raise _ended(dist, goal, why, "more with --output-limit") from error
    except DiskLimitError as error:
        raise _ended(dist, goal, error.message, "more with --build-disk") from error
    except CommandError as error:
        raise _failed(dist, goal, error, context) from error


def _build_variables() -> dict[str, str]:
    """Return variables that keep traces of the builder out of a wheel.

    A pyenv or conda interpreter tells distutils to link with `-Wl,-rpath,PREFIX/lib`; LDSHARED says
    it without, LDCXXSHARED for C++ since setuptools 75. Debug information would name the folder of the build.
    """
    c, cpp = (
        next((name for name in names if shutil.which(name)), names[1])
        for names in (("gcc", "cc", "clang"), ("g++", "c++", "clang++"))
    )
    return {
        "SOURCE_DATE_EPOCH": EPOCH,
        "LDSHARED": f"{c} -pthread -shared",
        "LDCXXSHARED": f"{cpp} -pthread -shared",
        "CFLAGS": "-g0",
        "CXXFLAGS": "-g0",
    }


def _ended(dist: LockedDistribution, goal: build_room.Goal, why: str, more: str) -> MachineError:
    took = goal.failure.replace("failed", f"{why}: it was ended")
    return MachineError(
        f"{_name(dist)} {took}",
        hint="pin a version that has a wheel (--prefer-binary finds one, if there is any), or give it "
        f"{more}",
    )


def _failed(
    dist: LockedDistribution, goal: build_room.Goal, error: CommandError, context: FetchContext
) -> MachineError:
    output = redact.text(f"{error.stdout}\n{error.stderr}")
    what = f"{dist.name}-{dist.version}".strip("-") or "source"
    log = build_advice.write_log(output, cache=context.store.root, job=context.job, what=what)
    lines = "\n".join(f"  {line}" for line in build_advice.last_meaningful_lines(output))
    return MachineError(
        f"{_name(dist)} {goal.failure}:\n{lines}\n  full log: {log}",
        hint=room.limit_hit(output) or build_advice.advice(output),
    )
