"""Gives a folder with the tree of an archive: mounted read-only where that can be, else unpacked."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bundler.errors import CommandError, MachineError
from bundler.formats.entries import on_disk
from bundler.formats.reading import Archive, reading, require
from bundler.system import process
from bundler.system.files import real_path

CLONE_NEWNS = 0x00020000
MS_REC, MS_PRIVATE = 16384, 1 << 18
MOUNT_NAMESPACE = "/proc/thread-self/ns/mnt"


@contextlib.contextmanager
def opened(path: Path, *, scratch: Path) -> Iterator[Path]:
    """Give a folder with a bundle's tree: itself, or an archive mounted read-only or unpacked in `scratch`.

    A squashfs image is mounted where this process may: in a mount namespace that only the calling thread and
    what it starts are in, until the end.

    :param scratch: a private folder; left as it was.
    :raises InputError: no bundle, damaged, or with members that no archive of a bundle has.
    :raises MachineError: it cannot be unpacked here.
    """
    kind = require(path)
    if kind == "dir":
        yield path
        return
    with tempfile.TemporaryDirectory(dir=scratch, prefix="opened-") as name:
        folder = Path(name, "bundle")
        folder.mkdir()
        if kind == "squashfs":
            with reading(path, kind=kind) as archive:
                for _ in archive.members:
                    pass  # their names and kinds are checked before the kernel reads the image
            with _mounted(path, folder, home=Path(name)) as done:
                if done:
                    yield folder
                    return
        with reading(path, kind=kind) as archive:
            unpack(archive, folder)
        yield folder


def unpack(archive: Archive, folder: Path) -> None:
    """Write every member into an empty folder.

    :raises MachineError: there is no room for what the manifest lists.
    """
    size = sum(file.size for file in archive.listed.values())
    free = shutil.disk_usage(folder).free
    if size > free:
        raise MachineError(
            f"{archive.path} needs {size:,} bytes to be unpacked, and {folder} has {free:,} left",
            hint="set TMPDIR to a folder on a larger disk, or use --no-imports, which unpacks nothing",
        )
    for entry, content in archive.members:
        path = on_disk(folder, entry.path)
        if entry.folder:
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(entry.mode)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb", buffering=0) as file:
            for block in content:
                file.write(block)
            os.fchmod(file.fileno(), entry.mode)


@contextlib.contextmanager
def _mounted(image: Path, at: Path, *, home: Path) -> Iterator[bool]:
    """Mount a squashfs image on an empty folder; gives `False` where that is refused or fails.

    The namespace belongs to the calling thread and to the programs and threads that it starts, and dies with
    them: a killed run leaves no mount (man 7 mount_namespaces).

    :param home: an empty folder for the program that mounts.
    """
    with contextlib.ExitStack() as stack:
        done = stack.enter_context(_own_namespace())
        if done:
            env = process.clean_environment(home=home)
            try:
                process.run(
                    ["mount", "-t", "squashfs", "-o", "loop,ro,nosuid,nodev", real_path(image), at], env=env
                )
            except CommandError:
                done = False
            else:
                stack.callback(process.run, ["umount", "--lazy", at], env=env, check=False, cleanup=True)
        yield done


@contextlib.contextmanager
def _own_namespace() -> Iterator[bool]:
    libc = ctypes.CDLL(None, use_errno=True)
    with contextlib.ExitStack() as stack:
        try:
            before = _held(stack, MOUNT_NAMESPACE, os.O_RDONLY)
            here = _held(stack, ".", os.O_PATH | os.O_DIRECTORY)
        except OSError:
            yield False
            return
        if libc.unshare(CLONE_NEWNS) != 0:
            yield False
            return
        try:
            yield libc.mount(b"none", b"/", None, ctypes.c_ulong(MS_REC | MS_PRIVATE), None) == 0
        finally:
            # Entering a namespace also moves to its root.
            libc.setns(before, CLONE_NEWNS)
            os.fchdir(here)


def _held(stack: contextlib.ExitStack, path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    stack.callback(os.close, descriptor)
    return descriptor
