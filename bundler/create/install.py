"""Copies the store's trees into the prefix, and writes the metadata that an installer writes.

Installed distributions: https://packaging.python.org/specifications/recording-installed-packages/
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import sys
from binascii import b2a_base64
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import field
from pathlib import Path
from typing import Any

from bundler.bundle.tree import HashedFile
from bundler.errors import InputError, MachineError
from bundler.lazy_dataclass import dataclass
from bundler.model import Artifact, FileFact, LinkMode, StoredWheel
from bundler.ontarget import copy_files
from bundler.system import process, redact
from bundler.system.files import folders_above, write_new
from bundler.wheels.store import DamagedEntryError

INSTALLER = "envbundle\n"
FILE_COST = 60_000
"""Creating a file takes as long as copying this many bytes; with it the work is divided evenly."""
WORTH_A_PROCESS = 120_000_000
"""Bytes that are copied in a tenth of a second; less is not worth a process of its own."""


@dataclass(frozen=True, kw_only=True)
class InstalledTree:
    """What was installed below a prefix."""

    files: tuple[FileFact, ...]
    """Sorted by path; the metadata that was written here included."""
    seen: Mapping[str, HashedFile] = field(default_factory=dict, compare=False)
    """Path → hash and stamp of each copied file, for `tree.scan`."""


@dataclass(frozen=True, kw_only=True)
class _Copy:
    source: str
    """The tree in the store."""
    fact: FileFact


def install(
    wheels: Sequence[StoredWheel],
    *,
    prefix: Path,
    site_packages: str,
    link_mode: LinkMode = "copy",
    progress: Callable[[int], None] = lambda _: None,
) -> InstalledTree:
    """Install stored wheels into a prefix that does not exist yet, or is empty.

    Every file is compared with its fact while it is copied. With `hardlink` the files stay shared
    with the store, and must not be edited; they are read and compared all the same.

    :param site_packages: relative to the prefix.
    :param progress: called with the number of files done, from several threads at once.
    :raises InputError: two distributions disagree whether a path is a file or a folder.
    :raises MachineError: the output cannot be written.
    :raises DamagedEntryError: a file of the store is not what its fact says; `entry` is the one to
        drop (`Store.drop`) before making it again.
    """
    ordered = sorted(wheels, key=lambda wheel: wheel.locked.name)
    chosen: dict[str, _Copy] = {}
    owners: dict[str, list[str]] = defaultdict(list)
    for wheel in ordered:
        tree = str(wheel.tree)
        for fact in wheel.facts.files:
            chosen[fact.path] = _Copy(source=tree, fact=fact)
            owners[fact.path].append(wheel.locked.name)
    shared = {path for path, names in owners.items() if len(names) > 1}
    facts = [copy.fact for copy in chosen.values()]
    try:
        _make_folders(prefix, chosen, owners)
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            copied = _begin_copying(pool, list(chosen.values()), prefix, link_mode, progress)
            # Every wheel brings its .dist-info, so the folders for these files exist.
            written = [
                one for wheel in ordered for one in _metadata(wheel, chosen, shared, site_packages).items()
            ]
            seen: dict[str, HashedFile] = {}
            for part, answer in copied:
                seen |= _compared(part, answer.result())
        for path, content in written:
            facts.append(write_new(prefix / path, path, [content.encode()], executable=False))
            progress(1)
    except OSError as error:
        raise _not_writable(error, prefix) from error
    return InstalledTree(files=tuple(sorted(facts, key=lambda fact: fact.path)), seen=seen)


def _not_writable(error: OSError, prefix: Path) -> MachineError:
    if error.errno == errno.EXDEV:
        hint = "the store is on another filesystem: use --link-mode copy, or --cache-dir beside the output"
    else:
        hint = "the output's filesystem must have room (bytes and inodes) and be writable"
    return MachineError(f"cannot install into {prefix}: {error.strerror}: {error.filename}", hint=hint)


def _is_bytecode(path: str) -> bool:
    return path.endswith(".pyc") and "/__pycache__/" in path


def _make_folders(prefix: Path, paths: Iterable[str], owners: Mapping[str, Sequence[str]]) -> None:
    folders = folders_above(paths)
    for clash in sorted(folders & owners.keys()):
        below = {name for path in owners if path.startswith(f"{clash}/") for name in owners[path]}
        raise InputError(
            f"{clash} is a file of {owners[clash][0]} and a folder of {', '.join(sorted(below))}",
            hint="the two cannot be installed together; leave one of them out",
        )
    prefix.mkdir(mode=0o755, parents=True, exist_ok=True)
    prefix.chmod(0o755)
    for folder in sorted(folders):
        made = f"{prefix}/{folder}"
        os.mkdir(made, mode=0o755)  # noqa: PTH102 - a thousand of them, and Path takes as long as the kernel
        # The umask must not shut out the image's unprivileged user.
        os.chmod(made, 0o755)  # noqa: PTH101, S103 - as above, and meant


def _begin_copying(
    pool: Executor,
    copies: Sequence[_Copy],
    prefix: Path,
    link_mode: LinkMode,
    progress: Callable[[int], None],
) -> list[tuple[Sequence[_Copy], Future[dict[str, Any]]]]:
    """Begin to copy in several processes, with lists of about the same cost; a short list is copied here."""
    # In order of size, every list gets each size in turn, and they differ by about the largest file.
    dealt = sorted(copies, key=lambda copy: (copy.fact.size, copy.fact.path), reverse=True)
    if sum(copy.fact.size + FILE_COST for copy in copies) < WORTH_A_PROCESS:
        return [(dealt, pool.submit(copy_files.copy, _job(dealt, prefix, link_mode), progress))]
    workers = len(os.sched_getaffinity(0))
    lists = [dealt[first::workers] for first in range(workers)]
    jobs = [json.dumps(_job(part, prefix, link_mode)) for part in lists]
    return [
        (part, pool.submit(_copy_in_process, job, prefix, progress))
        for part, job in zip(lists, jobs, strict=True)
    ]


def _job(part: Sequence[_Copy], prefix: Path, link_mode: LinkMode) -> dict[str, Any]:
    trees = {tree: number for number, tree in enumerate(dict.fromkeys(copy.source for copy in part))}
    files = [(trees[copy.source], copy.fact.path, copy.fact.size, copy.fact.executable) for copy in part]
    return {"prefix": str(prefix), "link": link_mode == "hardlink", "trees": list(trees), "files": files}


def _copy_in_process(job: str, prefix: Path, progress: Callable[[int], None]) -> dict[str, Any]:
    done = process.run(
        [sys.executable, "-I", "-S", copy_files.__file__],
        env=process.clean_environment(home=prefix),
        stdin=job,
        on_error_line=lambda line: progress(int(line)) if line.strip().isdigit() else None,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _compared(part: Sequence[_Copy], answer: dict[str, Any]) -> dict[str, HashedFile]:
    """Compare the hashes of the copied files with the facts.

    :raises DamagedEntryError: a file of the store is not what its fact says.
    :raises OSError: a file could not be written.
    """
    if "lost" in answer:
        tree, path, reason = answer["lost"]
        source = list(dict.fromkeys(copy.source for copy in part))[tree]
        raise DamagedEntryError(Path(source).parent, f"{path}: {reason}")
    if "errno" in answer:
        raise OSError(answer["errno"], answer["reason"], answer["path"])
    seen = {}
    for copy, row in zip(part, answer["seen"], strict=True):
        fact, digest = copy.fact, row[0]
        if digest != fact.sha256:
            raise DamagedEntryError(
                Path(copy.source).parent, f"{fact.path} has sha256 {digest}, not {fact.sha256}"
            )
        seen[fact.path] = HashedFile(digest, tuple(row[1:]))
    return seen


def _metadata(
    wheel: StoredWheel,
    chosen: Mapping[str, _Copy],
    shared: Collection[str],
    site_packages: str,
) -> dict[str, str]:
    """Return path → content of the files that an installer writes for a distribution."""
    folder = f"{site_packages}/{wheel.facts.dist_info}"
    written = {f"{folder}/INSTALLER": INSTALLER}
    if wheel.locked.requested:
        written[f"{folder}/REQUESTED"] = ""
    origin = _direct_url(wheel.locked.artifact) if wheel.locked.source in {"url", "vcs"} else None
    if origin is not None:
        written[f"{folder}/direct_url.json"] = json.dumps(origin, sort_keys=True)
    # Bytecode of the same source can differ between two wheels (`bundler.wheels.bytecode`), so the row
    # must be that of the bytecode that was installed.
    facts = [
        chosen[fact.path].fact if fact.path in shared and _is_bytecode(fact.path) else fact
        for fact in wheel.facts.files
    ]
    rows = [_row(fact.path, fact.sha256, fact.size, site_packages) for fact in facts]
    for path, text in written.items():
        content = text.encode()
        rows.append(_row(path, hashlib.sha256(content).hexdigest(), len(content), site_packages))
    record = f"{folder}/RECORD"
    rows.append((_relative(record, site_packages), "", ""))
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(sorted(rows))
    return {**written, record: table.getvalue()}


def _row(path: str, sha256: str, size: int, site_packages: str) -> tuple[str, str, str]:
    digest = b2a_base64(bytes.fromhex(sha256))[:43].decode().replace("+", "-").replace("/", "_")
    return _relative(path, site_packages), f"sha256={digest}", str(size)


def _relative(path: str, site_packages: str) -> str:
    """Return a path below the prefix as RECORD writes it: relative to site-packages."""
    inside = path.removeprefix(f"{site_packages}/")
    if inside != path:
        return inside
    return "../" * (site_packages.count("/") + 1) + path


def _direct_url(artifact: Artifact) -> Mapping[str, Any] | None:
    """Return direct_url.json's value (https://packaging.python.org/specifications/direct-url/).

    `None` where there is no URL to tell: a local project's path must not leave the builder.
    """
    if artifact.url is None or artifact.url.startswith("file:"):
        return None
    from packaging.direct_url import ArchiveInfo, DirectUrl, VcsInfo  # noqa: PLC0415 - files of an index have none

    if artifact.kind == "vcs":
        tool, _, url = artifact.url.partition("+")
        origin = DirectUrl(
            url=url,
            vcs_info=VcsInfo(vcs=tool, commit_id=artifact.commit or ""),
            subdirectory=artifact.subdirectory,
        )
    else:
        hashes = {"sha256": artifact.sha256} if artifact.sha256 else None
        origin = DirectUrl(
            url=redact.url(artifact.url),
            archive_info=ArchiveInfo(hashes=hashes),
            subdirectory=artifact.subdirectory,
        )
    return origin.to_dict(generate_legacy_hash=True, strip_user_password=False)
