"""A picture of sizes: rectangles whose areas are proportional to bytes, in two levels.

Squarified (Bruls, Huizing, van Wijk: Squarified Treemaps, 2000), without margins between the levels, so that
every area is true; borders are drawn over it. Positions are in the units of a viewBox.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, replace
from typing import Literal, NamedTuple

from bundler.lazy_dataclass import dataclass
from bundler.system.sizes import NO_BREAK, in_units

Kind = Literal["requested", "needed", "other"]

LETTER, BOLD = 0.6, 0.68
"""Width of a letter, in font sizes. Generous, since every reader has other fonts."""
LARGE, SMALL = 13, 11
"""Font sizes."""
NUMBER_PADDING = 3.0
NEARLY_ALL = 0.95
"""A part with more than this share of its owner gets no name of its own."""
PADDING = 6.0
WORTH_A_NAME = 3000
"""The area that a part must have to get a name."""
BORDER = 1.5
MOST = 200
"""Number of tiles of the first level where small items make up more than half."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something that has a size and may have parts."""

    label: str
    bytes: int
    title: str = ""
    """Its long name, for places with enough room; empty: the label."""
    key: str = ""
    """Fragment of the link to its row in the table; empty: it has none."""
    kind: Kind = "needed"
    count: int = 1
    """Number of items that it stands for: more than one where small items were merged."""
    parts: tuple[Item, ...] = ()


class Box(NamedTuple):
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class Text:
    """A line of text that fits its tile; the position is that of its baseline's start."""

    x: float
    y: float
    words: str
    small: bool = False
    soft: bool = False
    """It is written in a lighter colour."""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """An item with its place."""

    item: Item
    box: Box
    parts: tuple[Tile, ...] = ()
    texts: tuple[Text, ...] = ()
    number: int = 0
    """Stands in it where its whole name does not fit: the key below the picture has both. 0: it does."""

    @property
    def edge(self) -> Box:
        """Where its border is drawn: inside of it, so that no neighbour covers it."""
        box = self.box
        inset = min(BORDER / 2, box.width / 2, box.height / 2)
        return Box(box.x + inset, box.y + inset, box.width - 2 * inset, box.height - 2 * inset)


@dataclass(frozen=True, kw_only=True)
class Treemap:
    """A picture: `width` and `height` are those of its viewBox."""

    width: int
    height: int
    tiles: tuple[Tile, ...]
    total: int = field(default=0)
    """Bytes of all tiles together."""

    @property
    def numbered(self) -> tuple[Tile, ...]:
        """The tiles that have a number, in its order."""
        return tuple(tile for tile in self.tiles if tile.number)


def make(items: Sequence[Item], *, width: int, height: int, smallest: float = 900) -> Treemap:
    """Lay out items of any order; those without bytes are left out.

    :param smallest: the area below which items are put together.
    """
    total = sum(item.bytes for item in items)
    if total <= 0:
        return Treemap(width=width, height=height, tiles=())
    scale = width * height / total
    shown = _merged(items, at_least=smallest / scale)
    boxes = squarify([item.bytes * scale for item in shown], Box(0, 0, width, height))
    tiles = _numbered([_tile(item, box, smallest) for item, box in zip(shown, boxes, strict=True)])
    return Treemap(width=width, height=height, tiles=tiles, total=total)


def _merged(items: Sequence[Item], *, at_least: float) -> list[Item]:
    """Return the items sorted by size, the largest first; items below a size become one."""
    ordered = sorted((item for item in items if item.bytes > 0), key=lambda item: (-item.bytes, item.label))
    kept = [item for item in ordered if item.bytes >= at_least]
    if sum(item.bytes for item in kept) * 2 < sum(item.bytes for item in ordered):
        kept = ordered[: max(MOST, len(kept))]
    rest = ordered[len(kept) :]
    if len(rest) < 2:
        return ordered
    size = sum(item.bytes for item in rest)
    others = Item(label=f"{len(rest)} others", bytes=size, kind="other", count=len(rest))
    return sorted([*kept, others], key=lambda item: (-item.bytes, item.label))


def _tile(item: Item, box: Box, smallest: float) -> Tile:
    inner = [part for part in item.parts if part.bytes > 0]
    parts: tuple[Tile, ...] = ()
    if len(inner) > 1:
        scale = box.width * box.height / sum(part.bytes for part in inner)
        shown = _merged(inner, at_least=smallest / scale)
        boxes = squarify([part.bytes * scale for part in shown], box)
        parts = tuple(
            Tile(item=part, box=place, texts=_name_at_bottom(part, place, owner=item, whole=box))
            for part, place in zip(shown, boxes, strict=True)
        )
    return Tile(item=item, box=box, parts=parts, texts=_name_at_top(item, parts[0].box if parts else box))


def _numbered(tiles: Sequence[Tile]) -> tuple[Tile, ...]:
    """Give a number to each tile that has not its whole name, as far as the number fits."""
    done: list[Tile] = []
    number = 0
    for tile in tiles:
        texts = _with_number(tile, number + 1)
        number += bool(texts)
        done.append(replace(tile, texts=texts, number=number) if texts else tile)
    return tuple(done)


def _with_number(tile: Tile, number: int) -> tuple[Text, ...]:
    """Return the texts of a tile with a number; none where it needs no number or has no room for it."""
    letter = SMALL * (BOLD if tile.item.kind == "requested" else LETTER)
    if tile.texts:
        name, *more = tile.texts
        if not name.words.endswith("…"):
            return ()
        box = tile.parts[0].box if tile.parts else tile.box
        words = fitting(f"{number} {tile.item.label}", box.width - 2 * PADDING, size=letter)
        return (replace(name, words=words or str(number)), *more)
    words = str(number)
    wide = len(words) * letter + 2 * NUMBER_PADDING
    if tile.box.width < wide or tile.box.height < SMALL + 2 * NUMBER_PADDING:
        return ()
    x, y = tile.box.x + NUMBER_PADDING, tile.box.y + NUMBER_PADDING + SMALL - 1
    return (Text(x=x, y=y, words=words, small=True),)


def squarify(areas: Sequence[float], box: Box) -> list[Box]:
    """Cut a box into boxes of the given areas, which fill it; the largest should come first.

    Rows are laid along the shorter side of what is left, each taking boxes as long as its worst ratio of
    sides gets better by it.
    """
    boxes: list[Box] = []
    start = 0
    while start < len(areas):
        side = min(box.width, box.height)
        end, total = start + 1, areas[start]
        worst = _worst(areas[start], areas[start], total, side)
        while end < len(areas):
            grown = total + areas[end]
            ratio = _worst(areas[start], areas[end], grown, side)
            if ratio > worst:
                break
            end, total, worst = end + 1, grown, ratio
        row, box = _cut(areas[start:end], total, box)
        boxes += row
        start = end
    return boxes


def _worst(largest: float, smallest: float, total: float, side: float) -> float:
    return max(side * side * largest / (total * total), total * total / (side * side * smallest))


def _cut(areas: Sequence[float], total: float, box: Box) -> tuple[list[Box], Box]:
    """Lay a row along the shorter side of a box, and return it with what is left of the box."""
    boxes = []
    if box.width >= box.height:
        thick, at = total / box.height, box.y
        for area in areas:
            boxes.append(Box(box.x, at, thick, area / thick))
            at += area / thick
        return boxes, Box(box.x + thick, box.y, max(box.width - thick, 0), box.height)
    thick, at = total / box.width, box.x
    for area in areas:
        boxes.append(Box(at, box.y, area / thick, thick))
        at += area / thick
    return boxes, Box(box.x, box.y + thick, box.width, max(box.height - thick, 0))


def _name_at_top(item: Item, box: Box) -> tuple[Text, ...]:
    """Return the name, and below it the size, as far as there is room."""
    room = box.width - 2 * PADDING
    letter = BOLD if item.kind == "requested" else LETTER
    large = len(item.label) * LARGE * letter <= room
    name = item.label if large else fitting(item.label, room, size=SMALL * letter)
    if not name and item.kind == "other":
        name = fitting(f"+{item.count}", room, size=SMALL * letter)
    if not name or box.height < 22:
        return ()
    texts = [Text(x=box.x + PADDING, y=box.y + (17 if large else 15), words=name, small=not large)]
    amount = in_units(item.bytes, space=NO_BREAK)
    if box.height >= 38 and len(amount) * SMALL * LETTER <= room:
        texts.append(
            Text(x=box.x + PADDING, y=box.y + (32 if large else 29), words=amount, small=True, soft=True)
        )
    return tuple(texts)


def _name_at_bottom(part: Item, box: Box, *, owner: Item, whole: Box) -> tuple[Text, ...]:
    """Return the name of a part, below, where it does not cover the name of its owner."""
    first = (box.x, box.y) == (whole.x, whole.y)
    fits = len(part.label) * SMALL * LETTER <= box.width - 2 * PADDING and box.height >= (54 if first else 20)
    if not fits or box.width * box.height < WORTH_A_NAME or part.bytes > NEARLY_ALL * owner.bytes:
        return ()
    return (Text(x=box.x + PADDING, y=box.y + box.height - 7, words=part.label, small=True, soft=True),)


def fitting(words: str, width: float, *, size: float) -> str:
    """Return as much of a text as a width takes, with an ellipsis; nothing if that says too little.

    :param size: width of a letter.
    """
    letters = int(width / size)
    if len(words) <= letters:
        return words
    return f"{words[: letters - 1]}…" if letters >= 9 else ""
