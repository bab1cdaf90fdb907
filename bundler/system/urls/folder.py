"""A folder at a URL, through fsspec: lists, reads, writes and removes whole files.

A reader finds the old content of a file or the new one, never a part: object stores (S3, Azure Blob Storage,
Google Cloud Storage) take an object in one step, elsewhere a file is written under another name and renamed.
Credentials come from the environment or from the machine's identity, as the packages behind fsspec read them
(s3fs, adlfs); none is ever printed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import fsspec
from fsspec.core import url_to_fs

from bundler.errors import InputError, MachineError
from bundler.system import redact
from bundler.system.files import digest
from bundler.system.json_values import path_problem
from bundler.system.urls import disk, failures
from bundler.system.urls.disk import INCOMING, Stat

logger = logging.getLogger(__name__)

THREADS = 16
"""Requests at the same time: with thousands of small files, latency counts, not bandwidth."""
LARGE = 16 << 20
"""Larger files, in bytes, are sent one after the other: fsspec's packages hold their parts in memory."""
WAITS = (0.5, 2.0, 8.0)
"""Seconds before each further attempt."""
_ATOMIC = frozenset({"s3", "s3a", *redact.AZURE, "gs", "gcs", "memory"})
"""Protocols that take an object in one step."""
_VERSION_KEYS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "modified", "created")
_MD5 = re.compile(r"[0-9a-f]{32}")
_PROTOCOL = re.compile(r"(?P<name>[a-z][a-z0-9+.-]*)://", re.IGNORECASE)

T = TypeVar("T")


class DamagedObjectError(MachineError):
    """A file at the URL does not have the content that its name promises."""


def normal_url(url: str) -> str:
    """Return a URL as `Folder` opens it, with `file://` before a path; no request is made.

    :raises InputError: it is chained, empty, or names no folder.
    """
    if "::" in url:
        raise InputError(
            f"{redact.storage_url(url)}: chained URLs cannot be written to", hint="give the last part alone"
        )
    found = _PROTOCOL.match(url)
    if found is None:
        if not url:
            raise InputError("an empty URL", hint="write file:///…, abfs://CONTAINER/… or s3://BUCKET/…")
        return f"file://{Path(url).absolute()}"
    if not url[found.end() :].strip("/") and found["name"].lower() != "memory":
        raise InputError(
            f"{redact.storage_url(url)} names no place",
            hint="write file:///…, abfs://CONTAINER/… or s3://BUCKET/…",
        )
    return url


def require_filesystem(url: str) -> None:
    """Refuse a URL that fsspec has no filesystem for; no request is made.

    :raises InputError: it is no URL, or of an unknown protocol.
    :raises MachineError: the package for its protocol is not installed.
    """
    url = normal_url(url)
    try:
        fsspec.get_filesystem_class(url.partition("://")[0].lower())
    except Exception as error:  # noqa: BLE001 - each package has errors of its own
        raise failures.unopened(url, error) from None


class Folder:
    """A folder at a URL; it need not exist. Safe to share between threads, but not across a fork."""

    def __init__(self, url: str) -> None:
        self._url = normal_url(url)
        self.shown = redact.storage_url(self._url).rstrip("/")
        """The URL without credentials, for people and records."""
        self._protocol = self._url.partition("://")[0].lower()
        self._fs, root = self._open()
        self._root = root.rstrip("/")
        self._local = Path(self._root or "/") if self._protocol in {"file", "local"} else None

    def _open(self) -> tuple[Any, str]:
        options: dict[str, Any] = {"use_listings_cache": False}
        if self._protocol in redact.AZURE and "AZURE_STORAGE_ANON" not in os.environ:
            # Older releases of adlfs use no identity unless they are told to.
            options["anon"] = False
        if self._protocol in {"file", "local"}:
            options = {}
        try:
            filesystem, path = url_to_fs(self._url, **options)
        except Exception as error:  # noqa: BLE001 - each package has errors of its own
            raise failures.unopened(self._url, error) from None
        return filesystem, str(path)

    def subfolder(self, name: str) -> Folder:
        """Return a folder in this one."""
        return Folder(f"{self._url.rstrip('/')}/{self._checked(name)}")

    def _checked(self, name: str) -> str:
        if problem := path_problem(name):
            raise InputError(f"{self.shown}: {name[:80]!r} {problem}", hint="names stay below their folder")
        return name

    def _key(self, name: str) -> str:
        return f"{self._root}/{self._checked(name)}"

    def _retry(self, action: Callable[[], T], what: str) -> T:
        """Call a function, again after a temporary failure.

        :param what: the action in words, for messages.
        :raises FileNotFoundError: as the function does; it is an answer, no failure.
        :raises MachineError: it failed for good, or each time.
        """
        waits = iter(WAITS)
        while True:
            try:
                return action()
            except FileNotFoundError:
                raise
            except Exception as error:  # noqa: BLE001 - each package has errors of its own
                wait = next(waits, None)
                if wait is None or failures.is_final(error):
                    raise failures.failed(f"{what} {self.shown}", self._protocol, error) from None
                logger.info("%s %s: %s; again in %g s", what, self.shown, type(error).__name__, wait)
            # Machines that failed at the same time must not try again at the same time.
            time.sleep(wait * random.uniform(0.5, 1))  # noqa: S311 - no secret

    def listing(self, below: str = "", *, deep: bool = True) -> dict[str, Stat]:
        """Return the files below a folder of this one: path relative to this folder → status.

        :param below: `builds/0123`; empty for all.
        :param deep: in subfolders too.
        :raises MachineError: the filesystem does not answer.
        """
        top = self._key(below) if below else self._root
        if self._local is not None:
            return disk.listing(self._local, Path(top or "/"), deep=deep)

        def ask() -> list[dict[str, Any]]:
            self._fs.invalidate_cache()
            return list(self._fs.find(top, detail=True).values() if deep else self._fs.ls(top, detail=True))

        try:
            found = self._retry(ask, "listing")
        except FileNotFoundError:
            return {}
        prefix = f"{self._root.lstrip('/')}/" if self._root.strip("/") else ""
        files = {str(info["name"]).lstrip("/"): info for info in found if info.get("type") == "file"}
        named = {path.removeprefix(prefix): path for path in files if path.startswith(prefix)}
        sound = (name for name in named if not path_problem(name) and INCOMING not in name.split("/"))
        return {name: _stat(files[named[name]]) for name in sound}

    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes, or `None` where there is no such file.

        :raises MachineError: the filesystem does not answer.
        """
        key = self._key(name)
        self._fs.invalidate_cache()
        try:
            return int(self._retry(lambda: self._fs.info(key), f"asking for {name} at").get("size") or 0)
        except FileNotFoundError:
            return None

    def read(self, name: str, *, limit: int = 64 << 20) -> bytes | None:
        """Return a file's content, or `None` where there is no such file.

        :param limit: the most bytes that it may have.
        :raises MachineError: the filesystem does not answer, or the file is larger.
        """
        key = self._key(name)

        def cat() -> bytes:
            size = self._fs.info(key).get("size") or 0
            if size > limit:
                raise DamagedObjectError(f"{self.shown}/{name} has {size} bytes, more than {limit}")
            data: bytes = self._fs.cat_file(key)
            return data

        self._fs.invalidate_cache()
        try:
            return self._retry(cat, f"reading {name} at")
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write a small file, over an older one.

        :raises MachineError: it could not be written.
        """
        self._put(name, data=data, what=f"writing {name} to")

    def send(self, files: Mapping[str, Path], *, progress: Callable[[int], None] = lambda _: None) -> None:
        """Write files, over older ones, several at a time; executable ones stay so where the filesystem can.

        :param files: name → local file.
        :param progress: called on any thread with the size of each file that has been written.
        :raises MachineError: one could not be written; others may have been by then.
        """
        sizes = {name: path.stat().st_size for name, path in files.items()}

        def put(name: str) -> None:
            self._put(name, source=files[name], what=f"sending {name} to")
            progress(sizes[name])

        for name in (name for name, size in sizes.items() if size > LARGE):
            put(name)
        _in_threads(put, [name for name, size in sizes.items() if size <= LARGE])

    def _put(self, name: str, *, what: str, source: Path | None = None, data: bytes = b"") -> None:
        key = self._key(name)

        def put() -> None:
            if self._local is not None:
                disk.put(self._local, Path(key), source=source, data=data)
            elif self._protocol in _ATOMIC:
                self._put_object(key, source=source, data=data)
            else:
                beside = f"{self._root}/{INCOMING}/{uuid.uuid4().hex}"
                for folder in (beside, key):
                    self._fs.makedirs(folder.rpartition("/")[0], exist_ok=True)
                self._put_object(beside, source=source, data=data)
                self._fs.mv(beside, key)

        try:
            self._retry(put, what)
        except FileNotFoundError as error:
            raise failures.failed(f"{what} {self.shown}", self._protocol, error) from None

    def _put_object(self, key: str, *, source: Path | None, data: bytes) -> None:
        # fsspec's memory filesystem shows a half-written file, unless it is written in one piece.
        if source is None or self._protocol == "memory":
            self._fs.pipe_file(key, data if source is None else source.read_bytes())
        else:
            self._fs.put_file(str(source), key)

    def flush(self) -> None:
        """Flush what was sent to the disk, so that a file written after this can say that it is there."""
        if self._local is not None:
            disk.flush(self._local)

    def local_sha256(self, name: str) -> str | None:
        """Return the hash of a file on this machine; `None` where there is no such file here."""
        if self._local is None:
            return None
        try:
            return digest(self._local / self._checked(name))
        except OSError:
            return None

    def fetch(self, name: str, path: Path, *, sha256: str) -> bool:
        """Fetch a file and check its hash; return `False` where there is no such file.

        :param path: the new file, in a private folder.
        :raises DamagedObjectError: it has another hash; `path` is removed again.
        :raises MachineError: the filesystem does not answer.
        """
        key = self._key(name)
        try:
            self._retry(lambda: self._fs.get_file(key, str(path)), f"fetching {name} from")
        except FileNotFoundError:
            path.unlink(missing_ok=True)
            return False
        found = digest(path)
        if found != sha256:
            path.unlink()
            raise DamagedObjectError(
                f"{self.shown}/{name} has sha256 {found}, not {sha256}",
                hint="it was changed or damaged there; it is not used",
            )
        return True

    def remove(self, names: Iterable[str], *, before: Callable[[], None] = lambda: None) -> None:
        """Remove files and the folders that become empty; files that are not there are passed over.

        :param before: called before each request, on any thread; raises to prevent it.
        :raises MachineError: one cannot be removed.
        """

        def ask(key: str) -> None:
            before()
            self._fs.rm_file(key)

        def remove_one(key: str) -> None:
            if self._local is not None:
                disk.require_inside(self._local, Path(key))
            with contextlib.suppress(FileNotFoundError):
                self._retry(lambda: ask(key), "removing files at")

        keys = [self._key(name) for name in names]
        _in_threads(remove_one, keys)
        if self._protocol not in _ATOMIC:
            folders = {parent for key in keys for parent in _parents(key, self._root)}
            for folder in sorted(folders, key=len, reverse=True):
                # It fails for a folder that still holds something.
                with contextlib.suppress(Exception):
                    self._fs.rmdir(folder)


def _in_threads(action: Callable[[str], None], items: Iterable[str]) -> None:
    """Call a function for each item, several at a time; stop at the first failure."""
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for _ in pool.map(action, items):
                pass
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _stat(info: Mapping[str, Any]) -> Stat:
    version = next((info[key] for key in _VERSION_KEYS if info.get(key)), "")
    changed = next((info[key] for key in ("LastModified", "last_modified", "mtime") if info.get(key)), 0)
    return Stat(
        size=int(info.get("size") or 0),
        version=version.isoformat() if isinstance(version, datetime) else str(version).strip('"'),
        md5=_md5(info),
        changed=changed.timestamp() if isinstance(changed, datetime) else float(changed),
    )


def _md5(info: Mapping[str, Any]) -> str:
    """Return the MD5 of S3 (an entity tag without parts) or of Azure (content settings); else nothing."""
    settings = info.get("content_settings") or {}
    azure = settings.get("content_md5") if hasattr(settings, "get") else None
    if azure:
        return bytes(azure).hex()
    tag = str(info.get("ETag") or "").strip('"').lower()
    return tag if _MD5.fullmatch(tag) else ""


def _parents(key: str, root: str) -> list[str]:
    found = []
    parent = key.rpartition("/")[0]
    while len(parent) > len(root):
        found.append(parent)
        parent = parent.rpartition("/")[0]
    return found
