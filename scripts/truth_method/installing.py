"""Installs with the target's own pip what envbundle refused, into a prefix that is then seen as a mount."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from typing import TYPE_CHECKING

from bundler.errors import CommandError
from bundler.system import process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bundler.model import Interpreter

TIMEOUT = 1500.0
PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input")
INSTALL = ("--ignore-installed", "--no-compile", "--no-warn-script-location", "--progress-bar", "off")
POSING = "def manylinux_compatible(major, minor, arch):\n    return (major, minor) <= (2, {})\n"
"""PEP 600: pip takes the wheels that the bare root can load, and not those that only this machine can."""


@dataclass(frozen=True, kw_only=True)
class Installed:
    """What pip left."""

    ok: bool
    said: tuple[str, ...]
    """The end of what it said, where it failed."""


def install(
    requirements: Path,
    into: Path,
    *,
    interpreter: Interpreter,
    glibc: int,
    work: Path,
    env: Mapping[str, str],
) -> Installed:
    """Install a requirements file into the prefix `into`.

    :param glibc: the minor version of the bare root's.
    :param work: where the environments with pip and pip's cache are kept.
    :param env: pip's environment: certificates, proxies, index.
    """
    python = _pip_of(interpreter, work=work, env=env)
    posing = work / f"posing-{glibc}"
    posing.mkdir(exist_ok=True)
    (posing / "_manylinux.py").write_text(POSING.format(glibc), encoding="ascii")
    words = [str(python), *PIP, "install", "--prefix", str(into), *INSTALL, "-r", str(requirements)]
    shutil.rmtree(into, ignore_errors=True)
    surroundings = {**env, "PYTHONPATH": str(posing), "PIP_CACHE_DIR": str(work / "pip-cache")}
    try:
        done = process.run(words, env=surroundings, timeout=TIMEOUT, check=False, cwd=work)
    except CommandError as error:
        return Installed(ok=False, said=(error.message,))
    lines = [line for line in done.stderr.splitlines() if "notice" not in line]
    return Installed(ok=done.returncode == 0, said=() if done.returncode == 0 else tuple(lines[-25:]))


def _pip_of(interpreter: Interpreter, *, work: Path, env: Mapping[str, str]) -> Path:
    """Return the Python of an environment with the newest pip that runs on the target.

    Sets that are judged at the same time share it: the second one waits until it is whole.
    """
    folder = work / "pip" / interpreter.version
    python, whole = folder / "bin" / "python", folder / "whole"
    folder.mkdir(parents=True, exist_ok=True)
    with (work / "pip" / f"{interpreter.version}.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not whole.exists():
            process.run([interpreter.executable, "-m", "venv", "--clear", folder], env=env, timeout=TIMEOUT)
            process.run([str(python), *PIP, "install", "--upgrade", "pip"], env=env, timeout=TIMEOUT)
            whole.touch()
    return python


def tool_words() -> list[str]:
    """Return how this checkout's envbundle is started."""
    return [sys.executable, "-m", "bundler"]
