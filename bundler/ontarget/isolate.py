"""Runs a program without a network on what it cannot change: one tree, or a root file system of its own.

    python -I -S isolate.py --source TREE --at EMPTY_FOLDER --report FILE [--hide SONAME] -- PROGRAM [ARG ...]
    python -I -S isolate.py --plan PLAN --at EMPTY_FOLDER --report FILE

In the first form the program sees the tree at another path, and gets that path as one more argument.
In the second the folder becomes `/`: the system's folders, and what the plan shows (JSON: `show`, pairs
of a path here and the path there; `user`, a number; `inside` and `in_place`, the program with its arguments
for the one case and for the other). FILE gets a JSON list of what is in force: `no-network`, `read-only`,
`moved`, and of a plan `other-user` and `own-processes`. Containers often refuse some or all of it, and
nothing is claimed that was not done. Everything ends with the program: it has namespaces of its own
(man 7 namespaces).
"""

import argparse
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import sys

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
CLONE_NEWIPC, CLONE_NEWPID = 0x08000000, 0x20000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE, MS_RELATIME = 1, 32, 4096, 16384, 1 << 18, 1 << 21
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME, MS_NODIRATIME = 2, 4, 8, 1024, 2048
ST_RELATIME = 4096
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38

# What a root file system shows of this one: the system, and nothing of its users and its services.
SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/sys"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"),
    *("/etc/localtime", "/etc/nsswitch.conf", "/etc/ssl/certs", "/etc/ssl/openssl.cnf"),
)
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
REFUSED = "isolate: no root file system of its own: "
LINKS = {"/dev/fd": "", "/dev/stdin": "/0", "/dev/stdout": "/1", "/dev/stderr": "/2"}
ACCOUNTS = {
    "/etc/passwd": "root:x:0:0::/:/bin/sh\nother:x:{0}:{0}::/tmp:/bin/sh\n",
    "/etc/group": "root:x:0:\nother:x:{0}:\n",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
}

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
    # The tree is at another path, and the old one is empty: code that has the old path in it fails.
    if mount("tmpfs", source, "tmpfs", MS_RDONLY, "size=4k"):
        held.append("moved")
    return at, held


def hide(names: "list[str]") -> bool:
    """Make libraries of the system unloadable, and tell whether that worked for each that is there."""
    folders = [folder for folder in LIBRARIES if os.path.isdir(folder)]
    folders += [
        entry.path for folder in folders for entry in os.scandir(folder) if entry.name.endswith("-gnu")
    ]
    found = {os.path.realpath(os.path.join(folder, name)) for folder in folders for name in names}
    done = [mount("/dev/null", path, "", MS_BIND) for path in sorted(found) if os.path.isfile(path)]
    return all(done)


def loopback() -> None:
    """Bring `lo` up: a test of one's own port is no use of the network."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", IFF_UP, b""))
    except OSError:
        pass  # no loopback is no less isolated


def attach(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """Attach a file system, or raise OSError."""
    if not mount(source, target, kind, flags, options):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def show(source: str, target: str, *, read_only: bool = True) -> None:
    """Show a file or folder of this file system at a path of the new one; raises OSError."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT, 0o644))
    attach(source, target, "", MS_BIND | MS_REC)
    if read_only:
        attach("none", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY | locked_flags(target))


def furnish(root: str, shown: "list[tuple[str, str]]", user: int) -> None:
    """Make a root file system at `root` in which only /tmp and /dev/shm can be written; raises OSError."""
    attach("none", "/", "", MS_REC | MS_PRIVATE)
    attach("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    os.mkdir(root + "/etc")
    for path in SYSTEM:
        if os.path.islink(path):
            os.symlink(os.readlink(path), root + path)
        elif os.path.exists(path):
            show(path, root + path)
    for device in DEVICES:
        show(device, root + device, read_only=False)
    for link, rest in LINKS.items():
        os.symlink("/proc/self/fd" + rest, root + link)
    for name, text in ACCOUNTS.items():
        with open(root + name, "w", encoding="ascii") as stream:
            stream.write(text.format(user))
    for folder in ("/tmp", "/dev/shm"):  # noqa: S108 - of the new root
        os.mkdir(root + folder)
        attach("tmpfs", root + folder, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    os.mkdir(root + "/proc")
    # Some containers refuse a new one; theirs names our own processes by other numbers, which does as well.
    if not mount("proc", root + "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC):
        attach("/proc", root + "/proc", "", MS_BIND | MS_REC)
    for source, path in shown:
        show(source, root + path)
    attach("none", root, "", MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)


def die_with_parent() -> None:
    """End when the parent is killed; has to be said anew after rights were given up (man 2 prctl)."""
    LIBC.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))


def go_on_as_first_process() -> None:
    """Go on as the first process of the new namespace, with which everything in it ends."""
    child = os.fork()
    die_with_parent()
    if child:
        status = os.waitpid(child, 0)[1]
        os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


def become(user: int) -> bool:
    """Give up every right, and tell whether it worked."""
    try:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    except OSError:
        return False
    return True


def play(plan: "dict[str, object]", at: str, report: str) -> None:
    """Run the plan's program in a root file system of its own, or in place where that is refused."""
    held = []
    program = plan["in_place"]
    os.umask(0o022)
    # The report stands outside of the new root.
    with open(report, "w", encoding="ascii") as stream:
        if unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWPID):
            loopback()
            go_on_as_first_process()
            held += ["no-network", "own-processes"]
            try:
                furnish(at, plan["show"], plan["user"])  # type: ignore[arg-type]  # a plan of our own
                os.chroot(at)
                program = plan["inside"]
                held += ["moved", "read-only"]
            except OSError as error:
                sys.stderr.write("{0}{1}\n".format(REFUSED, error))
        elif unshare(CLONE_NEWNET):
            loopback()
            held.append("no-network")
        # In place the files of the caller need not be readable for others.
        if "moved" in held and become(plan["user"]):  # type: ignore[arg-type]  # a number
            held.append("other-user")
        json.dump(sorted(held), stream)
    die_with_parent()
    LIBC.prctl(PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    os.chdir("/")
    os.execv(program[0], program)  # type: ignore[index, arg-type]  # noqa: S606 - no shell is wanted


def main() -> None:
    """Isolate as far as the machine allows, report, and become the program."""
    parser = argparse.ArgumentParser()
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--source")
    what.add_argument("--plan")
    parser.add_argument("--at", required=True)
    parser.add_argument("--report", required=True)
    parser.add_argument("--hide", action="append", default=[])
    parser.add_argument("program", nargs="*")
    options = parser.parse_args()
    if options.plan:
        with open(options.plan, encoding="utf-8") as stream:
            play(json.load(stream), os.path.realpath(options.at), options.report)
    held = []
    root = os.path.realpath(options.source)
    both = unshare(CLONE_NEWNS | CLONE_NEWNET)
    if both or unshare(CLONE_NEWNET):
        loopback()
        held.append("no-network")
    if both or unshare(CLONE_NEWNS):
        root, more = move(root, os.path.realpath(options.at))
        held += more
        if options.hide and more and hide(options.hide):
            held.append("hidden")
    with open(options.report, "w", encoding="ascii") as stream:
        json.dump(sorted(held), stream)
    os.chdir("/")
    os.execv(options.program[0], [*options.program, root])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    if not sys.platform.startswith("linux"):
        sys.exit("namespaces are Linux's")
    main()
