"""uv's output is returned again only where uv itself would print the very same now."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from bundler.create import requirements, target_pip
from bundler.create.resolve import Resolution, ResolveRequest, output_cache, resolve, uv
from bundler.create.resolve.uv import pages, without_log
from bundler.errors import InputError, MachineError
from bundler.model import IndexSettings
from bundler.system import index_settings
from bundler.targets import interpreters, target
from bundler.wheels.store import Store

from tests.support.index import Index, serve
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Runs:
    """The same requirements, resolved again and again."""

    folder: Path
    python: Path
    store: Store
    tool: target_pip.Pip
    index: Index
    settings: IndexSettings = field(default_factory=IndexSettings)

    def resolve(self, lines: str = "app\n", **changes: Any) -> Resolution:
        file = self.folder / "requirements.txt"
        file.write_text(lines)
        wanted = requirements.read(files=[file], environ={})
        interpreter = interpreters.probe(self.python, cache_dir=self.store.probes, origin="given")
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        settings = index_settings.merge(
            replace(self.settings, index_url=self.settings.index_url or self.index.url), wanted.index
        )
        request = ResolveRequest(
            requirements=wanted,
            target=target.for_interpreter(interpreter, glibc=changes.pop("glibc", None)),
            interpreter=interpreter,
            settings=settings,
            variables=index_settings.network_variables(settings, scratch=scratch, environ={}),
            scratch=scratch,
            uv_cache=self.store.uv,
            learn=lambda dist, _: pytest.fail(f"{dist} is built"),
            store=self.store,
        )
        return resolve(replace(request, **changes), resolver="uv", pip=self.tool)

    def third(self, lines: str = "app\n", **changes: Any) -> Resolution:
        """The third run: the first learns the pages, the second keeps the output."""
        for _ in range(2):
            assert not self.resolve(lines, **changes).cached
        self.index.requests.clear()
        return self.resolve(lines, **changes)


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory, python38: Path, pips: Path) -> target_pip.Pip:
    """The target's pip; unpacked once."""
    folder = tmp_path_factory.mktemp("tool")
    store = Store(folder / "store")
    return target_pip.obtain(
        interpreters.probe(python38, cache_dir=store.probes, origin="given"),
        store=store,
        settings=IndexSettings(no_index=True, find_links=(str(pips),)),
        glibc=(2, 31),
        scratch=folder,
        environ={},
    )


@pytest.fixture
def runs(tmp_path: Path, python38: Path, tool: target_pip.Pip, index: Index) -> Runs:
    make_wheel(index.folder, "app", requires=["lib<2"])
    make_wheel(index.folder, "lib", "1.0")
    return Runs(folder=tmp_path, python=python38, store=Store(tmp_path / "store"), tool=tool, index=index)


def versions(resolution: Resolution) -> dict[str, str]:
    return {dist.name: dist.version for dist in resolution.lock.distributions}


@pytest.mark.parametrize("etags", [True, False])
def test_the_third_run(runs: Runs, *, etags: bool) -> None:
    runs.index.etags = etags
    first = runs.resolve()
    assert not runs.resolve().cached
    runs.index.requests.clear()
    again = runs.resolve()
    assert again.cached
    assert replace(again, cached=False) == first
    assert sorted(runs.index.requests) == ["/simple/app/", "/simple/lib/"]
    assert runs.resolve(refresh=True) == first


@pytest.mark.thorough
def test_uv_that_says_nothing_is_ended(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uv, "SILENCE", 1)
    runs.index.delay = 8  # each file
    with pytest.raises(MachineError, match="said nothing for 1 s") as raised:
        runs.resolve()
    assert str(runs.store.uv) in str(raised.value.hint)
    runs.index.delay = 0
    assert versions(runs.resolve()) == {"app": "1.0", "lib": "1.0"}


def test_one_run_asks_once(runs: Runs) -> None:
    """As the bundles of a `rebuild` with the same requirements do."""
    began = time.time()
    for _ in range(2):
        assert not runs.resolve(asked_since=began).cached
    runs.index.requests.clear()
    _add(runs.index, "app", "1.1")
    assert versions(runs.resolve(asked_since=began))["app"] == "1.0"
    assert not runs.index.requests
    assert versions(runs.resolve(asked_since=time.time()))["app"] == "1.1"


@pytest.mark.thorough
def test_a_later_run_asks_once_too(runs: Runs) -> None:
    runs.third()
    began = time.time()
    assert runs.resolve(asked_since=began).cached
    runs.index.requests.clear()
    assert runs.resolve(asked_since=began).cached
    assert not runs.index.requests
    assert runs.resolve().cached
    assert runs.index.requests


def _add(index: Index, name: str, version: str) -> None:
    make_wheel(index.folder, name, version)


def _yank(index: Index) -> None:
    _add(index, "lib", "0.9")
    index.yanked["lib-1.0-py3-none-any.whl"] = "bad"


def _remove(index: Index) -> None:
    _add(index, "lib", "0.9")
    (index.folder / "lib-1.0-py3-none-any.whl").unlink()


def _exclude(index: Index) -> None:
    _add(index, "lib", "0.9")
    index.requires_python["lib-1.0-py3-none-any.whl"] = ">=3.9"


CHANGES: dict[str, tuple[Callable[[Index], None], dict[str, str]]] = {
    "a release of what is asked for": (lambda index: _add(index, "app", "1.1"), {"app": "1.1"}),
    "a release of what that needs": (lambda index: _add(index, "lib", "1.1"), {"app": "1.0", "lib": "1.1"}),
    "a release that does not count": (lambda index: _add(index, "lib", "2.0"), {"app": "1.0", "lib": "1.0"}),
    "yanked": (_yank, {"app": "1.0", "lib": "0.9"}),
    "gone": (_remove, {"app": "1.0", "lib": "0.9"}),
    "for other Pythons now": (_exclude, {"app": "1.0", "lib": "0.9"}),
}


@pytest.mark.thorough
@pytest.mark.parametrize(("looks", "refresh"), [(0, True), (1, False), (1, True)])
def test_what_uv_takes_for_fresh_is_asked_for(runs: Runs, looks: int, *, refresh: bool) -> None:
    """A page with a date and no Cache-Control is fresh for a tenth of its age (RFC 9111)."""
    runs.index.modified = "Mon, 01 Jan 2024 00:00:00 GMT"
    runs.resolve("lib\n")
    for _ in range(looks):
        runs.resolve()
    _add(runs.index, "lib", "1.1")
    assert versions(runs.resolve(refresh=refresh)) == {"app": "1.0", "lib": "1.1"}


@pytest.mark.thorough
@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_is_seen(runs: Runs, name: str) -> None:
    change, expected = CHANGES[name]
    assert runs.third().cached
    change(runs.index)
    afterwards = runs.resolve()
    assert not afterwards.cached
    assert versions(afterwards) == expected
    assert versions(runs.resolve()) == expected


@pytest.mark.thorough
@pytest.mark.parametrize("reverted", [True, False])
def test_a_change_while_uv_is_asking(runs: Runs, *, reverted: bool) -> None:
    """Our look comes before the release and uv's after it: nobody knows which page the answer belongs to."""
    runs.resolve()
    released: list[Path] = []

    def release(name: str) -> None:
        if name == "lib" and not released:
            released.append(make_wheel(runs.index.folder, "lib", "1.1"))

    runs.index.after_page = release
    assert versions(runs.resolve())["lib"] == "1.1"
    if reverted:
        released[0].unlink()
    third = runs.resolve()
    assert not third.cached
    assert versions(third)["lib"] == ("1.0" if reverted else "1.1")
    assert runs.resolve() == replace(third, cached=True)


@pytest.mark.thorough
def test_pages_that_uv_need_not_ask_for(runs: Runs) -> None:
    """A server may allow to keep a page for a while: uv looks again where it has changed all the same."""
    runs.index.max_age = 3600
    runs.resolve()
    make_wheel(runs.index.folder, "lib", "1.1")
    for _ in range(3):
        assert versions(runs.resolve())["lib"] == "1.1"


@pytest.mark.thorough
def test_a_project_that_a_second_index_has_now(runs: Runs, tmp_path: Path) -> None:
    folder = tmp_path / "second"
    folder.mkdir()
    second, server = serve(folder)
    try:
        settings = IndexSettings(index_url=runs.index.url, extra_index_urls=(second.url,))
        runs = replace(runs, settings=settings)
        assert runs.third().cached
        make_wheel(folder, "lib", "1.7")
        assert versions(runs.resolve())["lib"] == "1.7"
    finally:
        server.shutdown()
        server.server_close()


OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "another requirement": ("app\nlib==1.0\n", {}),
    "another order of words": ("app>=1\n", {}),
    "another glibc": ("app\n", {"glibc": "2.27"}),
    "pre-releases": ("--pre\napp\n", {}),
    "only wheels": ("--only-binary :all:\napp\n", {}),
    "no builds": ("app\n", {"no_build": True}),
    "no dependencies": ("app\n", {"dependencies": False}),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", OTHERS)
def test_another_request(runs: Runs, name: str) -> None:
    lines, changes = OTHERS[name]
    assert runs.third().cached
    assert not runs.resolve(lines, **changes).cached


NOT_CACHED: dict[str, tuple[str, dict[str, Any]]] = {
    "a folder of wheels": ("--find-links {folder}\napp\n", {}),
    "a direct URL": ("app\nlib @ {files}/lib-1.0-py3-none-any.whl\n", {}),
    "a project in a folder": ("app\n{folder}/lib-1.0-py3-none-any.whl\n", {}),
    "a date": ("app\n", {"exclude_newer": "2999-01-01T00:00:00Z"}),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", NOT_CACHED)
def test_what_is_never_cached(runs: Runs, name: str) -> None:
    lines, changes = NOT_CACHED[name]
    index = runs.index
    index.upload_time = {path.name: "2020-01-01T00:00:00Z" for path in index.folder.iterdir()}
    files = index.url.replace("/simple", "/files")
    lines = lines.format(folder=index.folder, files=files)
    assert not runs.third(lines, **changes).cached


@pytest.mark.thorough
def test_files_without_a_hash(runs: Runs) -> None:
    """The file of a name could be another one tomorrow, and no page would tell."""
    runs.index.hashes = False
    assert not runs.third().cached


@pytest.mark.thorough
def test_what_nothing_satisfies_is_not_kept(runs: Runs) -> None:
    assert runs.third().cached
    for path in runs.index.folder.glob("lib-*"):
        path.unlink()
    for _ in range(3):
        with pytest.raises(InputError, match="lib"):
            runs.resolve()
    make_wheel(runs.index.folder, "lib", "1.0")
    assert versions(runs.resolve()) == {"app": "1.0", "lib": "1.0"}


@pytest.mark.thorough
def test_an_index_that_fails(runs: Runs) -> None:
    runs = replace(runs, settings=IndexSettings(retries=0))
    assert runs.third().cached
    runs.index.failing = True
    with pytest.raises(MachineError, match="out of reach"):
        runs.resolve()
    runs.index.failing = False
    assert runs.resolve().cached


@pytest.mark.thorough
def test_a_password_is_not_kept(runs: Runs) -> None:
    runs.index.password = ("me", "hunter2")
    url = runs.index.url.replace("://", "://me:hunter2@")
    runs = replace(runs, settings=IndexSettings(index_url=url, retries=0))
    assert runs.third().cached
    assert not [path for path in runs.store.texts.iterdir() if b"hunter2" in path.read_bytes()]
    wrong = replace(runs, settings=IndexSettings(index_url=url.replace("hunter2", "hunter3"), retries=0))
    with pytest.raises(MachineError, match="credentials"):
        wrong.resolve()


def _older(kept: dict[str, Any]) -> None:
    kept["at"] -= output_cache.MAX_AGE + 1


def _from_tomorrow(kept: dict[str, Any]) -> None:
    kept["at"] += 24 * 3600


@pytest.mark.thorough
@pytest.mark.parametrize(
    "change",
    [_older, _from_tomorrow, lambda kept: kept.pop("pages"), lambda kept: kept.update(answer={"x": 1})],
)
def test_what_is_kept_too_long_or_is_no_answer(
    runs: Runs, change: Callable[[dict[str, Any]], object]
) -> None:
    assert runs.third().cached
    (text,) = [path for path in runs.store.texts.iterdir() if b"pylock" in path.read_bytes()]
    kept = json.loads(text.read_bytes().partition(b"\n")[2])
    change(kept)
    runs.store.keep_text(text.name, json.dumps(kept))
    assert not runs.resolve().cached


LOG = """\
DEBUG uv 0.9.0
DEBUG No cache entry for: https://me:****@index.example/simple/one/
DEBUG Found stale response for: https://index.example/simple/two/
DEBUG Sending revalidation request for: https://index.example/simple/two/
DEBUG Found modified response for: https://index.example/simple/two/
DEBUG Found fresh response for: https://index.example/files/two-1.0-py3-none-any.whl
warning: `two==1.0` is yanked
Resolved 2 packages in 1ms
"""


def test_the_log() -> None:
    index = "https://index.example/simple"
    both = frozenset({f"{index}/one/", f"{index}/two/"})
    assert pages(LOG) == (both, False)
    assert pages(LOG.replace("stale", "fresh")) == (both, True)
    assert without_log(LOG) == "warning: `two==1.0` is yanked\nResolved 2 packages in 1ms\n"
    assert pages("DEBUG Selecting: two==1.0 [compatible]\n") == (frozenset(), False)
