"""The applier of deltas: in the image's Python, on hostile deltas, and killed."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.errors import InputError
from bundler.formats.delta import apply as apply_delta
from bundler.ontarget import apply, new_bundle
from bundler.ontarget.delta_format import LackingError, UnusableDeltaError, add, read_delta

from tests.support.archivemaker import make_archived, tree
from tests.support.deltamaker import (
    NOISE,
    describe,
    forged,
    move,
    two,
    unpacked,
    with_manifest,
    write_delta,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SITE = "lib/python3.8/site-packages"


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An old and a new bundle, which no test changes."""
    return two(tmp_path_factory.mktemp("sides"))


@pytest.fixture(scope="module")
def old(sides: tuple[Path, Path]) -> Path:
    return sides[0]


@pytest.fixture(scope="module")
def new(sides: tuple[Path, Path]) -> Path:
    return sides[1]


@pytest.fixture(scope="module")
def delta(sides: tuple[Path, Path]) -> Path:
    """The delta between the two."""
    return write_delta(sides[0].with_name("x.delta"), *sides)[0]


def run(python: Path, delta: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a delta's own applier."""
    argv: list[str | Path] = [python, delta / "apply.py", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, cwd=delta.parent)


def applied(old: Path, delta: Path, output: Path) -> int:
    """Apply a delta in this process."""
    return apply.apply(str(old), [read_delta(str(delta))], str(output))


@pytest.mark.parametrize("compression", ["xz", "zlib"])
def test_the_result_is_the_new_bundle_to_the_byte(
    target_python: Path, sides: tuple[Path, Path], tmp_path: Path, compression: str
) -> None:
    delta, _ = write_delta(tmp_path / "x.delta", *sides, compression=compression)
    done = run(target_python, delta, sides[0], "-o", tmp_path / "got", "--json")
    assert done.returncode == 0, done.stderr
    assert tree(tmp_path / "got") == tree(sides[1])
    digest = hashlib.sha256((sides[1] / "manifest.json").read_bytes()).hexdigest()
    described = json.loads(done.stdout)
    assert (described["manifest_sha256"], described["files"]) == (digest, len(files(sides[1])))
    verified: list[str | Path] = [target_python, tmp_path / "got" / "verify.py", "--no-imports"]
    assert subprocess.run(verified, capture_output=True, check=False).returncode == 0
    assert files(tmp_path) == files(tmp_path / "got", "got/") | files(delta, "x.delta/")


def files(folder: Path, prefix: str = "") -> set[str]:
    return {prefix + str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_what_is_there_already_is_left(old: Path, delta: Path, tmp_path: Path, python37: Path) -> None:
    assert applied(old, delta, tmp_path / "got") > 0
    done = run(python37, delta, old, "-o", tmp_path / "got")
    assert (done.returncode, done.stdout) == (0, "ok: was there already, whole\n")
    (tmp_path / "got" / SITE / "alpha" / "kept.bin").write_bytes(NOISE[:-1] + b"x")
    done = run(python37, delta, old, "-o", tmp_path / "got")
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, f"error: {tmp_path / 'got'} exists")
    assert (tmp_path / "got").is_dir()


def test_the_wrong_base_is_refused_by_name(new: Path, delta: Path, tmp_path: Path, python37: Path) -> None:
    done = run(python37, delta, new, "-o", tmp_path / "got")
    assert done.returncode == 2
    assert f"error: {new} is not what {delta} was made for" in done.stderr
    assert "wanted is old (" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_python_without_lzma_is_told_what_to_do(
    old: Path, delta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lzma", None)
    with pytest.raises(LackingError, match="--compression zlib"):
        applied(old, delta, tmp_path / "got")
    assert list(tmp_path.iterdir()) == []


def test_verify_lets_the_new_bundle_be_there_only_if_it_works(
    old: Path, tmp_path: Path, python37: Path, python38: Path
) -> None:
    good = make_archived(tmp_path / "good", files={"alpha/__init__.py": "import json\n"})
    bad = make_archived(tmp_path / "bad", files={"alpha/__init__.py": "import gone_from_here\n"})
    delta, _ = write_delta(tmp_path / "good.delta", old, good)
    got = tmp_path / "got"
    done = run(python37, delta, old, "-o", got, "--verify")
    assert (done.returncode, got.exists()) == (2, False)
    assert "the new bundle does not work here: the bundle is for cpython 3.8" in done.stderr
    for first in ("{} files, each with the hash of the new manifest", "was there already, whole"):
        done = run(python38, delta, old, "-o", got, "--verify")
        said = f"ok: {first.format(len(files(good)))}; target and imports verified\n"
        assert (done.returncode, done.stdout) == (0, said)
    assert tree(got) == tree(good), "the verifier wrote into the bundle"
    delta, _ = write_delta(tmp_path / "bad.delta", old, bad)
    done = run(python38, delta, old, "-o", tmp_path / "none", "--verify", "--json")
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["exit_code"], (tmp_path / "none").exists()) == (1, 1, False)
    assert "the new bundle does not work here: EB201 alpha: " in error["message"]
    assert "gone_from_here" in error["message"]
    assert not list(tmp_path.glob(".*"))


def test_a_verifier_of_before_compares_the_files_again(tmp_path: Path) -> None:
    (tmp_path / "verify.py").write_text(
        "class UnusableError(Exception): pass\n"
        "def verify(bundle, imports, folder=''):\n    skipped = []\n    return {'findings': skipped}\n"
    )
    apply.require_working(str(tmp_path))


@pytest.mark.parametrize("changed", ["alpha/kept.bin", "alpha/_native.so"])
def test_a_damaged_base_is_named(old: Path, delta: Path, tmp_path: Path, changed: str) -> None:
    base = Path(shutil.copytree(old, tmp_path / "base"))
    path = base / SITE / changed
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(UnusableDeltaError, match=rf"base/{SITE}/{changed} is not as its manifest says"):
        applied(base, delta, tmp_path / "got")
    path.unlink()
    path.symlink_to(old / SITE / changed)
    with pytest.raises(UnusableDeltaError, match=changed):
        applied(base, delta, tmp_path / "got")
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def cut(path: Path, name: str, count: int = 1) -> None:
    file = path / name
    file.write_bytes(file.read_bytes()[:-count])


def replaced(path: Path, old: bytes, new: bytes) -> None:
    data = (path / "delta.json").read_bytes()
    assert old in data
    (path / "delta.json").write_bytes(data.replace(old, new, 1))


def linked(path: Path) -> None:
    (path / "0.content.xz").rename(path.with_name("elsewhere"))
    (path / "0.content.xz").symlink_to(path.with_name("elsewhere"))


def truncated_but_described(path: Path) -> None:
    cut(path, "0.content.xz", 40)
    describe(path)


def large_dictionary(path: Path) -> None:
    """An xz block that asks for a dictionary of 4 GiB."""
    data = bytearray((path / "0.content.xz").read_bytes())
    size = (data[12] + 1) * 4
    data[16] = 40
    data[12 + size - 4 : 12 + size] = zlib.crc32(data[12 : 12 + size - 4]).to_bytes(4, "little")
    (path / "0.content.xz").write_bytes(data)
    describe(path)


def appended(path: Path) -> None:
    with (path / "0.content.xz").open("ab") as file:
        file.write(lzma.compress(b"more"))
    describe(path)


DAMAGED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no description": (lambda path: (path / "delta.json").unlink(), "No such file"),
    "cut description": (lambda path: cut(path, "delta.json", 9), "is damaged"),
    "other kind": (lambda path: replaced(path, b"envbundle-delta", b"envbundle-other"), "is not the desc"),
    "newer schema": (lambda path: replaced(path, b'"1.0"', b'"2.0"'), "schema version"),
    "other compression": (lambda path: replaced(path, b'"xz"', b'"rar"'), "is damaged"),
    "negative size": (lambda path: replaced(path, b'"size": ', b'"size": -'), "is damaged"),
    "huge size": (lambda path: replaced(path, b'"size": ', b'"size": 99999999999'), "is damaged"),
    "no bases": (lambda path: replaced(path, b'"bases": [', b'"bases": [], "old": ['), "is damaged"),
    "huge manifest": (lambda path: replaced(path, b'st_size": ', b'st_size": 99999'), "is damaged"),
    "deep description": (
        lambda path: (path / "delta.json").write_bytes(b"[" * 5000 + b"]" * 5000), "is damaged",
    ),
    "large description": (
        lambda path: (path / "delta.json").write_bytes(b" " * 2_000_000), "is larger than",
    ),
    "no stream": (lambda path: (path / "0.control.xz").unlink(), "0.control.xz: No such file"),
    "cut stream": (lambda path: cut(path, "0.content.xz"), "0.content.xz has .* bytes, and delta.json says"),
    "linked stream": (linked, "0.content.xz: is a symlink"),
    "cut stream, described": (truncated_but_described, "0.content.xz (ends too early|cannot be decomp)"),
    "stream goes on": (appended, "0.content.xz goes on where it must end"),
    "dictionary": (large_dictionary, "0.content.xz cannot be decompressed: Memory usage limit"),
    "other result": (
        lambda path: describe(path, result={"name": "x", "manifest_sha256": "0" * 64, "manifest_size": 9}),
        "'manifest.json'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_delta_is_refused(old: Path, delta: Path, tmp_path: Path, case: str) -> None:
    path = Path(shutil.copytree(delta, tmp_path / "x.delta"))
    damage, said = DAMAGED[case]
    damage(path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UnusableDeltaError, match=said):
        applied(old, path, tmp_path / "got")
    assert sorted(tmp_path.iterdir()) == before


def bomb(path: Path) -> None:
    """8 MB of zeros behind the end of a stream."""
    content = unpacked(path, "content") + bytes(8 << 20)
    (path / "0.content.xz").write_bytes(lzma.compress(content, preset=0))
    describe(path)


def outside(path: Path) -> None:
    made = with_manifest(path, path.with_name("made"), [("../outside", b"x")])
    shutil.rmtree(path)
    made.rename(path)


FORGED: dict[str, tuple[Callable[[Path], object], str]] = {
    **DAMAGED,
    "a bomb": (bomb, "0.content.xz goes on where it must end"),
    "writes outside": (outside, "'../outside' leaves the bundle"),
    "wrong base": (lambda _: None, "base is not what .* was made for: its manifest.json has the sha256"),
    "wrong digest": (
        lambda path: (path / "0.content.xz").write_bytes(bytes((path / "0.content.xz").stat().st_size)),
        "0.content.xz is not as delta.json says",
    ),
}
DRIVER = """
import io, json, runpy, sys
apply = runpy.run_path(sys.argv[1], run_name="apply")
answers = {}
for name, words in json.load(sys.stdin).items():
    kept, sys.stderr = sys.stderr, io.StringIO()
    code = apply["main"](words)
    text, sys.stderr = sys.stderr.getvalue(), kept
    answers[name] = [code, text]
print(json.dumps(answers))
"""


def test_the_image_and_the_builder_name_alike_what_is_forged(
    sides: tuple[Path, Path], delta: Path, tmp_path: Path, target_python: Path
) -> None:
    """All in one process of the image's Python, each case as if the program were started anew."""
    words = {}
    for number, (case, (forge, _)) in enumerate(FORGED.items()):
        folder = tmp_path / str(number)
        forge(Path(shutil.copytree(delta, folder / "x.delta")))
        base = sides[1] if case == "wrong base" else sides[0]
        (folder / "base").symlink_to(base)
        words[case] = [str(folder / "base"), str(folder / "x.delta"), "-o", str(folder / "got")]
    argv: list[str | Path] = [target_python, "-I", "-c", DRIVER, delta / "apply.py"]
    done = subprocess.run(argv, input=json.dumps(words), capture_output=True, check=True, text=True)
    answers = json.loads(done.stdout)
    for case, (_, says) in FORGED.items():
        old, path, _, output = words[case]
        code, said = answers[case]
        said_of = says.replace("base is", f"{Path(old).resolve().name} is")
        assert code == 2, case
        assert re.search(said_of, said), said
        with pytest.raises(InputError, match=said_of):
            apply_delta(Path(old).resolve(), [Path(path)], output=Path(output))
        assert not os.path.lexists(output)


def test_a_changed_byte_is_refused(old: Path, delta: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(delta, tmp_path / "x.delta"))
    for name in ("control", "difference", "content"):
        file = path / f"0.{name}.xz"
        data = file.read_bytes()
        file.write_bytes(data[:20] + bytes([data[20] ^ 1]) + data[21:])
        with pytest.raises(UnusableDeltaError, match=f"0.{name}.xz is not as delta.json says"):
            applied(old, path, tmp_path / "got")
        file.write_bytes(data)
    assert applied(old, path, tmp_path / "got") > 0


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("../outside", b"x")], "'../outside' leaves the bundle"),
        ([("/tmp/outside", b"x")], "leaves the bundle"),
        ([("a/../../b", b"x")], "leaves the bundle"),
        ([("a//b", b"x")], "leaves the bundle"),
        ([("a/./b", b"x")], "leaves the bundle"),
        ([("a\0b", b"x")], "leaves the bundle"),
        ([("", b"x")], "leaves the bundle"),
        ([("a/" * 1500 + "b", b"x")], "is too long for a path"),
        ([("a" * 300, b"x")], "is too long for a path"),
        ([("a", b"x"), ("a", b"x")], "lists 'a' twice"),
        ([("a", b"x"), ("a/b", b"x")], "'a' is a file and a folder"),
        ([("manifest.json", b"x")], "lists 'manifest.json' twice"),
        ([("SHA256SUMS", b"x")], "lists 'SHA256SUMS' twice"),
        ([("SHA256SUMS/a", b"x")], "is a file and a folder"),
    ],
)
def test_what_writes_outside_is_refused(
    old: Path, delta: Path, tmp_path: Path, rows: list[tuple[str, bytes]], said: str
) -> None:
    path = with_manifest(delta, tmp_path / "x.delta", rows)
    with pytest.raises(UnusableDeltaError, match=said):
        applied(old, path, tmp_path / "got")
    assert [path.name for path in tmp_path.iterdir()] == ["x.delta"]


GOOD = b"0123456789"


@pytest.mark.parametrize(
    ("control", "said"),
    [
        ((1, 1, move(0), 1 << 60, 0), "is longer than it says"),
        ((1, 1, move(1 << 50), 10, 0), "reads beyond its base"),
        ((1, 1, move(-1), 10, 0), "reads beyond its base"),
        ((1, 1, move(0), 0, 0), "has no end"),
        ((1, 1, move(0), 5, 6), "is longer than it says"),
        ((1, 9999, move(0), 10, 0), "in a way that is unknown"),
        ((1, 0, move(0), 10, 0), "of a file that is not there"),
        ((3, 0), "in a way that is unknown"),
        ((0, 1), "in a way that is unknown"),
        ((1, 1, 1 << 80), "has a number of more than 63 bits"),
        ((2, 1, move(0), 10, 0), "0.difference.xz ends too early"),
        ((1, 1, move(0), 10), "0.control.xz ends too early"),
        ((1, 1, move(0), 10, 0), "gives 'a' another content than it says"),
        ((0, 0, 0), "0.control.xz goes on where it must end"),
        ((), "0.control.xz goes on where it must end"),
    ],
)
def test_instructions_that_no_builder_writes_are_refused(
    old: Path, delta: Path, tmp_path: Path, control: tuple[int, ...], said: str
) -> None:
    path = with_manifest(delta, tmp_path / "x.delta", [("a", GOOD)], *(control or (0, 0, 0, 0)))
    with pytest.raises(UnusableDeltaError, match=said):
        applied(old, path, tmp_path / "got")
    assert [path.name for path in tmp_path.iterdir()] == ["x.delta"]


def test_the_same_instructions_made_right_are_applied(old: Path, delta: Path, tmp_path: Path) -> None:
    path = with_manifest(delta, tmp_path / "x.delta", [("a/b", GOOD), ("c", b"")], 0, 0, 0, 0)
    assert applied(old, path, tmp_path / "got") == 4
    assert (tmp_path / "got" / "a" / "b").read_bytes() == GOOD


def test_a_manifest_that_does_not_fit_its_digest_is_refused(old: Path, delta: Path, tmp_path: Path) -> None:
    path = with_manifest(delta, tmp_path / "x.delta", [("a", GOOD)])
    manifest = unpacked(path, "content")[: -len(GOOD)].replace(b'["a"', b'["b"')
    forged(path, tmp_path / "y.delta", content=manifest + GOOD)
    sha256 = hashlib.sha256(manifest).hexdigest()
    result = {"name": "x", "manifest_sha256": sha256, "manifest_size": len(manifest)}
    describe(tmp_path / "y.delta", result=result)
    with pytest.raises(UnusableDeltaError, match="does not fit its own digest"):
        applied(old, tmp_path / "y.delta", tmp_path / "got")


def test_more_than_the_disk_holds_is_refused(old: Path, delta: Path, tmp_path: Path) -> None:
    path = with_manifest(delta, tmp_path / "x.delta", [("a", GOOD)])
    manifest = json.loads(unpacked(path, "content")[: -len(GOOD)])
    manifest["files"][0][2] = 1 << 60
    manifest["digest"] = apply_digest(manifest)
    rest = {key: value for key, value in manifest.items() if key != "manifest_digest"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    manifest["manifest_digest"] = hashlib.sha256(canonical.encode()).hexdigest()
    data = json.dumps(manifest).encode()
    forged(path, tmp_path / "y.delta", content=data + GOOD)
    result = {"name": "x", "manifest_sha256": hashlib.sha256(data).hexdigest(), "manifest_size": len(data)}
    describe(tmp_path / "y.delta", result=result)
    with pytest.raises(LackingError, match="there is room for"):
        applied(old, tmp_path / "y.delta", tmp_path / "got")
    assert not (tmp_path / "got").exists()


def apply_digest(manifest: dict[str, list[list[str]]]) -> str:
    path, sha256, size, mode = manifest["files"][0]
    return hashlib.sha256(f"{path}\0{mode}\0{size}\0{sha256}\n".encode()).hexdigest()


@pytest.mark.thorough
def test_a_decompression_bomb_takes_no_memory(
    sides: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        new_bundle, "MOST_MANIFEST", 1 << 20
    )  # a buffer of its size is allocated, if never filled
    delta, _ = write_delta(tmp_path / "x.delta", *sides, compression="zlib")
    for name in ("control", "difference", "content"):
        path = forged(delta, tmp_path / name, **{name: unpacked(delta, name) + bytes(48 << 20)})
        tracemalloc.start()
        with pytest.raises(UnusableDeltaError, match=f"0.{name}.zz goes on where it must end"):
            applied(sides[0], path, tmp_path / "got")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 << 20


def test_the_disk_has_it_before_its_name(
    old: Path, delta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only its own file system is waited for; all of them where this Python cannot say which."""
    waited = []
    monkeypatch.setattr(os, "sync", lambda: waited.append((tmp_path / "got").exists()))
    assert applied(old, delta, tmp_path / "got") > 0
    assert waited == []
    shutil.rmtree(tmp_path / "got")
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert applied(old, delta, tmp_path / "got") > 0
    assert waited == [False]


def test_leftovers_go_and_a_run_at_work_is_respected(old: Path, delta: Path, tmp_path: Path) -> None:
    left = tmp_path / ".got.envbundle"
    (left / "bundle" / "lib").mkdir(parents=True)
    (left / "link").symlink_to(old)
    assert applied(old, delta, tmp_path / "got") > 0
    assert not left.exists()
    assert old.is_dir()
    with (
        new_bundle.workplace(str(tmp_path / "other")),
        pytest.raises(UnusableDeltaError, match="another run is making"),
    ):
        applied(old, delta, tmp_path / "other")


def test_addition_is_that_of_bytes() -> None:
    chance = random.Random(3)
    for size in (0, 1, 2, 3, 255, 1000, 65_535):
        one, other = chance.randbytes(size), chance.randbytes(size)
        assert add(one, other) == bytes((a + b) & 255 for a, b in zip(one, other, strict=True))
    assert add(b"\xff\xff", b"\x01\x01") == b"\0\0"


@pytest.mark.thorough
def test_killed_at_any_moment_it_leaves_no_half_bundle(
    sides: tuple[Path, Path], delta: Path, tmp_path: Path, python38: Path
) -> None:
    wanted = tree(sides[1])
    output = tmp_path / "got"
    argv: list[str | Path] = [python38, delta / "apply.py", sides[0], "-o", output]
    started = time.monotonic()
    subprocess.run(argv, check=True, capture_output=True)
    whole = time.monotonic() - started
    shutil.rmtree(output)
    killed = 0
    for number in range(int(os.environ.get("KILLS", "20"))):
        running = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(whole * ((number * 7) % 20) / 20)
        running.kill()
        killed += running.wait() == -signal.SIGKILL
        if output.exists():
            assert tree(output) == wanted
            shutil.rmtree(output)
    assert killed > 5
    subprocess.run(argv, check=True, capture_output=True)
    assert tree(output) == wanted
    assert [path.name for path in tmp_path.iterdir()] == ["got"]


def test_a_fifo_in_a_base_is_refused_at_once(old: Path, delta: Path, tmp_path: Path, python38: Path) -> None:
    base = Path(shutil.copytree(old, tmp_path / "base"))
    path = base / SITE / "alpha" / "kept.bin"
    path.unlink()
    os.mkfifo(path)
    done = run(python38, delta, base, "-o", tmp_path / "got")
    assert (done.returncode, "kept.bin is not as its manifest says" in done.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["base"]
