"""What `envbundle rehearse` does: run a deployment on the builder by the rules of the image's start script.

Find the files, make the server's environment (or take the image of an engine), start the server isolated, ask
its liveness route, send a request, stop it, report.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.bundle import manifest
from bundler.bundle.manifest import Manifest
from bundler.checks.imports import service_code
from bundler.deploy.rehearsal import execution, layout, server_log, servers
from bundler.deploy.rehearsal.servers import ServerEnvironment
from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.model import IndexSettings, Interpreter, RoomLimits
from bundler.ontarget import isolate
from bundler.system.progress import Progress
from bundler.targets import catalogue, interpreters, target
from bundler.targets.image import Image
from bundler.wheels.store import Store

if TYPE_CHECKING:
    from bundler.deploy.rehearsal.execution import Engine, Outcome
    from bundler.deploy.rehearsal.layout import CodeLayout

PORT = 31311
"""The port of the server in the images; a web server in front of it listens on 5001."""
TIMEOUT = 120.0
FULL = {
    "moved": "the code folder stands at its own path, among the builder's files",
    "no-network": "the builder's network is in reach",
    "other-user": "it runs with the rights of the caller",
    "own-processes": "other processes are in sight",
    "own-root": "the caller's other files are in sight",
    "read-only": "files can be written",
}
"""Each kind of isolation, and what holds where the machine refuses it."""


@dataclass(frozen=True, kw_only=True)
class RehearseRequest:
    """The arguments of `envbundle rehearse`."""

    bundle: Path
    entry: Path
    code: Path | None = None
    """The folder that is uploaded; by default that of the entry script."""
    request: Path | None = None
    """A file with the body of a request to `/score`."""
    model: Path | None = None
    layout: CodeLayout = "v1"
    lib_path: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    image: str | None = None
    """Its profile: a name in the catalogue, or a file that a probe wrote."""
    server: str | None = None
    """Version of the server; by default the image's, or the last for this Python."""
    python: str | None = None
    """A version or a path on the builder; with an engine, a path in the image."""
    engine: Engine | None = None
    base: str | None = None
    """The engine's image."""
    port: int = PORT
    timeout: float = TIMEOUT
    """Seconds until it must be healthy, and again for the answer."""
    limits: RoomLimits = field(default_factory=RoomLimits)
    """Of the service, where no engine runs it."""
    index: IndexSettings = field(default_factory=IndexSettings)
    """Where the server comes from, the first time."""
    python_downloads: bool = True
    cache_dir: Path


@dataclass(frozen=True, kw_only=True)
class RehearseResult:
    """How the deployment ran; the fields are those of `--json`, in order."""

    step: str
    """The last step: `start`, `boot`, `score`, or `done`."""
    reason: str
    """Why it ended there; empty: it is done."""
    exit_code: int | None
    """Of the start script or of the server, where one of them ended."""
    python: str
    """Full version."""
    where: str
    """The interpreter on the builder that took the place of the image's, or the engine's image."""
    server: str
    """Version."""
    entry: str
    pythonpath: str
    isolation: tuple[str, ...]
    """The kinds of isolation that were in force."""
    not_isolated: tuple[str, ...]
    """Those that the machine refused."""
    liveness: str
    """The answer of `GET /`."""
    start_seconds: float | None
    status: int | None
    content_type: str
    answer: str
    score_seconds: float | None
    stopped: bool | None
    """Whether the server ended when it was told to; `None`: it never ran."""
    log: Path | None
    """A file with the server's whole output, of a failure."""
    lines: tuple[str, ...]
    """Those lines of the log that say why it failed."""
    missing: tuple[str, ...] = ()
    """Imports of the entry script that neither the bundle nor the server's environment brings, in words."""

    @property
    def ok(self) -> bool:
        """Whether the service became healthy, and answered the request if there was one."""
        return self.step == "done"


def rehearse(request: RehearseRequest, *, progress: Progress, environ: Mapping[str, str]) -> RehearseResult:
    """Start the service as an image would, ask it, stop it.

    :raises InputError: there is no such bundle, entry script, request or server.
    :raises MachineError: the server's environment cannot be made, or the server cannot be started.
    """
    target.require_supported_machine()
    bundle = Path(os.path.abspath(request.bundle))  # noqa: PTH100 - symlinks stay
    if not bundle.is_dir():
        raise InputError(f"{bundle} is not a bundle's folder", hint="name the folder that `create` made")
    described = manifest.read(bundle)
    entry, code, model = layout.find(
        bundle=bundle, entry=request.entry, code=request.code, model=request.model
    )
    body = _body(request.request)
    image = catalogue.load(request.image) if request.image else None
    _require_fit(described, image)
    deployment = layout.Deployment(
        bundle=bundle,
        site_packages=described.environment["PYTHONPATH"],
        entry=entry,
        code=code,
        model=model,
        layout=request.layout,
        lib_path=request.lib_path,
        variables=request.variables,
        image=image,
        body=body,
        port=request.port,
        timeout=request.timeout,
    )
    script = entry.relative_to(code)
    if request.engine is not None and request.base is not None:
        with progress.stage("rehearse") as stage:
            outcome = execution.in_container(
                deployment, engine=request.engine, base=request.base, python=request.python, environ=environ
            )
            stage.result = outcome.result["reason"] or "served"
        return _result(outcome, where=request.base, version="", entry=script)
    interpreter, server = _server(request, described, image, progress=progress, environ=environ)
    missing = _missing_imports(deployment, server=server, interpreter=interpreter)
    for line in missing:
        progress.note(line)
    with progress.stage("rehearse") as stage:
        outcome = execution.on_builder(
            deployment,
            server=server,
            interpreter=interpreter,
            store=Store(request.cache_dir).root,
            limits=request.limits,
        )
        stage.result = outcome.result["reason"] or "served"
    for line in outcome.log.splitlines():
        if line.startswith(isolate.REFUSED):
            progress.note(line)
    result = _result(outcome, where=str(interpreter.executable), version=server.version, entry=script)
    return replace(result, missing=missing)


def _missing_imports(
    deployment: layout.Deployment, *, server: ServerEnvironment, interpreter: Interpreter
) -> tuple[str, ...]:
    """Name the imports of the entry that lead to nothing. One in a function fails only when called."""
    minor = interpreter.minor
    folders = [
        deployment.bundle / deployment.site_packages,
        server.prefix / "lib" / f"python{minor}" / "site-packages",
    ]
    brought = {path.name.partition(".")[0] for folder in folders for path in folder.iterdir()}
    try:
        imports = service_code.read([deployment.entry], [], python=minor)
    except InputError:
        return ()  # the server says what is wrong with the script
    there = brought | set(interpreter.stdlib_modules)
    return tuple(
        f"{one.where} imports {one.module}, which neither the bundle nor the server's environment brings"
        for one in service_code.needed(imports, there)
        if one.top not in there and not one.own
    )


def _require_fit(described: Manifest, image: Image | None) -> None:
    minor = described.target.minor
    if image is not None and image.minor not in {None, minor}:
        raise InputError(
            f"the bundle is for Python {minor}, the image {image.name} has {image.minor}",
            hint="make a bundle for this image, or name one of the bundle's Python",
        )


def _server(
    request: RehearseRequest,
    described: Manifest,
    image: Image | None,
    *,
    progress: Progress,
    environ: Mapping[str, str],
) -> tuple[Interpreter, ServerEnvironment]:
    """Find the builder's interpreter of the image's version, and make the environment with the server."""
    store = Store(request.cache_dir)
    with progress.stage("target") as stage:
        interpreter = interpreters.find(
            request.python or described.target.minor,
            cache_dir=store.probes,
            managed_dir=store.python,
            allow_download=request.python_downloads,
            announce=progress.note,
            environ=environ,
        )
        stage.result = f"CPython {interpreter.version} ({interpreter.origin})"
    version = servers.version_for(interpreter, asked=request.server, image=image)
    with progress.stage("server") as stage:
        server = servers.obtain(
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
    return interpreter, server


def _body(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"{path}: {reason}", hint="name a JSON file with --request") from error


def _result(outcome: Outcome, *, where: str, version: str, entry: Path) -> RehearseResult:
    said = outcome.result
    step, reason = said["step"], said["reason"]
    failed, served = step != "done", step != "start"
    if failed and served and (cause := server_log.cause(outcome.log)):
        reason = f"{reason}: {cause}"
    return RehearseResult(
        step=step,
        reason=reason,
        exit_code=said["exit_code"],
        python=said.get("python", ""),
        where=where,
        server=said.get("server") or version,
        entry=entry.as_posix(),
        pythonpath=said.get("pythonpath", ""),
        isolation=outcome.isolation,
        not_isolated=tuple(sorted(FULL.keys() - set(outcome.isolation))),
        liveness=said.get("liveness", ""),
        start_seconds=said.get("start_seconds"),
        status=said.get("status"),
        content_type=said.get("content_type", ""),
        answer=said.get("answer", ""),
        score_seconds=said.get("score_seconds"),
        stopped=said.get("stopped"),
        log=_write_log(outcome.log) if failed and outcome.log.strip() else None,
        lines=server_log.meaningful(outcome.log) if failed and served else (),
    )


def _write_log(text: str) -> Path:
    descriptor, name = tempfile.mkstemp(prefix="envbundle-rehearsal-", suffix=".log")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return Path(name)
