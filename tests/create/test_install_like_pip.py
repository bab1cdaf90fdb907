"""What is installed equals what pip installs, file by file, on real distributions of all kinds."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from bundler.create.install import install
from bundler.model import Artifact, LockedDistribution, StoredWheel
from bundler.system import process
from bundler.wheels.store import Store

from tests.support import wheelmaker
from tests.wheels.test_unpack import describe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = pytest.mark.pypi

DISTRIBUTIONS = (
    "six==1.16.0",  # one module
    "attrs==22.2.0",  # two packages
    "Flask==2.2.5",  # console script; METADATA's name is not normalised
    "zope.interface==5.4.0",  # namespace by nspkg.pth, headers inside
    "ruamel.yaml==0.17.21",  # dot in the name, namespace, nspkg.pth
    "protobuf==3.20.3",  # namespace, extension modules
    "cryptography==3.4.8",  # abi3
    "psutil==5.9.0",  # tests inside the package
    "greenlet==1.1.2",  # headers
    "pybind11==2.9.2",  # headers and CMake files as package data
    "jupyterlab-widgets==1.0.2",  # files in share/
    "notebook==6.4.12",  # files in etc/ and share/
    "tbb==2021.10.0",  # libraries in the prefix's lib/
    "tbb4py==2021.10.0",
    "intel-openmp==2021.4.0",
    "jmespath==0.10.0",  # a `#!python` script
    "docutils==0.17.1",  # many `#!python` scripts
    "Cython==0.29.37",  # top-level modules, extension modules and sources
    "setuptools==60.10.0",  # distutils-precedence.pth
    "pip==22.3.1",  # versioned scripts
    "wheel==0.37.1",
    "numpy==1.21.6",  # .libs, versioned scripts
    "cffi==1.15.1",  # extension module at the top
    "PyYAML==6.0.1",  # extension module in a package
    "msal-extensions==1.0.0",  # tests at the top
    "Jinja2==3.1.2",
    "MarkupSafe==2.0.1",
    "Send2Trash==1.8.0",
)
OURS = re.compile(r"^(?:.*\.dist-info/(?:RECORD|INSTALLER|REQUESTED|direct_url\.json)|.*\.pyc)$")


@pytest.fixture(scope="module")
def reference_pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last pip that drives 3.7 and 3.8, unpacked."""
    folder = tmp_path_factory.mktemp("pip")
    argv: list[str | Path]
    argv = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "pip==24.0", "-d", folder]
    subprocess.run(argv, check=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        archive.extractall(folder)
    return folder / "pip"


def by_pip(folder: Path, python: Path, pip: Path, wheels: Sequence[Path]) -> dict[str, Path]:
    prefix = folder / "pip"
    subprocess.run([python, "-m", "venv", "--without-pip", prefix], check=True)
    before = {path for path in prefix.rglob("*") if not path.is_dir() or path.is_symlink()}
    argv: list[str | Path] = [
        prefix / "bin" / "python",
        pip,
        "install",
        "-q",
        "--no-deps",
        "--no-compile",
        "--no-index",
        *wheels,
    ]
    process.run(argv, env=process.clean_environment(home=folder, PIP_CONFIG_FILE="/dev/null"))
    return {
        path.relative_to(prefix).as_posix(): path
        for path in prefix.rglob("*")
        if not path.is_dir() and path not in before
    }


def by_us(folder: Path, python: Path, wheels: Sequence[Path]) -> dict[str, Path]:
    interpreter = describe(python)
    store = Store(folder / "store")
    found = store.ensure_trees([(path, wheelmaker.sha256(path)) for path in wheels], interpreter)
    stored = [
        StoredWheel(
            locked=LockedDistribution(
                name=tree.facts.name,
                version=tree.facts.version,
                artifact=Artifact(kind="wheel", filename=tree.facts.filename, url=None),
            ),
            facts=tree.facts,
            tree=tree.path,
        )
        for tree in found.values()
    ]
    prefix = folder / "ours"
    done = install(stored, prefix=prefix, site_packages=f"lib/python{interpreter.minor}/site-packages")
    return {fact.path: prefix / fact.path for fact in done.files}


def test_equal_to_pip(tmp_path: Path, target_python: Path, reference_pip: Path) -> None:
    wheels = tmp_path / "wheels"
    argv: list[str | Path]
    argv = [target_python, reference_pip, "download", "-q", "--no-deps", "--only-binary=:all:", "-d", wheels]
    subprocess.run([*argv, *DISTRIBUTIONS], check=True)
    files = sorted(wheels.iterdir())
    assert len(files) == len(DISTRIBUTIONS)
    theirs = by_pip(tmp_path, target_python, reference_pip, files)
    ours = by_us(tmp_path, target_python, files)
    assert {path for path in ours if not OURS.match(path)} == {
        path for path in theirs if not OURS.match(path)
    }
    compared = 0
    for path, our in ours.items():
        if OURS.match(path):
            continue
        their = theirs[path]
        if path.startswith("bin/"):
            assert our.stat().st_mode & 0o111 == 0o111
            compare_scripts(our.read_bytes(), their.read_bytes())
        else:
            assert our.read_bytes() == their.read_bytes(), path
            assert our.stat().st_mode == their.stat().st_mode, path
        compared += 1
    assert compared > 3500


def compare_scripts(our: bytes, their: bytes) -> None:
    """Compare scripts but for their heads and for where the docstring stands."""
    if b"\n''':'\n" not in our:
        assert our == their
        return
    imports = re.compile(rb"^(?:from|import) .*$", re.MULTILINE)
    # pip 24.0's own scripts import re, to take an .exe off their name.
    wanted = [line for line in imports.findall(their) if line != b"import re"]
    assert [line for line in imports.findall(our) if line != b"import re"] == wanted
    assert our.rstrip().rpartition(b"\n")[2] == their.rstrip().rpartition(b"\n")[2]
