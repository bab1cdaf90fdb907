"""What `pip freeze` said of a tree is given again for the same tree, and for no other."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.create import emit, pipeline
from bundler.create.request import CreateRequest, LockRequest
from bundler.model import IndexSettings
from bundler.system.progress import Progress
from bundler.system.workspace import Workspace

from tests.support import machine
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from tests.support.command import Command


@pytest.fixture
def words(envbundle: Command, wheels: Path, python38: Path) -> list[str]:
    make_wheel(wheels, "alpha", "7.8", files={"alpha.py": "x = 78\n"})
    make_wheel(wheels, "alpha", "7.9", files={"alpha.py": "x = 79\n"})
    make_wheel(wheels, "gamma", "7.8", files={"gamma.py": "x = 80\n"})
    return ["-v", "create", "--python", str(python38), "--json", "--force", *envbundle.offline(wheels)]


def frozen(envbundle: Command, words: list[str], *more: str) -> tuple[bool, str | None]:
    """Create; tell whether pip was asked, and since when the answer is kept."""
    done = envbundle(*words, *more)
    assert done.code == 0, done.stderr
    if "no-network" not in done.json()["isolation"]["proof"]:
        machine.lacking("no namespaces")
    return "pip_freeze.py" in done.stderr, done.json()["frozen_at"]


@pytest.mark.thorough
def test_the_same_tree_is_asked_once(envbundle: Command, words: list[str], tmp_path: Path) -> None:
    assert frozen(envbundle, words, "alpha==7.8", "-o", "a") == (True, None)
    asked, since = frozen(envbundle, words, "alpha==7.8", "-o", "b")
    assert not asked
    assert since is not None
    # Other words, the same tree: the environment was made ahead for nothing, the answer is the same.
    assert frozen(envbundle, words, "alpha<7.9", "-o", "e")[1] == since
    assert frozen(envbundle, words, "alpha<7.9", "-o", "e") == (False, since)
    assert frozen(envbundle, words, "alpha==7.8", "-o", "c", "--prove") == (True, None)
    assert len({(tmp_path / folder / "manifest.json").read_bytes() for folder in "abc"}) == 1
    assert frozen(envbundle, words, "alpha==7.9", "-o", "d") == (True, None)


@pytest.mark.thorough
def test_a_likely_answer_that_is_gone_is_asked_for(
    envbundle: Command, words: list[str], tmp_path: Path
) -> None:
    """The question is known, the tree is not: the environment is made late."""
    assert frozen(envbundle, words, "gamma", "-o", "a") == (True, None)
    files = [path for path in envbundle.cache.rglob("*") if path.is_file()]
    texts = [path for path in files if b"gamma==7.8" in (data := path.read_bytes()) and b"frozen_at" in data]
    assert len(texts) == 1
    texts[0].write_bytes(b"damaged")
    assert frozen(envbundle, words, "gamma", "-o", "b") == (True, None)
    assert frozen(envbundle, words, "gamma", "-o", "b")[1]
    assert (tmp_path / "a/manifest.json").read_bytes() == (tmp_path / "b/manifest.json").read_bytes()


@pytest.mark.thorough
def test_what_is_only_installed_gets_an_environment_all_the_same(
    envbundle: Command, words: list[str], wheels: Path, tmp_path: Path, python38: Path
) -> None:
    """A server that was bundled before (its freeze is kept) is rehearsed."""
    frozen(envbundle, words, "alpha==7.8", "-o", "a")
    work = Workspace(environment=tmp_path / "env", bundle=tmp_path / "server", scratch=tmp_path / "scratch")
    work.bundle.mkdir()
    work.scratch.mkdir()
    request = LockRequest(
        arguments=("alpha==7.8",),
        python=str(python38),
        index=IndexSettings(no_index=True, find_links=(str(envbundle.pips), str(wheels))),
        cache_dir=envbundle.cache,
    )
    lock = pipeline.install_only(request, work, progress=Progress(stream=io.StringIO()), environ={})
    assert [dist.name for dist in lock.distributions] == ["alpha"]
    assert (work.environment / "bin/python").exists()


def test_what_writes_a_bundle_is_loaded_ahead_only_where_one_is_made(
    envbundle: Command, wheels: Path, tmp_path: Path, python38: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A nightly run resolves first, and finds most bundles unchanged."""
    make_wheel(wheels, "ahead", "1.0", files={"ahead.py": ""})
    loads: list[str] = []
    monkeypatch.setattr(emit, "load", lambda: loads.append("loaded"))
    request = CreateRequest(
        arguments=("ahead",),
        python=str(python38),
        index=IndexSettings(no_index=True, find_links=(str(envbundle.pips), str(wheels))),
        cache_dir=envbundle.cache,
        output=tmp_path / "bundle",
    )
    progress = Progress(stream=io.StringIO())
    resolved = pipeline.resolve(request, progress=progress, environ={})
    assert loads == []
    pipeline.create(request, resolved=resolved, progress=progress, environ={})
    assert loads == ["loaded"]


def test_what_only_resolves_brings_no_pip(
    envbundle: Command, wheels: Path, tmp_path: Path, python38: Path
) -> None:
    """To compare an unpacked pip with its wheel was a third of the work of a bundle that had not changed."""
    make_wheel(wheels, "alone", "1.0", files={"alone.py": ""})
    request = CreateRequest(
        arguments=("alone",),
        python=str(python38),
        index=IndexSettings(no_index=True, find_links=(str(envbundle.pips), str(wheels))),
        cache_dir=tmp_path / "cache",
        output=tmp_path / "bundle",
    )
    progress = Progress(stream=io.StringIO())
    resolved = pipeline.resolve(request, progress=progress, environ={})
    assert [dist.name for dist in resolved.lock.distributions] == ["alone"]
    assert not list((tmp_path / "cache").rglob("pip-*"))
