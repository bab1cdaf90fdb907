"""Numbers of bytes for people."""

from __future__ import annotations

import pytest
from bundler.system.sizes import NO_BREAK, in_units


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (341_576_993, "341.6 MB"),
        (2 * 10**9, "2.00 GB"),
        (-1500, "-1.5 kB"),
    ],
)
def test_units(count: int, said: str) -> None:
    assert in_units(count) == said
    assert in_units(count, space=NO_BREAK) == said.replace(" ", "\N{NO-BREAK SPACE}")
