"""Turns an environment that works today into requirements: what was asked for, and the versions of the rest.

What a bundle cannot have as the environment has it is told by name: what is not from an index, was edited,
has no RECORD, comes from conda, from the system or from PYTHONPATH.
Formats: https://packaging.python.org/en/latest/specifications/recording-installed-packages/ and
https://packaging.python.org/en/latest/specifications/direct-url/
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.markers import default_environment
from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Pep508
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from bundler.checks import installed
from bundler.create import requirements
from bundler.create.inputs import environment_files, environment_place
from bundler.create.inputs.environment_place import Place
from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.model import Note, Requirement, Requirements
from bundler.system import pep508, redact
from bundler.system.files import exists

SEEDS = frozenset({"pip", "setuptools", "wheel", "distribute"})
"""What `pip freeze` leaves out: tools that virtualenvs bring, which count where something requires them."""
_LIMIT = 1 << 20
"""Bytes of a direct_url.json."""


@dataclass(frozen=True, kw_only=True)
class _Distribution:
    """A distribution of the environment."""

    name: str
    version: str
    metadata: Path
    """Its .dist-info or .egg-info."""
    requires: tuple[Pep508, ...]
    requested: bool
    conda: bool
    direct: Mapping[str, Any] | None
    """The content of its direct_url.json; `None`: it comes from an index, as far as anybody knows."""
    system: bool = False

    @property
    def pin(self) -> str:
        """`name==version`, in the form that compares text where the version is not of PEP 440."""
        try:
            return f"{self.name}=={Version(self.version)}"
        except InvalidVersion:
            return f"{self.name}==={self.version}"


def read(path: Path, *, environ: Mapping[str, str]) -> Requirements:
    """Read an environment; nothing of it is imported.

    :param path: a virtualenv, a conda environment or a site-packages folder.
    :param environ: of the caller, for PYTHONPATH and HOME.
    :returns: as requirements what was asked for (REQUESTED, conda's own record), what does not come from an
        index, and what nothing else brings; every other version is a constraint.
    :raises InputError: it is no environment, there is nothing in it, or what it was made from is gone.
    """
    place = environment_place.find(path, environ)
    origin = f"the environment {path}"
    own = _distributions(place, place.folders)
    below = {name: one for name, one in _distributions(place, place.system).items() if name not in own}
    markers = _markers(place)
    roots, reached = _roots(own, below, markers)
    if not roots:
        raise InputError(f"{path}: nothing is installed there", hint=environment_place.WHAT_TO_NAME)
    wanted: list[Requirement] = []
    lost: list[_Distribution] = []
    for name in roots:
        dist = own[name]
        if (text := _direct_text(dist) if dist.direct else dist.pin) is None:
            lost.append(dist)
            continue
        wanted.append(requirements.parse(text, origin=origin, folder=Path.cwd()))
    if lost:
        raise InputError(
            f"{path}: what these were installed from is gone: "
            f"{', '.join(f'{one.name} {one.version} ({_source(one)})' for one in lost)}",
            hint=f"name them yourself, and where they are: {lost[0].pin} --find-links DIR",
        )
    rest = [*(own[name] for name in sorted(own.keys() - set(roots)))]
    rest += [below[name] for name in sorted(below.keys() & reached)]
    return Requirements(
        requirements=tuple(wanted),
        constraints=tuple(
            replace(requirements.parse(one.pin, origin=origin, folder=Path.cwd()), constraint=True)
            for one in rest
        ),
        told=(
            *_notes(own, below, reached, markers),
            *environment_files.notes(
                place, {name: one.metadata for name, one in own.items()}, environ.get("PYTHONPATH", "")
            ),
        ),
    )


def _distributions(place: Place, folders: Iterable[Path]) -> dict[str, _Distribution]:
    """Return what is installed in folders, by normalised name; the first folder wins, as on sys.path."""
    found: dict[str, _Distribution] = {}
    for folder in folders:
        seen = installed.read(folder)
        entries = [one.dist_info for one in seen.distributions]
        entries += [one.entry for one in seen.odd if one.entry.endswith(".egg-info")]
        for one in [_read(folder / entry, place) for entry in entries]:
            if one is not None:
                found.setdefault(one.name, one)
        for linked in _linked(folder):
            found.setdefault(linked.name, linked)
    return found


def _read(info: Path, place: Place) -> _Distribution | None:
    """Read one .dist-info or .egg-info; `None`: it names no distribution."""
    dist = importlib.metadata.PathDistribution(info)
    name, version = _field(dist, "Name"), _field(dist, "Version")
    if not name or not version:
        return None
    conda = (dist.read_text("INSTALLER") or "").strip() == "conda" or info.name in (
        place.conda_packages or {}
    )
    return _Distribution(
        name=canonicalize_name(name),
        version=version,
        metadata=info,
        requires=tuple(_parsed(dist.requires or ())),
        # conda's packages were mostly built with pip, which left its REQUESTED in all of them.
        requested=(place.conda_packages or {}).get(info.name, False)
        if conda
        else (info / "REQUESTED").exists(),
        conda=conda,
        direct=None if conda else _direct_url(info),
        system=info.parent in place.system,
    )


def _field(dist: importlib.metadata.Distribution, name: str) -> str:
    """Return a field of its metadata; empty where it has none."""
    head = dist.metadata
    return head[name] or "" if name in head else ""


def _parsed(lines: Iterable[str]) -> Iterator[Pep508]:
    for line in lines:
        try:
            yield pep508.requirement(line)
        except InvalidRequirement:  # noqa: PERF203 - a line at a time
            continue  # old metadata says odd things; what it means is asked of the index again


def _direct_url(info: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(installed.read_bytes(str(info / "direct_url.json"), _LIMIT))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("url"), str) else None


def _linked(folder: Path) -> Iterator[_Distribution]:
    """Yield what `setup.py develop` linked: an .egg-link holds the path of the folder with its .egg-info."""
    for link in sorted(folder.glob("*.egg-link")):
        lines = link.read_text(encoding="utf-8", errors="replace").splitlines()
        project = Path(lines[0].strip()) if lines else Path()
        metadata = next(iter(sorted(project.glob("*.egg-info"))), None) if project.is_absolute() else None
        dist = importlib.metadata.PathDistribution(metadata) if metadata else None
        yield _Distribution(
            name=canonicalize_name((dist and _field(dist, "Name")) or link.stem),
            version=_field(dist, "Version") if dist else "",
            metadata=link,
            requires=tuple(_parsed((dist and dist.requires) or ())),
            requested=True,
            conda=False,
            direct={"url": project.as_uri() if project.is_absolute() else "", "dir_info": {"editable": True}},
        )


def _markers(place: Place) -> dict[str, str]:
    """Return the environment of markers, as far as it decides which of the distributions belong together."""
    markers = {key: str(value) for key, value in default_environment().items()}
    if place.python and place.minor:
        markers |= {"python_version": place.minor, "python_full_version": place.python}
    return markers


def _needs(dist: _Distribution, extra: str, markers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (name, extra) pairs that a distribution requires, itself or with one of its extras."""
    for one in dist.requires:
        if one.marker is None or one.marker.evaluate({**markers, "extra": extra}):
            yield from ((canonicalize_name(one.name), wanted) for wanted in ("", *sorted(one.extras)))


def _reach(
    starts: Iterable[str], known: Mapping[str, _Distribution], markers: Mapping[str, str]
) -> frozenset[str]:
    """Return the names that are required from `starts` on, these included; those that are absent too."""
    waiting = [(name, "") for name in starts]
    seen = set(waiting)
    while waiting:
        name, extra = waiting.pop()
        fresh = set(_needs(known[name], extra, markers)) - seen if name in known else set()
        seen |= fresh
        waiting += sorted(fresh)
    return frozenset(name for name, _ in seen)


def _roots(
    own: Mapping[str, _Distribution], below: Mapping[str, _Distribution], markers: Mapping[str, str]
) -> tuple[list[str], frozenset[str]]:
    """Return what is to be asked for, sorted, and the names of all that it needs.

    What nothing reaches from the requested ones was left over, or brought by an extra: it is a root too, so
    that the bundle has whatever the environment has.
    """
    known = {**below, **own}
    roots = {name for name, one in own.items() if one.direct or (one.requested and name not in SEEDS)}
    while True:
        reached = _reach(roots, known, markers)
        rest = own.keys() - reached - SEEDS
        if not rest:
            return sorted(roots), reached
        required = {
            name for one in rest for name, _ in _needs(own[one], "", markers) if name != one and name in rest
        }
        roots |= (rest - required) or {min(rest)}


def _direct_text(dist: _Distribution) -> str | None:
    """Return the requirement for what its direct_url.json names; `None`: a path that is gone."""
    direct = dist.direct or {}
    url, inner = str(direct["url"]), str(direct.get("subdirectory") or "")
    vcs, archive = direct.get("vcs_info"), direct.get("archive_info")
    if isinstance(vcs, dict):
        place = f"#subdirectory={inner}" if inner else ""
        return f"{dist.name} @ {vcs.get('vcs')}+{url}@{vcs.get('commit_id')}{place}"
    if url.startswith("file:"):
        path = Path(unquote(urlsplit(url).path)) / inner
        return f"{dist.name} @ {path.as_uri()}" if exists(path) else None
    hashes = archive.get("hashes") if isinstance(archive, dict) else None
    sha256 = hashes.get("sha256") if isinstance(hashes, dict) else None
    marks = [f"sha256={sha256}"] if sha256 else []
    marks += [f"subdirectory={inner}"] if inner else []
    return f"{dist.name} @ {url}" + (f"#{'&'.join(marks)}" if marks else "")


def _source(dist: _Distribution) -> str:
    url = str((dist.direct or {}).get("url", ""))
    return unquote(urlsplit(url).path) if url.startswith("file:") else redact.text(url)


def _notes(
    own: Mapping[str, _Distribution],
    below: Mapping[str, _Distribution],
    reached: frozenset[str],
    markers: Mapping[str, str],
) -> Iterator[Note]:
    """Tell what does not come from an index, and what the environment needs and does not have itself."""
    for name, one in sorted(own.items()):
        subject = f"{one.name} {one.version}".strip()
        if one.conda:
            yield Note(
                subject=subject,
                text="conda installed it: the bundle takes this version from the index, built by others",
            )
        elif one.direct:
            yield Note(subject=subject, text=_direct_words(one), place=_source(one))
        if "+" in one.version and not one.direct:
            yield Note(
                subject=subject,
                text="has a local version, which the default index has not: name its index "
                "(--extra-index-url)",
            )
        for missing in sorted({need for need, _ in _needs(one, "", markers)} - own.keys() - below.keys()):
            if name in reached:
                yield Note(
                    subject=missing,
                    text=f"{name} requires it, and the environment has none: the bundle gets it",
                )
    for name in sorted(below.keys() & reached):
        one = below[name]
        yield Note(
            subject=f"{one.name} {one.version}",
            text="stands outside the environment, with the system's packages: the bundle has this version "
            "from the index",
            place=str(one.metadata.parent),
        )


def _direct_words(dist: _Distribution) -> str:
    direct = dist.direct or {}
    folder, vcs = direct.get("dir_info"), direct.get("vcs_info")
    if isinstance(vcs, dict):
        return f"comes from a repository, and is taken at its commit {str(vcs.get('commit_id'))[:12]}"
    if isinstance(folder, dict):
        how = "is editable" if folder.get("editable") else "was installed from a folder"
        return f"{how}: the bundle has what its project holds now"
    if str(direct["url"]).startswith("file:"):
        return "was installed from a local file, and is taken from there"
    return "was installed from a URL, and is taken from there"
