"""Locks in a tool's own form: which they are, and who reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bundler.create.inputs import pdm_lock, pinned, pipfile_lock, poetry_lock, uv_lock
from bundler.errors import InputError
from bundler.model import Requirements

NAMES = ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock")


def is_tool_lock(path: Path) -> bool:
    """Tell by its name whether a file is a lock in a tool's own form."""
    return path.name in NAMES


def read(
    path: Path, *, extras: Sequence[str], groups: Sequence[str], environ: Mapping[str, str]
) -> Requirements:
    """Read such a lock: what the project beside it asks for, held to what it pins.

    :param extras: of that project that are wanted as well.
    :param groups: dependency groups of that project that are wanted as well.
    :param environ: where `${X}` in URLs of indexes is looked up.
    :raises InputError: it cannot be read, or has no such extra or group.
    """
    if path.name == "Pipfile.lock":
        found = pipfile_lock.read(path, extras=extras, groups=groups, environ=environ)
    else:
        reader = {"uv.lock": uv_lock.read, "poetry.lock": poetry_lock.read, "pdm.lock": pdm_lock.read}
        found = reader[path.name](path, extras=extras, groups=groups)
    return pinned.as_requirements(found)


def refuse(path: Path) -> None:
    """Refuse a lock in a tool's own form where one is wanted that says each file of a target.

    :raises InputError: with the way to give it.
    """
    if is_tool_lock(path):
        raise InputError(
            f"{path} is a lock in a form of its tool's own, for more than one target",
            hint=f"give it as what is asked for: -r {path}",
        )
