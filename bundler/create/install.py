"""Copies the store's trees into the prefix, and writes the metadata that an installer writes.

Installed distributions: https://packaging.python.org/specifications/recording-installed-packages/
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import marshal
import os
import sys
import tempfile
from binascii import a2b_base64, b2a_base64
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import field
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias

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


class _Copy(NamedTuple):
    source: str
    """The tree in the store."""
    fact: FileFact


_Part: TypeAlias = "tuple[Sequence[_Copy], Future[dict[str, Any]]]"
"""What a process copies, and what it will answer."""


def install(
    wheels: Sequence[StoredWheel],
    *,
    prefix: Path,
    site_packages: str,
    link_mode: LinkMode = "copy",
    progress: Callable[[int], None] = lambda _: None,
    meanwhile: Callable[[tuple[FileFact, ...]], None] = lambda _: None,
) -> InstalledTree:
    """Install stored wheels into a prefix that does not exist yet, or is empty.

    Every file is compared with its fact while it is copied. With `hardlink` the files stay shared
    with the store, and must not be edited; they are read and compared all the same.

    :param site_packages: relative to the prefix.
    :param progress: called with the number of files done, from several threads at once.
    :param meanwhile: called once, while files are copied, with what the tree will have.
    :raises InputError: two distributions disagree whether a path is a file or a folder.
    :raises MachineError: the output cannot be written.
    :raises DamagedEntryError: a file of the store is not what its fact says; `entry` is the one to
        drop (`Store.drop`) before making it again.
    """
    ordered = sorted(wheels, key=lambda wheel: wheel.locked.name)
    chosen = {fact.path: _Copy(str(one.tree), fact) for one in ordered for fact in one.facts.files}
    shared: set[str] = set()
    if len(chosen) < sum(len(wheel.facts.files) for wheel in ordered):
        owners = Counter(fact.path for wheel in ordered for fact in wheel.facts.files)
        shared = {path for path, count in owners.items() if count > 1}
    facts = [copy.fact for copy in chosen.values()]
    try:
        _make_folders(prefix, chosen, ordered)
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            copied = _begin_copying(pool, list(chosen.values()), prefix, link_mode, progress)
            # Every wheel brings its .dist-info, so the folders for these files exist.
            for wheel in ordered:
                for path, content in _metadata(wheel, chosen, shared, site_packages).items():
                    facts.append(write_new(prefix / path, path, [content.encode()], executable=False))
                    progress(1)
            files = tuple(sorted(facts, key=lambda fact: fact.path))
            try:
                meanwhile(files)
            except Exception:
                _whole(copied)  # that the store is damaged is the better reason
                raise
            seen = _whole(copied)
    except OSError as error:
        raise _not_writable(error, prefix) from error
    return InstalledTree(files=files, seen=seen)


def _whole(copied: Sequence[_Part]) -> dict[str, HashedFile]:
    """Wait until all is copied, and compare it: path → hash and stamp."""
    seen: dict[str, HashedFile] = {}
    for part, answer in copied:
        seen |= _compared(part, answer.result())
    return seen


def _not_writable(error: OSError, prefix: Path) -> MachineError:
    if error.errno == errno.EXDEV:
        hint = "the store is on another filesystem: use --link-mode copy, or --cache-dir beside the output"
    else:
        hint = "the output's filesystem must have room (bytes and inodes) and be writable"
    return MachineError(f"cannot install into {prefix}: {error.strerror}: {error.filename}", hint=hint)


def _is_bytecode(path: str) -> bool:
    return path.endswith(".pyc") and "/__pycache__/" in path


def _make_folders(prefix: Path, paths: Collection[str], wheels: Sequence[StoredWheel]) -> None:
    folders = folders_above(paths)
    for clash in sorted(folders.intersection(paths)):
        owners = [one.locked.name for one in wheels for fact in one.facts.files if fact.path == clash]
        below = {
            *(
                one.locked.name
                for one in wheels
                for fact in one.facts.files
                if fact.path.startswith(f"{clash}/")
            )
        }
        raise InputError(
            f"{clash} is a file of {owners[0]} and a folder of {', '.join(sorted(below))}",
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
) -> list[_Part]:
    """Begin to copy in several processes, with lists of about the same cost; a short list is copied here."""
    # In order of size, every list gets each size in turn, and they differ by about the largest file.
    dealt = sorted(copies, key=lambda copy: copy.fact.size, reverse=True)
    if sum(copy.fact.size for copy in copies) + FILE_COST * len(copies) < WORTH_A_PROCESS:
        return [(dealt, pool.submit(copy_files.copy, _job(dealt, prefix, link_mode), progress))]
    workers = len(os.sched_getaffinity(0))
    parts: list[_Part] = []
    for first in range(workers):
        part = dealt[first::workers]
        job = marshal.dumps(_job(part, prefix, link_mode))
        parts.append((part, pool.submit(_copy_in_process, job, prefix, progress)))
    return parts


def _job(part: Sequence[_Copy], prefix: Path, link_mode: LinkMode) -> dict[str, Any]:
    trees = {tree: number for number, tree in enumerate(dict.fromkeys(copy.source for copy in part))}
    files = [(trees[source], fact.path, fact.size, fact.executable) for source, fact in part]
    return {"prefix": str(prefix), "link": link_mode == "hardlink", "trees": list(trees), "files": files}


def _copy_in_process(job: bytes, prefix: Path, progress: Callable[[int], None]) -> dict[str, Any]:
    # A file and not a pipe, which this process would have to fill while it does other work.
    stream: IO[bytes] = tempfile.TemporaryFile(dir=prefix.parent)  # noqa: SIM115 - `run` closes it
    stream.write(job)
    stream.seek(0)
    done = process.run(
        [sys.executable, "-I", "-S", copy_files.__file__],
        env=process.clean_environment(home=prefix),
        stdin=stream,
        on_error_line=lambda line: progress(int(line)) if line.strip().isdigit() else None,
    )
    answer: dict[str, Any] = marshal.loads(a2b_base64(done.stdout))  # noqa: S302 - our own program's
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
        seen[fact.path] = HashedFile(fact, tuple(row[1:]))
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
