"""Image profiles, by name from the catalogue (`targets/images/`) or from a file that a probe wrote."""

from __future__ import annotations

import difflib
import re
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from bundler.errors import InputError
from bundler.model import Interpreter, Target
from bundler.targets import profile_file
from bundler.targets.image import Image, Release
from bundler.targets.target import for_interpreter

FOLDER = Path(__file__).parent / "images"
REGISTRY = "mcr.microsoft.com/azureml/"
DEFAULTS = {
    "3.7": "minimal-ubuntu18.04-py37-cpu-inference",
    "3.8": "minimal-ubuntu20.04-py38-cpu-inference",
}
"""Python → the image that its default glibc comes from."""


def load(image: str) -> Image:
    """Return the profile with a name, of an image's reference, or in a file (`….json`).

    :raises InputError: no such image, or the file is no sound profile (names the place in it).
    """
    if image.endswith(".json"):
        return profile_file.read(Path(image))
    known = names()
    name = image.removeprefix(REGISTRY)
    plain = re.sub(r"(@sha256:[0-9a-f]{64}|:[\w.-]+)$", "", name)
    for candidate in dict.fromkeys((name, plain)):
        if candidate in known:
            return profile_file.read(FOLDER / f"{candidate}.json")
    close = difflib.get_close_matches(plain, known, n=3, cutoff=0.5)
    meant = f"is it {' or '.join(close)}? " if close else ""
    raise InputError(
        f"no image is called {image!r}",
        hint=f"{meant}`envbundle images list` tells all; a profile's file ends in .json",
    )


def names() -> tuple[str, ...]:
    """Return the names of the catalogue, sorted."""
    found = (path.relative_to(FOLDER).as_posix().removesuffix(".json") for path in FOLDER.rglob("*.json"))
    return tuple(
        sorted(name for name in found if not name.startswith("servers/") and name != "profile.schema")
    )


def all_images() -> tuple[Image, ...]:
    """Return every profile of the catalogue, by name."""
    return tuple(profile_file.read(FOLDER / f"{name}.json") for name in names())


@lru_cache(maxsize=4)
def releases(server: str) -> tuple[Release, ...]:
    """Return the known releases of a server, the oldest first."""
    path = FOLDER / "servers" / f"{server}.json"
    return profile_file.read_server(path) if path.parent == FOLDER / "servers" and path.is_file() else ()


def with_server(image: Image, version: str) -> Image:
    """Return the image with the server's version that the caller gave.

    :raises InputError: the image has no server, another one is known to be installed, or the release
        is not known.
    """
    if image.server is None:
        raise InputError(f"the image {image.name} is not known to have a server", hint="leave --server out")
    if image.distributions is not None and image.server.exact and image.server.version != version:
        raise InputError(
            f"the image {image.name} has {image.server.name} {image.server.version}",
            hint="leave --server out",
        )
    known = [release.version for release in releases(image.server.name)]
    if image.distributions is None and version not in known:
        raise InputError(
            f"nothing is known of {image.server.name} {version}", hint=f"known are {', '.join(known)}"
        )
    return replace(image, server=replace(image.server, at_least=version, at_most=version))


def target(image: Image, interpreter: Interpreter, *, glibc: str | None) -> Target:
    """Return an image as the target of a bundle that `interpreter` makes.

    :param glibc: as the caller gave it; by default that of the image.
    :raises InputError: the image has another Python or processor than the interpreter, or no glibc.
    """
    known = image.target
    if known.libc == "musl":
        raise InputError(
            f"the image {image.name} has musl instead of glibc, and no manylinux wheel works there",
            hint="choose an image with glibc, such as the -slim variants of Debian",
        )
    for needed, given, what in (
        (known.machine, interpreter.machine, "processor"),
        (image.minor, interpreter.minor, "Python"),
        (known.abi, interpreter.abi, "ABI"),
    ):
        if needed is not None and needed != given:
            raise InputError(
                f"the image {image.name} has the {what} {needed}, this interpreter is for {given}",
                hint=f"{interpreter.executable} cannot make a bundle for it: leave --python out",
            )
    own = f"{known.glibc[0]}.{known.glibc[1]}" if known.glibc else None
    made = for_interpreter(interpreter, glibc=glibc or own)
    if known.glibc == made.glibc:
        whose = f"{image.os}, " if image.os else ""
        how = "as its probe saw" if image.probed else "by its profile"
        made = replace(made, glibc_reason=f"{whose}the image {image.name}, {how}")
    if known.python and known.python.count(".") > 1:
        version = known.python
        markers = {**made.markers, "python_full_version": version, "implementation_version": version}
        made = replace(made, python_version=version, markers=markers)
    return made


def diff(first: Image, second: Image) -> tuple[tuple[str, str, str], ...]:
    """Return (what, of the first, of the second) for whatever differs; `-`: it has none, `?`: nobody says.

    Sources, tags and references are left out: they are about the profile, not about the image. Where a whole
    list is known of one image alone, one row says so instead of hundreds.
    """
    lists: list[tuple[str, str, str]] = []
    rows: list[tuple[str, str, str]] = []
    theirs = _sections(second)
    for section, members in _sections(first).items():
        sides = (members, theirs[section])
        if section in LISTS and (members is None) != (theirs[section] is None):
            left, right = ("?" if one is None else f"{len(one)} known" for one in sides)
            lists.append((section, left, right))
            continue
        for name in {**(members or {}), **(theirs[section] or {})}:
            left, right = ("?" if one is None else one.get(name, "-") for one in sides)
            if left != right:
                rows.append((f"{section} {name}".strip(), left, right))
    return (*lists, *sorted(rows))


LISTS = ("distribution", "library", "module", "variable")


def _sections(image: Image) -> dict[str, dict[str, str] | None]:
    """Return what `diff` compares: section → name → value; `None` where nobody says."""

    def members(value: Any) -> dict[str, str] | None:
        return None if value is None else {one.name: shown(getattr(value, one.name)) for one in fields(value)}

    def named(names: frozenset[str] | None) -> dict[str, str] | None:
        return None if names is None else dict.fromkeys(names, "yes")

    installed = image.distributions
    return {
        "": {"os": shown(image.os), "honours_variables": image.honours_variables.replace("unknown", "?")},
        "target": members(image.target),
        "distribution": None if installed is None else {name: one.version for name, one in installed.items()},
        "library": named(image.libraries),
        "module": named(image.stdlib_modules),
        "variable": None if image.environment is None else dict(image.environment),
        **{name: members(getattr(image, name)) for name in ("server", "conda", "mount", "user")},
    }


def shown(value: object) -> str:
    """Return a value of a profile in words: `?` where nobody says, versions with dots, lists with commas."""
    if value is None:
        return "?"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        separator = "." if value and isinstance(value[0], int) else ", "
        return separator.join(map(str, value)) or "none"
    return str(value)
