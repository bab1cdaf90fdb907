"""Makes shelves with small signed builds, parcels of them, and parcels that nobody may load."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from bundler.bundle import manifest as manifests
from bundler.bundle import signing
from bundler.ontarget import load
from bundler.ontarget.signatures import FOLDER_ENDING, Rules, read_rules
from bundler.rebuild import parcel, wholeness
from bundler.rebuild import record as records
from bundler.rebuild.parcel import Saved, SaveRequest
from bundler.rebuild.record import Record
from bundler.rebuild.shelf.local import LocalShelf
from bundler.system.progress import Progress

from tests.support import deltamaker
from tests.support.archivemaker import make_archived
from tests.support.machine import need

if TYPE_CHECKING:
    from pathlib import Path

NAME = "scoring-py38"
BUNDLES: dict[int, dict[str, str | bytes]] = {1: deltamaker.OLD, 2: deltamaker.NEW}


def contents(number: int) -> dict[str, str | bytes]:
    """The files of the build with a number; from 3 on they differ in one file."""
    return BUNDLES.get(number) or {**deltamaker.NEW, "alpha/__init__.py": f"VERSION = {number}\n"}


def make_key(path: Path) -> Path:
    """Make an SSH key; its public half is beside it."""
    need("ssh-keygen")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def rules_of(*keys: Path, not_older_than: str = "") -> Rules:
    """Demand the signature of one of some keys."""
    found = read_rules(
        [path.with_name(f"{path.name}.pub").read_text() for path in keys], [], [], "", not_older_than
    )
    assert found is not None
    return found


def put(
    shelf: Path, number: int, *, name: str = NAME, night: int | None = None, key: Path | None = None
) -> Record:
    """Make the build with a number, and put it on a shelf as `rebuild` does.

    :param night: when: the day of a month, and the counter of its signature.
    """
    night = number if night is None else night
    local = LocalShelf(shelf / name)
    with local.workplace() as work:
        bundle = make_archived(work / "bundle", files=contents(number))
        described = manifests.read(bundle)
        digest = wholeness.manifest_digest(bundle)
        assert digest is not None
        build = records.identity(digest)
        extras = {f"{build}.html": work / "page"}
        (work / "page").write_text(f"a report of the night {night}")
        if key is not None:
            extras[f"{build}{FOLDER_ENDING}"] = work / "signed"
            sign(bundle, work / "signed", key, name=name, counter=night)
        record = Record(
            name=name, build=build, input="1" * 64, lock="2" * 64, tool="0",
            made=f"2026-01-{night:02}T00:00:00.000000+00:00", digest=described.digest, manifest_digest=digest,
            size=sum(one.size for one in described.files), files=len(described.files),
        )  # fmt: skip
        local.put(bundle, record, extras)
    return record


def sign(bundle: Path, folder: Path, key: Path, *, name: str, counter: int) -> None:
    """Sign a bundle as the build of a night."""
    request = signing.SigningRequest(
        manifest=(bundle / manifests.NAME).read_bytes(),
        name=name,
        key=key,
        signed_on=datetime(2026, 1, counter, tzinfo=timezone.utc),
        counter=counter,
        environ=os.environ,
    )
    signing.sign(request, folder)


def save(shelf: Path, output: Path, **options: Any) -> Saved:
    """Save a parcel."""
    given = {
        "since": None, "everything": False, "part_size": 20_000, "compression": "xz", "force": False,
        **options,
    }  # fmt: skip
    request = SaveRequest(shelf=shelf, output=output, **given)
    return parcel.save(request, progress=Progress(stream=io.StringIO()))


def loaded(
    parcel: Path, shelf: Path, rules: Rules | None = None, *, allow_rollback: bool = False
) -> dict[str, Any]:
    """Load a parcel in this process, and write the receipt."""
    result = load.load_parcel(str(parcel), str(shelf), rules, allow_rollback, lambda _: None)
    load.write_receipt(str(shelf / "receipt.json"), str(shelf))
    return result


@dataclass(frozen=True, kw_only=True)
class Forger:
    """Takes a parcel apart, and puts it together again with other content, whose hashes the index has."""

    folder: Path
    index: dict[str, Any]
    contents: list[dict[str, bytes]]
    """Of each build, its files."""

    def write(self, part_size: int | None = None) -> None:
        """Write parts and index anew."""
        for path in self.folder.glob("*.part"):
            path.unlink()
        for build, files in zip(self.index["builds"], self.contents, strict=True):
            build["files"] = [
                [name, len(data), hashlib.sha256(data).hexdigest()] for name, data in sorted(files.items())
            ]
        stream = b"".join(data for files in self.contents for _, data in sorted(files.items()))
        size = part_size or self.index["part_size"]
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        self.index["part_size"] = size
        self.index["parts"] = [
            {"name": f"{number:05d}.part", "size": len(piece), "sha256": hashlib.sha256(piece).hexdigest()}
            for number, piece in enumerate(pieces, 1)
        ]
        for part, piece in zip(self.index["parts"], pieces, strict=True):
            (self.folder / part["name"]).write_bytes(piece)
        self.write_index()

    def write_index(self) -> None:
        """Write the index alone."""
        (self.folder / "parcel.json").write_text(json.dumps(self.index))


def take_apart(parcel: Path, to: Path) -> Forger:
    """Copy a parcel, to forge the copy."""
    shutil.copytree(parcel, to)
    index = json.loads((to / "parcel.json").read_text())
    stream = b"".join((to / part["name"]).read_bytes() for part in index["parts"])
    contents, at = [], 0
    for build in index["builds"]:
        files = {}
        for name, size, _ in build["files"]:
            files[name] = stream[at : at + size]
            at += size
        contents.append(files)
    return Forger(folder=to, index=index, contents=contents)
