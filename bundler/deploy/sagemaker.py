"""Amazon SageMaker: the packages in the model archive, for endpoints in network isolation.

Sources: https://github.com/aws/sagemaker-tensorflow-serving-container (`code/lib` wins over requirements),
https://github.com/aws/sagemaker-inference-toolkit (`/opt/ml/model/code` goes on PYTHONPATH).
"""

from __future__ import annotations

import posixpath

from bundler.deploy import copies, limits, render
from bundler.deploy.platform import Plan, PlanRequest
from bundler.system.writing import File

SUMMARY = "Amazon SageMaker: the model archive's folder with code/lib, environment.json"
TAKES = frozenset({"code", "model", "variables"})
ROOT = "/opt/ml/model"
LIB = "code/lib"


def plan(request: PlanRequest) -> Plan:
    """Return the files to write: the folder `model`, of which model.tar.gz is made.

    :raises InputError: the code or the model's folder has a symlink in it.
    """
    files = [*copies.packages(request, f"model/{LIB}")]
    if request.model is not None:
        files += copies.folder(request.model, "model")
    if request.code is not None:
        files += copies.folder(request.code, "model/code", without=request.bundle)
    # TensorFlow's container has the folder on its path; the others need the variable.
    variables = {"PYTHONPATH": posixpath.join(ROOT, LIB), **request.variables}
    ignored = request.code is not None and (request.code / "requirements.txt").is_file()
    return Plan(
        files=(File(path="environment.json", text=render.as_json(variables)), *files),
        folders=("model",),
        variables=variables,
        commands=("tar -C model -czf model.tar.gz .",),
        findings=limits.outside(request, platform="SageMaker"),
        notes=(
            "environment.json is the `Environment` of the container definition in create-model",
            *(["code/requirements.txt is not installed where code/lib is there"] if ignored else []),
        ),
    )
