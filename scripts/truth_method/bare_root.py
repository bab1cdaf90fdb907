"""A bare Debian with nothing but one CPython, and a way to run that CPython in it over a read-only folder."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.system import process

from scripts.truth_method import older_glibc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bundler.model import Interpreter

SUITES = {"3.7": "bullseye", "3.8": "bullseye", "3.9": "bullseye", "3.10": "bullseye"}
"""Python → Debian's suite; every later one stands on bookworm."""
GLIBC = {"bullseye": 31, "bookworm": 36}
LIBRARIES = "lib/x86_64-linux-gnu"
OWN = "usr/local/lib/python-needs"
SLIM_LACKS = ("_tkinter", "nis", "_test", "_ctypes_test", "_xxtestfuzz")
"""Modules of the standard library whose libraries a slim image of Python lacks, or which only test it."""
TOGETHER = ("libtinfo.so.6",)
"""The root has an older one, which does not go with the machine's libncursesw."""
MOUNT = "/srv/service/packages"
"""Where the folder on trial is seen; it was somewhere else when it was made."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOME = "/root"
"""What every container engine sets, if the image does not, as it does PATH: `azureml.core` asks for it."""
DEBOOTSTRAP_TIMEOUT = 1800.0


@dataclass(frozen=True, kw_only=True)
class BareRoot:
    """A Debian minbase and a copy of an interpreter without site-packages."""

    root: Path
    copy: Path
    """Holds what belongs to the interpreter, each part below it at the path where it is seen."""
    parts: tuple[Path, ...]
    executable: Path

    def command(self, tree: Path, site: str, words: list[str]) -> list[str]:
        """Return the command that runs the interpreter with `words` and nothing else around it.

        No network, no variables but PATH, HOME and PYTHONPATH, everything read-only but /tmp and the home.

        :param site: the folder of `tree` that is put on the import path, relative to it.
        """
        binds: list[str | Path] = ["--ro-bind", self.root, "/", "--proc", "/proc", "--dev", "/dev"]
        binds += ["--tmpfs", "/tmp", "--tmpfs", HOME, "--ro-bind", tree, MOUNT]
        for part in self.parts:
            binds += ["--ro-bind", _below(self.copy, part), part]
        alone = ["--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--chdir", "/"]
        variables = {"PYTHONPATH": f"{MOUNT}/{site}", "PATH": PATH, "HOME": HOME}
        environment = [word for name, value in variables.items() for word in ("--setenv", name, value)]
        return list(map(str, ["bwrap", *binds, *alone, *environment, self.executable, *words]))


def suite(minor: str) -> str:
    """Return Debian's suite for a Python's minor version."""
    return SUITES.get(minor, "bookworm")


def obtain(interpreter: Interpreter, *, cache: Path) -> BareRoot:
    """Return the bare root for an interpreter, made once and kept in `cache`.

    :raises CommandError: debootstrap, gcc or ldconfig failed.
    """
    name = suite(interpreter.minor)
    root = cache / name
    copy = cache / f"{name}-python{interpreter.version}"
    with _locked(cache):
        env = process.clean_environment(home=cache)
        if not root.exists():
            _debootstrap(name, root, env=env)
        parts = _parts(interpreter, env=env)
        if not copy.exists():
            _copy(parts, copy, root=root, minor=GLIBC[name], env=env)
    return BareRoot(root=root, copy=copy, parts=parts, executable=interpreter.executable)


def _parts(interpreter: Interpreter, *, env: dict[str, str]) -> tuple[Path, ...]:
    """What belongs to an interpreter: program, own library, folders of the standard library."""
    libraries = [
        path for path in _needs(interpreter.executable, env=env) if path.name.startswith("libpython")
    ]
    folders = set(interpreter.stdlib)
    outermost = sorted(one for one in folders if not folders.intersection(one.parents))
    return (interpreter.executable, *libraries, *outermost)


def _below(folder: Path, path: Path) -> Path:
    return folder / str(path).lstrip("/")


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        flock(lock, LOCK_EX)
        yield


def _debootstrap(name: str, root: Path, *, env: dict[str, str]) -> None:
    making = root.with_name(f"{name}.making")
    shutil.rmtree(making, ignore_errors=True)
    process.run(
        ["unshare", "--mount", "debootstrap", "--variant=minbase", name, making],
        env=env,
        timeout=DEBOOTSTRAP_TIMEOUT,
    )
    if GLIBC[name] < 34:
        older_glibc.preload(making, libraries=making / LIBRARIES, env=env)
    (making / OWN).mkdir()
    (making / "etc" / "ld.so.conf.d" / "00-python-needs.conf").write_text(f"/{OWN}\n", encoding="ascii")
    for folder in (MOUNT, "/proc"):
        point = making / folder.lstrip("/")
        if point.is_symlink():  # debootstrap in a container
            point.unlink()
        point.mkdir(parents=True, exist_ok=True)
    making.rename(root)


def _copy(parts: tuple[Path, ...], copy: Path, *, root: Path, minor: int, env: dict[str, str]) -> None:
    """Copy an interpreter alone, and the libraries that the root lacks for it."""
    making = copy.with_name(f"{copy.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    skipped = shutil.ignore_patterns(
        "test", "tests", "config-*", "*.a", "site-packages", "__pycache__", "idlelib"
    )
    for part in parts:
        target, point = _below(making, part), _below(root, part)
        target.parent.mkdir(parents=True, exist_ok=True)
        if part.is_dir():
            shutil.copytree(part, target, symlinks=True, ignore=skipped)
            point.mkdir(parents=True, exist_ok=True)
        else:
            shutil.copy(part, target)
            point.parent.mkdir(parents=True, exist_ok=True)
            point.touch()
    for path in sorted(making.rglob("*")):
        if path.is_symlink() or not path.is_file() or not _is_elf(path):
            continue
        if path.name.startswith(SLIM_LACKS):
            path.unlink()
            continue
        for library in _needs(Path("/", path.relative_to(making)), env=env):
            known = library.name not in TOGETHER and _has(root, library.name)
            if not known and library not in parts:
                shutil.copy(library, root / OWN / library.name)
                older_glibc.lower(root / OWN / library.name, minor=minor)
        older_glibc.lower(path, minor=minor)
    process.run(["/sbin/ldconfig", "-r", root], env=env)
    making.rename(copy)


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _needs(path: Path, *, env: dict[str, str]) -> Iterator[Path]:
    """The libraries that the loader maps for a file, on this machine."""
    shown = process.run(["ldd", path], env=env, check=False).stdout
    for match in re.finditer(r"=> (/\S+) \(0x", shown):
        yield Path(match[1])


def _has(root: Path, soname: str) -> bool:
    folders = (LIBRARIES, f"usr/{LIBRARIES}", "lib64", OWN)
    return any(os.path.lexists(root / folder / soname) for folder in folders)
