"""A room: what code on trial neither sees, reaches nor leaves behind."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bundler.errors import CommandError
from bundler.model import RoomLimits
from bundler.system import process, room

from tests.support import machine

if TYPE_CHECKING:
    from collections.abc import Iterator

PROBE = """
import ctypes, json, os, socket, sys
job = json.loads(sys.argv[1])
def tried(function, *arguments):
    try:
        function(*arguments)
    except OSError:
        return False
    return True
def connect(family, address):
    with socket.socket(family) as probe:
        probe.settimeout(2)
        probe.connect(address)
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(name)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
json.dump({
    "reads the caller's files": tried(open, job["secret"]),
    "writes what is shown": tried(open, job["tree"] + "/new", "w"),
    "writes the interpreter": tried(open, os.path.dirname(os.__file__) + "/new.py", "w"),
    "connects to the machine": tried(connect, socket.AF_INET, tuple(job["tcp"])),
    "connects to a Unix socket": tried(connect, socket.AF_UNIX, job["unix"]),
    "connects to an abstract socket": tried(connect, socket.AF_UNIX, "\\0" + job["abstract"]),
    "sees the caller's processes": tried(os.kill, job["pid"], 0),
    "has capabilities": any(int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")),
    "mounts": tried(call, "mount", b"none", b"/usr", None, 32 | 4096, None),
    "gets a namespace of users": tried(call, "unshare", 0x10000000),
    "sees the caller's variables": job["secret"] in repr(dict(os.environ)),
    "reaches the first process's root": tried(os.listdir, "/proc/1/root" + os.path.dirname(job["secret"])),
    "writes temporary files": tried(open, os.environ["HOME"] + "/file", "w"),
    "reads what is shown": tried(open, job["tree"] + "/file"),
}, sys.stdout)
"""
WORKS = {"writes temporary files", "reads what is shown"}


@pytest.fixture
def shown() -> dict[str, Path]:
    """The interpreter that runs the tests."""
    base = Path(sys.base_prefix)
    return {str(path): path for path in {base, base.resolve()}}


@pytest.fixture
def job(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What a program outside of a room reaches."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").touch()
    (tmp_path / "secret").touch()
    abstract = f"envbundle-{os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX) as other,
    ):
        address = os.path.relpath(tmp_path / "agent", Path.cwd())
        unix.bind(address)
        other.bind(f"\0{abstract}")
        unix.listen()
        other.listen()
        yield {
            "secret": str(tmp_path / "secret"),
            "tree": str(tmp_path / "tree"),
            "tcp": tcp.getsockname(),
            "unix": str(tmp_path / "agent"),
            "abstract": abstract,
            "pid": os.getpid(),
        }


def python(*words: str) -> list[str]:
    return [os.path.realpath(sys.executable), "-I", "-S", *words]


def confined(run: room.RoomRun) -> room.RoomRun:
    if not set(room.CONFINED) <= set(run.isolation):
        machine.lacking("no namespaces")
    return run


def test_a_room_holds_what_runs_in_it(
    job: dict[str, Any], shown: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", job["secret"])
    outside = json.loads(
        process.run(python("-c", PROBE, json.dumps(job)), env={"HOME": str(tmp_path)}).stdout
    )
    reached = {what for what, done in outside.items() if done}
    assert {
        *WORKS,
        "reads the caller's files",
        "connects to a Unix socket",
        "writes what is shown",
    } <= reached
    place = room.Room(show={"/tree": tmp_path / "tree", **shown})
    words = python("-c", PROBE, json.dumps({**job, "tree": "/tree"}))
    done = confined(room.run(place, words, scratch=tmp_path))
    assert {what for what, did in json.loads(done.stdout).items() if did} == WORKS
    assert "moved" in done.isolation
    assert list(tmp_path.glob("room-*")) == []


KEYS = """
import ctypes, json, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
add, call = {"x86_64": (248, 250), "aarch64": (217, 219)}[os.uname().machine]
session = ctypes.c_long(-3)
if sys.argv[1:]:
    libc.syscall(call, 1, None)  # a session of its own
    libc.syscall(add, b"user", b"envbundle-secret", b"x", ctypes.c_size_t(1), session)
def opens(family):
    try:
        return bool(socket.socket(family, socket.SOCK_STREAM).close() or True)
    except OSError:
        return False
reached = {
    "finds a key": libc.syscall(call, 10, session, b"user", b"envbundle-secret", 0) > 0,
    "sees its name": "envbundle-secret" in open("/proc/keys").read(),
    "sees who has keys": bool(open("/proc/key-users").read()),
    "adds a key": libc.syscall(add, b"user", b"envbundle-left", b"x", ctypes.c_size_t(1), session) > 0,
    "reaches the host of the machine": opens(socket.AF_VSOCK),
    "goes past the filter": libc.syscall(425, 1, ctypes.create_string_buffer(120)) >= 0,  # io_uring_setup(2)
    "makes a Unix socket": opens(socket.AF_UNIX),
}
print(json.dumps([name for name, did in reached.items() if did]))
if sys.argv[1:]:
    from pathlib import Path
    from bundler.system import room
    shown, code, scratch = json.loads(sys.argv[1])
    place = room.Room(show={path: Path(path) for path in shown})
    words = [os.path.realpath(sys.executable), "-I", "-S", "-c", code]
    print(room.run(place, words, scratch=Path(scratch)).stdout)
"""


def test_no_keyring_and_no_host_is_reached(shown: dict[str, Path], tmp_path: Path) -> None:
    """No namespace parts them; the caller may have a ticket or a password among its keys."""
    confined(room.run(room.Room(show={}), ["/bin/true"], scratch=tmp_path))
    given = json.dumps([list(shown), KEYS, str(tmp_path)])
    done = process.run([sys.executable, "-c", KEYS, given], env=dict(os.environ))
    outside, inside = map(json.loads, done.stdout.split("\n")[:2])
    assert "makes a Unix socket" in outside
    assert inside == ["makes a Unix socket"]
    if "finds a key" not in outside:
        pytest.skip("this machine refuses keyrings")


def test_a_room_has_a_host_name_that_is_nobodys(shown: dict[str, Path], tmp_path: Path) -> None:
    """A build may write it into what it makes, and a module asks for its address, as every image knows it."""
    asks = "import socket; name = socket.gethostname(); print(name, socket.gethostbyname(name))"
    done = confined(room.run(room.Room(show=shown), python("-c", asks), scratch=tmp_path))
    assert done.stdout == "localhost 127.0.0.1\n"


def test_what_is_to_be_written_is_so_to_its_depth(shown: dict[str, Path], tmp_path: Path) -> None:
    """As root, the room's user is another: a project in `src/` gets its egg-info there."""
    (tmp_path / "project/src").mkdir(parents=True)
    (tmp_path / "project/src/file").touch()
    (tmp_path / "project/link").symlink_to("/usr")
    (tmp_path / "shown").mkdir()
    (tmp_path / "file").touch()
    more = {"/source/of/more": tmp_path / "shown", "/source/of/file": tmp_path / "file"}
    writes = "open('/source/src/new', 'w').close(); open('/source/src/file', 'w').close()"
    place = room.Room(show={**shown, **more}, write={"/source": tmp_path / "project"})
    confined(room.run(place, python("-c", writes), scratch=tmp_path))
    assert (tmp_path / "project/src/new").is_file()
    assert Path("/usr").stat().st_uid == 0
    assert {(tmp_path / name).stat().st_uid for name in ("shown", "file")} == {os.getuid()}


def test_what_lies_inside_of_something_shown_can_be_covered(tmp_path: Path) -> None:
    for name in ("a/store/python/bin", "a/other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a/store/secret").touch()
    at_home = {str(path): path for path in (tmp_path / "a", tmp_path / "a/store/python")}
    place = room.Room(show=at_home, cover=[tmp_path / "a/store", tmp_path / "absent"])
    done = confined(room.run(place, ["/usr/bin/find", str(tmp_path / "a")], scratch=tmp_path))
    found = {str(Path(line).relative_to(tmp_path)) for line in done.stdout.splitlines()}
    assert found == {"a", "a/other", "a/store", "a/store/python", "a/store/python/bin"}
    assert "moved" not in done.isolation


def test_what_is_covered_is_so_wherever_it_is_shown(tmp_path: Path) -> None:
    """A cache in a folder that stands at another path: the code folder of a rehearsal."""
    (tmp_path / "a/store/deep").mkdir(parents=True)
    (tmp_path / "a/store/secret").touch()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    place = room.Room(
        show={"/one": tmp_path / "a", "/two/three": tmp_path / "link"}, cover=[tmp_path / "a/store"]
    )
    done = confined(room.run(place, ["/usr/bin/find", "/one", "/two"], scratch=tmp_path))
    shown = ["/one", "/one/store", "/two", "/two/three", "/two/three/store"]
    assert (sorted(done.stdout.split()), "moved" in done.isolation) == (shown, True)


def test_a_room_is_made_below_what_it_shows_and_covers(tmp_path: Path) -> None:
    """A cache in /usr, or below an interpreter's prefix: builds have their rooms there, and ran in place."""
    scratch = tmp_path / "a" / "store" / "scratch"
    scratch.mkdir(parents=True)
    place = room.Room(show={str(tmp_path / "a"): tmp_path / "a"}, cover=[tmp_path / "a" / "store"])
    done = confined(room.run(place, ["/usr/bin/find", str(tmp_path / "a")], scratch=scratch))
    assert done.stdout.split() == [str(tmp_path / "a"), str(tmp_path / "a/store")]


HIDDEN_MOUNT = """
import sys
from pathlib import Path
from bundler.system import room
folder = Path(sys.argv[1])
place = room.Room(show={str(folder): folder}, cover=[folder / "store"])
done = room.run(place, ["/usr/bin/find", folder], scratch=Path(sys.argv[2]))
print(*sorted(done.isolation))
print(done.stdout, end="")
"""


def test_what_is_mounted_below_a_covered_folder_is_out_of_reach(tmp_path: Path) -> None:
    """A cache of which a part is a volume of its own."""
    volume = tmp_path / "a" / "store" / "files"
    volume.mkdir(parents=True)
    (tmp_path / "scratch").mkdir()
    mount = 'mount -t tmpfs none "$0" && touch "$0/secret" && exec "$@"'
    words = ["unshare", "-rm", "/bin/sh", "-c", mount, str(volume), sys.executable, "-c", HIDDEN_MOUNT]
    words += [str(tmp_path / "a"), str(tmp_path / "scratch")]
    done = subprocess.run(words, text=True, capture_output=True, check=False)
    if done.returncode:
        machine.lacking(f"no mount namespaces: {done.stderr[-200:]}")
    held, *found = done.stdout.splitlines()
    assert {*room.CONFINED} <= {*held.split()}
    assert found == [str(tmp_path / "a"), str(tmp_path / "a/store")]


def test_only_what_is_to_be_written_can_be(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    place = room.Room(show={"/tree": tmp_path}, write={"/out": tmp_path / "out"}, folder="/out")
    confined(
        room.run(place, ["/bin/sh", "-c", "echo made > file; echo no > /tree/file || true"], scratch=tmp_path)
    )
    assert (tmp_path / "out/file").read_text() == "made\n"
    assert not (tmp_path / "file").exists()


LEAVES = "(trap '' HUP TERM; {detach} sh -c 'sleep 30; echo late > {at}/late') & echo started"


@pytest.mark.parametrize("detach", ["", "setsid"])
def test_nothing_outlives_a_room(tmp_path: Path, detach: str) -> None:
    """What it started ends with it, and does not keep its output open."""
    (tmp_path / "out").mkdir()
    place = room.Room(show={}, write={"/out": tmp_path / "out"})
    began = time.monotonic()
    words = ["/bin/sh", "-c", LEAVES.format(detach=detach, at="/out")]
    done = confined(room.run(place, words, scratch=tmp_path))
    assert done.stdout == "started\n"
    assert time.monotonic() - began < 15
    running = process.run(["/bin/ps", "-eo", "args"], env={}).stdout if Path("/bin/ps").exists() else ""
    assert "echo late > /out/late" not in running


@pytest.mark.thorough
@pytest.mark.parametrize("detach", ["", "setsid"])
def test_a_program_that_has_ended_is_not_waited_for(tmp_path: Path, detach: str) -> None:
    """Without a room as well: something that it left behind may hold its output."""
    began = time.monotonic()
    words = ["/bin/sh", "-c", f"{detach} sleep 25 & echo started; echo said >&2"]
    done = process.run(words, env={"PATH": os.environ["PATH"]}, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("started\n", "said\n", 0)
    assert time.monotonic() - began < 15


@pytest.mark.thorough
def test_time_is_limited(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="did not end within 1 seconds"):
        room.run(room.Room(show={}), ["/bin/sleep", "30"], scratch=tmp_path, timeout=1)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "greed",
    [
        "bytearray(1 << 50)",
        "[threading.Thread(target=threading.Event().wait, daemon=True).start() for _ in range(10**6)]",
    ],
)
def test_memory_and_processes_are_limited(shown: dict[str, Path], tmp_path: Path, greed: str) -> None:
    words = python("-c", f"import threading; {greed}")
    done = confined(room.run(room.Room(show=shown), words, scratch=tmp_path, check=False))
    assert done.returncode != 0
    assert "MemoryError" in done.stderr or "can't start new thread" in done.stderr


@pytest.mark.parametrize(
    ("limits", "greed", "said"),
    [
        (RoomLimits(memory_mib=64), "bytearray(100 << 20)", "--memory-limit"),
        (RoomLimits(memory_mib=256), "bytearray(100 << 20)", ""),
        (RoomLimits(output_mib=1), "print('x' * (2 << 20))", "--output-limit"),
        (RoomLimits(output_mib=1), "sys.stderr.write('x' * (2 << 20)); time.sleep(60)", "--output-limit"),
        (RoomLimits(output_mib=4), "print('x' * (2 << 20))", ""),
    ],
)
def test_a_limit_that_is_met_is_named_with_its_option(
    shown: dict[str, Path], tmp_path: Path, limits: RoomLimits, greed: str, said: str
) -> None:
    place = room.Room(show=shown, limits=limits)
    words = python("-c", f"import sys, time; {greed}")
    if not said:
        confined(room.run(place, words, scratch=tmp_path))
        return
    with pytest.raises(CommandError) as caught:
        room.run(place, words, scratch=tmp_path)
    assert said in (caught.value.hint or ""), caught.value.stderr


def test_threads_that_are_too_many_are_refused(shown: dict[str, Path], tmp_path: Path) -> None:
    """The kernel counts them for all but root."""
    many = "[threading.Thread(target=threading.Event().wait, daemon=True).start() for _ in range(100)]"
    place = room.Room(show=shown, limits=RoomLimits(processes=20))
    if os.getuid() == 0 and "other-user" not in room.run(place, ["/bin/true"], scratch=tmp_path).isolation:
        pytest.skip("no room, so root stays root")
    with pytest.raises(CommandError) as caught:
        room.run(place, python("-c", f"import threading; {many}"), scratch=tmp_path)
    assert "--process-limit" in (caught.value.hint or ""), caught.value.stderr


REACH = """
import json, os, subprocess, sys
from pathlib import Path
from bundler.system import room
# One without capabilities: whoever has those of another may look into it.
words = ["setpriv", "--bounding-set=-all", "--no-new-privs", "sh", "-c", "echo; exec sleep 60"]
other = subprocess.Popen(words, env={"SECRET": "x", "PATH": os.environ["PATH"]}, stdout=subprocess.PIPE)
other.stdout.readline()
looks = f"cat /proc/{other.pid}/environ; ls /proc/{other.pid}/root/; echo /proc/[0-9]* | wc -w"
done = room.run(room.Room(show={}), ["/bin/sh", "-c", looks], scratch=Path(sys.argv[1]), check=False)
other.kill()
reached = len(done.stdout.split()) > 1
print(json.dumps({"held": done.isolation, "reached": reached, "seen": int(done.stdout.split()[-1])}))
"""
COVERED = "mount --bind /dev/null /proc/keys; exec unshare -Urm"
WITHOUT = "echo 0 > /proc/sys/user/max_pid_namespaces; exec"


@pytest.mark.parametrize("refused", [COVERED, WITHOUT, "exec"], ids=["proc", "pid", "nothing"])
def test_where_a_proc_is_refused_no_other_process_is_reached(tmp_path: Path, refused: str) -> None:
    """Below the /proc of the caller stand the environment and the root of every process of the same user."""
    confined(room.run(room.Room(show={}), ["/bin/true"], scratch=tmp_path))
    words = ["unshare", "-Urm", "sh", "-ec", f'{refused} "$@"', "sh"]
    words += [sys.executable, "-c", REACH, str(tmp_path)]
    told = json.loads(process.run(words, env=dict(os.environ)).stdout)
    assert not told["reached"]
    assert ("own-processes" in told["held"]) is (refused == "exec")
    assert ("own-processes" in told["held"]) is (told["seen"] < 10)
    assert "own-root" in told["held"]


REFUSE = """
for kind in pid mnt; do echo 0 > /proc/sys/user/max_${kind}_namespaces; done
exec "$@"
"""
ASK = "from bundler.system import room; room.require()"


@pytest.mark.parametrize("refused", [False, True])
def test_a_machine_that_cannot_isolate_is_refused(tmp_path: Path, *, refused: bool) -> None:
    confined(room.run(room.Room(show={}), ["/bin/true"], scratch=tmp_path))
    words = [sys.executable, "-c", ASK]
    if refused:
        words = ["unshare", "-Ur", "sh", "-ec", REFUSE, "sh", *words]
    done = process.run(words, env=dict(os.environ), check=False)
    assert (done.returncode == 0) is not refused, done.stderr
    said = "cannot isolate imports and builds: it refuses own-processes, own-root, read-only"
    assert (said in done.stderr) is refused, done.stderr
