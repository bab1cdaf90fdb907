"""The rows of a night: many bundles, of five sets of requirements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scripts.benchmark import local_index, ours, peers
from scripts.benchmark.rows import Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.benchmark.rows import Place, Step

PREFIX = "nights-"
OURS, PEER = "nights", "nights-compile"
COUNTS = (1, 10, 50, 200)
"""Bundles."""
SETS = 5


def rows(place: Place) -> tuple[Row, ...]:
    """Return the run of the night, and what resolves its sets once each."""
    program, file = ours.nightly(place, "nights")
    return (
        ours.unchanged(
            OURS,
            "`envbundle rebuild`, bundles of five sets, unchanged",
            (program, "rebuild", file),
            peer=f"envbundle{local_index.ENDING}",
            needs="nights",
            bundles=place.bundles,
        ),
        Row(
            name=PEER,
            title="`uv pip compile`, once for each of the sets, warm",
            peer=f"uv{local_index.ENDING}",
            steps=tuple(peers.uv_compile(place, one) for one in _requirements(place)),
            needs=("nights",),
            output="file",
        ),
    )


def _requirements(place: Place) -> tuple[Path, ...]:
    """The sets that this number of bundles has."""
    return tuple(place.work / "nights" / f"{one}.txt" for one in range(min(SETS, place.bundles)))


def prepare(place: Place, run: Callable[[str, Step], None]) -> None:
    """Write the file of the night, and make its bundles."""
    program, file = ours.nightly(place, "nights")
    Path(file).parent.mkdir(exist_ok=True)
    lines = place.requirements.read_text(encoding="utf-8").splitlines()
    sets = _requirements(place)
    for path, line in zip(sets, lines, strict=False):
        path.write_text("".join(f"{one}\n" for one in line.split(",")), encoding="utf-8")
    text = "".join(
        f'[[bundle]]\nname = "measured-{number}"\nrequirements = "{sets[number % len(sets)].name}"\n'
        f'python = "{place.full}"\n'
        for number in range(place.bundles)
    )
    Path(file).write_text(text, encoding="utf-8")
    run(f"envbundle{local_index.ENDING}", (program, "rebuild", "-q", file))
