"""What resolves in a small world, and contexts of a fetch: made once for a file of tests."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.wheels.store import Store

from tests.support.fetching import Contexts
from tests.support.index import serve
from tests.support.resolving import HOLED, Resolvers, World, fill
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("tools"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second", "links")]
    fill(folders[0])
    make_wheel(folders[1], "lib", "1.7")
    make_wheel(folders[1], "elsewhere", requires=["lib"])
    make_wheel(folders[2], "lib", "1.9")
    make_wheel(folders[2], "linked", requires=["lib<2"])
    (first, server), (second, other) = serve(folders[0]), serve(folders[1])
    first.yanked = {"yank-1.1-py3-none-any.whl": "broken"}
    first.requires_python = {
        "snake-2.0-py3-none-any.whl": ">=3.9",
        "snake-1.0-py3-none-any.whl": ">=3.7",
        "holed-2.0-py3-none-any.whl": HOLED,
        "capped-2.0-py3-none-any.whl": ">=2.7,<3.5",
    }
    yield World(index=first, second=second, links=folders[2])
    for one in (server, other):
        one.shutdown()
        one.server_close()


@pytest.fixture
def resolvers(tmp_path: Path, tools: Store, pips: Path, python37: Path, python38: Path) -> Resolvers:
    return Resolvers(store=tools, pips=pips, folder=tmp_path, pythons={"3.7": python37, "3.8": python38})


@pytest.fixture
def contexts(tmp_path: Path, tools: Store, pips: Path, python37: Path, python38: Path) -> Iterator[Contexts]:
    pythons = {"3.7": python37, "3.8": python38}
    with contextlib.ExitStack() as stack:
        yield Contexts(folder=tmp_path, pips=pips, tools=tools, pythons=pythons, stack=stack)
