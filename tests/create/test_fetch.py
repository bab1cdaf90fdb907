"""Fetching: several files at once, hashes before content, builds that see nothing of the builder."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.create import requirements
from bundler.create.fetch import fetch, with_sizes
from bundler.errors import InputError, MachineError
from bundler.model import Artifact, IndexSettings

from tests.support.fetching import Contexts, at, make_lock, project
from tests.support.wheelmaker import make_sdist, make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.index import Index


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def fifo_instead(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link_instead(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


@pytest.mark.thorough
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


@pytest.mark.thorough
@pytest.mark.parametrize(
    "damage", [lambda path: os.truncate(path, 9), lambda path: path.write_bytes(b"x" * path.stat().st_size)]
)
def test_a_damaged_source_of_the_store_is_fetched_again(
    contexts: Contexts, index: Index, wheels: Path, damage: Callable[[Path], None]
) -> None:
    path = make_sdist(wheels, "built", files=project(tells=False))
    lock = make_lock(at(index, path))
    settings = IndexSettings(index_url=index.url)
    (built,) = fetch(lock, contexts.make(settings=settings))
    (stored,) = (one for one in contexts.store.files.glob("*/*/*") if one.name == path.name)
    damage(stored)
    for note in (contexts.store.root / "built").rglob("*"):
        if note.is_file():
            note.unlink()
    (again,) = fetch(lock, contexts.make(settings=settings))
    assert stored.read_bytes() == path.read_bytes()
    assert again.facts.sha256 == built.facts.sha256


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


def test_what_comes_is_written_once(
    contexts: Contexts, index: Index, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was copied into the store, and hashed once more."""
    dist = at(index, make_wheel(wheels, "alpha"))
    context = contexts.make(settings=IndexSettings(index_url=index.url))
    monkeypatch.delattr(type(context.store), "add_file")
    (fetched,) = fetch(make_lock(dist), context)
    path = context.store.file(fetched.facts.sha256, dist.artifact.filename)
    assert path is not None
    assert path.read_bytes() == (wheels / dist.artifact.filename).read_bytes()


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


@pytest.mark.thorough
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


@pytest.mark.thorough
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
