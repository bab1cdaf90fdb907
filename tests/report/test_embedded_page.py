"""`envbundle report`, and the report that every bundle holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from bundler.bundle import manifest
from bundler.ontarget.checksums import manifest_digest
from bundler.report.pages.embedded_page import NAME

from tests.report.test_pages import sound
from tests.support.command import Command
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

NOISE = "import sys\nsys.stderr.write('noise')\n"
SLEEPS = "import time\ntime.sleep({})\n"
RARER = [pytest.param(kind, marks=pytest.mark.thorough) for kind in ("zip", "oci")]


@pytest.fixture
def stock(wheels: Path) -> Path:
    """A root that takes long to import, after a leaf that takes long as well."""
    make_wheel(wheels, "root-dist", "2.0", requires=["leaf>=1"], metadata="License: MIT\n", files={
        "root_dist/__init__.py": f"import leaf\nfrom root_dist import part\n{SLEEPS.format(0.05)}",
        "root_dist/part.py": SLEEPS.format(0.03),
    })  # fmt: skip
    make_wheel(wheels, "leaf", "1.5", files={"leaf.py": NOISE + SLEEPS.format(0.04)})
    make_wheel(wheels, "leaf", "1.4", files={"leaf.py": "VALUE = 4\n"})
    return wheels


def create(envbundle: Command, stock: Path, output: str, *more: str, **environ: str) -> Path:
    done = envbundle(
        "create", "root-dist", *more, "--python", "3.8", "-o", output, *envbundle.offline(stock),
        environ=environ,
    )  # fmt: skip
    assert done.code == 0, done.stderr
    return envbundle.folder / output


@pytest.mark.thorough
def test_every_bundle_holds_a_report_with_the_same_bytes(
    envbundle: Command, stock: Path, tmp_path: Path
) -> None:
    one = create(envbundle, stock, "one")
    page = (one / NAME).read_text(encoding="utf-8")
    # Another cache, so that it is made again.
    other = create(
        envbundle, stock, "deep/er/other", PYTHONHASHSEED="7", TZ="Asia/Tokyo",
        ENVBUNDLE_CACHE_DIR=str(tmp_path / "another cache"),
    )  # fmt: skip
    assert (other / NAME).read_bytes() == page.encode()
    assert str(tmp_path) not in page
    described = manifest.read(one)
    assert NAME in {file.path for file in described.documents}
    seen = sound(page)
    assert "Proved for CPython 3.8." in seen.text
    assert "leaf 1.5 " in seen.text
    linked = {str(link["href"]) for link in seen.all("a") if not str(link["href"]).startswith("#")}
    assert linked == {"manifest.json", *(file.path for file in described.documents)} - {NAME}
    assert all((one / link).is_file() for link in linked)
    assert envbundle("verify", "one").code == 0


@pytest.mark.thorough
def test_report_tells_what_changed_and_what_imports_cost(
    envbundle: Command, stock: Path, tmp_path: Path
) -> None:
    (tmp_path / "pins.txt").write_text("leaf==1.4\n")
    create(envbundle, stock, "old", "-c", "pins.txt")
    create(envbundle, stock, "new")
    done = envbundle("report", "new", "--since", "old", "--json", "--cache-dir", tmp_path / "cache")
    assert done.code == 0, done.stderr
    said = done.json()
    assert said["ok"]
    assert said["report"] == str(tmp_path / "report.html")
    assert said["digest"] == manifest.read(tmp_path / "new").digest
    assert [one["name"] for one in said["changes"]["distributions"]] == ["leaf"]
    times = {one["module"]: one for one in said["import_times"]["slowest"]}
    # A loaded machine sleeps longer; the leaf's time is in the root's all the same, and not in its own.
    assert 0.08 <= times["root_dist"]["own"] < times["root_dist"]["cumulative"] - 0.04
    assert 0.04 <= times["leaf"]["own"] <= times["leaf"]["cumulative"]
    text = sound((tmp_path / "report.html").read_text(encoding="utf-8")).text
    for expected in (
        "What changed since old",
        "leaf",
        "1.4 1.5",
        "upgraded (minor)",
        "Start-up",
        "median of 3",
    ):
        assert expected in text
    again = envbundle("report", "new", "--no-import-times", "-q")
    assert (again.code, again.stdout, again.stderr) == (0, "", "")
    text = sound((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert "Start-up" not in text
    assert "What changed" not in text


@pytest.mark.parametrize("kind", ["tar.gz", *RARER])
@pytest.mark.thorough
def test_archives(envbundle: Command, stock: Path, kind: str) -> None:
    create(envbundle, stock, "env")
    assert envbundle("pack", "env", "--format", kind).code == 0
    done = envbundle("report", f"env.{kind}", "-o", "-", "--import-times")
    assert done.code == 0, done.stderr
    text = sound(done.stdout).text
    assert f"env.{kind}" in text
    assert "root_dist" in text
    assert "Start-up" in text
    assert "import times" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["env", "-o", "env/report.html"], 2, "lies in the bundle"),
        (["env", "-o", "env/lib/x.html"], 2, "lies in the bundle"),
        (["env", "-o", "mine.txt"], 2, "mine.txt exists and is no report"),
        (["env", "-o", "missing/x.html"], 2, "cannot be written"),
        (["env", "--json", "-o", "-"], 2, "would both write to stdout"),
        (["wheels"], 2, "wheels holds no bundle"),
        (["missing"], 2, "missing"),
        (["env", "--since", "wheels"], 2, "wheels"),
        (["env", "--python", "3.7"], 2, "it is for CPython 3.8, not 3.7"),
    ],
)
def test_refusals(envbundle: Command, made: Path, arguments: list[str], code: int, said: str) -> None:
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    (made.parent / "mine.txt").write_text("mine")
    done = envbundle("report", *arguments, cwd=made.parent)
    assert done.code == code, done.stderr
    assert said in done.stderr
    assert (made.parent / "mine.txt").read_text() == "mine"
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path, pips: Path) -> Path:
    """A bundle that no test changes."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "wheels").mkdir()
    make_wheel(folder / "wheels", "root-dist")
    return create(Command(cache=shared_cache, pips=pips, folder=folder), folder / "wheels", "env")


@pytest.mark.thorough
def test_where_the_python_is_missing_the_report_goes_without_times(
    envbundle: Command, made: Path, tmp_path: Path
) -> None:
    text = (made / manifest.NAME).read_text(encoding="utf-8")
    raw = json.loads(text)
    raw["target"]["python"] = "3.6.1"
    raw["manifest_digest"] = manifest_digest(raw)
    (tmp_path / "old").mkdir()
    # The kind stands in a manifest's first bytes.
    (tmp_path / "old" / manifest.NAME).write_text(json.dumps(raw, indent=2), encoding="utf-8")
    done = envbundle("report", "old")
    assert done.code == 0, done.stderr
    assert "no import times:" in done.stderr
    assert "3.6.1" in sound((tmp_path / "report.html").read_text(encoding="utf-8")).text
    demanded = envbundle("report", "old", "--import-times")
    assert demanded.code in {2, 3}
    assert "error:" in demanded.stderr
