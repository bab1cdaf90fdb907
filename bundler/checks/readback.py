"""Reads back from an installed tree what was known of each wheel when it was put there."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.metadata import RawMetadata, parse_email
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from bundler.checks import observed
from bundler.model import StoredWheel, WheelFacts
from bundler.wheels import elf, facts, importables, launchers
from bundler.wheels.unpack import INSTALLER_FILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from bundler.model import FileFact, LockedDistribution

METADATA_LIMIT = 16 << 20
"""Bytes; a description may hold pictures."""


@dataclass(frozen=True, kw_only=True)
class Installed:
    """A tree and how it is laid out."""

    prefix: Path
    site_packages: str
    """Relative to the prefix."""
    files: Mapping[str, FileFact]
    """Path → what is there, of ordinary files alone: nothing else is opened."""
    extension_suffixes: tuple[str, ...]


def wheels(
    tree: Installed, distributions: Iterable[LockedDistribution], *, built_from: Mapping[str, str]
) -> tuple[StoredWheel, ...]:
    """Describe every distribution that is there, as far as its folder of metadata can be read.

    What is installed of them and in which version is for the checks to compare: here the folders count.

    :param built_from: normalised name → source, for what was built and not fetched.
    """
    seen = observed.read(tree.prefix / tree.site_packages)
    owned: dict[str, list[str]] = defaultdict(list)
    for row in observed.read_records(tree.prefix, tree.site_packages, seen):
        if row.path in tree.files and not _is_installers(row.path):
            owned[row.owner].append(row.path)
    installed = {one.name: one for one in seen.distributions}
    return tuple(
        StoredWheel(
            locked=dist,
            facts=_facts(tree, installed[dist.name], dist, sorted(set(owned[dist.name]))),
            tree=tree.prefix,
            built_from=built_from.get(dist.name),
        )
        for dist in distributions
        if dist.name in installed
    )


def _is_installers(path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return folder.endswith(".dist-info") and name in INSTALLER_FILES


def _facts(
    tree: Installed, seen: observed.ObservedDistribution, dist: LockedDistribution, paths: list[str]
) -> WheelFacts:
    folder = f"{tree.site_packages}/{seen.dist_info}"
    metadata = _fields(tree, f"{folder}/METADATA")[0]
    inner = [path.removeprefix(f"{tree.site_packages}/") for path in paths]
    files = tuple(tree.files[path] for path in paths)
    filename = dist.artifact.filename
    tags = _tags(filename)
    if not tags:  # it was built here, from a source
        tags = tuple(sorted(_fields(tree, f"{folder}/WHEEL")[1].get("tag", ())))
        filename = _wheel_name(seen.dist_info, tags)
    return WheelFacts(
        name=metadata.get("name") or seen.name,
        version=metadata.get("version") or seen.version,
        filename=filename,
        sha256=dist.artifact.sha256 or "",
        dist_info=seen.dist_info,
        tags=tags,
        requires_python=metadata.get("requires_python"),
        requires=tuple(metadata.get("requires_dist", ())),
        extras=tuple(metadata.get("provides_extra", ())),
        modules=importables.modules(
            tree.prefix / tree.site_packages,
            [short for short, path in zip(inner, paths, strict=True) if short != path],
            extension_suffixes=tree.extension_suffixes,
        ),
        scripts=tuple(path.removeprefix("bin/") for path in paths if path.startswith("bin/")),
        files=files,
        native=elf.scan(tree.prefix, files),
        startup=facts.startup(tree.prefix, paths, site_packages=tree.site_packages),
        build_paths=facts.build_paths(tree.prefix, paths),
        licence=facts.licence(metadata),
        entry_points=_entry_points(tree, f"{folder}/entry_points.txt"),
    )


def _entry_points(tree: Installed, path: str) -> tuple[str, ...]:
    if path not in tree.files:
        return ()
    text = observed.read_bytes(f"{tree.prefix}/{path}", METADATA_LIMIT).decode("utf-8", "replace")
    try:
        return tuple(facts.one_line(entry) for entry in launchers.declared(text))
    except launchers.EntryPointError:  # it was sound when it was installed: its hash says that it is changed
        return ()


def _fields(tree: Installed, path: str) -> tuple[RawMetadata, dict[str, list[str]]]:
    """Fields of a METADATA or WHEEL: those that the specification knows, and the rest."""
    if path not in tree.files:
        return RawMetadata(), {}
    return parse_email(observed.read_bytes(f"{tree.prefix}/{path}", METADATA_LIMIT))


def _wheel_name(dist_info: str, tags: tuple[str, ...]) -> str:
    """Return the filename of a wheel with these tags, pressed together as PEP 425 does it."""
    parts = zip(*(tag.split("-") for tag in tags if tag.count("-") == 2), strict=True)
    pressed = "-".join(".".join(sorted(set(part))) for part in parts)
    return f"{dist_info.removesuffix('.dist-info')}-{pressed}.whl"


def _tags(filename: str) -> tuple[str, ...]:
    try:
        return tuple(sorted(map(str, parse_wheel_filename(filename)[3])))
    except InvalidWheelFilename:
        return ()
