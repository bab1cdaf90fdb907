"""Builds of what has no wheel: what they see, what they get, how long they may take."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bundler.checks.rules import supply
from bundler.create import build_advice, requirements
from bundler.create.fetch import build_disk, fetch
from bundler.errors import DiskLimitError, InputError, MachineError
from bundler.model import Artifact, IndexSettings, Lock, LockedDistribution, RoomLimits
from bundler.wheels.store import Store

from tests.support.fetching import Contexts, at, builds, make_lock, project, seen
from tests.support.wheelmaker import make_sdist, make_wheel, sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bundler.model import StoredWheel

    from tests.support.index import Index


def at_path(path: Path) -> LockedDistribution:
    """Return what a lock says of a local sdist."""
    artifact = Artifact(kind="sdist", filename=path.name, url=None, path=str(path), sha256=sha256(path))
    return LockedDistribution(name="built", version="1.0", artifact=artifact)


@pytest.fixture
def build(contexts: Contexts, wheels: Path) -> Callable[..., StoredWheel]:
    """Fetches one sdist, for a target."""

    made: dict[str, Path] = {}

    def once(files: dict[str, str] | None = None, **options: Any) -> StoredWheel:
        files = project() if files is None else files
        if repr(files) not in made:
            folder = wheels / f"built-{len(made)}"
            folder.mkdir()
            made[repr(files)] = make_sdist(folder, "built", files=files)
        (fetched,) = fetch(make_lock(at_path(made[repr(files)])), contexts.make(**options))
        return fetched

    return once


@pytest.mark.thorough
def test_built_once_for_each_target(
    build: Callable[..., StoredWheel], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    made = []
    for options, count in (
        ({}, 1), ({}, 1), ({"glibc": "2.31"}, 1), ({"glibc": "2.27"}, 2), ({"version": "3.7"}, 3),
        ({"version": "3.7"}, 3), ({"glibc": "2.27"}, 3),
    ):  # fmt: skip
        made.append(build(project(tells=False), **options))
        assert builds(caplog) == count, options
    # What was built before is refused all the same: the answer may not depend on what a store has.
    with pytest.raises(InputError, match="--no-build"):
        build(project(tells=False), no_build=True)
    # What was built is the same: the source is, and nothing of place or time went in.
    assert len({one.facts.sha256 for one in made}) == 1
    assert all(one.built_from == one.locked.artifact.sha256 for one in made)
    assert all(one.locked.artifact.kind == "sdist" for one in made)
    assert all(one.locked.artifact.path is None for one in made)


@pytest.mark.thorough
@pytest.mark.parametrize("sized", [False, True])
def test_a_source_is_locked_alike_before_and_after_its_wheel_was_built(
    contexts: Contexts, index: Index, wheels: Path, *, sized: bool
) -> None:
    path = make_sdist(wheels, "built", files=project(tells=False))
    lock = make_lock(at(index, path, size=path.stat().st_size if sized else None))
    locked = [fetch(lock, contexts.make(settings=IndexSettings(index_url=index.url)))[0].locked]
    contexts.store.drop(contexts.store.file(sha256(path), path.name) or path)
    locked.append(fetch(lock, contexts.make())[0].locked)
    assert locked[0] == locked[1]
    assert replace(locked[0], built=None) == lock.distributions[0]


@pytest.mark.thorough
def test_a_build_sees_nothing_of_the_caller(
    build: Callable[..., StoredWheel], index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leak = str(tmp_path / "leak")
    hostile = {
        "PYTHONPATH",
        "PIP_TARGET",
        "PIP_CONSTRAINT",
        "PIP_EXTRA_INDEX_URL",
        "SSH_AUTH_SOCK",
        "NETRC",
        "LD_LIBRARY_PATH",
        "LDFLAGS",
        "CPATH",
        "CONDA_PREFIX",
    }
    for name in hostile:
        monkeypatch.setenv(name, leak)
    saw = seen(build(settings=IndexSettings(index_url=index.url.replace("//", "//me:s3cret@"))))
    assert saw["python"] == [3, 8]
    assert not [name for name, value in saw["environ"].items() if leak in value or "s3cret" in value]
    assert not [path for path in saw["path"] if leak in path or "dist-packages" in path]
    assert saw["environ"]["HOME"] == saw["environ"]["TMPDIR"] == "/tmp"
    assert saw["environ"]["PYTHONNOUSERSITE"] == "1"
    assert saw["environ"]["SOURCE_DATE_EPOCH"] == "315532800"
    assert saw["environ"]["CFLAGS"] == saw["environ"]["CXXFLAGS"] == "-g0"
    assert {name for name in saw["environ"] if name.startswith("PIP_")} <= {
        "PIP_BUILD_TRACKER", "PIP_CONFIG_FILE", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_NO_INPUT",
    }  # fmt: skip
    assert saw["environ"]["PIP_CONFIG_FILE"] == "/dev/null"


@pytest.mark.thorough
@pytest.mark.parametrize("network", [False, True])
def test_a_build_reaches_nothing_outside_of_its_room(
    build: Callable[..., StoredWheel], contexts: Contexts, tmp_path: Path, *, network: bool
) -> None:
    """A build that finds anything fails; with --build-network it finds the network, and no more."""
    secret = tmp_path / "secret"
    secret.touch()
    with socket.create_server(("127.0.0.1", 0)) as server:
        lines = (
            "import socket",
            f"found = list(filter(os.path.exists, {[str(secret), str(contexts.store.root)]!r}))",
            "try:",
            f"    socket.create_connection({server.getsockname()!r}, 2)",
            "    found.append('network')",
            "except OSError:",
            "    pass",
            f"assert found == {['network'] if network else []!r}, found",
        )
        files = project(fail="\n    ".join(lines))
        assert build(files, build_network=network).facts.dist_info == "built-1.0.dist-info"


@pytest.mark.thorough
def test_a_build_sees_no_store_within_what_it_sees(contexts: Contexts, wheels: Path) -> None:
    """A cache can lie below the prefix of the interpreter, of which a build sees all."""
    context = contexts.make()
    above, inside = contexts.store.root.parent, contexts.store.files
    inside.mkdir(parents=True, exist_ok=True)
    (above / "seen").touch()
    found = f"[path for path in {[str(above / 'seen'), str(inside)]!r} if os.path.exists(path)]"
    files = project(fail=f"found = {found}\n    assert found == {[str(above / 'seen')]!r}, found")
    dist = make_lock(at_path(make_sdist(wheels, "built", files=files)))
    shown = replace(context, interpreter=replace(context.interpreter, base_prefix=above))
    assert [one.locked.name for one in fetch(dist, shown)] == ["built"]


@pytest.mark.thorough
def test_what_a_build_starts_ends_with_it(build: Callable[..., StoredWheel]) -> None:
    quiet = "stdin=-3, stdout=-3, stderr=-3, start_new_session=True"
    build(project(fail=f"import subprocess; subprocess.Popen(['sleep', '123456'], {quiet})"))
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert b"sleep\x00123456\x00" not in running


@pytest.mark.thorough
def test_a_build_gets_what_it_requires_from_the_index(
    build: Callable[..., StoredWheel], index: Index, wheels: Path
) -> None:
    """What pyproject.toml names, and what only the backend asks for; neither with the index's credentials."""
    for name in ("static", "dynamic"):
        make_wheel(wheels, name, "1.0", files={f"{name}.py": ""})
    files = project(fail="import static, dynamic")
    files["pyproject.toml"] = files["pyproject.toml"].replace("[]", "['static>=1']")
    files["backend.py"] = files["backend.py"].replace("return []", "return ['dynamic==1.0']")
    assert build(files, settings=IndexSettings(index_url=index.url)).facts.dist_info == "built-1.0.dist-info"
    with pytest.raises(MachineError, match="what the build needs cannot be had: absent"):
        build({**files, "pyproject.toml": files["pyproject.toml"].replace("static>=1", "absent")})


@pytest.mark.thorough
def test_a_build_makes_a_file_not_a_link(build: Callable[..., StoredWheel]) -> None:
    link = "os.symlink(os.environ['TMPDIR'] + '/real', '/made/built-1.0-py3-none-any.whl')"
    with pytest.raises(MachineError, match="did not make one wheel"):
        build(project(fail=link))


@pytest.mark.thorough
def test_a_build_makes_what_the_target_accepts(build: Callable[..., StoredWheel]) -> None:
    files = project(tells=False)
    files["backend.py"] = files["backend.py"].replace("-py3-none-any.whl", "-cp311-cp311-win_amd64.whl")
    with pytest.raises(MachineError, match=r"win_amd64\.whl, which the target does not accept"):
        build(files)


@pytest.mark.thorough
def test_a_project_is_built_anew(contexts: Contexts, tmp_path: Path) -> None:
    folder = tmp_path / "my project"
    folder.mkdir()
    for name, text in project().items():
        (folder / name).write_text(text)
    dist = LockedDistribution(
        name="built",
        version="",
        artifact=Artifact(kind="directory", filename="", url=None, path=str(folder)),
        source="local",
    )
    (first,) = fetch(make_lock(dist), contexts.make())
    assert (first.locked.version, first.built_from) == ("1.0", "local project")
    assert first.locked.artifact.filename == "built-1.0-py3-none-any.whl"
    assert first.locked.artifact.sha256 == first.facts.sha256
    assert first.locked.artifact.path is None
    (folder / "built.py").write_text("VALUE = 2\n")
    (second,) = fetch(make_lock(dist), contexts.make())
    assert (second.tree / "lib/python3.8/site-packages/built.py").read_text() == "VALUE = 2\n"
    # The build worked on a copy.
    assert {path.name for path in folder.iterdir()} == set(project())


@pytest.mark.thorough
def test_a_build_of_a_project_does_not_see_the_cache_in_it(contexts: Contexts, tmp_path: Path) -> None:
    """Nor the working folder of a run: what a build server keeps between runs lies in the project."""
    folder = tmp_path / "project"
    for name, text in project(fail="seen['environ'] = sorted(path for path, _, _ in os.walk('.'))").items():
        (folder / "package").mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / ".out.envbundle" / "env").mkdir(parents=True)
    context = replace(contexts.make(), store=Store(folder / ".cache"))
    (context.store.files / "private").mkdir(parents=True)
    artifact = Artifact(kind="directory", filename="", url=None, path=str(folder))
    dist = LockedDistribution(name="built", version="", artifact=artifact, source="local")
    assert seen(fetch(make_lock(dist), context)[0])["environ"] == [".", "./.cache", "./package"]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("fatal error: Python.h: No such file or directory", "python3.X-dev"),
        ("https://user:hunter2@h.test is on fire", build_advice.GENERAL),
    ],
)
def test_a_build_that_fails(contexts: Contexts, index: Index, wheels: Path, words: str, advice: str) -> None:
    fail = f"print('\\n'.join('line %d' % n for n in range(300))); raise SystemExit({words!r})"
    dist = at(index, make_sdist(wheels, "built", files=project(fail=fail)))
    with pytest.raises(MachineError) as caught:
        fetch(make_lock(dist), contexts.make(settings=IndexSettings(index_url=index.url), job="web-py38"))
    message = caught.value.message
    assert "built 1.0 has no wheel for the target" in message
    assert words.rpartition("@")[2] in message
    assert len(message.splitlines()) <= 10
    assert advice in (caught.value.hint or "")
    full = re.search(r"full log: (.*)", message)
    assert full
    assert full[1].endswith("/logs/web-py38-build-built-1.0.log")
    text = contexts.folder.joinpath(full[1]).read_text()
    assert "line 0" in text
    assert words.rpartition("@")[2] in text
    assert "hunter2" not in message + text
    assert not list(contexts.store.root.glob("built/*"))


def several(index: Index, wheels: Path, fails: Mapping[str, str]) -> Lock:
    """A lock of projects as `project` makes them, by the statement that each runs."""
    dists = []
    for name, fail in fails.items():
        files = {path.replace("built", name): text.replace("built", name) for path, text in project().items()}
        files["backend.py"] = files["backend.py"].replace("    pass\n", f"    {fail}\n", 1)
        dists.append(replace(at(index, make_sdist(wheels, name, files=files)), name=name))
    return make_lock(*dists)


@pytest.mark.thorough
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="each build takes a processor")
def test_builds_run_at_the_same_time(contexts: Contexts, index: Index, wheels: Path) -> None:
    """Neither is answered until both have asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        meet = f"import socket; assert socket.create_connection({server.getsockname()!r}).recv(2) == b'go'"
        lock = several(index, wheels, {"one": meet, "two": meet})

        def answer() -> None:
            both = [server.accept()[0], server.accept()[0]]
            for one in both:
                one.sendall(b"go")
                one.close()

        answering = threading.Thread(target=answer)
        answering.start()
        context = contexts.make(settings=IndexSettings(index_url=index.url), build_network=True)
        fetched = fetch(lock, context)
        answering.join()
    assert [one.locked.name for one in fetched] == ["one", "two"]
    assert all(one.built_from for one in fetched)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("fail", "limits", "option"),
    [
        ("print('x' * (2 << 20)); raise SystemExit('no!')", RoomLimits(output_mib=1), "--output-limit"),
        ("bytearray(512 << 20)", RoomLimits(memory_mib=300), "--memory-limit"),
    ],
)
def test_a_build_that_meets_a_limit_names_its_option(
    contexts: Contexts, index: Index, wheels: Path, fail: str, limits: RoomLimits, option: str
) -> None:
    context = replace(contexts.make(settings=IndexSettings(index_url=index.url)), limits=limits)
    with pytest.raises(MachineError, match=r"greedy 1\.0 has no wheel for the target") as caught:
        fetch(several(index, wheels, {"greedy": fail}), context)
    assert option in (caught.value.hint or ""), caught.value.message


FILLS = "for n in range(40): open(f'/tmp/{{n}}', 'wb').write(b'x' * (1 << 20))\n    {}"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("fail", "mebibytes", "said"),
    [
        (FILLS.format("import time; time.sleep(60)"), 16, "filled more than 16 MiB of disk"),
        (FILLS.format("pass"), 16, "filled more than 16 MiB of disk"),
        ("open('/tmp/one', 'wb').truncate(40 << 20)", 16, "File too large"),
        (FILLS.format("raise SystemExit('it was built')"), 64, "it was built"),
    ],
    ids=["goes on", "has ended", "one file", "allowed"],
)
def test_a_build_that_fills_the_disk_is_ended(
    contexts: Contexts, index: Index, wheels: Path, fail: str, mebibytes: int, said: str
) -> None:
    context = replace(contexts.make(settings=IndexSettings(index_url=index.url)), build_disk=mebibytes)
    with pytest.raises(MachineError, match=r"greedy 1\.0 has no wheel for the target") as caught:
        fetch(several(index, wheels, {"greedy": fail}), context)
    assert said in caught.value.message
    assert ("--build-disk" in (caught.value.hint or "")) == (mebibytes == 16)
    assert not list(contexts.store.tmp.glob("*/work"))


def test_what_a_build_fills_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "before").write_bytes(b"x" * (2 << 20))
    called: list[float] = []
    watch = build_disk.DiskWatch(tmp_path, mebibytes=1, on_wait=called.append)
    watch(1.0)
    (tmp_path / "made").mkdir()
    (tmp_path / "made/file").write_bytes(b"x" * (2 << 20))
    with pytest.raises(DiskLimitError, match="filled more than 1 MiB of disk"):
        watch.look()
    (tmp_path / "made/file").unlink()
    watch.look()
    # Deleted and still open, or where no path reaches: what is left free tells.
    free = [(100 << 30, 1000), (101 << 20, 1000), (5 << 30, 99)]
    monkeypatch.setattr(build_disk, "_free", lambda _: free.pop(0))
    watch = build_disk.DiskWatch(tmp_path, mebibytes=1, on_wait=called.append)
    for _ in range(2):
        with pytest.raises(DiskLimitError, match="left next to nothing free"):
            watch.look()
    assert called == [1.0]


SECONDS = f"30.{os.getpid()}"
"""No other process of the tests sleeps as long; a build that nobody ends is done then, and the test fails."""


SLEEP = f"import subprocess; p = subprocess.Popen(['sleep', '{SECONDS}'], start_new_session=True)"


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("fails", "limit", "said"),
    [
        (
            {"slow": f"{SLEEP}; p.wait()", "slower": f"{SLEEP}; p.wait()"},
            5,
            "took longer than 5 s",
        ),
        # It holds the pipe through which pip listens to the build.
        ({"daemon": SLEEP}, 5, "took longer than 5 s"),
        (
            {
                "broken": "import time; time.sleep(4); raise SystemExit('no!')",
                "slow": f"{SLEEP}; p.wait()",
            },
            300,
            "no!",
        ),
    ],
)
def test_a_build_that_takes_too_long_or_fails_is_ended_with_the_others(
    contexts: Contexts, index: Index, wheels: Path, fails: Mapping[str, str], limit: int, said: str
) -> None:
    """Whichever ends first ends all, with what they have started."""
    context = contexts.make(settings=IndexSettings(index_url=index.url), build_timeout=limit)
    began = time.monotonic()
    with pytest.raises(MachineError, match=said) as caught:
        fetch(several(index, wheels, fails), context)
    assert time.monotonic() - began < 60
    assert caught.value.message.partition(" ")[0] in fails
    assert ("--build-timeout" in (caught.value.hint or "")) == (limit == 5)
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert f"sleep\0{SECONDS}\0".encode() not in running
    assert not [name for name in contexts.stored() if name.endswith(".whl")]


@pytest.mark.thorough
def test_constraints_of_builds(build: Callable[..., StoredWheel], index: Index, wheels: Path) -> None:
    """They decide what a build gets, and another build has another wheel."""
    for version in ("1.0", "2.0"):
        make_wheel(wheels, "static", version, files={"static.py": f"VERSION = {version!r}\n"})
    files = project(fail="import static; seen['environ'] = static.VERSION")
    files["pyproject.toml"] = files["pyproject.toml"].replace("[]", "['static']")
    settings = IndexSettings(index_url=index.url)
    for held, version in (((), "2.0"), (("static<2", "absent==7"), "1.0")):
        assert seen(build(files, settings=settings, build_constraints=held))["environ"] == version
    with pytest.raises(MachineError, match="what the build needs cannot be had: static"):
        build(files, settings=settings, build_constraints=("static>2",))


def needy(index: Index, wheels: Path, *, value: str) -> LockedDistribution:
    """An sdist whose build needs `static` by its pyproject.toml, and `dynamic` as its backend says."""
    files = project(fail=f"import static, dynamic; seen = {{'environ': {value}}}")
    files["pyproject.toml"] = files["pyproject.toml"].replace("[]", "['static']")
    files["backend.py"] = files["backend.py"].replace("return []", "return ['dynamic']")
    return at(index, make_sdist(wheels, "built", files=files))


@pytest.mark.thorough
def test_a_lock_says_what_a_build_used_and_it_is_used_again(
    contexts: Contexts, index: Index, wheels: Path
) -> None:
    settings = IndexSettings(index_url=index.url)
    for name in ("static", "dynamic"):
        make_wheel(wheels, name, "1.0", files={f"{name}.py": "VERSION = 1\n"})
    dist = needy(index, wheels, value="static.VERSION")
    (first,) = fetch(make_lock(dist), contexts.make(settings=settings))
    built = first.locked.built
    assert built is not None
    assert [(one.name, one.version) for one in built.tools] == [("dynamic", "1.0"), ("static", "1.0")]
    assert [one.sha256 for one in built.tools] == [sha256(wheels / one.filename) for one in built.tools]
    assert (built.sha256, built.unlike) == (first.facts.sha256, None)
    # Warm, and with the lock, and without an index: the same.
    for one in (dist, first.locked):
        (again,) = fetch(make_lock(one), contexts.make())
        assert again.locked == first.locked
    make_wheel(wheels, "static", "2.0", files={"static.py": "VERSION = 2\n"})
    for name in (first.facts.filename, "static-1.0-py3-none-any.whl"):
        for path in contexts.store.files.glob(f"*/*/{name}"):
            path.unlink()
    # It is built again, with what the lock names.
    (locked,) = fetch(make_lock(first.locked), contexts.make(settings=settings))
    assert seen(locked)["environ"] == 1
    assert locked.locked.built == built
    # Other tools made it than another lock names.
    newer = replace(built, tools=(replace(built.tools[0], sha256="0" * 64), built.tools[1]))
    with pytest.raises(MachineError, match="the lock says what the build used, and that cannot be had: dyn"):
        fetch(make_lock(replace(dist, built=newer)), contexts.make(settings=settings))
    with pytest.raises(MachineError, match=r"asks for dynamic, and the lock says that it used static 1\.0"):
        fetch(
            make_lock(replace(dist, built=replace(built, tools=built.tools[1:]))),
            contexts.make(settings=settings),
        )


@pytest.mark.thorough
def test_what_builds_need_is_as_of_exclude_newer(contexts: Contexts, index: Index, wheels: Path) -> None:
    """Also where a wheel is stored that newer tools made."""
    settings = IndexSettings(index_url=index.url)
    make_wheel(wheels, "dynamic", "1.0", files={"dynamic.py": ""})
    for number in (1, 2):
        path = make_wheel(wheels, "static", f"{number}.0", files={"static.py": f"VERSION = {number}\n"})
        index.upload_time[path.name] = f"202{number}-01-01T00:00:00Z"
    index.upload_time["dynamic-1.0-py3-none-any.whl"] = "2020-01-01T00:00:00Z"
    dist = needy(index, wheels, value="static.VERSION")
    for moment, version in ((None, 2), ("2021-06-01T00:00:00Z", 1), ("2022-06-01T00:00:00Z", 2)):
        context = replace(contexts.make(settings=settings), exclude_newer=moment)
        assert seen(fetch(make_lock(dist), context)[0])["environ"] == version, moment


@pytest.mark.thorough
def test_a_build_that_is_not_reproducible_is_told(contexts: Contexts, index: Index, wheels: Path) -> None:
    dist = at(index, make_sdist(wheels, "built", files=project(fail="seen['environ'] = os.urandom(8).hex()")))
    settings = IndexSettings(index_url=index.url)
    (first,) = fetch(make_lock(dist), contexts.make(settings=settings))
    assert first.locked.built is not None
    assert first.locked.built.unlike is None
    for path in contexts.store.files.glob("*/*/built-*.whl"):
        path.unlink()
    for one in (dist, dist, first.locked):
        context = contexts.make(settings=settings)
        (second,) = fetch(make_lock(one), context)
        assert second.locked.built is not None
        assert second.locked.built.unlike == first.facts.sha256 != second.facts.sha256
        told = context.progress.stream.getvalue()  # type: ignore[attr-defined] # made by `Contexts.make`
        assert "built 1.0: the build is not reproducible: the same tools made another wheel" in told
        (found,) = supply.built(make_lock(one), [second])
        assert (found.severity, "not reproducible" in found.cause) == ("warning", True)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("built", "0.9 has one: --prefer-binary takes it"),
        ("built==1.0", "0.9 has one: pin built==0.9"),
        ("built>=0.5\n--no-binary built", ""),
        ("built>=0.5\n--no-binary :all:", ""),
    ],
)
def test_an_older_wheel_is_told_before_a_build(
    contexts: Contexts, index: Index, wheels: Path, line: str, said: str
) -> None:
    make_wheel(wheels, "built", "0.9")
    make_wheel(wheels, "built", "0.8")
    make_wheel(wheels, "built", "0.95", tag="cp311-cp311-manylinux2014_x86_64")
    dist = at(index, make_sdist(wheels, "built", files=project()))
    (contexts.folder / "wanted.txt").write_text(f"{line}\n")
    wanted = requirements.read(files=[contexts.folder / "wanted.txt"])
    settings = IndexSettings(index_url=index.url)
    for text in (said, ""):  # what is in the store is not built, so nothing is told
        context = contexts.make(settings=settings, wanted=wanted)
        fetch(make_lock(dist), context)
        told = context.progress.stream.getvalue()  # type: ignore[attr-defined] # made by `Contexts.make`
        lines = [one for one in told.splitlines() if "no wheel for" in one]
        start = "built 1.0 has no wheel for CPython 3.8, glibc 2.31; "
        assert lines == ([start + text] if text else [])
        assert not lines or told.index(lines[0]) < told.index("building")
