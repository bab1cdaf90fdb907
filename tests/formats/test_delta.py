"""How deltas are made: which file is compared with which, by which instructions, and that each is proved."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING

import pytest
from bundler.errors import InputError
from bundler.formats import delta
from bundler.formats.delta import instructions, pairs
from bundler.formats.delta.instructions import smallest
from bundler.ontarget.delta_format import ADDED, COPIED, PLAIN, Row, add

from tests.support.archivemaker import tree
from tests.support.deltamaker import two, write_delta

if TYPE_CHECKING:
    from pathlib import Path

NOISE = random.Random(1).randbytes(50_000)
WORDS = b"".join((n * 4).to_bytes(4, "little") for n in range(5000))
SHIFTED = b"".join((n * 4 + n // 64).to_bytes(4, "little") for n in range(5000))


def restored(old: bytes, patch: instructions.Patch) -> bytes:
    """Apply a patch by the letter of docs/delta.md."""
    if patch.method == PLAIN:
        return patch.content
    new, at, added, taken = b"", 0, 0, 0
    for move, copied, inserted in patch.instructions:
        at += move
        part = old[at : at + copied]
        assert len(part) == copied
        if patch.method == ADDED:
            part = add(part, patch.difference[added : added + copied])
            added += copied
        new += part + patch.content[taken : taken + inserted]
        taken += inserted
        at += copied
    assert (added, taken) == (len(patch.difference), len(patch.content))
    return new


@pytest.mark.parametrize(
    ("old", "new", "method", "most"),
    [
        (NOISE, NOISE[:20_000] + b"inserted" + NOISE[20_100:], COPIED, 60),
        (NOISE, NOISE[30_000:] + NOISE[:30_000], COPIED, 60),
        (NOISE, bytes([NOISE[0] ^ 1]) + NOISE[1:-1] + b"x", COPIED, 60),
        (NOISE, NOISE[::-1], PLAIN, 51_000),
        (WORDS, SHIFTED, ADDED, 6_000),
        (b"", NOISE, PLAIN, 51_000),
        (NOISE, b"", PLAIN, 0),
        (b"short", b"shorter", PLAIN, 20),
        (bytes(100_000), bytes(70_000) + b"1" + bytes(9), COPIED, 60),
    ],
)
def test_the_smallest_way_is_taken(old: bytes, new: bytes, method: int, most: int) -> None:
    patch = smallest(old, new)
    assert restored(old, patch) == new
    assert patch.method == method
    parts = (patch.control, patch.difference, patch.content)
    assert sum(map(instructions.packed_size, parts)) <= most


@pytest.mark.parametrize("seed", range(6))
def test_any_change_is_undone(seed: int) -> None:
    chance = random.Random(seed)
    old = chance.randbytes(4000) + bytes(chance.randrange(400)) + b"text, text, text " * 60
    new = bytearray(old)
    for _ in range(chance.randrange(1, 30)):
        at = chance.randrange(len(new))
        match chance.randrange(4):
            case 0:
                del new[at : at + chance.randrange(200)]
            case 1:
                new[at:at] = chance.randbytes(chance.randrange(100))
            case 2:
                new[at:at] = old[chance.randrange(3000) :][: chance.randrange(900)]
            case _:
                new[at] ^= 255
    for make in (instructions._copied, instructions._added):
        assert restored(old, make(old, bytes(new))) == bytes(new)


def test_a_file_beyond_the_limit_goes_without_bsdiff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "MOST_BSDIFF", 10_000)
    patch = smallest(WORDS, SHIFTED)
    assert patch.method != ADDED
    assert restored(WORDS, patch) == SHIFTED


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("six.py", "six.py"),
        ("six-1.16.0.dist-info/RECORD", "six-1.17.0.dist-info/RECORD"),
        ("numpy.libs/libgfortran-040039e1.so.5.0.0", "numpy.libs/libgfortran-91cc3fe1.so.5.0.0"),
        ("numpy.libs/libopenblas64_p-r0-15028c96.3.21.so", "numpy.libs/libopenblas64_p-r0-742d56dc.3.20.so"),
        ("static/main.0a1b2c3d4e.js", "static/main.99aabbccdd.js"),
    ],
)
def test_files_are_paired_by_name_without_version_and_hash(old: str, new: str) -> None:
    rows = {path: Row(path, "0" * 64, 1, "0644") for path in (old, "other.py", "six-1.16.0.dist-info/WHEEL")}
    wanted = [Row(new, "1" * 64, 1, "0644")]
    assert pairs.pair(rows, wanted, read_old=lambda _: b"", read_new=lambda _: b"") == {new: old}


def test_files_are_paired_by_content_where_names_do_not_tell() -> None:
    text = b"".join(b"line number %d of a file\n" % n for n in range(50))
    contents = {"a/old.py": text, "a/other.py": b"something else altogether\n" * 9}
    rows = {path: Row(path, "0" * 64, len(data), "0644") for path, data in contents.items()}
    changed = text.replace(b"number 7 ", b"number seven ")
    new = {"b/moved.py": changed, "b/fresh.py": b"nothing that was there before\n"}
    found = pairs.pair(
        rows,
        [Row(path, "1" * 64, len(data), "0644") for path, data in new.items()],
        read_old=contents.__getitem__,
        read_new=new.__getitem__,
    )
    assert found == {"b/moved.py": "a/old.py"}


def test_every_way_is_used_and_the_same_bundles_give_the_same_delta(tmp_path: Path) -> None:
    old, new = two(tmp_path)
    first, written = write_delta(tmp_path / "x.delta", old, new)
    (base,) = written.bases
    assert set(base.ways) == {"copied", "corrected", "plain"}
    same = {path.read_bytes() for path in old.rglob("*") if path.is_file()}
    assert base.same == sum(path.is_file() and path.read_bytes() in same for path in new.rglob("*"))
    again, _ = write_delta(tmp_path / "y.delta", old, new)
    assert tree(first) == tree(again)
    assert written.size == sum(path.stat().st_size for path in first.iterdir())


@pytest.mark.thorough
def test_several_bases_and_chains(tmp_path: Path) -> None:
    old, new = two(tmp_path)
    back, _ = write_delta(tmp_path / "back.delta", new, old)
    both, written = write_delta(tmp_path / "both.delta", old, new, new)
    assert [base.name for base in written.bases] == ["old", "new"]
    for number, (base, deltas) in enumerate(
        [(old, [both]), (new, [both]), (new, [back, both]), (old, [both, back, both])]
    ):
        output = tmp_path / f"got-{number}"
        count, _ = delta.apply(base, deltas, output=output)
        assert count > 0
        assert tree(output) == tree(new)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.thorough
def test_what_is_in_the_way_stays(tmp_path: Path) -> None:
    old, new = two(tmp_path)
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="is not a delta"):
        write_delta(tmp_path / "there", old, new)
    path, _ = write_delta(tmp_path / "x.delta", old, new)
    with pytest.raises(InputError, match=r"x\.delta exists"):
        write_delta(path, old, new)
    replaced, _ = write_delta(path, new, old, force=True)
    assert delta.apply(new, [replaced], output=tmp_path / "got")[0] > 0
    with pytest.raises(InputError, match="got exists"):
        delta.apply(old, [write_delta(tmp_path / "y.delta", old, new)[0]], output=tmp_path / "got")


def test_a_bundle_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    old, new = two(tmp_path)
    path = new / "lib/python3.8/site-packages/alpha/fresh.bin"
    path.write_bytes(b"changed")
    with pytest.raises(InputError, match=r"new is not as it was made: .*fresh.bin"):
        write_delta(tmp_path / "x.delta", old, new)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


def test_leftovers_of_other_runs_are_swept(tmp_path: Path) -> None:
    old, new = two(tmp_path)
    path, _ = write_delta(tmp_path / "x.delta", old, new)
    shutil.copytree(old, tmp_path / ".killed.envbundle" / "bundle")
    delta.apply(old, [path], output=tmp_path / "got")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["got", "new", "old", "x.delta"]
