"""What stands before the first distribution is looked at: requirements, target, tools, environment."""

from __future__ import annotations

import contextlib
import functools
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bundler.bundle import lock as locks
from bundler.create import environment, fetch, requirements, target_pip
from bundler.create.fetch.ahead import Ahead
from bundler.create.freeze import freezing
from bundler.errors import EnvbundleError, InputError
from bundler.model import IndexSettings
from bundler.system import index_settings
from bundler.targets import catalogue, interpreters, target
from bundler.wheels.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from bundler.create.request import LockRequest
    from bundler.create.target_pip import Pip
    from bundler.model import Environment, Interpreter, Lock, Requirements, Target
    from bundler.system.progress import Progress
    from bundler.system.workspace import Workspace
    from bundler.targets.image import Image


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
    """On its way, perhaps: whoever uses it waits."""
    scratch: Path
    progress: Progress
    ahead: Ahead | None
    """What fetches while the requirements are resolved; `None`: nothing may be fetched yet."""
    pose: Callable[[], Environment] = field(repr=False)
    freezing: Callable[[Environment], Callable[[], tuple[str, ...]]] = field(repr=False)
    begin: Callable[[Callable[[], tuple[str, ...]]], Future[tuple[str, ...]]] = field(repr=False)
    """Call something on another thread."""

    @functools.cached_property
    def environment(self) -> Environment:
        """The virtualenv that poses as the target: made, or waited for, when it is first asked for.

        :raises MachineError: it could not be made, or the pip that drives it cannot be had.
        """
        return self.pose()

    @functools.cached_property
    def freeze(self) -> Callable[[], tuple[str, ...]]:
        """Runs `pip freeze --all` in the environment, as it is when this is called."""
        return self.freezing(self.environment)

    @functools.cached_property
    def baseline(self) -> Future[tuple[str, ...]]:
        """`pip freeze --all` of the empty environment, made while the requirements are resolved."""
        return self.begin(self._freeze_when_there)

    def _freeze_when_there(self) -> tuple[str, ...]:
        return self.freeze()


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
    ahead: bool = False,
    progress: Progress,
    environ: Mapping[str, str],
) -> Iterator[Site]:
    """Find the interpreter, fix the target, and make the environment that poses as it.

    :param pose: make the environment at once; otherwise only where something is to be built in it.
    :param ahead: fetch what is pinned exactly as soon as the resolver asks for its page.
    """
    store = Store(request.cache_dir)
    image = _image(request)
    with contextlib.ExitStack() as ended, _threads() as pool:
        reading = pool.submit(index_settings.read_settings, environ) if wanted else None
        interpreter, aim = _target(request, image, store, progress=progress, environ=environ)
        locked = locks.read_pylock(request.lock_file, aim) if request.lock_file and not wanted else None
        if reading is None and not (locked and _is_stored(locked, store, interpreter, aim)):
            reading = pool.submit(index_settings.read_settings, environ)
        make = _maker(interpreter, aim, store, work)
        obtain = _obtainer(interpreter, aim, store, work, pool=pool, environ=environ)
        settling = pool.submit(_settings, reading, request, wanted, progress)
        obtaining = pool.submit(lambda: obtain(settings=settling.result()))
        standing = pool.submit(_stand, make if pose else None, obtaining, progress)
        settings, tool = settling.result(), obtaining.result()
        may_fetch = ahead and request.exclude_newer is None
        begun = Ahead(store, interpreter, aim, settings, wanted) if wanted and may_fetch else None
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
            ahead=begun,
            pose=lambda: standing.result() or make(),
            freezing=lambda posing: ended.enter_context(freezing(tool, posing, scratch=work.scratch)),
            begin=pool.submit,
        )
        if pose:
            _ = site.baseline  # begins here; whoever needs the answer waits for it
        with _meanwhile(standing, begun):
            yield site


@contextlib.contextmanager
def _meanwhile(standing: Future[Environment | None], begun: Ahead | None) -> Iterator[None]:
    """What goes on while something else does is ended with it."""
    try:
        with begun.working() if begun else contextlib.nullcontext():
            yield
    except (EnvbundleError, OSError):
        standing.result()  # what stands first is said first: without a disk or an index, both fail
        raise


def _maker(interpreter: Interpreter, aim: Target, store: Store, work: Workspace) -> Callable[[], Environment]:
    return functools.partial(
        environment.create,
        interpreter,
        aim,
        prefix=work.environment,
        app_data=store.root / "virtualenv",
        scratch=work.scratch,
    )


def _obtainer(
    interpreter: Interpreter,
    aim: Target,
    store: Store,
    work: Workspace,
    *,
    pool: ThreadPoolExecutor,
    environ: Mapping[str, str],
) -> Callable[..., Pip]:
    return functools.partial(
        target_pip.obtain,
        interpreter,
        store=store,
        glibc=aim.glibc,
        scratch=work.scratch,
        environ=environ,
        begin=lambda bring: pool.submit(bring).result,
    )


@contextlib.contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """As many as things are begun on them, of which some wait for others."""
    pool = ThreadPoolExecutor(max_workers=6)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _stand(
    make: Callable[[], Environment] | None, obtaining: Future[Pip], progress: Progress
) -> Environment | None:
    """Make the environment and have its pip, while the requirements are resolved."""
    with progress.stage("environment") as stage:
        made = make() if make else None
        tool = obtaining.result()
        tool.ready()
        stage.result = f"{'empty' if make else 'none yet'}, driven by pip {tool.version}"
    return made


def _is_stored(locked: Lock, store: Store, interpreter: Interpreter, aim: Target) -> bool:
    """Tell whether no index is needed for a lock."""
    wheels = fetch.is_stored(locked, store=store, interpreter=interpreter, target=aim)
    return wheels and target_pip.is_stored(interpreter, store=store)


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
        settings = index_settings.merge(settings, given)
    if settings.ignored:
        progress.note(f"settings of pip that are not used: {', '.join(settings.ignored)}")
    return settings


def _image(request: LockRequest) -> Image | None:
    image = catalogue.load(request.image) if request.image else None
    if request.server is None:
        return image
    if image is None:
        raise InputError("--server is about an image, and none is named", hint="add --image NAME")
    return catalogue.with_server(image, request.server)


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
    python = request.python or (catalogue.python_of(image) if image else None) or locked[0]
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
            aim = catalogue.target(image, interpreter, glibc=request.glibc)
        else:
            aim = target.for_interpreter(interpreter, glibc=request.glibc or locked[1])
        conda = ", from conda" if interpreter.conda else ""
        stage.result = (
            f"CPython {aim.python_version} ({interpreter.origin}{conda}), {aim.machine}, "
            f"glibc {aim.glibc[0]}.{aim.glibc[1]}"
        )
    return interpreter, aim
