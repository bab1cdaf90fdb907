"""`pip freeze --all` with pip loaded once: what a fresh pip would say, at each moment."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from bundler.create import target_pip
from bundler.create.target_pip import freezing
from bundler.errors import CommandError
from bundler.model import Environment, IndexSettings
from bundler.system import process
from bundler.wheels.store import Store

from tests.support.bundlemaker import interpreter, unpack
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from bundler.create.target_pip import Pip


@pytest.fixture
def place(target_python: Path, tmp_path: Path) -> Environment:
    """An empty environment of each target."""
    prefix = tmp_path / "env"
    subprocess.run([target_python, "-m", "venv", "--without-pip", prefix], check=True)
    minor = target_python.name.removeprefix("python")
    return Environment(
        prefix=prefix,
        python=prefix / "bin/python",
        site_packages=prefix / f"lib/python{minor}/site-packages",
    )


@pytest.fixture
def tool(place: Environment, target_python: Path, pips: Path, shared_cache: Path, tmp_path: Path) -> Pip:
    minor = target_python.name.removeprefix("python")
    return target_pip.obtain(
        interpreter(target_python, minor),
        store=Store(shared_cache),
        settings=IndexSettings(no_index=True, find_links=(str(pips),)),
        glibc=(2, 31),
        scratch=tmp_path,
        environ=os.environ,
    )


def test_freeze_sees_what_is_there_now(place: Environment, tool: Pip, tmp_path: Path) -> None:
    def fresh() -> list[str]:
        return tool.run(place.python, ["freeze", "--all"], scratch=tmp_path).stdout.splitlines()

    minor = place.site_packages.parent.name.removeprefix("python")
    with freezing(tool, lambda: place, scratch=tmp_path) as freeze:
        assert freeze() == ()
        unpack(tmp_path / "bundle", make_wheel(tmp_path, "alpha", "1.5"), minor=minor)
        place.site_packages.rmdir()
        place.site_packages.symlink_to(tmp_path / "bundle" / "lib" / f"python{minor}" / "site-packages")
        assert list(freeze()) == fresh() == ["alpha==1.5"]
        # What only a start-up file reaches is seen by an interpreter that starts, so it must be seen here.
        elsewhere = tmp_path / "elsewhere"
        unpack(elsewhere, make_wheel(tmp_path, "beta", "2.0"), minor=minor)
        (place.site_packages / "extra.pth").write_text(f"{elsewhere}/lib/python{minor}/site-packages\n")
        assert list(freeze()) == fresh() == ["alpha==1.5", "beta==2.0"]
        (place.site_packages / "extra.pth").unlink()
        assert freeze() == ("alpha==1.5",)


def test_a_freeze_that_fails_is_told(place: Environment, tool: Pip, tmp_path: Path) -> None:
    with freezing(tool, lambda: place, scratch=tmp_path) as freeze:
        assert freeze() == ()
        (place.site_packages / "bad.pth").write_text("import os; os._exit(9)\n")
        with pytest.raises(CommandError, match="pip freeze ended"):
            freeze()
        (place.site_packages / "bad.pth").unlink()
        assert freeze() == ()


@pytest.mark.parametrize("script", ["pass", "input(); raise SystemExit(3)", "import os; os._exit(0)"])
def test_a_program_that_ends_is_told(tmp_path: Path, target_python: Path, script: str) -> None:
    env = process.clean_environment(home=tmp_path)
    with (
        process.converse([target_python, "-c", script], env=env) as program,
        pytest.raises(CommandError, match="ended with exit code"),
    ):
        program.ask("anything")


def test_answers_come_in_turn(tmp_path: Path, target_python: Path) -> None:
    script = "import sys\nfor line in sys.stdin: print(line.strip() * 2, flush=True)"
    env = process.clean_environment(home=tmp_path)
    with process.converse([target_python, "-c", script], env=env) as program:
        assert [program.ask(word) for word in ("a", "b", "ü" * 70_000)] == ["aa", "bb", "ü" * 140_000]
    with (
        pytest.raises(CommandError, match="could not be started"),
        process.converse([tmp_path / "nothing"], env=env),
    ):
        pass
