"""Downloads files, several at once; a file is visible in the store only when its hash is right."""

from __future__ import annotations

import contextlib
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import requests
import urllib3

from bundler.errors import CommandError, InputError, MachineError
from bundler.system import files, redact
from bundler.system.http import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bundler.create.fetch.ahead import Ahead
    from bundler.model import Artifact, IndexSettings, Requirements
    from bundler.system.progress import Progress
    from bundler.wheels.store import Store

PARALLEL = 8
_BLOCK = 1 << 18


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file to fetch."""

    url: str
    filename: str
    sha256: str | None
    """`None` only for a direct URL that nobody hashed; the hash found is then written down."""
    size: int | None


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A file in the store."""

    path: Path
    sha256: str


@dataclass(kw_only=True)
class Downloader:
    """Fetches with the caller's proxies, certificates and credentials."""

    store: Store
    settings: IndexSettings
    requirements: Requirements | None
    ask_pip: Callable[[Sequence[str]], object] | None = None
    """Runs a command of pip, which knows more ways to a password; `None`: they are not tried."""

    def __post_init__(self) -> None:
        self._network = Network(self.settings, self.requirements)

    def run(
        self,
        artifacts: Sequence[Artifact],
        progress: Progress,
        arrived: Callable[[Fetched], None] = lambda _: None,
        ahead: Ahead | None = None,
    ) -> list[Fetched]:
        """Fetch all, which have a URL; the first failure stops the rest.

        :param arrived: called with each file once it is in the store, from several threads at once.
        :param ahead: may have begun with some of them; they are waited for.
        :raises InputError: a file with a wrong hash.
        :raises MachineError: the server is out of reach, wants credentials, or has no such file.
        """
        downloads = [_download(one) for one in artifacts]
        known = [download.size for download in downloads]
        total = sum(size for size in known if size) if all(known) else None
        coming = sum(1 for one in artifacts if ahead and ahead.is_coming(one))
        pool = ThreadPoolExecutor(max_workers=PARALLEL + coming)
        with progress.bar("download", total=total) as advance:
            # The largest first: what follows them (unpacking) takes longest, too.
            futures = {
                pool.submit(self._join, artifacts[index], advance, arrived, ahead): index
                for index, download in sorted(enumerate(downloads), key=lambda one: -(one[1].size or 0))
            }
            try:
                return [future.result() for future in sorted(futures, key=lambda one: futures[one])]
            except BaseException as error:
                # Whoever presses Ctrl-C does not wait for a server; the store sweeps what is left.
                pool.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
                raise

    def one(self, artifact: Artifact, advance: Callable[[int], None]) -> Fetched:
        """Fetch one file; raises as `run` does.

        :param advance: called with the bytes that have come; what it raises ends it.
        """
        return self._fetch(_download(artifact), advance)

    def _join(
        self,
        artifact: Artifact,
        advance: Callable[[int], None],
        arrived: Callable[[Fetched], None],
        ahead: Ahead | None,
    ) -> Fetched:
        fetched = ahead.join(artifact, advance) if ahead else None
        if fetched is None:
            fetched = self.one(artifact, advance)
            arrived(fetched)
        return fetched

    def sizes(self, artifacts: Sequence[Artifact]) -> list[int | None]:
        """Ask disk or server for the sizes of files, in bytes; `None` where nobody tells."""
        with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
            return list(pool.map(self._size, artifacts))

    def _size(self, artifact: Artifact) -> int | None:
        stored = self.store.file(artifact.sha256, artifact.filename) if artifact.sha256 else None
        local = stored or (Path(artifact.path) if artifact.path else None)
        if local is not None and local.is_file():
            return local.stat().st_size
        url = artifact.url or ""
        if not url.startswith(("https://", "http://")):
            return None
        try:
            response = self._network.session().head(
                url,
                allow_redirects=True,
                timeout=self._network.timeout,
                auth=self._network.credentials(url),
                headers={"Accept-Encoding": "identity"},
            )
        except requests.RequestException:
            return None
        length = response.headers.get("Content-Length", "")
        return int(length) if response.ok and length.isdigit() and int(length) else None

    def _fetch(self, download: Download, advance: Callable[[int], None]) -> Fetched:
        with self.store.incoming() as folder:
            path = folder / download.filename
            try:
                digest = self._stream_whole(download, path, advance)
            except requests.HTTPError as error:
                status = error.response.status_code if error.response is not None else 0
                refused = status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
                if not (refused and download.sha256 and self.ask_pip):
                    raise _http_error(download, status) from error
                # pip knows keyring and every other way to a password: ask it for this one file.
                digest = _by_pip(download, path, status, self.ask_pip)
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                raise MachineError(
                    f"{_name(download)} could not be fetched: {redact.text(str(error))}",
                    hint="check network, proxy and certificate; what has arrived is kept, so run again",
                ) from error
            if download.sha256 and digest != download.sha256:
                raise InputError(
                    f"{_name(download)} does not have the expected hash\n"
                    f"  expected: sha256:{download.sha256}\n  got:      sha256:{digest}",
                    hint="the file was changed on the way or on the index: do not use it before you know why",
                )
            stored = self.store.add_file(path, filename=download.filename, sha256=digest)
        return Fetched(path=stored, sha256=digest)

    def _stream_whole(self, download: Download, path: Path, advance: Callable[[int], None]) -> str:
        """Begin again where a connection breaks in the middle, of which `Retry` knows nothing."""
        for again in range(self._network.retries):
            with contextlib.suppress(requests.exceptions.ChunkedEncodingError):
                return self._stream(download, path, advance)
            advance(-path.stat().st_size)
            time.sleep(0.3 * (again + 1))
        return self._stream(download, path, advance)

    def _stream(self, download: Download, path: Path, advance: Callable[[int], None]) -> str:
        digest = hashlib.sha256()
        response = self._network.session().get(
            download.url,
            stream=True,
            timeout=self._network.timeout,
            auth=self._network.credentials(download.url),
            # An index that compresses on the way would change the bytes that the hash is about.
            headers={"Accept-Encoding": "identity"},
        )
        with response, path.open("wb") as file:
            response.raise_for_status()
            for block in response.iter_content(_BLOCK):
                digest.update(block)
                file.write(block)
                advance(len(block))
        return digest.hexdigest()


def _by_pip(download: Download, path: Path, status: int, ask_pip: Callable[[Sequence[str]], object]) -> str:
    requirement = path.with_name(f"{download.filename}.txt")
    name = download.filename.split("-")[0]
    line = f"{name} @ {download.url} --hash=sha256:{download.sha256}\n"
    requirement.write_text(line, encoding="utf-8")
    command = ["download", "--no-deps", "--no-cache-dir", "--require-hashes", "--no-input"]
    command += ["--dest", str(path.parent), "--requirement", str(requirement)]
    try:
        ask_pip(command)
    except CommandError as error:
        raise _http_error(download, status) from error
    return files.digest(path)


def _download(artifact: Artifact) -> Download:
    if artifact.url is None:
        raise ValueError(f"{artifact.filename} has no URL")
    return Download(url=artifact.url, filename=artifact.filename, sha256=artifact.sha256, size=artifact.size)


def _name(download: Download) -> str:
    return f"{download.filename} ({redact.url(download.url)})"


def _http_error(download: Download, status: int) -> MachineError:
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return MachineError(
            f"{_name(download)}: the server wants credentials (HTTP {status})",
            hint="put them into ~/.netrc, into keyring, or into the index URL of pip's configuration",
        )
    return MachineError(
        f"{_name(download)}: HTTP {status}",
        hint="the index no longer has this file or fails: make the lock anew, or try again later",
    )
