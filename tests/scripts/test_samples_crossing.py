"""samples/crossing does what its README says, with wheels that are made here in place of an index's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import Command
from tests.support.machine import need, python
from tests.support.rehearsalmaker import SERVER
from tests.support.wheelmaker import make_wheel

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "samples" / "crossing"
TRIED = 'mount -t tmpfs none "$1" && mkdir "$1/proc" && mount --rbind /proc "$1/proc"'
DOT = "def dot(one, other):\n    return sum(a * b for a, b in zip(one, other))\n"


def require_namespaces(folder: Path) -> None:
    """Skip where nobody may mount, as in many containers."""
    need("ssh-keygen", "unshare", "chroot")
    user = [] if os.getuid() == 0 else ["--map-root-user"]
    folder.mkdir()
    words = ["unshare", *user, "--net", "--mount", "sh", "-c", TRIED, "sh", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("no namespace with a root of its own can be made here")


def cross(sample: Path, envbundle: Command, **environ: str) -> list[str]:
    """Run the sample, and return the lines of its standard output."""
    done = subprocess.run(
        [sample / "cross", envbundle.folder / "crossing"],
        env={**os.environ, **envbundle.environment(environ), "VENV": sys.prefix, "CHECKOUT": str(ROOT)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def require_told(lines: list[str]) -> None:
    """Both parcels are loaded, verified and served, and the first one is refused afterwards."""
    checked = [line for line in lines if line.endswith("; checked: signature, files, target, imports")]
    assert len(checked) == 2
    told = [line.split(";")[0] for line in lines if line.startswith(("ok: ", "refused: ", "{"))]
    assert told == [
        "ok: 1 loaded, 0 there already, 0 refused",
        checked[0].split(";")[0],
        '{"scores": [0.0, 3.0], "joblib": "1.3.1", "numpy": "1.24.3"}',
        "ok: 2 loaded, 0 there already, 0 refused",
        checked[1].split(";")[0],
        '{"scores": [0.0, 3.0], "joblib": "1.3.2", "numpy": "1.24.4"}',
        "refused: 0 loaded, 0 there already, 1 refused",
    ]
    assert "EB614" in "\n".join(lines)


@pytest.mark.thorough
def test_three_nights_cross(tmp_path: Path, envbundle: Command) -> None:
    require_namespaces(tmp_path / "root")
    python("3.8")
    sample = Path(shutil.copytree(SAMPLE, tmp_path / "sample"))
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name, version, code in (
        ("joblib", "1.3.1", ""), ("joblib", "1.3.2", ""), ("numpy", "1.24.3", DOT), ("numpy", "1.24.4", DOT),
    ):  # fmt: skip
        make_wheel(wheels, name, version, {f"{name}/__init__.py": f"__version__ = {version!r}\n{code}"})
    package = "azureml_inference_server_http"
    make_wheel(
        wheels, package, "1.3.4", {f"{package}/__init__.py": "", f"{package}/__main__.py": f"{SERVER}run()\n"}
    )
    require_told(cross(sample, envbundle, PIP_NO_INDEX="1", PIP_FIND_LINKS=f"{wheels} {envbundle.pips}"))


@pytest.mark.pypi
@pytest.mark.thorough
def test_three_nights_cross_to_the_real_server(tmp_path: Path, envbundle: Command) -> None:
    require_namespaces(tmp_path / "root")
    python("3.8")
    require_told(cross(SAMPLE, envbundle))
