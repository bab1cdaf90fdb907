"""The sample service's bundle in every format: made twice, compared, mounted, imported without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.archivemaker import ARCHIVES, digest, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.command import Command

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "scoring"
FORMATS = ",".join(["dir", *ARCHIVES])
ELSEWHERE = (
    "unshare",
    "--uts",
    "sh",
    "-c",
    'hostname elsewhere && exec "$@"',
    "sh",
    "faketime",
    "-f",
    "+400d",
)
IMPORT = "import pandas, sklearn.ensemble; print(pandas.__version__, pandas.__file__)"


def imports(python: Path, prefix: Path) -> str:
    """Import from a mount without a network and without an environment."""
    site_packages = prefix / f"lib/{python.name}/site-packages"
    words = ["unshare", "--net", "env", "-i", f"PYTHONPATH={site_packages}", str(python), "-c", IMPORT]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[list[str]]:
    """Options that give podman a storage of the test's own, where all tools are there."""
    needed = ("mksquashfs", "faketime", "unshare", "podman", "skopeo")
    lacking = [tool for tool in needed if shutil.which(tool) is None]
    if lacking or os.getuid() != 0:
        pytest.skip(f"needs root and {', '.join(needed)}; lacking: {', '.join(lacking) or 'root'}")
    run = tempfile.mkdtemp(prefix="envbundle-test-", dir="/tmp")  # podman takes no path over 50 characters
    words = ["--root", str(tmp_path / "storage"), "--runroot", run, "--storage-driver", "vfs"]
    yield words
    subprocess.run(["podman", *words, "image", "unmount", "--all"], check=True, capture_output=True)
    subprocess.run(["podman", *words, "rmi", "--all", "--force"], check=True, capture_output=True)
    shutil.rmtree(run)


@pytest.mark.pypi
def test_scoring(envbundle: Command, target_python: Path, tmp_path: Path, storage: list[str]) -> None:
    minor = target_python.name.removeprefix("python")
    requirements = SAMPLE / f"requirements-{minor}.txt"
    lock = tmp_path / "pylock.toml"
    locked = envbundle("lock", "-r", requirements, "--python", minor, "-o", lock, "-q")
    assert locked.code == 0, locked.stderr
    words = ["create", "--lock", str(lock), "--python", minor, "-q", "--format", FORMATS, "-o"]
    first, second = tmp_path / "one" / "env", tmp_path / "two" / "deeper folder" / "env"
    done = envbundle(*words, first, environ={"TZ": "UTC"})
    assert done.code == 0, done.stderr
    environ = {"LC_ALL": "C", "TZ": "Asia/Tokyo"}
    again = [*ELSEWHERE, *envbundle.argv(*words, second)]
    subprocess.run(again, env=envbundle.environment(environ), umask=0o077, cwd="/", check=True)
    assert tree(first) == tree(second)
    for kind in ARCHIVES:
        assert digest(Path(f"{first}.{kind}")) == digest(Path(f"{second}.{kind}")), kind
        verified = envbundle("verify", f"{first}.{kind}", "--no-imports")
        assert verified.code == 0, verified.stderr
    at = tmp_path / "mount"
    at.mkdir()
    subprocess.run(["mount", "-t", "squashfs", "-o", "loop,ro", f"{first}.squashfs", at], check=True)
    try:
        assert str(at) in imports(target_python, at)
        assert tree(at) == tree(first)
    finally:
        subprocess.run(["umount", at], check=True)
    inspected = subprocess.run(["skopeo", "inspect", f"oci:{first}.oci"], capture_output=True, check=True)
    assert b'"Architecture": "amd64"' in inspected.stdout
    image = _said("podman", *storage, "pull", "--quiet", f"oci:{first}.oci")
    layer = Path(_said("podman", *storage, "image", "mount", image))
    assert str(layer) in imports(target_python, layer)
    assert tree(layer) == tree(first)


def _said(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
