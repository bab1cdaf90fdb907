"""A folder of wheels with a lock that pip installs from it alone: `--no-index`, `--find-links`, hashes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bundler.model import StoredWheel
    from bundler.store import Store

LOCK = "requirements.lock"
_FOLDER = re.compile(r"[A-Za-z0-9_.+-]*(/[A-Za-z0-9_.+-]+)+/?")


@dataclass(frozen=True, kw_only=True)
class WheelFile:
    """A wheel to install from."""

    name: str
    version: str
    extras: tuple[str, ...]
    filename: str
    path: Path
    """In the store."""
    sha256: str


def files(wheels: Iterable[StoredWheel], store: Store) -> tuple[WheelFile, ...]:
    """Return the files of wheels, in the order given.

    :raises DamagedEntryError: one is no longer in the store.
    """
    return tuple(
        WheelFile(
            name=wheel.locked.name,
            version=wheel.facts.version,
            extras=wheel.locked.extras,
            filename=wheel.facts.filename,
            path=store.require_file(wheel.facts.sha256, wheel.facts.filename),
            sha256=wheel.facts.sha256,
        )
        for wheel in wheels
    )


def lock_text(wheels: Sequence[WheelFile], *, target: str, wheels_at: str | None = None) -> str:
    """Write the lock: `pip install --require-hashes -r` takes it, and asks no index.

    :param target: what the wheels are for, in words.
    :param wheels_at: absolute path of the folder of the wheels where pip will run; `None`: the lock's own, for
        pip and uv read a relative `--find-links` from the folder of the file that has it.
    :raises InputError: `wheels_at` is not an absolute path of plain names.
    """
    if wheels_at is not None and not (wheels_at.startswith("/") and _FOLDER.fullmatch(wheels_at)):
        raise InputError(
            f"{wheels_at!r} is not an absolute path of plain names", hint="for example /usr/local/airflow/plugins"
        )
    lines = [f"# {target}", "--no-index", f"--find-links {wheels_at or '.'}"]
    for wheel in wheels:
        extras = f"[{','.join(wheel.extras)}]" if wheel.extras else ""
        lines.append(f"{wheel.name}{extras}=={wheel.version} \\\n    --hash=sha256:{wheel.sha256}")
    return "\n".join(lines) + "\n"
