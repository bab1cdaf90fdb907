"""Runs what a service would do first with a folder of packages, in the bare root, and says what works."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.errors import CommandError
from bundler.system import process
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from scripts.truth_method import main_modules

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from scripts.truth_method.bare_root import BareRoot

TIMEOUT = 300.0
CONFIGURATION = ("ImproperlyConfigured", "AppRegistryNotReady")
"""Exceptions that ask for settings: the packages are whole."""
CHILD = """
import importlib, json, sys, traceback
kind, text = sys.argv[1:3]
try:
    if kind in ("import", "start"):
        importlib.import_module(text)
    else:
        exec(compile(text, "use", "exec"), {"__name__": "__main__"})
    found = {"error": None}
except BaseException as error:
    shown = traceback.format_exc().strip().splitlines()
    found = {"error": type(error).__name__, "message": str(error)[:600], "traceback": shown[-14:]}
sys.stdout.flush()
sys.__stdout__.write("\\n<truth>" + json.dumps(found) + "\\n")
sys.__stdout__.flush()
import os
os._exit(0)
"""
MARK = "<truth>"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One import or one first use, and how it ended."""

    kind: str
    """`import`, `start` (the module where the script of the distribution's name starts) or `use`."""
    text: str
    by: str = ""
    """The distribution whose main module it is."""
    error: str | None = None
    traceback: tuple[str, ...] = ()

    @property
    def works(self) -> bool:
        """Whether it did what it should, or only asks for settings."""
        return self.error is None or self.error.split(":")[0] in CONFIGURATION


def steps(
    requirements: Path, use: Iterable[str], *, site: Path, environment: Mapping[str, str]
) -> list[Step]:
    """Return what has to be tried: main modules and script of the requested roots, then each first use."""
    installed = main_modules.installed_in(site)
    asked = requested(requirements, environment)
    found = []
    for name in main_modules.roots(asked, installed, environment):
        modules = main_modules.main_modules(installed[name], site)
        found += [Step(kind="import", text=module, by=name) for module in modules]
        started = main_modules.starting_module(installed[name])
        if started and started not in modules:
            found.append(Step(kind="start", text=started, by=name))
    missing = [name for name in asked if name not in installed]
    found += [
        Step(kind="import", text=name, by=name, error="NotInstalled: no such distribution")
        for name in missing
    ]
    return found + [Step(kind="use", text=text) for text in use]


def requested(requirements: Path, environment: Mapping[str, str]) -> list[str]:
    """Return the normalised names that a requirements file asks for, as far as its markers apply."""
    names = []
    for line in requirements.read_text(encoding="utf-8").splitlines():
        try:
            requirement = Requirement(line.strip())
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate(dict(environment)):
            names.append(canonicalize_name(requirement.name))
    return list(dict.fromkeys(names))


def passed_over(step: Step, *, site: Path) -> bool:
    """Whether it is a script that only works with an extra of its distribution, which nobody asked for."""
    if step.kind != "start" or not step.error:
        return False
    return main_modules.asks_for_an_extra(step.error, main_modules.installed_in(site)[step.by])


def attempt(step: Step, *, root: BareRoot, tree: Path, site: str, env: Mapping[str, str]) -> Step:
    """Run a step in a process of its own in the bare root."""
    if step.error:
        return step
    words = root.command(tree, site, ["-B", "-c", CHILD, step.kind, step.text])
    try:
        done = process.run(words, env=env, timeout=TIMEOUT, check=False)
    except CommandError as error:
        return _with(step, error.message, ())
    said = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if not said:
        last = tuple(done.stderr.strip().splitlines()[-14:])
        return _with(step, f"Killed: the process ended with {done.returncode}", last)
    found = json.loads(said[-1].removeprefix(MARK))
    if found["error"] is None:
        return step
    return _with(step, f"{found['error']}: {found['message']}", tuple(found["traceback"]))


def _with(step: Step, error: str, traceback: tuple[str, ...]) -> Step:
    return Step(kind=step.kind, text=step.text, by=step.by, error=error, traceback=traceback)
