"""What a server's log says of its failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bundler.deploy.rehearsal import server_log

if TYPE_CHECKING:
    pass

LOGS = {
    "": ("", []),
    "one\n\ntwo\n": ("", ["one", "two"]),
    "I x\nE - Traceback (most recent call last):\n  File 'a'\n    b\nKeyError: 'c'\nI bye\n": (
        "KeyError: 'c'",
        ["E - Traceback (most recent call last):", "  File 'a'", "    b", "KeyError: 'c'"],
    ),
    (
        "Traceback (most recent call last):\n  old\nOldError\nfine again\n"
        "Traceback (most recent call last):\n  first\nFirstError: 1\n\n"
        "During handling of the above exception, another exception occurred:\n\n"
        "Traceback (most recent call last):\n  second\nSecondError: 2\nbye\n"
    ): ("FirstError: 1", ["Traceback (most recent call last):", "  first", "FirstError: 1"]),
    "Traceback (most recent call last):\n  cut short\n": (
        "",
        ["Traceback (most recent call last):", "  cut short"],
    ),
}


@pytest.mark.parametrize("text", LOGS)
def test_log(text: str) -> None:
    cause, lines = LOGS[text]
    assert server_log.cause(text) == cause
    assert list(server_log.meaningful(text)) == lines


def test_long_traceback_keeps_its_end() -> None:
    frames = "".join(f"  frame {number}\n" for number in range(90))
    lines = server_log.meaningful(f"Traceback (most recent call last):\n{frames}RecursionError: deep\nbye\n")
    assert len(lines) == server_log.MOST
    assert lines[-1] == "RecursionError: deep"
    assert lines[1] == "  …"
