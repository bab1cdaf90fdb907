"""Prepares a run: reads the requirements, finds interpreter and target, makes the environment and its pip."""

from __future__ import annotations

import contextlib
import functools
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import field, replace
from typing import TYPE_CHECKING

from bundler.bundle import lock as locks
from bundler.checks.imports import evidence
from bundler.create import emit, environment, fetch, target_pip
from bundler.create.fetch.context import FetchContext, Tools
from bundler.create.fetch.prefetch import Prefetcher
from bundler.create.frozen import Freezer, Question
from bundler.create.request import CreateRequest, LockRequest
from bundler.create.target_pip import Pip
from bundler.errors import EnvbundleError, InputError
from bundler.lazy_dataclass import dataclass
from bundler.model import Built, Environment, IndexSettings, Interpreter, Lock, Requirements, Target
from bundler.system import files, index_settings
from bundler.system.progress import Progress
from bundler.system.room import RoomRun
from bundler.system.workspace import Workspace
from bundler.targets import interpreters, target
from bundler.wheels.store import Store

if TYPE_CHECKING:
    from bundler.targets.image import Image


@dataclass(frozen=True, kw_only=True)
class Prepared(FetchContext):
    """All that is known and made before the requirements are resolved."""

    request: LockRequest
    locked: Lock | None
    """What the lock says, where one was given that says all."""
    image: Image | None
    """The profile of the image, where the caller named one."""
    freezer: Freezer = field(repr=False)
    importing: Callable[[str], RoomRun] | None = field(repr=False)
    """The program that imports, where it was started ahead (`evidence.starting`)."""


def read_requirements(
    request: LockRequest, environ: Mapping[str, str], progress: Progress
) -> Requirements | None:
    """Read what is asked for; `None` where a lock says it all.

    :raises InputError: a file cannot be read, or a line of it is wrong.
    """
    if request.wanted is None and request.lock_file is not None and locks.is_pylock(request.lock_file):
        return None
    from bundler.create import inputs, requirements  # noqa: PLC0415 - 20 ms that such a lock needs not

    if request.lock_file is not None:
        inputs.refuse_tool_lock(request.lock_file)
    if request.wanted is not None:
        wanted = request.wanted
    elif request.lock_file is None:
        wanted = inputs.read(request, environ)
    else:
        wanted = requirements.read(files=[request.lock_file], environ=environ)
        locks.require_pinned(wanted, path=request.lock_file)
        given = bool(request.index.find_links)
        if locks.is_whole(wanted, path=request.lock_file, wheels_given=given):
            return None
    for told in wanted.told:
        progress.note(f"input: {told}" + (f" ({told.place})" if told.place else ""))
    for note in wanted.notes:
        progress.note(note)
    return replace(
        wanted,
        no_binary=(*wanted.no_binary, *request.no_binary),
        only_binary=(*wanted.only_binary, *request.only_binary),
        build_constraints=(*wanted.build_constraints, *_build_constraints(request, environ)),
        prefer_binary=wanted.prefer_binary or request.prefer_binary,
        pre=wanted.pre or request.pre,
    )


def _build_constraints(
    request: LockRequest, environ: Mapping[str, str], wanted: Requirements | None = None
) -> tuple[str, ...]:
    if wanted is not None:
        return wanted.build_constraints
    if not request.build_constraint_files:
        return ()
    from bundler.create import requirements  # noqa: PLC0415 - as above

    return requirements.read_constraints(request.build_constraint_files, environ=environ)


@contextlib.contextmanager
def prepare(
    request: LockRequest,
    wanted: Requirements | None,
    work: Workspace,
    *,
    pose: bool = True,
    prefetch: bool = False,
    progress: Progress,
    environ: Mapping[str, str],
) -> Iterator[Prepared]:
    """Find the interpreter, fix the target, and begin to make the environment that poses as it.

    :param wanted: what `read_requirements` returned.
    :param pose: make the environment ahead, unless its freeze is most likely kept, and bring its pip.
    :param prefetch: fetch what the resolver selects meanwhile.
    """
    store, image = Store(request.cache_dir), _image(request)
    with contextlib.ExitStack() as ended, _threads() as pool:
        reading = _begin_resolving(pool, environ) if wanted else None
        interpreter, aim = _target(request, image, store, progress=progress, environ=environ)
        locked = locks.read_lock(request.lock_file, aim) if request.lock_file and not wanted else None
        builds = _build_constraints(request, environ, wanted)
        question, ahead = _question(request, wanted, store, interpreter, aim), _ahead(request, wanted)
        if not (reading or (locked and _is_stored(locked, question, builds, request))):
            reading = pool.submit(index_settings.read_settings, environ)
        make = functools.partial(environment.create, interpreter, aim, work, store.root / "virtualenv")
        making = _begin(pool, make if pose else None, request, question)
        settings = _settings(reading, request, wanted, progress)
        pip = _pip(interpreter, aim, settings, store, work, environ, pool if pose else None)
        standing = pool.submit(_stand, making, pip, progress) if pose else None
        posing = functools.cache(lambda: (standing.result() if standing else None) or make())
        prepared = Prepared(
            store=store,
            interpreter=interpreter,
            target=aim,
            environment=posing,
            pip=pip,
            settings=settings,
            requirements=wanted,
            scratch=work.scratch,
            no_build=request.no_build,
            build_tools=_build_tools,
            build_network=request.build_network,
            exclude_newer=request.exclude_newer,
            resolver=request.resolver,
            build_constraints=builds,
            build_timeout=request.build_timeout,
            build_disk=request.build_disk,
            limits=request.limits,
            job=request.job,
            progress=progress,
            prefetcher=Prefetcher(store, interpreter, aim, settings, ahead if prefetch else None),
            request=request,
            locked=locked,
            image=image,
            freezer=ended.enter_context(_freezing(pip, posing, question, work, pool if making else None)),
            importing=ended.enter_context(_importing(request, question, work)) if making else None,
        )
        with _background(standing, prepared.prefetcher):
            yield _asked(prepared)


def _build_tools(context: FetchContext, wanted: Sequence[str], locked: Built | None) -> Tools:
    """Return the wheels of what a build needs: see `bundler.create.build_tools`."""
    from bundler.create import build_tools  # noqa: PLC0415 - builds are rare

    return build_tools.wheels(context, wanted, locked)


def _begin_resolving(pool: ThreadPoolExecutor, environ: Mapping[str, str]) -> Future[IndexSettings]:
    """Begin to load what resolves, while the interpreter is found, and to read the caller's settings."""

    def load() -> None:
        from bundler.create import index_pages, resolve  # noqa: F401, PLC0415 - most locks need neither: 70 ms

    pool.submit(load)
    return pool.submit(index_settings.read_settings, environ)


def _ahead(request: LockRequest, wanted: Requirements | None) -> Requirements | None:
    """Return the requirements if what a resolver selects may be fetched and unpacked at once."""
    # Where it counts who published a file, none is unpacked before that is known.
    return wanted if request.exclude_newer is None and request.provenance is None else None


def _begin(
    pool: ThreadPoolExecutor,
    make: Callable[[], Environment] | None,
    request: LockRequest,
    question: Question,
) -> Future[Environment] | None:
    """Begin what a new bundle needs whatever it holds; return the environment, where it is made ahead.

    :param make: makes the environment; `None`: no bundle is made.
    """
    if make is None:
        return None  # it is resolved only: a nightly run finds most bundles unchanged
    if isinstance(request, CreateRequest) and question.is_new:
        pool.submit(emit.load)
    return None if question.is_answered else pool.submit(make)


def _asked(prepared: Prepared) -> Prepared:
    """Ask the builds of projects what they alone know, now that there is an environment for them."""
    wanted = prepared.requirements
    if wanted is None or not wanted.projects:
        return prepared
    from bundler.create.inputs import asked_build  # noqa: PLC0415 - builds are rare

    return replace(prepared, requirements=asked_build.complete(wanted, prepared))


def _pip(  # noqa: PLR0917 - all that `obtain` takes
    interpreter: Interpreter,
    aim: Target,
    settings: IndexSettings,
    store: Store,
    work: Workspace,
    environ: Mapping[str, str],
    pool: ThreadPoolExecutor | None,
) -> Pip:
    """Return the target's pip, which begins to come in a pool; without one it comes when it is used."""
    return target_pip.obtain(
        interpreter,
        store=store,
        settings=settings,
        glibc=aim.glibc,
        scratch=work.scratch,
        environ=environ,
        begin=(lambda bring: pool.submit(bring).result) if pool else functools.cache,
    )


def _importing(
    request: LockRequest, question: Question, work: Workspace
) -> AbstractContextManager[Callable[[str], RoomRun] | None]:
    """Start what imports the bundle: where pip is asked of it, nobody has imported it yet, most likely."""
    if not isinstance(request, CreateRequest) or request.thin:
        return contextlib.nullcontext()  # what is left to the image is beside the tree, and not known yet
    return evidence.starting(
        work.bundle,
        interpreter=question.interpreter,
        scratch=work.scratch,
        cover=[question.store.root],
        limits=request.limits,
    )


@contextlib.contextmanager
def _freezing(
    pip: Pip,
    posing: Callable[[], Environment],
    question: Question,
    work: Workspace,
    pool: ThreadPoolExecutor | None,
) -> Iterator[Freezer]:
    """Yield what asks `pip freeze`; given a pool, the empty environment's is asked there, ahead."""
    asking = target_pip.freezing(
        pip,
        posing,
        interpreter=question.interpreter,
        show=[work.bundle],
        cover=[question.store.root],
        scratch=work.scratch,
        limits=question.limits,
    )
    with asking as ask:
        ahead = pool.submit(ask) if pool else None
        yield Freezer(question=question, bundle=work.bundle, posing=posing, ask=ask, ahead=ahead)


@contextlib.contextmanager
def _background(standing: Future[Environment | None] | None, prefetcher: Prefetcher) -> Iterator[None]:
    """Let the environment and the prefetcher go on, and end the prefetcher afterwards."""
    try:
        with prefetcher.running():
            yield
    except (EnvbundleError, OSError):
        if standing:
            standing.result()  # raises first what the environment failed with: without a disk, both fail
        raise


@contextlib.contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """Yield an executor with a thread for each function that `prepare` submits: some wait for others."""
    # Python before 3.12 fills this table without a lock, and two of them read it: uv's package, virtualenv.
    sysconfig.get_config_vars()
    pool = ThreadPoolExecutor(max_workers=7)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _stand(making: Future[Environment] | None, pip: Pip, progress: Progress) -> Environment | None:
    """Wait for the environment and its pip, while the requirements are resolved."""
    with progress.stage("environment") as stage:
        made = making.result() if making else None
        pip.ready()
        stage.result = f"{'empty' if making else 'none yet'}, driven by pip {pip.version}"
    return made


def _question(
    request: LockRequest,
    wanted: Requirements | None,
    store: Store,
    interpreter: Interpreter,
    aim: Target,
) -> Question:
    return Question(
        store=store,
        interpreter=interpreter,
        target=aim,
        asked=repr(wanted) if wanted or not request.lock_file else files.digest(request.lock_file),
        afresh=isinstance(request, CreateRequest) and request.prove,
        limits=request.limits,
    )


def _is_stored(locked: Lock, question: Question, builds: tuple[str, ...], request: LockRequest) -> bool:
    """Tell whether the store has the wheels of a lock and the target's pip, so that no index is needed."""
    store, interpreter = question.store, question.interpreter
    wheels = fetch.is_stored(
        locked, store=store, interpreter=interpreter, target=question.target, build_constraints=builds
    )
    return wheels and request.provenance is None and target_pip.is_stored(interpreter, store=store)


def _settings(
    reading: Future[IndexSettings] | None,
    request: LockRequest,
    wanted: Requirements | None,
    progress: Progress,
) -> IndexSettings:
    """Put together where distributions come from.

    :param reading: the caller's configuration of pip; `None`: everything is in the store, so no index is
        asked and no setting counts.
    """
    settings = reading.result() if reading else IndexSettings()
    for given in (wanted.index if wanted else IndexSettings(), request.index):
        settings = index_settings.merge(settings, given)
    if settings.ignored:
        progress.note(f"settings of pip that are not used: {', '.join(settings.ignored)}")
    return settings


def _image(request: LockRequest) -> Image | None:
    if request.image is None and request.server is None:
        return None
    from bundler.targets import catalogue  # noqa: PLC0415 - 20 ms that are about images alone

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
    python = request.python or (image.minor if image else None) or locked[0]
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
            from bundler.targets import catalogue  # noqa: PLC0415 - as above

            aim = catalogue.target(image, interpreter, glibc=request.glibc)
        else:
            aim = target.for_interpreter(interpreter, glibc=request.glibc or locked[1])
        conda = ", from conda" if interpreter.conda else ""
        stage.result = (
            f"CPython {aim.python_version} ({interpreter.origin}{conda}), {aim.machine}, "
            f"glibc {aim.glibc[0]}.{aim.glibc[1]}"
        )
    return interpreter, aim
