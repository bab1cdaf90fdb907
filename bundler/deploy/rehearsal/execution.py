"""Runs a deployment: on the builder in a root file system of its own, or in a container of an engine."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bundler.deploy import bases
from bundler.deploy.rehearsal import layout
from bundler.deploy.rehearsal.servers import ServerEnvironment
from bundler.errors import CommandError, InputError, MachineError
from bundler.lazy_dataclass import dataclass
from bundler.model import Interpreter, RoomLimits
from bundler.ontarget import run_service
from bundler.system import process, room
from bundler.system import scratch as scratch_folders

if TYPE_CHECKING:
    from bundler.deploy.rehearsal.layout import Deployment

Engine = Literal["podman", "docker"]
SCRIPT = "/opt/envbundle/rehearsal.py"
CALLERS = ("HOME", "PATH", "XDG_", "DBUS_SESSION_BUS_ADDRESS", "CONTAINERS_", "DOCKER_", "REGISTRY_AUTH_FILE")
"""The variables by which an engine finds its images and settings begin with one of these."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run of a deployment gave."""

    result: dict[str, Any]
    """The result of `ontarget/run_service.py`."""
    isolation: tuple[str, ...]
    """The kinds of isolation that were in force."""
    log: str
    """What the server printed."""


def on_builder(
    deployment: Deployment,
    *,
    server: ServerEnvironment,
    interpreter: Interpreter,
    store: Path,
    limits: RoomLimits,
) -> Outcome:
    """Run a deployment with the builder's interpreter, isolated as far as the machine allows.

    :param store: the service does not see it, wherever it is.
    :raises MachineError: there was no result, or the server could not be started.
    """
    container = layout.in_container(deployment)
    mounts = {**container.mounts, container.conda: server.prefix, SCRIPT: Path(run_service.__file__)}
    command = [str(interpreter.executable), "-I", "-S"]
    with scratch_folders.folder() as folder:
        done = room.run(
            room.Room(show=mounts | room.interpreter_at_home(interpreter), cover=[store], limits=limits),
            [*command, SCRIPT, "inside"],
            in_place=[*command, run_service.__file__, "in_place"],
            scratch=Path(folder),
            stdin=deployment.job(
                container.entry, inside=container.settings, in_place=layout.in_place(deployment, server)
            ),
            timeout=_limit(deployment),
            check=False,
        )
    result = _result(done)
    if result["machine"]:
        damaged = "the server's environment is damaged: `envbundle cache prune --all` removes it"
        hint = "choose another port with --port" if result["exit_code"] is None else damaged
        raise MachineError(f"the rehearsal could not start: {result['reason']}", hint=hint)
    return Outcome(result=result, isolation=done.isolation, log=done.stderr)


def _limit(deployment: Deployment) -> float:
    """Return the seconds after which a run is killed; `run_service.py` keeps the time of each step."""
    return 2 * deployment.timeout + 200


def in_container(
    deployment: Deployment, *, engine: Engine, base: str, python: str | None, environ: Mapping[str, str]
) -> Outcome:
    """Run a deployment in a container of an image, with the image's own Python and server.

    :param python: path in the image; by default that of its conda environment, or the first on its PATH.
    :raises InputError: `base` is no name of an image, or a path cannot be given to the engine.
    :raises MachineError: there is no such engine or image, or the image has no server.
    """
    bases.check_reference(base)  # every user of the machine can read the engine's command line
    env = {name: value for name, value in environ.items() if name.startswith(CALLERS)}
    user = _user(engine, base, env)
    container = layout.in_container(deployment)
    image = deployment.image
    conda = image.conda.prefix if image and image.conda else ""
    words = ["--interactive", "--network", "none", "--read-only", "--tmpfs", "/tmp"]  # noqa: S108 - the container's
    words += ["--security-opt", "label=disable", "--security-opt", "no-new-privileges", "--cap-drop", "all"]
    words += [] if user else ["--user", f"{room.NOBODY}:{room.NOBODY}"]
    for path, source in {**container.mounts, SCRIPT: Path(run_service.__file__)}.items():
        words += ["--mount", _mount(source, path)]
    words += ["--entrypoint", python or (f"{conda}/bin/python" if conda else "python")]
    with _removed(engine, env) as name:
        done = process.run(
            [engine, "run", "--rm", "--name", name, *words, base, "-I", SCRIPT, "inside"],
            env=env,
            stdin=deployment.job(container.entry, inside={**container.settings, "conda": conda}),
            timeout=_limit(deployment),
            check=False,
        )
    result = _result(done)
    if result["machine"]:
        raise MachineError(
            f"the rehearsal could not start in {base}: {result['reason']}",
            hint="name an image with Azure ML's inference server, and its Python with --python",
        )
    held = ("moved", "no-network", "other-user", "own-processes", "own-root", "read-only")
    return Outcome(result=result, isolation=held, log=done.stderr)


def _user(engine: Engine, base: str, env: Mapping[str, str]) -> str:
    """Return the image's user; empty where that is root."""
    try:
        found = process.run([engine, "image", "inspect", "--format", "{{.Config.User}}", base], env=env)
    except CommandError as error:
        if error.returncode is None:
            raise MachineError(
                f"{engine} cannot be started", hint=f"install {engine}, or leave --engine out"
            ) from error
        raise MachineError(
            f"{engine} has no image {base}: {_last(error.stderr)}", hint=f"fetch it: {engine} pull {base}"
        ) from error
    user = found.stdout.strip()
    return "" if user.partition(":")[0] in {"", "root", "0"} else user


def _mount(source: Path, path: str) -> str:
    if set(f"{source}{path}") & set(',"\n'):
        raise InputError(
            f"{source} cannot be mounted: its name has a comma, a quote or a line break",
            hint="rename it, or leave --engine out",
        )
    return f"type=bind,source={source},destination={path},readonly"


@contextlib.contextmanager
def _removed(engine: Engine, env: Mapping[str, str]) -> Iterator[str]:
    """Give a name for a container, and remove the container of that name if the run fails."""
    name = f"envbundle-rehearsal-{secrets.token_hex(8)}"
    try:
        yield name
    except BaseException:
        # When the engine's client is killed, its container goes on.
        with contextlib.suppress(CommandError):
            # Kill it at once: the first process of a container ignores SIGTERM.
            process.run([engine, "kill", name], env=env, timeout=60, cleanup=True)
            process.run([engine, "rm", "--force", name], env=env, timeout=60, cleanup=True)
        raise


def _result(done: process.Completed) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise MachineError(
            f"the rehearsal gave no result (exit code {done.returncode}): {_last(done.stderr)}",
            hint="see to the machine, then run it again; `envbundle -vv rehearse` shows what was run",
        ) from error
    return result


def _last(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")
