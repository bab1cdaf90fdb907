"""Measures what imports cost: by the target's interpreter, as the image will run it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bundler.checks.imports.evidence import isolated
from bundler.errors import MachineError
from bundler.ontarget import time_imports as ontarget_startup
from bundler.report.pages.startup import ImportTimes, summary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bundler.model import Interpreter

RUNS = 3


def measure(
    prefix: Path, *, site_packages: str, modules: Sequence[str], interpreter: Interpreter, scratch: Path
) -> ImportTimes:
    """Import modules in their order, in one process, several times, and tell what each cost.

    The tree stands read-only at another path and without a network, as far as the machine allows. A first run
    is not counted: it brings the files into memory. The runs that count use the bundle's own bytecode.

    :param site_packages: relative to the prefix.
    :param scratch: a folder outside of the prefix; left empty.
    :raises MachineError: the interpreter died, or gave no times.
    """
    job = {"site_packages": site_packages, "modules": list(modules), "runs": RUNS + 1}
    done = isolated(
        [interpreter.executable, "-I", "-S", ontarget_startup.__file__],
        prefix=prefix,
        scratch=scratch,
        stdin=json.dumps(job),
    )
    try:
        said = json.loads(done.stdout)
    except ValueError as error:
        raise MachineError("the import times could not be read", hint=done.stderr[-400:] or None) from error
    if said["death"]:
        raise MachineError(
            f"the import times could not be measured: the interpreter {said['death']}",
            hint="`envbundle verify` tells which module it is",
        )
    held = set(done.isolation)
    place = [word for name, word in _WORDS if name in held]
    return summary(said["runs"][1:], modules, how=_how(interpreter.version, place))


_WORDS = (
    ("moved", "mounted at another path"),
    ("read-only", "read-only"),
    ("no-network", "without a network"),
)


def _how(version: str, place: Sequence[str]) -> str:
    where = ", ".join(place) or "in place"
    return (
        f"Measured by CPython {version} with -X importtime where this report was made, {where}: every module "
        f"once, in one process, from the bundle's bytecode with files in memory; the median of {RUNS} "
        "runs, after one that is not counted."
    )
