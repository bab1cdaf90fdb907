"""Measures what imports cost: by the target's interpreter, as the image will run it.

The interpreter writes the times with `-X importtime`: a line a module, written when its import has ended,
with its own microseconds and those with all that it imported first.
https://docs.python.org/3/using/cmdline.html#cmdoption-X
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from bundler.bundle.manifest.values import Manifest
from bundler.checks.imports.evidence import run_isolated
from bundler.errors import MachineError
from bundler.lazy_dataclass import dataclass
from bundler.model import Interpreter
from bundler.ontarget import time_imports

RUNS = 3
SLOWEST = 10
# Modules print to the same stream: a line of theirs may stand before, or anywhere between.
_LINE = re.compile(r"import time: +(\d{1,12}) \| +(\d{1,12}) \| ( *)([\w.]{1,200})[ \t]*$", re.MULTILINE)
_INDENT = 2
_ISOLATION = (
    ("moved", "mounted at another path"),
    ("read-only", "read-only"),
    ("no-network", "without a network"),
)
"""Kinds of isolation, and how the report calls them."""


@dataclass(frozen=True, kw_only=True)
class ImportTime:
    """What importing one module and its submodules cost, in seconds."""

    module: str
    """As the manifest lists it: a top-level module, or the first real package of a namespace."""
    own: float
    """In the module and its submodules themselves."""
    cumulative: float
    """With all that they imported and that nothing had imported before."""


@dataclass(frozen=True, kw_only=True)
class ImportTimes:
    """What importing everything cost."""

    slowest: tuple[ImportTime, ...]
    """By what they cost themselves, at most ten."""
    modules: int
    """How many modules of the bundle were imported."""
    total: float
    """Seconds for all modules, with what they imported of the standard library."""
    standard: float
    """Seconds of this that belong to no module of the bundle."""
    how: str
    """How it was measured, in a sentence for the reader."""


@dataclass(frozen=True, kw_only=True)
class ImportLine:
    """A line that the interpreter wrote, about one module."""

    module: str
    depth: int
    """Number of imports that had begun and not ended."""
    own: float
    cumulative: float


def import_order(manifest: Manifest) -> tuple[str, ...]:
    """Return the proved modules in the order in which a service imports them: what was asked for comes first.

    A module that several import is counted with the first of them.
    """
    asked = {
        content.name.partition(".")[0]
        for dist in manifest.distributions
        if dist.requested
        for content in dist.contents
    }
    modules = manifest.evidence.modules
    first = tuple(one for one in modules if one.partition(".")[0] in asked)
    return (*first, *(one for one in modules if one not in set(first)))


def measure(
    prefix: Path, *, site_packages: str, modules: Sequence[str], interpreter: Interpreter, scratch: Path
) -> ImportTimes:
    """Import modules in their order, in one process, several times, and return what each cost.

    The tree is read-only, at another path and without a network, as far as the machine allows. The first run
    is not counted: it reads the files into memory. The other runs use the bundle's own bytecode.

    :param site_packages: relative to the prefix.
    :param scratch: a folder outside of the prefix; left empty.
    :raises MachineError: the interpreter died, or gave no times.
    """
    job = {"site_packages": site_packages, "modules": list(modules), "runs": RUNS + 1}
    done = run_isolated(
        [interpreter.executable, "-I", "-S", time_imports.__file__],
        prefix=prefix,
        scratch=scratch,
        interpreter=interpreter,
        show=[Path(time_imports.__file__)],
        stdin=json.dumps(job),
    )
    try:
        result = json.loads(done.stdout)
    except ValueError as error:
        raise MachineError("the import times could not be read", hint=done.stderr[-400:] or None) from error
    if result["death"]:
        raise MachineError(
            f"the import times could not be measured: the interpreter {result['death']}",
            hint="`envbundle verify` tells which module it is",
        )
    isolation = [words for name, words in _ISOLATION if name in done.isolation]
    return summary(result["runs"][1:], modules, how=_how(interpreter.version, isolation))


def _how(version: str, isolation: Sequence[str]) -> str:
    where = ", ".join(isolation) or "in place"
    return (
        f"Measured by CPython {version} with -X importtime where this report was made, {where}: every module "
        f"once, in one process, from the bundle's bytecode with files in memory; the median of {RUNS} "
        "runs, after one that is not counted."
    )


def parse(text: str) -> tuple[ImportLine, ...]:
    """Read what an interpreter wrote; other lines are ignored."""
    return tuple(
        ImportLine(
            module=found[4],
            depth=len(found[3]) // _INDENT,
            own=int(found[1]) / 1e6,
            cumulative=int(found[2]) / 1e6,
        )
        for found in _LINE.finditer(text.replace("\r", ""))
    )


def summary(runs: Sequence[str], modules: Sequence[str], *, how: str) -> ImportTimes:
    """Add up what each of several runs wrote, and take the median run of each module.

    :param runs: the standard error of each run.
    :param modules: top-level modules of the bundle, `azure.core` among them.
    """
    parsed = [parse(text) for text in runs]
    tables = [_by_module(lines, modules) for lines in parsed]
    times = []
    for module in dict.fromkeys(modules):
        own, cumulative = sorted(table.get(module, (0.0, 0.0)) for table in tables)[len(tables) // 2]
        # Each line is rounded to a microsecond, and a sum of them may pass the whole by a few.
        times.append(ImportTime(module=module, own=own, cumulative=max(own, cumulative)))
    seen = [one for one in times if one.own or one.cumulative]
    totals = [sum(line.own for line in lines) for lines in parsed]
    ours = [sum(own for own, _ in table.values()) for table in tables]
    return ImportTimes(
        slowest=tuple(sorted(seen, key=lambda one: (-one.own, one.module))[:SLOWEST]),
        modules=len(seen),
        total=statistics.median(totals),
        standard=statistics.median(every - own for every, own in zip(totals, ours, strict=True)),
        how=how,
    )


def _by_module(lines: Sequence[ImportLine], modules: Iterable[str]) -> dict[str, tuple[float, float]]:
    """Add up own and cumulative time by the listed module to which each belongs.

    What a module imports stands before it, one step further in: read backwards, the lines are a tree from its
    root. Of imports within imports of the same owner only the outermost counts, which holds the others.
    """
    listed = frozenset(modules)
    table: dict[str, tuple[float, float]] = {}
    around: list[str] = []
    for line in reversed(lines):
        owner = line.module
        while owner and owner not in listed:
            owner = owner.rpartition(".")[0]
        del around[line.depth :]
        if owner:
            own, cumulative = table.get(owner, (0.0, 0.0))
            table[owner] = (own + line.own, cumulative + (0.0 if owner in around else line.cumulative))
        around.append(owner)
    return table
