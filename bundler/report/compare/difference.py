"""The values of a comparison of two bundles or locks; `compare.compare` makes them.

As JSON they are described in docs/diff.md and differences.schema.json.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, Literal

from bundler.lazy_dataclass import dataclass
from bundler.model import Finding

KIND = "envbundle-differences"
SCHEMA_VERSION = "1.0"

SideKind = Literal["bundle", "lock"]
Direction = Literal["added", "removed", "upgraded", "downgraded", "changed"]
Step = Literal["major", "minor", "patch", "other", ""]
Movement = Literal["new", "rose", "fell", "gone"]


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One side as a whole."""

    name: str
    """As the caller named it, a path for instance; may be empty."""
    kind: SideKind
    distributions: int
    digest: str | None = None
    """Of a bundle's tree."""
    size: int | None = None
    """Bytes of a bundle's tree."""
    files: int | None = None
    verdict: str | None = None
    """Of a bundle: the worst outcome of its checks, `passed`, `warned` or `failed`."""


@dataclass(frozen=True, kw_only=True)
class SymbolChange:
    """The highest symbol version of a family that the native files need of the system."""

    family: str
    """`GLIBC`."""
    old: str | None
    """`GLIBC_2.17`; `None`: nothing of this family was needed."""
    new: str | None
    movement: Movement


@dataclass(frozen=True, kw_only=True)
class NeedsChange:
    """What the bundle needs of the system now and did not need before, and the reverse."""

    symbols: tuple[SymbolChange, ...] = ()
    """Those that rose or are new stand first."""
    libraries_added: tuple[str, ...] = ()
    """SONAMEs."""
    libraries_removed: tuple[str, ...] = ()
    suspects: tuple[str, ...] = ()
    """If a need rose or is new: the distributions whose native files are new, changed or gone, sorted. One of
    them is the cause."""

    @property
    def alarming(self) -> bool:
        """Tell whether the image must have more than before."""
        return bool(self.libraries_added) or any(one.movement in ("new", "rose") for one in self.symbols)


@dataclass(frozen=True, kw_only=True)
class FindingChange:
    """A finding that is new (`old` is `None`), gone (`new` is `None`), or judged otherwise."""

    old: Finding | None
    new: Finding | None

    @property
    def way(self) -> Literal["new", "gone", "changed"]:
        """What became of it."""
        return "new" if self.old is None else "gone" if self.new is None else "changed"

    @property
    def finding(self) -> Finding:
        """As it is now, or was if it went."""
        found = self.new or self.old
        if found is None:
            raise ValueError("a change of a finding has neither side")
        return found


@dataclass(frozen=True, kw_only=True)
class Release:
    """One distribution on one side."""

    version: str
    """Where a lock for several targets has several, joined by commas; may be empty (a project's folder)."""
    filename: str | None = None
    """`None`: the side does not say it, or has several."""
    hashes: tuple[str, ...] = ()
    """sha256 of the files that may be taken, sorted; a bundle has at most one."""
    source: str | None = None
    """`index`, `url`, `vcs`, `local`; `None`: the side does not say it."""
    index: str | None = None
    commit: str | None = None
    """Of a VCS."""
    built_from: str | None = None
    """Of a bundle: the source that envbundle built it from; `None`: a wheel was fetched."""
    bytes: int | None = None
    """Installed; `None`: a lock does not know."""
    licence: str | None = None
    """`None`: the side does not know; empty: METADATA says nothing."""
    requested: bool | None = None
    extras: tuple[str, ...] = ()
    yanked: str | None = None
    """The reason, which may be empty; `None`: not yanked, or not known."""
    publishers: tuple[str, ...] = ()
    """Who is proved to have published the file: `GitHub:numpy/numpy@wheels.yml`; empty: not known."""


@dataclass(frozen=True, kw_only=True)
class DistributionChange:
    """A distribution that was added, removed or changed."""

    name: str
    """Normalised."""
    change: Direction
    """`changed`: the same version, or one that cannot be ordered."""
    step: Step = ""
    """Of an upgrade or a downgrade: the first number of the version that differs."""
    what: tuple[str, ...] = ()
    """What differs where both sides have it: `version`, `file`, `source`, `index`, `commit`, `build`,
    `requested`, `extras`, `yanked`, `publisher`."""
    old: Release | None = None
    new: Release | None = None
    chain: tuple[str, ...] = ()
    """The requirements that bring it in (or brought, if it is gone), from the one that was asked for down to
    it; empty: neither side knows."""

    @property
    def growth(self) -> int | None:
        """Bytes that the tree grew by; `None`: not known on both sides."""
        before = 0 if self.old is None else self.old.bytes
        after = 0 if self.new is None else self.new.bytes
        return None if before is None or after is None else after - before


@dataclass(frozen=True, kw_only=True)
class LicenceChange:
    """A distribution of both sides whose licence is another one."""

    name: str
    old: str
    new: str
    """Empty: METADATA says nothing."""


@dataclass(frozen=True, kw_only=True)
class LicenceGroup:
    """A licence that no distribution on the other side has."""

    licence: str
    """Empty: distributions that name none."""
    names: tuple[str, ...]
    """The distributions that have it."""


@dataclass(frozen=True, kw_only=True)
class LicencesChange:
    """What changed about licences."""

    changed: tuple[LicenceChange, ...] = ()
    new: tuple[LicenceGroup, ...] = ()
    gone: tuple[LicenceGroup, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NativeChange:
    """A native library or extension module that is new, gone, or has another name."""

    distribution: str
    old: str | None
    """Path in the bundle; `None`: it is new."""
    new: str | None
    """`None`: it is gone. Both: the same library with another number or hash in its file name."""


@dataclass(frozen=True, kw_only=True)
class EntryPointChange:
    """An entry point that is new, gone, or leads elsewhere."""

    distribution: str
    entry: str
    """Group and name: `console_scripts: flask`."""
    old: str | None
    """`flask.cli:main`; `None`: there was none."""
    new: str | None


@dataclass(frozen=True, kw_only=True)
class LinesChange:
    """Lines that were added and removed."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SettingChange:
    """A member of the manifest with another value: `target.glibc`, `image`, `proof`, `tool`."""

    name: str
    old: str | None
    """Lists are joined by commas; `None`: there was none."""
    new: str | None


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Paths in the bundle, sorted."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    @property
    def listed(self) -> list[tuple[Direction, str]]:
        """What became of each path."""
        ways: tuple[Direction, ...] = ("added", "removed", "changed")
        return [(way, path) for way in ways for path in getattr(self, way)]


@dataclass(frozen=True, kw_only=True)
class FilesChange:
    """How many files of the tree were added, removed, or have another content or mode."""

    added: int = 0
    removed: int = 0
    changed: int = 0
    unchanged: int = 0
    documents: tuple[str, ...] = ()
    """Files beside the tree (verifier, lock …) that were added, removed or changed."""
    paths: Paths | None = None
    """Which ones; `None`: left out."""

    @property
    def counts(self) -> tuple[tuple[str, int], ...]:
        """How many changed in which way."""
        return ("added", self.added), ("removed", self.removed), ("changed", self.changed)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Everything that two sides differ in, as far as both know it."""

    old: Summary
    new: Summary
    not_compared: tuple[str, ...] = ()
    """Aspects that one side alone knows (`sections.ASPECTS`)."""
    needs: NeedsChange = NeedsChange()
    findings: tuple[FindingChange, ...] = ()
    """New ones first, then changed, then gone; in each group the worst first."""
    distributions: tuple[DistributionChange, ...] = ()
    """Sorted by name."""
    licences: LicencesChange = LicencesChange()
    native: tuple[NativeChange, ...] = ()
    entry_points: tuple[EntryPointChange, ...] = ()
    requirements: LinesChange = LinesChange()
    constraints: LinesChange = LinesChange()
    settings: tuple[SettingChange, ...] = ()
    files: FilesChange = FilesChange()

    @property
    def empty(self) -> bool:
        """Tell whether there is no difference in anything that was compared."""
        unchanged = replace(self.files, added=0, removed=0, changed=0, documents=())
        return self == Difference(old=self.old, new=self.new, not_compared=self.not_compared, files=unchanged)

    @property
    def growth(self) -> int | None:
        """Bytes that the tree grew by; `None`: not known on both sides."""
        if self.old.size is None or self.new.size is None:
            return None
        return self.new.size - self.old.size

    def of(self, *changes: Direction) -> tuple[DistributionChange, ...]:
        """Return the distributions that changed in one of these ways."""
        return tuple(one for one in self.distributions if one.change in changes)

    def without_paths(self) -> Difference:
        """Return the same with the counts of the files alone: their paths may be ten thousand."""
        return replace(self, files=replace(self.files, paths=None))

    def as_json(self) -> dict[str, Any]:
        """Return the object that docs/diff.md describes; its arrays are tuples."""
        head = {"kind": KIND, "schema_version": SCHEMA_VERSION, "different": not self.empty}
        return {**head, **asdict(self)}
