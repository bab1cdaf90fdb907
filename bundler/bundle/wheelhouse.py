"""A folder of wheels with a lock that pip installs from it alone: `--no-index`, `--find-links`, hashes."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.errors import InputError, MachineError
from bundler.lazy_dataclass import dataclass
from bundler.model import StoredWheel, Target
from bundler.system import workspace
from bundler.wheels.store import Store

if TYPE_CHECKING:
    from bundler.system.writing import File

LOCK = "requirements.lock"
_FOLDER = re.compile(r"[A-Za-z0-9_.+-]*(/[A-Za-z0-9_.+-]+)+/?")


@dataclass(frozen=True, kw_only=True)
class WheelFile:
    """A wheel of a wheelhouse."""

    name: str
    version: str
    extras: tuple[str, ...]
    filename: str
    path: Path
    """In the store."""
    sha256: str


def files(wheels: Iterable[StoredWheel], store: Store) -> tuple[WheelFile, ...]:
    """Return the files of wheels, in the order given.

    :raises MachineError: one is no longer in the store.
    """
    return tuple(_file(wheel, store) for wheel in wheels)


def _file(wheel: StoredWheel, store: Store) -> WheelFile:
    artifact = wheel.locked.artifact
    filename = artifact.filename if artifact.kind == "wheel" else wheel.facts.filename
    path = store.file(wheel.facts.sha256, filename)
    if path is None:
        raise MachineError(f"{filename} is no longer in the store", hint="run the command again")
    return WheelFile(
        name=wheel.locked.name,
        version=wheel.facts.version,
        extras=wheel.locked.extras,
        filename=filename,
        path=path,
        sha256=wheel.facts.sha256,
    )


def lock_text(wheels: Sequence[WheelFile], *, target: str, wheels_at: str | None = None) -> str:
    """Return the lock as text; `pip install --require-hashes -r` takes it, and asks no index.

    :param target: what the wheels are for, in words.
    :param wheels_at: absolute path of the folder of the wheels where pip will run; `None`: the lock's own,
        for pip and uv read a relative `--find-links` from the folder of the file that has it.
    :raises InputError: `wheels_at` is not an absolute path of plain names.
    """
    if wheels_at is not None and not (wheels_at.startswith("/") and _FOLDER.fullmatch(wheels_at)):
        raise InputError(
            f"{wheels_at!r} is not an absolute path of plain names",
            hint="for example /usr/local/airflow/plugins",
        )
    lines = [f"# {target}", "--no-index", f"--find-links {wheels_at or '.'}"]
    for wheel in wheels:
        extras = f"[{','.join(wheel.extras)}]" if wheel.extras else ""
        lines.append(f"{wheel.name}{extras}=={wheel.version} \\\n    --hash=sha256:{wheel.sha256}")
    return "\n".join(lines) + "\n"


def as_files(wheels: Iterable[WheelFile], text: str) -> tuple[File, ...]:
    """Return what the folder holds: the lock and the wheels."""
    from bundler.system.writing import File  # noqa: PLC0415 - most runs make no wheelhouse

    copies = (File(path=wheel.filename, source=wheel.path, sha256=wheel.sha256) for wheel in wheels)
    return (File(path=LOCK, text=text), *copies)


@contextlib.contextmanager
def prepare(
    folder: Path | None, wheels: Iterable[StoredWheel], *, store: Store, target: Target
) -> Iterator[None]:
    """Prepare a wheelhouse in a working folder; publish it if the body of the `with` succeeds.

    :param folder: `None`: nothing is wanted. It may hold other files, and the very same ones already.
    :raises InputError: another file of one of these names is there; nothing is written.
    :raises MachineError: it cannot be written, or a wheel is no longer what it was.
    """
    if folder is None:
        yield
        return
    from bundler.system import writing  # noqa: PLC0415 - as above

    glibc = f"{target.glibc[0]}.{target.glibc[1]}"
    found = files(wheels, store)
    text = lock_text(found, target=f"Python {target.python_version}, {target.machine}, glibc {glibc}")
    with workspace.claim(folder) as work:
        writing.stage(as_files(found, text), work.bundle)
        writing.check(work.bundle, folder)
        yield
        writing.publish(work.bundle, folder)
