"""Tells which versions of other distributions stand beside this one, from the names of their folders."""

from __future__ import annotations

import functools
import re
import sys
from pathlib import Path

_FOLDER = re.compile(r"(?P<name>[A-Za-z0-9._]+)-(?P<version>[^-]+)\.dist-info")


def version(name: str) -> str:
    """Return the version of an installed distribution, as `importlib.metadata.version` does.

    That module brings `email` and parses each METADATA: 15 ms for what the name of the folder says
    (https://packaging.python.org/specifications/recording-installed-packages/); it is asked where none does.

    :raises importlib.metadata.PackageNotFoundError: it is not installed.
    """
    wanted = _normalised(name)
    for folder in sys.path:
        if found := _named(folder).get(wanted):
            return found
    from importlib import metadata  # noqa: PLC0415 - see above

    return metadata.version(name)


@functools.cache
def _named(folder: str) -> dict[str, str]:
    """Return normalised name → version of the .dist-info folders of a folder of the import path."""
    try:
        entries = [path.name for path in Path(folder or ".").iterdir() if path.suffix == ".dist-info"]
    except OSError:  # an archive, or nothing
        return {}
    found = (_FOLDER.fullmatch(entry) for entry in sorted(entries))
    return {_normalised(match["name"]): match["version"] for match in found if match}


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
