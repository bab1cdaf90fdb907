"""Locks in a tool's own form, and the one command that makes one of each that is read here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

_COMMANDS = {
    "uv.lock": "uv export --frozen --no-emit-project --format pylock.toml -o pylock.toml",
    "poetry.lock": "uvx --with poetry-plugin-export poetry export -o requirements.lock",
    "pdm.lock": "pdm export --prod -o requirements.lock",
    "Pipfile.lock": "uvx pipenv requirements --hash > requirements.lock",
}


def refuse(path: Path) -> None:
    """Refuse a lock in a tool's own form.

    :raises InputError: with the command that converts it.
    """
    command = _COMMANDS.get(path.name)
    if command is not None:
        result = "pylock.toml" if "pylock" in command else "requirements.lock"
        raise InputError(
            f"{path} is a lock in a form of its tool's own",
            hint=f"in its folder: {command}; then --lock {result}",
        )
