"""What every test stands on: the interpreters of both targets, and a caller's environment that is clean."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import machine
from tests.support.command import Command
from tests.support.index import Index, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

NOISE = ("PIP_", "UV_", "PYTHON", "CONDA", "ENVBUNDLE_", "VIRTUALENV_")


@pytest.fixture(scope="session", autouse=True)
def _clean_session() -> Iterator[None]:
    """Take the developer's own settings away, from what a module's fixtures run too."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(NOISE):
                patch.delenv(name)
        patch.setenv("PIP_CONFIG_FILE", os.devnull)
        yield


@pytest.fixture(scope="session", autouse=True)
def _signals_are_heard() -> None:
    """Let what tests start hear signals that are ignored behind `nohup` and a script's `&`."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _clean_caller(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The cache is one of the test's own, never the user's."""
    monkeypatch.setenv("ENVBUNDLE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session", params=machine.targets())
def target_python(request: pytest.FixtureRequest) -> Path:
    """The interpreter of each target in turn."""
    version: str = request.param
    return machine.python(version)


@pytest.fixture(scope="session")
def python38() -> Path:
    return machine.python("3.8")


@pytest.fixture(scope="session")
def python37() -> Path:
    return machine.python("3.7")


@pytest.fixture(scope="session")
def pips() -> Path:
    """The folder with the pips that drive the targets; scripts/test fetches them at set-up."""
    folder = Path(sys.prefix) / "pips"
    if len(list(folder.glob("pip-*.whl"))) < 2:
        pytest.fail(f"no pips in {folder}: run the tests with scripts/test, which fetches them")
    return folder


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache for every test that does not look into it: the pips are unpacked once."""
    return tmp_path_factory.mktemp("shared-cache")


@pytest.fixture
def envbundle(shared_cache: Path, pips: Path, tmp_path: Path) -> Command:
    """The command, run in the test's own folder."""
    return Command(cache=shared_cache, pips=pips, folder=tmp_path)


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """An empty folder for the wheels of a test."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    return folder


@pytest.fixture
def index(wheels: Path) -> Iterator[Index]:
    """A package index on the loopback interface over `wheels`."""
    index, server = serve(wheels)
    yield index
    server.shutdown()
    server.server_close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count what was skipped, by reason."""
    reports = terminalreporter.stats.get("skipped", ())
    for line in machine.counted([report.longrepr[2] for report in reports]):
        terminalreporter.write_line(line, yellow=True)
