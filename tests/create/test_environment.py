"""The virtualenv that poses as the image, where the cache cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from bundler.create import environment
from bundler.system import workspace
from bundler.targets import target

from tests.support.bundlemaker import interpreter


@pytest.mark.parametrize("writable", [True, False])
def test_nothing_stays_among_the_temporary_files(
    tmp_path: Path, python38: Path, monkeypatch: pytest.MonkeyPatch, *, writable: bool
) -> None:
    """virtualenv makes folders there for what it cannot keep."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "cache").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    base = interpreter(python38, "3.8")
    app_data = tmp_path / ("kept" if writable else "cache") / "virtualenv"
    with workspace.claim(tmp_path / "out") as work:
        made = environment.create(base, target.for_interpreter(base, glibc=None), work, app_data)
        assert made.python.exists()
    assert not list((tmp_path / "tmp").iterdir())
    assert app_data.is_dir() is writable


MEANWHILE = """
import sys, threading
from pathlib import Path
from bundler.create import environment
from bundler.system import workspace
from bundler.targets import target
from tests.support.bundlemaker import interpreter

class ImportsPip:
    def find_spec(self, name, path=None, target=None):
        if name == "distutils.command.install":
            other = threading.Thread(target=__import__, args=("pip",))
            other.start()
            other.join()

sys.meta_path.insert(0, ImportsPip())
base = interpreter(Path(sys.argv[1]), "3.8")
with workspace.claim(Path("out").absolute()) as work:
    environment.create(base, target.for_interpreter(base, glibc=None), work, Path("app-data").absolute())
"""


def test_another_thread_may_import_pip(tmp_path: Path, python38: Path) -> None:
    """setuptools forgets distutils then, which virtualenv uses on Python 3.10."""
    done = subprocess.run(
        [sys.executable, "-c", MEANWHILE, python38],
        cwd=tmp_path, env={"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_threads_find_how_python_was_built() -> None:
    """uv's package read the table while virtualenv filled it: TypeError, a bug of ours (exit code 4)."""
    code = (
        "import sysconfig, time; fill = sysconfig._init_posix;"
        "sysconfig._init_posix = lambda values: (time.sleep(0.3), fill(values));"
        "from bundler.create import prepare;"
        "pool = prepare._threads(); found = pool.__enter__().map(sysconfig.get_config_var, ['EXE'] * 4);"
        "print([*found])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "['', '', '', '']\n"
