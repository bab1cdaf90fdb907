"""The target of a bundle, and the wheels that it accepts.

Tags are those of PEP 425 and PEP 600, in the order of preference of the target's own pip. They depend on the
target alone, never on the machine that this runs on.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import BuildTag, InvalidWheelFilename, parse_wheel_filename

from bundler.errors import InputError, MachineError
from bundler.model import Interpreter, Target

GLIBC_BY_PYTHON = {
    "3.7": ((2, 27), "Ubuntu 18.04, on which the prebuilt inference images of Python 3.7 stand"),
    "3.8": ((2, 31), "Ubuntu 20.04, on which the prebuilt inference images of Python 3.8 stand"),
    "3.9": ((2, 31), "Ubuntu 20.04, on which the oldest prebuilt inference image of Python 3.9 stands"),
    "3.11": ((2, 31), "Ubuntu 20.04, on which the oldest prebuilt inference image of Python 3.11 stands"),
    "3.12": ((2, 35), "Ubuntu 22.04, on which the prebuilt inference images of Python 3.12 stand"),
}
"""The glibc of the images of each Python, by Azure ML's lists of prebuilt images."""

BASELINE = ((2, 28), "the baseline of current manylinux wheels; no prebuilt inference image has Python {}")
OLDEST_GLIBC_MINOR = 5
NEWEST_GLIBC_MINOR = 99

LEGACY_MANYLINUX = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
"""Minor version of glibc → platform tag from before PEP 600."""

UV_GLIBC_MINORS = (17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40)
"""The manylinux versions that uv accepts with `--python-platform`."""


def require_supported_machine() -> None:
    """Refuse a machine that cannot run the interpreter of an image.

    :raises MachineError: it is not Linux on x86_64.
    """
    hint = "run envbundle on Linux on x86_64, in a container of that platform for example"
    if sys.platform != "linux":
        raise MachineError(f"envbundle builds on Linux, and this is {platform.system()}", hint=hint)
    if platform.machine() not in ("x86_64", "AMD64"):
        raise MachineError(
            f"envbundle builds for x86_64, and this machine is {platform.machine()}", hint=hint
        )


def for_interpreter(interpreter: Interpreter, *, glibc: str | None) -> Target:
    """Return the target for which `interpreter` makes bundles.

    :param glibc: `2.28`, as the user gave it; by default that of the prebuilt images of this Python.
    :raises InputError: `glibc` is no version of glibc.
    """
    version, words = GLIBC_BY_PYTHON.get(interpreter.minor, BASELINE)
    reason = words.format(interpreter.minor)
    # `--glibc` with the default version is the same target, and must make the same bundle.
    if glibc is not None and _parse_glibc(glibc) != version:
        version, reason = _parse_glibc(glibc), "given with --glibc"
    return Target(
        python_version=interpreter.version,
        implementation=interpreter.implementation,
        abi=interpreter.abi,
        machine=interpreter.machine,
        glibc=version,
        glibc_reason=reason,
        # These two describe the builder's kernel: no marker may depend on them, and no file may contain them.
        markers={**interpreter.markers, "platform_release": "", "platform_version": ""},
    )


def glibc_of(interpreter: Interpreter) -> tuple[int, int] | None:
    """Return the glibc of the machine that an interpreter runs on; `None` where it has another libc."""
    words = interpreter.glibc.split(".")[:2]
    return (int(words[0]), int(words[1])) if len(words) == 2 and "".join(words).isdigit() else None


def _parse_glibc(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"2\.(0|[1-9][0-9]?)", text.strip(), re.ASCII)
    minor = int(match[1]) if match else 0
    if not OLDEST_GLIBC_MINOR <= minor <= NEWEST_GLIBC_MINOR:
        raise InputError(
            f"{text!r} is no version of glibc between 2.{OLDEST_GLIBC_MINOR} and 2.{NEWEST_GLIBC_MINOR}",
            hint="`ldd --version` in the image tells it: --glibc 2.31",
        )
    return (2, minor)


def tags(target: Target) -> tuple[Tag, ...]:
    """Return the tags that the target accepts, the preferred first (PEP 425, PEP 600)."""
    return tuple(_ranks(target.minor, target.abi, target.machine, target.glibc))


def supports(target: Target, wheel_filename: str) -> bool:
    """Tell whether the target accepts a wheel; a name that is no wheel's is not accepted."""
    return _preference(target, wheel_filename) is not None


def permits(requires_python: str, python_version: str) -> bool:
    """Tell whether Requires-Python permits a Python (full version); an invalid specifier counts as none."""
    try:
        return SpecifierSet(requires_python).contains(python_version, prereleases=True)
    except InvalidSpecifier:
        return True  # as pip and uv do


def best_wheel(target: Target, filenames: Iterable[str]) -> str | None:
    """Return the wheel that the target's pip would choose among files of one version, or `None`.

    The most preferred tag wins, then the highest build tag.
    """
    ranked = [
        (*preference, filename)
        for filename in filenames
        if (preference := _preference(target, filename)) is not None
    ]
    return max(ranked)[-1] if ranked else None


def uv_platform(target: Target) -> str:
    """Return uv's `--python-platform`: the oldest that has at least the target's glibc.

    uv then lists files that are too new for the target as well, which `supports` leaves out; an older
    platform would leave out files that fit.
    """
    minor = next((known for known in UV_GLIBC_MINORS if known >= target.glibc[1]), UV_GLIBC_MINORS[-1])
    return f"{target.machine}-manylinux_2_{minor}"


def _preference(target: Target, filename: str) -> tuple[int, BuildTag] | None:
    """Return the key by which wheels are compared, higher is better; `None`: not accepted."""
    try:
        _, _, build, wheel_tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return None
    ranks = _ranks(target.minor, target.abi, target.machine, target.glibc)
    known = [ranks[tag] for tag in wheel_tags if tag in ranks]
    return (-min(known), build) if known else None


@lru_cache(maxsize=8)
def _ranks(minor: str, abi: str, machine: str, glibc: tuple[int, int]) -> dict[Tag, int]:
    """Return the accepted tags with their ranks, the preferred first."""
    major_part, minor_part = minor.split(".")
    platforms = list(_platforms(machine, glibc))
    accepted = (
        *cpython_tags((int(major_part), int(minor_part)), [abi], platforms),
        *compatible_tags((int(major_part), int(minor_part)), f"cp{major_part}{minor_part}", platforms),
    )
    return {tag: rank for rank, tag in enumerate(accepted)}


def _platforms(machine: str, glibc: tuple[int, int]) -> Iterator[str]:
    """Yield platform tags as `packaging.tags.platform_tags` does on a machine with this glibc."""
    major, newest = glibc
    for minor in range(newest, OLDEST_GLIBC_MINOR - 1, -1):
        yield f"manylinux_{major}_{minor}_{machine}"
        if minor in LEGACY_MANYLINUX:
            yield f"{LEGACY_MANYLINUX[minor]}_{machine}"
    yield f"linux_{machine}"
