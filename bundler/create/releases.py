"""The releases of a distribution as the caller's indexes list them: which files there are, and since when."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from pathlib import Path
from urllib.parse import urljoin

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from bundler.create import index_pages
from bundler.create.index_pages import Listed
from bundler.lazy_dataclass import dataclass
from bundler.model import IndexSettings, LockedDistribution, Requirements, Target
from bundler.system import index_settings, pep508
from bundler.system.http import Network
from bundler.targets import target as targets

PARALLEL = 8
"""Pages that are fetched at once."""
_GLIBC = re.compile(r"manylinux_2_(\d+)_")


_PYTHON = re.compile(r"cp3(\d+)")
_LEGACY = {"manylinux1_": 5, "manylinux2010_": 12, "manylinux2014_": 17}


@dataclass(frozen=True, kw_only=True)
class Release:
    """The files of one version that the target's Python permits, and all of its wheels."""

    version: Version
    wheel: bool
    """One of its wheels is for the target."""
    source: bool
    """It has a source distribution that permits the target's Python."""
    uploaded: str
    """Of its first file (ISO 8601); empty: the index does not say it."""
    wheels: tuple[str, ...]
    """File names of all its wheels, for other targets too."""


@dataclass(kw_only=True)
class Releases:
    """Looks up releases, each distribution once."""

    settings: IndexSettings
    target: Target
    _known: dict[str, tuple[Release, ...]] = field(default_factory=dict)

    def of(self, name: str) -> tuple[Release, ...]:
        """Return the releases of a distribution, the newest first; none where no index answers.

        Pre-releases and yanked files are left out.
        """
        if name not in self._known:
            self._known[name] = tuple(self._read(Network(self.settings), name))
        return self._known[name]

    def read_ahead(self, names: Iterable[str]) -> None:
        """Look up several distributions at once."""
        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(self.of, set(names) - self._known.keys()))

    def _read(self, network: Network, name: str) -> Iterator[Release]:
        versions: dict[Version, list[Listed]] = {}
        for one in self._files(network, name):
            version = _version(one.filename, name)
            if version is not None and not one.yanked and not version.is_prerelease:
                versions.setdefault(version, []).append(one)
        for version, files in sorted(versions.items(), reverse=True):
            python = self.target.python_version
            fit = [one for one in files if targets.permits(one.requires_python, python)]
            wheels = [one.filename for one in fit if one.filename.endswith(".whl")]
            yield Release(
                version=version,
                wheel=targets.best_wheel(self.target, wheels) is not None,
                source=len(fit) > len(wheels),
                uploaded=min((one.uploaded for one in files if one.uploaded), default=""),
                wheels=tuple(one.filename for one in files if one.filename.endswith(".whl")),
            )

    def _files(self, network: Network, name: str) -> Iterator[Listed]:
        settings = self.settings
        for link in settings.find_links:
            if "://" not in link and Path(link).is_dir():
                for path in sorted(Path(link).iterdir()):
                    yield Listed(filename=path.name, url=path.as_uri(), sha256="")
        if settings.no_index:
            return
        for index in (settings.index_url or index_settings.default_index(), *settings.extra_index_urls):
            page = index_pages.fetch(network, urljoin(f"{index.rstrip('/')}/", f"{name}/"))
            if page is not None and page.sha256:
                yield from index_pages.files(page)


def _version(filename: str, name: str) -> Version | None:
    """Return the version of a file of a distribution; `None` for one of another, or of another kind."""
    try:
        if filename.endswith(".whl"):
            found, version, *_ = parse_wheel_filename(filename)
        else:
            found, version = parse_sdist_filename(filename)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None
    return version if canonicalize_name(found) == name else None


@dataclass(frozen=True, kw_only=True)
class OlderWheel:
    """A version with a wheel for the target, of what would be built from source."""

    built: LockedDistribution
    version: str
    permitted: bool
    """The caller's own lines on the distribution permit that version."""


def older_wheels(
    distributions: Iterable[LockedDistribution],
    *,
    settings: IndexSettings,
    target: Target,
    wanted: Requirements | None,
) -> tuple[OlderWheel, ...]:
    """Return which distributions would be built from source though an older version has a wheel.

    :param distributions: those of a lock; only source distributions of an index count, and of these only what
        `--no-binary` does not name.
    """
    sources = {
        dist.name: dist
        for dist in distributions
        if dist.artifact.kind == "sdist"
        and dist.source == "index"
        and not _is_built_by_wish(dist.name, wanted)
    }
    if not sources:
        return ()
    releases = Releases(settings=settings, target=target)
    releases.read_ahead(sources)
    found = []
    for name, dist in sources.items():
        older = [one for one in releases.of(name) if one.wheel and _is_before(one.version, dist.version)]
        permitted = [one for one in older if is_permitted(name, one.version, wanted)]
        if older:
            best = (permitted or older)[0]
            found.append(OlderWheel(built=dist, version=str(best.version), permitted=bool(permitted)))
    return tuple(found)


def _is_built_by_wish(name: str, wanted: Requirements | None) -> bool:
    values = [one for value in (wanted.no_binary if wanted else ()) for one in value.split(",")]
    return ":all:" in values or any(canonicalize_name(one) == name for one in values)


def _is_before(version: Version, other: str) -> bool:
    try:
        return version < Version(other)
    except InvalidVersion:
        return False


def is_permitted(name: str, version: Version, wanted: Requirements | None) -> bool:
    """Tell whether the caller's own lines on a distribution permit a version."""
    own = [one for one in (*wanted.requirements, *wanted.constraints) if one.name == name] if wanted else []
    parsed = [pep508.requirement(one.text) for one in own]
    return all(one.specifier.contains(version, prereleases=True) for one in parsed)


def last_with_wheel(releases: Iterable[Release]) -> Release | None:
    """Return the newest release that has a wheel for the target."""
    return next((one for one in releases if one.wheel), None)


def needs_of_wheels(release: Release, target: Target) -> str:
    """Say for which Pythons and from which glibc on a release has wheels, where none is for the target.

    :returns: `Python 3.9, 3.10`, or `glibc 2.28` where the target's Python has one; empty where it has no
        wheel at all for the target's machine.
    """
    pythons: dict[int, int] = {}
    for filename in release.wheels:
        pythons_of, _, platforms = filename.removesuffix(".whl").rsplit("-", 3)[1:]
        if target.machine not in platforms:
            continue
        glibc = _glibc(platforms)
        for minor in _PYTHON.findall(pythons_of):
            pythons[int(minor)] = min(glibc, pythons.get(int(minor), glibc))
    own = int(target.minor.partition(".")[2])
    if own in pythons:
        return f"glibc 2.{pythons[own]}" if pythons[own] > target.glibc[1] else ""
    return f"Python {', '.join(f'3.{minor}' for minor in sorted(pythons))}" if pythons else ""


def _glibc(tags: str) -> int:
    """Return the oldest glibc 2.N that the platform tags of a wheel accept."""
    found = [int(minor) for minor in _GLIBC.findall(tags)]
    found += [minor for name, minor in _LEGACY.items() if name in tags]
    return min(found, default=0)
