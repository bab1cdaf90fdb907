"""URLs to test with: a filesystem of each kind that `bundler.system.urls.folder` treats differently."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from typing import TYPE_CHECKING

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KINDS = ("memory", "file", "plain", pytest.param("s3", marks=pytest.mark.thorough))
GIVEN = tuple(os.environ.get("REMOTE_TEST_URLS", "").split())
"""URLs of folders in a cloud or an emulator that tests may write to."""
AWS = {
    "AWS_ACCESS_KEY_ID": "tester",
    "AWS_SECRET_ACCESS_KEY": "tester-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class PlainFileSystem(LocalFileSystem):  # type: ignore[misc]  # fsspec carries no types
    """A disk like those of sftp and smb: a file is written under another name and renamed."""

    protocol = "plain"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(str(path).removeprefix("plain://")))


class FlakyFileSystem(MemoryFileSystem):  # type: ignore[misc]  # fsspec carries no types
    """Raises the exceptions in `faults`, one a request."""

    protocol = "flaky"
    faults: list[Exception] = []  # noqa: RUF012 - shared by all instances on purpose
    asked: list[str] = []  # noqa: RUF012 - shared as well

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(str(path).replace("flaky://", "memory://", 1)))

    def info(self, path: str, **options: object) -> object:
        self.asked.append(path)
        if self.faults:
            raise self.faults.pop(0)
        return super().info(path, **options)


fsspec.register_implementation("plain", PlainFileSystem, clobber=True)
fsspec.register_implementation("flaky", FlakyFileSystem, clobber=True)


@contextlib.contextmanager
def folder_url(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give the URL of an empty folder."""
    if kind == "memory":
        yield f"memory://{uuid.uuid4().hex}"
    elif kind == "s3":
        pytest.importorskip("s3fs")
        pytest.importorskip("moto")
        for name, value in {**AWS, "AWS_ENDPOINT_URL": _moto()}.items():
            monkeypatch.setenv(name, value)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        fsspec.filesystem("s3").makedirs("bucket", exist_ok=True)
        yield f"s3://bucket/{uuid.uuid4().hex}"
        fsspec.get_filesystem_class("s3").clear_instance_cache()
    elif kind in ("file", "plain"):
        yield f"{kind}://{folder}/place"
    else:
        yield f"{kind}/{uuid.uuid4().hex}"


@functools.cache
def _moto() -> str:
    """Start an S3 server on this machine, which ends with the tests; return its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    atexit.register(server.kill)
    limit = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
            return f"http://127.0.0.1:{port}"
        assert server.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.1)
