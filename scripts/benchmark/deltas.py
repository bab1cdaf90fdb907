"""The size of deltas between real releases, and the time to apply one: the table of docs/delta.md."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.benchmark import world

if TYPE_CHECKING:
    from collections.abc import Sequence

PAIRS = (
    ("numpy", "1.24.3", "1.24.4"),
    ("pandas", "2.0.2", "2.0.3"),
    ("scikit-learn", "1.3.1", "1.3.2"),
    ("botocore", "1.34.1", "1.34.2"),
    ("cryptography", "41.0.6", "41.0.7"),
    ("pydantic-core", "2.14.5", "2.14.6"),
)
SET, CHANGED = "M", ("numpy==1.24.4", "numpy==1.24.3")
PYTHON = "3.8"
PAGE = world.ROOT / "docs" / "delta.md"
MARKS = ("<!-- measured by scripts/deltas -->\n", "<!-- end -->\n")
ZSTD_LEVEL = 3


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One pair of bundles. Bytes, and seconds of each run."""

    name: str
    packed: int
    """tar.zst of the new bundle."""
    streams: int
    """The delta without its applier."""
    applier: int
    patch: int
    """`zstd --patch-from` on the two bundles as tar."""
    desync: int | None
    """What desync's store gets for the second tar, and its index; `None`: no desync on PATH."""
    runs: dict[str, list[float]]
    """Program → wall seconds; of the set alone."""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 3, if the machine lacks something."""
    parser = argparse.ArgumentParser(prog="scripts/deltas", description=__doc__)
    work = world.ROOT / "build" / "deltas"
    parser.add_argument(
        "--work", type=Path, default=work, metavar="DIR", help="[build/deltas]; bundles there stay"
    )
    parser.add_argument(
        "--runs", type=int, default=5, metavar="N", help="of the programs that are timed  [5]"
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="a pair, or M; repeatable  [all]")
    parser.add_argument(
        "--keep", action="store_true", help="what is measured in --work is not measured again"
    )
    parser.add_argument("--docs", action="store_true", help="write the table into docs/delta.md")
    options = parser.parse_args(words)
    try:
        found = _measure_all(options.work.resolve(), options.only, options.runs, keep=options.keep)
    except (world.UnableError, subprocess.CalledProcessError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    text = sizes(found)
    print(text + times(found))
    if options.docs:
        before, rest = PAGE.read_text(encoding="utf-8").split(MARKS[0])
        after = rest.split(MARKS[1])[1]
        PAGE.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}", encoding="utf-8")
    return 0


def _measure_all(work: Path, only: Sequence[str] | None, runs: int, *, keep: bool) -> list[Measured]:
    if not shutil.which("zstd"):
        raise world.UnableError("no zstd on PATH")
    python, _ = world.find_python(PYTHON)
    listed = (world.ROOT / "scripts" / "benchmark" / "sets" / f"{SET}-{PYTHON}.txt").read_text()
    new = [line for line in listed.splitlines() if line and not line.startswith("#")]
    old = [CHANGED[1] if line == CHANGED[0] else line for line in new]
    sides = {name: ([f"{name}=={one}"], [f"{name}=={two}"]) for name, one, two in PAIRS}
    sides[SET] = (old, new)
    found = []
    for name, both in sides.items():
        results = work / name / "measured.json"
        if only and name not in only:
            continue
        if keep and results.exists():
            found.append(Measured(**json.loads(results.read_text())))
        else:
            found.append(_measure(work / name, *both, python=python, runs=runs if name == SET else 0))
            results.write_text(json.dumps(vars(found[-1])))
    return found


def _measure(folder: Path, old: Sequence[str], new: Sequence[str], *, python: Path, runs: int) -> Measured:
    folder.mkdir(parents=True, exist_ok=True)
    for side, requirements in (("old", old), ("new", new)):
        if not (folder / side).is_dir():
            _envbundle("create", *requirements, "--python", str(python), "-o", str(folder / side), "-q")
        _envbundle("pack", str(folder / side), "--format", "tar.zst", "--force", "-q")
        packed = folder / f"{side}.tar.zst"
        subprocess.run(["zstd", "-q", "-d", "-f", packed, "-o", folder / f"{side}.tar"], check=True)
    delta = folder / "x.delta"
    _envbundle("delta", str(folder / "old"), str(folder / "new"), "-o", str(delta), "--force", "-q")
    patch = folder / "patch.zst"
    words = ["zstd", "-q", "-f", f"-{ZSTD_LEVEL}", "--long=31", f"--patch-from={folder / 'old.tar'}"]
    subprocess.run([*words, folder / "new.tar", "-o", patch], check=True)
    found = Measured(
        desync=_desync(folder),
        name=folder.name,
        packed=(folder / "new.tar.zst").stat().st_size,
        streams=sum(path.stat().st_size for path in delta.iterdir() if path.name != "apply.py"),
        applier=(delta / "apply.py").stat().st_size,
        patch=patch.stat().st_size,
        runs=_timed(folder, python, runs),
    )
    for path in (*folder.glob("*.tar"), *folder.glob("*.zst")):
        path.unlink()
    return found


def _desync(folder: Path) -> int | None:
    """Return the bytes of the new tar's chunks that the old one has not, and of the new index."""
    if not shutil.which("desync"):
        return None
    store = folder / "store"
    store.mkdir()
    sizes = []
    for side in ("old", "new"):
        made = folder / f"{side}.caibx", folder / f"{side}.tar"
        subprocess.run(["desync", "make", "-s", store, *made], check=True, capture_output=True)
        sizes.append(sum(path.stat().st_size for path in store.rglob("*") if path.is_file()))
    found = sizes[1] - sizes[0] + (folder / "new.caibx").stat().st_size
    shutil.rmtree(store)
    for path in folder.glob("*.caibx"):
        path.unlink()
    return found


def _timed(folder: Path, python: Path, runs: int) -> dict[str, list[float]]:
    """Run the programs in turn, after a warm-up."""
    made = folder / "made"
    applier: list[str | Path] = [python, "-I", folder / "x.delta" / "apply.py", folder / "old", "-o", made]
    verifier: list[str | Path] = [python, "-I", folder / "new" / "verify.py"]
    programs = {
        "verify.py": verifier,
        "apply.py --verify": [*applier, "--verify"],
        "verify.py --no-imports": [*verifier, "--no-imports"],
        "apply.py": applier,
    }
    found: dict[str, list[float]] = {name: [] for name in programs}
    for number in range(runs + 1 if runs else 0):
        for name, argv in programs.items():
            started = time.perf_counter()
            subprocess.run(argv, check=True, capture_output=True)
            if number:
                found[name].append(time.perf_counter() - started)
            shutil.rmtree(made, ignore_errors=True)
    return found


def _envbundle(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "bundler", *words], check=True, cwd=world.ROOT)


def sizes(found: Sequence[Measured]) -> str:
    """Return the sizes as Markdown."""
    versions = {name: f"{name} {old} → {new}" for name, old, new in PAIRS}
    versions[SET] = f"set {SET}, {CHANGED[1]} → {CHANGED[0]}"
    heads = ["bundles", "new, tar.zst", "desync", f"zstd -{ZSTD_LEVEL} --patch-from", "delta", "of tar.zst"]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|--:" * (len(heads) - 1) + "|"]
    lines += [
        f"| {versions[one.name]} | {one.packed:,} | {_number(one.desync)} | {one.patch:,} | {one.streams:,} |"
        f" {one.streams / one.packed:.2%} |"
        for one in found
    ]
    pairs = [one for one in found if one.name != SET]
    if len(pairs) == len(PAIRS):
        packed, patch = sum(one.packed for one in pairs), sum(one.patch for one in pairs)
        size = sum(one.streams for one in pairs)
        chunks = [one.desync for one in pairs if one.desync is not None]
        desync = _number(sum(chunks) if len(chunks) == len(pairs) else None)
        lines.append(
            f"| the six pairs | {packed:,} | {desync} | {patch:,} | {size:,} | {size / packed:.2%} |"
        )
    lines += [
        "",
        f"Bytes. The applier is in each delta besides: {found[-1].applier:,} bytes, the same in all.",
    ]
    return "\n".join(lines) + "\n"


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def times(found: Sequence[Measured]) -> str:
    """Return the seconds as Markdown. They are the file system's as much as ours: no page has them."""
    lines = []
    for one in found:
        if one.runs and one.runs["apply.py"]:
            count = len(one.runs["apply.py"])
            lines += ["", f"| on set {one.name} | median of {count}, s | fastest, s |", "|---|--:|--:|"]
            lines += [
                f"| `{name}` | {statistics.median(seconds):.2f} | {min(seconds):.2f} |"
                for name, seconds in one.runs.items()
            ]
    return "\n".join(lines)
