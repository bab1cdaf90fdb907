"""Makes real wheels and source distributions in milliseconds."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Content = str | bytes


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    files: Mapping[str, Content] | None = None,
    *,
    requires: Sequence[str] = (),
    extras: Sequence[str] = (),
    requires_python: str = "",
    tag: str = "py3-none-any",
    entry_points: str = "",
    root_is_purelib: bool = True,
    metadata: str = "",
    record: str | None = None,
    raw: Mapping[str, Content] | None = None,
) -> Path:
    """Write `{name}-{version}-{tag}.whl` into `folder` and return its path.

    :param files: archive path → content; by default one module named like the distribution.
    :param record: a RECORD to write instead of the true one.
    :param raw: further members that stand in no RECORD line.
    """
    escaped = name.replace("-", "_")
    info = f"{escaped}-{version}.dist-info"
    members: dict[str, Content] = dict({f"{escaped}.py": "VALUE = 1\n"} if files is None else files)
    lines = [f"Requires-Dist: {requirement}" for requirement in requires]
    lines += [f"Provides-Extra: {extra}" for extra in extras]
    if requires_python:
        lines.append(f"Requires-Python: {requires_python}")
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    members[f"{info}/METADATA"] = head + "".join(f"{line}\n" for line in lines) + metadata
    tags = "".join(f"Tag: {one}\n" for one in _expand(tag))
    members[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: wheelmaker\nRoot-Is-Purelib: {str(root_is_purelib).lower()}\n{tags}"
    )
    if entry_points:
        members[f"{info}/entry_points.txt"] = entry_points
    path = folder / f"{escaped}-{version}-{tag}.whl"
    rows = ""
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            data = content.encode() if isinstance(content, str) else content
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows += f"{member},sha256={digest},{len(data)}\n"
            _write(archive, member, data)
        for member, content in (raw or {}).items():
            _write(archive, member, content.encode() if isinstance(content, str) else content)
        rows += f"{info}/RECORD,,\n"
        _write(archive, f"{info}/RECORD", (rows if record is None else record).encode())
    return path


def make_sdist(
    folder: Path, name: str, version: str = "1.0", files: Mapping[str, Content] | None = None
) -> Path:
    """Write `{name}-{version}.tar.gz` with the given files below its top folder."""
    path = folder / f"{name}-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member, content in (files or {}).items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(f"{name}-{version}/{member}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def sha256(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _expand(tag: str) -> list[str]:
    pythons, abis, platforms = tag.split("-")
    return [
        f"{python}-{abi}-{platform}"
        for python in pythons.split(".")
        for abi in abis.split(".")
        for platform in platforms.split(".")
    ]


def _write(archive: zipfile.ZipFile, member: str, data: bytes) -> None:
    info = zipfile.ZipInfo(member, (2020, 1, 1, 0, 0, 0))
    info.external_attr = (0o100755 if member.endswith(".sh") or "/scripts/" in member else 0o100644) << 16
    archive.writestr(info, data)
