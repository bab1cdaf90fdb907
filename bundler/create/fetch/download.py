"""Downloads files, several at a time; a file is stored only when its hash is right."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import requests
import urllib3

from bundler.errors import CommandError, InputError, MachineError
from bundler.model import Artifact, IndexSettings, Requirements
from bundler.system import files, redact
from bundler.system.http import Network, RefusedError, blocks
from bundler.system.progress import Progress
from bundler.wheels.store import Store

if TYPE_CHECKING:
    Advance = Callable[[int], None]

PARALLEL = 8
LARGEST = 16 << 30
"""Bytes of a file whose size no index says."""


@dataclass(kw_only=True)
class Downloader:
    """Fetches with the caller's proxies, certificates and credentials."""

    store: Store
    settings: IndexSettings
    requirements: Requirements | None
    ask_pip: Callable[[Sequence[str]], object] | None = None
    """Runs a command of pip, which can get passwords in more ways; `None`: these are not tried."""

    def __post_init__(self) -> None:
        self.network = Network(self.settings, self.requirements)

    def fetch_all(
        self,
        artifacts: Sequence[Artifact],
        progress: Progress,
        fetch: Callable[[Artifact, Advance], Path],
        *,
        threads: int = PARALLEL,
    ) -> list[Path]:
        """Fetch several files at a time; the first failure stops the rest.

        :param fetch: fetches one of them, with the signature of `fetch`, and is called from several threads.
        :returns: where they are in the store, in the order of `artifacts`.
        :raises InputError: a file with a wrong hash.
        :raises MachineError: the server is out of reach, wants credentials, or has no such file.
        """
        sizes = [artifact.size for artifact in artifacts]
        total = sum(size for size in sizes if size) if all(sizes) else None
        pool = ThreadPoolExecutor(max_workers=threads)
        with progress.bar("download", total=total) as advance:
            # The largest first: unpacking it takes longest, too.
            order = sorted(range(len(artifacts)), key=lambda number: -(sizes[number] or 0))
            futures = {number: pool.submit(fetch, artifacts[number], advance) for number in order}
            try:
                return [futures[number].result() for number in range(len(artifacts))]
            except BaseException as error:
                # Whoever presses Ctrl-C does not wait for a server; the store sweeps what is left.
                pool.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
                raise

    def sizes(self, artifacts: Sequence[Artifact]) -> list[int | None]:
        """Return the sizes of files, in bytes, from disk or server; `None` where neither has it."""
        with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
            return list(pool.map(self._size, artifacts))

    def _size(self, artifact: Artifact) -> int | None:
        stored = self.store.file(artifact.sha256, artifact.filename) if artifact.sha256 else None
        local = stored or (Path(artifact.path) if artifact.path else None)
        if local is not None:
            with contextlib.suppress(FileNotFoundError):
                if local.is_file():
                    return local.stat().st_size
        url = artifact.url or ""
        if not url.startswith(("https://", "http://")):
            return None
        try:
            response = self.network.session().head(
                url,
                allow_redirects=True,
                timeout=self.network.timeout,
                auth=self.network.credentials(url),
                headers={"Accept-Encoding": "identity"},
            )
        except requests.RequestException:
            return None
        length = response.headers.get("Content-Length", "")
        return int(length) if response.ok and length.isdigit() and int(length) else None

    def fetch(self, artifact: Artifact, advance: Advance) -> Path:
        """Fetch one file, which has a URL, into the store; its sha256 is compared where one is known.

        :param advance: called with the number of bytes that have come; what it raises ends the download.
        :raises InputError: the file has a wrong hash.
        :raises MachineError: the server is out of reach, wants credentials, or has no such file.
        """
        with self.store.incoming() as folder:
            path = folder / artifact.filename
            keep: Callable[..., Path] = self.store.take_file
            try:
                digest = self._download(artifact, path, advance)
            except requests.HTTPError as error:
                status = error.response.status_code if error.response is not None else 0
                refused = status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
                if not (refused and artifact.sha256 and self.ask_pip):
                    raise _http_error(artifact, status) from error
                # pip knows keyring and every other way to a password: ask it for this one file.
                digest, keep = _by_pip(artifact, path, status, self.ask_pip), self.store.add_file
            except RefusedError as error:
                raise MachineError(
                    f"{_name(artifact)} {error}", hint="ask whoever runs the index: it sends another file"
                ) from error
            except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
                raise MachineError(
                    f"{_name(artifact)} could not be fetched: {redact.text(str(error))}",
                    hint="check network, proxy and certificate; what has arrived is kept, so run again",
                ) from error
            if artifact.sha256 and digest != artifact.sha256:
                raise InputError(
                    f"{_name(artifact)} does not have the expected hash\n"
                    f"  expected: sha256:{artifact.sha256}\n  got:      sha256:{digest}",
                    hint="the file was changed on the way or on the index: do not use it before you know why",
                )
            return keep(path, filename=artifact.filename, sha256=digest)

    def _download(self, artifact: Artifact, path: Path, advance: Advance) -> str:
        """Download and return the sha256; begin again where a connection breaks, which `Retry` does not."""
        for again in range(self.network.retries):
            with contextlib.suppress(urllib3.exceptions.ProtocolError):
                return self._download_once(artifact, path, advance)
            advance(-path.stat().st_size)
            time.sleep(0.3 * (again + 1))
        return self._download_once(artifact, path, advance)

    def _download_once(self, artifact: Artifact, path: Path, advance: Advance) -> str:
        url = _url(artifact)
        digest = hashlib.sha256()
        # An index that compresses on the way would change the bytes that the hash is about.
        response = self.network.get(url, headers={"Accept-Encoding": "identity"})
        with response, path.open("wb") as file:
            response.raise_for_status()
            for block in blocks(response, limit=artifact.size or LARGEST):
                digest.update(block)
                file.write(block)
                advance(len(block))
        return digest.hexdigest()


def _by_pip(artifact: Artifact, path: Path, status: int, ask_pip: Callable[[Sequence[str]], object]) -> str:
    requirement = path.with_name(f"{artifact.filename}.txt")
    name = artifact.filename.split("-")[0]
    line = f"{name} @ {_url(artifact)} --hash=sha256:{artifact.sha256}\n"
    requirement.write_text(line, encoding="utf-8")
    command = ["download", "--no-deps", "--no-cache-dir", "--require-hashes", "--no-input"]
    command += ["--dest", str(path.parent), "--requirement", str(requirement)]
    try:
        ask_pip(command)
    except CommandError as error:
        raise _http_error(artifact, status) from error
    return files.digest(path)


def _url(artifact: Artifact) -> str:
    if artifact.url is None:
        raise ValueError(f"{artifact.filename} has no URL")
    return artifact.url


def _name(artifact: Artifact) -> str:
    return f"{artifact.filename} ({redact.url(_url(artifact))})"


def _http_error(artifact: Artifact, status: int) -> MachineError:
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return MachineError(
            f"{_name(artifact)}: the server wants credentials (HTTP {status})",
            hint="put them into ~/.netrc, into keyring, or into the index URL of pip's configuration",
        )
    return MachineError(
        f"{_name(artifact)}: HTTP {status}",
        hint="the index no longer has this file or fails: make the lock anew, or try again later",
    )
