"""What modules seem to import at their top from outside of their wheel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bundler.wheels import import_lines

if TYPE_CHECKING:
    from pathlib import Path

SITE = "lib/python3.8/site-packages"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"pack/a.py": "import redis\nfrom boto3.s3 import x\n"}, [("boto3", "a"), ("redis", "a")]),
        ({"pack/a.py": "import os, redis.client as r, sys\n"}, [("os", "a"), ("redis", "a"), ("sys", "a")]),
        ({"pack/a.py": "try:\n    import redis\nexcept ImportError:\n    pass\n"}, []),
        ({"pack/a.py": "from . import b\nimport pack.b\nimport other\n", "other.py": ""}, []),
        ({"pack/tests/a.py": "import redis\n", "setup.py": "import redis\n"}, []),
        ({"pack/a.txt": "import redis\n"}, []),
        (
            {f"pack/{name}.py": "import redis\n" for name in "abcd"},
            [("redis", "a"), ("redis", "b"), ("redis", "c")],
        ),
    ],
)  # fmt: skip
def test_top_level_names(tmp_path: Path, files: dict[str, str], expected: list[tuple[str, str]]) -> None:
    tops = outside(tmp_path, files).tops
    assert list(tops) == [(top, f"{SITE}/pack/{name}.py") for top, name in expected]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import redis\nimport redis.client as r, os\n", ("os", "redis", "redis.client")),
        ("from redis import a, b as c\nfrom redis import d # , e\n", ("redis a b d",)),
        ("from redis.x import (  # all (of\n    a,\n    b as c,  # or d\n)\n", ("redis.x",)),
        ("from redis.x import (  # all of\n    a,\n    b as c,  # or d\n)\n", ("redis.x a b",)),
        ("from redis import a, \\\n    b\nimport os\n", ("os", "redis a b")),
        ("from redis import *\nfrom redis.y import (a)\n", ("redis", "redis.y a")),
        ("from . import a\nfrom .b import c\nfrom pack import d\nimport pack.e\n", ()),
        ("from this on\nimport it, or 1 not\n", ("it", "or", "this")),
        ("from redis import a\r\nfrom redis import b; from redis import c\r\n", ("redis a",)),
    ],
)
def test_imported_names(tmp_path: Path, source: str, expected: tuple[str, ...]) -> None:
    assert outside(tmp_path, {"pack/__init__.py": "", "pack/a.py": source}).names == expected


EXTENDED = "import pkgutil as p\n__path__ = p.extend_path(__path__, 'x')\n"


@pytest.mark.parametrize("initial", [{}, {"space/__init__.py": EXTENDED}])
def test_parts_of_a_namespace_that_others_bring(tmp_path: Path, initial: dict[str, str]) -> None:
    files = {
        "space/own/a.py": "import space.own.b\nfrom space.own import c\nfrom space import own, other\n"
        "from space.third import d\nimport space.third.e\nfrom space import own\n",
        "space/own/__init__.py": "",
        "space/flat.py": "import space.flat\nfrom space.flat import x\n",
    }
    rows = ("space other", "space.third d", "space.third.e")
    found = outside(tmp_path, {**files, **initial})
    assert tuple(row for row in found.names if row != "pkgutil") == rows
    assert {top for top, _ in found.tops} <= {"pkgutil"}, "nobody knows whose a top-level name is"


@pytest.mark.parametrize(
    "initial", [{"space/__init__.py": ""}, {"space/__init__.cpython-38.so": ""}, {"space/__init__.pyc": ""}]
)
def test_a_package_is_no_namespace(tmp_path: Path, initial: dict[str, str]) -> None:
    files = {"space/own/a.py": "from space import other\nfrom space.third import d\n", **initial}
    assert outside(tmp_path, files).names == ()


def outside(tmp_path: Path, files: dict[str, str]) -> import_lines.ImportLines:
    for name, text in files.items():
        path = tmp_path / SITE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return import_lines.outside(tmp_path, sorted(f"{SITE}/{name}" for name in files), site_packages=SITE)


def test_what_is_beside_site_packages_is_no_module(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "share/a.py").write_text("import redis\n")
    assert import_lines.outside(tmp_path, ["share/a.py"], site_packages=SITE).tops == ()
