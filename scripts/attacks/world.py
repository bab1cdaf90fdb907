"""A folder with all that runs of envbundle need, so that whatever they leave is seen."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.support import machine
from tests.support.wheelmaker import make_wheel

REPOSITORY = Path(__file__).resolve().parents[2]
TARGET = "3.8"
SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER (man 2 prctl)."""


@dataclass(frozen=True, kw_only=True)
class World:
    """A folder with wheels, a cache, a home and a folder for temporary files; runs have `work` as theirs."""

    root: Path

    @property
    def work(self) -> Path:
        """Where commands run, and where their output is."""
        return self.root / "work"

    @property
    def temporary(self) -> Path:
        """What TMPDIR names."""
        return self.root / "tmp"

    @property
    def cache(self) -> Path:
        """The store."""
        return self.root / "cache"

    @property
    def wheels(self) -> Path:
        """The only source of distributions, with the pips that drive the targets."""
        return self.root / "wheels"

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables of a run: nothing of the caller's but PATH and where interpreters are looked for."""
        kept = {name: os.environ[name] for name in ("PATH", "PYENV_ROOT") if name in os.environ}
        return {
            **kept,
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": str(REPOSITORY),
            "ENVBUNDLE_CACHE_DIR": str(self.cache),
            "PIP_CONFIG_FILE": os.devnull,
            **(more or {}),
        }

    def start(
        self,
        *words: str,
        more: Mapping[str, str] | None = None,
        output: IO[bytes] | None = None,
        alone: bool = False,
    ) -> subprocess.Popen[bytes]:
        """Start envbundle; what it prints goes to a file, or by default into a pipe.

        :param alone: the words are a program and its arguments: the target's Python runs it, as in an image.
        """
        program = [str(target_python()), "-I"] if alone else [sys.executable, "-m", "bundler"]
        return subprocess.Popen(
            [*program, *words],
            cwd=self.work,
            env=self.environment(more),
            stdin=subprocess.DEVNULL,
            stdout=output or subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, *words: str, alone: bool = False) -> tuple[int, str]:
        """Run envbundle, or a program, to its end; return its exit code and what it printed."""
        process = self.start(*words, alone=alone)
        printed = process.communicate(timeout=600)[0]
        return process.returncode, printed.decode("utf-8", "replace")

    def temporary_names(self) -> set[str]:
        """Return what lies in the folder for temporary files, and hidden names beside outputs."""
        beside = (path for path in self.work.rglob(".*") if not path.name.startswith(".lock"))
        return {
            str(path.relative_to(self.root)) for path in (*self.temporary.iterdir(), *beside) if path.exists()
        }


def target_python() -> Path:
    """Return the Python of the bundles."""
    found = machine.find_python(TARGET)
    if found is None:
        raise FileNotFoundError(f"no CPython {TARGET} on this machine")
    return found


def make_world(root: Path) -> World:
    """Fill an empty folder."""
    world = World(root=root)
    for folder in (world.work, world.temporary, world.cache, world.wheels, root / "home"):
        folder.mkdir(parents=True)
    pips = sorted(Path(sys.prefix, "pips").glob("pip-*.whl"))
    if not pips:
        raise FileNotFoundError(f"no pips in {sys.prefix}/pips: scripts/test fetches them")
    for pip in pips:
        (world.wheels / pip.name).symlink_to(pip)
    files: dict[str, str | bytes] = {f"alpha/m{number}.py": f"VALUE = {number}\n" for number in range(60)}
    make_wheel(
        world.wheels, "alpha", files={**files, "alpha/__init__.py": "import beta\n"}, requires=["beta"]
    )
    make_wheel(world.wheels, "beta", files={"beta.py": "VALUE = 1\n"})
    return world


def digest(*places: Path) -> str:
    """Return a hash of the names, kinds and contents of all that lies at and below places."""
    found = hashlib.sha256()
    for place in places:
        for path in sorted([place, *place.rglob("*")]):
            name = path.relative_to(place)
            kind = "link" if path.is_symlink() else "folder" if path.is_dir() else "file"
            content = str(path.readlink()) if path.is_symlink() else ""
            if kind == "file":
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            found.update(f"{name}\0{kind}\0{content}\0".encode())
    return found.hexdigest()


@contextlib.contextmanager
def adopting() -> Iterator[None]:
    """Let this process inherit what killed runs leave, so that it can be found."""
    libc = ctypes.CDLL(None)
    libc.prctl(SUBREAPER, ctypes.c_ulong(1))
    try:
        yield
    finally:
        libc.prctl(SUBREAPER, ctypes.c_ulong(0))


def descendants() -> dict[int, str]:
    """Return number → command line of the processes below this one that still run."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    parents.setdefault(int(parent), []).append(int(entry.name))
    found: dict[int, str] = {}
    waiting = [os.getpid()]
    while waiting:
        for number in parents.get(waiting.pop(), []):
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ")
                found[number] = line.decode("utf-8", "replace").strip()
                waiting.append(number)
    return found


def end(processes: Iterable[int]) -> None:
    """Kill what a run has left; what this process has inherited is waited for."""
    for number in processes:
        with contextlib.suppress(OSError):
            os.kill(number, signal.SIGKILL)
    for number in processes:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(number, 0)
