"""pyproject.toml and conda's environment files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bundler.create import inputs, requirements
from bundler.create.inputs import conda_file, pyproject
from bundler.errors import InputError

from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from tests.support.command import Command

FLASK = """
[project]
name = "Flask"
requires-python = ">=3.9"
dependencies = ["click>=8.1.3", "importlib-metadata>=3.6.0; python_version < '3.10'"]
[project.optional-dependencies]
async = ["asgiref>=3.2"]
dot_env = ["python-dotenv"]
all = ["flask[async,dot-env]"]
[dependency-groups]
typing = ["mypy", {include-group = "tests"}]
tests = ["pytest"]
"""
"""Of github.com/pallets/flask, pyproject.toml, commit 0109e496f6ca68de29480fe6413e81b1d3f86aa9, and `all`."""
CLICK = ["click>=8.1.3", "importlib-metadata>=3.6.0 ; python_version < '3.10'"]
WORKSHOP = """
channels:
  - defaults
dependencies:
  - python=3.8
  - pip
  - pip:
      - pandas
      - azureml-mlflow
name: azureml_workshop
"""
"""Of github.com/Azure-Samples/azureml-basic-workshop, conda.yml, commit
630169194621b42c0f724a0529d09bdfc0a9fe36."""
MLFLOW = """
name: mlflow-project
channels:
  - conda-forge
dependencies:
  - _tflow_select=2.2.0=eigen
  - docker-py=7.0.0=py310hca03da5_0
  - libboost=1.73.0=h49e8a49_12
  - matplotlib-base=3.9.2=py310h7ef442a_0
  - pip=24.2=py310hca03da5_0
  - python=3.10.13=hc0d8a6c_0
  - typing_extensions=4.11.0=py310hca03da5_0
prefix: /opt/homebrew/anaconda3/envs/mlflow-project
"""
"""Lines of github.com/326-T/mlflow-project-sample, conda.yml, commit
67460e0b1f8cc274051613cdd84787d273954651."""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("extras", "groups", "more"),
    [
        ((), (), []),
        (("async",), (), ["asgiref>=3.2"]),
        (("Dot.Env",), ("typing",), ["python-dotenv", "mypy", "pytest"]),
        (("all", "async"), (), ["asgiref>=3.2", "python-dotenv"]),
    ],
)
def test_a_project(tmp_path: Path, extras: tuple[str, ...], groups: tuple[str, ...], more: list[str]) -> None:
    path = write(tmp_path, "pyproject.toml", FLASK)
    found = pyproject.read(path, extras=extras, groups=groups)
    assert [one.text for one in found.requirements] == [*CLICK, *more]
    assert [note.subject for note in found.told] == ["Flask"]
    assert found.requirements[0].origin == f"{path}: project.dependencies"


@pytest.mark.parametrize(
    ("text", "wanted", "message", "hint"),
    [
        (FLASK, {"extras": ["fast"]}, "has no extra 'fast'", "it has all, async, dot-env"),
        (FLASK, {"groups": ["docs"]}, "has no group 'docs'", "it has tests, typing"),
        ("[tool.poetry]\nname = 'x'", {}, r"no \[project\] table", "poetry keeps its own: give its lock"),
        ("[tool.black]\n", {}, r"no \[project\] table", "write its requirements into a file"),
        (
            "[project]\nname = 'x'\ndynamic = ['dependencies']",
            {"sourced": True},
            "is dynamic",
            "give the project without its lock",
        ),
        ("[project]\ndependencies = 'six'", {}, "is no list", "see PEP 621"),
        ("[project]\ndependencies = ['!']", {}, "not a requirement", "write NAME"),
        (
            '[project]\ndependencies = ["six\\n-i url"]',
            {},
            "not a requirement",
            "it has a control",
        ),
        ("[dependency-groups]\na = [{include-group = 'a'}]", {"groups": ["a"]}, "group a", "see PEP 735"),
        ("project = 1", {}, "project is no table", "see PEP 621"),
        ("[", {}, "is not TOML", "mend it"),
    ],
)
def test_a_project_that_cannot_be_read(
    tmp_path: Path, text: str, wanted: dict[str, Any], message: str, hint: str
) -> None:
    path = write(tmp_path, "pyproject.toml", text)
    with pytest.raises(InputError, match=message) as caught:
        pyproject.read(path, **wanted)
    assert (caught.value.hint or "").startswith(hint)
    assert str(path) in caught.value.message


def test_where_uv_alone_knows_the_source(tmp_path: Path) -> None:
    text = "[project]\ndependencies = ['acme']\n[tool.uv.sources]\nacme = {git = 'https://git.example/acme'}"
    text += "\nother = {path = '.'}"
    (note,) = pyproject.read(write(tmp_path, "pyproject.toml", text)).told
    assert str(note).startswith("acme: tool.uv.sources says where it comes from")


def test_a_conda_file_of_azure_ml(tmp_path: Path) -> None:
    path = write(tmp_path, "conda.yml", WORKSHOP)
    found = conda_file.read(path, environ={})
    assert [one.text for one in found.requirements] == ["pandas", "azureml-mlflow"]
    assert found.told == ()
    assert conda_file.python_of(path) == "3.8"


def test_a_project_that_requires_nothing() -> None:
    """As of python-poetry/cleo 2.2.1, which requires nothing but Python."""
    with pytest.raises(InputError, match=r"nothing is required: app/poetry.lock has no requirement"):
        requirements.read(files=[], named=[Path("app/poetry.lock")])


def test_the_packages_of_a_service_are_known(tmp_path: Path) -> None:
    names = ["certifi=2020.12.5", "importlib-metadata", "zict", "openssl=1.1.1k", "zict", "openssl"]
    found = conda_file.read(write(tmp_path, "conda.yml", json.dumps({"dependencies": names})), environ={})
    taken = ["certifi==2020.12.5.*", "importlib-metadata", "zict", "zict"]
    assert [one.text for one in found.requirements] == taken
    assert "no distribution is known for openssl:" in str(found.told[-1])


def test_a_python_that_is_too_old(tmp_path: Path) -> None:
    """As in github.com/Azure/LunaAIProjectTemplate, conda.yml."""
    path = write(tmp_path, "conda.yml", "dependencies: [python=3.6.2, pip, {pip: [pyyaml]}]")
    with pytest.raises(InputError, match=r"conda.yml names Python 3.6, and envbundle builds for 3.7"):
        inputs.python_of(environment=None, files=[path], environ={})


def test_an_exported_conda_file(tmp_path: Path) -> None:
    path = write(tmp_path, "environment.yml", MLFLOW)
    found = conda_file.read(path, environ={})
    assert [one.text for one in found.requirements] == [
        "docker==7.0.0",
        "matplotlib==3.9.2",
        "typing_extensions==4.11.0",
    ]
    assert conda_file.python_of(path) == "3.10"
    taken, unknown = found.told
    assert "docker==7.0.0, matplotlib==3.9.2" in str(taken)
    assert "no distribution is known for _tflow_select, libboost:" in str(unknown)


@pytest.mark.parametrize(
    ("version", "specifier"),
    [
        ("", ""),
        ("=1.2", "==1.2.*"),
        ("=1.2.*", "==1.2.*"),
        ("==1.2.3", "==1.2.3"),
        ("=1.2.3=py38_0", "==1.2.3"),
        (">=1.2,<2", ">=1.2,<2"),
        (" >= 1.2", ">=1.2"),
        (" 1.2.*", "==1.2.*"),
        ("=*", ""),
    ],
)
def test_versions_of_conda(tmp_path: Path, version: str, specifier: str) -> None:
    text = json.dumps({"dependencies": [f"conda-forge::numpy{version}"]})  # JSON is YAML
    found = conda_file.read(write(tmp_path, "conda.yml", text), environ={})
    assert [one.text for one in found.requirements] == [f"numpy{specifier}"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "is not YAML"),
        ("name: x", "has no dependencies"),
        ("- numpy", "has no dependencies"),
        ("dependencies: [python=3.8]", "names no distribution that is known"),
        ("dependencies: ['numpy=1.2|1.3']", "has alternatives"),
        ("dependencies: [{npm: [x]}]", "neither text nor a pip list"),
        ("dependencies: ['!']", "no package"),
        ("dependencies: [{pip: ['!']}]", "not a requirement"),
        ("dependencies: [!!python/object:os.system {}]", "is not YAML"),
    ],
)
def test_a_conda_file_that_cannot_be_read(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        conda_file.read(write(tmp_path, "conda.yml", text), environ={})


@pytest.mark.thorough
def test_a_bundle_of_a_project_and_a_conda_file(envbundle: Command, wheels: Path, tmp_path: Path) -> None:
    for name in ("six", "numpy", "pytest", "tomli"):
        make_wheel(wheels, name, "1.2.3")
    write(tmp_path, "environment.yml", "dependencies: [python=3.8, numpy=1.2, {pip: [tomli]}]")
    write(
        tmp_path,
        "pyproject.toml",
        "[project]\nname = 'app'\ndependencies = ['six']\n[dependency-groups]\ntest = ['pytest']",
    )
    files = ["-r", "environment.yml", "-r", "pyproject.toml", "--group", "test"]
    done = envbundle("create", *files, "--json", *envbundle.offline(wheels))
    assert done.code == 0, done.stderr
    described = json.loads((tmp_path / "bundle-py38" / "manifest.json").read_text())
    assert described["inputs"]["requirements"] == ["numpy==1.2.*", "tomli", "six", "pytest"]
    assert len(described["inputs"]["notes"]) == 2
    done = envbundle(
        "create", "six", "--extra", "x", "--python", "3.8", "-o", "other", *envbundle.offline(wheels)
    )
    assert (done.code, "--extra and --group are about a project" in done.stderr) == (2, True)
