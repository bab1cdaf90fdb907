"""`deploy`: what each platform gets, what is refused, and that nobody's file is replaced."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from bundler.deploy import PLATFORMS
from bundler.errors import InputError, MachineError
from bundler.system import writing

from tests.support.deploymaker import (
    AML38,
    HOSTILE,
    PLAIN,
    SITE_PACKAGES,
    Service,
    listed,
    make_service,
    read_json,
    rewrite,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command

MOUNTED = {
    "AZUREML_EXTRA_PYTHON_LIB_PATH": f"myenv/{SITE_PACKAGES}",
    "PYTHONPATH": f"/var/azureml-app/src/myenv/{SITE_PACKAGES}",
}
MINIMAL: dict[str, dict[str, Any]] = {
    "azureml-v1": {},
    "azureml-v2": {},
    "docker": {"base": PLAIN},
    "compose": {"base": PLAIN},
    "kubernetes": {"base": PLAIN},
    "aws-lambda": {},
    "azure-functions": {},
    "sagemaker": {},
}


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return make_service(tmp_path)


def test_every_platform_is_tried() -> None:
    assert MINIMAL.keys() | {"wheelhouse"} == PLATFORMS.keys()


@pytest.mark.parametrize("platform", MINIMAL)
def test_a_second_run_changes_nothing(service: Service, platform: str) -> None:
    first = service.deploy(platform, **MINIMAL[platform])
    made = listed(service.output)
    assert first.ok
    assert made
    assert service.deploy(platform, **MINIMAL[platform]) == first
    assert listed(service.output) == made


@pytest.mark.parametrize("platform", MINIMAL)
def test_a_file_that_says_something_else_stays(service: Service, platform: str) -> None:
    service.deploy(platform, **MINIMAL[platform])
    victim = max(listed(service.output))
    made = listed(service.output)
    for path in service.output.rglob("*"):
        if path.is_file() and path != service.output / victim:
            path.unlink()
    (service.output / victim).write_text("mine")
    with pytest.raises(InputError, match="says something else: nothing is written") as caught:
        service.deploy(platform, **MINIMAL[platform])
    assert str(service.output / victim) in caught.value.message
    assert listed(service.output) == {victim: b"mine"}
    assert len(made) > 0


def test_other_files_of_the_output_stay(service: Service) -> None:
    service.output.mkdir()
    (service.output / "host.json").write_text("{}")
    assert service.deploy("azure-functions").ok
    assert {"host.json", "appsettings.json"} <= listed(service.output).keys()


@pytest.mark.parametrize("inside", ["bundle/extra.py", "bundle/lib/python3.8/site-packages/beta.py"])
def test_copies_are_not_mixed_with_older_ones(service: Service, inside: str) -> None:
    (service.output / inside).parent.mkdir(parents=True)
    (service.output / inside).write_text("old")
    with pytest.raises(InputError, match="would be mixed with the copies"):
        service.deploy("docker", base=PLAIN)
    assert listed(service.output) == {inside: b"old"}


@pytest.mark.parametrize("way", ["link", "file"])
def test_the_output_must_be_a_folder(service: Service, way: str) -> None:
    if way == "link":
        service.output.symlink_to(service.code)
    else:
        service.output.write_text("mine")
    with pytest.raises(InputError):
        service.deploy("azureml-v2")
    assert service.output.is_symlink() or service.output.read_text() == "mine"


def test_a_link_in_the_output_is_not_followed(service: Service, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    service.output.mkdir()
    (service.output / "bundle").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="in the way"):
        service.deploy("docker", base=PLAIN)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_azureml_v2(service: Service) -> None:
    (service.folder / "model").mkdir()
    done = service.deploy(
        "azureml-v2",
        base=AML38,
        model=service.folder / "model",
        variables=(f"LABEL={HOSTILE}",),
        name="wine-2",
    )
    environment, endpoint, deployment = (
        yaml.safe_load(service.text(f"{name}.yml")) for name in ("environment", "endpoint", "deployment")
    )
    assert environment["image"] == AML38
    assert environment["inference_config"]["scoring_route"] == {"path": "/score", "port": 5001}
    assert environment["name"] == endpoint["name"] == deployment["endpoint_name"] == "wine-2"
    assert deployment["code_configuration"] == {"code": "../src", "scoring_script": "score.py"}
    assert deployment["environment_variables"] == {**MOUNTED, "LABEL": HOSTILE} == done.plan.variables
    assert deployment["egress_public_network_access"] == "disabled"
    assert deployment["model"] == {"path": "../model"}
    assert deployment["environment"] == "azureml:wine-2@latest"


def test_azureml_v1(service: Service) -> None:
    done = service.deploy("azureml-v1", base=AML38, variables=(f"LABEL={HOSTILE}",))
    config = read_json(service, "inferenceconfig.json")
    assert (config["entryScript"], config["sourceDirectory"]) == ("score.py", "../src")
    assert config["environment"]["docker"]["baseImage"] == AML38
    assert (
        config["environment"]["environmentVariables"] == {**MOUNTED, "LABEL": HOSTILE} == done.plan.variables
    )
    assert config["environment"]["python"]["userManagedDependencies"] is True
    assert "password" not in service.text("inferenceconfig.json").lower()


SDK = {
    "azureml/__init__.py": "",
    "azureml/core/__init__.py": "from types import SimpleNamespace as N\n"
    "def Environment(name): return N(name=name, docker=N(), python=N())\n",
    "azureml/core/model.py": "def InferenceConfig(**fields): return fields\n",
}


def test_the_snippet_of_v1_is_python(service: Service, tmp_path: Path) -> None:
    service.deploy("azureml-v1", variables=(f"LABEL={HOSTILE}",))
    for path, text in SDK.items():
        (tmp_path / "sdk" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sdk" / path).write_text(text)
    show = "import environment as e; print(ascii([e.environment.environment_variables, e.inference_config]))"
    done = subprocess.run(
        [sys.executable, "-c", show], cwd=service.output, env={"PYTHONPATH": f"{tmp_path / 'sdk'}:."},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ascii({**MOUNTED, "LABEL": HOSTILE}) in done.stdout
    assert "'source_directory': '../src', 'entry_script': 'score.py'" in done.stdout


@pytest.mark.parametrize(
    ("minor", "image"),
    [
        ("3.7", "mcr.microsoft.com/azureml/minimal-ubuntu18.04-py37-cpu-inference:latest"),
        ("3.8", "mcr.microsoft.com/azureml/minimal-ubuntu20.04-py38-cpu-inference:latest"),
    ],
)
def test_the_prebuilt_image_is_the_default(tmp_path: Path, minor: str, image: str) -> None:
    service = make_service(tmp_path, minor=minor)
    service.deploy("azureml-v2")
    assert yaml.safe_load(service.text("environment.yml"))["image"] == image


def test_a_layer(service: Service) -> None:
    done = service.deploy("aws-lambda", name="layer-1")
    with zipfile.ZipFile(service.output / "layer.zip") as layer:
        names = layer.namelist()
        assert layer.testzip() is None
    assert f"python/{SITE_PACKAGES}/alpha.py" in names
    assert names == sorted(names)
    assert not {name for name in names if not name.startswith("python/lib/")}
    assert read_json(service, "layer.json")["CompatibleRuntimes"] == ["python3.8"]
    assert read_json(service, "layer.json")["CompatibleArchitectures"] == ["x86_64"]
    assert done.plan.commands[0].startswith("aws lambda publish-layer-version")


def test_the_same_layer_has_the_same_bytes(tmp_path: Path) -> None:
    digests = set()
    for place in ("one", "two"):
        service = make_service(tmp_path / place)
        os.utime(service.bundle / SITE_PACKAGES / "alpha.py", (1, 1 if place == "one" else 2))
        service.deploy("aws-lambda")
        digests.add(hashlib.sha256((service.output / "layer.zip").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_functions(service: Service) -> None:
    service.deploy("azure-functions", variables=("A=b",))
    assert (service.output / ".python_packages/lib/site-packages/alpha.py").is_file()
    settings = {row["name"]: row["value"] for row in read_json(service, "appsettings.json")}
    assert settings == {
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "PYTHON_ISOLATE_WORKER_DEPENDENCIES": "1",
        "A": "b",
    }


def test_sagemaker(service: Service) -> None:
    (service.folder / "model" / "1").mkdir(parents=True)
    (service.folder / "model" / "1" / "saved_model.pb").write_text("x")
    (service.code / "requirements.txt").write_text("x")
    done = service.deploy("sagemaker", code=service.code, model=service.folder / "model")
    made = listed(service.output)
    assert {"model/code/lib/alpha.py", "model/code/score.py", "model/1/saved_model.pb"} <= made.keys()
    assert not [path for path in made if "myenv" in path]
    assert read_json(service, "environment.json") == {"PYTHONPATH": "/opt/ml/model/code/lib"}
    assert any("requirements.txt is not installed" in note for note in done.plan.notes)


def test_kubernetes(service: Service) -> None:
    service.deploy("kubernetes", base=AML38, bundle_image="r.example/b", variables=("A=$(HOME) $X",))
    claim, deployment = yaml.safe_load_all(service.text("claim.yaml"))
    assert claim["spec"]["resources"]["requests"] == {"storage": "64Mi"}
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["env"] == [
        {"name": "PYTHONPATH", "value": f"/opt/envbundle/myenv/{SITE_PACKAGES}"},
        {"name": "A", "value": "$$(HOME) $X"},
    ]
    assert container["volumeMounts"][0]["readOnly"] is True
    assert container["livenessProbe"]["httpGet"] == {"path": "/", "port": 5001}
    image = yaml.safe_load(service.text("image-volume.yaml"))["spec"]["template"]["spec"]["volumes"][0][
        "image"
    ]
    assert image["reference"].startswith("r.example/b:bundle-")
    init = yaml.safe_load(service.text("init-container.yaml"))["spec"]["template"]["spec"]["initContainers"][
        0
    ]
    assert init["image"].startswith("r.example/b:copy-")
    assert "&id" not in service.text("image-volume.yaml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("alpha.py", "is not as it was made: lib/python3.8/site-packages/alpha.py"),
        ("extra.py", "is not as it was made: lib/python3.8/site-packages/extra.py"),
        ("../../../SHA256SUMS", "is not as it was made: SHA256SUMS"),
    ],
)
def test_a_damaged_bundle_is_refused(service: Service, change: str, message: str) -> None:
    (service.bundle / SITE_PACKAGES / change).write_text("VALUE = 2\n")
    with pytest.raises(InputError, match=message):
        service.deploy("azureml-v2")


def test_a_manifest_with_another_path_is_refused(service: Service) -> None:
    rewrite(service, environment={"PYTHONPATH": "lib/$x/site-packages"})
    with pytest.raises(InputError, match="names another PYTHONPATH"):
        service.deploy("docker", base=PLAIN)


@pytest.mark.parametrize("missing", ["nothing", "file"])
def test_what_is_no_bundle_is_refused(service: Service, missing: str) -> None:
    bundle = service.folder / "absent" if missing == "nothing" else service.code / "score.py"
    with pytest.raises(InputError, match="not a bundle's folder"):
        service.deploy("azureml-v2", bundle=bundle)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("ignore", "code"),
    [
        ({".gitignore": "lib/\n*.so\n"}, 1),
        ({".amlignore": "lib/\n"}, 1),
        ({".amlignore": "*.csv\n", ".gitignore": "lib/\n"}, 0),
        ({".gitignore": "*.csv\n"}, 0),
    ],
)
def test_the_upload_is_linted(tmp_path: Path, envbundle: Command, ignore: dict[str, str], code: int) -> None:
    service = make_service(tmp_path)
    for path, text in ignore.items():
        (service.code / path).write_text(text)
    done = envbundle("deploy", service.bundle, "--to", "azureml-v2", "-o", service.output)
    assert (done.code, service.output.exists()) == (code, not code), done.stderr
    assert ("error EB507" in done.stderr) is bool(code)


def test_v1_heeds_no_ignore_file(service: Service) -> None:
    (service.code / ".gitignore").write_text("lib/\n")
    assert service.deploy("azureml-v1").ok


def test_the_app_folder_of_functions_is_linted(service: Service) -> None:
    service.output.mkdir()
    (service.output / ".funcignore").write_text("*.py\n")
    done = service.deploy("azure-functions")
    assert [finding.code for finding in done.findings if finding.severity == "error"] == ["EB507"]
    assert listed(service.output).keys() == {".funcignore"}


def test_a_source_that_changes_meanwhile_is_noticed(service: Service, tmp_path: Path) -> None:
    file = writing.File(path="a", source=service.code / "score.py", sha256="0" * 64)
    with pytest.raises(MachineError, match="has changed"):
        writing.stage([file], tmp_path / "made")


@pytest.mark.thorough
def test_json(envbundle: Command, service: Service) -> None:
    done = envbundle("deploy", service.bundle, "--to", "azureml-v2", "-o", "out", "--json")
    assert done.code == 0, done.stderr
    said = done.json()
    assert said["ok"] is True
    assert said["written"] == ["deployment.yml", "endpoint.yml", "environment.yml"]
    assert said["variables"] == MOUNTED
    assert said["output"] == str(service.output)


@pytest.mark.thorough
def test_help_tells_every_platform(envbundle: Command) -> None:
    said = envbundle("deploy", "--help").stdout
    assert [name for name in PLATFORMS if f"\n  {name} " not in said and f"\n    {name} " not in said] == []
    assert "\n    envbundle deploy src/myenv --to azureml-v2 -o deploy\n" in said
