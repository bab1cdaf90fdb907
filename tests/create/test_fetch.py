"""Fetching: several files at once, hashes before content, builds that see nothing of the builder."""

from __future__ import annotations

import contextlib
import functools
import http.server
import io
import json
import os
import re
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bundler.create import build_advice, build_tools, environment, git_access, requirements, target_pip
from bundler.create.fetch import fetch, with_sizes
from bundler.create.fetch.context import FetchContext
from bundler.create.fetch.prefetch import Prefetcher
from bundler.errors import InputError, MachineError
from bundler.model import Artifact, IndexSettings, Lock, LockedDistribution
from bundler.system.progress import Progress
from bundler.system.workspace import Workspace
from bundler.targets import interpreters, target
from bundler.wheels.store import Store

from tests.support.wheelmaker import make_sdist, make_wheel, sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from bundler.model import Requirements, StoredWheel

    from tests.support.index import Index

BACKEND = """\
import base64, hashlib, json, os, sys, zipfile
def get_requires_for_build_wheel(config_settings=None):
    return []
def build_wheel(folder, config_settings=None, metadata_directory=None):
    seen = {"environ": dict(os.environ), "python": sys.version_info[:2], "path": sys.path}
    FAIL
    name = "built-1.0-py3-none-any.whl"
    members = {
        "built.py": open("built.py").read(),
        "seen.json": json.dumps(seen) if TELLS else "",
        "built-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: built\\nVersion: 1.0\\n",
        "built-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    rows = ""
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for path, text in members.items():
            archive.writestr(zipfile.ZipInfo(path), text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
            rows += "%s,sha256=%s,\\n" % (path, digest)
        record = "built-1.0.dist-info/RECORD"
        archive.writestr(zipfile.ZipInfo(record), rows + record + ",,\\n")
    return name
"""


def project(*, tells: bool = True, fail: str = "", content: str = "VALUE = 1\n") -> dict[str, str]:
    """A project whose backend writes into the wheel what it saw; `fail` is a statement that it runs."""
    return {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": f"TELLS = {tells}\n{BACKEND.replace('FAIL', fail or 'pass')}",
        "PKG-INFO": "Metadata-Version: 2.1\nName: built\nVersion: 1.0\n",
        "built.py": content,
    }


def seen(wheel: StoredWheel) -> dict[str, Any]:
    """What a build saw."""
    (path,) = wheel.tree.glob("lib/*/site-packages/seen.json")
    saw: dict[str, Any] = json.loads(path.read_text())
    return saw


def builds(caplog: pytest.LogCaptureFixture) -> int:
    """How many builds have begun."""
    return sum("isolate.py" in record.getMessage() for record in caplog.records)


@dataclass(frozen=True, kw_only=True)
class Contexts:
    """Makes contexts of a fetch, all with the same tools."""

    folder: Path
    pips: Path
    tools: Store
    pythons: Mapping[str, Path]
    stack: contextlib.ExitStack
    """Ends what was begun for the contexts."""

    def make(
        self,
        *,
        settings: IndexSettings | None = None,
        version: str = "3.8",
        glibc: str | None = None,
        no_build: bool = False,
        build_network: bool = False,
        build_timeout: int = 60,
        build_constraints: tuple[str, ...] = (),
        wanted: Requirements | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> FetchContext:
        interpreter = interpreters.probe(self.pythons[version], cache_dir=self.tools.probes, origin="given")
        aim = target.for_interpreter(interpreter, glibc=glibc)
        count = len(list(self.folder.glob("context-*")))
        scratch = self.folder / f"context-{count}"
        scratch.mkdir()
        tool = target_pip.obtain(
            interpreter,
            store=self.tools,
            settings=IndexSettings(no_index=True, find_links=(str(self.pips),)),
            glibc=aim.glibc,
            scratch=scratch,
            environ=environ or {},
        )
        work = Workspace(environment=scratch / "env", bundle=scratch / "bundle", scratch=scratch)
        made = environment.create(interpreter, aim, work, self.tools.root / "virtualenv")
        settings = settings or IndexSettings(no_index=True)
        store = self.store
        prefetcher = Prefetcher(store, interpreter, aim, settings, None)
        self.stack.enter_context(prefetcher.running())
        return FetchContext(
            store=store,
            interpreter=interpreter,
            target=aim,
            environment=lambda: made,
            pip=replace(tool, settings=settings),
            settings=settings,
            requirements=wanted,
            scratch=scratch,
            no_build=no_build,
            build_tools=build_tools.wheels,
            build_network=build_network,
            build_timeout=build_timeout,
            build_constraints=build_constraints,
            progress=Progress(stream=io.StringIO()),
            prefetcher=prefetcher,
        )

    @property
    def store(self) -> Store:
        """The store of the test, opened anew as another run would."""
        return Store(self.folder / "store")

    def stored(self) -> set[str]:
        """Names of the files that the store shows."""
        return {path.name for path in self.store.files.glob("*/*/*")}


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("tools"))


@pytest.fixture
def contexts(tmp_path: Path, tools: Store, pips: Path, python37: Path, python38: Path) -> Iterator[Contexts]:
    pythons = {"3.7": python37, "3.8": python38}
    with contextlib.ExitStack() as stack:
        yield Contexts(folder=tmp_path, pips=pips, tools=tools, pythons=pythons, stack=stack)


def make_lock(*dists: LockedDistribution) -> Lock:
    return Lock(python_version="3.8.18", machine="x86_64", glibc=(2, 31), distributions=dists)


def at(index: Index, path: Path, **changes: Any) -> LockedDistribution:
    """The distribution of a file that an index serves."""
    artifact = Artifact(
        kind="wheel" if path.suffix == ".whl" else "sdist",
        filename=path.name,
        url=f"{index.url.replace('/simple', '/files')}/{path.name}",
        sha256=sha256(path),
    )
    name, version = path.name.split("-")[:2]
    version = version.removesuffix(".tar.gz")
    return LockedDistribution(name=name, version=version, artifact=replace(artifact, **changes))


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def fifo_instead(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link_instead(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("sized", [False, True])
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: os.truncate(path, 0),
        lambda path: os.truncate(path, 9),
        folder_instead,
        fifo_instead,
        link_instead,
    ],
    ids=["empty", "short", "folder", "fifo", "link"],
)
def test_a_damaged_wheel_of_the_store_is_fetched_again(
    contexts: Contexts, index: Index, wheels: Path, damage: Callable[[Path], None], *, sized: bool
) -> None:
    """Even where its tree is there: a lock's size is that of the wheel."""
    path = make_wheel(wheels, "alpha")
    size = path.stat().st_size
    lock = make_lock(at(index, path, size=size if sized else None))
    settings = IndexSettings(index_url=index.url)
    fetch(lock, contexts.make(settings=settings))
    (stored,) = contexts.store.files.glob("*/*/*")
    damage(stored)
    (again,) = fetch(lock, contexts.make(settings=settings))
    assert again.locked.artifact.size == size
    assert not stored.is_symlink()
    assert stored.read_bytes() == path.read_bytes()


def test_several_at_once(contexts: Contexts, index: Index, wheels: Path) -> None:
    index.delay = 0.15
    dists = [at(index, make_wheel(wheels, f"dist{number}")) for number in range(12)]
    fetched = fetch(make_lock(*dists), contexts.make(settings=IndexSettings(index_url=index.url)))
    assert [one.locked.name for one in fetched] == [dist.name for dist in dists]
    assert [one.locked.artifact.size for one in fetched] == [
        (wheels / dist.artifact.filename).stat().st_size for dist in dists
    ]
    assert 2 < index.at_once <= 8
    index.requests.clear()
    again = fetch(make_lock(*dists), contexts.make(settings=IndexSettings(index_url=index.url)))
    assert [one.tree for one in again] == [one.tree for one in fetched]
    assert index.requests == []


def test_a_wrong_hash_shows_nothing(contexts: Contexts, index: Index, wheels: Path) -> None:
    good, bad = (at(index, make_wheel(wheels, name)) for name in ("good", "bad"))
    index.corrupt = {bad.artifact.filename}
    context = contexts.make(settings=IndexSettings(index_url=index.url))
    with pytest.raises(InputError, match="does not have the expected hash") as caught:
        fetch(make_lock(good, bad), context)
    context.prefetcher.finish()
    assert str(bad.artifact.sha256) in caught.value.message
    assert contexts.stored() <= {good.artifact.filename}
    assert {path.name[:64] for path in contexts.store.trees.glob("*/*")} <= {good.artifact.sha256}
    assert not [path for path in contexts.store.tmp.iterdir() if path.is_dir()]
    index.corrupt = set()
    fetch(make_lock(good, bad), contexts.make(settings=IndexSettings(index_url=index.url)))
    assert contexts.stored() == {good.artifact.filename, bad.artifact.filename}


@pytest.mark.parametrize("retries", [0, 1])
def test_a_connection_that_breaks_once(contexts: Contexts, index: Index, wheels: Path, retries: int) -> None:
    dist = at(index, make_wheel(wheels, "big", files={"big.py": "x = 1\n" * 50_000}))
    index.broken = {dist.artifact.filename}
    context = contexts.make(settings=IndexSettings(index_url=index.url, retries=retries))
    if retries == 0:
        with pytest.raises(MachineError, match=r"big-1\.0.*could not be fetched"):
            fetch(make_lock(dist), context)
        assert contexts.stored() == set()
        return
    fetch(make_lock(dist), context)
    assert contexts.stored() == {dist.artifact.filename}
    assert index.requests == [f"/files/{dist.artifact.filename}"] * 2


@pytest.mark.parametrize("how", ["index URL", "extra index URL", "direct URL", "netrc", "none", "wrong"])
def test_passwords(
    contexts: Contexts, index: Index, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    dist = at(index, make_wheel(wheels, "private"))
    index.password = ("me", "pass/w@rd")
    secret = index.url.replace("://", "://me:pass%2Fw%40rd@")
    settings = IndexSettings(index_url=index.url, retries=0)
    wanted = None
    environ: dict[str, str] = {}
    if how == "index URL":
        settings = replace(settings, index_url=secret)
    elif how == "extra index URL":
        settings = replace(settings, index_url="https://h.test/simple", extra_index_urls=(secret,))
    elif how == "direct URL":
        url = f"{secret.replace('/simple', '/files')}/{dist.artifact.filename}"
        wanted = requirements.read(files=[], arguments=[f"private @ {url}"])
    elif how == "netrc":
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password pass/w@rd\n")
        environ["NETRC"] = str(tmp_path / "netrc")
        monkeypatch.setenv("NETRC", environ["NETRC"])
    elif how == "wrong":
        settings = replace(settings, index_url=index.url.replace("://", "://me:guess@"))
    context = contexts.make(settings=settings, wanted=wanted, environ=environ)
    if how in {"none", "wrong"}:
        with pytest.raises(MachineError, match=r"wants credentials \(HTTP 401\)") as caught:
            fetch(make_lock(dist), context)
        assert "guess" not in caught.value.message
        assert contexts.stored() == set()
    else:
        (fetched,) = fetch(make_lock(dist), context)
        assert contexts.stored() == {dist.artifact.filename}
        assert "pass" not in repr(fetched.locked)


def test_a_file_that_is_gone(contexts: Contexts, index: Index, wheels: Path) -> None:
    dist = at(index, make_wheel(wheels, "gone"))
    (wheels / dist.artifact.filename).unlink()
    with pytest.raises(MachineError, match=r"gone-1\.0-py3-none-any\.whl .*: HTTP 404"):
        fetch(make_lock(dist), contexts.make(settings=IndexSettings(index_url=index.url)))


def test_a_folder_of_files_needs_no_network(contexts: Contexts, index: Index, wheels: Path) -> None:
    dist = at(index, make_wheel(wheels, "here"))
    fetch(
        make_lock(dist), contexts.make(settings=IndexSettings(index_url=index.url, find_links=(str(wheels),)))
    )
    assert index.requests == []
    # A file of the same name with another hash is not the file that is locked.
    other = contexts.folder / "other"
    other.mkdir()
    make_wheel(other, "there", files={"there.py": "OTHER = 1\n"})
    there = at(index, make_wheel(wheels, "there"))
    fetch(
        make_lock(there), contexts.make(settings=IndexSettings(index_url=index.url, find_links=(str(other),)))
    )
    assert index.requests == [f"/files/{there.artifact.filename}"]


def test_sizes_are_asked_for(contexts: Contexts, index: Index, wheels: Path) -> None:
    known = at(index, make_wheel(wheels, "known"), size=5)
    asked = at(index, make_wheel(wheels, "asked"))
    gone = at(index, asked_file := make_wheel(wheels, "gone"))
    asked_file.unlink()
    lock = with_sizes(
        make_lock(known, asked, gone), contexts.make(settings=IndexSettings(index_url=index.url))
    )
    size = (wheels / asked.artifact.filename).stat().st_size
    assert [dist.artifact.size for dist in lock.distributions] == [5, size, None]


def test_no_build_names_everything(contexts: Contexts, index: Index, wheels: Path) -> None:
    wheel = at(index, make_wheel(wheels, "fine"))
    first = at(index, make_sdist(wheels, "first", files={"x": ""}))
    second = replace(
        first,
        name="second",
        version="",
        artifact=Artifact(kind="directory", filename="", url=None, path=str(wheels)),
    )
    with pytest.raises(InputError) as caught:
        fetch(
            make_lock(wheel, first, second),
            contexts.make(settings=IndexSettings(index_url=index.url), no_build=True),
        )
    assert "first==1.0, second" in caught.value.message
    assert "fine" not in caught.value.message
    assert index.requests == []


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
        path = made[repr(files)]
        artifact = Artifact(kind="sdist", filename=path.name, url=None, path=str(path), sha256=sha256(path))
        dist = LockedDistribution(name="built", version="1.0", artifact=artifact)
        (fetched,) = fetch(make_lock(dist), contexts.make(**options))
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


@pytest.mark.parametrize("sized", [False, True])
def test_a_source_is_locked_alike_before_and_after_its_wheel_was_built(
    contexts: Contexts, index: Index, wheels: Path, *, sized: bool
) -> None:
    path = make_sdist(wheels, "built", files=project(tells=False))
    lock = make_lock(at(index, path, size=path.stat().st_size if sized else None))
    locked = [fetch(lock, contexts.make(settings=IndexSettings(index_url=index.url)))[0].locked]
    contexts.store.drop(contexts.store.file(sha256(path), path.name) or path)
    locked.append(fetch(lock, contexts.make())[0].locked)
    assert locked[0] == locked[1] == lock.distributions[0]


def test_a_build_sees_nothing_of_the_caller(
    build: Callable[..., StoredWheel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    saw = seen(build(settings=IndexSettings(index_url="https://me:s3cret@index.invalid/simple")))
    assert saw["python"] == [3, 8]
    assert not [name for name, value in saw["environ"].items() if leak in value or "s3cret" in value]
    assert not [path for path in saw["path"] if leak in path or "dist-packages" in path]
    assert saw["environ"]["HOME"] == saw["environ"]["TMPDIR"] == "/tmp"
    assert saw["environ"]["PYTHONNOUSERSITE"] == "1"
    assert saw["environ"]["SOURCE_DATE_EPOCH"] == "315532800"
    assert {name for name in saw["environ"] if name.startswith("PIP_")} <= {
        "PIP_BUILD_TRACKER", "PIP_CONFIG_FILE", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_NO_INPUT",
    }  # fmt: skip
    assert saw["environ"]["PIP_CONFIG_FILE"] == "/dev/null"


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


def test_what_a_build_starts_ends_with_it(build: Callable[..., StoredWheel]) -> None:
    quiet = "stdin=-3, stdout=-3, stderr=-3, start_new_session=True"
    build(project(fail=f"import subprocess; subprocess.Popen(['sleep', '123456'], {quiet})"))
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert b"sleep\x00123456\x00" not in running


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


def test_a_build_makes_a_file_not_a_link(build: Callable[..., StoredWheel]) -> None:
    link = "os.symlink(os.environ['TMPDIR'] + '/real', '/wheels/built-1.0-py3-none-any.whl')"
    with pytest.raises(MachineError, match="did not make one wheel"):
        build(project(fail=link))


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
        fetch(make_lock(dist), contexts.make(settings=IndexSettings(index_url=index.url)))
    message = caught.value.message
    assert "built 1.0 has no wheel for the target" in message
    assert words.rpartition("@")[2] in message
    assert len(message.splitlines()) <= 10
    assert advice in (caught.value.hint or "")
    full = re.search(r"full log: (.*)", message)
    assert full
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


SECONDS = f"9{os.getpid()}"
"""No other process of the tests sleeps as long."""
SLEEP = f"import subprocess; p = subprocess.Popen(['sleep', '{SECONDS}'], start_new_session=True)"


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


def test_credentials_of_a_repository_reach_git_in_variables() -> None:
    def asked(*lines: str) -> dict[str, str]:
        return git_access.variables(requirements.read(files=[], arguments=lines))

    a = "a @ git+https://user:to%2Fken@git.example:443/org/a.git@main"
    header = "Authorization: Basic dXNlcjp0by9rZW4="
    assert asked(a, "b @ git+https://git.example/b") == {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.https://git.example/.extraHeader",
        "GIT_CONFIG_VALUE_0": header,
    }
    two = asked(
        a, "b @ git+https://other@git.example/org/b.git", "c @ git+https://x:y@else.example:8443/c@v1"
    )
    assert [two[f"GIT_CONFIG_KEY_{number}"] for number in range(3)] == [
        "http.https://git.example/org/a.git.extraHeader",
        "http.https://git.example/org/b.git.extraHeader",
        "http.https://else.example:8443/.extraHeader",
    ]
    assert two["GIT_CONFIG_VALUE_0"] == header
    assert git_access.variables(None) == {}


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("a @ git+https://user:token@git.example/a.git@v1", "a @ git+https://git.example/a.git@v1"),
        (
            "git+https://t@git.example/a ; python_version < '4'",
            "git+https://git.example/a ; python_version < '4'",
        ),
        ("a @ https://user:pw@files.example/a.whl", "a @ https://user:pw@files.example/a.whl"),
        ("a @ git+ssh://git@git.example/a.git", "a @ git+ssh://git@git.example/a.git"),
        ("a==1", "a==1"),
    ],
)
def test_resolver_gets_no_credentials_of_a_repository(text: str, passed: str) -> None:
    assert git_access.without_credentials(text) == passed


def test_git_gets_a_password_and_no_command_line_shows_it(tmp_path: Path) -> None:
    project = tmp_path / "project"
    bare = tmp_path / "served" / "org" / "a.git"
    who = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (
        ["init", "-q", str(project)],
        ["-C", str(project), *who, "commit", "-q", "--allow-empty", "-m", "first"],
        ["clone", "-q", "--bare", str(project), str(bare)],
        ["-C", str(bare), "update-server-info"],
    ):
        subprocess.run(["git", *words], check=True)

    class Guarded(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") == "Basic dXNlcjpodW50ZXIy":
                super().do_GET()
            else:
                self.send_error(401)

        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Guarded, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://user:hunter2@127.0.0.1:{server.server_address[1]}/org/a.git"
        asked = requirements.read(files=[], arguments=[f"a @ git+{url}@main"])
        bare_url = git_access.without_credentials(f"git+{url}").removeprefix("git+")
        done = subprocess.run(
            ["git", "ls-remote", bare_url],
            env={"PATH": os.environ["PATH"], "GIT_TRACE": "1", **git_access.variables(asked)},
            capture_output=True,
            text=True,
            check=False,
        )
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("HEAD\n") or "\tHEAD\n" in done.stdout
    assert "remote-http" in done.stderr
    assert "hunter2" not in done.stderr
