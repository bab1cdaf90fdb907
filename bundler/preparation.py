"""What stands before the first distribution is looked at: requirements, target, tools, environment."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bundler import interpreters, pip, profiles, requirements, target
from bundler import lock as locks
from bundler.create import environment, fetch
from bundler.errors import InputError
from bundler.model import IndexSettings
from bundler.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bundler.imagemodel import Image
    from bundler.model import Environment, Interpreter, Lock, Requirements, Target
    from bundler.pip import Pip
    from bundler.progress import Progress
    from bundler.request import LockRequest
    from bundler.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class Site:
    """Everything that stands before the first distribution is looked at."""

    request: LockRequest
    wanted: Requirements | None
    """`None` where a pylock.toml says it all."""
    locked: Lock | None
    """What the pylock.toml says."""
    store: Store
    interpreter: Interpreter
    target: Target
    image: Image | None
    """The profile of the image, where the caller named one."""
    settings: IndexSettings
    environment: Environment
    pip: Pip
    baseline: Future[tuple[str, ...]]
    """`pip freeze --all` of the empty environment, made while the requirements are resolved."""
    scratch: Path
    progress: Progress


def read_requirements(request: LockRequest, environ: Mapping[str, str]) -> Requirements | None:
    """Read what is asked for; `None` where a pylock.toml says it all.

    :raises InputError: something in it cannot be meant.
    """
    if request.lock_file is None:
        wanted = requirements.read(
            files=request.requirement_files,
            constraints=request.constraint_files,
            arguments=request.arguments,
            environ=environ,
        )
    elif locks.is_pylock(request.lock_file):
        return None
    else:
        wanted = requirements.read(files=[request.lock_file], environ=environ)
        locks.require_pinned(wanted, path=request.lock_file)
    return replace(
        wanted,
        no_binary=(*wanted.no_binary, *request.no_binary),
        only_binary=(*wanted.only_binary, *request.only_binary),
        pre=wanted.pre or request.pre,
    )


@contextlib.contextmanager
def prepare(
    request: LockRequest,
    wanted: Requirements | None,
    work: Workspace,
    *,
    progress: Progress,
    environ: Mapping[str, str],
) -> Iterator[Site]:
    """Find the interpreter, fix the target, and make the environment that poses as it."""
    store = Store(request.cache_dir)
    image = _image(request)
    with ThreadPoolExecutor(max_workers=2) as pool:
        reading = pool.submit(pip.read_settings, environ) if wanted else None
        interpreter, aim = _target(request, image, store, progress=progress, environ=environ)
        locked = locks.read_pylock(request.lock_file, aim) if request.lock_file and not wanted else None
        if reading is None and not (
            locked
            and fetch.is_stored(locked, store=store, interpreter=interpreter, target=aim)
            and pip.is_stored(interpreter, store=store)
        ):
            reading = pool.submit(pip.read_settings, environ)
        with progress.stage("environment") as stage:
            made = environment.create(
                interpreter,
                aim,
                prefix=work.environment,
                app_data=store.root / "virtualenv",
                scratch=work.scratch,
            )
            # Where everything is in the store no index is asked, and whose settings they are is no matter.
            settings = reading.result() if reading else IndexSettings()
            for given in (wanted.index if wanted else IndexSettings(), request.index):
                settings = pip.merge(settings, given)
            tool = pip.obtain(
                interpreter,
                store=store,
                settings=settings,
                glibc=aim.glibc,
                scratch=work.scratch,
                environ=environ,
            )
            stage.result = f"empty, driven by pip {tool.version}"
        if settings.ignored:
            progress.note(f"settings of pip that are not used: {', '.join(settings.ignored)}")
        yield Site(
            request=request,
            wanted=wanted,
            locked=locked,
            store=store,
            interpreter=interpreter,
            target=aim,
            image=image,
            settings=settings,
            environment=made,
            pip=tool,
            baseline=pool.submit(tool.freeze, made, scratch=work.scratch),
            scratch=work.scratch,
            progress=progress,
        )


def _image(request: LockRequest) -> Image | None:
    image = profiles.load(request.image) if request.image else None
    if request.server is None:
        return image
    if image is None:
        raise InputError("--server is about an image, and none is named", hint="add --image NAME")
    return profiles.with_server(image, request.server)


def _target(
    request: LockRequest,
    image: Image | None,
    store: Store,
    *,
    progress: Progress,
    environ: Mapping[str, str],
) -> tuple[Interpreter, Target]:
    """Find the interpreter and fix the target: as asked for, else as the image or the lock says."""
    locked = locks.target_of(request.lock_file) if request.lock_file else (None, None)
    python = request.python or (profiles.python_of(image) if image else None) or locked[0]
    if python is None:
        silent = f"the profile of {image.name}" if image else request.lock_file
        raise InputError(f"{silent} does not say its Python", hint="add --python 3.8 (or 3.7, or a path)")
    with progress.stage("target") as stage:
        interpreter = interpreters.find(
            python,
            cache_dir=store.probes,
            managed_dir=store.python,
            allow_download=request.python_downloads,
            announce=progress.note,
            environ=environ,
        )
        if image:
            aim = profiles.target(image, interpreter, glibc=request.glibc)
        else:
            aim = target.for_interpreter(interpreter, glibc=request.glibc or locked[1])
        conda = ", from conda" if interpreter.conda else ""
        stage.result = (
            f"CPython {aim.python_version} ({interpreter.origin}{conda}), {aim.machine}, "
            f"glibc {aim.glibc[0]}.{aim.glibc[1]}"
        )
    return interpreter, aim
