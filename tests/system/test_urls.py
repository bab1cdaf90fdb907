"""Folders at a URL, and the store there: whole or not, nothing believed, no secret said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import bundler
import pytest
from bundler.create import target_pip
from bundler.errors import EnvbundleError, InputError, MachineError
from bundler.model import Artifact, BuildTool, Built, LockedDistribution
from bundler.rebuild.shared_store import SharedStore
from bundler.system import redact
from bundler.system.urls.folder import LARGE, DamagedObjectError, Folder
from bundler.wheels.store import Store

from tests.support import wheelmaker
from tests.support.url_folders import GIVEN, KINDS, FlakyFileSystem, folder_url

if TYPE_CHECKING:
    from collections.abc import Iterator

# azure-core says so of every upload that adlfs hands to it.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
NAMES = ("current.json", "builds/x/a b.txt", "builds/x/ü/#1%20.py", "builds/x/wh?t", "builds/x/[1]*.py")


@pytest.fixture(params=[*KINDS, *GIVEN])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with folder_url(request.param, tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "content"
    path.write_bytes(b"content\n")
    return path


def test_what_was_sent_is_there_and_nothing_else(url: str, file: Path, tmp_path: Path) -> None:
    folder = Folder(url)
    assert folder.listing() == {}
    large, empty = tmp_path / "large", tmp_path / "empty"
    large.write_bytes(os.urandom(LARGE + 1))
    empty.touch()
    counted: list[int] = []
    files = {**dict.fromkeys(NAMES, file), "builds/x/large": large, "builds/empty": empty}
    folder.send(files, progress=counted.append)
    folder.flush()
    told = folder.listing()
    assert {name: stat.size for name, stat in told.items()} == {
        name: path.stat().st_size for name, path in files.items()
    }
    assert sum(counted) == sum(stat.size for stat in told.values())
    assert set(folder.listing("builds/x")) == {name for name in files if name.startswith("builds/x/")}
    assert set(folder.listing("builds", deep=False)) == {"builds/empty"}
    assert folder.listing("nothing") == folder.listing("nothing", deep=False) == {}
    for name, path in files.items():
        got = tmp_path / "got"
        assert folder.fetch(name, got, sha256=wheelmaker.sha256(path))
        assert got.read_bytes() == path.read_bytes()
        got.unlink()
    assert folder.subfolder("builds").read("x/wh?t") == b"content\n"
    assert [folder.size(name) for name in ("builds/x/wh?t", "builds/empty", "no")] == [8, 0, None]


def test_writing_again_changes_the_version_and_removing_leaves_the_rest(url: str, file: Path) -> None:
    folder = Folder(url)
    folder.send(dict.fromkeys(NAMES, file))
    before = folder.listing()
    time.sleep(0.01)
    folder.write("current.json", b"other!!\n")
    assert folder.read("current.json") == b"other!!\n"
    after = folder.listing()
    assert before["current.json"].version
    changed = {name for name in NAMES if before[name].version != after[name].version}
    assert changed == {"current.json"}
    folder.remove([NAMES[0], NAMES[2], "builds/never/was"])
    assert set(folder.listing()) == {NAMES[1], NAMES[3], NAMES[4]}
    assert folder.read(NAMES[0]) is None
    folder.remove(NAMES)
    assert folder.listing() == {}


def test_fetched_content_is_compared(url: str, file: Path, tmp_path: Path) -> None:
    folder = Folder(url)
    folder.send({"a": file})
    with pytest.raises(DamagedObjectError, match="sha256"):
        folder.fetch("a", tmp_path / "got", sha256="0" * 64)
    assert not (tmp_path / "got").exists()
    assert not folder.fetch("b", tmp_path / "got", sha256="0" * 64)
    assert not (tmp_path / "got").exists()


def test_a_read_has_a_limit(url: str, file: Path) -> None:
    folder = Folder(url)
    folder.send({"a": file})
    assert folder.read("a", limit=8) == b"content\n"
    with pytest.raises(MachineError, match="8 bytes, more than 7"):
        folder.read("a", limit=7)


@pytest.mark.parametrize("name", ["", "..", "../x", "a/../b", "/etc/passwd", "a//b", "./a", "a\0b"])
def test_no_name_leaves_the_folder(name: str, file: Path, tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "place"))
    for action in (
        lambda: folder.write(name, b""),
        lambda: folder.send({name: file}),
        lambda: folder.read(name),
        lambda: folder.size(name),
        lambda: folder.remove([name]),
        lambda: folder.subfolder(name),
        lambda: folder.fetch(name, tmp_path / "got", sha256="0" * 64),
        lambda: folder.listing(name) if name else folder.read(name),
    ):
        with pytest.raises(InputError, match=r"leaves its folder|is no path"):
            action()


def test_no_symlink_is_followed_out_of_the_folder(file: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious").write_text("x")
    (tmp_path / "place" / "builds").mkdir(parents=True)
    (tmp_path / "place" / "builds" / "x").symlink_to(tmp_path / "other")
    folder = Folder(str(tmp_path / "place"))
    with pytest.raises(MachineError, match="symlink"):
        folder.remove(["builds/x/precious"])
    with pytest.raises(MachineError, match="symlink"):
        folder.write("builds/x/new", b"")
    assert folder.listing() == {}
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["precious"]
    # The folder itself may be reached by one: that is the caller's own choice.
    (tmp_path / "link").symlink_to(tmp_path / "other")
    Folder(str(tmp_path / "link")).send({"new": file})
    assert (tmp_path / "other" / "new").is_file()


@pytest.mark.parametrize(
    ("faults", "attempts"),
    [
        ([ConnectionResetError(104, "reset")], 2),
        ([TimeoutError(), OSError(5, "Input/output error")], 3),
        ([RuntimeError("of some package")] * 3, 4),
    ],
)
def test_what_fails_for_a_moment_is_tried_again(
    faults: list[Exception], attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bundler.system.urls.folder.WAITS", (0.01, 0.01, 0.01))
    folder = Folder("flaky://place")
    folder.write("a", b"x")
    monkeypatch.setattr(FlakyFileSystem, "faults", list(faults))
    monkeypatch.setattr(FlakyFileSystem, "asked", [])
    assert folder.size("a") == 1
    assert len(FlakyFileSystem.asked) == attempts


class _AnswerError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__("the service said no to https://account.example/x?sig=SECRET&se=1")
        self.status_code = status


class ClientAuthenticationError(Exception):
    """Named as azure-core's."""


@pytest.mark.parametrize(
    ("fault", "attempts"),
    [
        (PermissionError(13, "Forbidden"), 1),
        (OSError(28, "No space left on device"), 1),
        (ValueError("not configured"), 1),
        (_AnswerError(403), 1),
        (ClientAuthenticationError("who are you"), 1),
        (_AnswerError(503), 4),
        (ConnectionError("gone"), 4),
    ],
)
def test_what_fails_for_good_is_said_without_its_secrets(
    fault: Exception, attempts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bundler.system.urls.folder.WAITS", (0.01, 0.01, 0.01))
    monkeypatch.setattr(FlakyFileSystem, "faults", [fault] * attempts)
    monkeypatch.setattr(FlakyFileSystem, "asked", [])
    with pytest.raises(MachineError, match="asking for a at flaky://place") as raised:
        Folder("flaky://user:word@place").size("a")
    assert len(FlakyFileSystem.asked) == attempts
    assert type(fault).__name__ in raised.value.message
    assert "SECRET" not in raised.value.message
    assert "word" not in raised.value.message
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("abfs://container@account.dfs.core.windows.net/a/b", None),
        ("abfs://container:key@account.dfs.core.windows.net/a", "abfs://container@account.dfs.core.windows.net/a"),
        ("abfs://container/a?sv=1&sig=secret", "abfs://container/a"),
        ("s3://bucket/a/b", None),
        ("s3://key:secret@bucket/a", "s3://bucket/a"),
        ("sftp://user:word@host:22/a", "sftp://host:22/a"),
        ("file:///a/b c#d?e", None),
    ],
)  # fmt: skip
def test_url_is_shown_without_credentials(url: str, shown: str | None) -> None:
    assert redact.storage_url(url) == (shown or url)


def test_no_secret_is_said() -> None:
    environ = {
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI",
        "AZURE_STORAGE_CONNECTION_STRING": "Account=x;Key=abcdef",
        "AWS_REGION": "eu-west-1",
        "AZURE_STORAGE_ACCOUNT_KEY": "short",
    }
    said = redact.error_text(
        "eu-west-1 wJalrXUtnFEMI [Account=x;Key=abcdef] short https://u:p@h/x?sig=aa/bb#c AccountKey=zzz;x",
        environ,
    )
    assert said == "eu-west-1 **** [****] short https://****@h/x?**** AccountKey=****;x"


@pytest.mark.parametrize(
    ("url", "kind", "message", "hint"),
    [
        ("nothing://x/y", InputError, "no filesystem is known as nothing", "file, abfs and s3"),
        ("simplecache::s3://bucket/x", InputError, "chained", "last part"),
        ("s3://", InputError, "names no place", "s3://BUCKET"),
        ("", InputError, "empty URL", "file:///"),
    ],
)
def test_unusable_urls(url: str, kind: type[EnvbundleError], message: str, hint: str) -> None:
    with pytest.raises(kind, match=message) as raised:
        Folder(url)
    assert hint in (raised.value.hint or "")


@pytest.mark.parametrize(("protocol", "module", "extra"), [("s3", "s3fs", "s3"), ("abfs", "adlfs", "abfs")])
def test_missing_package_is_named(protocol: str, module: str, extra: str) -> None:
    program = (
        "import sys; sys.modules[sys.argv[1]] = None\n"
        "from bundler.system.urls.folder import Folder, require_filesystem\n"
        "from bundler.errors import MachineError\n"
        "for action in (require_filesystem, Folder):\n"
        "    try: action(sys.argv[2])\n"
        "    except MachineError as error: print(error.message, '|', error.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, module, f"{protocol}://bucket/x"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(bundler.__file__).parents[1])},
    )
    line = f"{protocol}:// needs a package that is not installed | "
    line += f"from a checkout of envbundle: pip install '.[{extra}]'"
    assert done.stdout.splitlines() == [line, line]


def test_a_path_is_a_place_of_this_machine(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Folder("some/where")
    assert folder.shown == f"file://{tmp_path}/some/where"
    old = os.umask(0o077)
    try:
        script = tmp_path / "script"
        script.write_text("#!/bin/sh\n")
        script.chmod(0o700)
        folder.send({"builds/x/script": script, "builds/x/data": file})
    finally:
        os.umask(old)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "some").rglob("*")}
    assert modes.pop("script") == 0o755
    assert modes.pop("data") == 0o644
    assert modes.pop(".incoming") == 0o755
    assert set(modes.values()) == {0o755}


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["file", "plain"])
def test_a_killed_writer_leaves_the_old_content_or_the_new(kind: str, tmp_path: Path) -> None:
    """Each content is one letter, thirty million times: a part, or a mixture, would show."""
    for letter in "ab":
        (tmp_path / letter).write_bytes(letter.encode() * 30_000_000)
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from tests.support import url_folders\nfrom bundler.system.urls.folder import Folder\n"
        "folder = Folder(sys.argv[1])\n"
        "while True:\n"
        "    for letter in 'ab':\n"
        "        folder.send({'x': Path(sys.argv[2]) / letter}); print(letter, flush=True)\n"
    )
    root = str(Path(__file__).parents[2])
    url = f"{kind}://{tmp_path}/place"
    for pause in (0.0, 0.013, 0.029):
        writer = subprocess.Popen(
            [sys.executable, "-c", program, url, str(tmp_path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": root},
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"a\n"
        time.sleep(pause)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        found = (tmp_path / "place" / "x").read_bytes()
        assert found in {b"a" * 30_000_000, b"b" * 30_000_000}
        assert set(Folder(url).listing()) == {"x"}
    left = list((tmp_path / "place" / ".incoming").glob("*"))
    if left and kind == "file":
        os.utime(left[0], (0, 0))
        Folder(url).flush()
        assert not left[0].exists()


def test_many_may_flush_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes away the empty folder of files that are being written, also while another looks into it."""
    monkeypatch.setattr(os, "sync", lambda: None)  # it flushes what the whole machine has to write
    folder = Folder(str(tmp_path))

    def write(name: str) -> None:
        for _ in range(200):
            folder.write(name, b"x")
            folder.flush()

    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(write, f"{number}") for number in range(6)]:
            future.result()


def test_many_writers_of_one_name_leave_one_of_their_contents(url: str) -> None:
    folder = Folder(url)
    contents = [bytes([65 + number]) * 200_000 for number in range(4)]
    threads = [threading.Thread(target=folder.write, args=("x", content)) for content in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert folder.read("x") in {None, *contents}
    for thread in threads:
        thread.join()
    assert folder.read("x") in contents
    assert set(folder.listing()) == {"x"}


def wheel_of(path: Path) -> LockedDistribution:
    name, version = path.name.split("-")[:2]
    artifact = Artifact(kind="wheel", filename=path.name, url=None, sha256=wheelmaker.sha256(path))
    return LockedDistribution(name=name, version=version, artifact=artifact)


TOOL = BuildTool(name="hatchling", version="1.0", filename="x.whl", sha256="7" * 64)


def source_of(name: str, version: str = "1.0") -> LockedDistribution:
    artifact = Artifact(kind="sdist", filename=f"{name}-{version}.tar.gz", url=None, sha256="5" * 64)
    return LockedDistribution(name=name, version=version, artifact=artifact)


@pytest.fixture
def first(tmp_path: Path, wheels: Path) -> tuple[Store, list[LockedDistribution]]:
    """A machine's store with two fetched wheels and a built one, and their lock."""
    store = Store(tmp_path / "first")
    made = [wheelmaker.make_wheel(wheels, name) for name in ("alpha", "beta", "built", "other")]
    stored = [store.add_file(path, filename=path.name, sha256=wheelmaker.sha256(path)) for path in made]
    for key, path in (("1" * 64, stored[2]), ("2" * 64, stored[3])):
        store.remember_built(key, path, Built(sha256=path.parent.name, tools=(TOOL,)))
    return store, [wheel_of(made[0]), wheel_of(made[1]), source_of("built")]


def built_name(store: Store) -> str:
    found = store.built("1" * 64)
    assert found is not None
    path = found[0]
    assert found[1] == Built(sha256=path.parent.name, tools=(TOOL,))
    assert wheelmaker.sha256(path) == path.parent.name
    return path.name


def names(store: Store) -> set[str]:
    return {path.name for path in store.files.glob("*/*/*")}


def test_wheels_of_a_lock_travel_to_another_machine(
    url: str, first: tuple[Store, list[LockedDistribution]], tmp_path: Path
) -> None:
    store, lock = first
    there = SharedStore(url)
    assert there.pull(lock, Store(tmp_path / "empty")) == 0
    assert there.push(lock, store) == 3
    assert there.push(lock, store) == 0
    second = Store(tmp_path / "second")
    assert there.pull(lock, second) == 3
    assert names(second) == {f"{name}-1.0-py3-none-any.whl" for name in ("alpha", "beta", "built")}
    assert built_name(second) == built_name(store) == "built-1.0-py3-none-any.whl"
    assert second.built("2" * 64) is None
    assert there.pull(lock, second) == 0
    # A lock without sources asks for no built wheel.
    third = Store(tmp_path / "third")
    assert there.pull(lock[:1], third) == 1
    assert names(third) == {"alpha-1.0-py3-none-any.whl"}


def test_damaged_wheels_at_the_url_are_not_used(
    first: tuple[Store, list[LockedDistribution]], tmp_path: Path
) -> None:
    store, lock = first
    there = SharedStore(str(tmp_path / "place"))
    there.push(lock, store)
    (alpha,) = (tmp_path / "place").glob("files/*/*/alpha-*")
    data = alpha.read_bytes()
    alpha.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    second = Store(tmp_path / "second")
    assert there.pull(lock, second) == 2
    assert "alpha-1.0-py3-none-any.whl" not in names(second)
    assert not alpha.exists()
    assert there.push(lock, store) == 1
    assert alpha.read_bytes() == data


@pytest.mark.parametrize(
    "name",
    [
        f"built/{'1' * 64}/{'0' * 64}/built-1.0-py3-none-any.whl",
        f"built/{'1' * 64}/{'0' * 64}/built-2.0-py3-none-any.whl",
        f"built/{'1' * 64}/{'0' * 64}/nonsense",
        f"built/short/{'0' * 64}/built-1.0-py3-none-any.whl",
        "built/x",
    ],
)
def test_notes_that_lead_nowhere_are_passed_over(name: str, tmp_path: Path) -> None:
    Folder(str(tmp_path / "place")).write(name, b"")
    store = Store(tmp_path / "store")
    assert SharedStore(str(tmp_path / "place")).pull([source_of("built")], store) == 0
    assert store.built("1" * 64) is None


def test_damaged_wheels_here_are_not_sent(
    first: tuple[Store, list[LockedDistribution]], tmp_path: Path
) -> None:
    store, lock = first
    for path in store.files.glob("*/*/*"):
        if path.name.startswith(("alpha", "built")):
            path.write_bytes(b"damaged")
    assert SharedStore(str(tmp_path / "place")).push(lock, store) == 1
    sent = {path.name for path in (tmp_path / "place").rglob("*") if path.is_file()}
    assert sent == {"beta-1.0-py3-none-any.whl"}


def test_the_pips_travel_too(
    pips: Path, first: tuple[Store, list[LockedDistribution]], tmp_path: Path
) -> None:
    store, _ = first
    for sha256, filename in target_pip.wheels():
        if (pips / filename).is_file():
            store.add_file(pips / filename, filename=filename, sha256=sha256)
    there = SharedStore(str(tmp_path / "place"))
    assert there.push([], store) == len(list(pips.glob("pip-*.whl")))
    second = Store(tmp_path / "second")
    assert there.pull_tools(second) == len(list(pips.glob("pip-*.whl")))
    assert names(second) == {path.name for path in pips.glob("pip-*.whl")}


def test_a_store_that_keeps_notes_only_believes_no_facts(
    first: tuple[Store, list[LockedDistribution]], tmp_path: Path
) -> None:
    """Whatever else lies at the URL, or stands in a note that is not about its wheel, is passed over."""
    store, lock = first
    there = SharedStore(str(tmp_path / "place"))
    there.push(lock, store)
    for note in (tmp_path / "place" / "built").rglob("*.whl"):
        note.write_text(json.dumps({"sha256": "0" * 64, "filename": "../../evil"}))
    second = Store(tmp_path / "second")
    assert there.pull(lock, second) == 3
    assert second.built("1" * 64) is None
    assert names(second) == names(store) - {"other-1.0-py3-none-any.whl"}
