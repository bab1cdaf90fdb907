"""What must be there before a row is run: locks, a bundle, a night that is done. Nothing of it is timed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.benchmark import local_index, nights, ours, peers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scripts.benchmark.rows import Place, Step

    RunStep = Callable[[str, Step], None]
    """Runs a step with the caches of a peer."""

SETS = Path(__file__).with_name("sets")
GROWTH = (10, 50, 100, 200, 400)
IGNORED = re.compile(r"^# ignore: (.+)$", re.MULTILINE)
CHANGED = re.compile(r"^# changed: (?P<name>[^=]+)(?P<pin>==.+)$", re.MULTILINE)


def names() -> tuple[str, ...]:
    """Every set."""
    return (
        *("S", "M", "U", "L"),
        *(f"growth-{count}" for count in GROWTH),
        *(f"{nights.PREFIX}{count}" for count in nights.COUNTS),
    )


def requirements(chosen: str, version: str) -> tuple[str, str]:
    """Return the requirements of a set, and the same with one pin changed.

    :raises FileNotFoundError: there is no such set for this Python.
    """
    text, (kind, _, count) = _read(chosen, version), chosen.partition("-")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    if kind == "growth":
        lines = lines[: int(count)]
    plain = "".join(f"{line}\n" for line in lines)
    other = CHANGED.search(text)
    if other is None:
        return plain, plain
    changed = re.sub(
        rf"^{re.escape(other['name'])}==.+$", other["name"] + other["pin"], plain, flags=re.MULTILINE
    )
    return plain, changed


def ignored(chosen: str, version: str) -> tuple[str, ...]:
    """Return the findings that are accepted in a set, as `--ignore` takes them; they are still looked for."""
    return tuple(IGNORED.findall(_read(chosen, version)))


def _read(chosen: str, version: str) -> str:
    return (SETS / f"{chosen.partition('-')[0]}-{version}.txt").read_text(encoding="utf-8")


def write_requirements(place: Place, chosen: str) -> None:
    """Write the requirements of a set, and those with one pin changed."""
    plain, changed = requirements(chosen, place.version)
    place.changed.mkdir(parents=True, exist_ok=True)
    place.requirements.write_text(plain, encoding="utf-8")
    (place.changed / "requirements.txt").write_text(changed, encoding="utf-8")


def _lock(place: Place, folder: Path, run: RunStep) -> None:
    program = str(place.tools.envbundle / "bin" / "envbundle")
    outputs = ("-o", str(folder / "pylock.toml"), "-o", str(folder / "hashed.txt"))
    asked = ("-r", str(folder / "requirements.txt"), "--python", str(place.python))
    run("envbundle", (program, "lock", "-q", *asked, *outputs))


def locks(place: Place, run: RunStep) -> None:
    _lock(place, place.work, run)


def changed(place: Place, run: RunStep) -> None:
    _lock(place, place.changed, run)


def bundle(place: Place, run: RunStep) -> None:
    """A bundle made from the lock."""
    _renew(place, run, ours.create(place, "--lock", place.lock), ours.bundle(place))


def bare(place: Place, run: RunStep) -> None:
    """The same bundle without its bytecode."""
    del run
    target = ours.bare_bundle(place)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ours.bundle(place), target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))


def sums(place: Place, run: RunStep) -> None:
    """Its SHA256SUMS in parts of about the same number of bytes."""
    del run
    folder = ours.bundle(place)
    lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    parts = split(lines, {line: (folder / line[66:]).stat().st_size for line in lines}, ours.SUM_PROCESSES)
    for part, path in zip(parts, ours.sum_lists(place), strict=True):
        path.write_text("".join(f"{line}\n" for line in part), encoding="utf-8")


def split(lines: list[str], sizes: Mapping[str, int], count: int) -> list[list[str]]:
    """Share lines out: the largest first, each to the part that has the least."""
    parts: list[list[str]] = [[] for _ in range(count)]
    totals = [0] * count
    for line in sorted(lines, key=lambda line: (-sizes[line], line)):
        least = totals.index(min(totals))
        parts[least].append(line)
        totals[least] += sizes[line]
    return [sorted(part) for part in parts]


def nightly(place: Place, run: RunStep) -> None:
    """A night's file with one bundle, which is made."""
    _night(place, run, "nightly", "envbundle")


def nightly_local(place: Place, run: RunStep) -> None:
    """The same, asked of the benchmark's own index."""
    _night(place, run, "nightly-local", f"envbundle{local_index.ENDING}")


def _night(place: Place, run: RunStep, name: str, peer: str) -> None:
    program, file = ours.nightly(place, name)
    Path(file).parent.mkdir(exist_ok=True)
    python = f'python = "{place.full}"\n'
    ignores = f"ignore = {json.dumps(place.ignored)}\n"
    text = f'[[bundle]]\nname = "measured"\nrequirements = "../requirements.txt"\n{python}{ignores}'
    Path(file).write_text(text, encoding="utf-8")
    run(peer, (program, "rebuild", file))


def uv_environment(place: Place, run: RunStep) -> None:
    """An environment of uv's, with bytecode."""
    folder = peers.uv_environment(place)
    shutil.rmtree(folder, ignore_errors=True)
    run("uv", peers.uv_venv(place, folder))
    run("uv", peers.uv_install(place, folder, "--compile-bytecode", "-r", place.hashed))


def pip_environment(place: Place, run: RunStep) -> None:
    """An environment of virtualenv and pip."""
    folder = peers.pip_environment(place)
    shutil.rmtree(folder, ignore_errors=True)
    run("pip", peers.virtualenv(place, folder))
    run("pip", peers.pip(place, folder / "bin" / "python", "-r", place.requirements))


def _renew(place: Place, run: RunStep, step: Step, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    run("envbundle", step)
    place.out.replace(target)


MAKERS: Mapping[str, Callable[[Place, RunStep], None]] = {
    "locks": locks,
    "changed": changed,
    "bundle": bundle,
    "bare": bare,
    "sums": sums,
    "nightly": nightly,
    "nightly-local": nightly_local,
    "nights": nights.prepare,
    "uv_environment": uv_environment,
    "pip_environment": pip_environment,
}
"""Name → what makes it; in the order in which they are made."""
