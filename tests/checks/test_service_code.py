"""What the service's own code imports: found without running it, its own modules left out."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest
from bundler.checks.imports.conditions import Conditions
from bundler.checks.imports.service_code import CodeImport, of_entry, of_source
from bundler.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = (3, 8)


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def shown(found: tuple[CodeImport, ...]) -> list[str]:
    rows = []
    for one in found:
        further = [f" or {' and '.join(one.instead_of)}"] if one.instead_of else []
        rows.append(" ".join([f"{one.where} {one.module}", *["?"] * one.optional]) + "".join(further))
    return rows


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import alpha", ["score.py:1 alpha"]),
        ("import alpha.beta as b, gamma", ["score.py:1 alpha.beta", "score.py:1 gamma"]),
        ("from alpha import beta", ["score.py:1 alpha"]),
        ("def run():\n    import alpha", ["score.py:2 alpha"]),
        ("class A:\n    def f(self):\n        with x:\n            import alpha", ["score.py:4 alpha"]),
        (
            "try:\n    import alpha\nexcept ImportError:\n    import beta",
            ["score.py:2 alpha ?", "score.py:4 beta or alpha"],
        ),
        (
            "try:\n  import alpha\nexcept Exception:\n  try:\n    import beta\n  except:\n    raise",
            ["score.py:2 alpha ?", "score.py:5 beta or alpha"],
        ),
        (
            "try:\n    from . import absent\nexcept ImportError:\n    import beta",
            ["score.py:4 beta ?"],
        ),
        ("try:\n    import alpha\nexcept ImportError:\n    raise RuntimeError('x')", ["score.py:2 alpha"]),
        ("try:\n    import alpha\nexcept ImportError:\n    sys.exit(1)", ["score.py:2 alpha"]),
        (
            "def plot():\n    try:\n        import alpha\n    except ImportError:\n        raise X",
            ["score.py:3 alpha ?"],
        ),
        ("with contextlib.suppress(ImportError):\n    import alpha", ["score.py:2 alpha ?"]),
        ("with suppress(KeyError):\n    import alpha", ["score.py:2 alpha"]),
        ("importlib.import_module('alpha.beta')", ["score.py:1 alpha.beta"]),
        ("__import__('alpha')", ["score.py:1 alpha"]),
        ("importlib.import_module(name)\nimport_module('.alpha', __package__)\nrun('alpha')", []),
        ("if importlib.util.find_spec('alpha'):\n    import alpha", ["score.py:2 alpha ?"]),
        ("if sys.platform == 'win32':\n    import alpha", []),
        ("if sys.version_info < (3, 8):\n    import alpha\nelse:\n    import beta", ["score.py:4 beta"]),
        ("from ._version import version", []),
        ("try:\n    import alpha\nexcept:\n    pass", ["score.py:2 alpha ?"]),
        ("try:\n    import alpha\nexcept (KeyError, b.ImportError):\n    pass", ["score.py:2 alpha ?"]),
        (
            "try:\n    import alpha\nexcept ValueError:\n    pass\nelse:\n    import beta",
            ["score.py:2 alpha", "score.py:6 beta"],
        ),
        ("try:\n    pass\nfinally:\n    import alpha", ["score.py:4 alpha"]),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import alpha", ["score.py:1 typing"]),
        ("if x:\n    import alpha\nelse:\n    import beta", ["score.py:2 alpha", "score.py:4 beta"]),
        ("if __name__ == '__main__':\n    import alpha", ["score.py:2 alpha ?"]),
        ("text = 'import alpha'\n# import beta", []),
        ("print 1", None),
        ("if (n := 1):\n    import alpha", ["score.py:2 alpha"]),
        ("match x:\n    case 1:\n        import alpha", None),
    ],
)  # fmt: skip
def test_entry(tmp_path: Path, source: str, expected: list[str] | None) -> None:
    written(tmp_path, {"score.py": source})
    if expected is None:
        with pytest.raises(InputError, match=r"score\.py:\d: Python 3\.8 cannot read it"):
            of_entry(tmp_path / "score.py", python=PYTHON)
    else:
        assert shown(of_entry(tmp_path / "score.py", python=PYTHON)) == expected


def test_newer_syntax_for_a_newer_target(tmp_path: Path) -> None:
    written(tmp_path, {"score.py": "match x:\n    case 1:\n        import alpha"})
    assert shown(of_entry(tmp_path / "score.py", python=(3, 13))) == ["score.py:3 alpha"]


def test_a_module_beside_the_importing_file_need_not_be_brought(tmp_path: Path) -> None:
    files = {
        "app/main.py": "import helper\nimport fast\nimport alpha",
        "app/helper.py": "",
        "fast.abi3.so": "",
    }
    found = of_source(written(tmp_path, files), python=PYTHON)
    assert {one.module: one.own for one in found} == {"helper": True, "fast": True, "alpha": False}


FASTAPI = {
    "app/main.py": "from app.routers import items\nfrom core import settings\nimport alpha",
    "app/routers/items.py": "from ..db import session\nfrom app.gone import x\nimport beta",
    "app/db.py": "import gamma",
    "core/settings.py": "import delta",
}


@pytest.mark.parametrize("init", [[], ["app/__init__.py"]])
def test_a_package_may_be_started_from_the_folder_above(tmp_path: Path, init: list[str]) -> None:
    folder = written(tmp_path / "project", {**FASTAPI, **dict.fromkeys(init, "")})
    found = of_entry(folder / "app/main.py", python=PYTHON)
    assert {one.module for one in found} == {"alpha", "beta", "gamma", "delta"}
    found = of_source(folder / "app", python=PYTHON)
    assert {one.module for one in found} == {"alpha", "beta", "gamma"}


def test_what_lies_beside_a_folder_that_does_not_name_itself_is_not_the_services(tmp_path: Path) -> None:
    written(tmp_path, {"service/score.py": "import redis", "redis/notes.py": ""})
    assert shown(of_entry(tmp_path / "service/score.py", python=PYTHON)) == ["score.py:1 redis"]


def test_a_source_folder_may_hold_tests_and_src(tmp_path: Path) -> None:
    files = {
        "src/pack/a.py": "from pack import b\nimport alpha",
        "src/pack/b.py": "",
        "tests/test_a.py": "import pytest",
        "src/pack/test_b.py": "import pytest",
        "conftest.py": "import pytest",
    }
    found = of_source(written(tmp_path / "project", files), python=PYTHON)
    assert shown(found) == ["project/src/pack/a.py:2 alpha"]


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("sys.platform.startswith('win')", False),
        ("sys.platform in ('linux', 'linux2')", True),
        ("os.name != 'nt' and x", None),
        ("os.name == 'nt' and x", False),
        ("os.name != 'nt' or x", True),
        ("not TYPE_CHECKING", True),
        ("platform.system() == 'Darwin'", False),
        ("sys.version_info >= (3,)", True),
        ("sys.version_info > (3, 8)", True),
        ("sys.version_info[:2] > (3, 8)", False),
        ("sys.version_info >= (3, 8, 4)", None),
        ("sys.version_info < (3, 7, 4)", False),
        ("sys.version_info[0] == 2", False),
        ("sys.version_info.minor >= 9", False),
        ("sys.version_info > 3", None),
        ("3 < x < 5", None),
        ("x", None),
        ("x.startswith('win')", None),
        ("0", False),
    ],
)
def test_conditions_of_the_target(test: str, expected: bool | None) -> None:  # noqa: FBT001 - of a table
    tree = ast.parse(test, mode="eval").body
    assert Conditions(PYTHON).says(tree) is expected
    if "version_info" in test:
        assert Conditions(None).says(tree) is None


SERVICE = {
    "score.py": "import helper\nimport pack.deep\nfrom plain import thing\nimport alpha",
    "helper.py": "from pack import other\nimport beta",
    "pack/__init__.py": "from . import other\nfrom .deep import x",
    "pack/deep.py": "import gamma\nfrom .. import helper",
    "pack/other.py": "import delta",
    "plain/thing.py": "import epsilon",
    "unused.py": "import zeta",
    ".hidden/x.py": "import eta",
}


def test_modules_beside_the_entry_are_followed_and_not_asked_for(tmp_path: Path) -> None:
    found = of_entry(written(tmp_path, SERVICE) / "score.py", python=PYTHON)
    assert sorted(shown(found)) == [
        "helper.py:2 beta",
        "pack/deep.py:1 gamma",
        "pack/other.py:1 delta",
        "plain/thing.py:1 epsilon",
        "score.py:4 alpha",
    ]


def test_a_source_folder_is_read_whole(tmp_path: Path) -> None:
    found = of_source(written(tmp_path / "src", SERVICE), python=PYTHON)
    assert {one.module for one in found} == {"alpha", "beta", "gamma", "delta", "epsilon", "zeta"}
    assert found[0].where.startswith("src/")


@pytest.mark.parametrize(
    ("path", "read", "message"),
    [
        ("nothing.py", of_entry, "no such file"),
        ("nothing", of_source, "no such folder"),
        ("empty", of_source, "holds no Python file"),
        ("bad.py", of_entry, "bad.py:1: Python 3.8 cannot read it"),
        ("nul.py", of_entry, "cannot"),
        ("deep.py", of_entry, "cannot"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, path: str, read: object, message: str) -> None:
    (tmp_path / "empty").mkdir()
    written(tmp_path, {"bad.py": "import", "nul.py": "x = '\0'", "deep.py": "(" * 5000})
    assert callable(read)
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path / path, python=PYTHON)
    assert caught.value.hint
