"""Gives `create` hostile wheels and sources: nothing outside changes, nothing lives on, nothing is missed."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.attacks.hostile_packages import Case, cases
from scripts.attacks.kills import GRACE
from scripts.attacks.world import World, adopting, descendants, digest, end, make_world

PATIENCE = 420
"""Seconds after which a run counts as one that hangs: `pip freeze` alone has 300."""
LIMITS = (
    *("--import-timeout", "10", "--build-timeout", "20"),
    *("--memory-limit", "1024", "--output-limit", "8"),
)
SOURCE = ("--no-index", "-f", "../wheels", "-f", "../hostile", "--python", "3.8")
PLACES = ("/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock", "/var/lib", "/etc", "/")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
SITE = "lib/python3.8/site-packages"


@dataclass(kw_only=True)
class Outside:
    """What code in a room may not reach, and how it is now."""

    world: World
    job: Mapping[str, Any]
    neighbour: subprocess.Popen[bytes]
    listening: Sequence[socket.socket]
    before: dict[str, str] = field(default_factory=dict)

    def look(self) -> None:
        """Remember how everything is; what an earlier case has reached is told once."""
        self.reached()
        self.before = {**files(self.world), **machine(self.job)}

    def harm(self) -> list[str]:
        """Return what has changed since, and put it right."""
        now = {**files(self.world), **machine(self.job)}
        changed = [f"changed: {name}" for name, said in self.before.items() if now.get(name) != said]
        mark = "".join(self.job["mark"])
        for folder in (*map(Path, PLACES), *map(Path, self.job["folders"])):
            for path in folder.glob(f"*{mark}*"):
                changed.append(f"made: {path}")
                path.unlink() if path.is_symlink() or path.is_file() else shutil.rmtree(path)
        marked = (path for path in self.world.root.rglob("*") if path.is_file() and not path.is_symlink())
        changed += [f"the mark is in {path}" for path in marked if mark.encode() in path.read_bytes()]
        if self.neighbour.poll() is not None or state(self.neighbour.pid) != self.job["state"]:
            changed.append(f"another process is no longer as it was: {state(self.neighbour.pid)}")
        return changed + self.reached()

    def reached(self) -> list[str]:
        """Return the sockets that somebody has connected to, or sent to, since they were last asked."""
        found = []
        for one in self.listening:
            with contextlib.suppress(BlockingIOError):
                while True:
                    one.recv(1) if one.type == socket.SOCK_DGRAM else one.accept()[0].close()
                    found.append(f"reached: {one}")
        return found


def state(number: int) -> list[str]:
    """Return what others could change of a process: whether it is stopped, its priority, its limits."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        limits = Path(f"/proc/{number}/limits").read_text()
        stopped = fields[0] if fields[0] in "TtZX" else ""
        return [stopped, fields[16], hashlib.sha256(limits.encode()).hexdigest()]
    return []


def files(world: World) -> dict[str, str]:
    """Return path → content and rights of all files of a world but the output."""
    found = {}
    for path in world.root.rglob("*"):
        below = path.relative_to(world.root).parts
        # uv's own notes of what it has seen, and logs, are no part of the store.
        if below[:2] == ("work", "out") or below[0] == "hostile" or {"uv", "logs"} & {*below[:3]}:
            continue
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            whole = path.is_file() and not path.is_symlink()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if whole else ""
            found[str(path)] = f"{status.st_mode:o} {status.st_uid} {content}"
    return found


def machine(job: Mapping[str, Any]) -> dict[str, str]:
    """Return what of the machine itself could be changed."""
    folders = (Path(os.__file__).parent, Path(sysconfig.get_path("purelib")), Path(sys.base_prefix))
    found = {str(folder): " ".join(sorted(path.name for path in folder.iterdir())) for folder in folders}
    found["os.py"] = hashlib.sha256(Path(os.__file__).read_bytes()).hexdigest()
    found["host name"] = socket.gethostname()
    for kind in ("shm", "sem", "msg"):
        lines = Path(f"/proc/sysvipc/{kind}").read_text().splitlines()
        found[kind] = "there" if any(line.split()[0] == str(job["key"]) for line in lines) else ""
    keys = Path("/proc/keys").read_text() if Path("/proc/keys").exists() else ""
    found["keyrings"] = "there" if "".join(job["mark"]) in keys else ""
    return found


@contextlib.contextmanager
def outside(world: World) -> Iterator[Outside]:
    """Put secrets, sockets and another process where hostile code would look for them."""
    secret, mark = secrets.token_hex(12), f"evil-{secrets.token_hex(6)}"
    home = world.root / "home"
    kept = [home / ".netrc", home / ".ssh/id_rsa", world.work / "notes"]
    for path in kept:
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"machine h login me password {secret}\n")
        path.chmod(0o600)
    key = int(secret[:6], 16) | 1
    shared = ctypes.CDLL(None).shmget(key ^ 0x1000000, 4096, 0o1600)
    with contextlib.ExitStack() as ended:
        tcp = ended.enter_context(socket.create_server(("", 0)))
        udp, unix, abstract = (
            ended.enter_context(socket.socket(family, kind))
            for family, kind in (
                (socket.AF_INET, socket.SOCK_DGRAM),
                (socket.AF_UNIX, socket.SOCK_STREAM),
                (socket.AF_UNIX, socket.SOCK_STREAM),
            )
        )
        udp.bind(("127.0.0.1", 0))
        unix.bind(os.path.relpath(world.root / "agent"))
        abstract.bind(f"\0agent-{key}")
        for one in (unix, abstract):
            one.listen()
        for one in (tcp, udp, unix, abstract):
            one.setblocking(False)  # noqa: FBT003 - the name of the call says it
        neighbour = subprocess.Popen(["/bin/sleep", "86400"], env={"SECRET": secret})
        ended.callback(neighbour.wait)
        ended.callback(neighbour.kill)
        ended.callback(_forget, key, shared)
        time.sleep(0.1)
        job = {
            "secrets": [str(path) for path in kept],
            "terces": secret[::-1],
            "mark": [mark[:6], mark[6:]],
            "root": str(world.root),
            "home": str(home),
            "cache": str(world.cache),
            "folders": [str(world.work), str(home), str(world.cache), str(world.wheels)],
            "pid": neighbour.pid,
            "attacker": os.getpid(),
            "state": state(neighbour.pid),
            "host": socket.gethostname(),
            "tcp": tcp.getsockname()[1],
            "udp": udp.getsockname()[1],
            "address": socket.gethostbyname(socket.gethostname()),
            "unix": str(world.root / "agent"),
            "abstract": f"agent-{key}",
            "key": key,
            "shm": key ^ 0x1000000,
        }
        variables = {"SSH_AUTH_SOCK": job["unix"], "GITHUB_TOKEN": secret, "AWS_SECRET_ACCESS_KEY": secret}
        os.environ.update(variables)
        yield Outside(world=world, job=job, neighbour=neighbour, listening=(tcp, udp, unix, abstract))


def _forget(key: int, shared: int) -> None:
    """Remove the System V IPC of this process, and what hostile code has made (man 7 sysvipc)."""
    libc = ctypes.CDLL(None)
    libc.shmctl(shared, 0, None)
    libc.shmctl(libc.shmget(key, 0, 0), 0, None)
    libc.semctl(libc.semget(key, 0, 0), 0, 0)
    libc.msgctl(libc.msgget(key, 0), 0, None)


def run(world: World, words: Sequence[str], seconds: float) -> tuple[int | None, str]:
    """Run envbundle, at most so long; return its exit code and what it printed."""
    kept = {name: os.environ[name] for name in ("SSH_AUTH_SOCK", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY")}
    with tempfile.TemporaryFile() as output:
        process = world.start(*words, more=kept, output=output)
        code: int | None = None
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(seconds)
        if code is None:
            process.kill()
            process.wait()
        output.seek(0)
        return code, output.read().decode("utf-8", "backslashreplace")


def try_one(there: Outside, case: Case) -> list[str]:
    """Make a bundle of a hostile distribution, and return what was wrong."""
    world, secret = there.world, str(there.job["terces"][::-1])
    for name in ("hostile", "work/out", "work/.out.envbundle"):
        shutil.rmtree(world.root / name, ignore_errors=True)
    (world.root / "hostile").mkdir()
    case.make(world.root / "hostile", there.job)
    (world.work / "requirements.txt").write_text(case.requires)
    there.look()
    known, running = world.temporary_names(), set(descendants())
    words = ("create", "-r", "requirements.txt", *SOURCE, *LIMITS, *case.words, "--force", "-o", "out")
    code, printed = run(world, words, PATIENCE)
    time.sleep(GRACE)
    left = {number: line for number, line in descendants().items() if number not in running}
    wrong = [f"still runs after {GRACE:g} s: {line[:200]}" for line in left.values()]
    end(left)
    wrong += there.harm()
    wrong += [f"left over: {name}" for name in sorted(world.temporary_names() - known)]
    if code not in case.codes or "this is a bug" in printed:
        wrong.append(f"exit code {code}: {printed[-700:]}")
    elif not re.search(case.says, printed):
        wrong.append(f"does not say {case.says!r}: {printed[-700:]}")
    if found := CONTROL.search(re.sub(r"\x1b\[[0-9;]*[mK]", "", printed)):
        wrong.append(f"prints the control character {found[0]!r}")
    bundle = world.work / "out"
    if secret in printed or any(
        secret.encode() in path.read_bytes() for path in bundle.rglob("*") if path.is_file()
    ):
        wrong.append("a secret came out")
    if (code == 0) != bundle.exists():
        wrong.append("there is a bundle" if bundle.exists() else "there is no bundle")
    if code == 0 and bundle.exists():
        wrong += sound(bundle)
    return wrong


def sound(bundle: Path) -> list[str]:
    """Return what is wrong with a bundle: it is as its manifest says, and its build got at nothing."""
    words = [sys.executable, "-I", str(bundle / "verify.py"), "--no-imports", str(bundle)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    wrong = (
        [] if done.returncode == 0 else [f"the bundle is not whole: {done.stdout[-300:]}{done.stderr[-300:]}"]
    )
    built = bundle / SITE / "hostile.py"
    said = built.read_text() if built.is_file() else ""
    if said.startswith("GOT = ") and said != "GOT = []\n":
        wrong.append(f"the build says {said[:500]}")
    odd = (path for path in bundle.rglob("*") if path.is_symlink() or path.lstat().st_mode & 0o7022)
    return wrong + [f"a link, or rights that nothing in a bundle has: {path}" for path in odd]


def _print(line: str) -> None:
    print(line, flush=True)


def attack(world: World, names: Sequence[str], *, kept: Callable[[str], object] = _print) -> int:
    """Try all these cases; return how many were not sound."""
    table = cases()
    tried: dict[str, int] = {}
    unsound: dict[str, int] = {}
    make = ("create", "-r", "innocent.txt", *SOURCE, "--force", "-o", "innocent")
    (world.work / "innocent.txt").write_text("alpha\n")
    (world.root / "hostile").mkdir()
    code, printed = world.run(*make)
    if code:
        raise RuntimeError(printed)
    innocent = digest(world.work / "innocent")
    with adopting(), outside(world) as there:
        for name in names:
            kind = re.split("[:,]", name)[0]
            began = time.monotonic()
            wrong = try_one(there, table[name])
            tried[kind] = tried.get(kind, 0) + 1
            unsound[kind] = unsound.get(kind, 0) + bool(wrong)
            for one in wrong:
                kept(f"  {name} ({time.monotonic() - began:.0f} s): {one}")
        for words in (("cache", "verify"), make):
            code, printed = world.run(*words)
            if code:
                kept(f"  afterwards, {' '.join(words)}: {printed[-700:]}")
                unsound["import"] = unsound.get("import", 0) + 1
    if digest(world.work / "innocent") != innocent:
        kept("  afterwards another bundle has other bytes")
        unsound["import"] = unsound.get("import", 0) + 1
    for kind, count in tried.items():
        kept(f"{kind:<8} {count:>4} cases, {unsound[kind]} not sound")
    kept(f"{sum(tried.values())} cases, {sum(unsound.values())} not sound")
    return sum(unsound.values())


def main(argv: Sequence[str]) -> int:
    """Run `scripts/attack hostile` and return its exit code."""
    table = cases()
    parser = argparse.ArgumentParser(prog="scripts/attack hostile", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="its name, or how it begins")
    parser.add_argument("--list", action="store_true", help="print the names of all cases")
    options = parser.parse_args(argv)
    names = [name for name in table if name.startswith(tuple(options.cases) or "")]
    if options.list:
        print("\n".join(names))
        return 0
    if not names:
        parser.error(f"no case begins with {options.cases[0]!r}")
    with tempfile.TemporaryDirectory(prefix="envbundle-hostile-") as folder:
        return 1 if attack(make_world(Path(folder)), names) else 0
