"""A folder on the command line: a project, wheels, and never a stranger of the same name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from bundler.create.inputs import named_folders
from bundler.errors import InputError
from bundler.model import Requirement

from tests.support.wheelmaker import make_sdist, make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("marker", named_folders.PROJECT)
@pytest.mark.parametrize(
    ("argument", "told"),
    [("./acme", False), ("acme", True), ("acme[fast]", True), ("acme>=1", None), ("acme==1", None)],
)
def test_a_project(here: Path, marker: str, argument: str, told: bool | None) -> None:  # noqa: FBT001 - a table
    (here / "acme").mkdir()
    (here / "acme" / marker).touch()
    found = named_folders.take([argument, "other"])
    extras = "[fast]" if "[" in argument else ""
    first = argument if told is None else f"{here}/acme{extras}"
    assert found.arguments == (first, "other")
    assert [note.subject for note in found.told] == ([argument] if told else [])


def test_wheels(here: Path) -> None:
    (here / "dist").mkdir()
    one = make_wheel(here / "dist", "acme", "1.0")
    make_wheel(here / "dist", "base", "2.0", tag="cp38-cp38-linux_x86_64")
    make_wheel(here / "dist", "base", "2.0", tag="cp37-cp37m-linux_x86_64")
    make_sdist(here / "dist", "passed-over")
    found = named_folders.take(["./dist"])
    assert found.arguments == (f"acme @ {one.as_uri()}", "base==2.0")
    assert (found.find_links, found.told) == ((str(here / "dist"),), ())
    make_wheel(here / "dist", "acme", "1.1")
    with pytest.raises(InputError, match=r"acme in several versions: 1\.0, 1\.1"):
        named_folders.take(["./dist"])


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("pyvenv.cfg", "it is an environment: --from-env myenv"),
        ("requirements.txt", "it has requirements: -r myenv/requirements.txt"),
        ("manifest.json", "it is a bundle: --lock myenv/pylock.toml"),
        (
            "six-1.17.0.dist-info",
            "distributions are installed in it: --from-env myenv, or envbundle audit myenv",
        ),
        ("__init__.py", "name a folder with a pyproject.toml"),
    ],
)
@pytest.mark.parametrize("argument", ["myenv", "./myenv"])
def test_any_other_folder_is_refused(here: Path, content: str, hint: str, argument: str) -> None:
    (here / "myenv").mkdir()
    text = '{"kind": "envbundle-manifest"}' if content == "manifest.json" else ""
    (here / "myenv" / content).write_text(text)
    with pytest.raises(InputError, match="is a folder here, and neither") as caught:
        named_folders.take([argument])
    assert (caught.value.hint or "").startswith(hint)
    assert ('"myenv>=0"' in (caught.value.hint or "")) is (argument == "myenv")


def test_what_is_no_folder_stays_as_it_is(here: Path) -> None:
    (here / "acme").touch()
    given = (
        "acme",
        "acme[x]==1",
        "acme @ https://files.example/acme-1.0-py3-none-any.whl",
        "six; extra == 'x'",
    )
    assert named_folders.take(given) == named_folders.Taken(arguments=given)


@pytest.mark.thorough
def test_a_folder_never_brings_a_stranger(envbundle: Command, wheels: Path, here: Path) -> None:
    """The index has a distribution of the name too."""
    make_wheel(wheels, "dist", "9.9")
    make_wheel(wheels, "base", "9.9")
    (here / "dist").mkdir()
    make_wheel(here / "dist", "acme", "1.0", requires=("base",))
    make_wheel(here / "dist", "base", "1.0")
    done = envbundle("create", "dist", "--python", "3.8", "--json", *envbundle.offline(wheels))
    assert done.code == 0, done.stderr
    assert {one["name"]: one["version"] for one in done.json()["distributions"]} == {
        "acme": "1.0",
        "base": "1.0",
    }
    assert "input: dist: the wheels in the folder of that name are taken" in done.stderr
    assert str(here) not in (here / "bundle-py38" / "manifest.json").read_text()


@pytest.mark.thorough
def test_a_requirements_file_beside_a_project_of_the_name(
    envbundle: Command, wheels: Path, here: Path
) -> None:
    make_wheel(wheels, "acme")
    make_wheel(wheels, "other")
    for name in ("acme", "other"):
        (here / name).mkdir()
    (here / "acme" / "setup.py").touch()
    (here / "requirements.txt").write_text("acme\nother\n")
    done = envbundle(
        "create", "-r", "requirements.txt", "--python", "3.8", "--json", *envbundle.offline(wheels)
    )
    assert done.code == 0, done.stderr
    assert [note["subject"] for note in done.json()["notes"]] == ["acme"]
    assert json.loads((here / "bundle-py38" / "manifest.json").read_text())["inputs"]["notes"]


def test_a_name_that_is_too_long_for_a_folder_is_no_folder() -> None:
    """It was the machine's fault (exit code 3) that no folder can have such a name."""
    assert named_folders.take(["b" * 5000]).told == ()
    one = Requirement(text="b" * 5000, name="b" * 5000, origin="requirements.txt:1")
    assert list(named_folders.doubtful([one])) == []
