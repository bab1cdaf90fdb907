"""Image profiles: the catalogue (`bundler/images/`) and files that a probe wrote. Format: docs/images.md."""

from __future__ import annotations

import difflib
import re
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

import bundler
from bundler import target as targets
from bundler.errors import InputError
from bundler.imagemodel import (
    Conda,
    Image,
    ImageTarget,
    Installed,
    Mount,
    Release,
    ServerRange,
    Source,
    User,
)
from bundler.model import ImageProfile
from bundler.untrusted import Value, load_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TypeVar

    from bundler.model import Interpreter, Target

    T = TypeVar("T")

KIND = "envbundle-image"
SERVER_KIND = "envbundle-server"
FOLDER = Path(bundler.__path__[0]) / "images"
REGISTRY = "mcr.microsoft.com/azureml/"
DEFAULTS = {
    "3.7": "minimal-ubuntu18.04-py37-cpu-inference",
    "3.8": "minimal-ubuntu20.04-py38-cpu-inference",
}
"""Python → the image that its documented default figures come from."""

MAX_BYTES = 20_000_000
_NAME = r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
_DISTRIBUTION = r"[a-z0-9]+(-[a-z0-9]+)*"
_VERSION = r"[^\s/\\\0;,]{1,100}"
_NUMBERS = r"\d{1,4}(\.\d{1,4}){1,3}"
_LIBRARY = r"[\w.+-]{1,200}"
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_FOLDER = r"/[^\0\n]*"


def load(image: str) -> Image:
    """Return a profile by its name, by an image's reference, or from a file (`….json`).

    :raises InputError: no such image, or the file is no sound profile (names the place in it).
    """
    if image.endswith(".json"):
        return read(Path(image))
    name = image.removeprefix(REGISTRY)
    plain = re.sub(r"(@sha256:[0-9a-f]{64}|:[\w.-]+)$", "", name)
    for candidate in dict.fromkeys((name, plain)):
        path = FOLDER / f"{candidate}.json"
        if re.fullmatch(_NAME, candidate) and path.is_file() and not candidate.startswith("servers/"):
            return read(path)
    close = difflib.get_close_matches(plain, names(), n=3, cutoff=0.5)
    meant = f"is it {' or '.join(close)}? " if close else ""
    raise InputError(
        f"no image is called {image!r}",
        hint=f"{meant}`envbundle images list` tells all; a profile's file ends in .json",
    )


def read(path: Path) -> Image:
    """Return the profile in a file; nothing in it is believed.

    :raises InputError: unreadable, or wrong at a place that is named.
    """
    value = load_file(path, limit=MAX_BYTES, hint="`envbundle images probe` prints the script that writes one")
    _check_kind(value, KIND)
    _check_members(value, {"kind", "schema_version", *(one.name for one in fields(Image))})
    return Image(
        name=value["name"].text(_NAME),
        os=_optional(value.get("os"), _words),
        references=_list(value.get("references"), _words) or (),
        tags=_list(value.get("tags"), lambda one: one.text(r"[\w.-]{1,128}")) or (),
        target=_target(value["target"]),
        distributions=_optional(value["distributions"], lambda all_: _members(all_, _installed)),
        named=_members(value["named"], _specifiers),
        server=_optional(value["server"], _server),
        libraries=_set(value["libraries"], _LIBRARY),
        stdlib_modules=_set(value["stdlib_modules"], r"\w{1,100}"),
        environment=_optional(value["environment"], _environment),
        conda=_optional(value["conda"], _conda),
        mount=_optional(value["mount"], _mount),
        honours_variables=value["honours_variables"].choice("yes", "no", "unknown"),  # type: ignore[arg-type]  # `choice` checked it
        user=_optional(value["user"], _user),
        writable=_list(value["writable"], lambda one: one.text(_FOLDER)),
        sources=tuple(_source(one) for one in value["sources"]),
    )


def names() -> tuple[str, ...]:
    """Return the names of the catalogue, sorted."""
    found = (path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.rglob("*.json"))
    return tuple(sorted(name for name in found if not name.startswith("servers/") and "." != name[-1]
                        and not name.endswith(".schema")))


def catalogue() -> tuple[Image, ...]:
    """Return every profile of the catalogue, by name."""
    return tuple(read(FOLDER / f"{name}.json") for name in names())


def default_for(minor: str) -> str | None:
    """Return the name of the image that `--python 3.8` alone stands for, where one is documented."""
    return DEFAULTS.get(minor)


@lru_cache(maxsize=4)
def releases(server: str) -> tuple[Release, ...]:
    """Return what is known of the releases of a server, the oldest first; none where nothing is."""
    path = FOLDER / "servers" / f"{server}.json"
    if not re.fullmatch(_DISTRIBUTION, server) or not path.is_file():
        return ()
    value = load_file(path, limit=MAX_BYTES, hint=None)
    _check_kind(value, SERVER_KIND)
    return tuple(
        Release(
            version=one["version"].text(_VERSION),
            requires_python=one["requires_python"].text(),
            requires=one["requires"].texts(),
            beside=tuple(
                (
                    near["distribution"].text(_DISTRIBUTION),
                    Installed(version=near["version"].text(_VERSION), requires=near["requires"].texts()),
                )
                for near in one["beside"]
            ),
        )
        for one in value["releases"]
    )


def with_server(image: Image, version: str) -> Image:
    """Return the image with the server's version as the caller knows it.

    :raises InputError: the image has no server, another one is known to be installed, or the release
        is not known.
    """
    if image.server is None:
        raise InputError(f"the image {image.name} is not known to have a server", hint="leave --server out")
    if image.distributions is not None and image.server.exact and image.server.version != version:
        raise InputError(
            f"the image {image.name} has {image.server.name} {image.server.version}", hint="leave --server out"
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
                hint=f"{interpreter.executable} cannot make a bundle for it; leave --python out, or name another image",
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


def for_checks(image: Image, aim: Target) -> ImageProfile:
    """Return what the checks compare a bundle with."""
    installed = image.distributions
    return ImageProfile(
        name=image.name,
        target=aim,
        distributions=None if installed is None else {name: one.version for name, one in installed.items()},
        requires=None if installed is None else {name: one.requires for name, one in installed.items()},
        libraries=image.libraries,
        glibcxx=image.target.glibcxx,
        cxxabi=image.target.cxxabi,
    )


def diff(first: Image, second: Image) -> tuple[tuple[str, str, str], ...]:
    """Return (what, of the first, of the second) for whatever differs; `-`: it has none, `?`: nobody says.

    Sources, tags and references are left out: they are about the profile, not about the image.
    """
    left, right = _flat(first), _flat(second)
    rows = []
    for key in sorted(left.keys() | right.keys()):
        section = key.partition(" ")[0]
        ours, theirs = (side.get(key, "?" if side.get(section) == "?" else "-") for side in (left, right))
        if ours != theirs:
            rows.append((key, ours, theirs))
    return tuple(rows)


def _flat(image: Image) -> dict[str, str]:
    rows = {f"target {one.name}": shown(getattr(image.target, one.name)) for one in fields(ImageTarget)}
    rows["os"] = shown(image.os)
    rows["honours_variables"] = image.honours_variables.replace("unknown", "?")
    for section, values in (
        ("distribution", None if image.distributions is None
         else {name: one.version for name, one in image.distributions.items()}),
        ("library", None if image.libraries is None else dict.fromkeys(image.libraries, "yes")),
        ("module", None if image.stdlib_modules is None else dict.fromkeys(image.stdlib_modules, "yes")),
        ("variable", image.environment),
    ):  # fmt: skip
        if values is None:
            rows[section] = "?"
        else:
            rows |= {f"{section} {name}": value for name, value in values.items()}
    for section, value in (("server", image.server), ("conda", image.conda), ("mount", image.mount), ("user", image.user)):
        if value is None:
            rows[section] = "?"
        else:
            rows |= {f"{section} {one.name}": shown(getattr(value, one.name)) for one in fields(value)}
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
