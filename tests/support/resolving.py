"""A small world of distributions on indexes and in a folder, and both resolvers to resolve in it."""

from __future__ import annotations

import functools
import io
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.create import build_tools, environment, fetch, requirements, target_pip
from bundler.create.fetch.context import FetchContext
from bundler.create.fetch.prefetch import Prefetcher
from bundler.create.resolve import Resolution, ResolveRequest, resolve
from bundler.model import IndexSettings
from bundler.system import index_settings
from bundler.system.progress import Progress
from bundler.system.workspace import Workspace
from bundler.targets import interpreters, target
from bundler.wheels.store import Store

from tests.support.index import Index
from tests.support.wheelmaker import make_sdist, make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bundler.create.target_pip import Pip
    from bundler.model import (
        Environment,
        Interpreter,
        Learned,
        Lock,
        LockedDistribution,
        Requirements,
        Resolver,
        Target,
    )


BACKEND = """\
import os, zipfile
def _info(name, version): return '%s-%s.dist-info' % (name, version)
def get_requires_for_build_wheel(c=None): return []
def _metadata():
    return open('PKG-INFO').read()
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    head = dict(line.split(': ', 1) for line in _metadata().splitlines() if ': ' in line)
    info = _info(head['Name'].replace('-', '_'), head['Version'])
    os.mkdir(os.path.join(folder, info))
    with open(os.path.join(folder, info, 'METADATA'), 'w') as f: f.write(_metadata())
    return info
"""


HOLED = ">=3.5,!=3.8.*"


def project(name: str, version: str = "1.0", requires: tuple[str, ...] = ()) -> dict[str, str]:
    """The files of a project with its build backend in the tree and static metadata."""
    lines = "".join(f"Requires-Dist: {one}\n" for one in requires)
    return {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\ndependencies = {list(requires)!r}\n',
        "backend.py": BACKEND,
        "PKG-INFO": f"Metadata-Version: 2.2\nName: {name}\nVersion: {version}\n{lines}",
    }


def write_project(folder: Path, files: Mapping[str, str]) -> Path:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def fill(folder: Path) -> None:
    """The world: every distribution that a case below asks for."""
    needs = ["lib<2", "backport; python_version < '3.8'"]
    needs += ["fast-dep; extra == 'fast'", "slow_dep[deep]; extra == 'slow'"]
    make_wheel(folder, "app", requires=needs, extras=["fast", "slow"])
    for version in ("1.0", "1.5", "2.0", "2.1rc1"):
        make_wheel(folder, "lib", version)
    make_wheel(folder, "backport", requires=["lib"])
    make_wheel(folder, "fast-dep")
    make_wheel(folder, "slow-dep", requires=["bottom; extra == 'deep'"], extras=["deep"])
    make_wheel(folder, "bottom")
    make_wheel(folder, "yank", "1.0")
    make_wheel(folder, "yank", "1.1")
    make_wheel(folder, "onlypre", "1.0rc1")
    make_wheel(folder, "conflict", requires=["lib>=2"])
    for tag in (
        "manylinux_2_17_x86_64.manylinux2014_x86_64",
        "manylinux_2_28_x86_64",
        "manylinux_2_34_x86_64",
    ):
        make_wheel(folder, "native", tag=f"cp38-cp38-{tag}")
        make_wheel(folder, "native", tag=f"cp37-cp37m-{tag}")
    make_wheel(folder, "native", tag="cp38-cp38-win_amd64")
    make_wheel(folder, "rare", tag="cp38-cp38-manylinux_2_24_x86_64")
    make_wheel(folder, "rare", "0.9", tag="cp38-cp38-manylinux2010_x86_64")
    make_wheel(folder, "climbing", "1.0", tag="cp38-cp38-manylinux2014_x86_64")
    make_wheel(folder, "climbing", "2.0", tag="cp38-cp38-manylinux_2_28_x86_64")
    make_wheel(folder, "climbing", "3.0", tag="cp38-cp38-manylinux_2_34_x86_64")
    make_wheel(folder, "needs-climbing", requires=["climbing"])
    make_wheel(folder, "toonew", tag="cp38-cp38-manylinux_2_28_x86_64")
    make_wheel(folder, "stable", tag="cp36-abi3-manylinux2014_x86_64")
    make_wheel(folder, "stable", tag="cp311-abi3-manylinux2014_x86_64")
    make_wheel(folder, "snake", "1.0", requires_python=">=3.7")
    make_wheel(folder, "snake", "2.0", requires_python=">=3.9")
    make_wheel(folder, "holed", "1.0")
    make_wheel(folder, "holed", "2.0", requires_python=HOLED)
    make_wheel(folder, "capped", "1.0")
    make_wheel(folder, "capped", "2.0", requires_python=">=2.7,<3.5")
    make_wheel(folder, "needs-holed", requires=["holed", "capped"])
    make_wheel(folder, "legacy", requires=["lib (>=0.5k)"])
    make_wheel(folder, "legacy", "0.9", requires=["lib (>=1.0)"])
    make_wheel(folder, "twice")
    make_sdist(folder, "twice", files=project("twice"))
    make_sdist(folder, "source", files=project("source", requires=("lib<2",)))


@dataclass(frozen=True, kw_only=True)
class World:
    index: Index
    second: Index
    links: Path


@dataclass(frozen=True, kw_only=True)
class Resolvers:
    """Resolves with one resolver, or with both."""

    store: Store
    pips: Path
    folder: Path
    pythons: Mapping[str, Path]
    announced: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    """What began (+) and what ended (-)."""

    def __call__(
        self,
        lines: str,
        *,
        resolver: Resolver,
        settings: IndexSettings,
        version: str = "3.8",
        glibc: str | None = None,
        environ: Mapping[str, str] | None = None,
        exclude_newer: str | None = None,
        no_build: bool = False,
        build_timeout: int = 60,
        on_request: Callable[[str], None] | None = None,
        learned: tuple[Learned, ...] = (),
    ) -> Resolution:
        file = self.folder / "requirements.txt"
        file.write_text(lines)
        wanted = replace(requirements.read(files=[file], environ=environ or {}), learned=learned)
        interpreter = interpreters.probe(self.pythons[version], cache_dir=self.store.probes, origin="given")
        aim = target.for_interpreter(interpreter, glibc=glibc)
        scratch = self.folder / f"scratch-{resolver}"
        scratch.mkdir(exist_ok=True)
        settings = index_settings.merge(settings, wanted.index)
        tool = target_pip.obtain(
            interpreter,
            store=self.store,
            settings=IndexSettings(no_index=True, find_links=(str(self.pips),)),
            glibc=aim.glibc,
            scratch=scratch,
            environ={},
        )
        variables = index_settings.network_variables(settings, scratch=scratch, environ=environ or {})
        request = ResolveRequest(
            requirements=wanted,
            target=aim,
            interpreter=interpreter,
            settings=settings,
            variables=variables,
            scratch=scratch,
            uv_cache=self.folder / "uv",
            learn=self._learn(interpreter, aim, settings, wanted, tool, scratch, build_timeout),
            exclude_newer=exclude_newer,
            no_build=no_build,
            began=lambda what: self.done.append(f"+{what}"),
            ended=lambda what: self.done.append(f"-{what}"),
            announce=self.announced.append,
            on_request=on_request,
        )
        return resolve(request, resolver=resolver, pip=replace(tool, settings=settings, variables=variables))

    def _learn(
        self,
        interpreter: Interpreter,
        aim: Target,
        settings: IndexSettings,
        wanted: Requirements,
        pip: Pip,
        scratch: Path,
        build_timeout: int,
    ) -> Callable[[LockedDistribution, Path | None], Learned]:
        """Builds in rooms, as a run does; what was learned is kept for the test."""

        @functools.cache
        def posing() -> Environment:
            shutil.rmtree(scratch / "env", ignore_errors=True)
            work = Workspace(environment=scratch / "env", bundle=scratch / "bundle", scratch=scratch)
            return environment.create(interpreter, aim, work, self.store.root / "virtualenv")

        store = Store(self.folder / "learned")
        context = FetchContext(
            store=store,
            interpreter=interpreter,
            target=aim,
            environment=posing,
            pip=replace(pip, settings=settings),
            settings=settings,
            requirements=wanted,
            scratch=scratch,
            no_build=False,
            build_tools=build_tools.wheels,
            build_constraints=wanted.build_constraints,
            build_timeout=build_timeout,
            job="",
            progress=Progress(stream=io.StringIO()),
            prefetcher=Prefetcher(store, interpreter, aim, settings, None),
        )
        return functools.partial(fetch.learn, context=context)

    def both(self, lines: str, *, settings: IndexSettings, **options: str) -> Lock:
        """The lock on which both resolvers agree."""
        locks = [
            self(
                lines,
                resolver=resolver,
                settings=settings,
                version=options.get("version", "3.8"),
                glibc=options.get("glibc"),
            ).lock
            for resolver in RESOLVERS
        ]
        assert comparable(locks[0], settings) == comparable(locks[1], settings)
        return locks[0]


def comparable(lock: Lock, settings: IndexSettings) -> Lock:
    """A lock without what only one resolver can know: a project's version (the build tells it to both), and
    which of several indexes served a file."""
    dists = (
        replace(
            dist,
            version="" if dist.artifact.kind == "directory" else dist.version,
            index=None if settings.extra_index_urls else dist.index,
        )
        for dist in lock.distributions
    )
    return replace(lock, distributions=tuple(dists))


RESOLVERS: tuple[Resolver, ...] = ("uv", "pip")


PURE = "py3-none-any.whl"


def by_name(lock: Lock) -> dict[str, LockedDistribution]:
    return {dist.name: dist for dist in lock.distributions}
