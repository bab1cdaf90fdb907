"""The pictures of the reports: areas that are true, chains that are the lock's, times that add up."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import pytest
from bundler.model import Artifact, Lock, LockedDistribution
from bundler.report.pages import graph, treemap
from bundler.report.pages.treemap import Item

from tests.support.reportmaker import described, dist, many

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bundler.bundle.manifest.values import ManifestDistribution


def items(*sizes: int) -> list[Item]:
    return [Item(label=f"item-{number}", bytes=size) for number, size in enumerate(sizes)]


# --- the treemap --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sizes",
    [
        (5,),
        (1, 1),
        (0, 7, 0),
        tuple([1000] * 40),
        (10**9, 1, 1, 1),
        tuple(2**number for number in range(30)),
        tuple(random.Random(5).randrange(1, 10**7) for _ in range(300)),
        tuple([3] * 700),
    ],
    ids=len,
)
def test_areas_are_proportional_and_fill_the_picture(sizes: tuple[int, ...]) -> None:
    drawn = treemap.make(items(*sizes), width=1040, height=560)
    assert drawn.total == sum(sizes) == sum(tile.item.bytes for tile in drawn.tiles)
    assert sum(tile.item.count for tile in drawn.tiles) == sum(1 for size in sizes if size)
    scale = 1040 * 560 / drawn.total
    for tile in drawn.tiles:
        x, y, width, height = tile.box
        assert width * height == pytest.approx(tile.item.bytes * scale)
        assert x >= 0
        assert y >= 0
        assert x + width <= 1040 + 1e-3
        assert y + height <= 560 + 1e-3
    for one, other in itertools.combinations(drawn.tiles, 2):
        assert not overlap(one.box, other.box)


def overlap(one: treemap.Box, other: treemap.Box) -> bool:
    return (
        min(one.x + one.width, other.x + other.width) - max(one.x, other.x) > 1e-6
        and min(one.y + one.height, other.y + other.height) - max(one.y, other.y) > 1e-6
    )


def test_overlap_can_fail() -> None:
    assert overlap(treemap.Box(0, 0, 2, 2), treemap.Box(1, 1, 2, 2))
    assert not overlap(treemap.Box(0, 0, 2, 2), treemap.Box(2, 0, 2, 2))


@pytest.mark.parametrize("sizes", [(), (0, 0)])
def test_nothing_to_draw(sizes: tuple[int, ...]) -> None:
    assert treemap.make(items(*sizes), width=10, height=10).tiles == ()


def test_small_ones_are_put_together_with_their_number() -> None:
    drawn = treemap.make(items(10**6, 2 * 10**6, *range(1, 20)), width=1000, height=500)
    assert [(tile.item.label, tile.item.bytes) for tile in drawn.tiles] == [
        ("item-1", 2 * 10**6),
        ("item-0", 10**6),
        ("19 others", sum(range(1, 20))),
    ]
    assert drawn.tiles[-1].item.count == 19
    # They stand among the others by their size: a large one at the end would lie in a sliver.
    sizes = [
        tile.item.bytes for tile in treemap.make(items(*[9] * 300, *[5000] * 3), width=99, height=99).tiles
    ]
    assert sizes == sorted(sizes, reverse=True)
    # One alone is no group, however small.
    assert [tile.item.label for tile in treemap.make(items(10**6, 1), width=1000, height=500).tiles] == [
        "item-0",
        "item-1",
    ]


def test_parts_fill_their_owner() -> None:
    owner = Item(
        label="numpy", bytes=100, parts=(Item(label="numpy.libs", bytes=60), Item(label="numpy", bytes=40))
    )
    drawn = treemap.make([owner, Item(label="b", bytes=50)], width=300, height=200)
    tile = drawn.tiles[0]
    areas = {part.item.label: part.box.width * part.box.height for part in tile.parts}
    assert areas == {"numpy.libs": pytest.approx(24_000), "numpy": pytest.approx(16_000)}
    assert not overlap(tile.parts[0].box, tile.parts[1].box)
    for part in tile.parts:
        assert part.box.x >= tile.box.x
        assert part.box.x + part.box.width <= tile.box.x + tile.box.width + 1e-9


def test_names_stay_in_their_tiles() -> None:
    drawn = treemap.make(items(*(2**number for number in range(20))), width=343, height=480, smallest=500)
    for tile in drawn.tiles:
        for text in tile.texts:
            size = treemap.SMALL if text.small else treemap.LARGE
            assert text.x + len(text.words) * size * treemap.LETTER <= tile.box.x + tile.box.width
            assert text.y < tile.box.y + tile.box.height


@pytest.mark.parametrize(("width", "height", "smallest"), [(1040, 560, 900), (343, 480, 500)])
def test_what_has_not_its_name_has_a_number_of_the_key(width: int, height: int, smallest: int) -> None:
    long = [
        Item(label=f"a-name-that-is-long-{number}", bytes=1000 + 40 * number, kind="requested")
        for number in range(40)
    ]
    drawn = treemap.make([*long, *items(60_000)], width=width, height=height, smallest=smallest)
    assert [tile.number for tile in drawn.numbered] == list(range(1, len(drawn.numbered) + 1))
    assert len(drawn.numbered) > 5
    for tile in drawn.tiles:
        shown = tile.texts[0].words if tile.texts else ""
        if tile.number:
            assert shown.split()[0] == str(tile.number)
        elif tile.item.kind != "other":
            assert shown == tile.item.label
        for text in tile.texts:
            assert text.x + len(text.words) * treemap.SMALL * treemap.LETTER <= tile.box.x + tile.box.width
            assert text.y < tile.box.y + tile.box.height


# --- the graph ------------------------------------------------------------------------------------------


CYCLE = (dist("a"), dist("b", 1, "a", "c"), dist("c", 1, "b"), dist("d", 1, "c", "d"))
LEFT = (dist("a"), dist("b", 1, "of-the-image"), dist("c", 1, "b"))


@pytest.mark.parametrize("distributions", [described().distributions, CYCLE, LEFT, many(120), ()])
def test_chains_are_those_of_the_lock(distributions: Sequence[ManifestDistribution]) -> None:
    locked = Lock(
        python_version="3.8.18",
        machine="x86_64",
        glibc=(2, 31),
        distributions=tuple(
            LockedDistribution(
                name=one.name, version=one.version, artifact=Artifact(kind="wheel", filename="", url=None),
                requested=one.requested, required_by=one.required_by,
            )
            for one in distributions
        ),
    )  # fmt: skip
    by_name = {one.name: one for one in distributions}
    found = graph.chains(distributions)
    assert found.keys() == by_name.keys()
    for name, chain in found.items():
        expected = locked.chain(name)
        if expected[0] not in by_name:  # it leads to what was left to the image
            assert chain == (name,)
            continue
        assert len(chain) == len(expected)
        assert chain[-1] == name
        assert all(parent in by_name[child].required_by for parent, child in itertools.pairwise(chain))


@pytest.mark.parametrize("distributions", [described().distributions, CYCLE, LEFT, many(400), ()])
def test_drawing_has_every_name_and_every_line(distributions: Sequence[ManifestDistribution]) -> None:
    drawing = graph.draw(distributions)
    assert sorted(node.name for node in drawing.nodes) == sorted(one.name for one in distributions)
    lines = {(line.parent, line.child) for line in drawing.lines}
    names = {one.name for one in distributions}
    assert lines == {
        (parent, one.name)
        for one in distributions
        for parent in one.required_by
        if parent in names and parent != one.name
    }
    for node in drawing.nodes:
        assert 0 <= node.x <= node.x + node.width <= drawing.width
        assert 0 < node.y < drawing.height
    assert len({(node.x, node.y) for node in drawing.nodes}) == len(drawing.nodes)
    place = {node.name: node.x for node in drawing.nodes}
    assert all(place[line.parent] < place[line.child] for line in drawing.lines if line.near)


def test_tall_columns_are_folded() -> None:
    roots = [dist(f"a-root-with-a-name-{number}") for number in range(64)]
    needed = [dist(f"needed-{number}", 1, roots[number].name) for number in range(20)]
    for distributions in ([*roots, *needed], many(300)):
        drawing = graph.draw(distributions)
        assert drawing.width <= graph.WIDEST
        assert drawing.height <= graph.ROWS[1] * graph.ROW
    # Where it is wide enough, a column is rather long: no drawing is wider than it must be.
    deep = [dist("d-0"), *(dist(f"d-{number}", 1, f"d-{number - 1}") for number in range(1, 12))]
    leaves = [dist(f"leaf-{number}", 1, "d-0") for number in range(140)]
    drawing = graph.draw([*deep, *leaves])
    assert drawing.width <= graph.WIDEST
    assert drawing.height > graph.ROWS[0] * graph.ROW
