"""Writes archives of a bundle's folder, in the order in which they were asked for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bundler.bundle import integrity
from bundler.errors import InputError
from bundler.formats import NAMES, Packed, oci, path_for, squashfs, streams, tar
from bundler.formats import zip as zips
from bundler.formats.entries import Contents, ordered
from bundler.formats.reading import kind_of
from bundler.system import files, workspace
from bundler.system.progress import Progress


def require(kinds: Sequence[str], *, output: Path, force: bool) -> None:
    """Refuse early what cannot be packed: before the bundle is made, say.

    :raises InputError: an unknown format, or something is in the way.
    :raises MachineError: a tool is missing.
    """
    for kind in kinds:
        if kind not in NAMES:
            raise InputError(f"{kind!r} is no format", hint=f"formats: {', '.join(NAMES)}")
        if kind == "squashfs":
            squashfs.require()
        if kind != "dir":
            _require_free(path_for(output, kind), force=force)


def _require_free(path: Path, *, force: bool) -> None:
    """Refuse to replace what is no archive of a bundle, and to replace one without `force`.

    :raises InputError: something stands there that is no archive of a bundle, or one does without `force`.
    """
    if not os.path.lexists(path):
        return
    if path.is_symlink() or kind_of(path) in (None, "dir"):
        raise InputError(
            f"{path} exists and is not an archive of a bundle: it is not touched", hint="choose another -o"
        )
    if not force:
        raise InputError(f"{path} exists", hint="--force replaces an archive of a bundle")


def pack(
    bundle: Path,
    *,
    kinds: Sequence[str],
    output: Path,
    scratch: Path,
    force: bool = False,
    progress: Progress,
) -> tuple[Packed, ...]:
    """Write archives of a bundle's folder beside `output`, each whole or not at all; `dir` is passed over.

    They appear once all of them are made.

    :param output: `path_for(output, kind)` is where each goes.
    :param scratch: a private folder on the filesystem of `output`; what is written there is moved away.
    :param force: replace what is there, if it is an archive of a bundle.
    :raises InputError: the folder is not as its manifest says, or something is in the way.
    :raises MachineError: a tool is missing, or the disk failed.
    """
    wanted = [kind for kind in dict.fromkeys(kinds) if kind != "dir"]
    require(wanted, output=output, force=force)
    if not wanted:
        return ()
    with progress.stage("list") as stage:
        contents = _contents(bundle)
        stage.result = f"{len(contents.manifest.files)} files; each is hashed as it is packed"
    with tempfile.TemporaryDirectory(dir=scratch, prefix="pack-") as folder:
        staged: dict[str, Path] = {}
        for kind in wanted:
            size = sum(entry.size for entry in contents.entries)
            with progress.stage(kind) as stage, progress.bar(kind, total=size) as advance:
                staged[kind] = _write(kind, replace(contents, advance=advance), Path(folder), staged)
                stage.result = str(path_for(output, kind))
        packed = [_packed(kind, path, path_for(output, kind)) for kind, path in staged.items()]
        files.sync_filesystem(Path(folder))
        for one in packed:
            _require_free(one.path, force=force)
            _place(staged[one.kind], one.path)
    return tuple(packed)


def _place(staged: Path, path: Path) -> None:
    """Move an archive into its place; the next run beside it puts an old one back that a kill left aside."""
    if not staged.is_dir():
        files.place(staged, path)
        return
    with workspace.claim(path) as work:
        staged.rename(work.bundle)
        files.place(work.bundle, path)


def _contents(bundle: Path) -> Contents:
    """Compare what a bundle's folder holds with its manifest; the contents come later, as they are packed."""
    compared = integrity.require(bundle, contents=False)
    tree_files = {file.path for file in compared.manifest.files}
    beside = [file for file in compared.files.values() if file.path not in tree_files]
    return Contents(
        bundle=bundle, manifest=compared.manifest, entries=ordered(compared.manifest.files, beside)
    )


def _write(kind: str, contents: Contents, folder: Path, staged: dict[str, Path]) -> Path:
    path = folder / f"bundle.{kind}"
    if kind == "oci":
        path.mkdir()
        oci.write(contents, path, layer=staged.get("tar.zst"))
        oci.open_to_all(path)
        return path
    if kind == "squashfs":
        scratch = folder / "scratch"
        scratch.mkdir()
        squashfs.write(contents, path, scratch=scratch)
    elif kind == "zip":
        with path.open("xb") as file:
            zips.write(contents, file)
    else:
        compress = streams.gzip if kind == "tar.gz" else streams.zstd
        with path.open("xb") as file:
            for block in compress(tar.blocks(contents)):
                file.write(block)
    path.chmod(0o644)
    return path


def _packed(kind: str, staged: Path, path: Path) -> Packed:
    if kind != "oci":
        return Packed(kind=kind, path=path, sha256=files.digest(staged), size=staged.stat().st_size)
    size = sum(one.stat().st_size for one in staged.rglob("*") if one.is_file())
    return Packed(kind=kind, path=path, sha256=oci.image_digest(staged), size=size)
