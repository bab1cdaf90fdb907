"""Raw deflate on every core, with the same bytes for any number of them (RFC 1951).

A stream is cut into pieces of one size; each is compressed alone, with the end of the one before as its
dictionary, and ends on a byte: so the pieces follow each other as one stream. This is what pigz does.
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from bundler.formats.entries import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Owner = TypeVar("Owner")

LEVEL = 6
WINDOW = 1 << 15
"""How far back deflate can refer."""
MOST_WORKERS = 16


@dataclass(frozen=True, kw_only=True)
class Piece(Generic[Owner]):
    """A part of one stream."""

    owner: Owner
    """What stream it is of."""
    data: bytes
    before: bytes
    """The end of the piece before."""
    last: bool


def pieces(owner: Owner, blocks: Iterable[bytes]) -> Iterator[Piece[Owner]]:
    """Cut a stream into pieces; at least one, which may be empty."""
    before = b""
    held: bytes | None = None
    for block in even(blocks):
        if held is not None:
            yield Piece(owner=owner, data=held, before=before, last=False)
            before = held[-WINDOW:]
        held = block
    yield Piece(owner=owner, data=held or b"", before=before, last=True)


def even(blocks: Iterable[bytes], size: int = BLOCK) -> Iterator[bytes]:
    """Join or cut blocks so that each but the last has the same size: how files were read must not matter."""
    held = bytearray()
    for block in blocks:
        held += block
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
    if held:
        yield bytes(held)


def compressed(
    work: Iterable[Piece[Owner]], *, workers: int | None = None
) -> Iterator[tuple[Piece[Owner], bytes]]:
    """Yield each piece with its compressed form, in order; a few pieces are in memory at a time.

    :param workers: threads; zlib lets go of the interpreter's lock.
    """
    count = workers or min(len(os.sched_getaffinity(0)), MOST_WORKERS)
    with ThreadPoolExecutor(count) as pool:
        waiting: deque[tuple[Piece[Owner], Future[bytes]]] = deque()
        for piece in work:
            waiting.append((piece, pool.submit(_deflate, piece)))
            if len(waiting) > 4 * count:
                first, result = waiting.popleft()
                yield first, result.result()
        while waiting:
            first, result = waiting.popleft()
            yield first, result.result()


def _deflate(piece: Piece[Owner]) -> bytes:
    if piece.before:
        work = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS, zdict=piece.before)
    else:
        work = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return work.compress(piece.data) + work.flush(zlib.Z_FINISH if piece.last else zlib.Z_SYNC_FLUSH)
