"""Runs a program on a tree that it sees at another path, read-only, without a network.

    python -I -S isolate.py --source TREE --at EMPTY_FOLDER --report FILE -- PROGRAM [ARGUMENT ...]

The program gets one more argument, the path of the tree. FILE gets a JSON list of what is in force
(`no-network`, `read-only`, `moved`): containers often refuse some or all of it, and nothing is claimed
that was not done. Everything ends with the program: it has namespaces of its own (man 7 namespaces).
"""

import argparse
import ctypes
import fcntl
import json
import os
import socket
import struct
import sys

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE, MS_RELATIME = 1, 32, 4096, 16384, 1 << 18, 1 << 21
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME, MS_NODIRATIME = 2, 4, 8, 1024, 2048
ST_RELATIME = 4096
SIOCSIFFLAGS, IFF_UP = 0x8914, 1

LIBC = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> bool:
    """Leave namespaces; as an ordinary user, by way of a user namespace that maps this user alone."""
    user, group = os.getuid(), os.getgid()
    if LIBC.unshare(flags) == 0:
        return True
    if LIBC.unshare(flags | CLONE_NEWUSER) != 0:
        return False
    try:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", "{0} {0} 1".format(user)),
            ("gid_map", "{0} {0} 1".format(group)),
        ):
            with open("/proc/self/" + name, "w", encoding="ascii") as stream:
                stream.write(text)
    except OSError:
        pass  # the program then runs as the overflow user: the namespaces hold all the same
    return True


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> bool:
    """Attach a file system and tell whether it worked (man 2 mount)."""
    words = [word.encode("utf-8", "surrogateescape") or None for word in (source, target, kind)]
    return bool(LIBC.mount(*words, ctypes.c_ulong(flags), options.encode() or None) == 0)


def locked_flags(path: str) -> int:
    """Return the flags of a mount that a remount must repeat: a user namespace may not drop them."""
    current = os.statvfs(path).f_flag
    kept = current & (MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME)
    return kept | (MS_RELATIME if current & ST_RELATIME else 0)


def move(source: str, at: str) -> "tuple[str, list[str]]":
    """Show the tree at `at`, read-only, and hide it where it was; return its path and what holds."""
    held: "list[str]" = []
    if not mount("none", "/", "", MS_REC | MS_PRIVATE) or not mount(source, at, "", MS_BIND | MS_REC):
        return source, held
    if mount("none", at, "", MS_BIND | MS_REMOUNT | MS_RDONLY | locked_flags(at)):
        held.append("read-only")
    # At another path and gone from the old one: whoever still has the old one in it fails now.
    if mount("tmpfs", source, "tmpfs", MS_RDONLY, "size=4k"):
        held.append("moved")
    return at, held


def loopback() -> None:
    """Bring `lo` up: a test of one's own port is no use of the network."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", IFF_UP, b""))
    except OSError:
        pass  # no loopback is no less isolated


def main() -> None:
    """Isolate as far as the machine allows, report, and become the program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", required=True)
    parser.add_argument("--at", required=True)
    parser.add_argument("--report", required=True)
    parser.add_argument("program", nargs="+")
    options = parser.parse_args()
    held = []
    root = os.path.realpath(options.source)
    both = unshare(CLONE_NEWNS | CLONE_NEWNET)
    if both or unshare(CLONE_NEWNET):
        loopback()
        held.append("no-network")
    if both or unshare(CLONE_NEWNS):
        root, more = move(root, os.path.realpath(options.at))
        held += more
    with open(options.report, "w", encoding="ascii") as stream:
        json.dump(sorted(held), stream)
    os.chdir("/")
    os.execv(options.program[0], [*options.program, root])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    if not sys.platform.startswith("linux"):
        sys.exit("namespaces are Linux's")
    main()
