"""TOML from outside: what a parser would need minutes and gigabytes for is refused at once."""

from __future__ import annotations

import time

import pytest
from bundler.system import toml_text


def test_what_people_write_is_read() -> None:
    text = 'tool."a.b".c = 1\nversions = ["1.2.3.4.5.6", "a/b.c/d.e"]\nsaid = "' + "and so on. " * 100 + '"\n'
    read = toml_text.loads(text)
    assert read["tool"] == {"a.b": {"c": 1}}
    assert toml_text.loads("a." * 40 + "b = 1")
    assert toml_text.loads("required = [" + '"name>=1.2.3", ' * 1500 + "]")


@pytest.mark.parametrize(
    "text",
    [
        "a." * 500_000 + "b = 1\n",
        "a." * 100_000 + "b = 1\n",
        "[" + "a." * 65 + "b]\n",
        "x = {" + '"a\\"" . ' * 20_000 + "b = 1}\n",
        "'\u2028'." * 40_000 + "b = 1\n",
        "'a'.\t" * 40_000 + "b = 1\n",
        *("a" * 200_000, '"' * 200_000, "'a'b" * 50_000, "a.a.a b" * 30_000, '"\\' * 100_000, ". " * 100_000),
        *("a " + "." * 100_000, "a." * 63 + " " * 200_000, ("a" * 251 + ".") * 1000),
        *(
            ("a." * 62 + "b" * 251 + ".") * 80 + "z = 1",
            (("a." * 62 + "b" * 251 + ".") * 20 + "z = 1\n") * 20,
        ),
    ],
)
def test_long_keys_are_refused_at_once(text: str) -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match=r"."):
        toml_text.loads(text)
    assert time.process_time() - began < 2
