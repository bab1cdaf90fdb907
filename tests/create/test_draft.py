"""What is made while the tree is written counts only if the tree is then what it was to be."""

from __future__ import annotations

import io
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from bundler.create import emit, install, pipeline
from bundler.create.request import CreateRequest, CreateResult
from bundler.errors import ProofError
from bundler.model import IndexSettings
from bundler.system.progress import Progress

from tests.support import machine
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.command import Command

pytestmark = pytest.mark.thorough
SP = "lib/python3.8/site-packages"


class Maker:
    """Makes the same bundle again and again, in this process."""

    def __init__(self, request: CreateRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        self.request = request
        self.monkeypatch = monkeypatch
        self.steps: list[str] = []
        """What was done, in order: `rendered`, `installed`."""
        self._install, self._render = install.install, emit.render
        monkeypatch.setattr(emit, "render", self._rendering)

    def _rendering(self, *args: Any, **more: Any) -> emit.Documents:
        self.steps.append("rendered")
        return self._render(*args, **more)

    def create(self, disturb: Callable[[Path], object] = lambda _: None) -> CreateResult:
        """Make it; `disturb` gets the tree that was just installed."""

        def installing(*args: Any, prefix: Path, **more: Any) -> install.InstalledTree:
            done = self._install(*args, prefix=prefix, **more)
            self.steps.append("installed")
            disturb(prefix)
            return done

        self.steps.clear()
        shutil.rmtree(self.request.output, ignore_errors=True)
        self.monkeypatch.setattr(install, "install", installing)
        return pipeline.create(self.request, progress=Progress(stream=io.StringIO()), environ={})

    def documents(self) -> dict[str, bytes]:
        """The documents that the bundle has."""
        return {path.name: path.read_bytes() for path in self.request.output.iterdir() if path.is_file()}


@pytest.fixture
def maker(
    envbundle: Command, wheels: Path, tmp_path: Path, python38: Path, monkeypatch: pytest.MonkeyPatch
) -> Maker:
    make_wheel(wheels, "drafted", "1.0", files={"drafted.py": "x = 78\n"})
    request = CreateRequest(
        arguments=("drafted",),
        python=str(python38),
        index=IndexSettings(no_index=True, find_links=(str(envbundle.pips), str(wheels))),
        cache_dir=tmp_path / "cache",
        output=tmp_path / "bundle",
    )
    made = Maker(request, monkeypatch)
    if "no-network" not in made.create().evidence.isolation.proof:
        machine.lacking("no namespaces")
    return made


def test_documents_are_made_while_the_tree_is_written(maker: Maker) -> None:
    assert maker.steps == ["installed", "rendered"]  # nothing is kept: the tree must be there
    first = maker.documents()
    result = maker.create()
    assert maker.steps == ["rendered", "installed"]
    assert maker.documents() == first
    assert result.proved_at
    assert result.frozen_at


def test_a_tree_with_one_file_more_is_proved_and_described_as_it_is(maker: Maker) -> None:
    with pytest.raises(ProofError) as caught:
        maker.create(lambda prefix: (prefix / SP / "extra.py").write_text("y = 1\n"))
    assert [(one.code, one.subject) for one in caught.value.findings if one.severity == "error"] == [
        ("EB105", f"{SP}/extra.py")
    ]
    assert maker.steps == ["rendered", "installed"]


def test_a_tree_with_another_file_is_proved_as_it_is(maker: Maker) -> None:
    with pytest.raises(ProofError) as caught:
        maker.create(lambda prefix: (prefix / SP / "drafted.py").write_text("x = 79\n"))
    assert ("EB203", f"{SP}/drafted.py") in [(one.code, one.subject) for one in caught.value.findings]


def test_a_tree_with_another_mode_is_described_as_it_is(maker: Maker) -> None:
    result = maker.create(lambda prefix: (prefix / SP / "drafted.py").chmod(0o755))
    assert maker.steps == ["rendered", "installed", "rendered"]
    rows = json.loads((maker.request.output / "manifest.json").read_text())["files"]
    assert [row[3] for row in rows if row[0] == f"{SP}/drafted.py"] == ["0755"]
    assert not result.proved_at  # what is kept is of another tree
    assert not result.frozen_at


def test_what_is_not_kept_any_more_is_asked_again(maker: Maker) -> None:
    texts = maker.request.cache_dir / "v1" / "texts"
    first = maker.documents()
    result = maker.create(lambda _: shutil.rmtree(texts))
    assert maker.steps == ["rendered", "installed", "rendered"]
    assert not result.frozen_at
    assert maker.documents() == first
