"""Unpacks one wheel, which may be hostile, into the layout of a prefix.

The binary distribution format: https://packaging.python.org/specifications/binary-distribution-format/
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import itertools
import lzma
import re
import stat
import struct
import zipfile
import zlib
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from packaging.metadata import RawMetadata, parse_email
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version
from wheel.wheelfile import WheelError, WheelFile  # type: ignore[import-untyped]  # it ships no types

from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.model import FileFact, Interpreter, WheelFacts
from bundler.system.files import write_new
from bundler.wheels import launchers
from bundler.wheels.facts import INSTALLER_FILES, LACKING, OTHER_HASH, UNHASHED, UNLISTED, describe

SUPPORTED_MAJOR = 1
"""The highest major Wheel-Version that we can install."""
SIZE_LIMIT = 64 << 30
"""Bytes that a wheel may hold unpacked."""
NAME_LIMIT = 255
"""Bytes of one path component (NAME_MAX of Linux filesystems)."""
BLOCK = 4 << 20
METADATA_LIMIT = 16 << 20
"""Bytes; a description may contain pictures."""
RECORD_LIMIT = 64 << 20
SMALL_LIMIT = 1 << 20
"""Bytes of WHEEL, entry_points.txt, and a Python script of the `scripts` scheme."""
LOCAL_HEADER = struct.Struct("<4s5H3I2H")
"""Of a zip member (APPNOTE.TXT 4.3.7)."""
ENTRY_POINTS = "entry_points.txt"
MOST_MISRECORDED = 50
"""Problems of a RECORD that are kept."""
_METADATA = re.compile(r"[^/]+\.dist-info/METADATA")
_UNFIT = re.compile(r"[\\\x00-\x1f\x7f]")
"""Characters that some filesystem or checksum file cannot hold in a name."""
_UNREADABLE = (
    WheelError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    csv.Error,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""What `wheel` and `zipfile` raise on an archive that is damaged, encrypted or no wheel."""


class _Reader(WheelFile):  # type: ignore[misc]  # its base has no types
    """A `WheelFile` that finds the .dist-info folder as pip does, whatever the spelling of the filename.

    `Foo.Bar-1.0.dist-info` in `foo_bar-1.0-py3-none-any.whl` is common; `WheelFile` itself looks
    for the filename's spelling, in any case.
    """

    # A property where the base class assigns an attribute: it is read back before RECORD is opened.
    @property
    def record_path(self) -> str:
        """Archive path of RECORD."""
        folders = sorted({name.split("/", 1)[0] for name in self.namelist() if "/" in name})
        found = [name for name in folders if name.endswith(".dist-info")]
        if len(found) != 1:
            raise WheelError(f"it has {len(found)} .dist-info folders, not one")
        path = f"{found[0]}/RECORD"
        # The base class reads it as soon as the wheel is opened.
        if path in self.NameToInfo and self.getinfo(path).file_size > RECORD_LIMIT:
            raise WheelError(f"{path} has more than {RECORD_LIMIT} bytes")
        return path

    @record_path.setter
    def record_path(self, value: str) -> None:
        pass

    def open(self, *args: Any, **kwargs: Any) -> IO[bytes]:
        """Open a member; `zipfile` checks its CRC and size.

        `WheelFile` would refuse it where RECORD says something else: that is a fact here, as many wheels were
        changed after their RECORD was made.
        """
        return zipfile.ZipFile.open(self, *args, **kwargs)


@dataclass(frozen=True, kw_only=True)
class _Member:
    """A file of the archive and its destination."""

    info: zipfile.ZipInfo
    path: str
    """Relative to the prefix."""
    executable: bool
    script: bool


@dataclass(frozen=True, kw_only=True)
class _Row:
    """What RECORD says of a member."""

    algorithm: str
    """Empty: it has no hash."""
    digest: str
    """Hexadecimal."""


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """The folders of a wheel's schemes below the prefix, as pip chooses them in a virtualenv."""

    wheel: str
    site_packages: str
    headers: str

    def destination(self, member: str) -> tuple[str, bool]:
        """Return the path below the prefix, and whether it is of the `scripts` scheme."""
        top, _, rest = member.partition("/")
        if not top.endswith(".data"):
            return f"{self.site_packages}/{member}", False
        scheme, _, path = rest.partition("/")
        folders = {
            "purelib": f"{self.site_packages}/",
            "platlib": f"{self.site_packages}/",
            "headers": f"{self.headers}/",
            "scripts": "bin/",
            "data": "",
        }
        if scheme not in folders or not path:
            raise _refuse(self.wheel, member, f"has no known scheme (known: {', '.join(sorted(folders))})")
        return folders[scheme] + path, scheme == "scripts"


def unpack(wheel: Path, destination: Path, *, sha256: str, interpreter: Interpreter) -> WheelFacts:
    """Unpack a wheel into an existing empty folder, in the layout of a prefix.

    Every file is compared with RECORD while it is read, and what differs is a fact; modes are 644, or 755
    for scripts and for what the archive marks executable. Scripts are rewritten to run from wherever the
    bundle is.

    :param wheel: the file, under its own name.
    :param sha256: of the file, for the facts; not checked here.
    :return: the facts, as yet without bytecode.
    :raises InputError: the wheel is malformed, contradicts itself, or writes outside the prefix.
    """
    try:
        name, version, _, tags = parse_wheel_filename(wheel.name)
    except InvalidWheelFilename as error:
        raise InputError(f"{wheel.name} is not a wheel's filename: {error}") from error
    layout = _Layout(
        wheel=wheel.name,
        site_packages=f"lib/python{interpreter.minor}/site-packages",
        headers=f"include/site/python{interpreter.minor}/{_spelled(wheel.name)}",
    )
    try:
        with _Reader(wheel) as archive:
            dist_info = archive.record_path.removesuffix("/RECORD")
            if not _fits(dist_info, name, version):
                raise _refuse(wheel.name, dist_info, "does not fit the filename")
            metadata = _metadata(archive, dist_info, wheel.name, name, version)
            _check_wheel_version(archive, dist_info, wheel.name)
            files, wrong = _install(archive, dist_info, layout, destination, interpreter.minor)
            declared = launchers.declared(_entry_points_text(archive, dist_info))
    except _UNREADABLE as error:
        # KeyError's text is the repr of its key, which here is already a sentence.
        reason = error.args[0] if error.args else type(error).__name__
        raise _broken(wheel.name, str(reason)) from error
    except OSError as error:
        # `bz2` says so that its data is damaged; a directory can send `zipfile` before the file.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise _broken(wheel.name, str(error)) from error
    return describe(
        destination,
        files,
        metadata,
        site_packages=layout.site_packages,
        extension_suffixes=interpreter.extension_suffixes,
        entry_points=declared,
        name=str(metadata["name"]),
        version=str(metadata["version"]),
        filename=wheel.name,
        sha256=sha256,
        dist_info=dist_info,
        tags=tuple(sorted(map(str, tags))),
        misrecorded=_first_of(wrong, dist_info),
    )


def requires_python(wheel: Path) -> str:
    """Return Requires-Python of a wheel file; empty where it has none, or cannot be read."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            (member,) = (one for one in archive.namelist() if _METADATA.fullmatch(one))
            raw, _ = parse_email(_document(archive, member, METADATA_LIMIT))
    except (OSError, *_UNREADABLE):
        return ""
    return raw.get("requires_python") or ""


def _install(
    archive: _Reader, dist_info: str, layout: _Layout, destination: Path, minor: str
) -> tuple[list[FileFact], dict[str, str]]:
    """Check all members, and write them and the launchers.

    :returns: their facts sorted by path, and what RECORD says wrongly: path in the archive → problem.
    """
    entry_points = _entry_points(archive, dist_info, layout.wheel, minor)
    members = _members(archive, layout, entry_points)
    rows = _recorded(archive, layout.wheel)
    wrong = _unlisted(archive, rows)
    folder = f"{layout.site_packages}/{dist_info}/"
    members = [member for member in members if not _is_installers(member, folder)]
    for parent in sorted({member.path.rpartition("/")[0] for member in members}):
        (destination / parent).mkdir(parents=True, exist_ok=True)
    by_path: dict[str, FileFact] = {}
    for member in members:
        name = member.info.filename
        by_path[member.path], matches = _extract(archive, member, destination, rows.get(name), minor=minor)
        if not matches:
            wrong[name] = OTHER_HASH
    by_path |= {fact.path: fact for fact in _write_launchers(entry_points, destination, minor)}
    return [by_path[path] for path in sorted(by_path)], wrong


def _refuse(wheel: str, member: str, reason: str) -> InputError:
    return InputError(
        f"{wheel}: {member!r} {reason}",
        hint="the wheel must not be installed; report it to whoever made it, or choose another version",
    )


def _broken(wheel: str, reason: str) -> InputError:
    return InputError(
        f"{wheel} cannot be read as a wheel: {reason}",
        hint="fetch it again; where it stays so, report it to whoever made it, or choose another version",
    )


def _spelled(filename: str) -> str:
    """Return the name that pip gives a wheel's headers folder."""
    return filename.split("-", 1)[0].replace("_", "-")


def _is_installers(member: _Member, dist_info: str) -> bool:
    return member.path.startswith(dist_info) and member.path.removeprefix(dist_info) in INSTALLER_FILES


def _fits(dist_info: str, name: str, version: Version) -> bool:
    stem, _, written = dist_info.removesuffix(".dist-info").rpartition("-")
    try:
        return canonicalize_name(stem) == name and Version(written.replace("_", "-")) == version
    except InvalidVersion:
        return False


def _metadata(archive: _Reader, dist_info: str, wheel: str, name: str, version: Version) -> RawMetadata:
    """Read METADATA as leniently as pip: old wheels hold lines that no specification allows."""
    data = _document(archive, f"{dist_info}/METADATA", METADATA_LIMIT)
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise _refuse(wheel, f"{dist_info}/METADATA", "is not UTF-8, and pip cannot list it") from error
    raw, _ = parse_email(data)
    if not _fits(f"{raw.get('name')}-{raw.get('version')}.dist-info", name, version):
        raise _refuse(
            wheel,
            f"{dist_info}/METADATA",
            f"says {raw.get('name')} {raw.get('version')}, which does not fit the filename",
        )
    return raw


def _check_wheel_version(archive: _Reader, dist_info: str, wheel: str) -> None:
    raw, unparsed = parse_email(_document(archive, f"{dist_info}/WHEEL", SMALL_LIMIT))
    del raw
    written = "".join(unparsed.get("wheel-version", [])).strip()
    major = written.partition(".")[0]
    if not major.isdecimal() or len(major) > 9 or int(major) > SUPPORTED_MAJOR:
        raise _refuse(wheel, f"{dist_info}/WHEEL", f"has Wheel-Version {written!r}, which is not understood")


def _entry_points(
    archive: _Reader, dist_info: str, wheel: str, minor: str
) -> dict[str, launchers.EntryPoint]:
    member = f"{dist_info}/{ENTRY_POINTS}"
    try:
        found = launchers.entry_points(_entry_points_text(archive, dist_info), minor=minor)
    except launchers.EntryPointError as error:
        raise _refuse(wheel, member, str(error)) from error
    for name in found:
        _check_name(wheel, f"bin/{name}")
        if "/" in name:
            raise _refuse(wheel, member, f"names a script {name!r} outside bin/")
    return found


def _entry_points_text(archive: _Reader, dist_info: str) -> str:
    """Return the text of entry_points.txt; empty where the wheel has none."""
    member = f"{dist_info}/{ENTRY_POINTS}"
    return _document(archive, member, SMALL_LIMIT).decode() if member in archive.namelist() else ""


def _document(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """Return a member whole; refuse one that is larger than `limit` before anything of it is unpacked."""
    if archive.getinfo(name).file_size > limit:
        raise ValueError(f"{name} has more than {limit} bytes")
    with archive.open(name) as stream:
        return stream.read(limit)


def _recorded(archive: _Reader, wheel: str) -> dict[str, _Row]:
    """Read RECORD; refuse one that contradicts itself."""
    text = _document(archive, archive.record_path, RECORD_LIMIT).decode()
    rows: dict[str, _Row] = {}
    for path, digest, *_ in csv.reader(io.StringIO(text, newline="")):
        algorithm, _, value = digest.partition("=")
        decoded = urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex()
        row = _Row(algorithm=algorithm.lower(), digest=decoded)
        if rows.setdefault(path, row) != row:
            raise _refuse(wheel, path, "stands twice in RECORD, with different hashes")
    return rows


def _unlisted(archive: _Reader, rows: Mapping[str, _Row]) -> dict[str, str]:
    """Return what stands in RECORD or in the archive alone, and members without a hash: path → problem."""
    names = {info.filename for info in archive.infolist() if not info.is_dir()}
    folders = {name.rstrip("/") for name in archive.namelist() if name.endswith("/")}
    # RECORD cannot have its own hash, nor signatures of it theirs.
    signed = {f"{archive.record_path}{suffix}" for suffix in ("", ".jws", ".p7s")}
    wrong = {path: LACKING for path in rows if path.rstrip("/") not in names | folders}
    wrong |= dict.fromkeys(names - rows.keys() - signed, UNLISTED)
    unhashed = (name for name in names & rows.keys() if not rows[name].algorithm)
    return wrong | dict.fromkeys((name for name in unhashed if name not in signed), UNHASHED)


def _first_of(wrong: Mapping[str, str], dist_info: str) -> tuple[tuple[str, str], ...]:
    """Return the first problems, those of the metadata last."""
    ordered = sorted(wrong.items(), key=lambda one: (one[0].startswith(f"{dist_info}/"), one))
    return tuple(ordered[:MOST_MISRECORDED])


def _members(
    archive: _Reader, layout: _Layout, entry_points: dict[str, launchers.EntryPoint]
) -> list[_Member]:
    """Return the members to unpack; check every name, type and destination first."""
    members: dict[str, _Member] = {}
    names: set[str] = set()
    size = 0
    for info in archive.infolist():
        _check_info(layout.wheel, info)
        _check_header(archive, layout.wheel, info)
        if info.is_dir():
            continue
        size += info.file_size
        if info.filename in names or size > SIZE_LIMIT:
            reason = "is there twice" if info.filename in names else "brings it over the size limit"
            raise _refuse(layout.wheel, info.filename, reason)
        names.add(info.filename)
        path, script = layout.destination(info.filename)
        if script and launchers.is_wrapper_of(path.removeprefix("bin/"), entry_points):
            continue
        if path in members and not _same_content(archive, info, members[path].info):
            raise _refuse(layout.wheel, info.filename, f"and {members[path].info.filename!r} are both {path}")
        mode = info.external_attr >> 16
        members[path] = _Member(
            info=info,
            path=path,
            script=script,
            executable=script or bool(stat.S_ISREG(mode) and mode & 0o111),
        )
    _check_folders(layout.wheel, [*members, *(f"bin/{name}" for name in entry_points)])
    return list(members.values())


def _check_folders(wheel: str, paths: Iterable[str]) -> None:
    files = set(paths)
    for path in files:
        parent = path.rpartition("/")[0]
        while parent:
            if parent in files:
                raise _refuse(wheel, parent, "is both a file and a folder")
            parent = parent.rpartition("/")[0]


def _check_info(wheel: str, info: zipfile.ZipInfo) -> None:
    # zipfile cuts `filename` at a NUL; `orig_filename` is what the archive says.
    _check_name(wheel, info.orig_filename.removesuffix("/"))
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        what = "a symbolic link" if kind == stat.S_IFLNK else "neither a file nor a folder"
        raise _refuse(wheel, info.filename, f"is {what}, which a wheel cannot hold")


def _check_header(archive: _Reader, wheel: str, info: zipfile.ZipInfo) -> None:
    """Compare the sizes before a member with those in the directory: readers differ in which they believe."""
    file = archive.fp
    file.seek(info.header_offset)
    data = file.read(LOCAL_HEADER.size)
    if len(data) != LOCAL_HEADER.size:
        raise _refuse(wheel, info.filename, "lies behind the end of the file")
    _, _, flags, method, _, _, crc, packed, size, _, _ = LOCAL_HEADER.unpack(data)
    # With bit 3 sizes stand behind the member, with ZIP64 in an extra field.
    if method != info.compress_type or (
        not flags & 0x08
        and 0xFFFFFFFF not in (packed, size)
        and (crc, packed, size) != (info.CRC, info.compress_size, info.file_size)
    ):
        raise _refuse(wheel, info.filename, "has another size in its own header than in the directory")


def _same_content(archive: _Reader, *members: zipfile.ZipInfo) -> bool:
    digests = set()
    for info in members:
        digest = hashlib.sha256()
        with archive.open(info) as stream:
            for _ in _blocks(stream, digest.update):
                pass
        digests.add(digest.digest())
    return len(digests) == 1


def _check_name(wheel: str, name: str) -> None:
    """Refuse a name that could leave the prefix, or that some filesystem or checksum file cannot hold."""
    if name.startswith("/"):
        raise _refuse(wheel, name, "is an absolute path")
    if _UNFIT.search(name):
        raise _refuse(wheel, name, "holds a backslash or a control character")
    for part in name.split("/"):
        if part in {"", ".", ".."}:
            raise _refuse(wheel, name, f"holds the component {part!r}")
        if len(part.encode(errors="surrogatepass")) > NAME_LIMIT:
            raise _refuse(wheel, name, f"holds a name of more than {NAME_LIMIT} bytes")


def _blocks(stream: IO[bytes], *update: Callable[[bytes], None]) -> Iterator[bytes]:
    while block := stream.read(BLOCK):
        for one in update:
            one(block)
        yield block


def _extract(
    archive: _Reader, member: _Member, destination: Path, row: _Row | None, *, minor: str
) -> tuple[FileFact, bool]:
    """Write a member; also tell whether it has the hash of its row in RECORD, where it has one."""
    target = destination / member.path
    hashed = row is not None and row.algorithm != ""
    other = hashlib.new(row.algorithm) if row and hashed and row.algorithm != "sha256" else None
    with archive.open(member.info) as stream:
        blocks = _blocks(stream, *([other.update] if other else []))
        first = next(blocks, b"") if member.script else b""
        if first.startswith(b"#!python"):
            if member.info.file_size > SMALL_LIMIT:
                raise ValueError(f"{member.info.filename} is a script of more than {SMALL_LIMIT} bytes")
            content = b"".join((first, *blocks))
            found = hashlib.sha256(content).hexdigest()
            content = launchers.relocatable(content, depth=member.path.count("/"), minor=minor)
            fact = write_new(target, member.path, [content], executable=True)
        else:
            whole = itertools.chain([first], blocks)
            fact = write_new(target, member.path, whole, executable=member.executable)
            found = fact.sha256
    if row is None or not hashed:
        return fact, True
    return fact, (other.hexdigest() if other else found) == row.digest


def _write_launchers(
    entry_points: dict[str, launchers.EntryPoint], destination: Path, minor: str
) -> list[FileFact]:
    facts = []
    for name, entry_point in sorted(entry_points.items()):
        target = destination / "bin" / name
        target.parent.mkdir(exist_ok=True)
        target.unlink(missing_ok=True)  # as pip: an entry point wins over a data file of that name
        content = launchers.launcher(entry_point, minor=minor)
        facts.append(write_new(target, f"bin/{name}", [content], executable=True))
    return facts
