"""The commands on a whole store: how much it holds, remove what is unused, remove what is damaged."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bundler.system.files import digest
from bundler.system.json_values import SHA256
from bundler.wheels.store import DAY, FACTS, Store, StoredTree

KINDS = {
    "files": "*/*/*",
    "trees": "*/*",
    "built": "*.json",
    **dict.fromkeys(("texts", "tools", "probes", "python", "servers", "uv"), "*"),
}
"""Folder of a store → pattern of the entries in it."""
PRUNED = ("trees", "files", "built", "texts", "servers")


@dataclass(frozen=True, kw_only=True)
class StoreShare:
    """The entries of one kind in a store."""

    kind: str
    entries: int
    size: int


def info(store: Store) -> tuple[StoreShare, ...]:
    """Return what a store holds, by kind."""
    return tuple(
        StoreShare(kind=kind, entries=len(entries), size=sum(map(_size, entries)))
        for kind, entries in ((kind, _entries(store, kind)) for kind in KINDS)
    )


def _entries(store: Store, kind: str) -> list[Path]:
    return sorted((store.root / kind).glob(KINDS[kind]))


def prune(store: Store, *, older_than: float | None) -> StoreShare:
    """Remove wheels, trees, build notes, texts and servers not used for a time; return how much.

    A run that is using one of them finds it missing or damaged, and makes it again; it then keeps the store
    until it has ended, and this waits for it.

    :param older_than: days without use; `None` removes all. Use is noted once a day.
    """
    limit = time.time() - older_than * DAY if older_than is not None else float("inf")
    entries = size = 0
    store.sweep()
    for entry in (one for kind in PRUNED for one in _entries(store, kind)):
        with contextlib.suppress(FileNotFoundError):
            marker = entry / FACTS if entry.is_dir() and (entry / FACTS).exists() else entry
            if marker.stat().st_mtime <= limit:
                entries += 1
                size += _size(entry)
                with store.taking_away():
                    store.drop(entry)
    return StoreShare(kind="pruned", entries=entries, size=size)


def verify(store: Store, progress: Callable[[int], None] = lambda _: None) -> tuple[str, ...]:
    """Hash every file, tree and text, remove the damaged ones, and return their names with the reasons.

    :param progress: called with 1 for each file, tree or text that was read.
    """
    damaged = []
    for path in _entries(store, "files"):
        with contextlib.suppress(FileNotFoundError):
            if digest(path) != path.parent.name:
                damaged.append(f"{path.name}: its content has another sha256")
                with store.taking_away():
                    store.drop(path)
        progress(1)
    for entry in _entries(store, "trees"):
        sha256, _, cache_tag = entry.name.partition("-")
        found = store.tree(sha256, cache_tag)
        wrong = f"{entry.name}: incomplete" if found is None else _wrong_content(found)
        if wrong is not None:
            damaged.append(wrong)
            with store.taking_away():
                store.drop(entry)
        progress(1)
    for path in _entries(store, "texts"):
        if not SHA256.fullmatch(path.name) or store.text(path.name) is None:
            damaged.append(f"{path.name}: is no text of ours, or has another sha256")
            store.drop(path)
        progress(1)
    return tuple(damaged)


def _wrong_content(tree: StoredTree) -> str | None:
    for fact in tree.facts.files:
        if digest(tree.path / fact.path) != fact.sha256:
            return f"{tree.facts.filename}: {fact.path} has another sha256"
    return None


def _size(entry: Path) -> int:
    if not entry.is_dir():
        return entry.lstat().st_size
    return sum(path.lstat().st_size for path in entry.rglob("*") if not path.is_dir())
