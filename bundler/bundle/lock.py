"""Reads and writes locks: PEP 751 `pylock.toml`, and the hash-pinned requirements form of the same.

What PEP 751 has no field for is in `tool.envbundle` tables, so that other tools can read the file. The
requirements form has all of the `pylock.toml` in comments, so that both give the same bundle.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import tomli_w
from packaging.markers import Marker
from packaging.pylock import (
    Package,
    PackageArchive,
    PackageDirectory,
    PackageSdist,
    PackageVcs,
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockUnsupportedVersionError,
    PylockValidationError,
    is_valid_pylock_path,
)
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from bundler.bundle import identities
from bundler.errors import InputError
from bundler.model import (
    Artifact,
    Built,
    Claims,
    Lock,
    LockedDistribution,
    Requirement,
    Requirements,
    SourceKind,
    Target,
)
from bundler.system import json_values, outside, pep508, redact, toml_text
from bundler.system.address import Address
from bundler.system.files import real_path
from bundler.targets.target import tags

Source = PackageVcs | PackageDirectory | PackageArchive | PackageWheel | PackageSdist
"""What a package of a lock is made from."""
MAX_BYTES = 64 << 20
ANEW = "make the lock anew: envbundle lock"
_TEXTS = frozenset({"python-version", "machine", "glibc", "yanked"})
_LISTS = frozenset({"requirements", "constraints", "extras"})
_SCHEMES = ("https://", "http://", "file://")
_COMMENT = "# pylock: "
"""Begins each comment of the requirements form that says a part of the `pylock.toml`, as JSON."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REPOSITORY = re.compile(r"(?:https?|ssh|git|file)://")


def parse_toml(text: str, *, where: str, hint: str = ANEW) -> dict[str, Any]:
    """Parse TOML.

    :param where: what the text is, for the message.
    :param hint: what to do where it is none.
    :raises InputError: it is not TOML; says where.
    """
    try:
        parsed: dict[str, Any] = toml_text.loads(text)
    # A number of ten thousand digits is a ValueError that is no TOMLDecodeError.
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is not TOML: {error}", hint=hint) from None
    return parsed


def parse_pylock(text: str, *, where: str, hint: str = ANEW) -> Pylock:
    """Parse the text of a `pylock.toml`, ours or another tool's, and check it against PEP 751.

    :param where: what the text is, for the message.
    :param hint: what to do where it is no lock.
    :raises InputError: it is not TOML, or not a valid lock.
    """
    return _pylock(parse_toml(text, where=where), where=where, hint=hint)


def _pylock(document: Mapping[str, Any], *, where: str, hint: str = ANEW) -> Pylock:
    try:
        return Pylock.from_dict(document)
    # Ten thousand parentheses end in the last two.
    except (PylockValidationError, PylockUnsupportedVersionError, ValueError, RecursionError) as error:
        raise InputError(f"{where} is not a valid lock: {error}", hint=hint) from None


def is_pylock(path: Path) -> bool:
    """Tell a `pylock.toml` from the requirements form by its name, as PEP 751 does.

    :raises InputError: the name of another TOML file, `NAME.pylock.toml` or `pylock.A.B.toml`.
    """
    if is_valid_pylock_path(path):
        return True
    if path.suffix == ".toml":
        words = [word for word in path.stem.split(".") if word != "pylock"]
        raise InputError(
            f"{path.name} is not a name for a lock",
            hint=f"name it pylock.toml or pylock.{'-'.join(words) or 'NAME'}.toml (PEP 751), "
            "or requirements.lock for pip's form",
        )
    return False


def parents(packages: Iterable[Package]) -> dict[str, set[str]]:
    """Return the normalised name of each dependency, with the names of the packages that require it."""
    found: dict[str, set[str]] = {}
    for package in packages:
        for dependency in package.dependencies or ():
            found.setdefault(canonicalize_name(str(dependency.get("name"))), set()).add(package.name)
    return found


def values(text: str, *, where: str, requirements: bool) -> dict[str, Any]:
    """Return what a `pylock.toml` says, or what the comments of the requirements form say of it.

    :param where: what the text is, for the message.
    :param requirements: it is of the requirements form; that of another tool says nothing.
    :raises InputError: it is neither.
    """
    if not requirements:
        return parse_toml(text, where=where)
    parts = [line.removeprefix(_COMMENT) for line in text.splitlines() if line.startswith(_COMMENT)]
    try:
        first, *packages = [dict(json.loads(part)) for part in parts] or [{}]
    except (ValueError, TypeError, RecursionError):
        raise InputError(f"{where}: a comment after {_COMMENT!r} is none of ours", hint=ANEW) from None
    return {**first, "packages": packages} if first else {}


def read_lock(path: Path, target: Target) -> Lock:
    """Read a lock, and choose the files for one target.

    :param path: a `pylock.toml`, ours or another tool's, or a requirements form that `is_whole`.
    :raises InputError: not readable, not valid, for another Python, or without a file that fits.
    """
    document = values(_read_text(path), where=str(path), requirements=not is_pylock(path))
    pylock = _pylock(document, where=str(path))
    try:
        chosen = list(pylock.select(environment=dict(target.markers), tags=list(tags(target))))  # type: ignore[arg-type]  # a TypedDict of the same keys
    except PylockSelectError as error:
        raise InputError(
            f"{path} does not fit Python {target.python_version} on glibc "
            f"{target.glibc[0]}.{target.glibc[1]}: {error}",
            hint="make a lock for this target: envbundle lock -r … --python …",
        ) from None
    ours = _our_table(pylock.tool, where=f"{path}: tool.envbundle")
    above = parents(package for package, _ in chosen)
    distributions = [
        _distribution(package, source, path=path, required_by=above.get(package.name, ()))
        for package, source in chosen
    ]
    return Lock(
        python_version=target.python_version,
        machine=target.machine,
        glibc=target.glibc,
        distributions=tuple(sorted(distributions, key=lambda dist: dist.name)),
        requirements=tuple(ours.get("requirements", ())),
        constraints=tuple(ours.get("constraints", ())),
    )


def _our_table(tool: Mapping[str, Any] | None, *, where: str) -> Mapping[str, Any]:
    """Return the `tool.envbundle` table of a lock or a package, checked; empty where another tool wrote it.

    :raises InputError: it is not of our form.
    """
    ours = (tool or {}).get("envbundle", {})
    if not isinstance(ours, Mapping) or not all(
        isinstance(value, str)
        if key in _TEXTS
        else isinstance(value, list) and all(isinstance(one, str) for one in value)
        for key, value in ours.items()
        if key in _TEXTS | _LISTS
    ):
        raise InputError(f"{where} is not of envbundle's form", hint=ANEW)
    return ours


def _distribution(
    package: Package, source: Source, *, path: Path, required_by: Iterable[str]
) -> LockedDistribution:
    ours = _our_table(package.tool, where=f"{path}: packages.{package.name}.tool.envbundle")
    chosen, kind = artifact(source, where=f"{path}: {package.name}", folder=path.parent)
    return LockedDistribution(
        name=package.name,
        version=str(package.version or ""),
        artifact=chosen,
        source="local" if ours.get("local") is True else kind,
        # A lock of another tool does not say what was requested, so everything counts as requested.
        requested=bool(ours.get("requested", not ours)),
        extras=tuple(ours.get("extras", ())),
        required_by=tuple(sorted(required_by)),
        yanked=ours.get("yanked"),
        index=redact.url(package.index) if package.index else None,
        built=_built(ours.get("built"), place=f"packages.{package.name}.tool.envbundle.built", path=path),
        identities=identities.read(package.attestation_identities or ()),
    )


def _built(raw: object, *, place: str, path: Path) -> Built | None:
    """Return what a lock says of the build of a wheel.

    :raises InputError: it is not of our form.
    """
    if raw is None:
        return None
    value = json_values.Value(raw=raw, place=place, source=str(path), hint=ANEW)
    return json_values.from_json(Built, value)


def artifact(source: Source, *, where: str, folder: Path, hashed: bool = True) -> tuple[Artifact, SourceKind]:
    """Return what a package of a lock is made from, and where that comes from; no URL has credentials.

    :param where: the lock and the package, for messages.
    :param folder: the folder of the lock, for relative paths.
    :param hashed: whether a file must have a sha256.
    :raises InputError: a file without sha256 or name, or a URL that is not one of a file or repository.
    """
    if isinstance(source, PackageVcs):
        return _repository(source, where=where), "vcs"
    if isinstance(source, PackageDirectory):
        path = str(real_path(folder / source.path))
        return Artifact(
            kind="directory", filename="", url=None, path=path, subdirectory=source.subdirectory
        ), "local"
    sha256 = source.hashes.get("sha256")
    if (hashed or sha256 is not None) and not _SHA256.fullmatch(sha256 or ""):
        raise InputError(f"{where}: no sha256", hint="envbundle trusts sha256 only: make the lock anew")
    if source.url:
        Address(source.url).check(where=where)
        redact.remember(source.url)
    if "\0" in f"{source.path or ''}{source.url or ''}":
        raise InputError(f"{where}: a path with a NUL in it", hint=ANEW)
    if source.url and not source.url.startswith(_SCHEMES):
        raise InputError(f"{where}: {redact.url(source.url)} is not a URL of a file", hint="use https://")
    url_path = unquote(urlsplit(source.url).path) if source.url else ""
    # A URL of a local file may stand in no lock that is made from this one: only the path is kept.
    remote = source.url if source.url and not source.url.startswith("file:") else None
    local = None if remote else url_path or str(real_path(folder / (source.path or "")))
    if isinstance(source, PackageArchive):
        filename = (url_path or source.path or "").rpartition("/")[2]
    else:
        filename = source.filename
    if not filename or Path(filename).name != filename:
        raise InputError(f"{where}: {filename!r} is not a file name", hint="make the lock anew")
    return Artifact(
        kind="wheel" if filename.endswith(".whl") else "sdist",
        filename=filename,
        url=_bare(remote) if remote else None,
        path=local,
        sha256=sha256,
        size=source.size,
        subdirectory=getattr(source, "subdirectory", None),
    ), "index" if not isinstance(source, PackageArchive) else "url" if remote else "local"


def _repository(source: PackageVcs, *, where: str) -> Artifact:
    if not source.url:
        raise InputError(f"{where}: a repository without a URL", hint="lock it with its URL")
    # Both become arguments of git: neither may be read as an option or another transport.
    if not (_REPOSITORY.match(source.url) and source.type.isalpha() and source.commit_id[:1].isalnum()):
        raise InputError(
            f"{where}: {redact.url(source.url)} at {source.commit_id!r} is no repository at a commit",
            hint="use the https:// URL of the repository and the full hash of the commit",
        )
    Address(source.url).check(where=where)
    return Artifact(
        kind="vcs",
        filename="",
        url=f"{source.type}+{redact.url(source.url)}",
        commit=source.commit_id,
        subdirectory=source.subdirectory,
    )


def _bare(url: str) -> str:
    """Return a URL without user part: neither a lock nor what is made from it may hold any.

    A query stays as long as the file is to be fetched by it, and is written nowhere (`to_pylock`).
    """
    return Address(url).without_user


def to_pylock(lock: Lock) -> str:
    """Write a lock as `pylock.toml`: the same text for the same lock."""
    return tomli_w.dumps(_values(lock), multiline_strings=False)


def _values(lock: Lock) -> dict[str, Any]:
    children: dict[str, list[str]] = {}
    for dist in lock.distributions:
        for parent in dist.required_by:
            children.setdefault(parent, []).append(dist.name)
    ours: dict[str, Any] = {
        "python-version": lock.python_version,
        "machine": lock.machine,
        "glibc": f"{lock.glibc[0]}.{lock.glibc[1]}",
        "requirements": list(lock.requirements),
    }
    if lock.constraints:
        ours["constraints"] = list(lock.constraints)
    minor = ".".join(lock.python_version.split(".")[:2])
    pylock = Pylock(
        lock_version=Version("1.0"),
        created_by="envbundle",
        requires_python=SpecifierSet(f"=={minor}.*"),
        environments=[
            Marker(
                f"implementation_name == 'cpython' and sys_platform == 'linux' "
                f"and platform_machine == '{lock.machine}'"
            )
        ],
        packages=[_to_package(dist, sorted(children.get(dist.name, []))) for dist in lock.distributions],
        tool={"envbundle": ours},
    )
    return dict(pylock.to_dict())


def _to_package(dist: LockedDistribution, dependencies: list[str]) -> Package:
    artifact = dist.artifact
    ours: dict[str, Any] = {"requested": dist.requested}
    if dist.extras:
        ours["extras"] = list(dist.extras)
    if dist.yanked is not None:
        ours["yanked"] = dist.yanked
    if dist.built is not None:
        # TOML has no null.
        ours["built"] = {key: one for key, one in json_values.as_json(dist.built).items() if one is not None}
    if dist.source == "local":
        # A wheel from a --find-links folder has a path as well, and was not made from a project here.
        ours["local"] = True
    hashes = {"sha256": artifact.sha256} if artifact.sha256 else {}
    # A local path stays on the builder: the file's name is enough beside its hash.
    place: dict[str, Any] = {"url": redact.url(artifact.url)} if artifact.url else {"path": artifact.filename}
    source: dict[str, Any] = {}
    if artifact.kind == "vcs":
        scheme, _, url = redact.url(artifact.url or "").partition("+")
        source["vcs"] = PackageVcs(
            type=scheme, url=url, commit_id=artifact.commit or "", subdirectory=artifact.subdirectory
        )
    elif artifact.kind == "directory":
        source["directory"] = PackageDirectory(path=artifact.path or "", subdirectory=artifact.subdirectory)
    elif dist.source == "url":
        source["archive"] = PackageArchive(
            **place, hashes=hashes, size=artifact.size, subdirectory=artifact.subdirectory
        )
    elif artifact.kind == "wheel":
        source["wheels"] = [PackageWheel(name=artifact.filename, **place, hashes=hashes, size=artifact.size)]
    else:
        source["sdist"] = PackageSdist(name=artifact.filename, **place, hashes=hashes, size=artifact.size)
    return Package(
        name=canonicalize_name(dist.name),
        version=Version(dist.version) if dist.version else None,
        index=None if "archive" in source or "vcs" in source else dist.index,
        dependencies=[{"name": name} for name in dependencies] or None,
        attestation_identities=[dict(one) for one in dist.identities] or None,
        tool={"envbundle": ours},
        **source,
    )


def to_requirements(lock: Lock, wheels: Mapping[str, str]) -> str:
    """Write a lock in the form that `pip install --require-hashes -r` takes.

    :param wheels: name → sha256 of the wheel, for what was built here from a project or repository
        (pip can hash neither; such a line needs the wheel itself, in a `--find-links` folder).
    """
    document = _values(lock)
    packages = document.pop("packages")
    lines = [
        f"# Python {lock.python_version}, {lock.machine}, glibc {lock.glibc[0]}.{lock.glibc[1]}",
        "# pip install --no-deps --require-hashes -r requirements.lock",
        _comment(document),
    ]
    for dist, package in zip(lock.distributions, packages, strict=True):
        built = dist.artifact.kind in {"vcs", "directory"}
        digest = wheels[dist.name] if built else dist.artifact.sha256
        if dist.source in {"vcs", "local"}:
            lines.append(f"# built here, needs its wheel in a --find-links folder: {dist.name}")
        lines += [_comment(package), f"{_pinned(dist)} \\\n    --hash=sha256:{digest}"]
    return "\n".join(lines) + "\n"


def _comment(part: Mapping[str, Any]) -> str:
    return _COMMENT + json.dumps(part, separators=(",", ":"))


def _pinned(dist: LockedDistribution) -> str:
    extras = f"[{','.join(dist.extras)}]" if dist.extras else ""
    if dist.source == "url" and dist.artifact.url:
        return f"{dist.name}{extras} @ {redact.url(dist.artifact.url)}"
    return f"{dist.name}{extras}=={dist.version}"


def is_whole(requirements: Requirements, *, path: Path, wheels_given: bool) -> bool:
    """Tell whether the comments of a requirements form say all that a `pylock.toml` says.

    :param requirements: what was read of its lines.
    :param wheels_given: the caller names folders with wheels (`--find-links`): what was built from a
        repository is taken from there, by the hash of its line, and not built again.
    :raises InputError: the comments say something else than the lines.
    """
    document = values(_read_text(path), where=str(path), requirements=True)
    # Options that somebody added count, and only the resolver minds them.
    if not document or replace(requirements, requirements=(), require_hashes=False) != Requirements():
        return False
    said = {}
    packages = _pylock(document, where=str(path)).packages
    if wheels_given and any(package.vcs for package in packages):
        return False
    for package in packages:
        single = (package.vcs, package.directory, package.archive, package.sdist)
        sources: list[Source] = [one for one in single if one is not None]
        for one in (*sources, *(package.wheels or ())):
            dist = _distribution(package, one, path=path, required_by=())
            said[_pinned(dist)] = dist.artifact.sha256
    lines = {one.text: one.hashes for one in requirements.requirements}
    for text in sorted(said.keys() | lines.keys()):
        # The hash of what is built from a repository is that of its wheel, which a pylock.toml does not know.
        hashes = (f"sha256:{said[text]}",) if said.get(text) else lines.get(text)
        if text not in said or lines.get(text) != hashes:
            raise InputError(
                f"{path}: its comments say something else of {redact.text(text)} than its lines",
                hint="make the lock anew, or take out the comments that begin with `# pylock:`",
            )
    return True


def require_pinned(requirements: Requirements, *, path: Path) -> None:
    """Check that a requirements file is a lock: every line pinned and hashed.

    :raises InputError: names the first line that is not.
    """
    for requirement in requirements.requirements:
        if not (requirement.hashes and _is_pinned(requirement)):
            raise InputError(
                f"{requirement.origin}: not pinned by version and hash: {redact.text(requirement.text)}",
                hint=f"{path.name} is no lock: give it with -r, or make a lock with `envbundle lock`",
            )


def _is_pinned(requirement: Requirement) -> bool:
    if requirement.name is None:
        return False
    parsed = pep508.requirement(requirement.text)
    return bool(parsed.url) or any(
        one.operator in {"==", "==="} and not one.version.endswith(".*") for one in parsed.specifier
    )


def completed(lock: Lock, known: Mapping[str, LockedDistribution]) -> Lock:
    """Replace distributions by those of the same names in `known`, with sizes, hashes and versions added."""
    merged = tuple(known.get(dist.name, dist) for dist in lock.distributions)
    return replace(lock, distributions=merged)


def identities_of(path: Path) -> dict[str, tuple[Claims, ...]]:
    """Return the identities of a lock by normalised name; none of a file that is not there, or is no lock."""
    try:
        document = values(_read_text(path), where=str(path), requirements=not is_pylock(path))
        packages = _pylock(document, where=str(path)).packages if document else ()
    except InputError:
        return {}
    return {one.name: identities.read(one.attestation_identities or ()) for one in packages}


def target_of(path: Path) -> tuple[str | None, str | None]:
    """Return the Python (`3.8`) and glibc (`2.31`) that a lock was made for; `None` where it does not say.

    :raises InputError: not readable, not TOML, or not of our form.
    """
    tool = values(_read_text(path), where=str(path), requirements=not is_pylock(path)).get("tool")
    ours = _our_table(tool if isinstance(tool, dict) else None, where=f"{path}: tool.envbundle")
    python = ours.get("python-version")
    # Another patch level of the same minor version runs the same wheels.
    return ".".join(python.split(".")[:2]) if python else None, ours.get("glibc")


def _read_text(path: Path) -> str:
    return outside.read_text(path, limit=MAX_BYTES, hint="check the path of the lock", named=True)
