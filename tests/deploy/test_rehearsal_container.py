"""Rehearsals in a container of an engine."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.create.test_interrupted import Running
from tests.support.command import Command, Outcome
from tests.support.rehearsalmaker import SITE, left

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.thorough  # real servers are started and stopped


@pytest.mark.parametrize(
    ("base", "code"),
    [
        ("me:s3cret-word@h.test/base:1", 2),
        ("https://me:s3cret-word@h.test/base:1", 2),
        ("h.test/base:1?token=s3cret-word", 2),
        ("h.test:5000/a/base:1", 3),
        ("base@sha256:" + "0" * 64, 3),
        ("0123456789ab", 3),
    ],
)
def test_an_engine_gets_nothing_but_the_name_of_an_image(
    shared_cache: Path, pips: Path, service: Path, tmp_path: Path, base: str, code: int
) -> None:
    """Every user of the machine can read its command line."""
    tool = tmp_path / "bin" / "podman"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\necho no such image >&2\nexit 125\n')
    tool.chmod(0o755)
    envbundle = Command(cache=shared_cache, pips=pips, folder=tmp_path)
    words = ["--entry", "score.py", "--engine", "podman", "--base", base, "--json"]
    path = {"PATH": f"{tool.parent}:{os.environ['PATH']}"}
    done = envbundle("-vv", "rehearse", service / "myenv", *words, environ=path)
    assert (done.code, (tmp_path / "asked").exists()) == (code, code == 3), done.stderr
    assert "s3cret" not in done.stdout + done.stderr
    assert ("is no name of an image" in done.stderr) is (code == 2)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, stock: Path, python38: Path) -> Iterator[dict[str, str]]:
    """Variables under which podman works here, with an image `rehearsed`: a Python 3.8 and the server."""
    if shutil.which("podman") is None:
        pytest.skip("no podman")
    folder = tmp_path_factory.mktemp("podman")
    runtime = 'runtime = "runc"\n' if shutil.which("runc") else ""
    limits = "default_ulimits = ['nofile=1024:1024', 'nproc=1024:1024']"
    (folder / "containers.conf").write_text(f"[containers]\n{limits}\n[engine]\n{runtime}")
    (folder / "storage.conf").write_text(
        f"[storage]\ndriver = 'vfs'\nrunroot = '{folder}/run'\ngraphroot = '{folder}/graph'\n"
    )
    environ = {
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
    }
    pack(folder / "root.tar", python38, next(stock.glob("*.whl")))
    for words in (
        ["import", "--change", f"ENV PATH={python38.parent}", str(folder / "root.tar"), "rehearsed"],
        ["run", "--rm", "--network", "none", "rehearsed", str(python38), "-c", "0"],
    ):
        tried = subprocess.run(
            ["podman", *words], env={**os.environ, **environ}, capture_output=True, text=True, check=False
        )
        if tried.returncode != 0:
            pytest.skip(f"podman does not work here: {tried.stderr.strip()}")
    yield environ
    # Containers that a failed test left hold mounts, and those the folder.
    subprocess.run(
        ["podman", "rm", "--all", "--force", "--time", "0"], env={**os.environ, **environ}, check=False
    )


def pack(archive: Path, python: Path, wheel: Path) -> None:
    """Write a root file system: a Python where it is here, the libraries that it needs, the server."""
    prefix = python.resolve().parent.parent
    lib = f"{prefix}/lib/python3.8"
    natives = [python, *Path(lib, "lib-dynload").glob("*.so")]
    listed = subprocess.run(["ldd", *natives], capture_output=True, text=True, check=True).stdout
    libraries = sorted(set(re.findall(r"(/\S+\.so\S*) \(0x", listed)))

    def readable(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        skipped = {"test", "tests", "site-packages", "__pycache__"}
        return None if skipped & set(member.name.split("/")) else member

    with tarfile.open(archive, "w", dereference=True) as tar:
        for path in [lib, str(python), *libraries]:
            tar.add(path, filter=readable)
        with zipfile.ZipFile(wheel) as packed:
            for name in packed.namelist():
                add_file(tar, f"{lib}/site-packages/{name}", packed.read(name), 0o644)
        script = f"#!{python}\nimport fakeserver\nfakeserver.run()\n"
        add_file(tar, f"{prefix}/bin/azmlinfsrv", script.encode(), 0o755)
        for folder in ("tmp", "proc", "dev", "sys"):
            tar.addfile(directory(folder))


def directory(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode = tarfile.DIRTYPE, 0o755
    return member


def add_file(tar: tarfile.TarFile, path: str, data: bytes, mode: int) -> None:
    member = tarfile.TarInfo(path.lstrip("/"))
    member.size, member.mode = len(data), mode
    tar.addfile(member, io.BytesIO(data))


@pytest.fixture
def contained(engine: dict[str, str], envbundle: Command, python38: Path) -> Callable[..., Outcome]:
    def rehearsed(*words: str | Path, base: str = "rehearsed") -> Outcome:
        options = ["--engine", "podman", "--base", base, "--python", str(python38)]
        logs = {"TMPDIR": str(envbundle.folder)}
        return envbundle("rehearse", "src/myenv", *options, *words, environ={**engine, **logs})

    return rehearsed


def test_container(contained: Callable[..., Outcome], service: Path) -> None:
    (service.parent / "look.txt").write_text(f"beside|{service.parent}|9")
    done = contained("--entry", "look.py", "--request", "look.txt", "--json")
    assert done.code == 0, done.stderr
    said = done.json()
    assert (said["server"], said["where"], said["python"][:3]) == ("9.1", "rehearsed", "3.8")
    seen = json.loads(said["answer"])
    assert seen["environ"]["PYTHONPATH"] == f"/var/azureml-app/./{SITE}:"
    assert seen["user"] == [65534, 65534, [65534]]
    assert seen["writes"][:2] == ["OSError 30", "OSError 30"]
    assert seen["builder"] == "FileNotFoundError 2"
    assert seen["network"] == ["ConnectionRefusedError 111", "OSError 101"]
    assert seen["beside"] == ""


def test_container_at_fault(contained: Callable[..., Outcome], service: Path, engine: dict[str, str]) -> None:
    (service / "score.py").write_text("import pandas\n")
    done = contained("--entry", "score.py")
    assert done.code == 1, done.stderr
    assert "ModuleNotFoundError: No module named 'pandas'" in done.stderr
    assert contained("--entry", "score.py", "--lib-path", "no", "--json").json()["exit_code"] == 97
    (service / "a,b").write_text("")
    assert contained("--entry", "score.py").code == 2
    unknown = contained("--entry", "score.py", base="localhost/nosuch")
    assert unknown.code == 3
    assert "podman has no image localhost/nosuch" in unknown.stderr
    left = subprocess.run(
        ["podman", "ps", "--all", "--quiet"],
        env={**os.environ, **engine},
        capture_output=True,
        text=True,
        check=True,
    )
    assert left.stdout == ""


def test_container_is_removed_on_ctrl_c(
    engine: dict[str, str],
    envbundle: Command,
    service: Path,
    python38: Path,
    port: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in engine.items():
        monkeypatch.setenv(name, value)
    (service / "score.py").write_text("import time\n\n\ndef init():\n    time.sleep(60)\n")
    options = ["--engine", "podman", "--base", "rehearsed", "--python", str(python38)]
    going = Running(envbundle, "rehearse", "src/myenv", "--entry", "score.py", "--port", port, *options)
    limit = time.monotonic() + 30
    while not left(port):
        assert going.process.poll() is None, going.stderr
        assert time.monotonic() < limit, going.stderr
        time.sleep(0.05)
    assert going.end(signal.SIGINT, within=30) == 130
    listed = subprocess.run(["podman", "ps", "--all", "--quiet"], capture_output=True, text=True, check=True)
    assert listed.stdout == ""
    assert not left(port)


def test_engine_that_is_not_there(envbundle: Command, service: Path) -> None:
    words = ["--entry", "score.py", "--engine", "podman", "--base", "x"]
    done = envbundle("rehearse", "src/myenv", *words, environ={"PATH": "/nonexistent"})
    assert done.code == 3, done.stderr
    assert "podman cannot be started" in done.stderr
    assert "hint: install podman, or leave --engine out" in done.stderr
