"""What is pinned or selected is fetched while the rest is being resolved, and never decides anything."""

from __future__ import annotations

import contextlib
import functools
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bundler.create import requirements
from bundler.create.fetch import fetch, prefetch
from bundler.create.fetch.prefetch import Prefetcher
from bundler.errors import InputError
from bundler.model import IndexSettings
from bundler.targets import interpreters, target
from bundler.wheels.store import Store

from tests.support.fetching import at, make_lock
from tests.support.wheelmaker import make_sdist, make_wheel, sha256

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bundler.model import Interpreter, Requirements

    from tests.support.command import Command
    from tests.support.fetching import Contexts
    from tests.support.index import Index

SHA = "b" * 64


@pytest.fixture
def interpreter(python38: Path, tmp_path: Path) -> Interpreter:
    return interpreters.probe(python38, cache_dir=tmp_path / "probes", origin="given")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def start(
    store: Store, interpreter: Interpreter, index: Index, tmp_path: Path
) -> Iterator[Callable[..., Prefetcher]]:
    aim = target.for_interpreter(interpreter, glibc=None)
    with contextlib.ExitStack() as stack:

        def begin(*lines: str, settings: IndexSettings | None = None) -> Prefetcher:
            settings = settings or IndexSettings(index_url=index.url, retries=0)
            begun = Prefetcher(store, interpreter, aim, settings, read(tmp_path, *lines))
            stack.enter_context(begun.running())
            return begun

        yield begin


def read(folder: Path, *lines: str) -> Requirements:
    (folder / "r.txt").write_text("".join(f"{line}\n" for line in lines))
    return requirements.read(files=[folder / "r.txt"])


def finish(begun: Prefetcher) -> None:
    """As where the resolver takes its time."""
    begun._lookups.wait()
    begun.finish()


def names(store: Store) -> set[str]:
    return {path.name for path in store.files.glob("*/*/*")}


def left_over(store: Store) -> list[Path]:
    return [path for path in store.tmp.glob("*") if path.is_dir()]


def until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize(
    ("lines", "pinned"),
    [
        (["one==1.0"], {"one"}),
        (["One_X[extra]==1.0"], {"one-x"}),
        (["one==1.0; python_version < '3.9'"], {"one"}),
        (["one==1.0; python_version < '3.8'"], set()),
        (["one==1.0; extra == 'x'"], set()),
        (["one==1.*", "two", "three>=1", "four==1,<2", "five===1", "six~=1.0", "seven!=1"], set()),
        (["one @ https://h.test/one-1.0-py3-none-any.whl"], set()),
        (["--no-binary one", "one==1.0", "two==1.0"], {"two"}),
        (["--no-binary :all:", "one==1.0"], set()),
        (["--require-hashes", f"one==1.0 --hash=sha256:{SHA}"], {"one"}),
    ],
)
def test_what_is_pinned(tmp_path: Path, interpreter: Interpreter, lines: list[str], pinned: set[str]) -> None:
    found = prefetch.pinned(read(tmp_path, *lines), target.for_interpreter(interpreter, glibc=None))
    assert set(found) == pinned
    assert {digest for pin in found.values() for digest in pin.hashes} <= {SHA}


def test_only_what_is_pinned_is_fetched(
    start: Callable[..., Prefetcher], store: Store, interpreter: Interpreter, index: Index, wheels: Path
) -> None:
    one = make_wheel(wheels, "one")
    make_wheel(wheels, "one", "2.0")
    make_wheel(wheels, "one", tag="cp37-cp37m-linux_x86_64")
    make_sdist(wheels, "one")
    make_wheel(wheels, "free")
    begun = start("one==1.0", "free")
    for url in ("one/", "free/", "none/", "one", ""):
        begun.page_requested(f"{index.url}/{url}")
    finish(begun)
    assert names(store) == {one.name}
    assert store.has_tree(sha256(one), interpreter.cache_tag)
    assert index.requests == ["/simple/one/", f"/files/{one.name}"]
    index.requests.clear()
    again = start("one==1.0")
    again.page_requested(f"{index.url}/one/")
    finish(again)
    assert index.requests == []
    # The tree alone is missing: it is made anew, from the file that is there.
    (tree,) = store.trees.glob(f"*/{sha256(one)}-*")
    store.drop(tree)
    again = start("one==1.0")
    again.page_requested(f"{index.url}/one/")
    finish(again)
    assert index.requests == []
    assert store.has_tree(sha256(one), interpreter.cache_tag)


def test_what_the_resolver_selects_is_fetched(
    start: Callable[..., Prefetcher], store: Store, interpreter: Interpreter, index: Index, wheels: Path
) -> None:
    one = make_wheel(wheels, "One_X")
    make_wheel(wheels, "One_X", "2.0")
    two = make_wheel(wheels, "two")
    newer = make_wheel(wheels, "two", "3.0")
    index.requires_python[newer.name] = ">=3.99"
    for name in ("three", "four", "five"):
        make_wheel(wheels, name)
    begun = start("one-x>=1", "five==1.0", "--no-binary four")
    for name in ("one-x", "two", "four", "five"):
        begun.page_requested(f"{index.url}/{name}/")
    begun._lookups.wait()
    index.requests.clear()
    assert begun.for_other_pythons(f"{index.url}/two/") is None
    chosen = [
        ("One_X", "1.0"),
        ("two", "1.0"),
        ("two", "1.0"),
        ("three", "1.0"),
        ("four", "1.0"),
        ("five", "1.0"),
    ]
    for name, version in (*chosen, ("two", "no version")):
        begun.selected(name, version)
    begun._lookups.wait()
    assert {name for name in names(store) if "five" not in name} == {one.name, two.name}
    assert sorted(index.requests) == [
        f"/files/{one.name}",
        f"/files/{two.name}",
        "/simple/one-x/",
        "/simple/two/",
    ]
    assert set(begun.for_other_pythons(f"{index.url}/two/") or ()) == {newer.name}
    finish(begun)
    assert store.has_tree(sha256(one), interpreter.cache_tag)
    assert begun.for_other_pythons(f"{index.url}/two/") is None


@pytest.mark.parametrize("lines", [["--require-hashes", f"one==1.0 --hash=sha256:{SHA}"], ["one"]])
def test_what_nobody_may_choose_is_not_fetched(
    start: Callable[..., Prefetcher], store: Store, index: Index, wheels: Path, lines: list[str]
) -> None:
    make_wheel(wheels, "one")
    make_wheel(wheels, "two")
    begun = start(*lines, settings=IndexSettings(index_url=index.url, no_index=lines == ["one"]))
    for name in ("one", "two"):
        begun.page_requested(f"{index.url}/{name}/")
        begun.selected(name, "1.0")
    finish(begun)
    assert names(store) == set()


@pytest.mark.thorough
def test_a_resolver_that_goes_back(
    contexts: Contexts, start: Callable[..., Prefetcher], index: Index, wheels: Path
) -> None:
    """The version that it selects first is given up; that of a distribution that it drops is, at the end."""
    index.delay = 1.5
    large: dict[str, str | bytes] = {"one.py": "", "one.bin": bytes(3_000_000)}
    first, other = make_wheel(wheels, "one", "2.0", files=large), make_wheel(wheels, "other", files=large)
    second = at(index, make_wheel(wheels, "one"))
    context = contexts.make(settings=IndexSettings(index_url=index.url))
    begun = start("one")
    for name in ("one", "other"):
        begun.page_requested(f"{index.url}/{name}/")
    for name, version in (("one", "2.0"), ("one", "1.0"), ("other", "1.0")):
        begun.selected(name, version)
        path = f"/files/{name}-{version}-py3-none-any.whl"
        assert until(functools.partial(index.requests.__contains__, path))
    assert fetch(make_lock(second), replace(context, prefetcher=begun))[0].tree.is_dir()
    assert not {first.name, other.name} & names(contexts.store)
    assert [path for path in index.requests if second.artifact.filename in path] == [
        f"/files/{second.artifact.filename}"
    ]


def test_passwords_of_the_index(
    start: Callable[..., Prefetcher], store: Store, index: Index, wheels: Path
) -> None:
    one = make_wheel(wheels, "one")
    index.password = ("me", "pass/w@rd")
    wrong = start("one==1.0")
    wrong.page_requested(f"{index.url}/one/")
    finish(wrong)
    assert names(store) == set()
    secret = index.url.replace("://", "://me:pass%2Fw%40rd@")
    right = start("one==1.0", settings=IndexSettings(index_url=secret))
    right.page_requested(f"{secret}/one/")
    finish(right)
    assert names(store) == {one.name}


@pytest.mark.parametrize("digest", ["", SHA])
def test_only_a_permitted_hash(
    start: Callable[..., Prefetcher], store: Store, index: Index, wheels: Path, digest: str
) -> None:
    one = make_wheel(wheels, "one")
    begun = start(f"one==1.0 --hash=sha256:{digest or sha256(one)}")
    begun.page_requested(f"{index.url}/one/")
    finish(begun)
    assert names(store) == (set() if digest else {one.name})


@pytest.mark.parametrize(
    "settings", [IndexSettings(no_index=True), "find-links"], ids=["no index", "find-links"]
)
def test_what_needs_no_index(
    start: Callable[..., Prefetcher], store: Store, index: Index, wheels: Path, settings: IndexSettings | str
) -> None:
    make_wheel(wheels, "one")
    given = IndexSettings(find_links=(str(wheels),)) if isinstance(settings, str) else settings
    begun = start("one==1.0", settings=given)
    begun.page_requested(f"{index.url}/one/")
    finish(begun)
    assert names(store) == set()


@pytest.mark.thorough
def test_a_changed_file_is_left_to_the_stage(
    contexts: Contexts, start: Callable[..., Prefetcher], index: Index, wheels: Path
) -> None:
    one = at(index, make_wheel(wheels, "one"))
    index.corrupt = {one.artifact.filename}
    begun = start("one==1.0")
    begun.page_requested(f"{index.url}/one/")
    finish(begun)
    assert contexts.stored() == set()
    assert not left_over(contexts.store)
    context = contexts.make(settings=IndexSettings(index_url=index.url))
    with pytest.raises(InputError, match="does not have the expected hash"):
        fetch(make_lock(one), replace(context, prefetcher=begun))
    index.corrupt = set()
    assert fetch(make_lock(one), replace(context, prefetcher=begun))[0].locked.name == "one"


@pytest.mark.thorough
def test_nothing_is_fetched_twice(
    contexts: Contexts, start: Callable[..., Prefetcher], index: Index, wheels: Path
) -> None:
    index.delay = 0.5
    dists = [at(index, make_wheel(wheels, name)) for name in ("one", "two", "three")]
    begun = start("one==1.0", "two==1.0")
    begun.page_requested(f"{index.url}/one/")
    begun.page_requested(f"{index.url}/one/")
    assert until(lambda: index.at_once == 1)
    context = contexts.make(settings=IndexSettings(index_url=index.url))
    began = len(index.requests)
    assert began == 2
    fetched = fetch(make_lock(*dists), replace(context, prefetcher=begun))
    assert [one.locked.name for one in fetched] == ["one", "two", "three"]
    assert all(one.tree.is_dir() for one in fetched)
    files = [path for path in index.requests if path.startswith("/files/")]
    assert sorted(files) == sorted(f"/files/{one.artifact.filename}" for one in dists)
    begun.page_requested(f"{index.url}/two/")  # heard too late
    begun.finish()
    assert len(index.requests) == 4


@pytest.mark.thorough
@pytest.mark.parametrize("error", [InputError, KeyboardInterrupt])
def test_a_failure_stops_it(
    start: Callable[..., Prefetcher], store: Store, index: Index, wheels: Path, error: type[BaseException]
) -> None:
    make_wheel(wheels, "one", files={"one.py": "", "one.bin": bytes(3_000_000)})
    index.delay = 3
    begun = start("one==1.0")
    started = time.monotonic()

    def fail() -> None:
        with begun.running():
            begun.page_requested(f"{index.url}/one/")
            assert until(lambda: index.at_once == 1)
            raise error("stop")

    with pytest.raises(error):
        fail()
    seconds = time.monotonic() - started
    assert seconds < (2 if error is KeyboardInterrupt else index.delay + prefetch.GRACE)
    assert until(lambda: not left_over(store))
    assert names(store) == set()


@pytest.mark.thorough
def test_it_is_there_before_the_resolution_ends(
    envbundle: Command, index: Index, wheels: Path, pips: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "cache")
    one = make_wheel(wheels, "one")
    make_wheel(wheels, "free")
    seen: list[bool] = []
    serve = index.page

    def page(name: str) -> str | None:
        if name == "free":
            seen.append(until(lambda: store.has_tree(sha256(one), "cpython-38"), 20))
        return serve(name)

    index.page = page  # type: ignore[method-assign]  # the index waits, as a slow one does
    command = replace(envbundle, cache=tmp_path / "cache")
    words = ["--python", "3.8", "--index-url", index.url, "--find-links", str(pips), "-o", "out", "--json"]
    done = command("create", "one==1.0", "free", *words)
    assert done.code == 0, done.stderr
    assert seen[0] is True
    assert json.loads(done.stdout)["ok"] is True
    index.requests.clear()
    failed = replace(command, cache=tmp_path / "other")("create", "one==1.0", "free==7", *words, "--force")
    assert failed.code == 2, failed.stderr
    assert "free==7" in failed.stderr
    assert not left_over(Store(tmp_path / "other"))
