"""What the native files of a bundle need of the system, and which symbol versions that are."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator

from bundler.bundle.manifest.values import Needs
from bundler.model import NativeFact, Target

GLIBC_ABI = {"ABI_DT_RELR": (2, 36), "ABI_GNU_TLS": (2, 42), "ABI_GNU2_TLS": (2, 42)}
"""Versions of glibc that are named after a feature: GLIBC_ABI_DT_RELR came with 2.36."""
_VERSION = re.compile(r"(?P<library>[^:]+):(?P<family>GLIBC|GLIBCXX|CXXABI|GCC)_(?P<number>\d+(\.\d+)*)")
_FEATURE = re.compile(r"(?P<library>[^:]+):GLIBC_(?P<feature>ABI_\w+)")


def fits(fact: NativeFact, target: Target) -> bool:
    """Tell whether a file is for the target's processor."""
    return not fact.problem and (fact.machine, fact.bits) == (target.machine, target_bits(target))


def target_bits(target: Target) -> int:
    """Return the width of the target's addresses."""
    return 32 if target.machine in {"i686", "armv7l"} else 64


def symbols(fact: NativeFact) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Yield library, family and number of the symbol versions of glibc and of the compilers' libraries."""
    for text in fact.versions:
        if match := _VERSION.fullmatch(text):
            yield match["library"], match["family"], tuple(map(int, match["number"].split(".")))
        elif feature := _FEATURE.fullmatch(text):
            yield feature["library"], "GLIBC", GLIBC_ABI.get(feature["feature"], (0,))


def of(native: Iterable[NativeFact], target: Target) -> Needs:
    """Return the libraries and symbol versions that files for the target need and none of them gives.

    A library counts as given in whatever folder it lies: the checks say whether the loader finds it. What
    only an optional part needs counts like the rest.
    """
    usable = [fact for fact in native if fits(fact, target)]
    given = {name for fact in usable for name in (posixpath.basename(fact.path), fact.soname) if name}
    libraries = {library for fact in usable for library in fact.needed if _name(library) not in given}
    highest: dict[str, tuple[int, ...]] = {}
    for fact in usable:
        for library, family, version in symbols(fact):
            if library not in given:
                highest[family] = max(version, highest.get(family, (0,)))
    names = (
        f"{family}_{'.'.join(map(str, version))}" for family, version in highest.items() if version > (0,)
    )
    return Needs(libraries=tuple(sorted(libraries)), symbols=tuple(sorted(names)))


def _name(library: str) -> str:
    """Return the name of a library; one below $ORIGIN must be in the bundle, so its folder does not count."""
    return posixpath.basename(library) if library.startswith("$") else library
