"""Where the jobs of an envbundle.toml stand, remembered from the last run: for `rebuild --locked` alone.

To read the file and to plan takes longer than to look at a build of ten thousand files. What a plan has to
say of places is a function of the file, the profiles and the locks that it names, and this envbundle; as long
as the filesystem tells of no change in any of them, it is the same. Nothing is made by it.
"""

from __future__ import annotations

import hashlib
import marshal
import os

import bundler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import TypedDict

    from bundler.rebuild.job import Job

    class Place(TypedDict):
        """A job and its folder."""

        name: str
        folder: str

    class Memo(TypedDict):
        """What is remembered of a file."""

        tool: str
        seen: dict[str, list[int]]
        """Path → what the filesystem told of it."""
        folders: list[str]
        """The output folders."""
        jobs: list[Place]


SCHEMA = 1


def _path(file: str, environ: Mapping[str, str]) -> str:
    """Where it is kept: in the caller's cache, and never in that which the file names."""
    home = environ.get("XDG_CACHE_HOME") or f"{environ.get('HOME', '')}/.cache"
    root = environ.get("ENVBUNDLE_CACHE_DIR") or f"{home}/envbundle"
    name = hashlib.sha256(os.fsencode(os.path.abspath(file))).hexdigest()  # noqa: PTH100 - no pathlib here
    return f"{root}/v1/plans/{name}"


def _seen(path: str) -> list[int]:
    status = os.stat(path)  # noqa: PTH116 - no pathlib here: it takes longer than all of this
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def remember(file: Path, jobs: Sequence[Job], folders: Sequence[Path], *, environ: Mapping[str, str]) -> None:
    """Keep the plan of a whole file; where that cannot be done, the next run plans anew.

    :param jobs: all jobs of the file.
    :param folders: the output folders.
    """
    toml = os.path.abspath(file)  # noqa: PTH100 - as in `recall`
    named = [one for job in jobs for one in (job.request.image, job.request.lock_file) if one is not None]
    files = [toml, *(os.fspath(one) for one in named if "/" in os.fspath(one))]
    path = _path(toml, environ)
    try:
        memo: Memo = {
            "tool": f"{bundler.__version__} {SCHEMA}",
            "seen": {one: _seen(one) for one in files},
            "folders": [os.fspath(folder) for folder in folders],
            "jobs": [{"name": job.name, "folder": os.fspath(job.folder)} for job in jobs],
        }
        if recall(toml, environ=environ) != memo:
            os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - no pathlib here
            beside = f"{path}.{os.getpid()}"
            with open(beside, "wb") as stream:  # noqa: PTH123 - no pathlib here
                # `json` takes longer to import than all of this; and this file is read where it was written.
                stream.write(marshal.dumps(dict(memo)))
            os.replace(beside, path)  # noqa: PTH105 - no pathlib here
    except OSError:
        return


def recall(file: str, *, environ: Mapping[str, str]) -> Memo | None:
    """Return what is remembered of a file; `None`: nothing, or not of this file as it is now.

    :param file: its path, not that of its folder.
    """
    try:
        with open(_path(file, environ), "rb") as stream:  # noqa: PTH123 - no pathlib here
            memo: Memo = marshal.loads(stream.read())  # noqa: S302 - of the caller's own cache
        if memo["tool"] != f"{bundler.__version__} {SCHEMA}":
            return None
        if any(_seen(path) != seen for path, seen in memo["seen"].items()):
            return None
        _ = [(one["name"], one["folder"]) for one in memo["jobs"]], memo["folders"][:]
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return memo
