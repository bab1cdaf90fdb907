"""A bundle as one file or image: the same bytes for the same bundle, read as hostile input.

See docs/archives.md. `packing` writes archives; `reading` reads any of them as a stream of members;
`checking` compares these with the manifest among them; `unpacking` makes a folder of them.
"""

from __future__ import annotations

from pathlib import Path

from bundler.lazy_dataclass import dataclass
from bundler.ontarget.parcel_format import ARCHIVES

NAMES = ("dir", *ARCHIVES)


@dataclass(frozen=True, kw_only=True)
class Packed:
    """An archive of a bundle."""

    kind: str
    """One of `NAMES`."""
    path: Path
    sha256: str
    """Of the file; of an OCI layout, of its image, as a registry shows it."""
    size: int
    """Bytes; of an OCI layout, of all its files, before it is signed."""


def path_for(output: Path, kind: str) -> Path:
    """Return where an archive of the bundle `output` goes: `x/env` → `x/env.tar.zst`; `dir` is itself."""
    return output if kind == "dir" else output.with_name(f"{output.name}.{kind}")
