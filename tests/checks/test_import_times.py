"""What imports cost, read from what `python -X importtime` writes."""

from __future__ import annotations

import pytest
from bundler.checks.import_times import summary

TIMES = """\
import time: self [us] | cumulative | imported package
import time:       100 |        100 |   zipimport
import time:      1000 |       1000 |     json.decoder
import time:      2000 |       3000 |   json
noise without an end import time:     10000 |      10000 |       numpy.core
import time:     20000 |      30000 |     numpy
warning: something
import time:      5000 |      35000 |   pandas._libs
import time:      6000 |      44000 | pandas
import time:       700 |        700 |   azure.core.pipeline
import time:       300 |       1000 | azure.core
import time: garbage | 12 | nothing
import time:      4000 |       4000 | numpy.later
"""


def test_times_are_added_up_by_module() -> None:
    found = summary([TIMES], ["pandas", "numpy", "azure.core", "absent"], how="by hand")
    assert [(one.module, round(one.own * 1e6), round(one.cumulative * 1e6)) for one in found.slowest] == [
        ("numpy", 34000, 34000),
        ("pandas", 11000, 44000),
        ("azure.core", 1000, 1000),
    ]
    assert found.modules == 3
    assert round(found.total * 1e6) == 49100
    assert round(found.standard * 1e6) == 3100
    assert all(one.own <= one.cumulative + 1e-9 for one in found.slowest)


def test_median_run_of_each_module() -> None:
    runs = [f"import time: {own} | {own + 7} | a\nimport time: 1 | 1 | b\n" for own in (500, 90, 100)]
    found = summary(runs, ["a", "b"], how="")
    assert [(round(one.own * 1e6), round(one.cumulative * 1e6)) for one in found.slowest] == [
        (100, 107),
        (1, 1),
    ]


@pytest.mark.parametrize("text", ["", "\0\xff", "import time:", "import time: 9999999999999999 | 1 | a\n"])
def test_no_times(text: str) -> None:
    assert summary([text], ["a"], how="").slowest == ()


def test_ten_of_many() -> None:
    text = "".join(f"import time: {number} | {number} | m{number}\n" for number in range(1, 40))
    found = summary([text], [f"m{number}" for number in range(40)], how="")
    assert [one.module for one in found.slowest] == [f"m{number}" for number in range(39, 29, -1)]
    assert found.modules == 39
