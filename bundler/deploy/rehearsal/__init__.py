"""Plays a deployment on the builder: the image's start script and server, with the bundle as they see it.

bundle, entry script → scene → server from the store → isolated: start, liveness, a request, stop → report
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.bundle import manifest
from bundler.deploy.rehearsal import execution, server_log, servers
from bundler.deploy.rehearsal import layout as scene
from bundler.errors import InputError
from bundler.model import IndexSettings
from bundler.ontarget import isolate
from bundler.targets import catalogue, interpreters, target
from bundler.wheels.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundler.bundle.manifest import Manifest
    from bundler.deploy.rehearsal.execution import Engine
    from bundler.deploy.rehearsal.layout import Layout
    from bundler.deploy.rehearsal.servers import Server
    from bundler.model import Interpreter
    from bundler.system.progress import Progress
    from bundler.targets.image import Image

PORT = 31311
"""Of the server in the images; a web server in front of it listens on 5001."""
TIMEOUT = 120.0
FULL = {
    "moved": "the code folder stands at its own path, among the builder's files",
    "no-network": "the builder's network is in reach",
    "other-user": "it runs with the rights of the caller",
    "own-processes": "other processes are in sight",
    "read-only": "files can be written",
}
"""What can be in force, and what it means that it is not."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the caller wants played."""

    bundle: Path
    entry: Path
    code: Path | None = None
    """The folder that is uploaded; by default that of the entry script."""
    request: Path | None = None
    """A file with the body of a request to `/score`."""
    model: Path | None = None
    layout: Layout = "v1"
    lib_path: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    image: str | None = None
    """Name of a profile, or a file that a probe wrote."""
    server: str | None = None
    """Version of the server; by default the image's, or the last for this Python."""
    python: str | None = None
    """Version or path here; with an engine, a path in the image."""
    engine: Engine | None = None
    base: str | None = None
    """The engine's image."""
    port: int = PORT
    timeout: float = TIMEOUT
    """Seconds until it must be healthy, and again for the answer."""
    index: IndexSettings = field(default_factory=IndexSettings)
    """Where the server comes from, the first time."""
    python_downloads: bool = True
    cache_dir: Path


@dataclass(frozen=True, kw_only=True)
class Report:
    """How it went."""

    step: str
    """How far it came: `start`, `boot`, `score` or `done`."""
    reason: str
    """Why no further; empty: it went to the end."""
    exit_code: int | None
    """Of the start script or of the server, where one of them ended."""
    python: str
    """Full version."""
    where: str
    """The interpreter that stood in for the image's, or the image itself."""
    server: str
    entry: str
    pythonpath: str
    isolation: tuple[str, ...]
    liveness: str = ""
    """What `GET /` answered."""
    start_seconds: float | None = None
    status: int | None = None
    content_type: str = ""
    answer: str = ""
    score_seconds: float | None = None
    stopped: bool | None = None
    """Whether the server ended when it was told to; `None`: there was none."""
    log: Path | None = None
    """The whole log of a failure."""
    lines: tuple[str, ...] = ()
    """Of the log, those that tell what happened."""

    @property
    def ok(self) -> bool:
        """Whether the service came up, and answered where it was asked."""
        return self.step == "done"

    @property
    def not_isolated(self) -> tuple[str, ...]:
        """What the machine refused."""
        return tuple(sorted(FULL.keys() - set(self.isolation)))


def rehearse(request: Request, *, progress: Progress, environ: Mapping[str, str]) -> Report:
    """Start the service as an image would, ask it, stop it.

    :raises InputError: there is no such bundle, entry script, request or server.
    :raises MachineError: the server cannot be had, or the machine stands in the way.
    """
    target.require_supported_machine()
    bundle = Path(os.path.abspath(request.bundle))  # noqa: PTH100 - symlinks stay
    if not bundle.is_dir():
        raise InputError(f"{bundle} is not a bundle's folder", hint="name the folder that `create` made")
    described = manifest.read(bundle)
    entry, code, model = scene.find(
        bundle=bundle, entry=request.entry, code=request.code, model=request.model
    )
    body = _body(request.request)
    image = catalogue.load(request.image) if request.image else None
    _require_fit(described, image)
    props = scene.Props(
        bundle=bundle,
        site_packages=described.environment["PYTHONPATH"],
        entry=entry,
        code=code,
        model=model,
        layout=request.layout,
        lib_path=request.lib_path,
        image=image,
    )
    act = execution.Act(variables=request.variables, request=body, port=request.port, timeout=request.timeout)
    if request.engine is not None and request.base is not None:
        with progress.stage("rehearse") as stage:
            played = execution.in_container(
                props, act, engine=request.engine, base=request.base, python=request.python, environ=environ
            )
            stage.result = played.said["reason"] or "served"
        return _report(played, where=request.base, version=None, entry=entry.relative_to(code))
    interpreter, server = _stand_in(request, described, image, progress=progress, environ=environ)
    with progress.stage("rehearse") as stage:
        played = execution.here(props, act, server=server, interpreter=interpreter)
        stage.result = played.said["reason"] or "served"
    for line in played.log.splitlines():
        if line.startswith(isolate.REFUSED):
            progress.note(line)
    return _report(
        played, where=str(interpreter.executable), version=server.version, entry=entry.relative_to(code)
    )


def _require_fit(described: Manifest, image: Image | None) -> None:
    minor = _minor(described)
    if image is not None and catalogue.python_of(image) not in {None, minor}:
        raise InputError(
            f"the bundle is for Python {minor}, the image {image.name} has {catalogue.python_of(image)}",
            hint="make a bundle for this image, or name one of the bundle's Python",
        )


def _minor(described: Manifest) -> str:
    return ".".join(described.target.python.split(".")[:2])


def _stand_in(
    request: Request,
    described: Manifest,
    image: Image | None,
    *,
    progress: Progress,
    environ: Mapping[str, str],
) -> tuple[Interpreter, Server]:
    """Find the image's Python and give the environment that stands for the image."""
    store = Store(request.cache_dir)
    with progress.stage("target") as stage:
        interpreter = interpreters.find(
            request.python or _minor(described),
            cache_dir=store.probes,
            managed_dir=store.python,
            allow_download=request.python_downloads,
            announce=progress.note,
            environ=environ,
        )
        stage.result = f"CPython {interpreter.version} ({interpreter.origin})"
    version = servers.version_for(interpreter, asked=request.server, image=image)
    with progress.stage("server") as stage:
        stand_in = servers.obtain(
            version,
            interpreter=interpreter,
            glibc=described.target.glibc,
            beside=described.relies_on,
            index=request.index,
            store=store,
            python_downloads=request.python_downloads,
            progress=progress,
            environ=environ,
        )
        stage.result = f"{servers.NAME} {version}"
    return interpreter, stand_in


def _body(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"{path}: {reason}", hint="name a JSON file with --request") from error


def _report(played: execution.Played, *, where: str, version: str | None, entry: Path) -> Report:
    said = played.said
    failed = said["step"] != "done"
    reason = said["reason"]
    if failed and said["step"] != "start" and (cause := server_log.cause(played.log)):
        reason = f"{reason}: {cause}"
    return Report(
        step=said["step"],
        reason=reason,
        exit_code=said["exit_code"],
        python=said.get("python", ""),
        where=where,
        server=said.get("server") or version or "",
        entry=entry.as_posix(),
        pythonpath=said.get("pythonpath", ""),
        isolation=played.isolation,
        liveness=said.get("liveness", ""),
        start_seconds=said.get("start_seconds"),
        status=said.get("status"),
        content_type=said.get("content_type", ""),
        answer=said.get("answer", ""),
        score_seconds=said.get("score_seconds"),
        stopped=said.get("stopped"),
        log=_keep(played.log) if failed and played.log.strip() else None,
        lines=server_log.meaningful(played.log) if failed and said["step"] != "start" else (),
    )


def _keep(text: str) -> Path:
    descriptor, name = tempfile.mkstemp(prefix="envbundle-rehearsal-", suffix=".log")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return Path(name)
