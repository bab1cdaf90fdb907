"""`deploy`: the rules of the mount and of names, each with its message; values that fight their quotes."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from bundler.bundle import manifest
from bundler.deploy import bases, render, start_script
from bundler.errors import InputError

from tests.support.deploymaker import (
    AML38,
    HOSTILE,
    PLAIN,
    SITE_PACKAGES,
    Service,
    files_of,
    listed,
    make_service,
    rewrite,
)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return make_service(tmp_path)


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("AZUREML_EXTRA_PYTHON_LIB_PATH=/mnt/myenv", "exit code 97"),
        ("AZUREML_EXTRA_PYTHON_LIB_PATH=myenv", "deploy sets it"),
        ("PYTHONPATH=/x", "deploy sets it"),
        ("AZUREML_ENTRY_SCRIPT=score.py", "deploy sets it"),
        ("AZUREML_EXTRA_REQUIREMENTS_TXT=requirements.txt", "the mount wins"),
        ("AZUREML_EXTRA_REQUIRMENTS_TXT=requirements.txt", "misspelt"),
        ("AZUREML_EXTRA_CONDA_YAML=conda.yml", "the mount wins"),
        ("CONDA_DEFAULT_ENV=base", "the mount wins"),
        ("PYTHONHOME=/usr", "do not go together"),
        ("VIRTUAL_ENV=/venv", "do not go together"),
        ("REGISTRY_PASSWORD=hunter2", "a secret"),
        ("STORAGE_ACCOUNT_KEY=abc", "a secret"),
        ("PROXY=http://user:pass@proxy:80", "a secret"),
        ("A=b\nc", "line end"),
        ("A=\x1b[0m", "line end"),
        ("A", "NAME=VALUE"),
        ("A B=c", "NAME=VALUE"),
        ("$(id)=c", "NAME=VALUE"),
    ],
)
def test_variables_that_are_refused(service: Service, variable: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        service.deploy("azureml-v2", variables=(variable,))
    assert not service.output.exists()
    assert "hunter2" not in caught.value.message
    assert "pass@" not in caught.value.message


@pytest.mark.parametrize(
    "variable", ["LOG_LEVEL=info", "MONKEY=1", "OMP_NUM_THREADS=1", "URL=http://host/x", "A="]
)
def test_variables_that_are_taken(variable: str) -> None:
    name, _, value = variable.partition("=")
    assert start_script.variables([variable]) == {name: value}


def test_nothing_of_the_bundle_in_the_models_folder(service: Service) -> None:
    with pytest.raises(InputError, match="lies in the model's folder"):
        service.deploy("azureml-v2", model=service.code)
    with pytest.raises(InputError, match="model's folder lies in the bundle"):
        service.deploy("azureml-v2", model=service.bundle / "lib")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"entry": "main.py"}, "main.py does not exist"),
        ({"entry": "../src/score.py"}, "leaves the code folder"),
        ({"entry": "/etc/passwd"}, "leaves the code folder"),
        ({"entry": "sub/score.py"}, "is not below the scoring script's folder"),
        ({"code": "elsewhere"}, "is not below the scoring script's folder"),
        ({"code": "absent"}, "is not a folder"),
        ({"output": "src/out"}, "lies in the code folder"),
        ({"output": "src"}, "lies in the code folder"),
        ({"output": "src/myenv/out"}, "lies in the bundle"),
        ({"model": "absent"}, "is not a folder"),
        ({"name": "Wine_2"}, "not a name that every platform takes"),
        ({"name": "x" * 33}, "not a name that every platform takes"),
        ({"name": "a--b"}, "not a name that every platform takes"),
        ({"base": "mcr.microsoft.com/azureml/minimal-ubuntu18.04-py37-cpu-inference"}, "has Python 3.7"),
        ({"image": "minimal-ubuntu18.04-py37-cpu-inference"}, "has Python 3.7"),
        ({"image": "debian-12-slim"}, "does not say where the image is pulled from"),
        ({"base": "user:password@registry.example/base"}, "no name of an image"),
        ({"base": "registry.example/base:1?token=password"}, "no name of an image"),
        ({"base": "registry.example/base#token=password"}, "no name of an image"),
        ({"base": "user:pass/password@registry.example/base"}, "no name of an image"),
        ({"base": "base:1\nRUN id"}, "no name of an image"),
        ({"base": "Base Image"}, "no name of an image"),
        ({"python": "python"}, "--image-python means nothing for --to azureml-v2"),
        ({"wheels_at": "/x"}, "--wheels-at means nothing for --to azureml-v2"),
    ],
)
def test_places_and_names_that_are_refused(service: Service, fields: dict[str, Any], message: str) -> None:
    for folder in ("elsewhere", "src/sub"):
        (service.folder / folder).mkdir()
        (service.folder / folder / "score.py").write_text("")
    paths = {"code", "output", "model"}
    given = {name: service.folder / value if name in paths else value for name, value in fields.items()}
    before = listed(service.folder)
    with pytest.raises(InputError, match=message) as caught:
        service.deploy("azureml-v2", **given)
    assert "password" not in caught.value.message
    assert listed(service.folder) == before


@pytest.mark.parametrize("name", ["my env", "my:env", "$HOME", "a'b", 'a"b', "a\nb", ".hidden", "ümlaut"])
@pytest.mark.parametrize("which", ["code", "bundle"])
def test_folders_that_cannot_be_in_an_images_path(tmp_path: Path, name: str, which: str) -> None:
    code, bundle = (name, "myenv") if which == "code" else ("src", name)
    service = make_service(tmp_path, code=code, bundle=bundle)
    with pytest.raises(InputError, match="becomes part of a path in the image, and cannot"):
        service.deploy("azureml-v2")
    assert not service.output.exists()


def test_a_path_to_the_scoring_script_counts(tmp_path: Path) -> None:
    service = make_service(tmp_path, bundle="app/env")
    (service.code / "app" / "main.py").write_text("")
    done = service.deploy("azureml-v2", code=service.code, entry="app/main.py")
    assert done.plan.variables == {
        "AZUREML_EXTRA_PYTHON_LIB_PATH": f"env/{SITE_PACKAGES}",
        "PYTHONPATH": f"/var/azureml-app/src/app/env/{SITE_PACKAGES}",
    }


def test_requirements_beside_the_script_are_noted(service: Service) -> None:
    (service.code / "requirements.txt").write_text("pandas")
    assert any("the mount wins" in note for note in service.deploy("azureml-v2").plan.notes)


def test_an_image_that_ignores_the_variable_is_noted(service: Service) -> None:
    name = "mirror.example/azureml/curated/minimal-ubuntu20.04-py39-cpu-inference:1"
    base = bases.choose(name, None)
    assert base is not None
    assert base.azureml
    assert base.python == "/azureml-envs/minimal/bin/python"
    assert base.profile is not None
    assert base.profile.honours_variables == "no"


@pytest.mark.parametrize(
    ("reference", "known"),
    [
        (AML38, True),
        ("mirror.example:5000/azureml/minimal-ubuntu20.04-py38-cpu-inference@sha256:" + "a" * 64, True),
        ("mirror.example/other/minimal-ubuntu20.04-py38-cpu-inference", False),
        ("mirror.example/azureml/minimal-ubuntu20.04-py38-cpu-inference-mine", False),
        ("base", False),
    ],
)
def test_profiles_are_found_by_the_images_name(reference: str, known: bool) -> None:  # noqa: FBT001 - a table's column
    base = bases.choose(reference, None)
    assert base is not None
    assert (base.profile is not None) is known
    assert base.azureml is known


def test_a_profile_says_what_a_derived_image_is(service: Service) -> None:
    done = service.deploy(
        "docker", base=PLAIN, image="minimal-ubuntu20.04-py38-cpu-inference", code=service.code
    )
    lines = service.text("Dockerfile").splitlines()
    assert f"FROM {PLAIN}" in lines
    assert "USER dockeruser" in lines
    assert 'CMD ["runsvdir", "/var/runit"]' in lines
    assert done.plan.variables["AZUREML_ENTRY_SCRIPT"] == "src/score.py"


def test_a_dockerfile_for_a_prebuilt_image(service: Service) -> None:
    (service.folder / "wine").mkdir()
    (service.folder / "wine" / "model.joblib").write_text("x")
    service.deploy("docker", base=AML38, code=service.code, model=service.folder / "wine")
    bundle = "/var/azureml-app/src/myenv"
    assert service.text("Dockerfile").splitlines()[1:] == [
        f"FROM {AML38}",
        f'COPY ["bundle/", "{bundle}/"]',
        'COPY ["model/", "/var/azureml-app/azureml-models/wine/1/"]',
        'COPY ["code/", "/var/azureml-app/src/"]',
        "USER dockeruser",
        "# Every file, every import, in this image, with its own Python: what does not fit, fails here.",
        f'RUN ["/opt/miniconda/envs/amlenv/bin/python", "-I", "{bundle}/verify.py"]',
        f'ENV AZUREML_EXTRA_PYTHON_LIB_PATH="myenv/{SITE_PACKAGES}"',
        f'ENV PYTHONPATH="{bundle}/{SITE_PACKAGES}"',
        'ENV AZUREML_ENTRY_SCRIPT="src/score.py"',
        'ENV AZUREML_MODEL_DIR="/var/azureml-app/azureml-models/wine/1"',
        "EXPOSE 5001",
        'CMD ["runsvdir", "/var/runit"]',
    ]
    made = listed(service.output)
    assert {"bundle/verify.py", "bundle/manifest.json", "code/score.py", "model/model.joblib"} <= made.keys()
    assert not [path for path in made if path.startswith("code/myenv")]


def test_a_symlink_in_the_code_is_refused(service: Service) -> None:
    (service.code / "data").symlink_to("/etc")
    with pytest.raises(InputError, match="a symlink or a special file"):
        service.deploy("docker", base=PLAIN, code=service.code)
    assert not service.output.exists()


@pytest.mark.parametrize("code", [True, False])
def test_run_sh_says_what_it_should(tmp_path: Path, *, code: bool) -> None:
    """By the shell itself: a `docker` that tells its words stands first on PATH."""
    service = make_service(tmp_path / "a b's $HOME")
    fields = {"code": service.code} if code else {}
    service.deploy("docker", base=AML38, variables=(f"LABEL={HOSTILE}",), **fields)
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "docker").write_text('#!/bin/sh\nfor word; do printf "%s\\0" "$word"; done\n')
    (tools / "docker").chmod(0o755)
    done = subprocess.run(
        [service.output / "run.sh", "--name", "x y"],
        env={"PATH": f"{tools}:{os.defpath}", "HOME": "/nonexistent"},
        capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    words = done.stdout.split("\0")[:-1]
    assert words[:5] == ["run", "--rm", "-p", "6789:5001", "-v"]
    assert f"LABEL={HOSTILE}" in words
    assert words[-3:] == [AML38, "--name", "x y"]
    place = "/var/azureml-app/src/myenv" if code else "/opt/envbundle/myenv"
    assert f"{service.output}/bundle:{place}:ro" in words
    if code:
        assert words.index(f"{service.output}/code:/var/azureml-app/src:ro") < words.index(
            f"{service.output}/bundle:{place}:ro"
        )
        assert (service.output / "code" / "myenv").is_dir()


def test_compose_keeps_dollars_and_odd_folders(tmp_path: Path) -> None:
    service = make_service(tmp_path / "a b's $HOME: #x")
    (service.folder / "deep").mkdir()
    service.deploy("compose", base=AML38, output=tmp_path / "out", variables=(f"LABEL={HOSTILE}",))
    made = yaml.safe_load((tmp_path / "out" / "compose.yaml").read_text())["services"]["myenv"]
    assert made["environment"]["LABEL"] == HOSTILE.replace("$", "$$")
    assert made["volumes"][0]["source"] == "../a b's $$HOME: #x/src/myenv"
    assert made["volumes"][0]["read_only"] is True


def test_commands_are_safe_to_paste(tmp_path: Path) -> None:
    service = make_service(tmp_path / "a b; id $HOME")
    done = service.deploy("kubernetes", base=PLAIN, output=tmp_path / "out")
    assert shlex.split(done.plan.commands[0])[-1] == "../a b; id $HOME/src/myenv"


@pytest.mark.parametrize("value", ["a$b", "a\\b", "a\nb", "a\x00b"])
def test_words_of_a_dockerfile_are_refused_where_no_quotes_help(value: str) -> None:
    with pytest.raises(InputError, match="cannot stand in a Dockerfile"):
        render.words("COPY", value)
    assert json.loads(render.words("COPY", 'it\'s "é" # x').removeprefix("COPY ")) == ['it\'s "é" # x']


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("plain", 'ENV A="plain"'),
        ("a b", 'ENV A="a b"'),
        ('say "hi"', 'ENV A="say \\"hi\\""'),
        ("$HOME ${X}", 'ENV A="\\$HOME \\${X}"'),
        ("a\\", 'ENV A="a\\\\"'),
        ("it's #1 `id`", 'ENV A="it\'s #1 `id`"'),
        ("", 'ENV A=""'),
    ],
)
def test_values_of_a_dockerfile(value: str, line: str) -> None:
    """Backslash, quote and dollar are escaped; the image test has a real builder read them."""
    assert render.env("A", value) == line


@pytest.mark.parametrize("word", ["plain", "a b", "$HOME", "it's", "", "$PWD", "$PWD/a b", "$PWD/$(id)"])
def test_words_of_a_shell(word: str, tmp_path: Path) -> None:
    script = f"printf '%s' {render.shell([word])}"
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    inside = word.startswith("$PWD/")
    assert done.stdout == (f"{tmp_path}/{word.removeprefix('$PWD/')}" if inside else word)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("myenv", "myenv"), ("My_Env.2", "my-env-2"), ("8env", "envbundle-8env"), ("é", "envbundle"),
        ("x" * 50, "x" * 32), ("a", "envbundle-a"), (f"{'x' * 31}-y", "x" * 31),
    ],
)  # fmt: skip
def test_names_after_folders(folder: str, name: str) -> None:
    assert start_script.default_name(Path("/") / folder) == name
    start_script.check_name(name)


def test_an_image_that_looks_elsewhere_gets_no_relative_path(tmp_path: Path) -> None:
    """The container would end with exit code 97; the images of mlflow set AML_APP_ROOT."""
    service = make_service(tmp_path)
    described = manifest.read(service.bundle)
    packages = "lib/python3.12/site-packages"
    (service.bundle / "lib" / "python3.8").rename(service.bundle / "lib" / "python3.12")
    rewrite(
        service,
        target=replace(described.target, python="3.12.1"),
        environment={"PYTHONPATH": packages},
        files=files_of(service),
    )
    done = service.deploy("azureml-v2", image="curated/mlflow-py312-inference")
    assert done.plan.variables == {"PYTHONPATH": f"/var/azureml-app/src/myenv/{packages}"}
    assert any("/var/mlflow_resources" in note for note in done.plan.notes)
