"""Archives: the same bytes under every condition, and what the system's tools find in them."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bundler.bundle import integrity
from bundler.errors import InputError, MachineError
from bundler.formats import oci, packing, path_for, reading, squashfs, streams, tar, unpacking
from bundler.formats import zip as zips
from bundler.formats.entries import Entry

from tests.support import machine
from tests.support.archivemaker import (
    ARCHIVES,
    describe,
    digest,
    make_archived,
    need,
    pack,
    tree,
    unpack_with_tools,
)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archived(tmp_path_factory.mktemp("bundles") / "env")


@pytest.fixture(scope="module")
def archives(bundle: Path) -> dict[str, Path]:
    kinds = [kind for kind in ARCHIVES if kind != "squashfs" or shutil.which("mksquashfs")]
    return dict(zip(kinds, pack(bundle, bundle.with_name("packed"), *kinds), strict=True))


@pytest.mark.parametrize("kind", ARCHIVES)
def test_tools_find_the_folder(archives: dict[str, Path], bundle: Path, tmp_path: Path, kind: str) -> None:
    need(kind)
    assert reading.kind_of(archives[kind]) == kind
    assert tree(unpack_with_tools(archives[kind], kind, tmp_path / "there")) == tree(bundle)


@pytest.mark.parametrize("kind", ARCHIVES)
def test_opened_and_read(archives: dict[str, Path], bundle: Path, tmp_path: Path, kind: str) -> None:
    need(kind)
    with unpacking.opened(archives[kind], scratch=tmp_path) as folder:
        assert tree(folder) == tree(bundle)
    assert list(tmp_path.iterdir()) == []
    for name in ("manifest.json", "verify.py", "SHA256SUMS"):
        assert reading.read_document(archives[kind], name) == (bundle / name).read_bytes()
    with pytest.raises(InputError, match=r"has no pylock\.toml"):
        reading.read_document(archives[kind], "pylock.toml")
    with pytest.raises(InputError, match="at most 100 are read"):
        reading.read_document(archives[kind], "manifest.json", limit=100)


def test_a_folder_is_a_format_too(bundle: Path, tmp_path: Path) -> None:
    assert reading.kind_of(bundle) == "dir"
    assert reading.read_document(bundle, "verify.py") == (bundle / "verify.py").read_bytes()
    with unpacking.opened(bundle, scratch=tmp_path) as folder:
        assert folder == bundle
    assert pack(bundle, tmp_path / "x" / "env", "dir") == []


def test_nobody_and_no_time_in_it(archives: dict[str, Path], bundle: Path) -> None:
    """The system's own listings show one owner and one time."""
    machine.need("zstd")
    for kind in ("tar.zst", "tar.gz"):
        done = subprocess.run(
            ["tar", "--full-time", "--utc", "--numeric-owner", "-tvf", archives[kind]],
            capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        words = [line.split() for line in done.stdout.splitlines()]
        assert {(word[1], word[3], word[4]) for word in words} == {("0/0", "1980-01-01", "00:00:00")}


def test_order(archives: dict[str, Path]) -> None:
    done = subprocess.run(["tar", "-tf", archives["tar.gz"]], capture_output=True, text=True, check=True)
    names = [line.rstrip("/") for line in done.stdout.splitlines()]
    assert names[:3] == ["manifest.json", "SHA256SUMS", "verify.py"]
    assert names[3:] == sorted(names[3:])


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Under which a bundle is packed once more."""

    wrap: tuple[str, ...] = ()
    """Words before the command."""
    environ: tuple[tuple[str, str], ...] = ()
    umask: int = 0o022
    root: bool = False
    """Needs root."""


CONDITIONS = {
    "umask": Condition(umask=0o077),
    "no umask": Condition(umask=0),
    "time zone": Condition(environ=(("TZ", "Pacific/Kiritimati"),)),
    "locale": Condition(
        environ=(("LANG", "C"), ("LC_ALL", "C"), ("PYTHONUTF8", "0"), ("PYTHONCOERCECLOCALE", "0"))
    ),
    "hash seed": Condition(environ=(("PYTHONHASHSEED", "7"), ("SOURCE_DATE_EPOCH", "1700000000"))),
    "one core": Condition(wrap=("taskset", "--cpu-list", "0")),
    "host name": Condition(
        wrap=("unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh"), root=True
    ),
    "date": Condition(wrap=("faketime", "-f", "2031-05-06 07:08:09")),
    "past": Condition(wrap=("faketime", "-f", "2001-02-03 04:05:06")),
}
PACK = """
import io, sys
from pathlib import Path
from bundler.formats import packing
from bundler.system.progress import Progress
bundle, output, scratch, *kinds = sys.argv[1:]
progress = Progress(stream=io.StringIO())
packing.pack(Path(bundle), kinds=kinds, output=Path(output), scratch=Path(scratch), progress=progress)
"""


def shuffled(bundle: Path, copy: Path, *, seed: int) -> Path:
    """Copy a bundle so that the disk gives its files in another order, with other times and folder modes."""
    chance = random.Random(seed)
    paths = sorted(bundle.rglob("*"))
    chance.shuffle(paths)
    for path in paths:
        there = copy / path.relative_to(bundle)
        if path.is_dir():
            there.mkdir(parents=True, exist_ok=True)
            continue
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, there)
        there.chmod(0o700 if os.access(path, os.X_OK) and path.stat().st_mode & 0o111 else 0o600)
        os.utime(there, (chance.randrange(2**31), chance.randrange(2**31)))
    for path in copy.rglob("*"):
        if path.is_dir():
            path.chmod(0o750)
            os.utime(path, (seed, seed))
    return copy


@pytest.mark.parametrize("name", CONDITIONS)
def test_same_bytes(archives: dict[str, Path], bundle: Path, tmp_path: Path, name: str) -> None:
    """Another folder, file order, times and modes on disk, each time under one more condition."""
    condition = CONDITIONS[name]
    if condition.wrap and shutil.which(condition.wrap[0]) is None:
        pytest.skip(f"no {condition.wrap[0]} on this machine")
    if condition.root and os.getuid() != 0:
        pytest.skip("only root may give a namespace another host name")
    other = shuffled(bundle, tmp_path / "another folder" / "env two", seed=len(name))
    (other / "lib" / "empty folder").mkdir()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    words = [*condition.wrap, sys.executable, "-c", PACK, other, tmp_path / "out", scratch, *archives]
    environ = {"PYTHONPATH": str(ROOT), "HOME": "/nonexistent", "PATH": os.environ["PATH"]}
    subprocess.run(
        [str(word) for word in words],
        env={**environ, **dict(condition.environ)},
        cwd="/",
        umask=condition.umask,
        check=True,
    )
    for kind, path in archives.items():
        again = path_for(tmp_path / "out", kind)
        assert digest(again) == digest(path), kind
        for one in (again, *again.rglob("*")):
            assert one.stat().st_mode & 0o777 == (0o755 if one.is_dir() else 0o644), one


PLANTED = {
    "tar.zst": (tar, "EPOCH", int(time.time())),
    "tar.gz": (streams, "GZIP_HEADER", b"\x1f\x8b\x08\0\x01\x02\x03\x04\0\xff"),
    "zip": (zips, "DATE", 46 << 9 | 5 << 5 | 6),
    "squashfs": (squashfs, "ALIKE", tuple(word for word in squashfs.ALIKE if word != "-mkfs-time")),
    "oci": (oci, "CREATED", "2026-05-06T07:08:09Z"),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_a_planted_time_is_seen(
    archives: dict[str, Path], bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The control of the tests above: they would fail if a time got in."""
    need(kind)
    module, name, value = PLANTED[kind]
    if kind == "squashfs":
        words = list(squashfs.ALIKE)
        words[words.index("-mkfs-time") + 1] = str(int(time.time()))
        value = tuple(words)
    monkeypatch.setattr(module, name, value)
    (planted,) = pack(bundle, tmp_path / "planted", kind)
    assert digest(planted) != digest(archives[kind])
    monkeypatch.undo()
    (sound,) = pack(bundle, tmp_path / "sound", kind)
    assert digest(sound) == digest(archives[kind])


@pytest.mark.parametrize("kind", ARCHIVES)
def test_another_bundle_is_other_bytes(
    archives: dict[str, Path], bundle: Path, tmp_path: Path, kind: str
) -> None:
    """One byte of one file, or one executable bit."""
    need(kind)
    for number, change in enumerate(("byte", "mode")):
        other = Path(shutil.copytree(bundle, tmp_path / str(number)))
        file = next(other.rglob("part.py"))
        if change == "byte":
            file.write_text("VALUE = 43\n")
        else:
            file.chmod(0o755)
        (packed,) = pack(describe(other, modules=["alpha"]), tmp_path / f"{number}-packed", kind)
        assert digest(packed) != digest(archives[kind])


@pytest.mark.thorough
def test_threads_change_nothing() -> None:
    chance = random.Random(3)
    blocks = [chance.randbytes(1 << 19) + bytes(1 << 19) for _ in range(18)]
    compressed = {b"".join(streams.zstd(blocks, threads=count)) for count in (1, 2, 4)}
    assert len(compressed) == 1
    pieces = {
        b"".join(data for _, data in streams.deflated(streams.pieces(None, blocks), workers=count))
        for count in (1, 2, 5)
    }
    assert len(pieces) == 1


@pytest.mark.parametrize("size", [1, 4096, 1_777_777])
def test_reads_of_any_size_change_nothing(size: int) -> None:
    data = random.Random(4).randbytes(3_000_001)
    cut = [data[at : at + size] for at in range(0, len(data), size)] if size > 1 else [data[:1], data[1:]]
    for compress in (streams.gzip, streams.zstd):
        assert b"".join(compress(cut)) == b"".join(compress([data]))


OTHER_PYTHONS = """
import hashlib, io, random, sys, types, zlib
# These interpreters lack zstandard, and nothing here uses it.
sys.modules["zstandard"] = types.ModuleType("zstandard")
from bundler.formats import streams, tar, zip as zips
from bundler.formats.entries import Entry

class Made:
    files = {
        "manifest.json": b"{}",
        "lib/gr\u00f6\u00dfe.txt": "\u65e5\u672c".encode() * 99_999,
        "lib/noise": random.Random(6).randbytes(3_000_000),
        "lib/" + "long" * 60: b"",
    }
    entries = (
        *(Entry(path=path, size=len(data), executable=not data) for path, data in files.items()),
        Entry(path="lib", folder=True),
    )
    def read(self, entry):
        yield self.files[entry.path]

zipped = io.BytesIO()
zips.write(Made(), zipped)
for data in (b"".join(tar.blocks(Made())), b"".join(streams.gzip(tar.blocks(Made()))), zipped.getvalue()):
    print(hashlib.sha256(data).hexdigest())
print(zlib.ZLIB_RUNTIME_VERSION, file=sys.stderr)
"""


def host_pythons() -> list[Path]:
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = sorted(root.glob("3.1[0-9].*/bin/python"))
    on_path = [shutil.which(f"python3.{minor}") for minor in range(10, 20)]
    return [*found, *(Path(path) for path in on_path if path and "shims" not in path), Path(sys.executable)]


@pytest.mark.thorough
def test_other_pythons_of_the_host(tmp_path: Path) -> None:
    """What Python itself has a part in (tar, gzip, zip) is the same with each that can run envbundle."""
    script = tmp_path / "script.py"
    script.write_text(OTHER_PYTHONS)
    printed: dict[str, str] = {}
    for python in host_pythons():
        done = subprocess.run(
            [str(python), str(script)],
            env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (python, done.stderr)
        if "ng" not in done.stderr:  # zlib-ng compresses otherwise, as docs/archives.md says
            printed[str(python)] = done.stdout
    assert len(printed) > 1
    assert len(set(printed.values())) == 1, printed


def test_large_zip_fields() -> None:
    """Sizes and offsets that need zip64, as the header of a member and of the directory say them."""
    huge = zips.Record(entry=Entry(path="x", size=5 << 30), compressed=5 << 30, offset=6 << 30)
    directory = huge.central()
    assert zips._record(directory, 0, Path("x"))[0] == huge
    assert len(huge.local()) == len(zips.Record(entry=huge.entry).local())


@pytest.mark.parametrize(
    ("name", "problem"), [("changed", "part.py"), ("more", "more.py"), ("less", "part.py"), ("link", "l.py")]
)
def test_a_bundle_that_was_changed_is_not_packed(
    bundle: Path, tmp_path: Path, name: str, problem: str
) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    part = next(copy.rglob("part.py"))
    if name == "changed":
        part.write_text("VALUE = 41\n")
    elif name == "more":
        (copy / "more.py").write_text("")
    elif name == "less":
        part.unlink()
    else:
        (part.parent / "l.py").symlink_to("part.py")
    with pytest.raises(InputError, match=f"not as it was made: .*{problem}"):
        pack(copy, tmp_path / "out", "tar.gz")
    assert not (tmp_path / "out.tar.gz").exists()


@pytest.mark.parametrize("kind", [kind for kind in ARCHIVES if kind != "oci"])
@pytest.mark.parametrize("later", ["changed", "as it was"])
def test_a_file_that_changes_while_it_is_packed(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, later: str
) -> None:
    """Of the same size, after names and sizes were compared: what is read is what is hashed."""
    need(kind)
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    part = next(copy.rglob("part.py"))
    content = part.read_bytes()
    write = packing._write

    def spoil(*words: Any) -> Path:
        part.write_bytes(content.swapcase())
        return write(*words)

    def look_late(folder: Path, *, contents: bool = True) -> object:
        if later == "as it was":
            part.write_bytes(content)
        return require(folder, contents=contents)

    require = integrity.require
    monkeypatch.setattr(packing, "_write", spoil)
    monkeypatch.setattr("bundler.formats.entries.integrity.require", look_late)
    error, problem = {
        "changed": (InputError, "not as it was made"),
        "as it was": (MachineError, "has changed while it was packed"),
    }[later]
    with pytest.raises(error, match=problem):
        pack(copy, tmp_path / "out", kind)
    assert not (tmp_path / f"out.{kind}").exists()


def test_a_file_that_mksquashfs_alone_finds_changed(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mksquashfs reads the files itself: they must not be touched from before it begins until it ends."""
    need("squashfs")
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    part = next(copy.rglob("part.py"))
    program = tmp_path / "program"
    program.write_text(
        f'#!/bin/sh\ncp {part} {tmp_path}/kept; echo other >{part}; {squashfs.require()} "$@"; code=$?\n'
        f"cp {tmp_path}/kept {part}; exit $code\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(squashfs, "require", lambda: str(program))
    monkeypatch.setattr("bundler.formats.entries.Contents.read_all", lambda _: None)
    with pytest.raises(MachineError, match=r"part\.py has changed while it was packed"):
        pack(copy, tmp_path / "out", "squashfs")
    assert not (tmp_path / "out.squashfs").exists()


def test_without_mksquashfs(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bundler.system.process.SYSTEM_PATH", str(tmp_path))
    with pytest.raises(MachineError, match="mksquashfs is not installed") as caught:
        pack(bundle, tmp_path / "out", "tar.gz", "squashfs")
    assert "squashfs-tools" in str(caught.value.hint)
    assert [path.name for path in tmp_path.iterdir()] == [".out-scratch"], "nothing is written before"


def test_hard_links_on_the_disk_change_nothing(
    archives: dict[str, Path], bundle: Path, tmp_path: Path
) -> None:
    """A disk that was swept for equal files, or a bundle of `--link-mode hardlink`."""
    need("squashfs")
    copy = Path(shutil.copytree(bundle, tmp_path / "copy", copy_function=os.link))
    twin = copy / "bin" / "tool"
    assert twin.stat().st_nlink > 1
    packed = pack(copy, tmp_path / "out", *archives)
    assert [digest(path) for path in packed] == [digest(path) for path in archives.values()]
