"""Mounts an image read-only where nobody else sees it: in a mount namespace of this thread's own."""

from __future__ import annotations

import contextlib
import ctypes
import os
from typing import TYPE_CHECKING

from bundler.errors import CommandError
from bundler.system import process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLONE_NEWNS = 0x00020000
MS_REC, MS_PRIVATE = 16384, 1 << 18
OWN = "/proc/thread-self/ns/mnt"


@contextlib.contextmanager
def mounted(image: Path, at: Path, *, home: Path) -> Iterator[bool]:
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
                    ["mount", "-t", "squashfs", "-o", "loop,ro,nosuid,nodev", image.resolve(), at], env=env
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
            before = _held(stack, OWN, os.O_RDONLY)
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
