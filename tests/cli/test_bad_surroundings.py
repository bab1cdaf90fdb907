"""An index, a network or a build that fails: who must act is told, and nothing is left or told too much."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.create.test_pipeline import tree_digest
from tests.support.bad_input import BACKEND, CLOSED, WORKING_BACKEND, ZEROS, Bad, lock, project, run
from tests.support.command import Command, Wrapped
from tests.support.wheelmaker import make_sdist, make_wheel, sha256

if TYPE_CHECKING:
    from tests.support.index import Index

pytestmark = pytest.mark.thorough  # indexes that do not answer

pytest_plugins = ["tests.support.bad_input_fixtures"]


NETWORK = {
    "closed port": ("--index-url", CLOSED),
    "name that does not resolve": ("--index-url", "https://nowhere.invalid/simple"),
}


@pytest.mark.parametrize("resolver", ["uv", "pip"])
@pytest.mark.parametrize("name", NETWORK)
def test_index_out_of_reach(
    envbundle: Command, index: Index, work_folder: Path, name: str, resolver: str
) -> None:
    bad = Bad(
        text="leaf\n", index=True, environ={"PIP_RETRIES": "0"}, code=3,
        says=("the index is out of reach", "127.0.0.1:1/|nowhere.invalid|host='127.0.0.1', port=1"),
        hint="network, proxy",
    )  # fmt: skip
    run(bad, envbundle, index, work_folder, *NETWORK[name], "--resolver", resolver)


def test_index_that_pip_ignores(envbundle: Command, index: Index, work_folder: Path) -> None:
    """Pip's own rule, of which its error says nothing."""
    bad = Bad(text="leaf\n", index=True, says=("ignores the index at plain.invalid",), hint="--trusted-host")
    run(bad, envbundle, index, work_folder, "--index-url", "http://plain.invalid/simple", "--resolver", "pip")


def test_no_network_at_all(envbundle: Command, index: Index, work_folder: Path) -> None:
    unshare = ("unshare", "-rn")
    tried = subprocess.run([*unshare, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no network namespace: {tried.stderr.strip()}")
    bad = Bad(
        text="leaf\n", index=True, environ={"PIP_RETRIES": "0"}, code=3, says=("the index is out of reach",),
        hint="network, proxy",
    )  # fmt: skip
    wrapped = Wrapped(cache=envbundle.cache, pips=envbundle.pips, folder=envbundle.folder, wrapper=unshare)
    run(bad, wrapped, index, work_folder)


def test_file_out_of_reach(envbundle: Command, index: Index, work_folder: Path) -> None:
    """The lock is there, what it names is not."""
    bad = lock(
        ("<leaf>", ZEROS), says=("leaf-1.5-py3-none-any.whl", "127.0.0.1:1/files/", "refused"),
        hint="network, proxy", code=3,
    )  # fmt: skip
    run(replace(bad, environ={"PIP_RETRIES": "0"}), envbundle, index, work_folder)


def test_file_that_is_gone(envbundle: Command, index: Index, work_folder: Path) -> None:
    bad = lock(
        (CLOSED.removesuffix("/simple"), index.url.removesuffix("/simple")), ("1.5", "1.6"),
        ("<leaf>", ZEROS),
        says=("leaf-1.6-py3-none-any.whl", "/files/leaf-1.6", "HTTP 404"), hint="lock anew", code=3,
    )  # fmt: skip
    run(bad, envbundle, index, work_folder)


@pytest.mark.parametrize("resolver", ["uv", "pip"])
def test_file_changed_on_its_way(envbundle: Command, index: Index, work_folder: Path, resolver: str) -> None:
    wheel = make_wheel(index.folder, "fresh", files={"fresh.py": f"RESOLVER = {resolver!r}\n"})
    index.corrupt = {wheel.name}
    says = ("fresh", f"xpected:? +(sha256:)?{sha256(wheel)}")
    run(Bad(text="fresh\n", index=True, says=says), envbundle, index, work_folder, "--resolver", resolver)
    index.corrupt = set()
    words = [
        "-o",
        "good",
        "--index-url",
        index.url,
        "--find-links",
        str(envbundle.pips),
        "--resolver",
        resolver,
    ]
    done = envbundle("create", "fresh", "--python", "3.8", *words)
    assert done.code == 0, f"what was wrong was kept: {done.stderr}"


@pytest.mark.parametrize("resolver", ["uv", "pip"])
def test_index_wants_a_password(envbundle: Command, index: Index, work_folder: Path, resolver: str) -> None:
    index.password = ("robot", "s3cret-w0rd")
    for url in (index.url, index.url.replace("//", "//robot:wr0ng-w0rd@")):
        bad = Bad(text="leaf\n", index=True, code=3, says=("index wants credentials",), hint="netrc")
        done = run(bad, envbundle, index, work_folder, "--resolver", resolver, "--index-url", url)
        assert "wr0ng" not in done.stdout + done.stderr


@pytest.mark.parametrize("resolver", ["uv", "pip"])
def test_password_is_used_and_never_told(
    envbundle: Command, index: Index, offered: Path, tmp_path: Path, resolver: str
) -> None:
    index.password = ("robot", "s3cret-w0rd")
    make_sdist(offered, "buildable", files=project("buildable", WORKING_BACKEND))
    url = index.url.replace("//", "//robot:s3cret-w0rd@")
    (tmp_path / "requirements.txt").write_text(f"--index-url {url}\nroot-dist\nbuildable\n")
    private = replace(envbundle, cache=tmp_path / "cache")
    words = ["-r", "requirements.txt", "--python", "3.8", "-o", "new", "--resolver", resolver, "--json"]
    process = subprocess.Popen(
        [*private.argv("-vv", "create"), *words, "--find-links", str(envbundle.pips)],
        env=private.environment(), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    seen: set[bytes] = set()
    with ThreadPoolExecutor() as pool:
        reading = pool.submit(process.communicate)
        while not reading.done():
            seen |= command_lines()
        stdout, stderr = reading.result()
    assert process.returncode == 0, stderr
    assert any(b"requirements.in" in line for line in seen), "the watch saw no resolver"
    assert not [line for line in seen if b"s3cret" in line]
    assert "s3cret" not in stdout + stderr
    assert "run: " in stderr
    kept = [path for top in ("new", "cache") for path in (tmp_path / top).rglob("*") if path.is_file()]
    assert len(kept) > 20
    assert not [path for path in kept if b"s3cret" in path.read_bytes()]


def command_lines() -> set[bytes]:
    """The words of every process of the machine, as every user can read them."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.add(path.read_bytes())
    return found


def test_build_fails(envbundle: Command, index: Index, work_folder: Path) -> None:
    says = ("unbuildable 1.0", "RuntimeError: the frobnicator is missing", "full log: ")
    bad = Bad(text="unbuildable\n", code=3, says=says, hint="pin a version")
    message = run(bad, envbundle, index, work_folder).json()["error"]["message"]
    assert len(message.splitlines()) < 15
    log = re.search("full log: (.*)", message)
    assert log is not None
    text = Path(log[1]).read_text()
    assert "compiling part 0\n" in text
    assert "compiling part 299\n" in text


@pytest.mark.parametrize("resolver", ["uv", "pip"])
def test_metadata_cannot_be_built(envbundle: Command, index: Index, work_folder: Path, resolver: str) -> None:
    """A build that fails while requirements are resolved."""
    files = project("riddle", BACKEND)
    dynamic = 'dynamic = ["version", "dependencies"]'
    files["pyproject.toml"] = files["pyproject.toml"].replace('version = "1.0"', dynamic)
    files["PKG-INFO"] = files["PKG-INFO"].replace("2.1", "1.0")
    make_sdist(index.folder, "riddle", files=files)
    says = ("building it from source to learn its requirements", "frobnicator is missing", "full log: /")
    bad = Bad(text="riddle\n", code=3, says=says, hint="pin a version")
    run(bad, envbundle, index, work_folder, "--resolver", resolver)


def test_bundle_that_cannot_be_proved(envbundle: Command, index: Index, work_folder: Path) -> None:
    """The last stage in which a run can fail: the old bundle stays."""
    done = run(
        Bad(text="bent\n", code=1, says=("not proved", "nothing was emitted")), envbundle, index, work_folder
    )
    (finding,) = [one for one in done.json()["findings"] if one["severity"] == "error"]
    assert "nothing_brings_this" in finding["cause"]


def test_local_project_tells_nothing_of_the_builder(
    envbundle: Command, offered: Path, tmp_path: Path
) -> None:
    for name, text in project("mine", WORKING_BACKEND).items():
        (tmp_path / "a project").mkdir(exist_ok=True)
        (tmp_path / "a project" / name).write_text(text)
    (tmp_path / "requirements.txt").write_text("-e './a project'\nleaf\n")
    before = tree_digest(tmp_path / "a project")
    done = envbundle(
        "create", "-r", "requirements.txt", "--python", "3.8", "-o", "new", *envbundle.offline(offered)
    )
    assert done.code == 0, done.stderr
    assert tree_digest(tmp_path / "a project") == before
    assert (tmp_path / "new/lib/python3.8/site-packages/mine.py").is_file()
    for path in (tmp_path / "new").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for place in (tmp_path, envbundle.cache, Path.home(), offered):
            assert os.fsencode(place) + b"/" not in content, path
