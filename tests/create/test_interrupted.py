"""Runs that are stopped, killed, starved or disturbed: no half output, and the next run is a good one."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.wheels import store_care, trees
from bundler.wheels.store import Store

from tests.create.test_pipeline import tree_digest
from tests.support.command import Command, Outcome
from tests.support.wheelmaker import make_sdist, make_wheel, sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.thorough  # runs are killed at every moment

SECONDS = str(100_000 + os.getpid())
"""How long a daemon of a build sleeps: other runs of these tests have other numbers."""
SLOW_BACKEND = f"""\
import subprocess, time
def get_requires_for_build_wheel(config_settings=None): return []
def build_wheel(folder, config_settings=None, metadata_directory=None):
    subprocess.Popen(["sleep", "{SECONDS}"])
    time.sleep(600)
"""
LOCK = """\
lock-version = "1.0"
created-by = "another tool"
[[packages]]
name = "far"
version = "1.0"
[[packages.wheels]]
name = "far-1.0-py3-none-any.whl"
url = "<url>/far-1.0-py3-none-any.whl"
hashes = { sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
"""


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough files that every stage takes its time."""
    folder = tmp_path_factory.mktemp("stock")
    for name in ("one", "two", "three"):
        files: dict[str, str | bytes] = {
            f"{name}/m{number}.py": f"VALUE = {number}\n" for number in range(150)
        }
        files[f"{name}/__init__.py"] = "from . import m0\n"
        make_wheel(folder, name, files=files, requires=["two"] if name == "one" else [])
    make_wheel(folder, "previous")
    make_wheel(folder, "large", files={"large.py": "", "large.bin": os.urandom(6_000_000)})
    make_wheel(folder, "dozy", files={"dozy.py": "import time\ntime.sleep(2)\n"})
    make_wheel(folder, "sleepy", files={"sleepy.py": "import time\ntime.sleep(600)\n"})
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    make_sdist(folder, "unending", files={
        "pyproject.toml": f'{project}[project]\nname = "unending"\nversion = "1.0"\n',
        "backend.py": SLOW_BACKEND,
        "PKG-INFO": "Metadata-Version: 2.1\nName: unending\nVersion: 1.0\n",
    })  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache-of-the-interrupted")


@pytest.fixture
def envbundle(cache: Path, pips: Path, tmp_path: Path) -> Command:
    return Command(cache=cache, pips=pips, folder=tmp_path)


WORDS = ["one", "three", "--python", "3.8", "-o", "out", "--force"]


@pytest.fixture(scope="module")
def expected(
    cache: Path, pips: Path, stock: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, str]]:
    """An older bundle, and what an undisturbed run puts in its place."""
    folder = tmp_path_factory.mktemp("undisturbed")
    envbundle = Command(cache=cache, pips=pips, folder=folder)
    offline = envbundle.offline(stock)
    for words in (["previous", "--python", "3.8", "-o", "old"], WORDS):
        done = envbundle("create", *words, *offline)
        assert done.code == 0, done.stderr
    return folder / "old", tree_digest(folder / "out")


@pytest.fixture
def old(expected: tuple[Path, dict[str, str]], tmp_path: Path) -> Path:
    """The older bundle, at the output."""
    shutil.copytree(expected[0], tmp_path / "out")
    return tmp_path / "out"


def make_cold(cache: Path) -> None:
    """Take away what was stored of wheels, and keep the tools."""
    for name in ("files", "trees", "built", "uv"):
        shutil.rmtree(cache / "v1" / name, ignore_errors=True)


class Running:
    """A run whose stderr can be watched."""

    def __init__(self, command: Command, *words: str) -> None:
        self.log = command.folder.parent / f"{command.folder.name}.stderr"
        with self.log.open("w") as stream:
            self.process = subprocess.Popen(
                command.argv(*words), env=command.environment(), cwd=command.folder,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stream, start_new_session=True,
            )  # fmt: skip

    @property
    def stderr(self) -> str:
        return self.log.read_text()

    def wait_for(self, text: str) -> None:
        limit = time.monotonic() + 120
        while text not in self.stderr:
            assert self.process.poll() is None, self.stderr
            assert time.monotonic() < limit, self.stderr
            time.sleep(0.005)

    def end(self, number: signal.Signals, *, within: float) -> int:
        """Signal the whole group, as a terminal does, and return the exit code."""
        os.killpg(self.process.pid, number)
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"still running {within} s after {number.name}: {self.stderr}")


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = []

        def take() -> None:
            with contextlib.suppress(OSError):
                while True:
                    taken.append(server.accept()[0])

        threading.Thread(target=take, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        for connection in taken:
            connection.close()


STAGES = {
    "resolve": (["far", "--python", "3.8", "--index-url", "<url>"], "environment "),
    "resolve-pip": (["far", "--python", "3.8", "--index-url", "<url>", "--resolver", "pip"], "environment "),
    "download": (["--lock", "pylock.toml", "--python", "3.8"], "resolve "),
    "build": (["unending", "--python", "3.8"], "building unending"),
    "import": (["sleepy", "--python", "3.8"], "install "),
}


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGQUIT, 131)],
)
@pytest.mark.parametrize("stage", STAGES)
def test_stopped(
    envbundle: Command,
    stock: Path,
    old: Path,
    tmp_path: Path,
    silent: str,
    stage: str,
    number: signal.Signals,
    code: int,
) -> None:
    (tmp_path / "pylock.toml").write_text(LOCK.replace("<url>", silent))
    before = tree_digest(tmp_path)
    words, mark = STAGES[stage]
    sources = ["--find-links", str(envbundle.pips), "--find-links", str(stock)]
    if "<url>" not in words:
        sources.append("--no-index")
    words = [word.replace("<url>", f"{silent}/simple") for word in words]
    run = Running(envbundle, "create", *words, "-o", "out", "--force", *sources)
    run.wait_for(mark)
    time.sleep(0.3)
    assert run.end(number, within=60) == code, run.stderr
    assert "Traceback" not in run.stderr
    if number == signal.SIGINT:
        assert "interrupted: nothing was emitted" in run.stderr
    assert tree_digest(tmp_path) == before
    if stage != "download":  # a thread that waits for a server is not waited for: the next run sweeps
        assert [path.name for path in (envbundle.cache / "v1" / "tmp").iterdir()] == [".lock"]
    assert not children_that_mention(str(tmp_path), f"sleep\0{SECONDS}")


def children_that_mention(*words: str) -> list[str]:
    """Processes that the run should not have left behind."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_text()
            if int(path.parent.name) != os.getpid() and any(word in line for word in words):
                found.append(line)
    return found


def check_old(old: Path, python: Path) -> None:
    """What stands at the output is whole: by its own verifier."""
    done = subprocess.run(
        [python, "-I", old / "verify.py"], env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


MOMENTS = [
    *("target ", "environment ", "resolve ", "fetch ", "install ", "verify "),
    *(0.15, 0.4, 0.6, 0.8),
]
"""Behind a stage's line, and at a share of the time that a run takes."""


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed(
    envbundle: Command,
    stock: Path,
    old: Path,
    expected: tuple[Path, dict[str, str]],
    tmp_path: Path,
    python38: Path,
    moment: str | float,
) -> None:
    make_cold(envbundle.cache)
    words = ["create", *WORDS, *envbundle.offline(stock)]
    run = Running(envbundle, *words)
    if isinstance(moment, str):
        run.wait_for(moment)
    else:
        time.sleep(moment * 1.6)
    run.end(signal.SIGKILL, within=60)
    # Whole is the old one, or the new one if the run had come that far.
    assert {path.name for path in tmp_path.iterdir()} <= {"out", ".out.envbundle"}
    check_old(old, python38)
    again = envbundle(*words)
    assert again.code == 0, again.stderr
    assert tree_digest(old) == expected[1]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in (envbundle.cache / "v1" / "tmp").iterdir()] == [".lock"]


def test_killed_while_the_old_bundle_stands_aside(
    envbundle: Command, stock: Path, old: Path, expected: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    """Where the filesystem cannot exchange two folders, there is such a moment: the next run ends it."""
    (tmp_path / ".out.envbundle").mkdir()
    before = tree_digest(old)
    old.rename(tmp_path / ".out.envbundle" / "retired")
    refused = envbundle("create", "nosuch", *WORDS[2:], *envbundle.offline(stock))
    assert refused.code == 2, refused.stderr
    assert tree_digest(old) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


KILLED_BETWEEN = """
import os, pathlib
from bundler.system import files
from bundler.cli import main
files.swap = lambda *_: False
rename = pathlib.Path.rename
def renamed(self, other):
    done = rename(self, other)
    if pathlib.Path(other).name == "retired":
        os._exit(137)
    return done
pathlib.Path.rename = renamed
main()
"""
"""`envbundle` where two folders cannot be swapped, killed when it has moved the old bundle aside."""


@pytest.mark.thorough
@pytest.mark.parametrize("formats", ["dir", "dir,tar.zst"])
def test_the_old_bundle_comes_back(
    envbundle: Command, stock: Path, old: Path, tmp_path: Path, formats: str
) -> None:
    before = tree_digest(old)
    words = ["create", *WORDS, "--format", formats, *envbundle.offline(stock)]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_BETWEEN, *words], cwd=tmp_path, env=envbundle.environment(), check=False
    )
    assert killed.returncode == 137
    assert not old.exists()
    refused = envbundle("create", "nosuch", *WORDS[2:], *envbundle.offline(stock))
    assert refused.code == 2, refused.stderr
    assert tree_digest(old) == before


@pytest.mark.thorough
def test_the_old_image_layout_comes_back(envbundle: Command, old: Path, tmp_path: Path) -> None:
    """A folder as well, though it is packed: the next run beside it finds it."""
    words = ["pack", "out", "--force", "--format", "oci"]
    first = envbundle(*words)
    assert first.code == 0, first.stderr
    before = tree_digest(tmp_path / "out.oci")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_BETWEEN, *words], cwd=tmp_path, env=envbundle.environment(), check=False
    )
    assert killed.returncode == 137
    assert not (tmp_path / "out.oci").exists()
    again = envbundle("pack", "out", "--force", "--format", "zip")
    assert again.code == 0, again.stderr
    assert tree_digest(tmp_path / "out.oci") == before
    assert {path.name for path in tmp_path.iterdir()} == {"out", "out.oci", "out.zip"}


def test_two_at_once_for_one_output(
    envbundle: Command, stock: Path, old: Path, tmp_path: Path, python38: Path
) -> None:
    words = ["create", "dozy", "--python", "3.8", "-o", "out", "--force", *envbundle.offline(stock)]
    first = Running(envbundle, *words)
    first.wait_for("environment ")
    first.process.send_signal(signal.SIGSTOP)  # it is at work for as long as the other one needs
    second = envbundle(*words, "--json")
    first.process.send_signal(signal.SIGCONT)
    assert second.code == 2, second.stderr
    assert "another run of envbundle is making" in second.json()["error"]["message"]
    assert "hint: wait" in second.stderr
    assert first.process.wait(120) == 0, first.stderr
    check_old(old, python38)
    assert (old / "lib/python3.8/site-packages/dozy.py").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_two_at_once_with_one_cold_cache(
    envbundle: Command, stock: Path, expected: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    """Not even the tools are there: both fetch and unpack the same things at the same time."""
    cold = replace(envbundle, cache=tmp_path / "cache")
    runs = []
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        folder = tmp_path / name
        runs.append(Running(replace(cold, folder=folder), "create", *WORDS, *envbundle.offline(stock)))
    for run in runs:
        assert run.process.wait(300) == 0, run.stderr
    for name in ("a", "b", "c"):
        assert tree_digest(tmp_path / name / "out") == expected[1]
    assert [path.name for path in (tmp_path / "cache/v1/tmp").iterdir()] == [".lock"]


def in_namespace(command: Command, script: str, *words: str) -> Outcome:
    """Run with mounts of its own; `$@` in the script is the command."""
    tried = subprocess.run(["unshare", "-rm", "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no mount namespace: {tried.stderr.strip()}")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *command.argv(*words)],
        env=command.environment(), cwd=command.folder, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    return Outcome(code=done.returncode, stdout=done.stdout, stderr=done.stderr)


def is_full(done: Outcome, *, where: str) -> None:
    assert done.code == 3, done.stderr
    assert "Traceback" not in done.stderr
    error = done.json()["error"]
    assert error["exit_code"] == 3
    assert re.search("disk is full|No space left on device", error["message"]), error
    assert where in error["message"]
    assert re.search("space|room", error["hint"]), error


@pytest.mark.parametrize(("size", "force"), [("12k", False), ("200k", True), ("1m", False), ("5m", True)])
def test_output_on_a_full_disk(
    envbundle: Command,
    stock: Path,
    expected: tuple[Path, dict[str, str]],
    tmp_path: Path,
    size: str,
    *,
    force: bool,
) -> None:
    """The filesystem of the output is gone with the run, so what was left is listed before."""
    (tmp_path / "full").mkdir()
    prepare = f"mount -t tmpfs -o size={size} none full"
    if force:
        prepare += f" && cp -r '{expected[0]}' full/out"
    script = f'{prepare} && find full | sort >before; "$@"; code=$?; find full | sort >after; exit $code'
    words = ["create", "large", *WORDS[2:4], "-o", "full/out", "--json", *envbundle.offline(stock)]
    done = in_namespace(envbundle, script, *words, *(["--force"] if force else []))
    is_full(done, where="full/")
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()


@pytest.mark.parametrize("tools", [False, True])
def test_cache_on_a_full_disk(
    envbundle: Command, stock: Path, old: Path, tmp_path: Path, *, tools: bool
) -> None:
    """Without its tools the cache is full when pip is unpacked; with them when the wheel is."""
    assert envbundle("create", "previous", "--python", "3.8", *envbundle.offline(stock), "-o", "x").code == 0
    shutil.rmtree(tmp_path / "x")
    (tmp_path / "cache").mkdir()
    source = envbundle.cache / "v1"
    room = sum(path.stat().st_size + 4096 for path in source.joinpath("tools").rglob("*"))
    prepare = f"mount -t tmpfs -o size={room + 8_000_000 if tools else 3_000_000} none cache"
    if tools:
        prepare += (
            f" && mkdir cache/v1 && cp -r '{source}/tools' '{source}/probes' '{source}/virtualenv' cache/v1"
        )
    full = replace(envbundle, cache=tmp_path / "cache")
    before = tree_digest(tmp_path)
    words = ["create", "large", *WORDS[2:], "--json", *envbundle.offline(stock)]
    done = in_namespace(full, f'{prepare} && "$@"', *words)
    is_full(done, where=str(tmp_path / "cache"))
    assert tree_digest(tmp_path) == before


def test_cache_that_is_read_only(envbundle: Command, stock: Path, old: Path, tmp_path: Path) -> None:
    before = tree_digest(tmp_path)
    for folder in (tmp_path.parent / f"{tmp_path.name}-empty", envbundle.cache):
        folder.mkdir(exist_ok=True)
        script = f"mount --bind '{folder}' '{folder}' && mount -o remount,ro,bind '{folder}' && \"$@\""
        words = ["create", *WORDS, "--json", *envbundle.offline(stock)]
        done = in_namespace(replace(envbundle, cache=folder), script, *words)
        assert done.code == 3, done.stderr
        assert "Traceback" not in done.stderr
        error = done.json()["error"]
        assert "Read-only file system" in error["message"]
        assert str(folder) in error["message"]
        assert error["hint"]
        assert tree_digest(tmp_path) == before


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace_by_link(path: Path) -> None:
    copy = path.parent.parent / "copy"
    path.rename(copy)
    path.symlink_to(copy)


def drop(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    os.truncate(path, 3)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def write(text: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_text(text)

    return damage


SITE = "tree/lib/python3.8/site-packages"
DAMAGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "truncated file": (f"{SITE}/three/m7.py", truncate),
    "missing file": (f"{SITE}/three/m7.py", drop),
    "changed byte": (f"{SITE}/three/m7.py", flip),
    "symlink": (f"{SITE}/three/m7.py", replace_by_link),
    "missing folder": (f"{SITE}/three", shutil.rmtree),
    "garbage in facts": ("facts.json", write("{garbage")),
    "changed letter in facts": ("facts.json", flip),
    "FIFO in the place of facts": ("facts.json", pipe),
    "facts in a list": ("facts.json", write("[]")),
    "no facts": ("facts.json", drop),
    "no tree": ("tree", shutil.rmtree),
    "changed wheel": ("", flip),
    "truncated wheel": ("", truncate),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_store(
    envbundle: Command, stock: Path, expected: tuple[Path, dict[str, str]], tmp_path: Path, name: str
) -> None:
    words = ["create", *WORDS, *envbundle.offline(stock)]
    digest = sha256(stock / "three-1.0-py3-none-any.whl")
    entry = envbundle.cache / "v1" / "trees" / digest[:2] / f"{digest}-cpython-38.{trees.VERSION}"
    wheel = envbundle.cache / "v1" / "files" / digest[:2] / digest / "three-1.0-py3-none-any.whl"
    if not (entry.is_dir() and wheel.is_file()):
        assert envbundle(*words).code == 0
    where, damage = DAMAGES[name]
    if where:
        damage(entry / where)
    else:
        damage(wheel)
        shutil.rmtree(entry)
    healed = envbundle("-v", *words)
    assert healed.code == 0, healed.stderr
    assert "is damaged" in healed.stderr
    assert tree_digest(tmp_path / "out") == expected[1]
    assert sha256(wheel) == digest
    stored = Store(envbundle.cache).tree(digest, "cpython-38")
    assert stored is not None
    assert all(sha256(stored.path / fact.path) == fact.sha256 for fact in stored.facts.files)


@pytest.mark.parametrize("link_mode", ["copy", "hardlink"])
def test_creates_beside_prune_heal(
    stock: Path, pips: Path, tmp_path: Path, cache: Path, link_mode: str
) -> None:
    own = Command(cache=tmp_path / "cache", pips=pips, folder=tmp_path)
    words = ["create", "one", "three", "--python", "3.8", "--link-mode", link_mode, *own.offline(stock)]
    first = own(*words, "-o", "first", "--json")
    assert first.code == 0, first.stderr
    ended = threading.Event()
    pruned = []

    def prune() -> None:
        while not ended.is_set():
            pruned.append(store_care.prune(Store(own.cache), older_than=None).entries)
            store_care.verify(Store(own.cache), lambda _: None)

    outcomes: dict[int, Outcome] = {}

    def create(number: int) -> None:
        outcomes[number] = own(*words, "-o", f"out{number}", "--json")

    pruning = threading.Thread(target=prune)
    creating = [threading.Thread(target=create, args=(number,)) for number in range(4)]
    for thread in (pruning, *creating):
        thread.start()
    for thread in creating:
        thread.join()
    ended.set()
    pruning.join()
    assert sum(pruned) > 10
    assert [one.code for one in outcomes.values()] == [0] * 4, [one.stdout for one in outcomes.values()]
    assert {one.json()["digest"] for one in outcomes.values()} == {first.json()["digest"]}
    assert any("was pruned meanwhile" in one.stderr for one in outcomes.values())
