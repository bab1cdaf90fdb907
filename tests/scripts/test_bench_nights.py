"""`scripts/bench`: nights of many bundles, archives, and the index that it has of its own."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.formats import squashfs, streams
from bundler.system import toml_text
from scripts.benchmark import local_index, nights, ours, prepare

from tests.support.benchmaker import place
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from tests.support.index import Index


@pytest.mark.parametrize("count", [1, 3, 7])
def test_a_night_has_bundles_of_five_sets(tmp_path: Path, count: int) -> None:
    here = replace(place(tmp_path), bundles=count)
    prepare.write_requirements(here, f"nights-{count}")
    asked: list[tuple[str, ...]] = []
    nights.prepare(here, lambda peer, step: asked.append((peer, *step)))
    document = toml_text.loads((tmp_path / "nights" / "envbundle.toml").read_text())
    names = [one["name"] for one in document["bundle"]]
    assert len(names) == len(set(names)) == count
    sets = {one["requirements"] for one in document["bundle"]}
    assert len(sets) == min(count, 5)
    assert all((tmp_path / "nights" / one).read_text().count("==") >= 1 for one in sets)
    assert asked[0][0] == "envbundle-local"
    ours_row, compiled = nights.rows(here)
    assert ours_row.expects == f"{count} unchanged"
    assert len(compiled.steps) == len(sets)


def test_archives_are_packed_alike() -> None:
    assert ours.ZSTD_LEVEL == streams.ZSTD_LEVEL
    assert ours.SQUASHFS[: len(squashfs.COMPRESSION)] == squashfs.COMPRESSION


def asked(url: str, **headers: str) -> tuple[int, bytes, str]:
    """Return what a page answers: status, content, ETag."""
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read(), answer.headers["ETag"]
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers["ETag"]


def test_the_local_index_has_the_pages_of_the_real_one(index: Index, wheels: Path) -> None:
    """A page that is known is not sent again, and the real index is asked once for each."""
    make_wheel(wheels, "alpha", "1")
    index.json = True
    with local_index.serving(f"{index.url}/", {}) as url:
        status, content, etag = asked(f"{url}/alpha/")
        assert status == 200
        (file,) = json.loads(content)["files"]
        assert urllib.request.urlopen(file["url"]).read() == (wheels / file["filename"]).read_bytes()
        assert asked(f"{url}/alpha/", **{"If-None-Match": etag})[:2] == (304, b"")
        assert asked(f"{url}/nothing/")[:2] == (404, b"")
    assert [path for path in index.requests if "files" not in path] == ["/simple/alpha/", "/simple/nothing/"]


def test_the_index_is_that_of_the_programs() -> None:
    named = {"PIP_INDEX_URL": "http://127.0.0.1/x"}
    assert local_index.asked(named, Path("/nothing")) == "http://127.0.0.1/x"
    assert local_index.asked({}, Path(sys.executable)).endswith("/simple")
