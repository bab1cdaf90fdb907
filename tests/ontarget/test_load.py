"""The loader of parcels: forgeries are refused by name, rollbacks too, and nothing of them is left."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from bundler.ontarget.delta_format import UnusableDeltaError
from bundler.ontarget.new_bundle import workplace

from tests.support import deltamaker
from tests.support.archivemaker import tree
from tests.support.parcelmaker import NAME, Forger, loaded, make_key, put, rules_of, save, sign, take_apart

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a shelf of two signed builds, and the parcel of them; no test changes it."""
    folder = tmp_path_factory.mktemp("made")
    make_key(folder / "key")
    make_key(folder / "other")
    for number in (1, 2):
        put(folder / "here", number, key=folder / "key")
    save(folder / "here", folder / "parcel")
    return folder


def current(shelf: Path) -> str:
    return os.readlink(shelf / NAME / "current")  # noqa: PTH115 - its text


def files(forger: Forger, change: Callable[[list[dict[str, bytes]]], object]) -> None:
    """Change what the parcel carries, and make parts and index fit it."""
    change(forger.contents)
    forger.write()


def described(forger: Forger, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the index alone."""
    change(forger.index)
    forger.write_index()


def build(forger: Forger, number: int = 0, **members: Any) -> None:
    """Change members of a build in the index."""
    described(forger, lambda index: index["builds"][number].update(members))


def row(forger: Forger, **members: Any) -> None:
    """Change path, size or sha256 of the first file of the first build."""
    first = forger.index["builds"][0]["files"][0]
    for at, name in enumerate(("path", "size", "sha256")):
        first[at] = members.get(name, first[at])
    forger.write_index()


def record(forger: Forger, **members: Any) -> None:
    """Change members of the record of the first build."""
    value = {**json.loads(forger.contents[0]["json"]), **members}
    files(forger, lambda contents: contents[0].update(json=json.dumps(value).encode()))


def part(forger: Forger, change: Callable[[bytes], bytes], number: int = 2) -> None:
    path = forger.folder / f"{number:05d}.part"
    path.write_bytes(change(path.read_bytes()))


def swapped(forger: Forger) -> None:
    first, second = forger.folder / "00001.part", forger.folder / "00002.part"
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)


def reordered(forger: Forger) -> None:
    """Parts and index fit each other, and what is in them stands elsewhere."""
    swapped(forger)
    parts = forger.index["parts"]
    parts[0]["sha256"], parts[1]["sha256"] = parts[1]["sha256"], parts[0]["sha256"]
    forger.write_index()


def linked(forger: Forger) -> None:
    path = forger.folder / "00002.part"
    path.rename(forger.folder / "elsewhere")
    path.symlink_to(forger.folder / "elsewhere")


def instead(forger: Forger, make: Callable[[Path], object]) -> None:
    """Put something else in the place of a part."""
    path = forger.folder / "00002.part"
    path.unlink()
    make(path)


def replaced(forger: Forger, old: str, new: str) -> None:
    """Change the text of the index."""
    path = forger.folder / "parcel.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def unpacked_delta(forger: Forger, folder: Path) -> Path:
    folder.mkdir()
    for name, data in forger.contents[0].items():
        if name.startswith("delta/"):
            (folder / name.removeprefix("delta/")).write_bytes(data)
    return folder


def with_delta(forger: Forger, delta: Path) -> None:
    """Carry another delta, whose result the index names."""
    for path in delta.iterdir():
        forger.contents[0][f"delta/{path.name}"] = path.read_bytes()
    sha256 = json.loads(forger.contents[0]["delta/delta.json"])["result"]["manifest_sha256"]
    forger.index["builds"][0]["manifest_sha256"] = sha256
    forger.write()


def outside(forger: Forger) -> None:
    """A bundle that writes outside of its folder."""
    delta = unpacked_delta(forger, forger.folder.with_name("taken"))
    deltamaker.with_manifest(delta, forger.folder.with_name("made"), [("../outside", b"x")])
    with_delta(forger, forger.folder.with_name("made"))


def bomb(forger: Forger) -> None:
    """A stream that goes on for 20 MB, in some 3 kB."""
    delta = unpacked_delta(forger, forger.folder.with_name("taken"))
    content = deltamaker.unpacked(delta, "content") + bytes(20_000_000)
    deltamaker.forged(delta, forger.folder.with_name("made"), content=content)
    with_delta(forger, forger.folder.with_name("made"))


Forgery = tuple["Callable[[Forger], object]", str]
FORGERIES: dict[str, Forgery] = {
    "no index": (lambda it: (it.folder / "parcel.json").unlink(), "parcel.json: No such file"),
    "another kind": (lambda it: described(it, lambda one: one.update(kind="x")), "is no parcel"),
    "newer schema": (
        lambda it: described(it, lambda one: one.update(schema_version="2.0")), "schema version",
    ),
    "index of a terabyte": (lambda it: os.truncate(it.folder / "parcel.json", 1 << 40), "is larger than"),
    "member twice": (
        lambda it: replaced(it, '"kind":', '"kind": "envbundle-parcel", "kind":'), "parcel.json: is damaged"),
    "deep index": (lambda it: (it.folder / "parcel.json").write_text("[" * 9000), "is damaged"),
    "no builds": (lambda it: described(it, lambda one: one.pop("builds")), "is damaged"),
    "missing part": (lambda it: (it.folder / "00002.part").unlink(), "00002.part is missing"),
    "cut part": (lambda it: part(it, lambda data: data[:-1]), "00002.part is cut: it has 19999 bytes of"),
    "long part": (lambda it: part(it, lambda data: data + b"x"), "00002.part is too long"),
    "altered part": (lambda it: part(it, lambda data: data[:-1] + b"\0"), "00002.part is altered"),
    "parts swapped": (swapped, "00001.part is altered.*; 00002.part is altered"),
    "parts reordered in the index": (reordered, "'.*' of .* is not in the parts as the index says"),
    "linked part": (linked, "00002.part is a symlink"),
    "part that is a pipe": (lambda it: instead(it, os.mkfifo), "00002.part is no regular file"),
    "part that is a folder": (lambda it: instead(it, os.mkdir), "00002.part Is a directory"),
    "part elsewhere": (
        lambda it: described(it, lambda one: one["parts"][0].update(name="../x")), "has the name '../x'",
    ),
    "part left out": (lambda it: described(it, lambda one: one["parts"].pop()), "bytes less than it carries"),
    "part size 0": (lambda it: described(it, lambda one: one.update(part_size=0)), "impossible size"),
    "negative size": (lambda it: row(it, size=-1), "impossible size"),
    "huge size": (lambda it: row(it, size=1 << 50), "impossible size"),
    "size of another file": (lambda it: row(it, size=7), "does not fit what the parcel carries|bytes less"),
    "wrong hash": (lambda it: row(it, sha256="0" * 64), "is not in the parts as the index says"),
    "file above": (lambda it: row(it, path="delta/../../../x"), "'delta/../../../x' is no file of a parcel"),
    "absolute file": (lambda it: row(it, path="/etc/passwd"), "is no file of a parcel"),
    "another file": (lambda it: row(it, path="current"), "is no file of a parcel"),
    "signature above": (lambda it: row(it, path="signatures/.."), "is no file of a parcel"),
    "page that nobody signs": (lambda it: row(it, path="html"), "'html' is no file of a parcel"),
    "file twice": (lambda it: row(it, path="json"), "has 'json' twice"),
    "name above": (lambda it: build(it, name="../outside"), "'../outside' is no name of a bundle"),
    "absolute name": (lambda it: build(it, name="/outside"), "is no name of a bundle"),
    "name of the receipt": (lambda it: build(it, name="receipt.json"), "'receipt.json' is no name"),
    "name of what was sent": (lambda it: build(it, name="sent.json"), "'sent.json' is no name of a bundle"),
    "name of two": (lambda it: build(it, name="a/b"), "is no name of a bundle"),
    "base above": (lambda it: build(it, 1, base={"name": "..", "build": "0" * 16}), "is no name of a bundle"),
    "another ID": (lambda it: build(it, build="0" * 16), "is not the ID of its manifest"),
    "ID above": (lambda it: build(it, build="../../x"), "is no ID of a build"),
    "two current": (lambda it: build(it, current=True), "has two current builds"),
    "build twice": (
        lambda it: described(it, lambda one: one["builds"].append(one["builds"][0])), "is in it twice",
    ),
    "no record": (lambda it: files(it, lambda one: one[0].pop("json")), "has no record"),
    "record of another": (lambda it: record(it, name="other"), "the record of .*: is no record"),
    "record without time": (lambda it: record(it, made="tomorrow"), "is no record of this build"),
    "record of another tree": (lambda it: record(it, digest="0" * 64), "is not as its record says"),
    "record with archives": (
        lambda it: record(it, archives=[{"name": "../../x"}]), "does not fit the index",
    ),
    "record of no day": (
        lambda it: record(it, made="9999-99-99T99:99:99.999999+00:00"), "is no record of this build"),
    "base that is the build itself": (
        lambda it: build(it, base={key: it.index["builds"][0][key] for key in ("name", "build")}),
        "was made from .*, which is not on the shelf"),
    "another manifest": (lambda it: build(it, manifest_sha256="0" * 64), "does not fit the index"),
    "another base": (
        lambda it: build(it, base={"name": NAME, "build": "0" * 16}), "was made from .*, which is not on",
    ),
    "no base": (lambda it: build(it, 1, base=None), "the delta of .* does not fit the index"),
    "no delta": (
        lambda it: files(it, lambda one: [one[0].pop(name) for name in list(one[0]) if "delta" in name]),
        "is not on the shelf, and the parcel does not carry it",
    ),
    "bundle that writes outside": (outside, "'../outside' leaves the bundle"),
    "bomb": (bomb, "0.content.xz goes on where it must end"),
}  # fmt: skip


@pytest.mark.parametrize("case", FORGERIES)
def test_a_forged_parcel_is_refused(made: Path, tmp_path: Path, case: str) -> None:
    forge, said = FORGERIES[case]
    forger = take_apart(made / "parcel", tmp_path / "forged")
    forge(forger)
    for name in ("taken", "made"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
    with pytest.raises(UnusableDeltaError, match=said):
        loaded(tmp_path / "forged", tmp_path / "shelf")
    assert {path.name for path in tmp_path.iterdir()} <= {"forged", "shelf"}
    left = [path for path in (tmp_path / "shelf").rglob("*") if "builds" not in path.parts]
    assert {path.name for path in left} <= {NAME, "current"}
    # What stood before it in the parcel may be there, whole, and is not current: it was not meant to be.
    assert not (tmp_path / "shelf" / NAME / "current").is_symlink()


def resigned(made: Path, key: str = "key", name: str = NAME) -> Callable[[Forger], None]:
    """Sign the first build anew."""

    def change(forger: Forger) -> None:
        folder = forger.folder.with_name("signed")
        first = forger.index["builds"][0]["build"]
        sign(made / "here" / NAME / "builds" / first, folder, made / key, name=name, counter=9)
        for path in folder.iterdir():
            forger.contents[0][f"signatures/{path.name}"] = path.read_bytes()
        shutil.rmtree(folder)
        forger.write()

    return change


def unsigned(contents: list[dict[str, bytes]]) -> None:
    for name in [name for name in contents[0] if name.startswith("signatures/")]:
        del contents[0][name]


def signed_as_the_other(contents: list[dict[str, bytes]]) -> None:
    contents[0].update({name: data for name, data in contents[1].items() if name.startswith("signatures/")})


UNSIGNED: dict[str, tuple[Callable[[Path], Callable[[Forger], object]], str]] = {
    "no signature": (lambda _: lambda it: files(it, unsigned), "EB611"),
    "the signature of another build": (lambda _: lambda it: files(it, signed_as_the_other), "EB611"),
    "another key": (lambda made: resigned(made, key="other"), "EB612"),
    "another name": (lambda made: resigned(made, name="billing-py38"), "EB613"),
}


@pytest.mark.parametrize("case", UNSIGNED)
def test_what_is_not_signed_is_refused(made: Path, tmp_path: Path, case: str) -> None:
    """And what was made from it; another build of the parcel is loaded."""
    forge, code = UNSIGNED[case]
    forger = take_apart(made / "parcel", tmp_path / "forged")
    forge(made)(forger)
    result = loaded(tmp_path / "forged", tmp_path / "shelf", rules_of(made / "key"))
    assert [one["code"] for one in result["refused"]] == [code, code]
    assert not result["ok"]
    assert [path.name for path in (tmp_path / "shelf").iterdir()] == ["receipt.json"]
    assert loaded(made / "parcel", tmp_path / "shelf", rules_of(made / "key"))["ok"]


def test_what_is_not_signed_is_not_unpacked(made: Path, tmp_path: Path) -> None:
    """Its manifest is enough to refuse it: the bomb behind that is not reached."""
    forger = take_apart(made / "parcel", tmp_path / "forged")
    bomb(forger)
    files(forger, unsigned)
    result = loaded(tmp_path / "forged", tmp_path / "shelf", rules_of(made / "key"))
    assert [one["code"] for one in result["refused"]] == ["EB611", "EB611"]
    assert [path.name for path in (tmp_path / "shelf").iterdir()] == ["receipt.json"]


def test_the_parcel_as_it_was_made_is_loaded(made: Path, tmp_path: Path) -> None:
    forger = take_apart(made / "parcel", tmp_path / "forged")
    forger.write(part_size=1234)
    assert loaded(tmp_path / "forged", tmp_path / "shelf", rules_of(made / "key"))["ok"]
    second = forger.index["builds"][1]["build"]
    assert current(tmp_path / "shelf") == f"builds/{second}"
    builds = f"{NAME}/builds/{second}"
    assert tree(tmp_path / "shelf" / builds) == tree(made / "here" / builds)


@pytest.mark.thorough
@pytest.mark.parametrize("signed", [True, False])
def test_a_rollback_is_refused(tmp_path: Path, *, signed: bool) -> None:
    """A parcel of last week, loaded again, and an older build that is current again there."""
    key = make_key(tmp_path / "key") if signed else None
    rules = rules_of(tmp_path / "key") if signed else None
    here, shelf = tmp_path / "here", tmp_path / "shelf"
    first = put(here, 1, key=key)
    save(here, tmp_path / "old")
    second = put(here, 3, key=key)
    save(here, tmp_path / "new")
    for parcel in ("old", "new"):
        assert loaded(tmp_path / parcel, shelf, rules)["ok"]
    (refused,) = loaded(tmp_path / "old", shelf, rules)["refused"]
    assert (refused["build"], refused["code"]) == (first.build, "EB614")
    assert current(shelf) == f"builds/{second.build}"
    assert loaded(tmp_path / "old", shelf, rules, allow_rollback=True)["ok"]
    assert current(shelf) == f"builds/{first.build}"
    assert loaded(tmp_path / "new", shelf, rules)["ok"]
    assert current(shelf) == f"builds/{second.build}"
    # Its maker says that it is new: the record of a build is not signed, its counter is.
    forger = take_apart(tmp_path / "old", tmp_path / "forged")
    record(forger, made="2029-01-01T00:00:00.000000+00:00")
    assert loaded(tmp_path / "forged", shelf, rules)["ok"] is not signed
    if signed:
        fresh = tmp_path / "fresh"
        (late,) = loaded(tmp_path / "old", fresh, rules_of(tmp_path / "key", not_older_than="2"))["refused"]
        assert late["code"] == "EB614"


def test_what_is_in_the_way_is_not_touched(made: Path, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf"
    (shelf / NAME).mkdir(parents=True)
    (shelf / NAME / "current").write_text("mine")
    with pytest.raises(UnusableDeltaError, match="current is there and is no link to a build"):
        loaded(made / "parcel", shelf)
    assert (shelf / NAME / "current").read_text() == "mine"
    (shelf / NAME / "current").unlink()
    (shelf / NAME).rmdir()
    (shelf / NAME).symlink_to(tmp_path)
    with pytest.raises(UnusableDeltaError, match="is a symlink"):
        loaded(made / "parcel", shelf)
    (shelf / NAME).unlink()
    first = json.loads((made / "parcel" / "parcel.json").read_text())["builds"][0]["build"]
    assert loaded(made / "parcel", shelf)["ok"]
    (shelf / NAME / "builds" / first / "verify.py").write_text("changed")
    with pytest.raises(UnusableDeltaError, match="is not the build that the parcel has, or not whole"):
        loaded(made / "parcel", shelf)
    with (
        workplace(str(shelf / NAME / "current")),
        pytest.raises(UnusableDeltaError, match="another run is making"),
    ):
        loaded(made / "parcel", shelf)


@pytest.mark.thorough
def test_who_must_act(made: Path, tmp_path: Path, python37: Path) -> None:
    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        argv = [str(python37), "-I", str(made / "parcel" / "load.py"), *map(str, words)]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    other = (made / "other.pub").read_text()
    done = run(made / "parcel", tmp_path / "shelf", "--key", other)
    assert done.returncode == 1
    assert "EB612" in done.stdout
    done = run(tmp_path, tmp_path / "shelf", "--json")
    assert (done.returncode, json.loads(done.stdout)["error"]["hint"]) == (
        2, "name the folder that `envbundle save` made",
    )  # fmt: skip
    done = run(tmp_path / "shelf")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-2] == "note: no signature was checked: see --allowed-signers"
    digest = hashlib.sha256(
        (tmp_path / "shelf" / NAME / "current" / "manifest.json").read_bytes()
    ).hexdigest()
    assert digest == json.loads((made / "parcel" / "parcel.json").read_text())["builds"][1]["manifest_sha256"]
