"""Image profiles: the catalogue (`bundler/targets/images/`) and files that a probe wrote."""

from __future__ import annotations

import difflib
import re
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.errors import InputError
from bundler.targets import profile_file
from bundler.targets import target as targets
from bundler.targets.image import Image, ImageTarget

if TYPE_CHECKING:
    from bundler.model import Interpreter, Target
    from bundler.targets.image import Release

FOLDER = Path(__file__).parent / "images"
REGISTRY = "mcr.microsoft.com/azureml/"
DEFAULTS = {
    "3.7": "minimal-ubuntu18.04-py37-cpu-inference",
    "3.8": "minimal-ubuntu20.04-py38-cpu-inference",
}
"""Python → the image that its documented default figures come from."""


def load(image: str) -> Image:
    """Return a profile by its name, by an image's reference, or from a file (`….json`).

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


def catalogue() -> tuple[Image, ...]:
    """Return every profile of the catalogue, by name."""
    return tuple(profile_file.read(FOLDER / f"{name}.json") for name in names())


def default_for(minor: str) -> str | None:
    """Return the name of the image that `--python 3.8` alone stands for, where one is documented."""
    return DEFAULTS.get(minor)


@lru_cache(maxsize=4)
def releases(server: str) -> tuple[Release, ...]:
    """Return what is known of the releases of a server, the oldest first; none where nothing is."""
    path = FOLDER / "servers" / f"{server}.json"
    return profile_file.read_server(path) if path.parent == FOLDER / "servers" and path.is_file() else ()


def with_server(image: Image, version: str) -> Image:
    """Return the image with the server's version as the caller knows it.

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


def python_of(image: Image) -> str | None:
    """Return what to look for on the builder: `3.8`; any release of it has the same ABI."""
    return ".".join(image.target.python.split(".")[:2]) if image.target.python else None


def target(image: Image, interpreter: Interpreter, *, glibc: str | None) -> Target:
    """Return the target that an image is, with an interpreter of its Python at hand.

    :param glibc: given by the caller, who knows better.
    :raises InputError: the image is for another Python, processor or C library than can be built for.
    """
    known = image.target
    if known.libc == "musl":
        raise InputError(
            f"the image {image.name} has musl instead of glibc, and no manylinux wheel works there",
            hint="choose an image with glibc, such as the -slim variants of Debian",
        )
    for said, here, what in (
        (known.machine, interpreter.machine, "processor"),
        (python_of(image), interpreter.minor, "Python"),
        (known.abi, interpreter.abi, "ABI"),
    ):
        if said is not None and said != here:
            raise InputError(
                f"the image {image.name} has the {what} {said}, this interpreter is for {here}",
                hint=f"{interpreter.executable} cannot make a bundle for it: leave --python out",
            )
    own = f"{known.glibc[0]}.{known.glibc[1]}" if known.glibc else None
    aim = targets.for_interpreter(interpreter, glibc=glibc or own)
    if known.glibc == aim.glibc:
        whose = f"{image.os}, " if image.os else ""
        how = "as its probe saw" if image.probed else "by its profile"
        aim = replace(aim, glibc_reason=f"{whose}the image {image.name}, {how}")
    if known.python and known.python.count(".") > 1:
        version = known.python
        markers = {**aim.markers, "python_full_version": version, "implementation_version": version}
        aim = replace(aim, python_version=version, markers=markers)
    return aim


def diff(first: Image, second: Image) -> tuple[tuple[str, str, str], ...]:
    """Return (what, of the first, of the second) for whatever differs; `-`: it has none, `?`: nobody says.

    Sources, tags and references are left out: they are about the profile, not about the image.
    """
    left, right = _flat(first), _flat(second)
    rows = []
    for section, member in LISTS.items():
        known = [getattr(image, member) is not None for image in (first, second)]
        if known[0] != known[1]:
            # One line instead of hundreds.
            counts = [
                f"{len(getattr(image, member))} known" if getattr(image, member) is not None else "?"
                for image in (first, second)
            ]
            rows.append((section, counts[0], counts[1]))
            left, right = (
                {key: side[key] for key in side if not key.startswith(f"{section} ")}
                for side in (left, right)
            )
    for key in sorted(left.keys() | right.keys()):
        section = key.partition(" ")[0]
        absent = [
            "?" if section in RECORDS and getattr(image, section) is None else "-"
            for image in (first, second)
        ]
        ours, theirs = left.get(key, absent[0]), right.get(key, absent[1])
        if ours != theirs:
            rows.append((key, ours, theirs))
    return tuple(rows)


LISTS = {
    "distribution": "distributions",
    "library": "libraries",
    "module": "stdlib_modules",
    "variable": "environment",
}
RECORDS = ("server", "conda", "mount", "user")


def _flat(image: Image) -> dict[str, str]:
    rows = {f"target {one.name}": shown(getattr(image.target, one.name)) for one in fields(ImageTarget)}
    rows["os"] = shown(image.os)
    rows["honours_variables"] = image.honours_variables.replace("unknown", "?")
    rows |= {f"distribution {name}": one.version for name, one in (image.distributions or {}).items()}
    rows |= {f"library {name}": "yes" for name in image.libraries or ()}
    rows |= {f"module {name}": "yes" for name in image.stdlib_modules or ()}
    rows |= {f"variable {name}": value for name, value in (image.environment or {}).items()}
    for section in RECORDS:
        value = getattr(image, section)
        members = () if value is None else fields(value)
        rows |= {f"{section} {one.name}": shown(getattr(value, one.name)) for one in members}
    return rows


def shown(value: object) -> str:
    """A value of a profile in words: `?` where nobody says, versions with dots, lists with commas."""
    if value is None:
        return "?"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        separator = "." if value and isinstance(value[0], int) else ", "
        return separator.join(map(str, value)) or "none"
    return str(value)
