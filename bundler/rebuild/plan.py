"""Plans a run: every bundle for each of its Pythons and images, and which shard makes which.

The plan follows from the file alone, so that many machines make the same plan without asking each other.
"""

from __future__ import annotations

import fnmatch
import hashlib
import itertools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from bundler.bundle import identities
from bundler.bundle import lock as locks
from bundler.checks.imports import service_code
from bundler.checks.rules.publishers import PublisherRules
from bundler.create import cutoff, inputs, requirements
from bundler.create.mend.pins import Limits
from bundler.create.request import CreateRequest
from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.model import IndexSettings
from bundler.rebuild.config import Bundle, Config, document
from bundler.rebuild.config.keys import ImageChoice
from bundler.wheels.store import default_root

MOST_SHARDS = 1000
LONGEST_NAME = 200
"""Of a folder, in characters: filesystems take 255 bytes, and what is made beside it has a longer name."""
_SHARD = re.compile(r"([0-9]{1,4})/([0-9]{1,4})")
_SHARD_HINT = "write --shard 1/4, --shard 2/4 and so on: every machine takes one"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A bundle for one Python and one image."""

    name: str
    bundle: Bundle
    python: str
    """`3.8` or `3.8.18`."""
    image: ImageChoice | None

    @property
    def folder(self) -> Path:
        """Where the bundle's builds are."""
        return self.bundle.output / self.name


@dataclass(frozen=True, kw_only=True)
class Job:
    """One cell of the matrix; picklable, so that a worker elsewhere can do it."""

    name: str
    """`scoring-py38`, with an image `scoring-py38-IMAGE`: unique in its file, and a safe folder name."""
    bundle: str
    """`scoring`, as the file names it."""
    folder: Path
    """OUTPUT/name, absolute."""
    request: CreateRequest
    """Its output is `folder / "current"`; its lock file is that of the bundle's key `lock`, else `None`."""
    formats: tuple[str, ...]
    """Archives to make beside the folder; `dir` is always made."""
    keep: int
    """Builds to keep, at least 1."""
    sign: Path | None = None
    """The key that signs its builds; it is on the machine of the run."""
    place: str
    """`envbundle.toml:17`, for messages."""


def plan(
    config: Config,
    *,
    only: Sequence[str] = (),
    shard: tuple[int, int] | None = None,
    now: datetime,
    environ: Mapping[str, str] = os.environ,
    cache_dir: Path | None = None,
    exclude_newer: str | None = None,
    require_isolation: bool = False,
) -> tuple[Job, ...]:
    """Return the jobs of this run, in the order of the file; a shard may have none.

    :param only: names of bundles or jobs, or patterns of them (`scoring-*`).
    :param shard: (number from 1, count).
    :param now: with its zone; an `exclude-newer` of `7 days` is counted back from it.
    :param environ: the variables for `${X}` in URLs of indexes.
    :param cache_dir: replaces the file's; without both, the caller's is used.
    :param exclude_newer: replaces the file's; does not apply to locks.
    :param require_isolation: of every bundle, whatever the file says.
    :raises InputError: a matrix that expands to nothing or to the same folder twice, a name in `only` that
        nothing has, no such shard, a length of time that is none, or a variable that is not set.
    """
    chosen = choose(cells(config), only=only, shard=shard)
    if exclude_newer:
        try:
            cutoff.parse(exclude_newer)
        except InputError as error:
            raise InputError(f"--exclude-newer: {error.message}", hint=error.hint) from None
    store = cache_dir or config.cache_dir or default_root(environ)
    jobs = tuple(
        _job(cell, config, store.absolute(), now=now, environ=environ, exclude_newer=exclude_newer)
        for cell in chosen
    )
    if require_isolation:
        return tuple(replace(job, request=replace(job.request, require_isolation=True)) for job in jobs)
    return jobs


def cells(config: Config) -> tuple[Cell, ...]:
    """Return all cells of the file, in its order.

    :raises InputError: a matrix that expands to nothing, or two folders that are the same or inside each
        other.
    """
    found = tuple(cell for bundle in config.bundles for cell in _expand(bundle))
    _require_room(found, config)
    return found


def choose(
    every: Sequence[Cell], *, only: Sequence[str] = (), shard: tuple[int, int] | None = None
) -> tuple[Cell, ...]:
    """Return the cells that are named and in the shard.

    :raises InputError: a name that nothing has, or no such shard.
    """
    for pattern in only:
        if not any(_named(cell, pattern) for cell in every):
            known = [name for cell in every for name in (cell.bundle.name, cell.name)]
            raise InputError(
                f"--only {pattern!r}: no bundle has that name",
                hint=f"{document.meant(pattern, known)}`envbundle matrix` lists all of them",
            )
    if shard is not None:
        require_shard(*shard)
    return tuple(
        cell
        for cell in every
        if (not only or any(_named(cell, pattern) for pattern in only))
        and (shard is None or shard_of(cell.name, shard[1]) == shard[0])
    )


def parse_shard(text: str) -> tuple[int, int]:
    """Read `2/4`.

    :raises InputError: it is not of that form, or there is no such shard.
    """
    match = _SHARD.fullmatch(text)
    if match is None:
        raise InputError(f"--shard {text[:80]!r}: is not of the form 2/4", hint=_SHARD_HINT)
    return require_shard(int(match[1]), int(match[2]))


def require_shard(number: int, count: int) -> tuple[int, int]:
    """Return the shard, if there is such a one.

    :raises InputError: the number is not from 1 to the count, or the count is too large.
    """
    if not 1 <= number <= count <= MOST_SHARDS:
        raise InputError(f"--shard {number}/{count}: there is no such part", hint=_SHARD_HINT)
    return number, count


def shard_of(name: str, count: int) -> int:
    """Return the shard of a job, from 1: the one whose number and the job's name have the highest hash.

    So it depends on name and count alone; one more shard takes its jobs evenly from all others and moves none
    between these (rendezvous hashing, https://doi.org/10.1109/90.663936).
    """
    return max(
        range(1, count + 1), key=lambda number: hashlib.sha256(f"{number}/{name}".encode("ascii")).digest()
    )


def _named(cell: Cell, pattern: str) -> bool:
    return any(
        name == pattern or fnmatch.fnmatchcase(name, pattern) for name in (cell.bundle.name, cell.name)
    )


def _expand(bundle: Bundle) -> list[Cell]:
    """Return a cell for each Python and image that fit each other."""
    pythons = bundle.python if _names_python(bundle) else _pythons_of_inputs(bundle)
    if not bundle.images:
        found = [_cell(bundle, python, None) for python in pythons]
    elif not pythons:
        found = [_cell(bundle, image.python, image) for image in bundle.images if image.python]
    else:
        found = [
            _cell(bundle, python, image)
            for python in pythons
            for image in bundle.images
            if image.python in (None, _minor(python))
        ]
    _require_use(bundle, pythons, found)
    if bundle.lock and len(found) > 1:
        raise InputError(
            f"{bundle.place('lock')}: {bundle.name}: a lock is for one target, and this is for "
            f"{len(found)}: {', '.join(cell.name for cell in found[:4])}",
            hint="write one [[bundle]] for each lock",
        )
    return found


def _cell(bundle: Bundle, python: str, image: ImageChoice | None) -> Cell:
    digits = _minor(python).replace(".", "")
    name = f"{bundle.name}-py{digits}" + (f"-{image.name}" if image else "")
    return Cell(name=name, bundle=bundle, python=python, image=image)


def _names_python(bundle: Bundle) -> bool:
    """Return whether the bundle itself or an image names its Python; the defaults do not know of its lock."""
    return "python" in bundle.own or any(image.python for image in bundle.images)


def _pythons_of_inputs(bundle: Bundle) -> tuple[str, ...]:
    """Return the Python of a lock, an environment or a file that names one; else those of the defaults."""
    key = "lock" if bundle.lock else "from-env" if bundle.from_env else "requirements"
    try:
        if bundle.lock:
            python = locks.target_of(bundle.lock)[0]
        else:
            python = inputs.python_of(environment=bundle.from_env, files=bundle.requirements, environ={})
    except InputError as error:
        raise InputError(f"{bundle.place(key)}: {error.message}", hint=error.hint) from None
    if python is None and not (bundle.python or bundle.images):
        given = bundle.lock or bundle.from_env or bundle.requirements[0]
        raise InputError(
            f"{bundle.place(key)}: {bundle.name}: {given.name} does not say its Python",
            hint='add python = "3.8"',
        )
    return bundle.python if python is None else (python,)


def _require_use(bundle: Bundle, pythons: Sequence[str], found: Sequence[Cell]) -> None:
    """Refuse a Python or an image that the bundle itself names and that no cell has."""
    silent = [image.name for image in bundle.images if image.python is None]
    if silent and not pythons:
        raise InputError(
            f"{bundle.place('image')}: {bundle.name}: the profile of {silent[0]} does not say its Python",
            hint='add python = "3.8"',
        )
    for image in bundle.images:
        if not any(cell.image == image for cell in found) and ("image" in bundle.own or not found):
            raise InputError(
                f"{bundle.place('image')}: {bundle.name}: the image {image.name} has Python {image.python}, "
                f"and python names {', '.join(pythons)}",
                hint="name its Python too, or another image; python can be left out where an image says it",
            )
    for python in pythons:
        if not any(cell.python == python for cell in found) and (not found or "python" in bundle.own):
            raise InputError(
                f"{bundle.place('python')}: {bundle.name}: no image that is named has Python {python}",
                hint="add such an image, or leave this Python out",
            )


def _require_room(found: Iterable[Cell], config: Config) -> None:
    """Refuse folders that are the same or inside each other, also on a filesystem that ignores case."""
    places = []
    for cell in found:
        where = cell.bundle.place("bundle")
        if len(cell.name) > LONGEST_NAME:
            raise InputError(
                f"{where}: {cell.name[:80]}… is too long for the name of a folder", hint="shorten the name"
            )
        parts = Path(os.path.realpath(cell.folder).lower()).parts
        places.append((parts, where, f"the folder of {cell.name}", cell.folder))
    summary = (Path(os.path.realpath(config.output).lower()).parts, str(config.path), "output", config.output)
    # Sorted, a folder comes directly before what is inside it.
    ordered = sorted([*places, summary], key=lambda one: one[0])
    for outer, inner in itertools.pairwise(ordered):
        if outer is not summary and inner[0][: len(outer[0])] == outer[0]:
            how = "the same as" if inner[0] == outer[0] else "inside"
            raise InputError(
                f"{inner[1]}: {inner[2]}, {inner[3]}, is {how} {outer[2]} ({outer[1]})",
                hint="give one of them another name or output",
            )


def _minor(python: str) -> str:
    return ".".join(python.split(".")[:2])


def _job(
    cell: Cell,
    config: Config,
    store: Path,
    *,
    now: datetime,
    environ: Mapping[str, str],
    exclude_newer: str | None,
) -> Job:
    bundle = cell.bundle
    aged = None if bundle.lock else exclude_newer or bundle.exclude_newer
    request = CreateRequest(
        requirement_files=bundle.requirements,
        constraint_files=bundle.constraints,
        from_env=bundle.from_env,
        extras=bundle.extras,
        groups=bundle.groups,
        build_constraint_files=bundle.build_constraints,
        lock_file=bundle.lock,
        python=cell.python,
        glibc=bundle.glibc,
        image=cell.image.given if cell.image else None,
        fit=bundle.fit,
        server=bundle.server,
        resolver=bundle.resolver,
        index=_index(bundle, environ),
        no_binary=bundle.no_binary,
        only_binary=bundle.only_binary,
        pre=bundle.pre,
        exclude_newer=cutoff.cutoff(aged, now=now) if aged else None,
        prefer_binary=bundle.prefer_binary,
        build_timeout=bundle.build_timeout,
        build_disk=bundle.build_disk,
        limits=bundle.limits,
        no_build=bundle.no_build,
        build_network=bundle.build_network,
        require_isolation=bundle.require_isolation,
        python_downloads=config.python_downloads,
        job=cell.name,
        cache_dir=store,
        output=cell.folder / "current",
        policy=bundle.policy,
        provenance=_provenance(bundle),
        thin=bundle.thin,
        mend=Limits() if bundle.mend else None,
        service=service_code.read(bundle.entry, bundle.source, python=cell.python),
    )
    return Job(
        name=cell.name,
        bundle=bundle.name,
        folder=cell.folder,
        request=request,
        formats=bundle.formats,
        keep=bundle.keep,
        sign=bundle.sign,
        place=bundle.place("bundle"),
    )


def _provenance(bundle: Bundle) -> PublisherRules | None:
    """Return what is demanded of publishers, with the trust root itself: workers have no such file."""
    given = bundle.provenance
    if given is None:
        return None
    try:
        root = identities.read_root(given.trusted_root) if given.trusted_root else ""
    except InputError as error:
        raise InputError(f"{bundle.place('provenance')}: {error.message}", hint=error.hint) from None
    return PublisherRules(require=given.require, publishers=given.publishers, trusted_root=root)


def _index(bundle: Bundle, environ: Mapping[str, str]) -> IndexSettings:
    """Return the index settings of a bundle with the caller's variables in their URLs."""

    def whole(url: str, key: str) -> str:
        origin = f"{bundle.place(key)}: {key}"
        value = requirements.expand(url, origin=origin, environ=environ)
        if value != url and ("://" not in value or re.search(r"\s", value) or not value.isprintable()):
            raise InputError(
                f"{origin} is no URL once its variables are in place",
                hint="a variable that was read from a file may end with a line end",
            )
        return value

    index = bundle.index
    return replace(
        index,
        index_url=whole(index.index_url, "index-url") if index.index_url else None,
        extra_index_urls=tuple(whole(url, "extra-index-url") for url in index.extra_index_urls),
        find_links=tuple(whole(link, "find-links") if "://" in link else link for link in index.find_links),
    )
