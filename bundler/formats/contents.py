"""A bundle's folder, compared with its manifest, as what is packed."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.bundle import manifest, tree
from bundler.errors import InputError, MachineError
from bundler.formats import entries
from bundler.formats.entries import BLOCK, Entry
from bundler.model import FileFact
from bundler.ontarget.checksums import sums_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from bundler.bundle.manifest import Manifest


def _unheard(count: int) -> None:
    del count


@dataclass(frozen=True, kw_only=True)
class Contents:
    """A bundle that is as it was made."""

    bundle: Path
    manifest: Manifest
    entries: tuple[Entry, ...]
    """In the order of every archive."""
    advance: Callable[[int], None] = _unheard
    """Told of the bytes of each block that was read."""

    def read(self, entry: Entry) -> Iterator[bytes]:
        """Yield the content of a file in blocks.

        :raises MachineError: it cannot be read, or has changed since it was compared.
        """
        path = entries.on_disk(self.bundle, entry.path)
        left = entry.size
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb", buffering=0) as file:
                while block := file.read(min(BLOCK, left + 1)):
                    left -= len(block)
                    if left < 0:
                        break
                    yield block
                    self.advance(len(block))
        except OSError as error:
            raise MachineError(f"{path}: {error.strerror}", hint="make it readable") from error
        if left:
            raise MachineError(f"{path} has changed while it was packed", hint="run it again")


def of(bundle: Path) -> Contents:
    """Read the manifest and compare every file with it.

    :raises InputError: no bundle, or a file is missing, changed or too many.
    :raises MachineError: a file cannot be read.
    """
    described = manifest.read(bundle)
    scanned = tree.scan(bundle)
    there = {file.path: file for file in scanned.files}
    listed = {file.path: file for file in (*described.files, *described.documents)}
    sums = sums_text([(file.path, file.sha256) for file in (*listed.values(), _row(there, manifest.NAME))])
    beside = [
        _row(there, manifest.NAME),
        FileFact(
            path=manifest.SUMS, sha256=hashlib.sha256(sums.encode()).hexdigest(), size=len(sums.encode())
        ),
    ]
    expected = {**listed, **{file.path: file for file in beside}}
    wrong = sorted(
        {path for path in there.keys() | expected.keys() if not _same(there.get(path), expected.get(path))}
        | set(scanned.irregular)
    )
    if wrong:
        raise InputError(
            f"{bundle} is not as it was made: {wrong[0]}"
            + (f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""),
            hint="`envbundle verify` says what is wrong; copy or create it again",
        )
    return Contents(
        bundle=bundle,
        manifest=described,
        entries=entries.ordered(described.files, (*described.documents, *beside)),
    )


def _row(there: dict[str, FileFact], name: str) -> FileFact:
    return FileFact(path=name, sha256=there[name].sha256, size=there[name].size)


def _same(first: FileFact | None, second: FileFact | None) -> bool:
    return (
        first is not None
        and second is not None
        and (first.sha256, first.size) == (second.sha256, second.size)
    )
