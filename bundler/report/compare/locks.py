"""Sides of a comparison from the text of a lock: a PEP 751 `pylock.toml`, or pinned requirements with hashes.

Nothing is fetched, no file that a lock names is opened, and no variable is expanded: only the text is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.pylock import (
    Package,
    PackageArchive,
    PackageSdist,
    PackageWheel,
    Pylock,
    PylockSelectError,
)
from packaging.requirements import InvalidRequirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from bundler.bundle import identities
from bundler.bundle import lock as locks
from bundler.bundle.manifest.values import ManifestTarget
from bundler.errors import InputError
from bundler.model import Target
from bundler.report.compare.difference import Release
from bundler.report.compare.sides import Side, chains, public_index
from bundler.system import pep508, redact
from bundler.targets.target import tags

_SHA256 = re.compile(r"(?:sha256:)?(?P<digits>[0-9a-f]{64})")
_HASH_OPTION = re.compile(r"\s--hash[=\s]\s*(?P<hash>\S+)")
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_HEADER = re.compile(
    r"# Python (?P<python>[0-9][0-9a-z.+]{0,20}), (?P<machine>\w{1,20}), glibc (?P<glibc>[0-9.]{1,9})"
)
_GLIBC = re.compile(r"[0-9]{1,4}\.[0-9]{1,4}")
_PINS = ("==", "===")
_LINUX = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_python_implementation": "CPython",
    "platform_release": "",
    "platform_system": "Linux",
    "platform_version": "",
    "sys_platform": "linux",
}
"""Markers of CPython on Linux that do not depend on its version or the machine."""
# Parsers raise these on numbers of ten thousand digits and on ten thousand parentheses.
_PARSER_ERRORS = (ValueError, RecursionError)
_NO_LOCK = "make a lock with `envbundle lock`, or name a bundle"


def of_pylock(data: bytes, *, name: str, target: ManifestTarget | None = None) -> Side:
    """Read a `pylock.toml`, ours or another tool's.

    :param name: where it came from, for people and messages.
    :param target: of the bundle that it is compared with: what another tool locked for several targets is
        reduced to it, if that can be done.
    :raises InputError: it is no sound lock.
    """
    pylock = locks.parse_pylock(_text(data, name), where=name, hint=_NO_LOCK)
    ours = _our_table(pylock.tool)
    packages = _selected(pylock, target) if target and "python-version" not in ours else pylock.packages
    parents = locks.parents(packages)
    rows = [(package.name, _of_package(package)) for package in packages]
    members = {"python-version": "python", "machine": "machine", "glibc": "glibc"}
    aim = {f"target.{member}": str(ours[key]) for key, member in members.items() if key in ours}
    knows = {"chains": parents or ours, "requirements": "requirements" in ours, "target": aim}
    return Side(
        name=name,
        kind="lock",
        knows=frozenset(aspect for aspect, known in knows.items() if known),
        releases=_merged(rows),
        chains=chains((key, bool(one.requested), tuple(parents.get(key, ()))) for key, one in rows)
        if knows["chains"]
        else {},
        requirements=_texts(ours, "requirements"),
        constraints=_texts(ours, "constraints"),
        target=aim,
    )


def of_requirements(data: bytes, *, name: str) -> Side:
    """Read requirements that are each pinned to a version and a hash, as `requirements.lock` is.

    :param name: where it came from, for people and messages.
    :raises InputError: it is no text, or a line is not pinned so; names the line.
    """
    text = _text(data, name)
    rows = [_pinned(line, where=f"{name}:{number}") for number, line in _logical_lines(text)]
    if not rows:
        raise InputError(f"{name} has no requirement that is pinned with its hash", hint=_NO_LOCK)
    header = _HEADER.match(text)
    target = {f"target.{key}": value for key, value in header.groupdict().items()} if header else {}
    return Side(
        name=name,
        kind="lock",
        knows=frozenset({"target"} if target else ()),
        releases=_merged(rows),
        target=target,
    )


def is_pylock(data: bytes) -> bool:
    """Tell the text of a `pylock.toml` from one of requirements by its first key, which PEP 751 demands."""
    return re.search(rb"^\s*lock-version\s*=", data, re.MULTILINE) is not None


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is neither a bundle nor a lock: {error}", hint=_NO_LOCK) from None


def _our_table(tool: Mapping[str, Any] | None) -> Mapping[str, Any]:
    ours = (tool or {}).get("envbundle")
    return ours if isinstance(ours, Mapping) else {}


def _texts(ours: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = ours.get(key)
    return tuple(redact.text(str(one)) for one in values) if isinstance(values, list) else ()


def _selected(pylock: Pylock, aim: ManifestTarget) -> Sequence[Package]:
    """Return the packages for a bundle's target; all of them where the lock is not for it at all."""
    if aim.implementation != "cpython" or not _GLIBC.fullmatch(aim.glibc):
        return pylock.packages
    major, minor = aim.glibc.split(".")
    target = Target(
        python_version=aim.python,
        implementation=aim.implementation,
        abi=aim.abi,
        machine=aim.machine,
        glibc=(int(major), int(minor)),
        glibc_reason=aim.glibc_reason,
        markers=_LINUX
        | {
            "implementation_version": aim.python,
            "platform_machine": aim.machine,
            "python_full_version": aim.python,
            "python_version": ".".join(aim.python.split(".")[:2]),
        },
    )
    try:
        chosen = pylock.select(environment=target.markers, tags=list(tags(target)))  # type: ignore[arg-type]  # a TypedDict of the same keys
        return [package for package, _ in chosen]
    except (PylockSelectError, *_PARSER_ERRORS):
        return pylock.packages


def _of_package(package: Package) -> Release:
    ours = _our_table(package.tool)
    files: list[PackageWheel | PackageSdist | PackageArchive] = [*(package.wheels or ())]
    files += [one for one in (package.sdist, package.archive) if one]
    hashes = {match["digits"] for one in files if (match := _SHA256.fullmatch(one.hashes.get("sha256", "")))}
    yanked, extras = ours.get("yanked"), ours.get("extras")
    return Release(
        version=str(package.version or ""),
        filename=_filename(files[0]) if len(files) == 1 else None,
        hashes=tuple(sorted(hashes)),
        source=_source(package, local=ours.get("local") is True),
        index=public_index(package.index),
        commit=package.vcs.commit_id if package.vcs else None,
        requested=bool(ours.get("requested", False)) if ours else None,
        extras=tuple(sorted(map(str, extras))) if isinstance(extras, list) else (),
        yanked=yanked if isinstance(yanked, str) else None,
        publishers=identities.spellings(package.attestation_identities or ()),
    )


def _filename(file: PackageWheel | PackageSdist | PackageArchive) -> str | None:
    if isinstance(file, PackageArchive):
        return (_last_of(file.url) if file.url else (file.path or "").rpartition("/")[2]) or None
    return file.filename


def _last_of(url: str) -> str:
    """Return the file name that a URL ends with; empty where it is no URL."""
    try:
        return unquote(urlsplit(url).path).rpartition("/")[2]
    except ValueError:
        return ""


def _source(package: Package, *, local: bool) -> str:
    if local or package.directory or (package.archive and not package.archive.url):
        return "local"
    if package.vcs:
        return "vcs"
    return "url" if package.archive else "index"


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield requirements, without comments and in one line each, with the number of their first line."""
    held: list[str] = []
    start = 0
    # The last, empty line ends what a backslash at the end of the text leaves open.
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        if not held:
            start = number
        comment = line.lstrip().startswith("#")
        held.append("" if comment else line.removesuffix("\\"))
        if line.endswith("\\") and not comment:
            continue
        joined = _COMMENT.sub("", " ".join(held)).strip()
        held = []
        # Options (`--index-url`) tell where to look; what was locked does not depend on them.
        if joined and not joined.startswith("-"):
            yield start, joined


def _pinned(line: str, *, where: str) -> tuple[str, Release]:
    """Read one requirement of a lock.

    :raises InputError: it is none, or not pinned by version and hash.
    """
    hashes = [match["hash"] for match in _HASH_OPTION.finditer(line)]
    text = _HASH_OPTION.sub("", line).strip()
    try:
        parsed = pep508.requirement(text)
    except (InvalidRequirement, *_PARSER_ERRORS) as error:
        problem = (str(error).splitlines() or ["absurd"])[0]
        raise InputError(f"{where}: not a line of a lock: {text[:80]!r} ({problem})", hint=_NO_LOCK) from None
    versions = [one.version for one in parsed.specifier if one.operator in _PINS]
    digits = {match["digits"] for one in hashes if (match := _SHA256.fullmatch(one))}
    if not digits or not (parsed.url or (versions and not versions[0].endswith(".*"))):
        raise InputError(f"{where}: not pinned by version and sha256: {text[:80]!r}", hint=_NO_LOCK)
    filename = _last_of(parsed.url) if parsed.url else None
    release = Release(
        version=versions[0] if versions else _version_of(filename or ""),
        filename=filename or None,
        hashes=tuple(sorted(digits)),
        source="url" if parsed.url else None,
        extras=tuple(sorted(parsed.extras)),
    )
    return canonicalize_name(parsed.name), release


def _version_of(filename: str) -> str:
    """Return the version that a wheel's file name tells; empty where it is none."""
    parts = filename.removesuffix(".whl").split("-")
    return parts[1] if filename.endswith(".whl") and len(parts) in (5, 6) else ""


def _merged(rows: Iterable[tuple[str, Release]]) -> dict[str, Release]:
    """Return one release a name; what is locked several times, for several targets, has several versions."""
    found: dict[str, list[Release]] = {}
    for name, release in rows:
        found.setdefault(name, []).append(release)
    return {name: several[0] if len(several) == 1 else _several(several) for name, several in found.items()}


def _several(releases: list[Release]) -> Release:
    versions = sorted({one.version for one in releases}, key=_order)
    sources = {one.source for one in releases}
    requested = {one.requested for one in releases}
    return Release(
        version=", ".join(versions),
        hashes=tuple(sorted({digits for one in releases for digits in one.hashes})),
        source=sources.pop() if len(sources) == 1 else None,
        requested=requested.pop() if len(requested) == 1 else None,
        extras=tuple(sorted({extra for one in releases for extra in one.extras})),
    )


def _order(version: str) -> tuple[Version, str]:
    try:
        return Version(version), version
    except ValueError:
        return Version("0"), version
