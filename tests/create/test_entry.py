"""`create --entry` and `--source`: what the service's own code imports must work, the rest may fail."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command, Outcome

ALPHA: dict[str, str | bytes] = {
    "alpha/__init__.py": "",
    "alpha/good.py": "value = 1\n",
    "alpha/broken.py": "import nowhere\n",
}


@pytest.fixture
def alpha(wheels: Path) -> Path:
    """A distribution with a submodule that does not import."""
    make_wheel(wheels, "alpha", files=ALPHA)
    return wheels


def create(envbundle: Command, wheels: Path, *words: str | Path) -> Outcome:
    return envbundle(
        "create", "alpha", "--python", "3.8", "-o", "out", "--json", *words, *envbundle.offline(wheels)
    )


@pytest.mark.thorough
def test_an_extra_that_a_distribution_gave_up_is_left_out(envbundle: Command, alpha: Path) -> None:
    words = ("create", "alpha[all]", "--python", "3.8", "-o", "extra", "--json")
    done = envbundle(*words, *envbundle.offline(alpha))
    assert (done.code, found(done)) == (0, [("EB205", "warning", "alpha[all]")]), done.stderr


def found(done: Outcome) -> list[tuple[str, str, str]]:
    rows = [(one["code"], one["severity"], one["subject"]) for one in done.json()["findings"]]
    return [row for row in rows if row[1] != "info"]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("source", "code", "findings"),
    [
        ("from alpha.good import value\nimport json, alpha\n", 0, []),
        ("def run():\n    from alpha import good\n", 0, []),
        ("import helper\n", 0, []),
        ("try:\n    import absent\nexcept ImportError:\n    absent = None\n", 0, []),
        ("def run():\n    import alpha.broken\n", 1, [("EB201", "error", "alpha.broken")]),
        ("from alpha import broken\n", 1, [("EB201", "error", "alpha:broken")]),
        ("from alpha.good import gone\n", 1, [("EB201", "error", "alpha.good:gone")]),
        ("import yaml\nimport alpha\n", 1, [("EB206", "error", "yaml")]),
    ],
)
def test_entry(
    envbundle: Command,
    alpha: Path,
    tmp_path: Path,
    source: str,
    code: int,
    findings: list[tuple[str, str, str]],
) -> None:
    (tmp_path / "helper.py").write_text("from alpha import good\n")
    (tmp_path / "score.py").write_text(source)
    done = create(envbundle, alpha, "--entry", "score.py")
    assert (done.code, found(done)) == (code, findings), done.stderr
    assert (tmp_path / "out").exists() is (code == 0)


@pytest.mark.thorough
def test_a_finding_names_file_line_and_what_to_add(envbundle: Command, alpha: Path, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "model.py").write_text("import alpha\n\n\ndef load():\n    import sklearn.svm\n")
    done = create(envbundle, alpha, "--source", "src")
    (finding,) = (one for one in done.json()["findings"] if one["severity"] == "error")
    assert finding["cause"].startswith("src/model.py:5 imports it")
    assert finding["remedy"].startswith("add scikit-learn to the requirements")


@pytest.mark.thorough
def test_the_manifest_says_what_is_reached_and_the_image_imports_it(
    envbundle: Command, alpha: Path, tmp_path: Path
) -> None:
    (tmp_path / "score.py").write_text("from alpha.good import value\n")
    assert create(envbundle, alpha, "--entry", "score.py").code == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    reached = [(one["kind"], one["modules"], one["places"]) for one in manifest["evidence"]["reached"]]
    assert reached == [("main", ["alpha"], []), ("service", ["alpha.good:value"], ["score.py:1"])]
    assert [dist["root"] for dist in manifest["distributions"]] == [True]
    assert envbundle("verify", "out").code == 0


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--entry", "gone.py"], "gone.py: no such file"),
        (["--source", "gone"], "gone: no such folder"),
        (["--entry", "bad.py"], "bad.py:1: Python 3.8 cannot read it"),
    ],
)
def test_bad_code(envbundle: Command, alpha: Path, tmp_path: Path, words: list[str], message: str) -> None:
    (tmp_path / "bad.py").write_text("import\n")
    done = create(envbundle, alpha, *words)
    assert done.code == 2
    assert message in done.stderr
    assert "hint:" in done.stderr


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("six", "words", "code", "findings"),
    [
        (None, (), 1, [("EB201", "error", "rest.compat")]),
        ("PY2 = False\n", (), 0, []),
        (None, ("--entry", "score.py"), 0, [("EB201", "warning", "rest.compat")]),
    ],
)
def test_a_package_that_hides_what_is_below_it(
    envbundle: Command,
    wheels: Path,
    tmp_path: Path,
    six: str | None,
    words: tuple[str, ...],
    code: int,
    findings: list[tuple[str, str, str]],
) -> None:
    """As djangorestframework 3.9 with Django 4; Django itself says nothing before it has settings."""
    asking = "class ImproperlyConfigured(Exception): ...\nraise ImproperlyConfigured('no settings')\n"
    web = {"web/__init__.py": "", "web/conf.py": asking, "web/utils/__init__.py": ""}
    rest = {
        "rest/__init__.py": "__version__ = '3.9'\nclass Warned(Warning): ...\n",
        "rest/compat.py": "from web import conf\nfrom web.utils import six\n",
        "rest/views.py": "from rest.compat import six\n",
        "rest/status.py": "OK = 200\n",
    }
    make_wheel(wheels, "web", files={**web, **({"web/utils/six.py": six} if six else {})})
    make_wheel(wheels, "rest", files=rest, requires=["web"])
    (tmp_path / "score.py").write_text("from rest import status\n")
    where = envbundle.offline(wheels)
    done = envbundle("create", "rest", "--python", "3.8", "-o", "out", "--json", *words, *where)
    assert (done.code, found(done)) == (code, findings), done.stderr
    if not code:
        verified = envbundle("verify", "out", "--json")
        assert (verified.code, found(verified)) == (0, findings), verified.stderr
