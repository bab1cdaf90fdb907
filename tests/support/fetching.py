"""Contexts of a fetch with real tools, locks for it, and sources whose build tells what it sees."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bundler.create import build_tools, environment, target_pip
from bundler.create.fetch.context import FetchContext
from bundler.create.fetch.prefetch import Prefetcher
from bundler.model import Artifact, IndexSettings, Lock, LockedDistribution
from bundler.system.progress import Progress
from bundler.system.workspace import Workspace
from bundler.targets import interpreters, target
from bundler.wheels.store import Store

from tests.support.wheelmaker import sha256

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundler.model import Requirements, StoredWheel

    from tests.support.index import Index


BACKEND = """\
import base64, hashlib, json, os, sys, zipfile
def get_requires_for_build_wheel(config_settings=None):
    return []
def build_wheel(folder, config_settings=None, metadata_directory=None):
    seen = {"environ": dict(os.environ), "python": sys.version_info[:2], "path": sys.path}
    FAIL
    name = "built-1.0-py3-none-any.whl"
    members = {
        "built.py": open("built.py").read(),
        "seen.json": json.dumps(seen) if TELLS else "",
        "built-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: built\\nVersion: 1.0\\n",
        "built-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    rows = ""
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for path, text in members.items():
            archive.writestr(zipfile.ZipInfo(path), text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
            rows += "%s,sha256=%s,\\n" % (path, digest)
        record = "built-1.0.dist-info/RECORD"
        archive.writestr(zipfile.ZipInfo(record), rows + record + ",,\\n")
    return name
"""


def project(*, tells: bool = True, fail: str = "", content: str = "VALUE = 1\n") -> dict[str, str]:
    """A project whose backend writes into the wheel what it saw; `fail` is a statement that it runs."""
    return {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": f"TELLS = {tells}\n{BACKEND.replace('FAIL', fail or 'pass')}",
        "PKG-INFO": "Metadata-Version: 2.1\nName: built\nVersion: 1.0\n",
        "built.py": content,
    }


def seen(wheel: StoredWheel) -> dict[str, Any]:
    """What a build saw."""
    (path,) = wheel.tree.glob("lib/*/site-packages/seen.json")
    saw: dict[str, Any] = json.loads(path.read_text())
    return saw


def builds(caplog: pytest.LogCaptureFixture) -> int:
    """How many builds have begun."""
    return sum("isolate.py" in record.getMessage() for record in caplog.records)


@dataclass(frozen=True, kw_only=True)
class Contexts:
    """Makes contexts of a fetch, all with the same tools."""

    folder: Path
    pips: Path
    tools: Store
    pythons: Mapping[str, Path]
    stack: contextlib.ExitStack
    """Ends what was begun for the contexts."""

    def make(
        self,
        *,
        settings: IndexSettings | None = None,
        version: str = "3.8",
        glibc: str | None = None,
        no_build: bool = False,
        build_network: bool = False,
        build_timeout: int = 60,
        build_constraints: tuple[str, ...] = (),
        job: str = "",
        wanted: Requirements | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> FetchContext:
        interpreter = interpreters.probe(self.pythons[version], cache_dir=self.tools.probes, origin="given")
        aim = target.for_interpreter(interpreter, glibc=glibc)
        count = len(list(self.folder.glob("context-*")))
        scratch = self.folder / f"context-{count}"
        scratch.mkdir()
        tool = target_pip.obtain(
            interpreter,
            store=self.tools,
            settings=IndexSettings(no_index=True, find_links=(str(self.pips),)),
            glibc=aim.glibc,
            scratch=scratch,
            environ=environ or {},
        )
        work = Workspace(environment=scratch / "env", bundle=scratch / "bundle", scratch=scratch)
        made = environment.create(interpreter, aim, work, self.tools.root / "virtualenv")
        settings = settings or IndexSettings(no_index=True)
        store = self.store
        prefetcher = Prefetcher(store, interpreter, aim, settings, None)
        self.stack.enter_context(prefetcher.running())
        return FetchContext(
            store=store,
            interpreter=interpreter,
            target=aim,
            environment=lambda: made,
            pip=replace(tool, settings=settings),
            settings=settings,
            requirements=wanted,
            scratch=scratch,
            no_build=no_build,
            build_tools=build_tools.wheels,
            build_network=build_network,
            build_timeout=build_timeout,
            build_constraints=build_constraints,
            job=job,
            progress=Progress(stream=io.StringIO()),
            prefetcher=prefetcher,
        )

    @property
    def store(self) -> Store:
        """The store of the test, opened anew as another run would."""
        return Store(self.folder / "store")

    def stored(self) -> set[str]:
        """Names of the files that the store shows."""
        return {path.name for path in self.store.files.glob("*/*/*")}


def make_lock(*dists: LockedDistribution) -> Lock:
    return Lock(python_version="3.8.18", machine="x86_64", glibc=(2, 31), distributions=dists)


def at(index: Index, path: Path, **changes: Any) -> LockedDistribution:
    """The distribution of a file that an index serves."""
    artifact = Artifact(
        kind="wheel" if path.suffix == ".whl" else "sdist",
        filename=path.name,
        url=f"{index.url.replace('/simple', '/files')}/{path.name}",
        sha256=sha256(path),
    )
    name, version = path.name.split("-")[:2]
    version = version.removesuffix(".tar.gz")
    return LockedDistribution(name=name, version=version, artifact=replace(artifact, **changes))
