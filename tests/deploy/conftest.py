"""A service, a server for it, and a port of its own."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.rehearsalmaker import SERVER, make_service
from tests.support.wheelmaker import make_wheel


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("server")
    make_wheel(
        folder, "azureml-inference-server-http", "9.1", files={"fakeserver.py": SERVER},
        entry_points="[console_scripts]\nazmlinfsrv = fakeserver:run\n",
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the module's own, in which the server is installed once for each Python."""
    return tmp_path_factory.mktemp("cache-of-rehearsals")


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """A code folder with a bundle for 3.8 and entry scripts."""
    return make_service(tmp_path / "src", "3.8")


@pytest.fixture
def port() -> str:
    """A port that tells the processes of a test from those of tests at the same time."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])
