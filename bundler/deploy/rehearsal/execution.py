"""Runs a deployment: in a root file system of its own here, or in a container of an engine."""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bundler.deploy.rehearsal import layout
from bundler.errors import CommandError, InputError, MachineError
from bundler.ontarget import isolate, play
from bundler.system import process

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bundler.deploy.rehearsal.layout import Props
    from bundler.deploy.rehearsal.servers import Server
    from bundler.model import Interpreter

Engine = Literal["podman", "docker"]
SCRIPT = "/opt/envbundle/rehearsal.py"
NOBODY = 65534
CALLERS = ("HOME", "PATH", "XDG_", "DBUS_SESSION_BUS_ADDRESS", "CONTAINERS_", "DOCKER_", "REGISTRY_AUTH_FILE")
"""How the names of variables begin by which an engine finds its images and its settings."""


@dataclass(frozen=True, kw_only=True)
class Act:
    """What is asked of a deployment."""

    variables: Mapping[str, str]
    request: str | None
    port: int
    timeout: float

    def job(self, entry: str, **places: dict[str, Any]) -> str:
        """Return the job for `ontarget/rehearsal.py`."""
        return json.dumps({**vars(self), "variables": dict(self.variables), "entry": entry, "places": places})

    @property
    def limit(self) -> float:
        """A second line, in seconds: the rehearsal itself keeps the time of each of its steps."""
        return 2 * self.timeout + 200


@dataclass(frozen=True, kw_only=True)
class Played:
    """How it went."""

    said: dict[str, Any]
    isolation: tuple[str, ...]
    log: str


def here(props: Props, act: Act, *, server: Server, interpreter: Interpreter) -> Played:
    """Play it with the builder's interpreter, isolated as far as the machine allows.

    :raises MachineError: it gave no result, or the machine stood in the way.
    """
    set_up = layout.build(props)
    shown = {**set_up.shown, set_up.conda: server.prefix, SCRIPT: Path(play.__file__)}
    command = [str(interpreter.executable), "-I", "-S"]
    plan = {
        "show": [[str(source), path] for path, source in (shown | _interpreter(interpreter)).items()],
        "user": NOBODY,
        "inside": [*command, SCRIPT, "inside"],
        "in_place": [*command, play.__file__, "in_place"],
    }
    with tempfile.TemporaryDirectory(prefix="envbundle-") as folder:
        at, written, report = Path(folder, "root"), Path(folder, "plan.json"), Path(folder, "isolation.json")
        at.mkdir()
        written.write_text(json.dumps(plan), encoding="utf-8")
        done = process.run(
            [
                *(sys.executable, "-I", "-S", isolate.__file__),
                *("--plan", written, "--at", at, "--report", report),
            ],
            env=process.clean_environment(home=Path(folder)),
            stdin=act.job(set_up.entry, inside=set_up.place, in_place=layout.in_place(props, server)),
            timeout=act.limit,
            check=False,
        )
        held = report.read_text(encoding="ascii") if report.is_file() else ""
    said = _result(done)
    if said["machine"]:
        damaged = "the server's environment is damaged: `envbundle cache prune --all` removes it"
        hint = "choose another port with --port" if said["exit_code"] is None else damaged
        raise MachineError(f"the rehearsal could not start: {said['reason']}", hint=hint)
    return Played(said=said, isolation=tuple(json.loads(held)), log=done.stderr)


def _interpreter(interpreter: Interpreter) -> dict[str, Path]:
    """Show the base interpreter where it is: the environment leads to it by absolute paths."""
    wanted = [interpreter.base_prefix, interpreter.executable, *interpreter.stdlib]
    shown: dict[str, Path] = {}
    for path in (*wanted, *(one.resolve() for one in wanted)):
        place = str(path)
        if (
            path.exists()
            and not place.startswith(("/usr/", *(f"{one}/" for one in shown)))
            and place != "/usr"
        ):
            shown.setdefault(place, path)
    return shown


def in_container(
    props: Props, act: Act, *, engine: Engine, base: str, python: str | None, environ: Mapping[str, str]
) -> Played:
    """Play it in a container of an image, with the image's own Python and server.

    :param python: of the image; by default the one of its conda environment, or the first on its PATH.
    :raises InputError: a path cannot be given to the engine.
    :raises MachineError: there is no such engine or image, or the image has no server.
    """
    env = {name: value for name, value in environ.items() if name.startswith(CALLERS)}
    user = _user(engine, base, env)
    set_up = layout.build(props)
    conda = props.image.conda.prefix if props.image and props.image.conda else ""
    words = ["--interactive", "--network", "none", "--read-only", "--tmpfs", "/tmp"]  # noqa: S108 - the container's
    words += ["--security-opt", "label=disable", "--security-opt", "no-new-privileges", "--cap-drop", "all"]
    words += [] if user else ["--user", f"{NOBODY}:{NOBODY}"]
    for path, source in {**set_up.shown, SCRIPT: Path(play.__file__)}.items():
        words += ["--mount", _mount(source, path)]
    words += ["--entrypoint", python or (f"{conda}/bin/python" if conda else "python")]
    with _removed(engine, env) as name:
        done = process.run(
            [engine, "run", "--rm", "--name", name, *words, base, "-I", SCRIPT, "inside"],
            env=env,
            stdin=act.job(set_up.entry, inside={**set_up.place, "conda": conda}),
            timeout=act.limit,
            check=False,
        )
    said = _result(done)
    if said["machine"]:
        raise MachineError(
            f"the rehearsal could not start in {base}: {said['reason']}",
            hint="name an image with Azure ML's inference server, and its Python with --python",
        )
    held = ("moved", "no-network", "other-user", "own-processes", "read-only")
    return Played(said=said, isolation=held, log=done.stderr)


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
    """Give a name for a container; whatever happens, none of that name is left."""
    name = f"envbundle-rehearsal-{secrets.token_hex(8)}"
    try:
        yield name
    except BaseException:
        # The engine's client can be killed without its container.
        with contextlib.suppress(CommandError):
            # Without its last breath: a first process takes no notice of being asked to end.
            process.run([engine, "kill", name], env=env, timeout=60, tidying=True)
            process.run([engine, "rm", "--force", name], env=env, timeout=60, tidying=True)
        raise


def _result(done: process.Completed) -> dict[str, Any]:
    try:
        said: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise MachineError(
            f"the rehearsal gave no result (exit code {done.returncode}): {_last(done.stderr)}",
            hint="see to the machine, then run it again; `envbundle -vv rehearse` shows what was run",
        ) from error
    return said


def _last(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing")
