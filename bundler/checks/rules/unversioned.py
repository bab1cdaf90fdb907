"""What EB301 and EB302 say of names that a file needs in no version: with which one the system has them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from bundler.bundle.needs import fits
from bundler.checks.rules import loader
from bundler.checks.rules.libraries import Linkage
from bundler.model import NativeFact, WheelFacts
from bundler.wheels import elf

Needs = Mapping[str, tuple[tuple[str, str, str, tuple[int, ...]], ...]]
"""Path of a file → (name, library, family, version) of what it needs and names no version of."""
SYSTEM = {"c": "libc.so.6", "m": "libm.so.6", "stdc++": "libstdc++.so.6", "gcc_s": "libgcc_s.so.1"}
"""The libraries that define the names of the C++ runtime and of the C library."""
FILE = re.compile(r"lib(c|m|stdc\+\+|gcc_s)(-[\d.]+)?\.so[\d.]*")
"""How their files are called: libstdc++.so.6.0.30; libc-2.31.so before glibc 2.34."""
VERSION = re.compile(r"(?P<family>GLIBC|GLIBCXX|CXXABI|GCC)_(?P<number>\d+(\.\d+)*)")


def needs(
    facts: Mapping[str, WheelFacts],
    linkage: Linkage,
    *,
    used: Iterable[str],
    place: Callable[[str, str], Path],
    limits: Mapping[str, tuple[int, ...]],
) -> Needs:
    """Return what an import can load and the target has not, of what needs names in no version.

    A file imports here where a library of this machine has the name, in whatever version; in the image the
    loader says `undefined symbol`. What the file's own libraries define, or others of its distribution
    (pyarrow), is there as well.

    :param facts: normalised name → facts of its wheel.
    :param used: files of the system that the imports loaded: they tell versions.
    :param place: distribution, path relative to the prefix → where that file is.
    :param limits: family → the newest version that the target has.
    """
    asking = {
        fact.path: (name, fact)
        for name, one in facts.items()
        for fact in one.native
        if fact.unversioned and fact.path in linkage.loadable and fits(fact, linkage.target)
    }
    if not asking:
        return {}
    names = sorted({name for _, fact in asking.values() for name in fact.unversioned})
    newer = {
        name: (library, family, version)
        for name, (library, family, version) in _versions(names, used)
        if version > limits[family]
    }
    owner = {fact.path: name for name, one in facts.items() for fact in one.native}
    found = {}
    for path, (name, fact) in sorted(asking.items()):
        lacking = sorted(newer.keys() & set(fact.unversioned))
        if lacking:
            given = _given(lacking, path, facts[name].native, linkage, lambda one: place(owner[one], one))
            found[path] = tuple((one, *newer[one]) for one in lacking if one not in given)
    return {path: rows for path, rows in found.items() if rows}


def _versions(
    names: Iterable[str], used: Iterable[str]
) -> Iterator[tuple[str, tuple[str, str, tuple[int, ...]]]]:
    """Yield each name with the library, the family and the oldest version in which this machine has it."""
    for path in used:
        match = FILE.fullmatch(posixpath.basename(path))
        if match is None:
            continue
        for name, versions in elf.defined(Path(path), names).items():
            known = [one for one in map(VERSION.fullmatch, versions) if one]
            if known:
                first = min(known, key=_number)
                yield name, (SYSTEM[match[1]], first["family"], _number(first))


def _number(match: re.Match[str]) -> tuple[int, ...]:
    return tuple(map(int, match["number"].split(".")))


def _given(
    names: Iterable[str],
    path: str,
    beside: Iterable[NativeFact],
    linkage: Linkage,
    place: Callable[[str], Path],
) -> set[str]:
    """Return the names that the file's libraries in the bundle define, or others of its distribution."""
    libraries = {fact.path for fact in beside if not fact.program and fits(fact, linkage.target)}
    libraries |= loader.closure(linkage.resolution, [path])
    return {name for one in libraries - {path} for name in elf.defined(place(one), names)}
