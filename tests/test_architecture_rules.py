"""Every rule of the architecture test reports what breaks it, and nothing that only looks so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bundler import verifier
from bundler.process import clean_environment, run

from tests.test_architecture import (
    ROOT,
    RULES,
    Rule,
    files_stay_small,
    functions_are_annotated,
    functions_fit_a_screen,
    imports_point_down,
    no_drawers,
    no_import_cycle,
    one_library_one_home,
    only_pip_knows_its_command_line,
    only_process_starts_programs,
    only_the_command_line_speaks,
    ontarget_needs_nothing,
    parse,
    stages_stand_apart,
)

if TYPE_CHECKING:
    from pathlib import Path

# The modules beside which each of the sources below stands.
OTHERS = {
    "bundler": "",
    "bundler.model": "",
    "bundler.store": "from bundler import model",
    "bundler.create.fetch": "from bundler.store import Store",
    "bundler.create.resolve": "",
    "bundler.checks.native": "",
    "bundler.pipeline": "from bundler.create import fetch",
    "bundler.cli.create": "from bundler import pipeline",
}

WALK = "from bundler.ontarget.files import (\n    SUMS,\n    walk,\n)\n"

# `module: source`, first those that break the rule, then those that keep it.
CASES: dict[Rule, tuple[list[str], list[str]]] = {
    imports_point_down: (
        [
            "bundler.target: def f():\n    from bundler import pipeline",
            "bundler.model: import bundler.store",
            "bundler.store: from . import pipeline",
            "bundler.create.emit: from bundler.cli.create import create",
        ],
        [
            "bundler.target: if TYPE_CHECKING:\n    from bundler import pipeline",
            "bundler.cli: import bundler.pipeline",
            "bundler.wheels: from . import model",
        ],
    ),
    stages_stand_apart: (
        [
            "bundler.create.install: from bundler.create.fetch import fetch",
            "bundler.create.install: from . import resolve",
            "bundler.checks.closure: from ..create.resolve import Graph",
            "bundler.create.emit: import bundler.checks.native",
        ],
        [
            "bundler.create.resolve.pip: from bundler.create import resolve",
            "bundler.create.resolve_pip: from bundler.create import resolve",
            "bundler.create.emit: import bundler.store",
            "bundler.checks.closure: from bundler.checks import native",
        ],
    ),
    no_import_cycle: (
        ["bundler.model: import bundler.store", "bundler.create.fetch: import bundler.pipeline"],
        ["bundler.model: from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import bundler.store"],
    ),
    one_library_one_home: (
        [
            "bundler.store: from click import echo",
            "bundler.create.fetch: import subprocess",
            "bundler.create.emit: import uv",
            "bundler.pip: import requests",
            "bundler.cli.create: from tqdm.auto import tqdm",
        ],
        [
            "bundler.cli.lock: import click",
            "bundler.process: import subprocess",
            "bundler.ontarget.verify: import subprocess",
            "bundler.create.resolve_uv: import uv",
            "bundler.create.fetch: import requests.auth",
            "bundler.store: from bundler import wheels",
        ],
    ),
    only_process_starts_programs: (
        ["bundler.store: os.system('ls')", "bundler.pip: os.execv(python, [])"],
        ["bundler.store: os.getpid()", "bundler.process: os.posix_spawn('ls')"],
    ),
    only_pip_knows_its_command_line: (
        [
            "bundler.create.install: f('--no-deps')",
            "bundler.store: argv = [f'--index-url={url}']",
            "bundler.store: run([python, '-m', 'pip'])",
        ],
        [
            "bundler.pip: run([python, '-m', 'pip', '--no-deps'])",
            "bundler.requirements: OPTIONS = {'--index-url'}",
            "bundler.target: f('--glibc')",
            "bundler.store: run([python, '-m', 'compileall'])",
        ],
    ),
    ontarget_needs_nothing: (
        [
            "bundler.ontarget.verify: from bundler.model import Lock",
            "bundler.ontarget.probe: from . import verify",
            "bundler.ontarget.probe: import packaging.tags",
            f"bundler.ontarget.verify: {WALK}",
            f"bundler.ontarget.verify: # <joined: imports.py>\n{WALK}# </joined>",
            f"bundler.ontarget.verify: # <joined: files.py>\n# </joined>\n{WALK}",
            "bundler.ontarget.verify: # <joined: files.py>\nfrom bundler.ontarget import files\n# </joined>",
            f"bundler.ontarget.imports: # <joined: files.py>\n{WALK}# </joined>",
        ],
        [
            "bundler.ontarget.verify: import json, os.path",
            f"bundler.ontarget.verify: import os\n# <joined: files.py>\n{WALK}# </joined>\nimport re",
            "bundler.target: import packaging.tags",
        ],
    ),
    only_the_command_line_speaks: (
        [
            "bundler.store: print(1)",
            "bundler.pipeline: sys.exit(3)",
            "bundler.target: from sys import argv",
            "bundler.wheels: raise SystemExit(1)",
        ],
        [
            "bundler.cli.create: print(sys.argv)",
            "bundler.ontarget.verify: sys.exit(3)",
            "bundler.store: log.print(1)",
            "bundler.target: from sys import path",
            "bundler.wheels: try:\n    f()\nexcept SystemExit:\n    raise ValueError(1)",
        ],
    ),
    functions_are_annotated: (
        [
            "bundler.store: def f(x) -> int: ...",
            "bundler.store: async def f(): ...",
            "bundler.store: def f(**x) -> int: ...",
            "bundler.store: class C:\n    @staticmethod\n    def f(x) -> None: ...",
            "bundler.store: def f(x):\n    # type: (int) -> int\n    return x",
            "bundler.ontarget.files: def f(x):\n    # (int) -> int\n    return x",
        ],
        [
            "bundler.wheels: def f(x: int, /, *y: int, **z: int) -> int: ...",
            "bundler.wheels: class C:\n    def f(self) -> None: ...",
            "bundler.wheels: class C:\n    @classmethod\n    def f(cls, x: int) -> None: ...",
            "bundler.ontarget.files: def f(x):\n    # type: (int) -> int\n    return x",
        ],
    ),
    functions_fit_a_screen: (
        ["bundler.store: class C:\n  def f():\n" + "    x = 1\n" * 60],
        ["bundler.store: def f():\n" + "  x = 1\n" * 59],
    ),
    files_stay_small: (["bundler.store: " + "x = 1\n" * 421], ["bundler.store: " + "x = 1\n" * 420]),
    no_drawers: (["bundler.create.utils: ", "bundler.common: "], ["bundler.tree: "]),
}


def reported(rule: Rule, case: str) -> list[str]:
    name, source = case.split(": ", 1)
    return rule(parse({**OTHERS, name: source}))


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
    joined = {"verify.py": verifier.source(), "image.py": verifier.image_probe()}
    for name, text in joined.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    alone = [path for path in sorted((ROOT / "ontarget").glob("*.py")) if path.name not in joined]
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
