"""Makes the environment that takes the place of the image's, with its Python and inference server.

The store keeps it; nothing of it gets into a bundle. The server: https://github.com/microsoft/azureml-inference-server
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from bundler.bundle import lock as locks
from bundler.create import pipeline
from bundler.create.request import LockRequest
from bundler.errors import InputError, MachineError
from bundler.lazy_dataclass import dataclass
from bundler.model import IndexSettings, Interpreter
from bundler.system.progress import Progress
from bundler.system.workspace import Workspace
from bundler.targets import catalogue
from bundler.targets.image import Image
from bundler.wheels import launchers
from bundler.wheels.store import Store, inode

NAME = "azureml-inference-server-http"
PROGRAM = "azmlinfsrv"
SCHEMA = 1
CONDA = "/opt/miniconda/envs/amlenv"
"""The folder of this environment in the prebuilt images, and in the rehearsal."""


@dataclass(frozen=True, kw_only=True)
class ServerEnvironment:
    """A virtualenv with the server."""

    prefix: Path
    version: str
    """Of the server."""


def version_for(interpreter: Interpreter, *, asked: str | None, image: Image | None) -> str:
    """Return the server's version: `asked`, else the image's, else the last that this Python can run.

    :raises InputError: `asked` is not a version, or the image has another server.
    """
    if asked is not None:
        try:
            return str(Version(asked))
        except InvalidVersion:
            raise InputError(
                f"{asked!r} is no version of {NAME}", hint="say it as in --server 1.3.4"
            ) from None
    if image is not None and image.server is not None:
        if image.server.name != NAME:
            raise InputError(
                f"the image {image.name} has the server {image.server.name}, and only {NAME} can be rehearsed"
            )
        if image.server.version is not None:
            return image.server.version
    fitting = [
        release.version
        for release in catalogue.releases(NAME)
        if SpecifierSet(release.requires_python).contains(interpreter.version)
    ]
    return max(fitting, key=Version)


def obtain(
    version: str,
    *,
    interpreter: Interpreter,
    glibc: str,
    beside: Mapping[str, str],
    index: IndexSettings,
    store: Store,
    python_downloads: bool,
    progress: Progress,
    environ: Mapping[str, str],
) -> ServerEnvironment:
    """Return an environment with this server; if the store has none, resolve, fetch and install it.

    :param glibc: of the image; it decides which wheels fit.
    :param beside: name → version of further distributions that the image has.
    :raises InputError: there is no such server for this Python.
    :raises MachineError: the index is out of reach, or the store cannot be written.
    """
    wanted = (f"{NAME}=={version}", *(f"{name}=={one}" for name, one in sorted(beside.items())))
    prefix = store.servers / _key(wanted, interpreter=interpreter, glibc=glibc, index=index)
    seen = inode(prefix)
    if not (prefix / "bin" / PROGRAM).is_file():
        request = LockRequest(
            arguments=wanted,
            python=str(interpreter.executable),
            glibc=glibc,
            index=index,
            python_downloads=python_downloads,
            cache_dir=store.root.parent,
        )
        if seen is not None:
            store.drop(prefix, seen=seen)
        with store.incoming() as folder:
            made = _make(request, folder, interpreter=interpreter, progress=progress, environ=environ)
            store.servers.mkdir(parents=True, exist_ok=True)
            try:
                made.rename(prefix)
            except OSError:
                # Another run may have made the same environment meanwhile.
                if not (prefix / "bin" / PROGRAM).is_file():
                    raise
    with contextlib.suppress(OSError):
        os.utime(prefix)  # `prune` goes by it
    return ServerEnvironment(prefix=prefix, version=version)


def _key(wanted: tuple[str, ...], *, interpreter: Interpreter, glibc: str, index: IndexSettings) -> str:
    """Return a folder name made of all that decides the environment's lock: locking needs the index."""
    sources = (index.index_url, index.extra_index_urls, index.find_links, index.no_index)
    identity = [SCHEMA, wanted, str(interpreter.executable), interpreter.version, glibc, sources]
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:32]


def _make(
    request: LockRequest,
    folder: Path,
    *,
    interpreter: Interpreter,
    progress: Progress,
    environ: Mapping[str, str],
) -> Path:
    work = Workspace(environment=folder / "env", bundle=folder / "server", scratch=folder / "scratch")
    work.bundle.mkdir()
    work.scratch.mkdir(mode=0o700)
    installed = pipeline.install_only(request, work, progress=progress, environ=environ)
    binaries = work.bundle / "bin"
    binaries.mkdir(exist_ok=True)
    site_packages = work.bundle / f"lib/python{interpreter.minor}/site-packages"
    for table in sorted(site_packages.glob("*.dist-info/entry_points.txt")):
        points = launchers.entry_points(table.read_text(encoding="utf-8"), minor=interpreter.minor)
        for script in binaries.iterdir():
            if script.name in points:
                # envbundle's own launchers put their packages before the bundle, which no image does.
                script.write_bytes(launchers.plain(points[script.name], python=f"{CONDA}/bin/python"))
    if not (binaries / PROGRAM).is_file():
        raise MachineError(
            f"{NAME} brings no {PROGRAM}", hint="another server than Azure ML's has this name on the index"
        )
    for name in ("python", "python3", f"python{interpreter.minor}"):
        (binaries / name).symlink_to((work.environment / "bin" / name).readlink())
    settings = work.bundle / "pyvenv.cfg"
    settings.write_bytes((work.environment / "pyvenv.cfg").read_bytes())
    (work.bundle / "pylock.toml").write_text(locks.to_pylock(installed), encoding="utf-8")
    for path in (work.bundle, binaries, settings):
        path.chmod(0o644 if path.is_file() else 0o755)
    return work.bundle
