"""The commands on a whole store: how much it holds, remove what is unused, remove what is damaged."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable
from pathlib import Path

from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.model import Interpreter, WheelFacts
from bundler.system.files import digest
from bundler.system.json_values import SHA256
from bundler.wheels import trees
from bundler.wheels.bytecode import Compilers
from bundler.wheels.store import DAY, FACTS, LOGS, UNREADABLE, Store, inode, is_regular, read_text, read_tree

KINDS = {
    "files": "*/*/*",
    "trees": "*/*",
    **dict.fromkeys(("built", "texts", "tools", "probes", "python", "servers", "uv"), "*"),
    LOGS: "*.log",
}
"""Folder of a store → pattern of the entries in it."""
PRUNED = ("trees", "files", "built", "texts", "servers", LOGS)


@dataclass(frozen=True, kw_only=True)
class StoreShare:
    """The entries of one kind in a store."""

    kind: str
    entries: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Verified:
    """What `verify` found."""

    damaged: tuple[str, ...]
    """What was removed, with the reasons."""
    unproved: tuple[str, ...]
    """Cache tags of the trees that were compared with their facts alone, for want of an interpreter."""


def info(store: Store) -> tuple[StoreShare, ...]:
    """Return what a store holds, by kind."""
    return tuple(
        StoreShare(kind=kind, entries=len(entries), size=sum(map(_size, entries)))
        for kind, entries in ((kind, _entries(store, kind)) for kind in KINDS)
    )


def _entries(store: Store, kind: str) -> list[Path]:
    return sorted((store.root / kind).glob(KINDS[kind]))


def prune(store: Store, *, older_than: float | None) -> StoreShare:
    """Remove wheels, trees, build notes, texts, servers and logs not used for a time; return how much.

    Nothing uses a log: its time is that of the failed build. A run that is using one of the others finds it
    missing or damaged, and makes it again; it then keeps the store until it has ended, and this waits for it.

    :param older_than: days without use; `None` removes all. Use is noted once a day.
    """
    limit = time.time() - older_than * DAY if older_than is not None else float("inf")
    entries = size = 0
    store.sweep()
    for kind, entry in [(name, one) for name in PRUNED for one in _entries(store, name)]:
        with contextlib.suppress(FileNotFoundError):
            marker = entry / FACTS if entry.is_dir() and (entry / FACTS).exists() else entry
            if marker.stat().st_mtime <= limit:
                entries += 1
                size += _size(entry)
                # No run reads a log, so none waits for it or makes it again.
                with contextlib.nullcontext() if kind == LOGS else store.taking_away():
                    store.drop(entry)
    return StoreShare(kind="pruned", entries=entries, size=size)


def verify(
    store: Store,
    interpreter_of: Callable[[str], Interpreter | None],
    progress: Callable[[int], None] = lambda _: None,
) -> Verified:
    """Hash every file and text, make every tree again from its wheel, and remove what differs.

    Trees of another envbundle, which writes other facts, are not looked at: this one uses none of them.

    :param interpreter_of: returns the interpreter of a cache tag (`cpython-38`), where this machine has it.
    :param progress: called with 1 for each file, tree or text that was read.
    """
    damaged: list[str] = []
    for path in _entries(store, "files"):
        with contextlib.suppress(FileNotFoundError):
            seen = path.lstat().st_ino
            if not is_regular(path) or digest(path) != path.parent.name:
                _take_away(store, path, seen, f"{path.name}: its content has another sha256", damaged)
        progress(1)
    unproved: list[str] = []
    ours = [one for one in _entries(store, "trees") if one.name.endswith(f".{trees.VERSION}")]
    for cache_tag, entries in itertools.groupby(sorted(ours, key=_tag), key=_tag):
        interpreter = interpreter_of(cache_tag)
        if interpreter is None:
            unproved.append(cache_tag)
        with contextlib.nullcontext() if interpreter is None else _Maker(store, interpreter) as maker:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    seen = entry.lstat().st_ino
                    wrong = _wrong_tree(store, entry, maker)
                    if wrong is not None:
                        _take_away(store, entry, seen, wrong, damaged)
                progress(1)
    for path in _entries(store, "texts"):
        with contextlib.suppress(FileNotFoundError):
            seen = path.lstat().st_ino
            if not SHA256.fullmatch(path.name) or not _is_whole(path):
                wrong = f"{path.name}: is no text of ours, or has another sha256"
                _take_away(store, path, seen, wrong, damaged)
        progress(1)
    return Verified(damaged=tuple(damaged), unproved=tuple(unproved))


def _is_whole(text: Path) -> bool:
    try:
        read_text(text)
    except FileNotFoundError:
        raise  # another run took it away
    except UNREADABLE:
        return False
    return True


def _take_away(store: Store, entry: Path, seen: int, wrong: str, damaged: list[str]) -> None:
    """Remove a damaged entry and note it, unless another run has taken it or put another in its place."""
    with store.taking_away():
        if inode(entry) == seen:
            damaged.append(wrong)
            store.drop(entry, seen=seen)


def _tag(entry: Path) -> str:
    return entry.name.partition("-")[2].rpartition(".")[0]


class _Maker:
    """Makes trees from wheels, for one interpreter, one at a time."""

    def __init__(self, store: Store, interpreter: Interpreter) -> None:
        self._store = store
        self._interpreter = interpreter
        self._compilers = Compilers(interpreter)

    def __enter__(self) -> _Maker:  # noqa: PYI034 - `Self` is of Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self._compilers.close()

    def facts(self, wheel: Path, sha256: str) -> WheelFacts | None:
        """Return the facts of a wheel and its bytecode; `None` where it has another hash.

        :raises InputError: it is malformed.
        """
        with self._store.incoming() as folder:
            ((_, facts),) = trees.make({sha256: wheel}, self._interpreter, folder, self._compilers)
        return facts


def _wrong_tree(store: Store, entry: Path, maker: _Maker | None) -> str | None:
    """Say what is wrong with a tree: in itself, and beside its wheel, whose hash is the tree's name."""
    sha256 = entry.name.partition("-")[0]
    try:
        found = read_tree(entry)
    except UNREADABLE:
        return f"{entry.name}: incomplete"
    if maker is not None:
        try:
            wheel = store.file(sha256, found.facts.filename)
            facts = maker.facts(wheel, sha256) if wheel else None
        except InputError as error:
            return f"{entry.name}: {error.message}"
        if wheel is None:
            return f"{entry.name}: its wheel is not here to compare it with"
        if facts != found.facts:
            return f"{found.facts.filename}: it is not what its wheel gives"
    for fact in found.facts.files:
        if digest(found.path / fact.path) != fact.sha256:
            return f"{found.facts.filename}: {fact.path} has another sha256"
    return None


def _size(entry: Path) -> int:
    if not entry.is_dir():
        return entry.lstat().st_size
    return sum(path.lstat().st_size for path in entry.rglob("*") if not path.is_dir())
