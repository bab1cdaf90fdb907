"""What stands before the first distribution is looked at: requirements, target, tools, environment."""

from __future__ import annotations

import contextlib
import functools
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bundler import interpreters, pip, profiles, requirements, target
from bundler import lock as locks
from bundler.create import environment, fetch
from bundler.errors import InputError
from bundler.freeze import freezing
from bundler.model import IndexSettings
from bundler.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
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
    pip: Pip
    scratch: Path
    progress: Progress
    pose: Callable[[], Environment] = field(repr=False)
    freezing: Callable[[Environment], Callable[[], tuple[str, ...]]] = field(repr=False)
    begin: Callable[[Callable[[], tuple[str, ...]]], Future[tuple[str, ...]]] = field(repr=False)
    """Call something on another thread."""

    @functools.cached_property
    def environment(self) -> Environment:
        """The virtualenv that poses as the target: made when it is first asked for."""
        return self.pose()

    @functools.cached_property
    def freeze(self) -> Callable[[], tuple[str, ...]]:
        """Runs `pip freeze --all` in the environment, as it is when this is called."""
        return self.freezing(self.environment)

    @functools.cached_property
    def baseline(self) -> Future[tuple[str, ...]]:
        """`pip freeze --all` of the empty environment, made while the requirements are resolved."""
        return self.begin(self.freeze)


def read_requirements(request: LockRequest, environ: Mapping[str, str]) -> Requirements | None:
    """Read what is asked for; `None` where a pylock.toml says it all.

    :raises InputError: something in it cannot be meant.
    """
    if request.wanted is not None:
        wanted = request.wanted
    elif request.lock_file is None:
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
    pose: bool = True,
    progress: Progress,
    environ: Mapping[str, str],
) -> Iterator[Site]:
    """Find the interpreter, fix the target, and make the environment that poses as it.

    :param pose: make the environment at once; otherwise only where something is to be built in it.
    """
    store = Store(request.cache_dir)
    image = _image(request)
    with contextlib.ExitStack() as ended, ThreadPoolExecutor(max_workers=2) as pool:
        reading = pool.submit(pip.read_settings, environ) if wanted else None
        interpreter, aim = _target(request, image, store, progress=progress, environ=environ)
        locked = locks.read_pylock(request.lock_file, aim) if request.lock_file and not wanted else None
        if reading is None and not (locked and _is_stored(locked, store, interpreter, aim)):
            reading = pool.submit(pip.read_settings, environ)
        make = functools.partial(
            environment.create,
            interpreter,
            aim,
            prefix=work.environment,
            app_data=store.root / "virtualenv",
            scratch=work.scratch,
        )
        with progress.stage("environment") as stage:
            made = make() if pose else None
            settings = _settings(reading, request, wanted, progress)
            tool = pip.obtain(
                interpreter,
                store=store,
                settings=settings,
                glibc=aim.glibc,
                scratch=work.scratch,
                environ=environ,
            )
            stage.result = f"{'empty' if pose else 'none yet'}, driven by pip {tool.version}"
        site = Site(
            request=request,
            wanted=wanted,
            locked=locked,
            store=store,
            interpreter=interpreter,
            target=aim,
            image=image,
            settings=settings,
            pip=tool,
            scratch=work.scratch,
            progress=progress,
            pose=make if made is None else lambda: made,
            freezing=lambda posing: ended.enter_context(freezing(tool, posing, scratch=work.scratch)),
            begin=pool.submit,
        )
        if pose:
            _ = site.baseline  # begins here; whoever needs the answer waits for it
        yield site


def _is_stored(locked: Lock, store: Store, interpreter: Interpreter, aim: Target) -> bool:
    """Tell whether no index is needed for a lock."""
    wheels = fetch.is_stored(locked, store=store, interpreter=interpreter, target=aim)
    return wheels and pip.is_stored(interpreter, store=store)


def _settings(
    reading: Future[IndexSettings] | None,
    request: LockRequest,
    wanted: Requirements | None,
    progress: Progress,
) -> IndexSettings:
    """Put together where distributions come from.

    :param reading: the caller's configuration; `None`: everything is in the store, no index is asked, and
        whose settings they are is no matter.
    """
    settings = reading.result() if reading else IndexSettings()
    for given in (wanted.index if wanted else IndexSettings(), request.index):
        settings = pip.merge(settings, given)
    if settings.ignored:
        progress.note(f"settings of pip that are not used: {', '.join(settings.ignored)}")
    return settings


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
