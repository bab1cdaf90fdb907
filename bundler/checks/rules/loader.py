"""Finds libraries as glibc's loader does, among the files of a bundle; see ld.so(8).

A needed library is looked for in the DT_RPATH of the file that needs it and then of those that loaded
that file (unless it has a DT_RUNPATH), and in its own DT_RUNPATH. What the environment and the system
add is not known here.
"""

from __future__ import annotations

import functools
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bundler.model import NativeFact

Place = Literal["inside", "absolute", "outside", "relative"]

LIBS = ("lib", "lib64", "lib/x86_64-linux-gnu")
"""What $LIB stands for, by the distribution of the image."""
ORIGIN = "\0"
"""Stands for the file's own folder, which no path can hold."""
_TOKEN = re.compile(r"\$(\{(?P<braced>ORIGIN|LIB|PLATFORM)\}|(?P<plain>ORIGIN|LIB|PLATFORM)(?![A-Za-z0-9_]))")


@dataclass(frozen=True, kw_only=True)
class Folder:
    """An entry of a search path."""

    written: str
    place: Place
    """Where it leads: `outside` of the bundle by `..`; `relative` to wherever the process happens to be."""
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
    """Look for every needed library of every file in the bundle.

    A file can be loaded by several others with other search paths: what any of them would find counts.
    """
    usable = {fact.path: fact for fact in native if not fact.problem}
    own = {path: _inside(search_path(fact)) for path, fact in usable.items()}
    inherited: dict[str, frozenset[str]] = dict.fromkeys(usable, frozenset())
    found: dict[tuple[str, str], str] = {}
    work = list(usable)
    while work:
        path = work.pop()
        fact = usable[path]
        # An RPATH goes on to whatever the file loads; a RUNPATH is for the file itself.
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
    """Return the paths of files and of all that they load with them."""
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
    return frozenset(folder.path for folder in folders if folder.place == "inside")


def _find(
    library: str, fact: NativeFact, folders: Iterable[str], usable: Mapping[str, NativeFact]
) -> str | None:
    """Return the path of a library: files for another machine are passed over, as the loader does."""
    if "/" in library:
        candidates = [one.path for one in expand(library, origin=fact.path) if one.place == "inside"]
    else:
        candidates = [f"{folder}/{library}" if folder else library for folder in sorted(folders)]
    for path in candidates:
        other = usable.get(path)
        if other is not None and (other.machine, other.bits) == (fact.machine, fact.bits):
            return path
    return None


def search_path(fact: NativeFact) -> tuple[Folder, ...]:
    """Return the folders in which a file itself says to look."""
    return tuple(folder for entry in fact.runpath or fact.rpath for folder in expand(entry, origin=fact.path))


def expand(entry: str, *, origin: str) -> tuple[Folder, ...]:
    """Replace $ORIGIN, $LIB and $PLATFORM, and tell where it leads.

    :param origin: path of the file that says it, relative to the prefix.
    """
    variants = set()
    for lib in LIBS:
        values = {"ORIGIN": ORIGIN, "LIB": lib, "PLATFORM": "x86_64"}
        variants.add(_TOKEN.sub(functools.partial(_value, values), entry))
    return tuple(_place(entry, variant, posixpath.dirname(origin)) for variant in sorted(variants))


def _value(values: Mapping[str, str], token: re.Match[str]) -> str:
    return values[token["braced"] or token["plain"]]


def _place(written: str, path: str, origin: str) -> Folder:
    if path.startswith("/"):
        return Folder(written=written, place="absolute")
    if not path.startswith(ORIGIN):
        return Folder(written=written, place="relative")
    normal = posixpath.normpath(f"{origin}/{path[1:]}" if origin else f"./{path[1:]}")
    if normal == ".." or normal.startswith("../"):
        return Folder(written=written, place="outside")
    return Folder(written=written, place="inside", path="" if normal == "." else normal)
