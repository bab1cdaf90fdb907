"""What is known to break bundles, as it is on the index: each is refused with its cause, or works."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support import machine

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command, Outcome

pytestmark = pytest.mark.pypi


@dataclass(frozen=True, kw_only=True)
class Trap:
    """Requirements, and how they must end."""

    wanted: tuple[str, ...]
    python: str = "3.8"
    options: tuple[str, ...] = ()
    code: int = 0
    found: frozenset[tuple[str, str]] = frozenset()
    """Code and subject of every finding that is more than information."""
    told: frozenset[tuple[str, str]] = frozenset()
    """Some that are information."""
    has: tuple[str, ...] = ()
    """Distributions that must be in the bundle."""
    tag: str = ""
    """In the filename of the wheel that was chosen for the first of `wanted`."""
    says: str = ""
    """In a cause, a remedy or the message."""
    runs: str = ""
    """Code that must run with the bundle where it was moved to."""


LIGHTGBM = ("lightgbm==3.3.5", "numpy==1.21.6", "scipy==1.7.3", "scikit-learn==1.0.2")
TRAPS = {
    "1 backport": Trap(
        wanted=("enum34==1.1.10",), code=1, found=frozenset({("EB402", "enum34")}), says="python_version <"
    ),
    "1 backport on 3.7": Trap(
        wanted=("enum34==1.1.10",), python="3.7", code=1, found=frozenset({("EB402", "enum34")})
    ),
    "1 negative": Trap(wanted=("configparser==5.3.0",), runs="import re, configparser"),
    "2 libraries in lib": Trap(wanted=("tbb4py==2021.10.0",), has=("tbb",), runs="import tbb; tbb.Monkey"),
    "3 two owners": Trap(
        wanted=("opencv-python==4.5.5.64", "opencv-python-headless==4.5.5.64", "numpy==1.21.6"),
        options=("--assume-lib", "libGL.so.1", "--assume-lib", "libglib-2.0.so.0",
                 "--assume-lib", "libgthread-2.0.so.0"),
        code=1,
        found=frozenset({("EB401", "opencv-python-headless")}),
    ),
    "3 one owner": Trap(wanted=("opencv-python-headless==4.5.5.64", "numpy==1.21.6"), runs="import cv2"),
    "4 glibc of the builder": Trap(
        wanted=("cryptography==44.0.0",), options=("--glibc", "2.27"), tag="manylinux_2_17_x86_64",
        runs="from cryptography.hazmat.primitives import hashes",
    ),
    "4 where the image has it": Trap(
        wanted=("cryptography==44.0.0",), options=("--glibc", "2.31"), tag="manylinux_2_28_x86_64"
    ),
    "4 with a large one": Trap(
        wanted=("pyarrow==17.0.0", "numpy==1.24.4"), options=("--glibc", "2.27"),
        tag="manylinux_2_17_x86_64", runs="import pyarrow",
    ),
    "5 markers of the target": Trap(
        wanted=("jsonschema==4.17.3",), has=("importlib-resources", "pkgutil-resolve-name"),
        runs="import jsonschema",
    ),
    "6 the full version": Trap(
        wanted=("pandas==1.3.5", "numpy==1.21.6"), python="3.7", has=("python-dateutil",),
        runs="import pandas; assert pandas.__version__ == '1.3.5'",
    ),
    "7 mistyped extra": Trap(wanted=("requests[sockz]==2.28.2",), code=2, says="socks"),
    "7 negative": Trap(wanted=("requests[socks]==2.28.2",), has=("pysocks",)),
    "8 source alone": Trap(
        wanted=("docopt==0.6.2",), told=frozenset({("EB602", "docopt")}), runs="import docopt"
    ),
    "8 refused": Trap(wanted=("docopt==0.6.2",), options=("--no-build",), code=2, says="docopt"),
    "10 library of the system": Trap(
        wanted=LIGHTGBM, code=1, found=frozenset({("EB303", "lightgbm")}), says="libgomp.so.1"
    ),
    "10 said to be there": Trap(wanted=LIGHTGBM, options=("--assume-lib", "libgomp.so.1")),
    "11 start-up code": Trap(wanted=("setuptools==56.0.0",), runs="import setuptools"),
    "12 namespace": Trap(
        wanted=("protobuf==3.20.1", "google-auth==1.35.0"), has=("protobuf",),
        runs="import google.protobuf.message, google.auth",
    ),
    "12 namespace of zope": Trap(wanted=("zope.interface==5.4.0",), runs="import zope.interface"),
}  # fmt: skip


@pytest.mark.parametrize("name", TRAPS)
def test_trap(envbundle: Command, tmp_path: Path, name: str) -> None:
    trap = TRAPS[name]
    done = envbundle("create", *trap.wanted, "--python", trap.python, "-o", "out", "--json", *trap.options)
    assert done.code == trap.code, done.stdout + done.stderr
    assert findings(done, loud=True) == trap.found
    assert trap.told <= findings(done, loud=False)
    assert trap.says in done.stdout
    assert (tmp_path / "out").exists() == (trap.code == 0)
    if trap.code == 0:
        rows = json.loads((tmp_path / "out/manifest.json").read_text())["distributions"]
        known = {one["name"]: one["filename"] for one in rows}
        assert set(trap.has) <= set(known)
        assert trap.tag in known[canonicalize_name(Requirement(trap.wanted[0]).name)]
        run_moved(tmp_path / "out", tmp_path / "moved elsewhere", trap)


def findings(done: Outcome, *, loud: bool) -> set[tuple[str, str]]:
    found = done.json().get("findings", ())
    return {(one["code"], one["subject"]) for one in found if (one["severity"] != "info") is loud}


def run_moved(bundle: Path, place: Path, trap: Trap) -> None:
    """Run as the image does: the base interpreter, and the bundle on PYTHONPATH."""
    python = machine.python(trap.python)
    bundle.rename(place)
    path = place / f"lib/python{trap.python}/site-packages"
    done = subprocess.run(
        [python, "-c", trap.runs],
        env={"PYTHONPATH": str(path), "PATH": "/usr/bin:/bin", "PYTHONNOUSERSITE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
