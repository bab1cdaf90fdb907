"""Looks after a store: what it holds, what nobody uses any more, what is damaged."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.system.files import digest
from bundler.system.json_values import SHA256
from bundler.wheels.store import DAY, FACTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bundler.wheels.store import Store, StoredTree


@dataclass(frozen=True, kw_only=True)
class StoreShare:
    """How much of a store is of one kind."""

    kind: str
    entries: int
    size: int


def info(store: Store) -> tuple[StoreShare, ...]:
    """Return what a store holds, by kind."""
    kinds = {
        "files": list(store.files.glob("*/*/*")),
        "trees": list(store.trees.glob("*/*")),
        "built": list(store.built_notes.glob("*.json")),
        **{
            folder.name: list(folder.glob("*"))
            for folder in (store.texts, store.tools, store.probes, store.python, store.servers, store.uv)
        },
    }
    return tuple(
        StoreShare(kind=kind, entries=len(entries), size=sum(map(_size, entries)))
        for kind, entries in kinds.items()
    )


def prune(store: Store, *, older_than: float | None) -> StoreShare:
    """Remove wheels, trees, build notes, texts and servers not used for a time, and return how much.

    A run that is using one of them finds it damaged, and makes it again.

    :param older_than: days; `None` removes all of them. Use is noted once a day.
    """
    limit = time.time() - older_than * DAY if older_than is not None else float("inf")
    entries = size = 0
    store.sweep()
    wheels_of = (*store.trees.glob("*/*"), *store.files.glob("*/*/*"), *store.built_notes.glob("*.json"))
    for entry in (*wheels_of, *store.texts.glob("*"), *store.servers.glob("*")):
        with contextlib.suppress(FileNotFoundError):
            marker = entry / FACTS if entry.is_dir() and (entry / FACTS).exists() else entry
            if marker.stat().st_mtime <= limit:
                entries += 1
                size += _size(entry)
                store.drop(entry)
    return StoreShare(kind="pruned", entries=entries, size=size)


def verify(store: Store, progress: Callable[[int], None] = lambda _: None) -> tuple[str, ...]:
    """Hash everything again, remove what is damaged, and return its names with the reason.

    :param progress: called with 1 for each file, tree or text that was read.
    """
    damaged = []
    for path in sorted(store.files.glob("*/*/*")):
        with contextlib.suppress(FileNotFoundError):
            if digest(path) != path.parent.name:
                damaged.append(f"{path.name}: its content has another sha256")
                store.drop(path)
        progress(1)
    for entry in sorted(store.trees.glob("*/*")):
        sha256, _, cache_tag = entry.name.partition("-")
        found = store.tree(sha256, cache_tag)
        wrong = f"{entry.name}: incomplete" if found is None else _wrong_content(found)
        if wrong is not None:
            damaged.append(wrong)
            store.drop(entry)
        progress(1)
    for path in sorted(store.texts.glob("*")):
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
    """Return the bytes of a file, or of all files below a folder."""
    if not entry.is_dir():
        return entry.lstat().st_size
    return sum(path.lstat().st_size for path in entry.rglob("*") if not path.is_dir())
