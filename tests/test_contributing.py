"""CONTRIBUTING is true: every path that it names exists, and every room has its row in the table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.test_architecture import DOORS, ROOMS

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ROOM = re.compile(r"^\| `(\w+)/` \| ([^|]*) \| ([^|]*) \| ([^|]*) \|$", re.MULTILINE)
NAMED = re.compile(r"`([\w.-]+(?:/[\w.-]+)*/?)`")
FILE = re.compile(r".+\.(?:py|md|json|toml|cfg)|[\w.-]+/.*")
MADE = {
    *("envbundle.toml", "pylock.toml", "report.html", "manifest.json", "sbom.cdx.json"),
    *("lib/pythonX.Y/site-packages", "share/", "etc/", "bin/"),
}
"""Names of what envbundle reads or writes elsewhere."""


def named_paths(text: str) -> set[str]:
    """The files and folders of the checkout that a text names between backticks."""
    return {
        name
        for name in NAMED.findall(text)
        if FILE.fullmatch(name) and "ROOM" not in name and name not in MADE
    }


def missing(text: str) -> list[str]:
    """Those that are neither in the checkout nor, in the row of a room or by a bare name, in `bundler/`."""
    rows = {row[0]: f"bundler/{row[1]}/" for row in ROOM.finditer(text)}
    gone = [
        name
        for row, room in rows.items()
        for name in named_paths(row)
        if not (ROOT / room / name).exists() and not (ROOT / "bundler" / name).exists()
    ]
    rest = "".join(line for line in text.splitlines(keepends=True) if line.rstrip("\n") not in rows)
    known = {path.name for folder in ("bundler", "tests") for path in (ROOT / folder).rglob("*.py")}
    gone += [
        name
        for name in named_paths(rest)
        if not (ROOT / name).exists() and not ("/" not in name and name in known)
    ]
    return sorted(gone)


def test_every_path_exists() -> None:
    assert missing(TEXT) == []
    assert len(named_paths(TEXT)) > 60


SOURCE = re.compile(r"\b(?:bundler|tests|scripts)/[\w./-]+\.(?:py|json|toml|md|html|css|js)\b")
DOTTED = re.compile(r"`(bundler(?:\.\w+)+)")


def gone(text: str) -> list[str]:
    """The files and modules of the checkout that a text names and that are not there."""
    files = [name for name in SOURCE.findall(text) if not (ROOT / name).exists()]
    return files + [name for name in DOTTED.findall(text) if not is_module(name)]


def is_module(name: str) -> bool:
    """Whether a dotted name leads to a module, or to a member of one."""
    path = ROOT.joinpath(*name.split("."))
    if path.is_dir() or path.with_suffix(".py").exists():
        return True
    for source in (path.parent.with_suffix(".py"), path.parent / "__init__.py"):
        if source.exists():
            return re.search(rf"\b{path.name}\b", source.read_text(encoding="utf-8")) is not None
    return False


def test_pages_and_docstrings_name_what_is_there() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("samples/**/*.md")]
    sources = [*ROOT.glob("bundler/**/*.py"), *ROOT.glob("scripts/**/*.py")]
    stale = {
        str(path.relative_to(ROOT)): found
        for path in (*pages, *sources)
        if path.name != "CHANGELOG.md" and (found := gone(path.read_text(encoding="utf-8")))
    }
    assert stale == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see bundler/model.py and `bundler.model.Lock`", []),
        ("see bundler/models.py", ["bundler/models.py"]),
        ("`bundler.checks.codes` says", ["bundler.checks.codes"]),
        ("`bundler.checks.rules.codes` says", []),
        ("`bundler.gone.thing.at_all`", ["bundler.gone.thing.at_all"]),
    ],
)
def test_what_is_stale_is_found(text: str, expected: list[str]) -> None:
    assert gone(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("`bundler/model.py` and `tests/`", []),
        ("`bundler/models.py`", ["bundler/models.py"]),
        ("`pipeline.py` and `pipelines.py`", ["pipelines.py"]),
        ("| `create/` | x | `pipeline.py`, `resolve/` | y |", []),
        ("| `create/` | x | `elf.py`, `rules/` | y |", ["elf.py", "rules/"]),
        ("`scripts/test` and `scripts/tests`", ["scripts/tests"]),
    ],
)
def test_missing_paths_are_found(text: str, expected: list[str]) -> None:
    assert missing(text) == expected


def test_the_rooms_are_those_of_the_architecture() -> None:
    """In the same order, with the same rooms to use, and the same modules where only some may be used."""
    rows = {row[1]: row[4] for row in ROOM.finditer(TEXT)}
    assert list(rows) == list(ROOMS)
    whole = {"every room": set(ROOMS) - {"cli"}, "the standard library only": set[str]()}
    for name, cell in rows.items():
        rooms, _, modules = cell.partition("; ")
        doors = {there: named for (here, there), named in DOORS.items() if here == name}
        assert whole.get(rooms, set(rooms.split(", ")) | doors.keys()) == set(ROOMS[name]), name
        allowed = {one.removeprefix(f"bundler.{there}.") for there, named in doors.items() for one in named}
        assert set(re.findall(r"`([\w.]+)`", modules)) == allowed, name
