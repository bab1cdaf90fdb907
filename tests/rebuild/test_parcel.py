"""What is saved of a shelf, and loaded into another one."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from bundler.errors import InputError
from bundler.rebuild.shelf.local import LocalShelf

from tests.support.archivemaker import tree
from tests.support.parcelmaker import NAME, loaded, make_key, put, rules_of, save

if TYPE_CHECKING:
    from pathlib import Path

    from bundler.rebuild.record import Record


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "here"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there"


def assert_same(here: Path, there: Path, record: Record) -> None:
    """The current build of the other shelf is this one, to the byte."""
    builds = there / record.name / "builds"
    assert os.readlink(there / record.name / "current") == f"builds/{record.build}"  # noqa: PTH115 - its text
    assert tree(builds / record.build) == tree(here / record.name / "builds" / record.build)
    shelf = LocalShelf(there / record.name)
    found = shelf.current()
    assert found is not None
    assert (found.made, found.manifest_digest) == (record.made, record.manifest_digest)
    assert shelf.damage(found, full=False) == ""
    assert not (builds / f"{record.build}.html").exists(), "nobody signs it"


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.name.endswith(".envbundle")]


def test_a_bundle_goes_whole_then_as_what_has_changed(here: Path, there: Path, tmp_path: Path) -> None:
    first = put(here, 1)
    saved = save(here, tmp_path / "one")
    assert [(one.build, one.whole, one.current) for one in saved.builds] == [(first.build, True, True)]
    assert saved.parts == len(list((tmp_path / "one").glob("*.part"))) > 1
    assert loaded(tmp_path / "one", there)["loaded"] == [
        {"name": NAME, "build": first.build, "current": True}
    ]
    assert_same(here, there, first)
    second, third = put(here, 2), put(here, 3)
    saved = save(here, tmp_path / "two", since=there / "receipt.json")
    assert [(one.build, one.base) for one in saved.builds] == [
        (second.build, f"{NAME}/{first.build}"),
        (third.build, f"{NAME}/{second.build}"),
    ]
    assert loaded(tmp_path / "two", there)["ok"]
    assert_same(here, there, third)
    assert save(here, tmp_path / "three", since=there / "receipt.json").builds == ()
    assert not (tmp_path / "three").exists()
    assert not hidden(tmp_path)


@pytest.mark.thorough
def test_what_was_saved_is_remembered(here: Path, there: Path, tmp_path: Path) -> None:
    first = put(here, 1)
    assert save(here, tmp_path / "one").builds
    assert save(here, tmp_path / "two").builds == ()
    second = put(here, 3)
    (built,) = save(here, tmp_path / "two").builds
    assert built.base == f"{NAME}/{first.build}"
    (everything, _) = save(here, tmp_path / "all", everything=True).builds
    assert everything.whole
    loaded(tmp_path / "one", there)
    loaded(tmp_path / "two", there)
    assert_same(here, there, second)


def test_twice_is_no_error_and_does_nothing(here: Path, there: Path, tmp_path: Path) -> None:
    put(here, 1)
    (tmp_path / "nobody.json").write_text(
        json.dumps({"kind": "envbundle-receipt", "schema_version": "1.0", "builds": []})
    )
    since = tmp_path / "nobody.json"
    save(here, tmp_path / "one", since=since)
    before = snapshot(tmp_path / "one")
    save(here, tmp_path / "one", since=since)
    assert snapshot(tmp_path / "one") == before
    loaded(tmp_path / "one", there)
    before = snapshot(there)
    assert loaded(tmp_path / "one", there) == {
        "ok": True, "shelf": str(there), "loaded": [], "refused": [], "there": 1, "removed": [],
    }  # fmt: skip
    assert snapshot(there) == before
    put(here, 3)
    with pytest.raises(InputError, match="one exists, and is another parcel"):
        save(here, tmp_path / "one", since=since)
    assert len(save(here, tmp_path / "one", since=since, force=True).builds) == 2
    with pytest.raises(InputError, match="here exists and is not a parcel"):
        save(here, here, since=since)


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Name of a file or link → what changes where somebody writes."""
    paths = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    return {str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns) for path in paths}


@pytest.mark.thorough
def test_several_bundles_share_what_they_have(here: Path, there: Path, tmp_path: Path) -> None:
    first, other = put(here, 1), put(here, 3, name="a-py38")
    save(here, tmp_path / "one")
    like = put(here, 4, name="z-py38")
    (carried,) = save(here, tmp_path / "two").builds
    assert carried.base == f"a-py38/{other.build}"
    for parcel in ("one", "two"):
        assert loaded(tmp_path / parcel, there)["ok"]
    for record in (first, other, like):
        assert_same(here, there, record)


@pytest.mark.thorough
def test_back_to_an_older_build(here: Path, there: Path, tmp_path: Path) -> None:
    """The other side has it: what goes is its record, and that it is current."""
    put(here, 1)
    put(here, 3)
    save(here, tmp_path / "one")
    loaded(tmp_path / "one", there)
    again = put(here, 1, night=9)
    (carried,) = save(here, tmp_path / "two").builds
    assert (carried.build, carried.whole, carried.base, carried.current) == (again.build, False, "", True)
    assert loaded(tmp_path / "two", there)["ok"]
    assert_same(here, there, again)


def test_the_loader_in_the_parcel_needs_python_alone(
    here: Path, there: Path, tmp_path: Path, python37: Path
) -> None:
    key = make_key(tmp_path / "key")
    record = put(here, 1, key=key)
    save(here, tmp_path / "one", part_size=1000)
    words: list[str | Path] = [
        python37,
        "-I",
        tmp_path / "one" / "load.py",
        there,
        "--key",
        key.with_name("key.pub").read_text(),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        f"loaded {NAME}/{record.build}, current",
        f"ok: 1 loaded, 0 there already, 0 refused; the receipt is {there}/receipt.json",
    ]
    assert_same(here, there, record)
    before = snapshot(there)
    done = subprocess.run([*words, "--json"], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout) == {
        "ok": True, "shelf": str(there), "loaded": [], "refused": [], "there": 1, "removed": [],
        "receipt": str(there / "receipt.json"),
    }  # fmt: skip
    assert snapshot(there) == before
    assert loaded(tmp_path / "one", there, rules_of(key))["there"] == 1


def test_no_build_in_use_is_passed_over(here: Path, tmp_path: Path) -> None:
    put(here, 1, name="a-py38")
    record = put(here, 1)
    (here / NAME / "builds" / f"{record.build}.json").unlink()
    with pytest.raises(InputError, match=f"{NAME}: the current build is gone, or its record"):
        save(here, tmp_path / "one")


def test_only_what_is_whole_is_saved(here: Path, tmp_path: Path) -> None:
    record = put(here, 1)
    with pytest.raises(InputError, match="is no folder"):
        save(tmp_path / "nowhere", tmp_path / "one")
    put(tmp_path / "named", 1, name="receipt.json")
    with pytest.raises(InputError, match="no bundle in a parcel can have this name"):
        save(tmp_path / "named", tmp_path / "one")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has no builds"):
        save(tmp_path / "empty", tmp_path / "one")
    (here / NAME / "builds" / record.build / "verify.py").write_text("changed")
    with pytest.raises(InputError, match="is not as it was made"):
        save(here, tmp_path / "one")
    assert not (tmp_path / "one").exists()
    assert not (here / "sent.json").exists()
    assert not hidden(tmp_path)


def test_what_no_parcel_can_carry_stays_at_home(here: Path, there: Path, tmp_path: Path) -> None:
    """A copy that an editor leaves beside a signature."""
    key = make_key(tmp_path / "key")
    record = put(here, 1, key=key)
    folder = here / NAME / "builds" / f"{record.build}.signatures"
    for name in ("statement.json~", ".statement.json.swp"):
        (folder / name).write_text("x")
    save(here, tmp_path / "one")
    assert loaded(tmp_path / "one", there, rules_of(key))["ok"]
    assert_same(here, there, record)
    assert len(list((there / NAME / "builds" / folder.name).iterdir())) == len(list(folder.iterdir())) - 2
    assert save(here, tmp_path / "two", since=there / "receipt.json").builds == ()
