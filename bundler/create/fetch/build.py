"""Builds wheels from sdists, repositories and local projects: by pip, in isolation, for the target."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

from bundler.create import build_advice, git_access
from bundler.create.fetch import build_room
from bundler.create.fetch.context import FetchContext
from bundler.errors import CommandError, MachineError
from bundler.model import Artifact, Interpreter, LockedDistribution, Target
from bundler.system import files, redact
from bundler.wheels.store import Store

EPOCH = "315532800"
"""1980-01-01, the earliest time that a zip member can have."""


def key(artifact: Artifact, *, interpreter: Interpreter, target: Target) -> str | None:
    """Return the key of a built wheel: source, interpreter, target; `None` for a project: it may change."""
    if artifact.kind == "directory":
        return None
    source = artifact.sha256 or (f"{artifact.url}@{artifact.commit}" if artifact.commit else None)
    if source is None:
        return None
    parts = (source, artifact.subdirectory or "", interpreter.version, interpreter.abi)
    # The builder's glibc decides what the wheel needs, the target's what it was chosen for.
    libc = (interpreter.machine, interpreter.glibc, f"{target.glibc[0]}.{target.glibc[1]}")
    return hashlib.sha256("\n".join((*parts, *libc)).encode()).hexdigest()


def build(dist: LockedDistribution, source: Path | None, context: FetchContext) -> Path:
    """Build one wheel with the target's interpreter, keep it in the store and return where.

    :param source: the sdist's file, already checked against its hash; `None` for the other kinds.
    :raises MachineError: the build failed; says the last meaningful lines, the log and a remedy.
    """
    store = context.store
    with store.incoming() as folder:
        try:
            wheel = build_room.build(
                dist,
                source,
                context=context,
                folder=folder,
                variables=_build_variables(),
                git=git_access.variables(context.requirements),
            )
        except CommandError as error:
            raise _failed(dist, error, store=store) from error
        stored = store.add_file(wheel, filename=wheel.name, sha256=files.digest(wheel))
    if built_key := key(dist.artifact, interpreter=context.interpreter, target=context.target):
        store.remember_built(built_key, stored)
    return stored


def _build_variables() -> dict[str, str]:
    """Return variables that keep traces of the builder out of a wheel.

    A pyenv or conda interpreter tells distutils to link with `-Wl,-rpath,PREFIX/lib`; LDSHARED says
    it without. Debug information would name the folder of the build.
    """
    compiler = next((name for name in ("gcc", "cc", "clang") if shutil.which(name)), "cc")
    return {
        "SOURCE_DATE_EPOCH": EPOCH,
        "LDSHARED": f"{compiler} -pthread -shared",
        "CFLAGS": "-g0",
    }


def _failed(dist: LockedDistribution, error: CommandError, *, store: Store) -> MachineError:
    output = redact.text(f"{error.stdout}\n{error.stderr}")
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", f"{dist.name}-{dist.version}")
    log = store.root / "logs" / f"build-{safe}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(output, encoding="utf-8")
    lines = "\n".join(f"  {line}" for line in build_advice.last_meaningful_lines(output))
    version = f" {dist.version}" if dist.version else ""
    return MachineError(
        f"{dist.name}{version} has no wheel for the target, and building it from source failed:\n"
        f"{lines}\n  full log: {log}",
        hint=build_advice.advice(output),
    )
