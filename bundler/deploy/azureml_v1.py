"""Azure ML, SDK and CLI v1: the environment in Python, and the file that `az ml model deploy --ic` takes.

Sources: how-to-prebuilt-docker-images-inference-python-extensibility and reference-azure-machine-learning-cli
(v1) of Azure ML's documentation; `InferenceConfig` and `Environment` of azureml-core.
"""

from __future__ import annotations

import os

from bundler.deploy import bases, limits, render, start_script
from bundler.deploy.platform import Plan, PlanRequest
from bundler.system.writing import File

SUMMARY = "Azure ML, SDK and CLI v1: environment.py, inferenceconfig.json"
TAKES = frozenset({"code", "entry", "model", "base", "variables"})
SNAPSHOT_FILES, SNAPSHOT_SIZE = 2000, 300_000_000
"""https://learn.microsoft.com/azure/machine-learning/how-to-manage-quotas"""


def plan(request: PlanRequest) -> Plan:
    """Return the files to write; the code folder with the bundle in it is uploaded from where it is.

    :raises InputError: the bundle is not beside the scoring script, or no image is named.
    """
    start_script.check_code(request)
    base = bases.require(request.base, minor=request.minor)
    variables = start_script.uploaded(request, base)
    snapshot = "a snapshot of Azure ML's v1"
    return Plan(
        files=(
            File(path="environment.py", text=_snippet(request, base.reference, variables)),
            File(path="inferenceconfig.json", text=_inference_config(request, base.reference, variables)),
        ),
        variables=variables,
        commands=(
            f"az ml model deploy -n {request.name} -m MODEL:1 --ic inferenceconfig.json --dc DEPLOYMENT.json",
        ),
        findings=(
            *limits.glibc(request, has=base.glibc, platform=base.reference),
            *limits.size(
                request,
                request.manifest.files,
                limit=SNAPSHOT_SIZE,
                platform=snapshot,
                severity="warning",
            ),
            *limits.count(request, limit=SNAPSHOT_FILES, platform=snapshot, severity="warning"),
        ),
        notes=(
            *start_script.notes(request, base),
            "v1 is supported until 2026-06-30; it uploads the whole code folder, whatever ignore files say",
        ),
    )


def _snippet(request: PlanRequest, image: str, variables: dict[str, str]) -> str:
    rows = "".join(f"    {name!r}: {value!r},\n" for name, value in variables.items())
    return f'''"""The environment of a service that brings its packages in the code folder (SDK v1)."""

from azureml.core import Environment
from azureml.core.model import InferenceConfig

environment = Environment(name={request.name!r})
environment.docker.base_image = {image!r}
# Nothing is installed when the image is built: the packages lie in the code folder.
environment.python.user_managed_dependencies = True
environment.environment_variables = {{
{rows}}}

inference_config = InferenceConfig(
    source_directory={_source(request)!r},  # relative to this file's folder
    entry_script={request.entry!r},
    environment=environment,
)
'''


def _source(request: PlanRequest) -> str:
    return os.path.relpath(request.source, request.output)


def _inference_config(request: PlanRequest, image: str, variables: dict[str, str]) -> str:
    """Write the environment as a member: where it is one, `baseImage` and the like beside it are not read."""
    return render.as_json(
        {
            "entryScript": request.entry,
            "sourceDirectory": _source(request),
            "environment": {
                "name": request.name,
                "docker": {
                    "baseImage": image,
                    "baseDockerfile": None,
                    "enabled": False,
                    "sharedVolumes": True,
                    "shmSize": None,
                    "arguments": [],
                },
                "environmentVariables": variables,
                "python": {
                    "userManagedDependencies": True,
                    "interpreterPath": "python",
                    "baseCondaEnvironment": None,
                    "condaDependencies": None,
                    "condaDependenciesFile": None,
                },
            },
        }
    )
