"""Writes files into a folder: all of them or none, and never over a file with another content.

All files are written beside the output first. A new output then appears by one rename. In a folder that
exists, each file is linked into place, which fails if one has appeared meanwhile; then the links that this
run has made are removed again.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

from bundler.errors import InputError, MachineError
from bundler.lazy_dataclass import dataclass
from bundler.ontarget.checksums import walk
from bundler.system.files import digest, folders_above

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time that a zip file can hold: the same members are the same bytes."""


@dataclass(frozen=True, kw_only=True)
class File:
    """A file to write below the output: a text, or the copy of a file that is there."""

    path: str
    """POSIX, relative to the output."""
    text: str | None = None
    source: Path | None = None
    sha256: str | None = None
    """What the copy must have; `None`: whatever the source has."""
    executable: bool = False


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A zip file to write below the output, the same bytes for the same members."""

    path: str
    members: tuple[File, ...]
    direct_limit: int
    """Bytes up to which the platform takes it without a detour."""
    detour: str
    """What the caller does with a larger one."""


def stage(files: Iterable[File], folder: Path, *, archives: Iterable[Archive] = ()) -> None:
    """Write files and archives into an empty folder.

    :raises InputError: two files have one path.
    :raises MachineError: a file cannot be read or written, or has changed since it was looked at.
    """
    for file in files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            raise InputError(
                f"{file.path} would be written twice", hint="leave it out of the code or the model's folder"
            )
        try:
            _write(file, path)
        except OSError as error:
            raise MachineError(
                f"{error.filename or path}: {error.strerror}", hint="see to the disk"
            ) from error
    for archive in archives:
        _zip(archive, folder / archive.path)


def _write(file: File, path: Path) -> None:
    if file.source is None:
        path.write_text(file.text or "", encoding="utf-8", newline="\n")
    else:
        shutil.copyfile(file.source, path)
        _require(file, digest(path))
    path.chmod(0o755 if file.executable else 0o644)


def _require(file: File, sha256: str) -> None:
    if file.sha256 is not None and sha256 != file.sha256:
        raise MachineError(
            f"{file.source} has changed",
            hint="`envbundle verify` and `envbundle cache verify` say what is damaged",
        )


def _zip(archive: Archive, path: Path) -> None:
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as zipped:
        for member in sorted(archive.members, key=lambda one: one.path):
            info = zipfile.ZipInfo(member.path, EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # Unix: the mode below is one
            info.external_attr = (0o100755 if member.executable else 0o100644) << 16
            data = member.source.read_bytes() if member.source else (member.text or "").encode()
            if member.source:
                _require(member, hashlib.sha256(data).hexdigest())
            zipped.writestr(info, data)


def check(staged: Path, output: Path, *, folders: Iterable[str] = ()) -> None:
    """Compare what is staged with what is there.

    :param folders: of the output, in which nothing else may lie.
    :raises InputError: names the first file that says something else, or that would be mixed with the copies.
    """
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise InputError(f"{output} is not a folder", hint="choose another -o")
    if not output.exists():
        return
    ours = [path for path, _, _ in walk(str(staged))[0]]
    for folder in sorted(folders_above(ours)):
        if (output / folder).is_symlink() or ((output / folder).exists() and not (output / folder).is_dir()):
            raise InputError(f"{output / folder} is in the way: not a folder", hint="choose another -o")
    for path in ours:
        there = output / path
        if os.path.lexists(there) and not _same(staged / path, there):
            raise InputError(
                f"{there} is there and says something else: nothing is written",
                hint="move it away, or choose another -o",
            )
    for folder in folders:
        _refuse_others(output, folder, {path for path in ours if path.startswith(f"{folder}/")})


def _same(first: Path, second: Path) -> bool:
    return not second.is_symlink() and second.is_file() and filecmp.cmp(first, second, shallow=False)


def _refuse_others(output: Path, folder: str, ours: Iterable[str]) -> None:
    if not (output / folder).is_dir():
        return
    files, irregular = walk(str(output / folder))
    others = {f"{folder}/{path}" for path in (*(path for path, _, _ in files), *irregular)} - set(ours)
    if others:
        raise InputError(
            f"{output / min(others)} would be mixed with the copies: nothing is written",
            hint=f"move {output / folder} away, or choose another -o",
        )


def publish(staged: Path, output: Path) -> None:
    """Bring what is staged into its place; `check` has passed.

    :raises InputError: a file has appeared there meanwhile; nothing of ours is left.
    """
    if not output.exists():
        staged.rename(output)
        return
    linked: list[Path] = []
    try:
        for path, _, _ in walk(str(staged))[0]:
            there = output / path
            if there.exists():
                continue
            there.parent.mkdir(parents=True, exist_ok=True)
            _move(staged / path, there)
            linked.append(there)
    except BaseException as error:
        for there in linked:
            there.unlink(missing_ok=True)
        if isinstance(error, FileExistsError):
            raise InputError(f"{error.filename2} has appeared meanwhile", hint="run it again") from error
        raise


def _move(source: Path, there: Path) -> None:
    """Put a file where none is; a link fails if one is, a rename would replace it."""
    try:
        os.link(source, there)
    except FileExistsError:
        raise
    except OSError:
        # No hard links here (a file share, say).
        with source.open("rb") as data, there.open("xb") as copy:
            shutil.copyfileobj(data, copy)
        shutil.copymode(source, there)
