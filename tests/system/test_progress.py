"""Progress: on a terminal something moves every second, elsewhere there are lines alone."""

from __future__ import annotations

import contextlib
import io
import re
import time

import pytest
from bundler.system.progress import Progress


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.thorough
def test_a_terminal_is_told_every_second_what_is_done() -> None:
    stream = Terminal()
    progress = Progress(stream=stream)
    with progress.stage("fetch") as stage, progress.step("building duckdb 1.1.0"):
        time.sleep(3.3)
        stage.result = "1 wheels"
    said = stream.getvalue()
    assert "building duckdb 1.1.0 …" in said
    ticks = re.findall(r"\r\033\[Kfetch +(\d) s … building duckdb 1\.1\.0 (\d) s", said)
    assert [tick[0] for tick in ticks[:3]] == [tick[1] for tick in ticks[:3]] == ["1", "2", "3"]
    assert re.search(r"fetch +3\.\d\d s   1 wheels", said)
    time.sleep(1.2)
    assert stream.getvalue() == said  # nothing goes on behind the end


@pytest.mark.thorough
def test_what_is_done_at_once_stays_on_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that wraps would stay."""
    monkeypatch.setenv("COLUMNS", "80")
    stream = Terminal()
    progress = Progress(stream=stream)
    with progress.stage("fetch"), contextlib.ExitStack() as steps:
        for number in range(9):
            steps.enter_context(progress.step(f"building number-{number}"))
        time.sleep(1.2)
    lines = [line for line in re.split(r"\r\033\[K|\n", stream.getvalue()) if line.startswith("fetch  ")]
    assert "building number-0 1 s, building number-1 1 s" in lines[0]
    assert len(lines[0]) == 79


@pytest.mark.thorough
def test_elsewhere_there_are_lines_alone() -> None:
    stream = io.StringIO()
    progress = Progress(stream=stream)
    with progress.stage("fetch"), progress.step("building duckdb 1.1.0"):
        time.sleep(1.2)
    assert re.fullmatch(r" +building duckdb 1\.1\.0 …\nfetch +1\.\d\d s\n", stream.getvalue())


@pytest.mark.thorough
def test_a_stage_that_fails_says_no_more() -> None:
    stream = Terminal()
    progress = Progress(stream=stream)
    try:
        with progress.stage("fetch"):
            raise ValueError
    except ValueError:
        said = stream.getvalue()
    time.sleep(1.2)
    assert stream.getvalue() == said == "\r\033[K"
