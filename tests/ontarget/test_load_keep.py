"""`load --keep`: which builds go and which never do, and what a killed run leaves."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from bundler import formats
from bundler.ontarget import load

from tests.support.parcelmaker import NAME, loaded, make_key, put, save

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NIGHTS = 4


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed shelf of four nights, a parcel of each, and the shelf on which three are loaded."""
    folder = tmp_path_factory.mktemp("made")
    make_key(folder / "key")
    (folder / "there").mkdir()
    for night in range(1, NIGHTS + 1):
        put(folder / "here", night, key=folder / "key")
        save(folder / "here", folder / f"parcel-{night}")
        if night < NIGHTS:
            loaded(folder / f"parcel-{night}", folder / "there")
    return folder


@pytest.fixture
def there(made: Path, tmp_path: Path) -> Path:
    """A copy of the shelf, on which all four are loaded."""
    shelf = tmp_path / "there"
    shutil.copytree(made / "there", shelf, symlinks=True)
    loaded(made / f"parcel-{NIGHTS}", shelf)
    return shelf


def builds(made: Path) -> list[str]:
    """The IDs of all nights."""
    return [
        json.loads((made / f"parcel-{night}" / "parcel.json").read_text())["builds"][0]["build"]
        for night in range(1, NIGHTS + 1)
    ]


def kept(shelf: Path) -> set[str]:
    """The IDs that still stand in the folder, with anything."""
    return {path.name.split(".")[0] for path in (shelf / NAME / "builds").iterdir()}


def remove(made: Path, shelf: Path, keep: int, *, refused: Sequence[dict[str, str]] = ()) -> list[str]:
    found = load.remove_old(str(made / f"parcel-{NIGHTS}"), str(shelf), keep, list(refused))
    assert {one["name"] for one in found} <= {NAME}
    return [one["build"] for one in found]


@pytest.mark.parametrize(("keep", "gone"), [(9, 0), (4, 0), (3, 1), (2, 2), (1, 2)])
def test_the_youngest_stay_and_the_base_of_the_parcel(made: Path, there: Path, keep: int, gone: int) -> None:
    all_of_them = builds(made)
    assert remove(made, there, keep) == all_of_them[:gone]
    assert kept(there) == set(all_of_them[gone:]), "the signatures and records of the others are gone too"
    assert os.readlink(there / NAME / "current") == f"builds/{all_of_them[-1]}"  # noqa: PTH115 - its text
    assert remove(made, there, keep) == []
    assert loaded(made / f"parcel-{NIGHTS}", there)["loaded"] == []
    receipt = json.loads((there / "receipt.json").read_text())
    assert [row["build"] for row in receipt["builds"]] == all_of_them[gone:]


def test_the_current_build_stays_however_old(made: Path, there: Path) -> None:
    first, *rest = builds(made)
    (there / NAME / "current").unlink()
    (there / NAME / "current").symlink_to(f"builds/{first}")
    assert remove(made, there, 2) == rest[:1]
    assert kept(there) == {first, *rest[1:]}, "the base of the parcel is the third one"
    (there / NAME / "current").unlink()
    assert remove(made, there, 1) == [], "nothing says which one is in use"


def test_what_holds_files_of_somebody_else_stays(made: Path, there: Path) -> None:
    first, second, *_ = builds(made)
    (there / NAME / "builds" / first / "notes.txt").write_text("mine")
    cache = there / NAME / "builds" / second / "lib" / "__pycache__"
    cache.mkdir(parents=True)
    (cache / "a.cpython-38.pyc").write_bytes(b"")
    assert remove(made, there, 1) == [second]
    assert (there / NAME / "builds" / first / "notes.txt").exists()


def test_a_name_that_had_a_build_refused_keeps_all(made: Path, there: Path) -> None:
    assert remove(made, there, 1, refused=[{"name": NAME}]) == []
    assert kept(there) == set(builds(made))


def make_beside(shelf: Path, build: str) -> set[str]:
    """Make what `report`, `diff` and `pack` make of a build; return its names."""
    place = shelf / NAME / "builds" / build
    pages = [f"{build}.{ending}" for ending in ("html", "changes.md", "changes.json")]
    packed = [formats.path_for(place, kind).name for kind in formats.NAMES if kind != "dir"]
    for name in [*pages, *packed]:
        if name.endswith("oci"):
            (place.with_name(name) / "blobs").mkdir(parents=True)
        else:
            place.with_name(name).write_text("{}")
    return {*pages, *packed}


def test_what_stands_beside_a_build_goes_with_it(made: Path, there: Path) -> None:
    first, second, *rest = builds(made)
    make_beside(there, first)
    stay = make_beside(there, rest[0])
    (there / NAME / "builds" / f"{second}.notes").write_text("mine")
    assert remove(made, there, 2) == [first, second]
    left = {path.name for path in (there / NAME / "builds").iterdir()}
    assert {name for name in left if name.startswith((first, second))} == {f"{second}.notes"}
    assert stay <= left


@pytest.mark.parametrize("call", ["rename", "unlink", "rmdir"])
def test_a_run_that_was_stopped_is_ended_by_the_next(
    made: Path, there: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real = getattr(os, call)
    first, second, *rest = builds(made)
    make_beside(there, first)

    def stopped(path: str, *words: str, **more: int) -> None:
        name = os.path.basename(path)  # noqa: PTH119 - a name of os
        if name == f"{first}.json":
            raise SystemExit(137)
        real(path, *words, **more)
        if call == "rename" or name == "blobs":
            raise SystemExit(137)

    monkeypatch.setattr(os, call, stopped)
    with pytest.raises(SystemExit):
        remove(made, there, 2)
    monkeypatch.setattr(os, call, real)
    assert not (there / NAME / "builds" / first).exists()
    assert (there / NAME / "builds" / f"{first}.json").exists(), "the record goes last"
    assert remove(made, there, 2) == [second]
    assert kept(there) == set(rest)


@pytest.mark.thorough
def test_the_loader_of_the_parcel_does_the_same(made: Path, tmp_path: Path, python37: Path) -> None:
    shelf = tmp_path / "there"
    shutil.copytree(made / "there", shelf, symlinks=True)
    words: list[str | Path] = [python37, "-I", made / f"parcel-{NIGHTS}" / "load.py", shelf, "--keep"]
    done = subprocess.run([*words, "0"], capture_output=True, text=True, check=False)
    assert (done.returncode, "--keep" in done.stderr) == (2, True)
    done = subprocess.run([*words, "2"], capture_output=True, text=True, check=False)
    first, second, *rest = builds(made)
    assert done.returncode == 0, done.stderr
    assert f", removed {NAME}/{first}, {NAME}/{second}; the receipt is" in done.stdout
    assert kept(shelf) == set(rest)
