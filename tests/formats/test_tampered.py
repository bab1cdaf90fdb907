"""Archives that somebody changed or cut off: a finding, or one clear error."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.bundle import manifest
from bundler.bundle.tree import scan
from bundler.errors import InputError
from bundler.formats import checking, packing, reading
from bundler.formats.entries import Contents, ordered

from tests.support.archivemaker import ARCHIVES, PART, change, codes, need, open_it

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytest_plugins = ["tests.support.archive_fixtures"]


def repack(bundle: Path, kind: str, out: Path) -> Path:
    """Pack a folder as it is, with the manifest that lies in it: what somebody does who knows the format."""
    files = scan(bundle).files
    beside = [file for file in files if "/" not in file.path]
    what = Contents(
        bundle=bundle,
        manifest=manifest.read(bundle.with_name("original") / manifest.NAME),
        entries=ordered([file for file in files if file not in beside], beside),
    )
    out.mkdir()
    return packing._write(kind, what, out, {})


def _change_with_its_row(folder: Path) -> None:
    change(folder / PART, b"1", b"2")
    hashes = [hashlib.sha256(text).hexdigest().encode() for text in (b"PART = 1\n", b"PART = 2\n")]
    change(folder / manifest.NAME, hashes[0], hashes[1])


Findings = list[tuple[str, str]]
SUMS_DIFFER = ("EB512", manifest.SUMS)
TAMPERED: Mapping[str, tuple[Callable[[Path], object], Findings]] = {
    "nothing": (lambda _: None, []),
    "changed": (lambda folder: change(folder / PART, b"1", b"2"), [("EB512", PART)]),
    "longer": (lambda folder: change(folder / PART, b"1", b"11"), [("EB512", PART)]),
    "missing": (lambda folder: (folder / PART).unlink(), [("EB511", PART)]),
    "added": (
        lambda folder: (folder / PART).with_name("more.py").write_text(""),
        [("EB513", f"{Path(PART).parent}/more.py")],
    ),
    "added at the top": (
        lambda folder: (folder / "sitecustomize.py").write_text(""),
        [("EB513", "sitecustomize.py")],
    ),
    "mode": (lambda folder: (folder / PART).chmod(0o755), [("EB512", PART)]),
    "sums": (lambda folder: (folder / manifest.SUMS).write_text(""), [SUMS_DIFFER]),
    "no sums": (lambda folder: (folder / manifest.SUMS).unlink(), [("EB511", manifest.SUMS)]),
    "target": (
        lambda folder: change(folder / manifest.NAME, b'"2.17"', b'"2.16"'),
        [("EB515", manifest.NAME), SUMS_DIFFER],
    ),
    "row": (_change_with_its_row, [("EB515", manifest.NAME), ("EB515", manifest.NAME), SUMS_DIFFER]),
}


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("name", TAMPERED)
def test_tampered(bundle: Path, tmp_path: Path, kind: str, name: str) -> None:
    need(kind)
    edit, findings = TAMPERED[name]
    shutil.copytree(bundle, tmp_path / "original")
    edited = Path(shutil.copytree(bundle, tmp_path / "edited"))
    edit(edited)
    assert codes(repack(edited, kind, tmp_path / "out")) == findings


def _largest(path: Path) -> Path:
    return path if path.is_file() else max(path.rglob("*"), key=lambda one: one.stat().st_size)


@pytest.mark.parametrize("archive", ARCHIVES, indirect=True)
@pytest.mark.parametrize("left", [0.0, 0.3, 0.6, 0.95, -1])
def test_cut_off(archive: Path, tmp_path: Path, left: float) -> None:
    file = _largest(archive)
    size = file.stat().st_size
    os.truncate(file, size + int(left) if left < 0 else int(left * size))
    kind = reading.kind_of(archive)
    if kind is None:
        assert left == 0.0, "nothing is there that tells what it was"
        return
    for attempt in (lambda: checking.check(archive, kind=kind), lambda: open_it(archive, tmp_path)):
        with pytest.raises(InputError, match=r"cut off|is damaged") as caught:
            attempt()
        assert caught.value.hint


@pytest.mark.parametrize("archive", ARCHIVES, indirect=True)
@pytest.mark.parametrize("more", [b"x", bytes(4096), b"itself"], ids=["byte", "zeros", "itself"])
def test_something_after_the_end(archive: Path, more: bytes) -> None:
    file = _largest(archive)
    data = file.read_bytes()
    file.write_bytes(data + (data if more == b"itself" else more))
    kind = reading.kind_of(archive)
    assert kind is not None
    with pytest.raises(InputError, match=r"after its end|another size|its end is not|no end of a zip"):
        checking.check(archive, kind=kind)


@pytest.mark.parametrize("archive", ARCHIVES, indirect=True)
def test_flipped_bits(archive: Path) -> None:
    """Whatever is flipped is found or harmless, and never a bug or a hang."""
    file = _largest(archive)
    data = file.read_bytes()
    chance = random.Random(8)
    found = 0
    for _ in range(60):
        changed = bytearray(data)
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        file.write_bytes(changed)
        kind = reading.kind_of(archive)
        try:
            found += kind is None or bool(checking.check(archive, kind=kind).findings)
        except InputError:
            found += 1
    assert found > 50
