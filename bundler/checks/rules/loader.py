"""Finds libraries as glibc's loader does, among the files of a bundle; see ld.so(8).

A library is searched for in the DT_RPATH of the file that needs it and then of those that loaded that
file (unless it has a DT_RUNPATH), and in its own DT_RUNPATH. What the environment and the system add is
not known here.
"""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Iterable, Mapping
from typing import Literal

from bundler.lazy_dataclass import dataclass
from bundler.model import NativeFact

FolderKind = Literal["inside", "absolute", "outside", "relative"]

LIBS = ("lib", "lib64", "lib/x86_64-linux-gnu")
"""Values of $LIB, which depend on the distribution of the image."""
ORIGIN = "\0"
"""Replaces $ORIGIN while a path is expanded; no path can have it."""
_TOKEN = re.compile(r"\$(\{(?P<braced>ORIGIN|LIB|PLATFORM)\}|(?P<plain>ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_]))")


@dataclass(frozen=True, kw_only=True)
class Folder:
    """An entry of a search path."""

    written: str
    kind: FolderKind
    """Where it is: `outside` of the bundle by `..`; `relative` to the working folder of the process."""
    path: str = ""
    """Relative to the prefix, where it is inside."""


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """Which needed library is found where."""

    found: Mapping[tuple[str, str], str]
    """(path of the file, library it needs) → path of the library in the bundle."""
    provided: frozenset[tuple[str, str, int]]
    """Every SONAME and filename that the bundle has, wherever it lies, with machine and bits."""

    def provides(self, library: str, fact: NativeFact) -> bool:
        """Tell whether the bundle has a library for a file, on its search path or not."""
        return (library, fact.machine, fact.bits) in self.provided


def resolve(native: Iterable[NativeFact]) -> Resolution:
    """Search for every needed library of every file in the bundle.

    A file can be loaded by several others with different search paths: what any of them finds counts.
    """
    usable = {fact.path: fact for fact in native if not fact.problem}
    own = {path: _inside(search_path(fact)) for path, fact in usable.items()}
    inherited: dict[str, frozenset[str]] = dict.fromkeys(usable, frozenset())
    found: dict[tuple[str, str], str] = {}
    work = list(usable)
    while work:
        path = work.pop()
        fact = usable[path]
        # An RPATH also applies to the libraries that the file loads, a RUNPATH only to the file itself.
        handed = inherited[path] | (frozenset() if fact.runpath else own[path])
        looked_in = own[path] if fact.runpath else handed
        for library in fact.needed:
            target = _find(library, fact, looked_in, usable)
            if target is None:
                continue
            found.setdefault((path, library), target)
            if handed - inherited[target]:
                inherited[target] |= handed
                work.append(target)
    provided = {
        (name, fact.machine, fact.bits)
        for path, fact in usable.items()
        for name in (posixpath.basename(path), fact.soname)
        if name
    }
    return Resolution(found=found, provided=frozenset(provided))


def closure(resolution: Resolution, roots: Iterable[str]) -> frozenset[str]:
    """Return the paths of files and of all libraries that are loaded with them."""
    needs: dict[str, list[str]] = {}
    for (path, _), target in resolution.found.items():
        needs.setdefault(path, []).append(target)
    work = list(roots)
    reached = set(work)
    while work:
        further = set(needs.get(work.pop(), ())) - reached
        reached |= further
        work += further
    return frozenset(reached)


def _inside(folders: Iterable[Folder]) -> frozenset[str]:
    return frozenset(folder.path for folder in folders if folder.kind == "inside")


def _find(
    library: str, fact: NativeFact, folders: Iterable[str], usable: Mapping[str, NativeFact]
) -> str | None:
    """Return the path of a library; files for another machine are skipped, as the loader does."""
    if "/" in library:
        candidates = [one.path for one in expand(library, origin=fact.path) if one.kind == "inside"]
    else:
        candidates = [f"{folder}/{library}" if folder else library for folder in sorted(folders)]
    for path in candidates:
        other = usable.get(path)
        if other is not None and (other.machine, other.bits) == (fact.machine, fact.bits):
            return path
    return None


def search_path(fact: NativeFact) -> tuple[Folder, ...]:
    """Return the folders of the file's own search path."""
    return tuple(folder for entry in fact.runpath or fact.rpath for folder in expand(entry, origin=fact.path))


def expand(entry: str, *, origin: str) -> tuple[Folder, ...]:
    """Expand $ORIGIN, $LIB and $PLATFORM in an entry of a search path.

    :param origin: path of the file that has the entry, relative to the prefix.
    """
    variants = set()
    for lib in LIBS:
        values = {"ORIGIN": ORIGIN, "LIB": lib, "PLATFORM": "x86_64"}
        variants.add(_TOKEN.sub(functools.partial(_value, values), entry))
    return tuple(_folder(entry, variant, posixpath.dirname(origin)) for variant in sorted(variants))


def _value(values: Mapping[str, str], token: re.Match[str]) -> str:
    return values[token["braced"] or token["plain"]]


def _folder(written: str, path: str, origin: str) -> Folder:
    if path.startswith("/"):
        return Folder(written=written, kind="absolute")
    if not path.startswith(ORIGIN):
        return Folder(written=written, kind="relative")
    normal = posixpath.normpath(f"{origin}/{path[1:]}" if origin else f"./{path[1:]}")
    if normal == ".." or normal.startswith("../"):
        return Folder(written=written, kind="outside")
    return Folder(written=written, kind="inside", path="" if normal == "." else normal)
