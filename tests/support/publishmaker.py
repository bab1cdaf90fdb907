"""Makes proved builds to publish, and looks at what stands at a URL."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bundler.bundle import manifest
from bundler.rebuild import record as records
from bundler.rebuild.record import Archive, Record
from bundler.rebuild.shelf.remote import RemoteShelf
from bundler.system.urls.folder import Folder

from tests.support import wheelmaker
from tests.support.bundlemaker import make_bundle

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAME = "scoring-py38"


@dataclass(frozen=True, kw_only=True)
class Build:
    """A proved build in a workplace."""

    bundle: Path
    record: Record
    extras: Mapping[str, Path]

    def put(self, url: str, **options: Any) -> list[int]:
        """Send it, and return the sizes of the files that went."""
        sent: list[int] = []
        shelf = RemoteShelf(url, NAME, **{"progress": sent.append, **options})
        shelf.put(self.bundle, self.record, self.extras)
        return sent

    def names(self) -> set[str]:
        """What belongs to it below `builds/`."""
        top = self.record.build
        names = {f"{top}/{path.relative_to(self.bundle)}" for path in files(self.bundle)}
        for name, path in self.extras.items():
            names |= {f"{name}/{one.relative_to(path)}" for one in files(path)} if path.is_dir() else {name}
        return names


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def make(folder: Path, *, version: str = "1.0", made: str = "2026-01-01", oci: bool = False) -> Build:
    folder.mkdir(parents=True)
    content = {"alpha/__init__.py": f"VERSION = {version!r}\n", "alpha/data.txt": "x" * 5000}
    bundle = make_bundle(folder / "bundle", wheelmaker.make_wheel(folder, "alpha", version, content))
    document = json.loads((bundle / manifest.NAME).read_text())
    build = records.identity(document["manifest_digest"])
    archive = folder / "archive"
    archive.write_bytes(f"archive of {version}".encode() * 100)
    extras = {f"{build}.tar.gz": archive, f"{build}.html": archive}
    archives = [Archive(kind="tar.gz", name=f"{build}.tar.gz", sha256=wheelmaker.sha256(archive), size=1400)]
    if oci:
        (folder / "oci" / "blobs").mkdir(parents=True)
        for name in ("index.json", "blobs/one", "blobs/two"):
            (folder / "oci" / name).write_text(name)
        extras[f"{build}.oci"] = folder / "oci"
    record = Record(
        name=NAME,
        build=build,
        input="1" * 64,
        lock="2" * 64,
        tool="0",
        made=made,
        digest=document["digest"],
        manifest_digest=document["manifest_digest"],
        size=1,
        files=1,
        archives=tuple(archives),
    )
    return Build(bundle=bundle, record=record, extras=extras)


def current(url: str) -> Record | None:
    return RemoteShelf(url, NAME).current()


def damage(url: str, record: Record, *, full: bool = False) -> str:
    return RemoteShelf(url, NAME).damage(record, full=full)


def below(url: str) -> dict[str, str]:
    """Everything at the place of the job, with its version."""
    return {name: stat.version for name, stat in Folder(url).subfolder(NAME).listing().items()}
