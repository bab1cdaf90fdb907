"""Azure ML, SDK and CLI v1: the environment in Python, and the file that `az ml model deploy --ic` takes.

Sources: how-to-prebuilt-docker-images-inference-python-extensibility and reference-azure-machine-learning-cli
(v1) of Azure ML's documentation; `InferenceConfig` and `Environment` of azureml-core.
"""

from __future__ import annotations

import os

from bundler.deploy import bases, limits, render, start_script
from bundler.deploy.order import Order, Plan
from bundler.system.writing import File

SUMMARY = "Azure ML, SDK and CLI v1: environment.py, inferenceconfig.json"
TAKES = frozenset({"code", "entry", "model", "base", "variables"})
SNAPSHOT_FILES, SNAPSHOT_SIZE = 2000, 300_000_000
"""https://learn.microsoft.com/azure/machine-learning/how-to-manage-quotas"""


def plan(order: Order) -> Plan:
    """Say what to write; the code folder with the bundle in it is uploaded from where it is.

    :raises InputError: the bundle is not beside the scoring script, or no image is named.
    """
    start_script.code(order)
    base = bases.for_order(order)
    variables = start_script.uploaded(order, base)
    snapshot = "a snapshot of Azure ML's v1"
    return Plan(
        files=(
            File(path="environment.py", text=_snippet(order, base.reference, variables)),
            File(path="inferenceconfig.json", text=_inference_config(order, base.reference, variables)),
        ),
        variables=variables,
        commands=(
            f"az ml model deploy -n {order.name} -m MODEL:1 --ic inferenceconfig.json --dc DEPLOYMENT.json",
        ),
        findings=(
            *limits.glibc(order, has=base.glibc, platform=base.reference),
            *limits.size(
                order, order.manifest.files, limit=SNAPSHOT_SIZE, platform=snapshot, severity="warning"
            ),
            *limits.count(order, limit=SNAPSHOT_FILES, platform=snapshot, severity="warning"),
        ),
        notes=(
            *bases.notes(order, base),
            "v1 is supported until 2026-06-30; it uploads the whole code folder, whatever ignore files say",
        ),
    )


def _snippet(order: Order, image: str, variables: dict[str, str]) -> str:
    rows = "".join(f"    {name!r}: {value!r},\n" for name, value in variables.items())
    return f'''"""The environment of a service that brings its packages in the code folder (SDK v1)."""

from azureml.core import Environment
from azureml.core.model import InferenceConfig

environment = Environment(name={order.name!r})
environment.docker.base_image = {image!r}
# Nothing is installed when the image is built: the packages lie in the code folder.
environment.python.user_managed_dependencies = True
environment.environment_variables = {{
{rows}}}

inference_config = InferenceConfig(
    source_directory={_source(order)!r},  # relative to this file's folder
    entry_script={order.entry!r},
    environment=environment,
)
'''


def _source(order: Order) -> str:
    return os.path.relpath(order.source, order.output)


def _inference_config(order: Order, image: str, variables: dict[str, str]) -> str:
    """The environment stands inside: with one, members such as a `baseImage` at the top are not read."""
    return render.as_json(
        {
            "entryScript": order.entry,
            "sourceDirectory": _source(order),
            "environment": {
                "name": order.name,
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
