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
def test_outside(tmp_path: Path, files: dict[str, str], expected: list[tuple[str, str]]) -> None:
    for name, text in files.items():
        path = tmp_path / SITE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    found = import_lines.outside(tmp_path, sorted(f"{SITE}/{name}" for name in files), site_packages=SITE)
    assert list(found) == [(top, f"{SITE}/pack/{name}.py") for top, name in expected]


def test_what_is_beside_site_packages_is_no_module(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    (tmp_path / "share/a.py").write_text("import redis\n")
    assert import_lines.outside(tmp_path, ["share/a.py"], site_packages=SITE) == ()
