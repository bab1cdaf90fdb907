"""Every rule of the architecture test reports what breaks it, and nothing that only looks so."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from bundler.bundle import standalone
from bundler.system.process import clean_environment, run

from tests.test_architecture import (
    ROOT,
    RULES,
    Rule,
    files_stay_small,
    functions_are_annotated,
    functions_fit_a_screen,
    modules_live_where_they_are_used,
    no_drawers,
    no_import_cycle,
    no_name_twice,
    nothing_lies_at_the_root,
    one_library_one_home,
    only_pip_knows_its_command_line,
    only_process_starts_programs,
    only_the_command_line_speaks,
    ontarget_needs_nothing,
    parse,
    rooms_use_what_stands_below,
    stages_stand_apart,
)

if TYPE_CHECKING:
    from pathlib import Path

# The modules beside which each of the sources below stands.
OTHERS = {
    "bundler": "",
    "bundler.model": "",
    "bundler.system.process": "",
    "bundler.wheels.facts": "",
    "bundler.wheels.store": "from bundler import model\nfrom bundler.wheels import facts",
    "bundler.checks.fitness": "",
    "bundler.create.fetch": "from bundler.wheels.store import Store",
    "bundler.create.resolve": "",
    "bundler.create.pipeline": "from bundler.create import fetch",
    "bundler.deploy.render": "",
    "bundler.deploy.flow": "",
    "bundler.cli.create": "from bundler.create import pipeline",
}

PACKAGES = {"bundler", "bundler.wheels", "bundler.create.fetch", "bundler.create.resolve", "bundler.cli"}
WALK = "from bundler.ontarget.checksums import (\n    SUMS,\n    walk,\n)\n"

# `module: source`, first those that break the rule, then those that keep it.
CASES: dict[Rule, tuple[list[str], list[str]]] = {
    rooms_use_what_stands_below: (
        [
            "bundler.targets.target: def f():\n    from bundler.create import pipeline",
            "bundler.model: import bundler.wheels.store",
            "bundler.wheels.store: from ..create import pipeline",
            "bundler.create.emit: from bundler.cli.create import create",
            "bundler.formats.tar: import bundler.wheels.store",
            "bundler.rebuild.ci: from bundler.deploy import flow",
            "bundler.system.files: from bundler.wheels import store",
            "bundler.errors: import bundler.system.process",
            "bundler.targets.target: if TYPE_CHECKING:\n    from bundler.create import pipeline",
        ],
        [
            "bundler.cli: import bundler.create.pipeline",
            "bundler.wheels.unpack: from .. import model",
            "bundler.rebuild.ci: from bundler.deploy import render",
            "bundler.formats.tar: import bundler.system.process",
        ],
    ),
    nothing_lies_at_the_root: (
        ["bundler.store: ", "bundler.helpers.tree: "],
        ["bundler.errors: ", "bundler.wheels.tree: ", "bundler.wheels: "],
    ),
    modules_live_where_they_are_used: (
        ["bundler.checks.rules.new: from bundler.wheels import alone\nbundler.wheels.alone: "],
        [
            "bundler.wheels.unpack: from bundler.wheels import alone\nbundler.wheels.alone: ",
            "bundler.cli.new: from bundler.bundle import alone\nbundler.bundle.alone: ",
            "bundler.cli.new: from bundler.wheels import alone\nbundler.wheels.alone: ",
            "bundler.checks.rules.new: from bundler.ontarget import alone\nbundler.ontarget.alone: ",
        ],
    ),
    no_name_twice: (
        ["bundler.checks.facts: ", "bundler.create.fetch.process: "],
        ["bundler.checks.other: ", "bundler.cli.facts: ", "bundler.cli.process: "],
    ),
    stages_stand_apart: (
        [
            "bundler.create.install: from bundler.create.fetch import fetch",
            "bundler.create.install: from . import resolve",
            "bundler.create.install.order: from ..resolve import Graph",
        ],
        [
            "bundler.create.resolve.pip: from bundler.create import resolve",
            "bundler.create.site: from bundler.create import resolve",
            "bundler.create.emit: import bundler.wheels.store",
        ],
    ),
    no_import_cycle: (
        [
            "bundler.model: import bundler.wheels.store",
            "bundler.create.fetch: import bundler.create.pipeline",
            "bundler.create.fetch: if TYPE_CHECKING:\n    import bundler.create.pipeline",
        ],
        ["bundler.create.fetch: import bundler.create.resolve"],
    ),
    one_library_one_home: (
        [
            "bundler.wheels.store: from click import echo",
            "bundler.create.fetch: import subprocess",
            "bundler.create.emit: import uv",
            "bundler.create.resolve.uv_log: import uv",
            "bundler.create.target_pip: import requests",
            "bundler.cli.create: from tqdm.auto import tqdm",
        ],
        [
            "bundler.cli.lock: import click",
            "bundler.system.process: import subprocess",
            "bundler.ontarget.verify: import subprocess",
            "bundler.create.resolve.uv: import uv",
            "bundler.create.fetch: import requests.auth",
            "bundler.wheels.store: from bundler import wheels",
        ],
    ),
    only_process_starts_programs: (
        ["bundler.wheels.store: os.system('ls')", "bundler.create.target_pip: os.execv(python, [])"],
        ["bundler.wheels.store: os.getpid()", "bundler.system.process: os.posix_spawn('ls')"],
    ),
    only_pip_knows_its_command_line: (
        [
            "bundler.create.install: f('--no-deps')",
            "bundler.wheels.store: argv = [f'--index-url={url}']",
            "bundler.wheels.store: run([python, '-m', 'pip'])",
        ],
        [
            "bundler.create.target_pip: run([python, '-m', 'pip', '--no-deps'])",
            "bundler.create.requirements: OPTIONS = {'--index-url'}",
            "bundler.targets.target: f('--glibc')",
            "bundler.wheels.store: run([python, '-m', 'compileall'])",
        ],
    ),
    ontarget_needs_nothing: (
        [
            "bundler.ontarget.verify: from bundler.model import Lock",
            "bundler.ontarget.describe_python: from . import verify",
            "bundler.ontarget.describe_python: import packaging.tags",
            f"bundler.ontarget.verify: {WALK}",
            f"bundler.ontarget.verify: # <joined: imports.py>\n{WALK}# </joined>",
            f"bundler.ontarget.verify: # <joined: checksums.py>\n# </joined>\n{WALK}",
            "bundler.ontarget.verify: # <joined: imports.py>\nimport bundler.ontarget.imports\n# </joined>",
            f"bundler.ontarget.imports: # <joined: checksums.py>\n{WALK}# </joined>",
        ],
        [
            "bundler.ontarget.verify: import json, os.path",
            f"bundler.ontarget.verify: import os\n# <joined: checksums.py>\n{WALK}# </joined>\nimport re",
            "bundler.targets.target: import packaging.tags",
        ],
    ),
    only_the_command_line_speaks: (
        [
            "bundler.wheels.store: print(1)",
            "bundler.create.pipeline: sys.exit(3)",
            "bundler.targets.target: from sys import argv",
            "bundler.wheels.unpack: raise SystemExit(1)",
        ],
        [
            "bundler.cli.create: print(sys.argv)",
            "bundler.ontarget.verify: sys.exit(3)",
            "bundler.wheels.store: log.print(1)",
            "bundler.targets.target: from sys import path",
            "bundler.wheels.unpack: try:\n    f()\nexcept SystemExit:\n    raise ValueError(1)",
        ],
    ),
    functions_are_annotated: (
        [
            "bundler.wheels.store: def f(x) -> int: ...",
            "bundler.wheels.store: async def f(): ...",
            "bundler.wheels.store: def f(**x) -> int: ...",
            "bundler.wheels.store: class C:\n    @staticmethod\n    def f(x) -> None: ...",
            "bundler.wheels.store: def f(x):\n    # type: (int) -> int\n    return x",
            "bundler.ontarget.checksums: def f(x):\n    # (int) -> int\n    return x",
        ],
        [
            "bundler.wheels.unpack: def f(x: int, /, *y: int, **z: int) -> int: ...",
            "bundler.wheels.unpack: class C:\n    def f(self) -> None: ...",
            "bundler.wheels.unpack: class C:\n    @classmethod\n    def f(cls, x: int) -> None: ...",
            "bundler.ontarget.checksums: def f(x):\n    # type: (int) -> int\n    return x",
        ],
    ),
    functions_fit_a_screen: (
        ["bundler.wheels.store: class C:\n  def f():\n" + "    x = 1\n" * 60],
        ["bundler.wheels.store: def f():\n" + "  x = 1\n" * 59],
    ),
    files_stay_small: (
        ["bundler.wheels.store: " + "x = 1\n" * 601],
        ["bundler.wheels.store: " + "x = 1\n" * 600],
    ),
    no_drawers: (["bundler.create.utils: ", "bundler.common: "], ["bundler.bundle.tree: "]),
}


def reported(rule: Rule, case: str) -> list[str]:
    """What a rule says of the others with the modules of a case: `name: source`, each on lines of its own."""
    sources: dict[str, str] = {}
    for part in re.split(r"\n(?=bundler\.[\w.]+: )", case):
        name, source = part.split(": ", 1)
        sources[name] = source
    return rule(parse({**OTHERS, **sources}, packages=PACKAGES))


@pytest.mark.parametrize(
    ("rule", "case"), [(rule, case) for rule, (breaches, _) in CASES.items() for case in breaches]
)
def test_reports_a_breach(rule: Rule, case: str) -> None:
    assert any(case.split(": ", maxsplit=1)[0] in line for line in reported(rule, case))


@pytest.mark.parametrize(
    ("rule", "case"), [(rule, case) for rule, (_, harmless) in CASES.items() for case in harmless]
)
def test_lets_the_rest_be(rule: Rule, case: str) -> None:
    assert reported(rule, case) == []


def test_every_rule_has_cases() -> None:
    assert CASES.keys() == set(RULES)
    assert all(breaches and harmless for breaches, harmless in CASES.values())


# Imports inside `try:` are those that a Python may lack.
PYTHON_37_CHECK = """
import ast, importlib.util, sys
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read(), path)
    compile(tree, path, "exec", dont_inherit=True)
    for node in tree.body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            if importlib.util.find_spec(name) is None:
                raise SystemExit("%s:%d: no module %s" % (path, node.lineno, name))
"""


def complaint(python37: Path, home: Path, *files: Path) -> str:
    argv = [str(python37), "-I", "-S", "-c", PYTHON_37_CHECK, *map(str, files)]
    return run(argv, env=clean_environment(home=home), check=False).stderr


def test_ontarget_fits_python37(python37: Path, tmp_path: Path) -> None:
    joined = {
        "verify.py": standalone.source(),
        "describe_image.py": standalone.image_probe(),
        "apply.py": standalone.applier(),
    }
    for name, text in joined.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    # What imports its siblings travels inside of one of these.
    alone = [one for one in sorted((ROOT / "ontarget").glob("*.py")) if "# <joined: " not in one.read_text()]
    travelling = [tmp_path / name for name in joined]
    assert complaint(python37, tmp_path, *travelling, *alone) == ""


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import importlib.util, json\n", ""),
        ("try:\n    import tomllib\nexcept ImportError:\n    pass\n", ""),
        ("import tomllib\n", "no module tomllib"),
        ("if (n := 1): pass\n", "SyntaxError"),
        ("def f(a, /): pass\n", "SyntaxError"),
    ],
)
def test_python37_check(python37: Path, tmp_path: Path, source: str, error: str) -> None:
    (tmp_path / "probe.py").write_text(source, encoding="utf-8")
    said = complaint(python37, tmp_path, tmp_path / "probe.py")
    assert error in said if error else said == ""
