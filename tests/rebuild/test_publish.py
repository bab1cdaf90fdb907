"""Builds at a URL: whole or not there, and sent once."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.bundle import manifest
from bundler.errors import InputError, MachineError
from bundler.rebuild import record as records
from bundler.rebuild.shelf import remote_files
from bundler.rebuild.shelf.remote import RemoteShelf
from bundler.system.urls.folder import Folder

from tests.support import wheelmaker
from tests.support.publishmaker import NAME, Build, below, current, damage, files, make
from tests.support.url_folders import folder_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.command import Command, Outcome

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")


def test_what_stands_at_the_url(url: str, tmp_path: Path) -> None:
    build = make(tmp_path / "with-oci", oci=True)
    assert current(url) is None
    sent = build.put(url)
    assert len(sent) == len(build.names())
    beside = {"current.json", f"builds/{build.record.build}.json"}
    assert set(below(url)) == beside | {f"builds/{name}" for name in build.names()}
    assert current(url) == build.record
    assert damage(url, build.record) == damage(url, build.record, full=True) == ""
    shelf = RemoteShelf(url, NAME)
    assert shelf.manifest(build.record) == manifest.read(build.bundle)
    assert shelf.where(build.record).endswith(f"/{NAME}/builds/{build.record.build}")


def test_current_json_tells_readers_where_everything_is(here: str, build: Build, tmp_path: Path) -> None:
    build.put(here)
    top = tmp_path / "place" / NAME
    told = json.loads((top / "current.json").read_text())
    assert told["kind"] == "envbundle-current"
    assert told["build"] == build.record.build
    assert (top / told["tree"] / "manifest.json").read_bytes() == (
        build.bundle / "manifest.json"
    ).read_bytes()
    assert (top / told["environment"]["PYTHONPATH"] / "alpha" / "__init__.py").is_file()
    assert wheelmaker.sha256(top / told["archives"][0]["path"]) == told["archives"][0]["sha256"]
    recorded = json.loads((top / told["record"]).read_text())
    assert records.parse((top / told["record"]).read_bytes(), source="x") == build.record
    rows = {row[0]: row[1] for row in recorded["objects"]}
    assert rows == {name: wheelmaker.sha256(top / "builds" / name) for name in build.names()}


def test_the_published_tree_is_a_bundle_as_it_stands(here: str, build: Build, tmp_path: Path) -> None:
    build.put(here)
    tree = tmp_path / "place" / NAME / "builds" / build.record.build
    done = subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"], cwd=tree, check=False)
    assert done.returncode == 0
    assert {path.relative_to(tree) for path in files(tree)} == {
        path.relative_to(build.bundle) for path in files(build.bundle)
    }


@pytest.mark.parametrize("kind", ["file", pytest.param("s3", marks=pytest.mark.thorough)])
def test_the_page_tells_how_to_fetch_it(
    kind: str, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "publishing.md").read_text(encoding="utf-8")
    program = page.partition("```python\n")[2].partition("```")[0]
    with folder_url(kind, tmp_path, monkeypatch) as url:
        build.put(url)
        program = program.replace("abfs://bundles/nightly/scoring-py38", f"{url}/{NAME}")
        subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    done = subprocess.run(
        ["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"], cwd=tmp_path / "bundle", check=False
    )
    assert done.returncode == 0
    document = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert document["manifest_digest"] == build.record.manifest_digest


def test_what_is_there_is_not_sent_again(url: str, build: Build) -> None:
    assert build.put(url)
    before = below(url)
    assert build.put(url) == []
    assert below(url) == before


@pytest.mark.parametrize("after", [0, 1, 5, 1000])
def test_a_sending_that_breaks_off_is_taken_up_again(
    url: str, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bundler.system.urls.folder.THREADS", 1)
    old = make(tmp_path / "old", version="0.9")
    new = make(tmp_path / "new")
    old.put(url)
    sent: list[int] = []

    def breaks(size: int) -> None:
        sent.append(size)
        if len(sent) > after:
            raise KeyboardInterrupt

    def breaks_before_current(calls: list[int] = []) -> None:  # noqa: B006 - counts its own calls
        calls.append(1)
        if after == 1000 and len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        new.put(url, progress=breaks, stopped=breaks_before_current)
    assert current(url) == old.record
    assert damage(url, old.record, full=True) == ""
    assert (damage(url, new.record) == "") is (after == 1000)
    again = new.put(url)
    # A disk's files are hashed, S3 and Azure tell an MD5; elsewhere everything goes once more.
    remembers = not url.startswith(("memory", "plain")) or after == 1000
    assert len(again) == (len(new.names()) - len(sent) if remembers else len(new.names()))
    assert current(url) == new.record
    assert damage(url, new.record, full=True) == ""
    # The note of the one that broke off stays for a day.
    left = [remote_files.note_parts(name) for name in below(url) if remote_files.note_parts(name)]
    assert left == [(new.record.build, "sending")] * (after != 1000)


def damaged(url: str, name: str, how: str) -> None:
    folder = Folder(url).subfolder(NAME)
    data = folder.read(f"builds/{name}")
    assert data is not None
    if how == "gone":
        folder.remove([f"builds/{name}"])
    else:
        folder.write(f"builds/{name}", {"cut": data[:-1], "changed": b"y" + data[1:]}[how])


@pytest.mark.parametrize(
    ("how", "said"), [("gone", "is gone"), ("cut", "another size"), ("changed", "another content")]
)
@pytest.mark.parametrize("what", ["{}/lib/python3.8/site-packages/alpha/data.txt", "{}.tar.gz"])
def test_damage_at_the_url_is_seen_and_mended(url: str, build: Build, what: str, how: str, said: str) -> None:
    build.put(url)
    name = what.format(build.record.build)
    time.sleep(0.01)
    damaged(url, name, how)
    assert damage(url, build.record) == f"builds/{name} " + {"gone": said}.get(how, f"has {said}")
    assert len(build.put(url)) == 1
    assert damage(url, build.record, full=True) == ""


def test_touched_files_are_whole(here: str, build: Build, tmp_path: Path) -> None:
    build.put(here)
    for path in files(tmp_path / "place" / NAME / "builds"):
        os.utime(path, (1, 1))
    assert damage(here, build.record) == ""


def test_full_looks_behind_the_times(here: str, build: Build, tmp_path: Path) -> None:
    build.put(here)
    path = tmp_path / "place" / NAME / "builds" / f"{build.record.build}.html"
    status = path.stat()
    path.write_bytes(b"Y" + path.read_bytes()[1:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert damage(here, build.record) == ""
    assert damage(here, build.record, full=True) == f"builds/{path.name} has another content"


def test_a_lost_record_is_written_anew(url: str, build: Build) -> None:
    build.put(url)
    index = f"builds/{build.record.build}.json"
    Folder(url).subfolder(NAME).write(index, b"nonsense")
    assert current(url) is None
    assert "is gone" in damage(url, build.record)
    build.put(url)
    assert current(url) == build.record


def test_going_back_to_an_older_build_sends_nothing(url: str, tmp_path: Path) -> None:
    first = make(tmp_path / "1", version="1", made="2026-01-01")
    second = make(tmp_path / "2", version="2", made="2026-01-02")
    first.put(url)
    second.put(url)
    back = replace(first, record=replace(first.record, made="2026-01-03"))
    assert back.put(url) == []
    assert current(url) == back.record
    assert damage(url, second.record) == ""


def test_what_belongs_to_a_build_no_more_goes(url: str, build: Build) -> None:
    build.put(url)
    name = f"{build.record.build}.tar.gz"
    extras = {key: path for key, path in build.extras.items() if key != name}
    fewer = replace(build, record=replace(build.record, archives=()), extras=extras)
    assert fewer.put(url) == []
    assert f"builds/{name}" not in below(url)
    assert damage(url, fewer.record) == ""


def test_nothing_but_what_was_proved_is_sent(url: str, build: Build) -> None:
    (build.bundle / "lib/python3.8/site-packages/alpha/data.txt").write_text("y" * 5000)
    with pytest.raises(MachineError, match=r"data\.txt has changed since it was proved"):
        build.put(url)
    assert current(url) is None
    assert [remote_files.note_parts(name) for name in below(url)] == [(build.record.build, "sending")]


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b'{"kind": "other"}', b'{"kind": "envbundle-current"}']
)
def test_a_current_json_of_somebody_else_is_not_touched(here: str, build: Build, content: bytes) -> None:
    Folder(here).subfolder(NAME).write("current.json", content)
    for action in (lambda: build.put(here), lambda: current(here), lambda: RemoteShelf(here, NAME).current()):
        with pytest.raises(InputError, match="is not touched"):
            action()
    assert set(below(here)) == {"current.json"}
    assert Folder(here).subfolder(NAME).read("current.json") == content


CONFIG = """
output = "out"
publish = "{url}"
no-index = true
find-links = [{links}]

[defaults]
python = ["3.8"]

[[bundle]]
name = "scoring"
requirements = "requirements.txt"
keep = 1
"""


@pytest.fixture
def night(envbundle: Command, wheels: Path, pips: Path, tmp_path: Path) -> Callable[..., Outcome]:
    """`envbundle rebuild` of one bundle that is published."""
    wheelmaker.make_wheel(wheels, "alpha", "1.0")
    (tmp_path / "requirements.txt").write_text("alpha==1.0\n")
    links = ", ".join(f'"{folder}"' for folder in (wheels, pips))
    (tmp_path / "envbundle.toml").write_text(CONFIG.format(url=f"file://{tmp_path}/place", links=links))

    def run(*words: str) -> Outcome:
        return envbundle("-v", "rebuild", *words)

    return run


@pytest.mark.thorough
def test_a_night_publishes_once_and_takes_up_what_failed(
    night: Callable[..., Outcome], wheels: Path, tmp_path: Path
) -> None:
    url = f"file://{tmp_path}/place"
    (tmp_path / "place").write_text("a file in the way")
    failed = night("--json")
    assert failed.code == 3, failed.stderr
    (row,) = failed.json()["bundles"]
    assert "not published" in row["error"]
    assert row["published"] is None
    assert (tmp_path / "out" / "scoring-py38" / "current" / "manifest.json").is_file()
    (tmp_path / "place").unlink()
    done = night("--json")
    assert done.code == 0, done.stderr
    (row,) = done.json()["bundles"]
    assert row["state"] == "unchanged"
    assert row["published"] == f"{url}/scoring-py38/builds/{row['build']}"
    first = RemoteShelf(url, NAME).current()
    assert first is not None
    assert first.build == row["build"]
    before = below(url)
    assert night().code == 0
    assert below(url) == before
    wheelmaker.make_wheel(wheels, "alpha", "1.1")
    (tmp_path / "requirements.txt").write_text("alpha==1.1\n")
    assert night().code == 0
    second = RemoteShelf(url, NAME).current()
    assert second is not None
    assert second.build != first.build
    assert damage(url, second, full=True) == ""
    assert not [name for name in below(url) if first.build in name], "keep = 1"


@pytest.mark.thorough
@pytest.mark.thorough
def test_machines_share_wheels_through_a_store(night: Callable[..., Outcome], tmp_path: Path) -> None:
    store = f"file://{tmp_path}/store"
    first = night("--store-url", store, "--cache-dir", "cache-1")
    assert first.code == 0, first.stderr
    assert re.search(r"pull: 0 wheels from file://", first.stderr)
    assert re.search(r"push: [1-9] wheels to file://", first.stderr)
    shutil.rmtree(tmp_path / "out")
    shutil.rmtree(tmp_path / "place")
    second = night("--store-url", store, "--cache-dir", "cache-2")
    assert second.code == 0, second.stderr
    assert re.search(r"pull: 1 wheels from", second.stderr)
    assert re.search(r"push: 0 wheels to", second.stderr)
    # Without the store the night goes on, and says so.
    shutil.rmtree(tmp_path / "out")
    shutil.rmtree(tmp_path / "store")
    (tmp_path / "store").write_text("a file in the way")
    third = night("--store-url", store, "--cache-dir", "cache-3")
    assert third.code == 0, third.stderr
    assert "the store at a URL is not used" in third.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--publish", "nothing://x/y"), 2, "no filesystem is known as nothing"),
        (("--store-url", "simplecache::s3://x/y"), 2, "chained"),
        (("--store-url", "gs://bucket/x"), 3, "gs:// needs a package that is not installed"),
        (("--locked", "--store-url", "memory://x"), 2, "has no meaning"),
        (("--scheduler", "dask"), 2, "no Dask scheduler is named"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_is_made(
    night: Callable[..., Outcome], words: tuple[str, ...], code: int, said: str, tmp_path: Path
) -> None:
    done = night(*words)
    assert done.code == code, done.stderr
    assert said in done.stderr
    assert not (tmp_path / "out" / "scoring-py38").exists()
