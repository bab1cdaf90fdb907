"""One digest of all that decides a bundle's bytes and its verdict: if it is the same, nothing is to be done.

It leaves out what only depends on the machine: paths, the release of the kernel.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import bundler
from bundler.create.fetch.project_files import left_out
from bundler.create.request import CreateRequest, Resolved
from bundler.model import Lock, LockedDistribution
from bundler.system import files
from bundler.targets import profile_file


def digest(request: CreateRequest, resolved: Resolved, *, locked: str, formats: Sequence[str]) -> str:
    """Return sha256 of a request and of what it resolves to.

    :param locked: `lock_digest` of its lock.
    :param formats: archives that are made beside the folder.
    """
    target = resolved.target
    content = {
        "tool": bundler.__version__,
        "python": [target.python_version, target.implementation, target.abi, target.machine],
        "glibc": [*target.glibc, target.glibc_reason],
        "interpreter": [
            resolved.interpreter.version,
            resolved.interpreter.conda,
            resolved.interpreter.origin == "managed",
        ],
        "lock": locked,
        "extra_indexes": resolved.extra_indexes,
        "image": profile_file.as_dict(resolved.image) if resolved.image else None,
        "fit": request.fit,
        "thin": request.thin,
        "service": [asdict(one) for one in request.service],
        "policy": asdict(request.policy),
        "formats": sorted(set(formats) - {"dir"}),
        **({"mend": asdict(request.mend)} if request.mend else {}),
        **({"provenance": asdict(request.provenance)} if request.provenance else {}),
        **({"builds": resolved.build_constraints} if resolved.build_constraints else {}),
    }
    return _digest(content)


def lock_digest(lock: Lock, *, store: Path) -> str:
    """Return sha256 of what was asked for, and what a lock chose.

    :param store: the root of the store, which can lie in a local project.
    :raises OSError: a local project cannot be read.
    """
    unseen = left_out(store)
    return _digest([lock.requirements, lock.constraints, [_row(dist, unseen) for dist in lock.distributions]])


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


_Unseen = Callable[[str, Iterable[str]], set[str]]
"""As of `left_out`."""


def _row(dist: LockedDistribution, unseen: _Unseen) -> dict[str, Any]:
    """Return a distribution of the lock, without its size (an index can begin to state it) and path."""
    row = asdict(dist)
    artifact = row["artifact"]
    del artifact["size"]
    for key in ("built", "identities"):
        if not row[key]:
            del row[key]
    path = artifact.pop("path")
    if path and artifact["sha256"] is None:
        artifact["content"] = _content(Path(path), unseen)
    return row


def _content(path: Path, unseen: _Unseen) -> str:
    """Return sha256 of a single file, or of a local project's files as a build would see them."""
    if not path.is_dir():
        return files.digest(path)
    rows = []
    for name in sorted(_names(path, "", unseen)):
        entry = path / name
        content = os.fsdecode(entry.readlink()) if entry.is_symlink() else files.digest(entry)
        rows.append([name, content])
    return _digest(rows)


def _names(folder: Path, above: str, unseen: _Unseen) -> Iterator[str]:
    with os.scandir(folder) as found:
        entries = list(found)
    hidden = unseen(str(folder), [entry.name for entry in entries])
    for entry in entries:
        if entry.name in hidden:
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _names(Path(entry.path), f"{above}{entry.name}/", unseen)
        elif entry.is_file() or entry.is_symlink():
            yield f"{above}{entry.name}"
