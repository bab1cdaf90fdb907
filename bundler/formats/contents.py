"""A bundle's folder, compared with its manifest, as what is packed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.bundle import integrity
from bundler.errors import MachineError
from bundler.formats import entries
from bundler.formats.entries import BLOCK, Entry

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
    compared = integrity.require(bundle)
    tree_files = {file.path for file in compared.manifest.files}
    beside = [file for file in compared.files.values() if file.path not in tree_files]
    return Contents(
        bundle=bundle,
        manifest=compared.manifest,
        entries=entries.ordered(compared.manifest.files, beside),
    )
