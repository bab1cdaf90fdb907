"""The pip that drives the target: fetched by hash, posing as the image, and what it freezes."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import shutil
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.create import target_pip
from bundler.errors import CommandError, MachineError
from bundler.model import Environment, IndexSettings, RoomLimits
from bundler.ontarget import pip_freeze
from bundler.system import index_settings
from bundler.system.room import CONFINED
from bundler.targets import interpreters
from bundler.wheels.store import Store

from tests.support import bundlemaker, machine
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bundler.create.target_pip import Pip
    from bundler.model import Interpreter

    from tests.support.index import Index


@pytest.fixture(scope="module")
def tools(
    tmp_path_factory: pytest.TempPathFactory, pips: Path, python37: Path, python38: Path
) -> dict[str, Pip]:
    """The posing pips of both targets, fetched from a folder."""
    folder = tmp_path_factory.mktemp("tools")
    store = Store(folder / "store")
    made = {}
    for version, python in (("3.7", python37), ("3.8", python38)):
        scratch = folder / version
        scratch.mkdir()
        interpreter = interpreters.probe(python, cache_dir=store.probes, origin="given")
        made[version] = target_pip.obtain(
            interpreter,
            store=store,
            settings=IndexSettings(no_index=True, find_links=(str(pips),)),
            glibc=(2, 27) if version == "3.7" else (2, 31),
            scratch=scratch,
            environ={},
        )
    return made


def tags(tool: Pip, python: Path, scratch: Path, *, pose: bool) -> set[str]:
    listing = tool.run(python, ["debug", "--verbose"], scratch=scratch, pose=pose).stdout
    lines = listing.partition("Compatible tags")[2].splitlines()[1:]
    return {line.strip() for line in lines if line.startswith("  ")}


@pytest.mark.thorough
@pytest.mark.parametrize(("version", "abi", "newest"), [("3.7", "cp37m", 27), ("3.8", "cp38", 31)])
def test_pip_poses_as_the_image(
    request: pytest.FixtureRequest, tools: Mapping[str, Pip], tmp_path: Path, version: str, abi: str,
    newest: int,
) -> None:  # fmt: skip
    python: Path = request.getfixturevalue(f"python{version.replace('.', '')}")
    name = f"cp{version.replace('.', '')}"
    posing = tags(tools[version], python, tmp_path, pose=True)
    assert f"{name}-{abi}-manylinux_2_{newest}_x86_64" in posing
    assert f"{name}-{abi}-manylinux2014_x86_64" in posing
    assert f"{name}-{abi}-manylinux_2_{newest + 1}_x86_64" not in posing
    builder = tags(tools[version], python, tmp_path, pose=False)
    glibc = os.confstr("CS_GNU_LIBC_VERSION") or ""
    assert f"{name}-{abi}-manylinux_{glibc.split()[1].replace('.', '_')}_x86_64" in builder
    assert posing < builder


@pytest.mark.thorough
def test_pip_sees_nothing_of_the_caller(
    tools: Mapping[str, Pip], tmp_path: Path, python38: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leak = tmp_path / "leak"
    (leak / "leaked-9.dist-info").mkdir(parents=True)
    (leak / "leaked-9.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: leaked\nVersion: 9\n")
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = https://leaked.test\n")
    for variable, value in {"PYTHONPATH": leak, "PIP_CONFIG_FILE": config, "PIP_TARGET": leak}.items():
        monkeypatch.setenv(variable, str(value))
    listing = tools["3.8"].run(python38, ["list"], scratch=tmp_path).stdout
    assert "leaked" not in listing
    settings = index_settings.parse_settings(
        tools["3.8"].run(python38, ["config", "list"], scratch=tmp_path).stdout
    )
    assert (settings.index_url, settings.ignored) == (None, ())


@pytest.fixture
def interpreter(python38: Path, tmp_path: Path) -> Interpreter:
    return interpreters.probe(python38, cache_dir=tmp_path / "probes", origin="given")


@pytest.fixture
def with_pip(index: Index, wheels: Path, pips: Path) -> Index:
    """An index that has the pip of 3.8."""
    shutil.copy(pips / "pip-25.0.1-py3-none-any.whl", wheels)
    return index


def obtain(interpreter: Interpreter, settings: IndexSettings, folder: Path) -> Pip:
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    return target_pip.obtain(
        interpreter,
        store=Store(folder / "store"),
        settings=settings,
        glibc=(2, 31),
        scratch=scratch,
        environ={"PATH": os.environ["PATH"]},
    )


def change(folder: Path) -> None:
    path = folder / "pip" / "__main__.py"
    path.write_bytes(path.read_bytes().replace(b"import", b"IMPORT"))


def remove(folder: Path) -> None:
    (folder / "pip" / "_vendor" / "certifi" / "cacert.pem").unlink()


def add_a_module(folder: Path) -> None:
    (folder / "json.py").write_text("raise SystemExit('not the library')\n")


def pose_otherwise(folder: Path) -> None:
    (folder / "_manylinux.py").write_text("")


def link(folder: Path) -> None:
    path = folder / "pip" / "__main__.py"
    path.rename(folder.parent / "elsewhere.py")
    path.symlink_to(folder.parent / "elsewhere.py")


def link_a_folder(folder: Path) -> None:
    path = folder / "pip" / "_vendor"
    shutil.rmtree(folder.parent / "elsewhere", ignore_errors=True)
    path.rename(folder.parent / "elsewhere")
    path.symlink_to(folder.parent / "elsewhere")


DAMAGE = (change, remove, add_a_module, pose_otherwise, link, link_a_folder)


def tree_of(folder: Path) -> set[str]:
    return {f"{path.relative_to(folder)} {path.stat().st_size}" for path in folder.rglob("*.py")}


@pytest.mark.thorough
def test_pip_is_fetched_once(with_pip: Index, interpreter: Interpreter, tmp_path: Path) -> None:
    settings = IndexSettings(index_url=with_pip.url)
    first = obtain(interpreter, settings, tmp_path)
    assert (first.version, first.folder.name) == ("25.0.1", "pip-25.0.1")
    assert [path for path in with_pip.requests if path.startswith("/files/")] == [
        "/files/pip-25.0.1-py3-none-any.whl"
    ]
    with_pip.requests.clear()
    assert obtain(interpreter, settings, tmp_path) == first
    # A copy that is not what the wheel gives is made again, from the wheel that the store has kept.
    for damage in DAMAGE:
        before = tree_of(first.folder)
        damage(first.folder)
        obtain(interpreter, settings, tmp_path)
        assert tree_of(first.folder) == before
        damage(first.folder)
        assert target_pip.verify(Store(tmp_path / "store")) == ("pip-25.0.1: it is not what its wheel gives",)
        obtain(interpreter, settings, tmp_path)
        assert target_pip.verify(Store(tmp_path / "store")) == ()
    assert with_pip.requests == []
    # A wheel that is another is fetched anew.
    (wheel,) = (tmp_path / "store").glob("v1/files/*/*/pip-*")
    wheel.write_bytes(wheel.read_bytes()[:-1])
    shutil.rmtree(first.folder)
    assert not target_pip.is_stored(interpreter, store=Store(tmp_path / "store"))
    obtain(interpreter, settings, tmp_path)
    assert target_pip.is_stored(interpreter, store=Store(tmp_path / "store"))
    version = first.run(interpreter.executable, ["--version"], scratch=tmp_path / "scratch").stdout
    assert version.startswith(f"pip 25.0.1 from {first.folder}")


@pytest.mark.thorough
@pytest.mark.parametrize("place", ["index", "folder"])
def test_pip_is_taken_without_another_program(
    with_pip: Index, pips: Path, interpreter: Interpreter, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    place: str,
) -> None:  # fmt: skip
    folder = IndexSettings(no_index=True, find_links=(str(pips),))
    caplog.set_level(logging.DEBUG)
    obtain(interpreter, folder if place == "folder" else IndexSettings(index_url=with_pip.url), tmp_path)
    assert target_pip.is_stored(interpreter, store=Store(tmp_path / "store"))
    assert "run: " not in caplog.text


@pytest.mark.thorough
def test_a_pip_that_is_another_is_refused(with_pip: Index, interpreter: Interpreter, tmp_path: Path) -> None:
    with_pip.corrupt = {"pip-25.0.1-py3-none-any.whl"}
    with pytest.raises(MachineError, match=r"pip 25\.0\.1.* could not be fetched"):
        obtain(interpreter, IndexSettings(index_url=with_pip.url), tmp_path)
    assert not list((tmp_path / "store").rglob("pip-25*"))


@pytest.mark.thorough
def test_an_index_without_pip(index: Index, wheels: Path, interpreter: Interpreter, tmp_path: Path) -> None:
    make_wheel(wheels, "pip", "99.0")
    with pytest.raises(MachineError, match=r"pip 25\.0\.1.* could not be fetched") as caught:
        obtain(interpreter, IndexSettings(index_url=index.url), tmp_path)
    assert "--find-links" in (caught.value.hint or "")


@pytest.mark.thorough
@pytest.mark.parametrize("given", ["", "robot:wr0ng-w0rd@"])
def test_an_index_that_wants_a_password_for_pip(
    with_pip: Index, interpreter: Interpreter, tmp_path: Path, given: str
) -> None:
    with_pip.password = ("robot", "s3cret-w0rd")
    url = with_pip.url.replace("//", f"//{given}")
    with pytest.raises(MachineError, match=r"fetched: the index wants credentials$") as caught:
        obtain(interpreter, IndexSettings(index_url=url), tmp_path)
    assert "netrc" in (caught.value.hint or "")
    assert "--find-links" in (caught.value.hint or "")


@pytest.mark.thorough
def test_credentials_are_in_no_command_and_no_log(
    with_pip: Index, interpreter: Interpreter, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The index wants a password, so it must have reached pip; yet neither a word nor the log has it."""
    with_pip.password = ("user", "hunter2")
    words: list[str] = []
    start = subprocess.Popen.__init__

    def noted(self: subprocess.Popen[str], argv: list[str], **options: object) -> None:
        words.extend(argv)
        start(self, argv, **options)  # type: ignore[call-overload]  # whatever the caller gave

    monkeypatch.setattr(subprocess.Popen, "__init__", noted)
    caplog.set_level(logging.DEBUG)
    settings = IndexSettings(index_url=with_pip.url.replace("://", "://user:hunter2@"))
    tool = obtain(interpreter, settings, tmp_path)
    make_wheel(with_pip.folder, "six")
    tool.run(
        interpreter.executable,
        ["download", "six", "-d", tmp_path, *index_settings.index_flags(settings)],
        scratch=tmp_path / "scratch",
    )
    assert "/files/six-1.0-py3-none-any.whl" in with_pip.requests
    assert words
    assert "hunter2" not in " ".join(words)
    assert "run: " in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.thorough
def test_every_setting_is_a_flag_that_pip_knows(
    tmp_path: Path, tools: Mapping[str, Pip], python38: Path
) -> None:
    settings = IndexSettings(
        find_links=("/x",), no_index=True, trusted_hosts=("h.test:1",), cert="/c", client_cert="/k",
        timeout=2.5, retries=0, keyring_provider="disabled",
    )  # fmt: skip
    flags = index_settings.index_flags(settings)
    assert len([flag for flag in flags if flag.startswith("--")]) == 8
    done = tools["3.8"].run(python38, ["download", *flags, "--help"], scratch=tmp_path, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def posing(target_python: Path, tmp_path: Path) -> Environment:
    """An empty environment of each target."""
    prefix = tmp_path / "env"
    subprocess.run([target_python, "-m", "venv", "--without-pip", prefix], check=True)
    minor = target_python.name.removeprefix("python")
    return Environment(
        prefix=prefix,
        python=prefix / "bin/python",
        site_packages=prefix / f"lib/python{minor}/site-packages",
    )


@pytest.fixture
def base(target_python: Path) -> Interpreter:
    return bundlemaker.interpreter(target_python, target_python.name.removeprefix("python"))


@pytest.fixture
def tool(posing: Environment, target_python: Path, pips: Path, shared_cache: Path, tmp_path: Path) -> Pip:
    minor = target_python.name.removeprefix("python")
    if minor not in machine.TARGETS:
        machine.lacking(f"no CPython {' or '.join(machine.TARGETS)}, whose pips the set-up fetches")
    return target_pip.obtain(
        bundlemaker.interpreter(target_python, minor),
        store=Store(shared_cache),
        settings=IndexSettings(no_index=True, find_links=(str(pips),)),
        glibc=(2, 31),
        scratch=tmp_path,
        environ=os.environ,
    )


@pytest.mark.thorough
def test_freeze_sees_what_is_there_now(
    posing: Environment, tool: Pip, base: Interpreter, tmp_path: Path
) -> None:
    def fresh() -> list[str]:
        return tool.run(posing.python, ["freeze", "--all"], scratch=tmp_path).stdout.splitlines()

    minor = posing.site_packages.parent.name.removeprefix("python")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "bundle").mkdir()
    shown = [tmp_path / "bundle", elsewhere]
    with target_pip.freezing(
        tool, lambda: posing, interpreter=base, show=shown, cover=[], scratch=tmp_path
    ) as freeze:
        assert freeze().lines == ()
        bundlemaker.unpack(tmp_path / "bundle", make_wheel(tmp_path, "alpha", "1.5"), minor=minor)
        posing.site_packages.rmdir()
        posing.site_packages.symlink_to(tmp_path / "bundle" / "lib" / f"python{minor}" / "site-packages")
        assert list(freeze().lines) == fresh() == ["alpha==1.5"]
        # What only a start-up file reaches is seen by an interpreter that starts, so it must be seen here.
        bundlemaker.unpack(elsewhere, make_wheel(tmp_path, "beta", "2.0"), minor=minor)
        (posing.site_packages / "extra.pth").write_text(f"{elsewhere}/lib/python{minor}/site-packages\n")
        assert list(freeze().lines) == fresh() == ["alpha==1.5", "beta==2.0"]
        (posing.site_packages / "extra.pth").unlink()
        assert freeze().lines == ("alpha==1.5",)


@pytest.fixture
def fresh_tool(tool: Pip, tmp_path: Path) -> Pip:
    """The same pip as it is unpacked: without bytecode."""
    folder = tmp_path / "fresh"
    shutil.copytree(tool.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return replace(tool, folder=folder)


def bytecode(tool: Pip) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in tool.folder.rglob("__pycache__/*")}


def test_bytecode_that_a_room_may_not_write_is_kept(
    posing: Environment, fresh_tool: Pip, base: Interpreter, tmp_path: Path
) -> None:
    def freezing() -> contextlib.AbstractContextManager[Callable[[], target_pip.Freeze]]:
        return target_pip.freezing(
            fresh_tool, lambda: posing, interpreter=base, show=[], cover=[], scratch=tmp_path
        )

    with freezing() as freeze:
        assert freeze().lines == ()
    made = bytecode(fresh_tool)
    assert {path.suffix for path in made} == {".pyc"}
    names = {path.relative_to(fresh_tool.folder).as_posix() for path in made}
    assert f"pip/_internal/operations/__pycache__/freeze.{base.cache_tag}.pyc" in names
    assert len(names) > 100
    where = (
        f"import sys; sys.path[:0] = [{str(Path(pip_freeze.__file__).parent)!r}, {str(fresh_tool.folder)!r}]"
    )
    code = f"{where}; import pip_freeze; print(len(pip_freeze.load(sys.path[1])[1]))"
    done = subprocess.run([posing.python, "-I", "-B", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"  # nothing is compiled again
    with freezing() as freeze:
        assert freeze().lines == ()
    assert bytecode(fresh_tool) == made


def test_bytecode_of_nothing_that_is_there_is_not_kept(
    fresh_tool: Pip, base: Interpreter, tmp_path: Path
) -> None:
    end, text = f"{base.cache_tag}.pyc", base64.b64encode(b"code").decode()
    made = dict.fromkeys(
        (
            f"pip/__pycache__/__init__.{end}",
            f"pip/__pycache__/nothing.{end}",
            f"pip/_internal/{end}",
            f"../fresh/pip/__pycache__/__main__.{end}",
            f"{tmp_path}/fresh/pip/__pycache__/__main__.{end}",
        ),
        text,
    )

    def ask(request: str, *, timeout: float) -> str:
        assert (request, timeout > 0) == ("bytecode", True)
        return json.dumps(made)

    target_pip._keep_bytecode(ask, fresh_tool.folder, base, RoomLimits())
    assert bytecode(fresh_tool) == {fresh_tool.folder / f"pip/__pycache__/__init__.{end}": b"code"}


SPY = """
import os, socket, sys
def tried(function, *arguments):
    try:
        function(*arguments)
        return True
    except OSError:
        return False
print("secret", "s3cret" in repr(dict(os.environ)))
print("writes", tried(open, {folder!r} + "/late.py", "w"))
print("connects", tried(socket.create_connection, {address!r}, 2))
print("answers", tried(open, "/proc/%d/fd/1" % os.getppid(), "w"))
print("store", tried(os.stat, {store!r} + "/files"))
print("writes beside it", tried(open, {store!r} + "-late", "w"))
"""


def test_start_up_files_run_in_the_room(
    posing: Environment, tool: Pip, base: Interpreter, tmp_path: Path
) -> None:
    """A .pth of a wheel is code on trial: a freeze runs it without index, network and a way to write."""
    settings = IndexSettings(index_url="https://me:s3cret@index.invalid/simple")
    tool = replace(tool, settings=settings, variables={"HTTPS_PROXY": "http://me:s3cret@proxy.invalid"})
    store = tmp_path / "shown" / "store"
    (store / "files").mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        source = SPY.format(folder=str(posing.site_packages), address=server.getsockname(), store=str(store))
        asking = target_pip.freezing(
            tool, lambda: posing, interpreter=base, show=[store.parent], cover=[store], scratch=tmp_path
        )
        with asking as freeze:
            assert freeze().lines == ()
            (posing.site_packages / "spy.pth").write_text(f"import os; exec({source!r})\n")
            frozen = freeze()
    if not set(CONFINED) <= set(frozen.isolation):
        machine.lacking("no namespaces")
    assert frozen.lines == (
        "secret False",
        "writes False",
        "connects False",
        "answers False",
        "store False",
        "writes beside it False",
    )
    assert not (posing.site_packages / "late.py").exists()


def test_a_freeze_that_fails_is_told(
    posing: Environment, tool: Pip, base: Interpreter, tmp_path: Path
) -> None:
    with target_pip.freezing(
        tool, lambda: posing, interpreter=base, show=[], cover=[], scratch=tmp_path
    ) as freeze:
        assert freeze().lines == ()
        (posing.site_packages / "bad.pth").write_text("import os; os._exit(9)\n")
        with pytest.raises(CommandError, match="pip freeze ended"):
            freeze()
        (posing.site_packages / "bad.pth").unlink()
        assert freeze().lines == ()


@pytest.mark.thorough
def test_a_start_up_file_has_the_time_of_an_import(
    posing: Environment, tool: Pip, base: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if it stops what waits for it: that is the first process of its room."""
    monkeypatch.setattr(target_pip, "_SLACK", 2)
    limits = RoomLimits(import_seconds=2)
    line = "import os, signal, time; parent = os.getppid(); os.kill(parent, signal.SIGSTOP)"
    # Where nobody ends it, it ends, and the test fails.
    line += "; time.sleep(30); os.kill(parent, signal.SIGCONT)\n"
    (posing.site_packages / "endless.pth").write_text(line)
    asking = target_pip.freezing(
        tool, lambda: posing, interpreter=base, show=[], cover=[], scratch=tmp_path, limits=limits
    )
    began = time.monotonic()
    with asking as freeze, pytest.raises(CommandError) as caught:
        freeze()
    assert time.monotonic() - began < 200
    assert caught.value.hint is not None
    assert "--import-timeout" in caught.value.hint
