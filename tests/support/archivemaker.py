"""Makes bundles that are hard to pack, their archives, and opens archives with the system's own tools."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from bundler.bundle import manifest, standalone
from bundler.errors import InputError
from bundler.formats import NAMES, checking, packing, reading, unpacking
from bundler.system.progress import Progress

from tests.support import machine
from tests.support.bundlemaker import make_manifest, unpack, write_manifest
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ARCHIVES = NAMES[1:]
TOOLS = {"tar.zst": "zstd", "zip": "unzip", "squashfs": "unsquashfs", "oci": "skopeo"}
DEEP = "/".join(["a-folder-with-quite-a-long-name"] * 9)
FILES: dict[str, str | bytes] = {
    "alpha/__init__.py": "from alpha import part\nVALUE = part.VALUE\n",
    "alpha/part.py": "VALUE = 42\n",
    "alpha/empty": "",
    "alpha/run.sh": "#!/bin/sh\necho run\n",
    "alpha/größe-日本.txt": "names that are not ASCII\n",
    "alpha/a name with spaces": "1",
    'alpha/quoted " and \\ escaped': "2",
    "alpha/#comment": "3",
    "-option": "4",
    f"{'long' * 30}.txt": "a name of more than 100 characters",
    f"{DEEP}/file.txt": "a path of more than 256",
    "alpha/noise.bin": random.Random(5).randbytes(1_700_000),
    "alpha/zeros.bin": bytes(2_500_000),
}


SMALL: dict[str, str | bytes] = {
    "alpha/__init__.py": "VALUE = 42\n",
    "alpha/part.py": "PART = 1\n",
    "alpha/noise.bin": random.Random(5).randbytes(600_000),
}
PART = "lib/python3.8/site-packages/alpha/part.py"


def make_archived(folder: Path, *, files: dict[str, str | bytes] | None = None) -> Path:
    """Make a bundle of one wheel that has every kind of name, size and mode."""
    wheels = folder.with_name(f"{folder.name}-wheels")
    wheels.mkdir(parents=True)
    site_packages = unpack(folder, make_wheel(wheels, "alpha", files=FILES if files is None else files))
    shutil.rmtree(wheels)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or path.suffix == ".sh" else 0o644)
    tool = folder / "bin" / "tool"
    tool.parent.mkdir()
    tool.write_text("#!/usr/bin/env python3\n")
    tool.chmod(0o755)
    assert (site_packages / "alpha").is_dir()
    return describe(folder, modules=["alpha"])


def describe(folder: Path, *, modules: Sequence[str] = ()) -> Path:
    """Write (again) what stands beside the tree."""
    for name in (manifest.NAME, manifest.SUMS, "verify.py"):
        (folder / name).unlink(missing_ok=True)
    write_manifest(folder, make_manifest(folder, modules=modules))
    (folder / "verify.py").write_text(standalone.source(), encoding="utf-8")
    return folder


def pack(bundle: Path, output: Path, *kinds: str, force: bool = False) -> list[Path]:
    """Pack, and return where the archives are."""
    scratch = output.with_name(f".{output.name}-scratch")
    scratch.mkdir(parents=True, exist_ok=True)
    progress = Progress(stream=io.StringIO())
    packed = packing.pack(bundle, kinds=kinds, output=output, scratch=scratch, force=force, progress=progress)
    assert list(scratch.iterdir()) == []
    scratch.rmdir()
    return [one.path for one in packed]


def need(kind: str) -> None:
    """Skip where this machine lacks what makes or opens a format."""
    machine.need(*filter(None, ("mksquashfs" if kind == "squashfs" else "", TOOLS.get(kind, ""))))


def digest(path: Path) -> dict[str, str]:
    """Relative path → hash of a file, or of all files of an OCI layout."""
    files = [path] if path.is_file() else [one for one in sorted(path.rglob("*")) if one.is_file()]
    return {
        "" if one == path else str(one.relative_to(path)): hashlib.sha256(one.read_bytes()).hexdigest()
        for one in files
    }


def tree(folder: Path) -> dict[str, tuple[int, str]]:
    """Relative path → mode and content of everything below a folder; nothing in it may be a link."""
    found = {}
    for path in folder.rglob("*"):
        assert not path.is_symlink()
        content = "folder" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path.relative_to(folder))] = (path.stat().st_mode & 0o7777, content)
    return found


def unpack_with_tools(archive: Path, kind: str, folder: Path) -> Path:
    """Unpack with tar, unzip, unsquashfs or skopeo, which know nothing of envbundle."""
    need(kind)
    folder.mkdir()
    if kind == "oci":
        copied = folder.with_name(f"{folder.name}-copied")
        run("skopeo", "copy", "--quiet", "--insecure-policy", f"oci:{archive}", f"dir:{copied}")
        (layer,) = [path for path in copied.iterdir() if path.read_bytes()[:4] == b"\x28\xb5\x2f\xfd"]
        run("tar", "--zstd", "-xpf", layer, "-C", folder)
    elif kind == "squashfs":
        run("unsquashfs", "-quiet", "-no-progress", "-force", "-dest", folder, archive)
    elif kind == "zip":
        run("unzip", "-q", archive, "-d", folder)
    else:
        run("tar", "-xpf", archive, "-C", folder)
    return folder


def run(*words: str | Path) -> str:
    """Run a program of the system with an environment of its own, and return what it printed."""
    done = subprocess.run(
        [str(word) for word in words],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def change(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


def codes(path: Path) -> list[tuple[str, str]]:
    kind = reading.kind_of(path)
    assert kind is not None
    return [(one.code, one.subject) for one in checking.check(path, kind=kind).findings]


def refused(path: Path, kind: str, problem: str, scratch: Path) -> None:
    """Neither checked nor opened, and nothing is left of the attempt."""
    before = sorted(scratch.rglob("*"))
    assert reading.kind_of(path) == kind
    with pytest.raises(InputError, match=problem) as caught:
        checking.check(path, kind=kind)
    assert caught.value.hint or "JSON" in problem
    with pytest.raises(InputError, match=problem):
        open_it(path, scratch)
    assert sorted(scratch.rglob("*")) == before


def open_it(archive: Path, scratch: Path) -> None:
    with unpacking.opened(archive, scratch=scratch):
        pass
