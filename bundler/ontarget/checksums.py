"""Lists and hashes the files of a tree, and writes checksums: the same on the builder and in the image."""

import hashlib
import json
import os
import stat
import threading

MYPY = False
if MYPY:
    from collections.abc import Iterable, Iterator  # noqa: F401 - used in type comments
    from typing import Any  # noqa: F401 - used in type comments

MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
BUFFER = 1 << 20
THREADS = 2
LONGEST_PATH = 2048
"""Characters of a path: PATH_MAX of Linux is 4096 bytes, with the folder that the bundle is in."""


def walk(root, statuses=None):
    # type: (str, dict[str, os.stat_result] | None) -> tuple[list[tuple[str, int, int]], list[str]]
    """List the regular files below a folder as (path, size, mode), and what is neither file nor folder.

    What lies too deep for a path is listed with the latter.

    Paths are POSIX strings relative to `root`, sorted. No symlink is followed. Names are read as
    bytes and decoded as UTF-8 here, since the locale of the target is not ours to choose.

    `statuses` is given that of every file, and of every folder under its path with a slash at the end.
    """
    files = []  # type: list[tuple[str, int, int]]
    irregular = []  # type: list[str]
    folders = [(os.fsencode(root), "")]
    while folders:
        folder, prefix = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                path = prefix + entry.name.decode("utf-8", "surrogateescape")
                if len(path) > LONGEST_PATH:
                    irregular.append(path)
                elif entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    files.append((path, status.st_size, status.st_mode))
                    if statuses is not None:
                        statuses[path] = status
                elif entry.is_dir(follow_symlinks=False):
                    path += "/"
                    folders.append((entry.path, path))
                    if statuses is not None:
                        statuses[path] = entry.stat(follow_symlinks=False)
                else:
                    irregular.append(path)
    files.sort()
    irregular.sort()
    return files, irregular


def hash_files(root, files, threads=THREADS):
    # type: (str, Iterable[tuple[str, int, int]], int) -> dict[str, tuple[str, int]]
    """Return path: (sha256, size read) of the files that `walk` listed.

    Where a file could not be read, the error's text stands for the sha256, and the size is -1.

    hashlib releases the GIL, so threads are as good as processes and share one list of work.
    """
    results = {}  # type: dict[str, tuple[str, int]]
    # The large ones first: a large file at the end would leave the other thread idle.
    work = iter(sorted(files, key=lambda item: item[1], reverse=True))
    base = os.fsencode(root) + b"/"
    workers = [threading.Thread(target=_hash_some, args=(base, work, results)) for _ in range(threads - 1)]
    for worker in workers:
        worker.start()
    _hash_some(base, work, results)
    for worker in workers:
        worker.join()
    return results


def _hash_some(base, work, results):
    # type: (bytes, Iterator[tuple[str, int, int]], dict[str, tuple[str, int]]) -> None
    buffer = bytearray(BUFFER)
    view = memoryview(buffer)
    # A FIFO that has taken a file's place since it was listed must not make us wait.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    for path, size, _ in work:
        digest = hashlib.sha256()
        total = 0
        try:
            descriptor = os.open(base + path.encode("utf-8", "surrogateescape"), flags)
            try:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise OSError(0, "is no ordinary file")
                # A network file system may give less than it was asked for before the end.
                while total < size:
                    count = os.readv(descriptor, [buffer])
                    if not count:
                        break
                    digest.update(view[:count])
                    total += count
            finally:
                os.close(descriptor)
        except OSError as error:
            results[path] = (error.strerror or "cannot be read", -1)
        else:
            results[path] = (digest.hexdigest(), total)


def sums_text(rows):
    # type: (Iterable[tuple[str, str]]) -> str
    """Return what `sha256sum -c` reads, from (path, sha256), sorted by path.

    A name with a backslash or a line end is escaped and its line begins with a backslash (GNU
    coreutils manual, "md5sum invocation").
    """
    lines = []
    for path, sha256 in sorted(rows):
        line = sha256 + "  " + path
        if "\\" in path or "\n" in path or "\r" in path:
            line = "\\" + line.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        lines.append(line + "\n")
    return "".join(lines)


def tree_digest(rows):
    # type: (Iterable[tuple[str, str, int, str]]) -> str
    """Return the one digest of (path, sha256, size, mode) rows: see docs/manifest.md."""
    digest = hashlib.sha256()
    for path, sha256, size, mode in sorted(rows):
        line = "{}\0{}\0{}\0{}\n".format(path, mode, size, sha256)
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def manifest_digest(manifest):
    # type: (dict[str, Any]) -> str
    """Return sha256 of a manifest's canonical JSON without its `manifest_digest`: see docs/manifest.md."""
    rest = {key: value for key, value in manifest.items() if key != "manifest_digest"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
