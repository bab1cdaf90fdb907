"""Runs a program in a room: a root file system of its own, without what the caller has.

    python -I -S isolate.py PLAN AT REPORT

AT, an empty folder, becomes `/`: the system's folders, read-only, and what the plan shows. PLAN is JSON:

- `show`, `write`: pairs of a path here and the path there, read-only and writable; `/tmp`, `/dev/shm` and
  HOME are private unless the plan writes to them.
- `cover`: folders here that must not be seen, where something else that is shown holds them.
- `hide`: SONAMEs of the system's libraries that cannot be loaded there.
- `programs`: names of the system's programs that PATH leads to; null: all.
- `user`: whom root becomes; the others stay who they are. Nobody has capabilities, or reaches the kernel's
  keyrings or the machine that this one runs on (AF_VSOCK): no namespace parts them.
- `network`: whether the caller's network is there.
- `limits`: names of the module `resource` without RLIMIT_, and their values.
- `inside`, `in_place`: the program with its arguments, in the room and where the machine refuses one.

REPORT gets a JSON list of what is in force: `no-network`, `own-processes`, `own-root`, `read-only`, `moved`
(what is shown first stands at another path, and nowhere else), `hidden`, `other-user`. Containers often
refuse some or all of it, and nothing is claimed that was not done. Everything ends with the program (man 7
namespaces).
"""

import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import sys

MYPY = False
if MYPY:
    from typing import Any

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWUTS = 0x08000000, 0x20000000, 0x04000000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE, MS_RELATIME = 1, 32, 4096, 16384, 1 << 18, 1 << 21
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME, MS_NODIRATIME, MS_UNBINDABLE = 2, 4, 8, 1024, 2048, 1 << 17
ST_RELATIME = 4096
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
CAPABILITIES = 64  # more than there are
CAPABILITY_VERSION = 0x20080522
KEYCTL_JOIN_SESSION_KEYRING = 1
AF_VSOCK = 40
SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW = 1, 4
SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO = 0x7FFF0000, 0x00050000
BPF_LOAD, BPF_EQUAL, BPF_AT_LEAST, BPF_RETURN = 0x20, 0x15, 0x35, 0x06
X32 = 0x40000000  # begins the numbers of the other calls that x86_64 has
IO_URING = (425, 426, 427)  # on every machine: they do what other calls do, past the filter
# Of a machine: AUDIT_ARCH and the numbers of seccomp, socket, add_key, request_key and keyctl.
CALLS = {
    "x86_64": (0xC000003E, 317, 41, 248, 249, 250),
    "aarch64": (0xC00000B7, 277, 198, 217, 218, 219),
}

# What a room shows of this file system: the system, and nothing of its users and its services.
SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/sys"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"),
    *("/etc/localtime", "/etc/nsswitch.conf", "/etc/ssl/certs", "/etc/ssl/openssl.cnf"),
    *("/nix/store", "/gnu/store"),
)
NETWORK = ("/etc/resolv.conf", "/etc/services", "/etc/protocols", "/etc/gai.conf")
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
REFUSED = "isolate: no root file system of its own: "
LINKS = {"/dev/fd": "", "/dev/stdin": "/0", "/dev/stdout": "/1", "/dev/stderr": "/2"}
ACCOUNTS = {
    "/etc/passwd": "root:x:0:0::/:/bin/sh\nother:x:{0}:{0}::/tmp:/bin/sh\n",
    "/etc/group": "root:x:0:\nother:x:{0}:\n",
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
}
HOST_NAME = b"localhost"  # /etc/hosts has it; a build may write its machine's name into what it makes
KEYS = ("/proc/keys", "/proc/key-users")  # they name the keys of the caller's other sessions
PROGRAMS = "/programs"  # in the room
PRIVATE = ("/tmp", "/dev/shm")  # noqa: S108 - of the room

LIBC = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> bool:
    """Leave namespaces; as an ordinary user, by way of a user namespace that maps this user alone."""
    return bool(LIBC.unshare(flags) == 0) or unshare_user(flags)


def unshare_user(flags: int) -> bool:
    """Leave namespaces, that of users with them: the new one maps this user alone."""
    user, group = os.getuid(), os.getgid()
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


def make_target(source: str, target: str) -> None:
    """Make what a file or folder can be attached to, or raise OSError."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    elif not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.close(os.open(target, os.O_CREAT, 0o644))


def show(source: str, target: str) -> None:
    """Show a file or folder of this file system, with what is mounted below it, at a path of the new one."""
    make_target(source, target)
    attach(source, target, "", MS_BIND | MS_REC)


def cover(path: str) -> None:
    """Show an empty folder in the place of one that is visible."""
    if os.path.isdir(path):
        attach("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=64k")


def mounted_below(root: str) -> "list[str]":
    """Return the paths of all that is mounted at and below a folder (man 5 proc_pid_mountinfo)."""
    with open("/proc/self/mountinfo", "rb") as stream:
        names = [line.split(b" ", 5)[4] for line in stream]
    paths = [name.decode("unicode_escape").encode("latin-1") for name in names]
    top = os.fsencode(root)
    return [os.fsdecode(path) for path in paths if path == top or path.startswith(top + b"/")]


def hide(root: str, names: "list[str]") -> bool:
    """Make libraries of the system unloadable, and tell whether that worked for each that is there."""
    folders = [folder for folder in LIBRARIES if os.path.isdir(folder)]
    folders += [
        entry.path for folder in folders for entry in os.scandir(folder) if entry.name.endswith("-gnu")
    ]
    found = {os.path.realpath(os.path.join(folder, name)) for folder in folders for name in names}
    done = [mount("/dev/null", root + path, "", MS_BIND) for path in sorted(found) if os.path.isfile(path)]
    return all(done)


def offer(root: str, names: "list[str]") -> None:
    """Make the folder that PATH names in the room, with links to the system's programs of these names."""
    os.mkdir(root + PROGRAMS)
    wanted = set(names)
    for folder in filter(os.path.isdir, os.environ["PATH"].split(":")):
        found = wanted.intersection(os.listdir(folder))
        for name in found:
            os.symlink(os.path.join(folder, name), os.path.join(root + PROGRAMS, name))
        wanted -= found


def covered(plan: "dict[str, Any]") -> "list[str]":
    """Return the paths in the room at which what the plan covers could be seen."""
    shown = [(os.path.realpath(here) + "/", there + "/") for here, there in (*plan["show"], *plan["write"])]
    elsewhere = [
        there + path[len(here) :] for path in plan["cover"] for here, there in shown if path.startswith(here)
    ]
    return sorted({*plan["cover"], *elsewhere})


def fill(root: str, plan: "dict[str, Any]") -> None:
    """Show what the plan shows, and cover what it covers; raises OSError."""
    # What stands above comes first: something to be seen can lie in what must not be, and the reverse.
    entries = [(there, here) for here, there in (*plan["show"], *plan["write"])]
    entries += [(path, "") for path in covered(plan)]
    for there, here in sorted(entries, key=lambda entry: (entry[0].count("/"), entry[0])):
        if here:
            show(here, root + there)
        else:
            cover(root + there)


def show_system(root: str, *, network: bool) -> None:
    """Show the system's folders, and what a program needs to reach the network; raises OSError."""
    for path in (*SYSTEM, *(NETWORK if network else ())):
        if os.path.islink(path) and path not in NETWORK:
            os.symlink(os.readlink(path), root + path)
        elif os.path.exists(path):
            show(path, root + path)


def begin(root: str, *, own_processes: bool, users: str) -> None:
    """Make the root and its /proc; raises OSError.

    A machine may refuse a /proc of our own (a container whose own one is covered in places). The caller's
    names our processes by other numbers, which does as well; but below its /proc/PID the others' environment,
    root and memory stand, which a user namespace of our own closes (man 2 ptrace, "Ptrace access mode").

    :param users: the caller's user namespace.
    """
    for own in (own_processes, False):
        attach("none", "/", "", MS_REC | MS_PRIVATE)
        attach("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=16m")
        # It can lie below a folder that is shown, which would show the room within itself.
        attach("none", root, "", MS_UNBINDABLE)
        os.mkdir(root + "/proc")
        if own and mount("proc", root + "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC):
            return
        if user_namespace() != users:
            attach("/proc", root + "/proc", "", MS_BIND | MS_REC)
            return
        if not unshare_user(CLONE_NEWNS):
            break
    raise OSError(errno.EPERM, "other processes would be reached", "/proc")


def hide_keys(root: str) -> None:
    """Show empty files in place of those that name keys; raises OSError."""
    for path in KEYS:
        if os.path.exists(root + path):
            attach("/dev/null", root + path, "", MS_BIND)


def user_namespace() -> str:
    """Return a name of the user namespace of this process; empty without /proc."""
    try:
        return os.readlink("/proc/self/ns/user")
    except OSError:
        return ""


def close(root: str, plan: "dict[str, Any]") -> None:
    """Make read-only what the plan does not write to; raises OSError."""
    writable = {root + path for path in (*DEVICES, *PRIVATE, *(there for _, there in plan["write"]))}
    below = tuple(root + path + "/" for path in covered(plan))
    for path in mounted_below(root):
        if path.startswith(below) and not os.path.lexists(path):
            continue  # what was mounted below a covered folder is out of reach
        if path not in writable:
            attach("none", path, "", MS_BIND | MS_REMOUNT | MS_RDONLY | locked_flags(path))


def furnish(root: str, plan: "dict[str, Any]", *, own_processes: bool, users: str) -> "list[str]":
    """Make the room at `root`: only what the plan writes to, /tmp and /dev/shm can be written.

    Returns what is in force; raises OSError.
    """
    begin(root, own_processes=own_processes, users=users)
    hide_keys(root)
    os.mkdir(root + "/etc")
    show_system(root, network=plan["network"])
    for device in DEVICES:
        show(device, root + device)
    for link, rest in LINKS.items():
        os.symlink("/proc/self/fd" + rest, root + link)
    for name, text in ACCOUNTS.items():
        with open(root + name, "w", encoding="ascii") as stream:
            stream.write(text.format(plan["user"] or os.getuid()))
    for folder in PRIVATE:
        os.mkdir(root + folder)
        attach("tmpfs", root + folder, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=25%")
    if plan["programs"] is not None:
        offer(root, plan["programs"])
    fill(root, plan)
    held = ["own-root", "read-only"]
    if all(here != there for here, there in plan["show"][:1]):
        held.append("moved")
    if plan["hide"] and hide(root, plan["hide"]):
        held.append("hidden")
    close(root, plan)
    return held


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


def may_become_another(plan: "dict[str, Any]") -> bool:
    """Tell whether others can read what is shown: an interpreter may have been installed for root alone.

    A service's own files are for the program to find out: the image's user may not read them either.
    """
    shown = [here for here, _ in plan["show"] if os.path.isdir(here)]
    needed = [*((path, 0o5) for path in shown), (plan["in_place"][0], 0o4)]
    return os.geteuid() == 0 and all(os.stat(path).st_mode & bits == bits for path, bits in needed)


def become(user: int, writable: "list[str]", shown: "list[str]") -> bool:
    """Give up the user, and tell whether it worked; what the program writes to becomes the new user's.

    So does all that is in it (a project in `src/` gets its egg-info there), but for what is shown below it.
    """
    try:
        for path in writable:
            os.chown(path, user, user)
            for folder, folders, files in os.walk(path):
                folders[:] = [name for name in folders if os.path.join(folder, name) not in shown]
                for one in {os.path.join(folder, name) for name in (*folders, *files)}.difference(shown):
                    os.chown(one, user, user, follow_symlinks=False)
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    except OSError:
        return False
    return True


def give_up_rights() -> None:
    """Drop the capabilities that are left (man 7 capabilities)."""
    LIBC.capset(struct.pack("Ii", CAPABILITY_VERSION, 0), struct.pack("6I", *[0] * 6))
    LIBC.prctl(PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    refuse_calls()


def refuse_calls() -> None:
    """Take away the caller's keys, and the calls that reach what no namespace parts (man 2 seccomp, keyctl).

    Programs of another architecture, whose calls have other numbers, do not run then.
    """
    machine = os.uname().machine
    if machine not in CALLS or struct.calcsize("P") != 8:
        return
    kind, seccomp, sockets, *keys = CALLS[machine]
    LIBC.syscall(keys[2], KEYCTL_JOIN_SESSION_KEYRING, None)
    numbers = [*((BPF_EQUAL, number) for number in (*keys, *IO_URING)), (BPF_AT_LEAST, X32)]
    end = len(numbers) + 6
    steps = [(BPF_LOAD, 0, 0, 4), (BPF_EQUAL, 0, end - 1, kind), (BPF_LOAD, 0, 0, 0)]
    steps += [(test, end - len(steps) - at, 0, number) for at, (test, number) in enumerate(numbers)]
    steps += [(BPF_EQUAL, 0, 2, sockets), (BPF_LOAD, 0, 0, 16), (BPF_EQUAL, 1, 0, AF_VSOCK)]
    steps += [(BPF_RETURN, 0, 0, SECCOMP_RET_ALLOW), (BPF_RETURN, 0, 0, SECCOMP_RET_ERRNO | errno.ENOSYS)]
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    header = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(program))
    LIBC.syscall(seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, header)


def limit(limits: "dict[str, int]") -> None:
    """Lower the limits of this process and of each that it starts; they are never raised."""
    for name, value in limits.items():
        kind = getattr(resource, "RLIMIT_" + name)
        hard = resource.getrlimit(kind)[1]
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (least, least))


def enter(plan: "dict[str, Any]", at: str) -> "list[str]":
    """Leave the caller's namespaces as far as the machine allows, and return what is in force."""
    held = []
    users = user_namespace()
    network = 0 if plan["network"] else CLONE_NEWNET
    room = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | network
    own_processes = unshare(room | CLONE_NEWPID)
    apart = own_processes or unshare(room)
    if apart:
        LIBC.sethostname(HOST_NAME, len(HOST_NAME))
    if network and (apart or unshare(CLONE_NEWNET)):
        loopback()
        held.append("no-network")
    if own_processes:
        go_on_as_first_process()
        held.append("own-processes")
    if apart:
        try:
            more = furnish(at, plan, own_processes=own_processes, users=users)
            os.chroot(at)
            held += more
        except OSError as error:
            sys.stderr.write("{0}{1}\n".format(REFUSED, error))
    if "own-processes" in held and os.readlink("/proc/self") != str(os.getpid()):
        held.remove("own-processes")  # the caller's /proc is there, and others are seen
    return held


def main(plan_file: str, at: str, report: str) -> None:
    """Isolate as far as the machine allows, report, and become the program."""
    die_with_parent()
    with open(plan_file, encoding="utf-8") as stream:
        plan = json.load(stream)
    if os.getppid() != plan["parent"]:
        sys.exit("who started this was killed before it could be tied to them")
    os.umask(0o022)
    # The report stands outside of the room.
    with open(report, "w", encoding="ascii") as stream:
        other = plan["user"] is not None and may_become_another(plan)
        held = enter(plan, os.path.realpath(at))
        inside = "own-root" in held
        for number in range(CAPABILITIES if inside else 0):
            LIBC.prctl(PR_CAPBSET_DROP, *map(ctypes.c_ulong, (number, 0, 0, 0)))
        # In place the files of the caller need not be readable for others.
        written, shown = ([there for _, there in plan[key]] for key in ("write", "show"))
        if inside and other and become(plan["user"], written, shown):
            held.append("other-user")
        json.dump(sorted(held), stream)
    die_with_parent()
    limit(plan["limits"])
    if inside:
        give_up_rights()
        os.environ.update(HOME=PRIVATE[0], TMPDIR=PRIVATE[0])
        if plan["programs"] is not None:
            os.environ["PATH"] = PROGRAMS
    else:
        LIBC.prctl(PR_SET_NO_NEW_PRIVS, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    program = plan["inside" if inside else "in_place"]
    os.chdir(plan["folder"] if inside else "/")
    os.execv(program[0], program)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    if not sys.platform.startswith("linux"):
        sys.exit("namespaces are Linux's")
    main(*sys.argv[1:])
