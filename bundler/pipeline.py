"""The stages in order: read this first.

    request → target → environment → resolve → fetch → install → verify → emit → bundle

The stages are functions that take and return frozen values (`model.py`); this file alone knows their
order, what runs at the same time, and what is said of each.
"""

from __future__ import annotations

import contextlib
import functools
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bundler import interpreters, pip, policy, process, requirements, target, workspace
from bundler import lock as locks
from bundler.checks import complete, proof
from bundler.create import emit, environment, fetch, install, resolve
from bundler.errors import InputError, ProofError
from bundler.model import IndexSettings, Isolation
from bundler.request import CreateRequest, CreateResult, LockRequest
from bundler.store import DamagedEntryError, Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from bundler.manifest import Manifest
    from bundler.model import (
        Environment,
        Interpreter,
        Lock,
        LockedDistribution,
        Requirements,
        StoredWheel,
        Target,
    )
    from bundler.pip import Pip
    from bundler.progress import Progress
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
    settings: IndexSettings
    environment: Environment
    pip: Pip
    baseline: Future[tuple[str, ...]]
    """`pip freeze --all` of the empty environment, made while the requirements are resolved."""
    scratch: Path
    progress: Progress


def create(request: CreateRequest, *, progress: Progress, environ: Mapping[str, str]) -> CreateResult:
    """Make a bundle: proved and in its place, or not at all.

    :raises ProofError: findings of severity error; nothing was emitted.
    :raises InputError: the caller must act.
    :raises MachineError: whoever looks after the machine or the network must act.
    """
    target.require_supported_machine()
    emit.check_destination(request.output, force=request.force)
    wanted = _read_requirements(request, environ)
    with (
        workspace.claim(request.output) as work,
        _prepare(request, wanted, work, progress=progress, environ=environ) as site,
    ):
        lock = _resolve(site)
        wheels = _fetch(site, lock)
        lock = replace(lock, distributions=tuple(wheel.locked for wheel in wheels))
        wheels = _install(site, request, lock, wheels, work)
        verdict = _verify(site, request, lock, wheels, work, held=process.held_back(environ))
        manifest = _emit(site, request, lock, wheels=wheels, verdict=verdict, work=work)
        return CreateResult(
            bundle=request.output,
            interpreter=site.interpreter,
            target=site.target,
            lock=lock,
            findings=verdict.findings,
            evidence=verdict.evidence,
            size=sum(file.size for file in manifest.files),
            files=len(manifest.files),
            digest=manifest.digest,
        )


def lock(
    request: LockRequest, *, outputs: Sequence[Path], progress: Progress, environ: Mapping[str, str]
) -> tuple[Lock, Target]:
    """Write a lock, in the form that each file's name says; returns it and its target.

    What only a build can tell (version and hash of local projects and repositories) is built.

    :raises InputError: the caller must act.
    :raises MachineError: whoever looks after the machine or the network must act.
    """
    target.require_supported_machine()
    wanted = _read_requirements(request, environ)
    with (
        workspace.claim(outputs[0].absolute()) as work,
        _prepare(request, wanted, work, progress=progress, environ=environ) as site,
    ):
        resolved = _resolve(site)
        unknown = tuple(dist for dist in resolved.distributions if _only_a_file_tells(dist))
        wheels = _fetch(site, replace(resolved, distributions=unknown)) if unknown else ()
        resolved = locks.completed(resolved, {wheel.locked.name: wheel.locked for wheel in wheels})
        resolved = fetch.with_sizes(resolved, _kitchen(site))
        built = {wheel.locked.name: wheel.facts.sha256 for wheel in wheels}
        for path in outputs:
            text = (
                locks.to_pylock(resolved) if locks.is_pylock(path) else locks.to_requirements(resolved, built)
            )
            emit.write_file(path, text)
        return resolved, site.target


def _read_requirements(request: LockRequest, environ: Mapping[str, str]) -> Requirements | None:
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
def _prepare(
    request: LockRequest,
    wanted: Requirements | None,
    work: Workspace,
    *,
    progress: Progress,
    environ: Mapping[str, str],
) -> Iterator[Site]:
    """Find the interpreter, fix the target, and make the environment that poses as it."""
    store = Store(request.cache_dir)
    with ThreadPoolExecutor(max_workers=2) as pool:
        reading = pool.submit(pip.read_settings, environ) if wanted else None
        interpreter, aim = _target(request, store, progress=progress, environ=environ)
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
            settings=settings,
            environment=made,
            pip=tool,
            baseline=pool.submit(tool.freeze, made, scratch=work.scratch),
            scratch=work.scratch,
            progress=progress,
        )


def _target(
    request: LockRequest, store: Store, *, progress: Progress, environ: Mapping[str, str]
) -> tuple[Interpreter, Target]:
    """Find the interpreter and fix the target: what was asked for, else what the lock says of itself."""
    locked = locks.target_of(request.lock_file) if request.lock_file else (None, None)
    python = request.python or locked[0]
    if python is None:
        raise InputError(
            f"{request.lock_file} does not say its Python", hint="add --python 3.8 (or 3.7, or a path)"
        )
    with progress.stage("target") as stage:
        interpreter = interpreters.find(
            python,
            cache_dir=store.probes,
            managed_dir=store.python,
            allow_download=request.python_downloads,
            announce=progress.note,
            environ=environ,
        )
        aim = target.for_interpreter(interpreter, glibc=request.glibc or locked[1])
        conda = ", from conda" if interpreter.conda else ""
        stage.result = (
            f"CPython {aim.python_version} ({interpreter.origin}{conda}), {aim.machine}, "
            f"glibc {aim.glibc[0]}.{aim.glibc[1]}"
        )
    return interpreter, aim


def _resolve(site: Site) -> Lock:
    request = site.request
    with site.progress.stage("resolve") as stage:
        if site.locked is not None:
            stage.result = f"{len(site.locked.distributions)} distributions, as locked"
            return site.locked
        question = resolve.Question(
            requirements=site.wanted or requirements.NOTHING,
            target=site.target,
            interpreter=site.interpreter,
            settings=site.settings,
            variables=dict(site.pip.variables),
            scratch=site.scratch,
            uv_cache=site.store.uv,
            exclude_newer=request.exclude_newer,
            no_build=request.no_build,
            dependencies=request.lock_file is None,
        )
        resolution = resolve.resolve(question, resolver=request.resolver, pip=site.pip)
        stage.result = f"{len(resolution.lock.distributions)} distributions"
    _refuse_unknown_extras(site, resolution)
    return resolution.lock


def _refuse_unknown_extras(site: Site, resolution: resolve.Resolution) -> None:
    """An extra that does not exist is an error with the names that do: resolvers only warn."""
    unknown = {name for name, _ in resolution.unknown_extras}
    dists = tuple(dist for dist in resolution.lock.distributions if dist.name in unknown and dist.extras)
    if not dists:
        return
    part = replace(resolution.lock, distributions=dists)
    facts = {wheel.locked.name: wheel.facts for wheel in _fetch(site, part)}
    findings = complete.extras(part, facts)
    asked = {req.name: req.origin for req in (site.wanted or requirements.NOTHING).requirements}
    for finding in findings:
        origin = asked.get(finding.subject.partition("[")[0])
        if origin:
            raise InputError(f"{origin}: {finding.cause}", hint=finding.remedy)


def _kitchen(site: Site) -> fetch.Kitchen:
    return fetch.Kitchen(
        store=site.store,
        interpreter=site.interpreter,
        target=site.target,
        environment=site.environment,
        pip=site.pip,
        settings=site.settings,
        requirements=site.wanted,
        scratch=site.scratch,
        no_build=site.request.no_build,
        progress=site.progress,
    )


def _fetch(site: Site, lock: Lock) -> tuple[StoredWheel, ...]:
    with site.progress.stage("fetch") as stage:
        wheels = fetch.fetch(lock, _kitchen(site))
        built = sum(1 for wheel in wheels if wheel.built_from)
        stage.result = f"{len(wheels)} wheels" + (f", {built} of them built from source" if built else "")
    return wheels


def _install(
    site: Site, request: CreateRequest, lock: Lock, wheels: tuple[StoredWheel, ...], work: Workspace
) -> tuple[StoredWheel, ...]:
    """Assemble the tree; a store entry that turns out to be damaged is made again, once.

    :returns: the wheels that were installed.
    """
    with site.progress.stage("install") as stage:
        site.baseline.result()
        count = sum(len(wheel.facts.files) for wheel in wheels)
        with site.progress.bar("install", total=count, unit="files") as advance:
            assemble = functools.partial(
                install.install,
                prefix=work.bundle,
                site_packages=site.target.site_packages,
                link_mode=request.link_mode,
                progress=advance,
            )
            try:
                tree = assemble(wheels)
            except DamagedEntryError as error:
                site.progress.note(f"{error.message}; it is made again")
                site.store.drop(error.entry)
                workspace.empty(work.bundle)
                wheels = fetch.fetch(lock, _kitchen(site))
                tree = assemble(wheels)
        environment.join(site.environment, work.bundle / site.target.site_packages)
        stage.result = f"{len(tree.files)} files"
    return wheels


def _verify(
    site: Site,
    request: CreateRequest,
    lock: Lock,
    wheels: tuple[StoredWheel, ...],
    work: Workspace,
    *,
    held: tuple[str, ...],
) -> proof.Verdict:
    with site.progress.stage("verify") as stage:
        verdict = proof.verify(
            proof.Case(
                prefix=work.bundle,
                environment=site.environment,
                lock=lock,
                wheels=wheels,
                target=site.target,
                interpreter=site.interpreter,
                policy=request.policy,
                baseline=site.baseline.result(),
                isolation=Isolation(variables=held, pip_settings=site.settings.ignored),
                pip=site.pip,
                scratch=site.scratch,
            )
        )
        stage.result = f"{len(verdict.checks)} checks, {len(verdict.evidence.modules)} modules imported"
    if unused := policy.unused(request.policy, verdict.findings):
        words = ", ".join(policy.spelled(ignore) for ignore in unused)
        site.progress.note(f"no finding is what --ignore says: {words}")
    if policy.stops(request.policy, verdict.findings):
        raise ProofError(verdict.findings)
    return verdict


def _emit(
    site: Site,
    request: CreateRequest,
    lock: Lock,
    *,
    wheels: tuple[StoredWheel, ...],
    verdict: proof.Verdict,
    work: Workspace,
) -> Manifest:
    with site.progress.stage("emit") as stage:
        manifest = emit.emit(
            emit.Proved(
                target=site.target,
                interpreter=site.interpreter,
                lock=lock,
                wheels=wheels,
                files=verdict.files,
                checks=verdict.checks,
                findings=verdict.findings,
                evidence=verdict.evidence,
                assumed_libraries=request.policy.assumed_libraries,
            ),
            bundle=work.bundle,
            output=request.output,
            force=request.force,
        )
        stage.result = str(request.output)
    return manifest


def _only_a_file_tells(dist: LockedDistribution) -> bool:
    return dist.artifact.kind in {"vcs", "directory"} or dist.artifact.sha256 is None
