"""How a file is made of an older one: parts that are copied or corrected, and new content between them.

Two ways are tried, and the smaller one is taken: copies found by blocks, which is all that a new version
number takes, and bsdiff (C. Percival, "Naive Differences of Executable Code", 2003), which also corrects the
addresses that move in machine code.
"""

from __future__ import annotations

import bz2
import itertools
import lzma
from collections.abc import Iterable, Iterator, Sequence

import bsdiff4  # type: ignore[import-untyped]  # it has none

from bundler.lazy_dataclass import dataclass
from bundler.ontarget.delta_format import ADDED, COPIED, PLAIN

MOST_BSDIFF = 100 << 20
"""Bytes of a file for which bsdiff is tried: it takes 17 times the old file in memory (bsdiff(1))."""
SHORTEST = 32
"""Bytes of a block by which copies are found."""
MOST_BLOCKS = 1 << 20
"""Blocks of an old file that are looked up; in a larger file they are longer."""
SMALL = 1024
"""Compressed bytes of a patch than which bsdiff need not look for a smaller one."""
Instruction = tuple[int, int, int]
"""How far to move in the old file, bytes to take from there, bytes of new content behind them."""


@dataclass(frozen=True, kw_only=True)
class Patch:
    """How one file is made."""

    method: int
    """`PLAIN`, `COPIED` or `ADDED`."""
    instructions: Sequence[Instruction] = ()
    difference: bytes = b""
    """Added to what is taken from the old file, where the method is `ADDED`."""
    content: bytes

    @property
    def control(self) -> bytes:
        """The instructions as the control stream has them."""
        return b"".join(number(value) for move, *rest in self.instructions for value in (zigzag(move), *rest))


def plain(new: bytes) -> Patch:
    """Return a file as a patch of nothing."""
    return Patch(method=PLAIN, content=new)


def smallest(old: bytes, new: bytes) -> Patch:
    """Return the patch from `old` to `new` that compresses best."""
    copied = _copied(old, new)
    tried = [(_size(copied), copied)]
    if tried[0][0] > SMALL:
        tried.append((packed_size(new), plain(new)))
        if max(len(old), len(new)) <= MOST_BSDIFF:
            added = _added(old, new)
            tried.append((_size(added), added))
    return min(tried, key=lambda one: one[0])[1]


def packed_size(data: bytes) -> int:
    """Return about how many bytes data will take in a stream of a delta."""
    if not data:
        return 0
    # The dictionary is what takes the time to set up; most files are small.
    dictionary = max(4096, min(len(data), 16 << 20))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": dictionary}]
    return len(lzma.compress(data, format=lzma.FORMAT_RAW, filters=filters))


def _size(patch: Patch) -> int:
    return sum(packed_size(part) for part in (patch.control, patch.difference, patch.content))


def number(value: int) -> bytes:
    """Return a number as the control stream has it: seven bits a byte, the lowest first (LEB128)."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def zigzag(value: int) -> int:
    """Return a number whose lowest bit is the sign."""
    return -value * 2 - 1 if value < 0 else value * 2


def _added(old: bytes, new: bytes) -> Patch:
    """Take a patch of bsdiff's own format apart: its header, and three streams (bspatch(1))."""
    patch = bsdiff4.diff(old, new)
    sizes = [_signed(patch[at : at + 8]) for at in (8, 16)]
    ends = [32, 32 + sizes[0], 32 + sum(sizes), len(patch)]
    control, difference, content = (
        bz2.decompress(patch[start:end]) for start, end in itertools.pairwise(ends)
    )
    values = [_signed(control[at : at + 8]) for at in range(0, len(control), 8)]
    triples = zip(values[::3], values[1::3], values[2::3], strict=True)
    return Patch(
        method=ADDED, instructions=tuple(_moved_before(triples)), difference=difference, content=content
    )


def _signed(data: bytes) -> int:
    """Read one of bsdiff's numbers: 8 bytes, the lowest first, the highest bit is the sign."""
    value = int.from_bytes(data, "little")
    return -(value & (1 << 63) - 1) if value >> 63 else value


def _moved_before(triples: Iterable[Instruction]) -> Iterator[Instruction]:
    """Turn bsdiff's (add, insert, move) around: the move comes first, and no instruction does nothing."""
    waiting = 0
    for add, insert, move in triples:
        if add or insert:
            yield waiting, add, insert
            waiting = 0
        waiting += move


def _copied(old: bytes, new: bytes) -> Patch:
    """Find copies: blocks of the old file that stand in the new one, each made as long as it can be."""
    block = max(SHORTEST, len(old) // MOST_BLOCKS)
    # The first of equal blocks counts.
    places = {old[at : at + block]: at for at in reversed(range(0, len(old) - block + 1, block))}
    copies = list(_copies(old, new, places, block))
    instructions = []
    content = []
    end_old = 0
    # What stands before a copy belongs to the instruction before it.
    if copies and copies[0][1]:
        instructions.append((0, 0, copies[0][1]))
        content.append(new[: copies[0][1]])
    ends = [*(one[1] for one in copies[1:]), len(new)]
    for (at_old, at_new, length), following in zip(copies, ends, strict=False):
        end_new = at_new + length
        instructions.append((at_old - end_old, length, following - end_new))
        content.append(new[end_new:following])
        end_old = at_old + length
    if not copies:
        return plain(new)
    return Patch(method=COPIED, instructions=instructions, content=b"".join(content))


def _copies(old: bytes, new: bytes, places: dict[bytes, int], block: int) -> Iterator[Instruction]:
    """Yield (place in the old file, place in the new one, length), in the order of the new file."""
    start = at = 0
    shift = 0
    while at + block <= len(new):
        wanted = new[at : at + block]
        # What continues the last copy comes first: it takes the shortest instruction.
        beside = at + shift
        place = beside if beside >= 0 and old[beside : beside + block] == wanted else places.get(wanted)
        if place is None:
            at += 1
            continue
        back = 0
        while back < min(at - start, place) and old[place - back - 1] == new[at - back - 1]:
            back += 1
        length = back + _common(old, new, place, at)
        yield place - back, at - back, length
        shift = place - at
        start = at = at - back + length


def _common(old: bytes, new: bytes, place: int, at: int) -> int:
    """Return how many bytes two files have in common from two places on."""
    limit = min(len(old) - place, len(new) - at)
    length, step = 0, SHORTEST
    while length < limit and step:
        step = min(step, limit - length)
        if old[place + length : place + length + step] == new[at + length : at + length + step]:
            length += step
            step *= 2
        else:
            step //= 2
    return length
