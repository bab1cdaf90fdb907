"""The command line of scripts/truth."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.errors import EnvbundleError
from bundler.system import process
from bundler.targets import interpreters

from scripts.truth_method import installing, judging, real_sets, verdict_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bundler.model import Interpreter

    from scripts.truth_method.judging import Judged, Place
    from scripts.truth_method.real_sets import RealSet

GIB = 1024**3
NICENESS = 10
PROGRAMS = ("bwrap", "debootstrap", "gcc", "ldd")
DESCRIPTION = """\
Judges envbundle by real requirement files: what it says of each, against what is true.

For each set of tests/real/sets.toml it runs `envbundle create`, and then tries what a service would do first:
it imports the main modules of the requested distributions (those that no other requested one brings) and the
module that the script of that name starts (`gunicorn`), and runs the set's first uses, each in a process of
its own, in a Debian root file system with nothing but the target's Python: bullseye (glibc 2.31) for 3.7 to
3.10, bookworm (2.36) for later ones; read-only, without a network, with no variables but PATH, HOME and
PYTHONPATH.
What is tried is the bundle, or, where envbundle refused, what the target's own pip installs into a prefix. A
set is good when all works.

  scripts/truth                     every set; what was judged with the same code is not judged again
  scripts/truth --only 'cortex-*' --jobs 2
  scripts/truth --python 3.8 --fresh         as if nothing were known of these sets

It needs root (or user namespaces), bwrap, debootstrap, gcc, a package index, and the Pythons of the sets.
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; returns 0, or 1 if a verdict is wrong, 3 if one could not be judged."""
    options = _parser().parse_args(words)
    everything = real_sets.read(options.sets)
    chosen = [one for one in everything if _wanted(one, options)]
    place = _place(options)
    if options.known:
        known = [judging.read(path) for one in chosen if (path := place.results / f"{one.id}.json").exists()]
        return _publish(known, everything, place)
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        print(f"error: not installed: {', '.join(missing)}", file=sys.stderr)
        return 3
    os.nice(NICENESS)
    with ThreadPoolExecutor(options.jobs) as pool:
        judged = [one for one in pool.map(lambda one: _judge(one, place, options), chosen) if one is not None]
    code = _publish(judged, everything, place)
    return code if len(judged) == len(chosen) else 3


def _publish(judged: Sequence[Judged], everything: Sequence[RealSet], place: Place) -> int:
    """Write the table and print it; returns the exit code."""
    sets = {one.id: one for one in everything}
    text = verdict_table.markdown(judged, sets)
    rows = [one.document() for one in judged]
    (place.results / "table.md").write_text(text, encoding="utf-8")
    (place.results / "short.md").write_text(verdict_table.short(judged, sets), encoding="utf-8")
    (place.results / "table.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(text)
    return int(any(one.judgement in verdict_table.WRONG for one in judged))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/truth", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    work = real_sets.ROOT / "build" / "truth"
    add("--only", action="append", metavar="ID", help="a set, or a pattern of sets; repeatable  [all]")
    add("--python", action="append", metavar="VERSION", help="sets of this Python; repeatable  [all]")
    add("--sets", type=Path, default=real_sets.TABLE, metavar="FILE", help="another table of sets")
    add("--jobs", type=int, default=1, metavar="N", help="sets at a time  [1]")
    add("--keep", action="store_true", help="leave bundles and prefixes in the work folder")
    add("--fresh", action="store_true", help="judge again what is judged, and what pip makes of it too")
    add(
        "--known", action="store_true", help="judge nothing: the table of what was judged, with whatever code"
    )
    add("--work", type=Path, default=work, metavar="DIR", help="store, pip's cache and trees  [build/truth]")
    add(
        "--results",
        type=Path,
        metavar="DIR",
        help="one JSON file a set, table.json, table.md, short.md  [WORK/results]",
    )
    roots = Path("~/.cache/envbundle-truth").expanduser()
    add(
        "--roots",
        type=Path,
        default=roots,
        metavar="DIR",
        help="root file systems  [~/.cache/envbundle-truth]",
    )
    add("--least-free", type=float, default=20, metavar="GIB", help="else store and cache are emptied  [20]")
    return parser


def _wanted(one: RealSet, options: argparse.Namespace) -> bool:
    named = options.only is None or any(Path(one.id).match(pattern) for pattern in options.only)
    return named and (options.python is None or one.python in options.python)


def _place(options: argparse.Namespace) -> Place:
    work: Path = options.work.resolve()
    results = (options.results or work / "results").resolve()
    for folder in (work, results):
        folder.mkdir(parents=True, exist_ok=True)
    return judging.Place(
        work=work,
        cache=options.roots.resolve(),
        results=results,
        env=_environment(),
        tool=tool_digest(real_sets.ROOT / "bundler"),
        fresh=options.fresh,
        keep=options.keep,
    )


def _environment() -> dict[str, str]:
    """The caller's, with this checkout to be imported: envbundle itself decides what its programs see."""
    return {**os.environ, "PYTHONPATH": str(real_sets.ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def tool_digest(package: Path) -> str:
    """Return a digest of the code that is judged."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def _judge(one: RealSet, place: Place, options: argparse.Namespace) -> Judged | None:
    path = place.results / f"{one.id}.json"
    if path.exists() and not options.fresh:
        known = judging.read(path)
        if (known.tool, known.digest) == (place.tool, one.digest):
            return known
    _make_room(place, least=options.least_free * GIB)
    try:
        judged = judging.judge(one, interpreter=_interpreter(one.python, place), place=place)
    except EnvbundleError as error:
        print(f"{one.id}: not judged: {error.message}", file=sys.stderr, flush=True)
        return None
    path.write_text(json.dumps(judged.document(), indent=1) + "\n", encoding="utf-8")
    took = judged.said.seconds + judged.truth.seconds
    print(
        f"{one.id}: {judged.judgement} (exit {judged.said.code}, {took:.0f} s)", file=sys.stderr, flush=True
    )
    return judged


def _interpreter(version: str, place: Place) -> Interpreter:
    return interpreters.find(
        version,
        cache_dir=place.work / "interpreters",
        managed_dir=place.work / "managed",
        allow_download=False,
        announce=lambda line: print(line, file=sys.stderr),
    )


def _make_room(place: Place, *, least: float) -> None:
    """Empty what only saves downloads, once fewer than `least` bytes are free."""
    if shutil.disk_usage(place.work).free < least:
        prune = [
            *installing.tool_words(),
            "cache",
            "prune",
            "--all",
            "--cache-dir",
            str(place.work / "store"),
        ]
        process.run(prune, env=place.env, check=False, cwd=place.work)
        shutil.rmtree(place.work / "pip-cache", ignore_errors=True)
