"""The one file that travels: whole, alone, and doing what its sources do."""

from __future__ import annotations

import ast
import builtins
import os
import subprocess
import symtable
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.bundle import standalone

from tests.support.bundlemaker import make_bundle
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[2]


def parsed() -> ast.Module:
    return ast.parse(standalone.source())


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or "."] if isinstance(node, ast.ImportFrom) else []


def bound(module: ast.Module) -> Iterator[str]:
    """The names that a module's own statements give a meaning, each as often as it gets one."""
    for node in module.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def comprehended(module: ast.Module) -> Iterator[str]:
    """The variables of comprehensions: from Python 3.12 on they are symbols of the module (PEP 709)."""
    for node in ast.walk(module):
        if isinstance(node, ast.comprehension):
            yield from (name.id for name in ast.walk(node.target) if isinstance(name, ast.Name))


def wanted(table: symtable.SymbolTable) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (symbol.is_global() or table.get_type() == "module"):
            yield symbol.get_name()
    for child in table.get_children():
        yield from wanted(child)


def definitions(*texts: str) -> dict[str, str]:
    return {
        node.name: ast.dump(node)
        for text in texts
        for node in ast.parse(text).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    }


def test_it_needs_the_standard_library_alone() -> None:
    names = {name.split(".")[0] for node in ast.walk(parsed()) for name in imported(node)}
    assert {"json", "marshal", "threading"} <= names
    assert names <= sys.stdlib_module_names
    assert "<joined" not in standalone.source()


def test_every_top_level_name_is_there_once() -> None:
    names = Counter(bound(parsed()))
    assert [name for name, times in names.items() if times > 1] == []
    known = {*names, *comprehended(parsed()), *dir(builtins), "__file__"}
    assert set(wanted(symtable.symtable(standalone.source(), "verify.py", "exec"))) - known == set()


def test_it_has_all_of_its_sources_but_what_is_the_builders() -> None:
    sources = [
        (standalone.FOLDER / f"{name}.py").read_text()
        for name in ("bounded", "checksums", "imports", "public_keys", "signatures", "verify")
    ]
    assert not definitions(*sources).items() - definitions(standalone.source()).items()
    assert not definitions(standalone.source()).keys() - definitions(*sources).keys()


@pytest.mark.parametrize("text", [standalone.applier(), standalone.loader()], ids=["apply.py", "load.py"])
def test_what_travels_beside_bundles_has_all_that_it_needs(text: str) -> None:
    names = Counter(bound(ast.parse(text)))
    assert [name for name, times in names.items() if times > 1] == []
    known = {*names, *comprehended(ast.parse(text)), *dir(builtins), "__file__"}
    assert set(wanted(symtable.symtable(text, "x.py", "exec"))) - known == set()
    assert "<joined" not in text


def test_it_compiles_on_python37(tmp_path: Path, python37: Path) -> None:
    compiles(python37, tmp_path)


def test_it_parses_on_python2(tmp_path: Path) -> None:
    """So that it can refuse in a sentence: see test_verify.py."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    old = sorted(root.glob("2.7.*/bin/python"))
    if not old:
        pytest.skip("there is no Python 2.7")
    compiles(old[0], tmp_path)


def compiles(python: Path, folder: Path) -> None:
    code = "import sys; compile(open(sys.argv[1]).read(), sys.argv[1], 'exec')"
    texts = {
        "verify.py": standalone.source(), "apply.py": standalone.applier(), "load.py": standalone.loader(),
    }  # fmt: skip
    for name, text in texts.items():
        path = folder / name
        path.write_text(text, encoding="utf-8")
        done = subprocess.run([python, "-c", code, path], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    wheel = make_wheel(tmp_path, "alpha", files={"alpha/__init__.py": "", "alpha/bad.py": "import nowhere\n"})
    return make_bundle(tmp_path / "bundle", wheel, modules=["alpha", "alpha.bad"])


@pytest.mark.parametrize("options", [(), ("--no-imports",), ("--json",), ("--nonsense",)], ids=str)
def test_it_does_what_its_sources_do(bundle: Path, python38: Path, options: tuple[str, ...]) -> None:
    (bundle / "more.py").touch()
    (bundle / "pylock.toml").symlink_to("/etc/passwd")
    one_file, modules = (
        subprocess.run(
            [python38, *words, *options, bundle],
            env={"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        for words in ([bundle / "verify.py"], ["-m", "bundler.ontarget.verify"])
    )
    assert (one_file.returncode, one_file.stdout, one_file.stderr) == (
        modules.returncode,
        modules.stdout,
        modules.stderr,
    )
    assert one_file.returncode == (2 if "--nonsense" in options else 1)
    assert ("alpha.bad" in one_file.stdout) == (options in {(), ("--json",)})


def test_no_part_of_it_imports_what_lies_beside_it(bundle: Path, python38: Path) -> None:
    names = {name for node in parsed().body for name in imported(node) if name != "__future__"}
    for name in names:
        (bundle / f"{name}.py").write_text("raise SystemExit('not this one')\n")
    done = subprocess.run(
        [python38, bundle / "verify.py", "--no-imports"],
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.count("EB513") == len(names) > 10
