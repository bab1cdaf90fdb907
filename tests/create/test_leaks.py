"""The builder's leaks, each tried for real; and the table that says where each leak and trap is tested."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.create import environment
from bundler.errors import MachineError

from tests.create.test_pipeline import tree_digest
from tests.support.bad_input import WORKING_BACKEND, project
from tests.support.command import Command
from tests.support.coverage_of_leaks import CLASSES, LEAKS, TRAPS, Covered
from tests.support.nativemaker import compile_c, extension, library
from tests.support.wheelmaker import make_sdist, make_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.command import Outcome
    from tests.support.index import Index

pytestmark = pytest.mark.thorough  # each road is tried with and without

ROOT = Path(__file__).parents[2]
SITE = "lib/python3.8/site-packages"


def severe(done: Outcome) -> list[tuple[str, str, str]]:
    found = done.json()["findings"]
    return [(one["code"], one["severity"], one["subject"]) for one in found if one["severity"] != "info"]


# --- the table ------------------------------------------------------------------------------------


def defined() -> dict[str, set[str]]:
    """File of tests → names of its test functions."""
    folder = ROOT / "tests"
    return {
        path.relative_to(folder).with_suffix("").as_posix(): {
            node.name
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        }
        for path in folder.rglob("test_*.py")
    }


def unknown(row: Covered, known: Mapping[str, set[str]]) -> list[str]:
    """The tests that a row names and that are not there."""
    pairs = [test.partition("::") for test in row.tests]
    return [f"{file}::{name}" for file, _, name in pairs if name not in known.get(file, ())]


def test_every_leak_and_trap_has_a_test_or_a_reason() -> None:
    assert [*LEAKS] == [f"L{number:02}" for number in range(1, 54)]
    assert [*TRAPS] == list(range(1, 14))
    known = defined()
    rows = [*LEAKS.items(), *TRAPS.items(), *CLASSES.items()]
    assert [key for key, row in rows if not row.tests and not row.reason] == []
    assert {str(key): unknown(row, known) for key, row in rows if unknown(row, known)} == {}
    assert unknown(Covered(how="", tests=("test_leaks::test_gone",)), known) == ["test_leaks::test_gone"]


# --- packages of the builder ----------------------------------------------------------------------


def leak(folder: Path) -> Path:
    """Two distributions as a builder has them: one that a bundle needs too, one that nobody requires."""
    for name in ("leakpkg", "bareleak"):
        info = folder / f"{name}-999.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 999\n")
        (info / "RECORD").write_text("")
        (info / "INSTALLER").write_text("conda\n")
        (folder / f"{name}.py").write_text("LEAKED = True\n")
    return folder


def stock(wheels: Path) -> None:
    """A distribution that can tell whether anything of the builder reached it, and one that needs it to."""
    make_wheel(wheels, "leakpkg", files={"leakpkg.py": "LEAKED = False\n"})
    code = """
import sys
import leakpkg
assert not leakpkg.LEAKED
try:
    import bareleak
except ImportError:
    pass
else:
    raise RuntimeError("the builder leaked in")
"""
    make_wheel(wheels, "needs-leak", files={"needs_leak.py": code}, requires=["leakpkg"])
    make_wheel(wheels, "undeclared", files={"undeclared.py": "import bareleak\n"})


Road = Callable[[Path, Path], tuple[Path, dict[str, str]]]
"""From a folder and an interpreter: the interpreter to use and the caller's environment, leak included."""


def scratch_base(folder: Path, python: Path) -> tuple[Path, Path]:
    """Make a real interpreter with a site-packages of its own; return both."""
    base = folder / "base"
    real = python.resolve()
    left_out = shutil.ignore_patterns("site-packages", "test", "tests", "idlelib", "tkinter", "config-*")
    shutil.copytree(
        real.parent.parent / "lib/python3.8", base / "lib/python3.8", copy_function=link, ignore=left_out
    )
    (base / "bin").mkdir()
    (base / SITE).mkdir()
    shutil.copy2(real, base / "bin/python3.8")
    return base / "bin/python3.8", base / SITE


def link(source: str, target: str) -> str:
    """Link where both are on one file system: it is quicker."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def by_pythonpath(folder: Path, python: Path) -> tuple[Path, dict[str, str]]:
    return python, {"PYTHONPATH": f"{ROOT}:{leak(folder / 'leak')}"}


def by_user_base(folder: Path, python: Path) -> tuple[Path, dict[str, str]]:
    leak(folder / "user" / SITE)
    return python, {"PYTHONUSERBASE": str(folder / "user")}


def by_home(folder: Path, python: Path) -> tuple[Path, dict[str, str]]:
    leak(folder / "home/.local" / SITE)
    return python, {"HOME": str(folder / "home")}


def by_base_packages(folder: Path, python: Path) -> tuple[Path, dict[str, str]]:
    base, site_packages = scratch_base(folder, python)
    leak(site_packages)
    return base, {"VIRTUALENV_SYSTEM_SITE_PACKAGES": "1"}


def by_virtualenv_settings(folder: Path, python: Path) -> tuple[Path, dict[str, str]]:
    base, site_packages = scratch_base(folder, python)
    leak(site_packages)
    settings = folder / "virtualenv.ini"
    settings.write_text("[virtualenv]\nsystem-site-packages = true\n")
    (folder / "home/.config/virtualenv").mkdir(parents=True)
    (folder / "home/.config/virtualenv/virtualenv.ini").write_text(settings.read_text())
    return base, {"VIRTUALENV_CONFIG_FILE": str(settings), "HOME": str(folder / "home")}


def by_base_pth(folder: Path, python: Path) -> tuple[Path, dict[str, str]]:
    base, site_packages = scratch_base(folder, python)
    (site_packages / "leak.pth").write_text(f"{leak(folder / 'leak')}\n")
    return base, {}


def by_base_sitecustomize(folder: Path, python: Path) -> tuple[Path, dict[str, str]]:
    base, site_packages = scratch_base(folder, python)
    place = str(leak(folder / "leak"))
    (site_packages / "sitecustomize.py").write_text(f"import sys\nsys.path.insert(0, {place!r})\n")
    return base, {}


def by_conda(folder: Path, python: Path) -> tuple[Path, dict[str, str]]:
    """An interpreter as conda lays it out, with its environment active."""
    base, site_packages = scratch_base(folder, python)
    leak(site_packages)
    prefix = folder / "base"
    (prefix / "conda-meta").mkdir()
    (prefix / "conda-meta/history").write_text("")
    variables = {
        "CONDA_PREFIX": str(prefix),
        "CONDA_SHLVL": "1",
        "CONDA_DEFAULT_ENV": "base",
        "_CE_CONDA": "",
    }
    return base, {**variables, "PATH": f"{prefix}/bin:{os.environ['PATH']}"}


def by_active_environment(folder: Path, python: Path) -> tuple[Path, dict[str, str]]:
    subprocess.run([python, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    leak(folder / "venv" / SITE)
    path = f"{folder}/venv/bin:{os.environ['PATH']}"
    return folder / "venv/bin/python", {"VIRTUAL_ENV": f"{folder}/venv", "PATH": path}


ROADS: dict[str, Road] = {
    "PYTHONPATH": by_pythonpath,
    "PYTHONUSERBASE": by_user_base,
    "user site of HOME": by_home,
    "VIRTUALENV_SYSTEM_SITE_PACKAGES": by_base_packages,
    "virtualenv.ini": by_virtualenv_settings,
    ".pth of the base interpreter": by_base_pth,
    "sitecustomize of the base interpreter": by_base_sitecustomize,
    "conda": by_conda,
    "another environment that is active": by_active_environment,
}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path, pips: Path, python38: Path) -> Path:
    """A folder with wheels, and what comes out of them where nothing leaks."""
    folder = tmp_path_factory.mktemp("clean")
    (folder / "wheels").mkdir()
    stock(folder / "wheels")
    envbundle = Command(cache=shared_cache, pips=pips, folder=folder)
    words = ["--python", str(python38), "-o", "out", "--json", *envbundle.offline(folder / "wheels")]
    done = envbundle("create", "needs-leak==1.0", *words)
    assert (done.code, severe(done)) == (0, []), done.stderr
    return folder


@pytest.mark.parametrize("road", ROADS)
def test_packages_of_the_builder_have_no_part(
    envbundle: Command, clean: Path, tmp_path: Path, python38: Path, road: str
) -> None:
    """Neither is anything taken for satisfied by them, nor does an import find what only they have."""
    python, environ = ROADS[road](tmp_path, python38)
    # The leak is real: whoever starts this interpreter so has both.
    seen = "import bareleak, leakpkg; assert leakpkg.LEAKED"
    subprocess.run([python, "-c", seen], env={**os.environ, **environ}, check=True, cwd=tmp_path)
    words = ["--python", str(python), "-o", "dirty", "--json", *envbundle.offline(clean / "wheels")]
    done = envbundle("create", "needs-leak==1.0", *words, environ=environ)
    told = [("EB112", "warning", "python")] if road == "conda" else []
    assert (done.code, severe(done)) == (0, told), done.stderr
    # The manifest tells of conda.
    part = "lib" if told else "."
    assert tree_digest(clean / "out" / part) == tree_digest(tmp_path / "dirty" / part)


@pytest.mark.parametrize("road", ["PYTHONPATH", ".pth of the base interpreter"])
def test_what_only_the_builder_has_is_missed(
    envbundle: Command, clean: Path, tmp_path: Path, python38: Path, road: str
) -> None:
    python, environ = ROADS[road](tmp_path, python38)
    words = ["--python", str(python), "-o", "no", "--json", *envbundle.offline(clean / "wheels")]
    done = envbundle("create", "undeclared==1.0", *words, environ=environ)
    assert (done.code, severe(done)) == (1, [("EB201", "error", "undeclared")]), done.stderr
    assert "No module named 'bareleak'" in done.stdout


def test_environment_that_would_see_the_builder_is_refused(tmp_path: Path) -> None:
    """The second line of defence: what a virtualenv says of itself is read before anything is installed."""
    settings = tmp_path / "pyvenv.cfg"
    (tmp_path / "site").mkdir()
    settings.write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    environment._require_isolated(tmp_path, tmp_path / "site")
    for text in ("home = /usr/bin\ninclude-system-site-packages = true\n", "home = /usr/bin\n"):
        settings.write_text(text)
        with pytest.raises(MachineError, match="would see the builder's packages"):
            environment._require_isolated(tmp_path, tmp_path / "site")
    settings.write_text("include-system-site-packages = false\n")
    (tmp_path / "site/pip").mkdir()
    with pytest.raises(MachineError, match="not empty: pip"):
        environment._require_isolated(tmp_path, tmp_path / "site")


# --- variables ------------------------------------------------------------------------------------

OUTPUT = {
    "PYTHONOPTIMIZE": "2",
    "PYTHONHASHSEED": "5",
    "SOURCE_DATE_EPOCH": "1000000000",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUTF8": "0",
    "PYTHONWARNINGS": "error",
}


def test_variables_that_change_what_python_writes(
    envbundle: Command, wheels: Path, tmp_path: Path, python38: Path
) -> None:
    source = 'assert True\nNAMES = frozenset({"a", "b", "c", "d"})\n\n\ndef f():\n    """Doc."""\n'
    make_wheel(wheels, "alpha", files={"alpha.py": source})
    environ = {**OUTPUT, "PYTHONPYCACHEPREFIX": str(tmp_path / "pyc"), "PYTHONHOME": sys.base_prefix}
    hazard = subprocess.run(
        [python38, "-c", ""], env={**os.environ, **environ}, check=False, capture_output=True
    )
    assert hazard.returncode != 0  # another version's PYTHONHOME is fatal
    words = ["create", "alpha", "--python", str(python38), *envbundle.offline(wheels)]
    # Each compiles by itself: a store that both use would hide a difference.
    environ["ENVBUNDLE_CACHE_DIR"] = str(tmp_path / "cache")
    for output, more in (("clean", {}), ("dirty", environ)):
        done = envbundle(*words, "-o", output, environ=more)
        assert done.code == 0, done.stderr
    assert tree_digest(tmp_path / "clean") == tree_digest(tmp_path / "dirty")
    assert (tmp_path / "clean" / SITE / "__pycache__/alpha.cpython-38.pyc").is_file()
    assert not list((tmp_path / "pyc").rglob("alpha*"))


SPY = """
#include <stdio.h>
#include <string.h>
#include <unistd.h>
__attribute__((constructor)) static void spy(void) {{
    char name[4096] = "";
    if (readlink("/proc/self/exe", name, sizeof name - 1) < 0 || !strstr(name, "python3.8")) return;
    FILE *out = fopen("{}", "a");
    if (out) {{ fputs(name, out); fclose(out); }}
}}
"""


def test_loader_variables_reach_no_process_of_the_target(
    envbundle: Command, wheels: Path, tmp_path: Path, python38: Path
) -> None:
    """Nothing is preloaded, and a library that only LD_LIBRARY_PATH leads to is found to be missing."""
    marks = tmp_path / "marks"
    spy = compile_c(tmp_path / "libspy.so", SPY.format(marks))
    needs = library(tmp_path / "lib")
    linked = extension(tmp_path / "linked.so", "linked", needs=needs).read_bytes()
    name = "linked.cpython-38-x86_64-linux-gnu.so"
    make_wheel(wheels, "linked", files={name: linked}, tag="cp38-cp38-linux_x86_64")
    plain = extension(tmp_path / "plain.so", "plain").read_bytes()
    make_wheel(wheels, "plain", files={"plain.so": plain}, tag="cp38-cp38-linux_x86_64")
    environ = {"LD_PRELOAD": str(spy), "LD_LIBRARY_PATH": str(needs.parent)}
    hazard = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import linked"
    subprocess.run([python38, "-c", hazard], env={**os.environ, **environ}, check=True)
    assert marks.read_text().startswith("/")
    marks.unlink()
    words = ["--python", str(python38), "--glibc", "2.36", "--json", *envbundle.offline(wheels)]
    lacks = envbundle("create", "linked==1.0", "-o", "no", *words, environ=environ)
    assert lacks.code == 1, lacks.stderr
    assert severe(lacks) == [("EB303", "error", "linked")]
    sound = envbundle("create", "plain==1.0", "-o", "out", *words, environ=environ)
    assert (sound.code, severe(sound)) == (0, []), sound.stderr
    assert not marks.exists()


def test_local_wheels_of_pips_cache_are_not_taken(
    envbundle: Command, index: Index, wheels: Path, tmp_path: Path, python38: Path
) -> None:
    """A wheel that pip built once, with whatever the machine had, and would take again."""
    files = project("built", WORKING_BACKEND)
    files["backend.py"] += (
        "import os\nif os.environ.get('LEAK'):\n    open('built.py', 'w').write('LEAKED = True\\n')\n"
    )
    make_sdist(wheels, "built", files=files)
    cache = {"PIP_CACHE_DIR": str(tmp_path / "pip-cache")}
    (pip,) = envbundle.pips.glob("pip-24*.whl")
    words = [f"{pip}/pip", "wheel", "built", "--no-deps", "--index-url", index.url, "-w", "house"]
    for variables, said in (({"LEAK": "1"}, "Building wheel"), ({}, "Using cached")):
        ran = subprocess.run(
            [python38, *words], env={**os.environ, **cache, **variables}, cwd=tmp_path, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        assert said in ran.stdout
        (tmp_path / "house/built-1.0-py3-none-any.whl").unlink()
    done = envbundle(
        "create", "built", "--python", "3.8", "-o", "out", "--index-url", index.url,
        "--find-links", envbundle.pips, environ=cache,
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert (tmp_path / "out" / SITE / "built.py").read_text() == "VALUE = 1\n"


def test_a_standard_library_of_symlinks_is_one(
    envbundle: Command, wheels: Path, tmp_path: Path, python38: Path
) -> None:
    """Some package managers lay interpreters out as farms of links: what stands in them is no leak."""
    home = python38.resolve().parent.parent
    farm = tmp_path / "farm"
    for folder, folders, files in os.walk(home / "lib" / "python3.8"):
        folders[:] = [name for name in folders if name not in {"site-packages", "test"}]
        there = farm / Path(folder).relative_to(home)
        there.mkdir(parents=True)
        for name in files:
            (there / name).symlink_to(Path(folder, name))
    (farm / "bin").mkdir()
    shutil.copy2(home / "bin" / "python3.8", farm / "bin" / "python3.8")
    make_wheel(wheels, "uses-it", files={"uses_it.py": "import json, decimal, _codecs_iso2022\n"})
    done = envbundle(
        *("create", "uses-it", "--python", farm / "bin" / "python3.8", "-o", "b", "--json"),
        *envbundle.offline(wheels),
    )
    assert done.code == 0, done.stderr
