"""Facts of native files, and what the checks of EB3xx find in them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bundler.checks.rules import codes, libraries, misfits
from bundler.checks.rules.libraries import KnownLibraries
from bundler.model import NativeFact, Target, WheelFacts
from bundler.targets.image import Image, ImageTarget

from tests.support.bundlemaker import facts, lock, locked, target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bundler.model import Finding


SITE = "lib/python3.8/site-packages"


EXTENSION = f"{SITE}/pack/fast.cpython-38-x86_64-linux-gnu.so"


LIBS = f"{SITE}/pack.libs"


LOCK = lock(locked("top"), locked("pack", required_by=("top",)), locked("other"))


def native(path: str = EXTENSION, **values: Any) -> NativeFact:
    return NativeFact(path=path, **{"machine": "x86_64", **values})


def pack(*files: NativeFact, name: str = "pack", **values: Any) -> dict[str, WheelFacts]:
    return {name: replace(facts(name), native=files, **values)}


def found(
    everything: dict[str, WheelFacts],
    *,
    aim: Target | None = None,
    known: KnownLibraries | None = None,
    built: Sequence[str] = (),
    roots: Sequence[str] | None = None,
) -> list[tuple[str, str]]:
    findings = check(everything, aim=aim, known=known, built=built, roots=roots)
    return [(one.code, one.severity) for one in findings]


def check(
    everything: dict[str, WheelFacts],
    *,
    aim: Target | None = None,
    known: KnownLibraries | None = None,
    built: Sequence[str] = (),
    roots: Sequence[str] | None = None,
) -> tuple[Finding, ...]:
    linkage = libraries.linkage(
        everything, target=aim or target(), known=known or KnownLibraries(), built=built, roots=roots
    )
    findings = tuple(misfits.check(LOCK, everything, linkage))
    assert all(one.cause and one.remedy and one.code in codes.CODES for one in findings)
    assert {one.code for one in findings} <= set(misfits.CODES)
    return findings


def profile(*names: str) -> Image:
    return Image(name="an image", target=ImageTarget(), libraries=frozenset(names))
