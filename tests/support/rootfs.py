"""A root file system of Debian with this machine's CPython 3.8, and images of it; no registry is asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

LIBRARIES = "libssl3,libffi8,libexpat1,libsqlite3-0"
"""What modules of CPython's standard library load."""
USER = "dockeruser:x:1001:1001::/home:/bin/sh\n"
ONLY_LOOPBACK = """
import fcntl, os, socket, struct, sys
with socket.socket() as one:
    fcntl.ioctl(one, 0x8914, struct.pack("16sh", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
os.execvp(sys.argv[1], sys.argv[1:])
"""
AMLENV = "opt/miniconda/envs/amlenv"


def require(*programs: str) -> None:
    """Skip where a program, or root, is missing."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if os.getuid() != 0:
        pytest.skip("debootstrap, chroot and buildah's chroot isolation need root")


def make_root(folder: Path, python: Path) -> Path:
    """The smallest Debian 12 that Python's modules load in, laid out as Azure ML's images are."""
    require("debootstrap")
    words = [
        "unshare",
        "--mount",
        "debootstrap",
        "--variant=minbase",
        f"--include={LIBRARIES}",
        "bookworm",
        str(folder),
    ]
    subprocess.run(words, check=True, capture_output=True, timeout=900)
    home = python.resolve().parent.parent
    inside = folder / home.relative_to("/")
    for part in ("bin", "lib"):
        skipped = shutil.ignore_patterns("test", "config-*", "__pycache__", "*.a", "site-packages")
        shutil.copytree(home / part, inside / part, symlinks=True, ignore=skipped)
    (folder / "root").chmod(0o755)  # the image's user must reach the interpreter
    (folder / AMLENV).parent.mkdir(parents=True)
    (folder / AMLENV).symlink_to(home)
    with (folder / "etc" / "passwd").open("a") as users:
        users.write(USER)
    if (folder / "proc").is_symlink():  # debootstrap in a container
        (folder / "proc").unlink()
        (folder / "proc").mkdir()
    return folder


@dataclass(frozen=True, kw_only=True)
class Images:
    """buildah with a storage of its own; nothing in it ever asks a registry."""

    storage: Path

    def run(self, *words: str | Path, network: bool = True, ok: bool = True) -> str:
        """Run buildah; its chroot isolation has no `--network none`, so a namespace is put around it."""
        around = [] if network else ["unshare", "--net", sys.executable, "-c", ONLY_LOOPBACK]
        options: list[str | Path] = ["--root", self.storage / "root", "--runroot", self.storage / "run"]
        options += ["--storage-driver", "vfs"]
        done = subprocess.run(
            [*around, "buildah", *map(str, options), *map(str, words)],
            env={"PATH": os.environ["PATH"], "HOME": str(self.storage)},
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) is ok, done.stdout + done.stderr
        return done.stdout.strip() if ok else done.stdout + done.stderr

    def of_root(self, root: Path, name: str) -> None:
        """Make an image of a root file system."""
        container = self.run("from", "scratch")
        self.run("copy", "-q", container, root, "/")
        self.run("commit", "-q", container, name)
        self.run("rm", container)

    def build(self, context: Path, name: str, *, ok: bool = True, file: Path | None = None) -> str:
        """Build without a network."""
        words: list[str | Path] = [
            "build",
            "--isolation",
            "chroot",
            "--pull-never",
            "-f",
            file or context / "Dockerfile",
        ]
        words += ["-t", name, context]
        return self.run(*words, network=False, ok=ok)

    def inside(self, name: str, *words: str) -> str:
        """Run a program in a new container of an image, as its user, with its variables and no network."""
        container = self.run("from", "--pull-never", name)
        try:
            return self.run("run", "--isolation", "chroot", container, "--", *words, network=False)
        finally:
            self.run("rm", container)
