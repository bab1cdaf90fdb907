"""Where builds stand: what is whole, what is put in its place, and what is never removed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bundler.bundle import manifest
from bundler.errors import InputError
from bundler.rebuild import record as records
from bundler.rebuild import wholeness
from bundler.rebuild.record import Archive, Record
from bundler.rebuild.shelf.local import LocalShelf, fingerprint
from bundler.system import workspace

from tests.support.bundlemaker import make_bundle
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SITE = "lib/python3.8/site-packages"


@pytest.fixture
def shelf(tmp_path: Path) -> LocalShelf:
    return LocalShelf(tmp_path / "out" / "scoring-py38")


class Maker:
    """Makes builds that differ in a number, and puts them on the shelf."""

    def __init__(self, shelf: LocalShelf, folder: Path) -> None:
        self.shelf = shelf
        self.folder = folder
        self.count = 0

    def put(self, number: int, *, archive: str = "") -> Record:
        self.count += 1
        wheel = make_wheel(self.folder, "alpha", files={"alpha.py": f"VALUE = {number}\n"})
        with self.shelf.workplace() as work:
            bundle = make_bundle(work / "bundle", wheel)
            described = manifest.read(bundle)
            digest = wholeness.manifest_digest(bundle)
            assert digest is not None
            build = records.identity(digest)
            extras = {f"{build}.html": work / "page"}
            (work / "page").write_text("a report")
            packed: tuple[Archive, ...] = ()
            if archive:
                (work / "packed").write_text(archive)
                extras[f"{build}.zip"] = work / "packed"
                sha256 = hashlib.sha256(archive.encode()).hexdigest()
                packed = (Archive(kind="zip", name=f"{build}.zip", sha256=sha256, size=len(archive)),)
            record = Record(
                name="scoring-py38",
                build=build,
                input=f"{self.count:064x}",
                lock="0" * 64,
                tool="1",
                made=f"2026-01-01T00:00:{self.count:02}.000000+00:00",
                digest=described.digest,
                manifest_digest=digest,
                size=1,
                files=1,
                archives=packed,
            )
            self.shelf.put(bundle, record, extras)
        found = self.shelf.current()
        assert found is not None
        assert replace(found, fingerprint="") == record
        return found


@pytest.fixture
def maker(shelf: LocalShelf, wheels: Path) -> Maker:
    return Maker(shelf, wheels)


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_put_and_current(shelf: LocalShelf, maker: Maker) -> None:
    assert shelf.current() is None
    first = maker.put(1)
    assert os.readlink(shelf.link) == f"builds/{first.build}"  # noqa: PTH115 - the text of the link
    assert shelf.damage(first, full=False) == shelf.damage(first, full=True) == ""
    second = maker.put(2, archive="an archive")
    assert shelf.current() == second
    assert shelf.manifest(second).digest == second.digest
    assert names(shelf.folder) == {"builds", "current"}
    ending = {"", ".json", ".html"}
    assert names(shelf.builds) == {
        *(f"{first.build}{one}" for one in ending),
        *(f"{second.build}{one}" for one in (*ending, ".zip")),
    }


def test_back_to_an_older_build_takes_the_one_that_is_there(shelf: LocalShelf, maker: Maker) -> None:
    first = maker.put(1)
    maker.put(2)
    inode = (shelf.builds / first.build).stat().st_ino
    again = maker.put(1)
    assert again.build == first.build
    assert again.input != first.input
    assert (shelf.builds / first.build).stat().st_ino == inode
    assert shelf.damage(again, full=False) == ""


def keep_times(path: Path, change: Callable[[Path], object]) -> None:
    before = path.lstat()
    change(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap(path: Path) -> None:
    path.write_text(path.read_text().replace("VALUE", "VALOE"))


def to_link(path: Path) -> None:
    copy = path.parent.parent / "copy"
    path.rename(copy)
    path.symlink_to(copy)


DAMAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "changed, with its old time": (
        f"{SITE}/alpha.py",
        lambda path: keep_times(path, swap),
        "another content",
    ),
    "grown": (f"{SITE}/alpha.py", lambda path: path.write_text("VALUE = 12345\n"), "bytes, not"),
    "gone": (f"{SITE}/alpha.py", lambda path: path.unlink(), "is missing"),
    "a link": (f"{SITE}/alpha.py", to_link, "and 2 more"),
    "executable": (f"{SITE}/alpha.py", lambda path: path.chmod(0o755), "is executable"),
    "one more": (f"{SITE}/beta.py", lambda path: path.touch(), "does not belong to it"),
    "one more folder": (f"{SITE}/beta", lambda path: path.mkdir(), "beta/ does not belong to it"),
    "manifest": ("manifest.json", lambda path: path.write_text("{}"), "is not as it was written"),
    "manifest gone": ("manifest.json", lambda path: path.unlink(), "is not as it was written"),
    "checksums": ("SHA256SUMS", lambda path: path.write_text(""), "bytes, not"),
    "verifier": ("verify.py", lambda path: path.write_text("raise SystemExit(0)\n"), "bytes, not"),
    "no folder": ("", shutil.rmtree, "is gone"),
    "archive gone": (".zip", lambda path: path.unlink(), ".zip is gone"),
    "archive changed": (".zip", lambda path: path.write_text("an archivE"), "is not as it was written"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage(shelf: LocalShelf, maker: Maker, name: str) -> None:
    record = maker.put(1, archive="an archive")
    where, change, words = DAMAGES[name]
    bundle = shelf.builds / record.build
    path = shelf.builds / f"{record.build}{where}" if where.startswith(".") else bundle / where
    change(path)
    assert words in shelf.damage(record, full=False)
    assert words in shelf.damage(record, full=True)
    # Whatever it was, the next build of the same content is a whole one.
    again = maker.put(1, archive="an archive")
    assert again.build == record.build
    assert shelf.damage(again, full=True) == ""


def test_other_times_alone_are_no_damage(shelf: LocalShelf, maker: Maker) -> None:
    record = maker.put(1, archive="an archive")
    for path in (*(shelf.builds / record.build).rglob("*.py"), shelf.builds / f"{record.build}.zip"):
        os.utime(path, (0, 0))
    assert fingerprint(shelf.builds / record.build) != record.fingerprint
    assert shelf.damage(record, full=False) == ""


def test_only_full_sees_what_the_filesystem_does_not_tell(shelf: LocalShelf, maker: Maker) -> None:
    """A disk that gives other bytes than were written: as its times say, nothing happened."""
    record = maker.put(1)
    bundle = shelf.builds / record.build
    swap(bundle / SITE / "alpha.py")
    untold = replace(record, fingerprint=fingerprint(bundle))
    assert shelf.damage(untold, full=False) == ""
    assert "another content" in shelf.damage(untold, full=True)


def test_a_further_name_of_a_file_changes_no_fingerprint(tmp_path: Path) -> None:
    """A build of hard links shares its files with the store, and with other builds."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "store").write_text("content")
    os.link(tmp_path / "store", tmp_path / "tree" / "file")
    before = fingerprint(tmp_path / "tree")
    os.link(tmp_path / "store", tmp_path / "another")
    assert fingerprint(tmp_path / "tree") == before
    (tmp_path / "tree" / "other").touch()
    assert fingerprint(tmp_path / "tree") != before


@pytest.mark.thorough
@pytest.mark.parametrize(("keep", "left"), [(1, [5]), (2, [4, 5]), (3, [3, 4, 5]), (9, [1, 2, 3, 4, 5])])
def test_prune(shelf: LocalShelf, maker: Maker, keep: int, left: list[int]) -> None:
    made = {number: maker.put(number, archive="an archive") for number in range(1, 6)}
    gone = shelf.prune(keep)
    assert {one.build for number, one in made.items() if number in left} == {
        name for name in names(shelf.builds) if "." not in name
    }
    assert set(gone) == {one.build for number, one in made.items() if number not in left}
    assert {name.partition(".")[0] for name in names(shelf.builds)} == {made[one].build for one in left}
    before = sorted(names(shelf.builds))
    assert shelf.prune(keep) == ()
    assert sorted(names(shelf.builds)) == before


def test_prune_keeps_the_current_one_however_old(shelf: LocalShelf, maker: Maker) -> None:
    first, second, third = (maker.put(number) for number in (1, 2, 3))
    shelf.link.unlink()
    shelf.link.symlink_to(f"builds/{first.build}")
    assert shelf.prune(2) == (second.build,)
    assert shelf.prune(1) == (third.build,)
    assert shelf.damage(first, full=True) == ""


def forge(record: Record, path: Path) -> None:
    other = replace(record, manifest_digest="f" * 64, build="f" * 16)
    path.with_name(f"{'f' * 16}.json").write_text(records.render(other))
    path.with_name("f" * 16).mkdir()
    (path.with_name("f" * 16) / "treasure").touch()


def move_away(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


STRANGERS: dict[str, Callable[[Record, Path], object]] = {
    "a folder": lambda _, path: path.with_name("backup").mkdir(),
    "a folder named like a build": lambda _, path: shutil.copytree(path, path.with_name("0" * 16)),
    "a folder with a record that is another's": forge,
    "a file in an old build": lambda _, path: (path / SITE / "notes.txt").write_text("mine"),
    "a link in an old build": lambda _, path: (path / "link").symlink_to("/etc"),
    "no record": lambda record, path: path.with_name(f"{record.build}.json").unlink(),
    "a broken record": lambda record, path: path.with_name(f"{record.build}.json").write_text("{}"),
    "another manifest": lambda _, path: (path / "manifest.json").write_text("{}"),
    "a link to another place": lambda _, path: move_away(path),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_prune_leaves_what_envbundle_did_not_make(shelf: LocalShelf, maker: Maker, name: str) -> None:
    old = maker.put(1)
    STRANGERS[name](old, shelf.builds / old.build)
    before = names(shelf.builds)
    for number in (2, 3):
        maker.put(number)
    shelf.prune(1)
    after = names(shelf.builds)
    strange = {one for one in before if one != old.build and not one.startswith(f"{old.build}.")}
    touched = name not in {"a folder", "a folder named like a build"} and not name.startswith("a folder with")
    assert strange <= after
    assert (old.build in after) is touched
    assert ("f" * 16 in after) is name.startswith("a folder with")


def test_bytecode_of_another_python_does_not_keep_a_build(shelf: LocalShelf, maker: Maker) -> None:
    old = maker.put(1)
    cache = shelf.builds / old.build / SITE / "__pycache__"
    cache.mkdir(exist_ok=True)
    (cache / "alpha.cpython-311.pyc").touch()
    maker.put(2)
    assert shelf.prune(1) == (old.build,)


def test_what_was_laid_into_a_damaged_build_is_put_aside(shelf: LocalShelf, maker: Maker) -> None:
    record = maker.put(1)
    bundle = shelf.builds / record.build
    (bundle / SITE / "alpha.py").unlink()
    (bundle / SITE / "notes.txt").write_text("mine")
    (bundle / "link").symlink_to("/etc")
    assert maker.put(1).build == record.build
    aside = shelf.builds / f"{record.build}.strangers"
    assert (aside / SITE / "notes.txt").read_text() == "mine"
    assert (aside / "link").is_symlink()
    assert shelf.damage(record, full=True) == ""


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["folder", "file", "link", "link to a name that is no ID"])
def test_what_is_no_link_of_ours_is_not_touched(shelf: LocalShelf, maker: Maker, kind: str) -> None:
    shelf.folder.mkdir(parents=True)
    if kind == "folder":
        shelf.link.mkdir()
    elif kind == "file":
        shelf.link.touch()
    else:
        shelf.link.symlink_to("elsewhere" if kind == "link" else "builds/../builds/0123")
    before = shelf.link.lstat().st_ctime_ns
    for action in (shelf.current, lambda: maker.put(1)):
        with pytest.raises(InputError, match="not touched"):
            action()
    assert shelf.link.lstat().st_ctime_ns == before


@pytest.mark.parametrize("kind", ["folder", "file", "link", "bundle of another content"])
def test_a_strangers_folder_with_the_name_of_a_build(shelf: LocalShelf, maker: Maker, kind: str) -> None:
    record = maker.put(1)
    other = maker.put(2)
    shutil.rmtree(shelf.builds / record.build)
    (shelf.builds / f"{record.build}.json").unlink()
    path = shelf.builds / record.build
    if kind == "folder":
        path.mkdir()
    elif kind == "file":
        path.write_text("mine")
    elif kind == "link":
        path.symlink_to(other.build)
    else:
        shutil.copytree(shelf.builds / other.build, path)
    with pytest.raises(InputError, match="not made by envbundle"):
        maker.put(1)
    assert shelf.current() == other
    assert path.is_symlink() is (kind == "link")


def test_a_build_whose_record_is_lost_is_known_by_its_manifest(shelf: LocalShelf, maker: Maker) -> None:
    record = maker.put(1)
    (shelf.builds / f"{record.build}.json").unlink()
    assert shelf.current() is None
    assert maker.put(1).build == record.build


def test_sweep(shelf: LocalShelf, maker: Maker) -> None:
    current = maker.put(1, archive="an archive")
    lost = maker.put(2, archive="another")
    shelf.link.unlink()
    shelf.link.symlink_to(f"builds/{current.build}")
    shutil.rmtree(shelf.builds / lost.build)  # as a run that was killed before the build's turn leaves it
    left = workspace.folder_for(shelf.link)
    (left / "scratch" / "bundle").mkdir(parents=True)
    (shelf.folder / "notes.txt").write_text("mine")
    shelf.sweep()
    assert names(shelf.folder) == {"builds", "current", "notes.txt"}
    assert {name.partition(".")[0] for name in names(shelf.builds)} == {current.build}
    assert shelf.damage(current, full=True) == ""


@pytest.mark.thorough
def test_sweep_keeps_the_record_of_a_current_build_that_is_gone(shelf: LocalShelf, maker: Maker) -> None:
    current = maker.put(1)
    shutil.rmtree(shelf.builds / current.build)
    shelf.sweep()
    assert shelf.current() == current
    assert "is gone" in shelf.damage(current, full=False)


def test_sweep_writes_nothing_where_there_is_nothing(shelf: LocalShelf, maker: Maker) -> None:
    shelf.sweep()
    assert not shelf.folder.exists()
    maker.put(1)
    before = [path.lstat().st_ctime_ns for path in (shelf.folder, shelf.builds)]
    shelf.sweep()
    assert [path.lstat().st_ctime_ns for path in (shelf.folder, shelf.builds)] == before


def test_workplace_is_of_one_run_alone(shelf: LocalShelf) -> None:
    with (
        shelf.workplace() as work,
        pytest.raises(InputError, match="another run"),
        LocalShelf(shelf.folder).workplace(),
    ):
        pass
    assert not work.exists()
    assert not shelf.folder.exists()


BROKEN_RECORDS: dict[str, Callable[[dict[str, object]], object]] = {
    "another kind": lambda row: row.update(kind="x"),
    "a later schema": lambda row: row.update(schema_version="2.0"),
    "no digest": lambda row: row.update(input="zz"),
    "an ID of another manifest": lambda row: row.update(build="0" * 16),
    "a way out": lambda row: row.update(
        archives=[{"kind": "zip", "name": "../../x.zip", "sha256": "0" * 64, "size": 1}]
    ),
    "an archive of another build": lambda row: row.update(
        archives=[{"kind": "zip", "name": f"{'0' * 16}.zip", "sha256": "0" * 64, "size": 1}]
    ),
    "a size below nothing": lambda row: row.update(size=-1),
    "a lacking member": lambda row: row.pop("lock"),
    "a finding that is none": lambda row: row.update(findings=[{"code": 1}]),
}


@pytest.mark.parametrize("name", BROKEN_RECORDS)
def test_record_of_anybody(shelf: LocalShelf, maker: Maker, name: str) -> None:
    record = maker.put(1)
    data = records.render(record).encode()
    assert records.parse(data, source="x") == record
    row = json.loads(data)
    BROKEN_RECORDS[name](row)
    with pytest.raises(InputError):
        records.parse(json.dumps(row).encode(), source="x")
    path = shelf.builds / f"{record.build}.json"
    path.write_text(json.dumps(row))
    assert shelf.current() is None


def test_exchange_is_not_needed(shelf: LocalShelf, maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the filesystem cannot exchange two folders, the damaged build gives way all the same."""
    record = maker.put(1)
    (shelf.builds / record.build / SITE / "alpha.py").unlink()
    monkeypatch.setattr("bundler.system.files.swap", lambda *_: False)
    assert maker.put(1).build == record.build
    assert shelf.damage(record, full=True) == ""
