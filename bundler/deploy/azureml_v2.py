"""Azure ML, CLI and SDK v2: the three files that `az ml` takes for a managed online endpoint.

Sources: reference-yaml-environment, reference-yaml-deployment-managed-online,
reference-yaml-endpoint-online of Azure ML's documentation; the routes are those of the examples in
https://github.com/Azure/azureml-examples/tree/main/cli/endpoints/online/custom-container/minimal.
"""

from __future__ import annotations

import os
from typing import Any

from bundler.deploy import bases, limits, render, start_script
from bundler.deploy.platform import Plan, PlanRequest
from bundler.system.writing import File

SUMMARY = "Azure ML, CLI and SDK v2: environment.yml, endpoint.yml, deployment.yml"
TAKES = frozenset({"code", "entry", "model", "base", "variables"})
_SCHEMAS = "https://azuremlschemas.azureedge.net/latest"
DEPLOYMENT = "blue"
INSTANCE = "Standard_DS3_v2"


def plan(request: PlanRequest) -> Plan:
    """Return the files to write; the code folder with the bundle in it is uploaded from where it is.

    :raises InputError: the bundle is not beside the scoring script, or no image is named.
    """
    start_script.check_code(request)
    base = bases.require(request.base, minor=request.minor)
    variables = start_script.uploaded(request, base)
    return Plan(
        files=(
            File(
                path="environment.yml",
                text=_text(_environment(request, base.reference)),
            ),
            File(path="endpoint.yml", text=_text(_endpoint(request))),
            File(path="deployment.yml", text=_text(_deployment(request, variables))),
        ),
        variables=variables,
        commands=(
            "az ml environment create -f environment.yml",
            "az ml online-endpoint create -f endpoint.yml",
            "az ml online-deployment create -f deployment.yml --all-traffic",
        ),
        findings=limits.glibc(request, has=base.glibc, platform=base.reference),
        notes=(
            *start_script.notes(request, base),
            "with a managed virtual network leave egress_public_network_access out: it is not used there",
        ),
    )


def _text(document: dict[str, Any]) -> str:
    return render.as_yaml(document, comment=render.COMMENT)


def _environment(request: PlanRequest, image: str) -> dict[str, Any]:
    return {
        "$schema": f"{_SCHEMAS}/environment.schema.json",
        "name": request.name,
        "image": image,
        "os_type": "linux",
        "inference_config": {
            "liveness_route": {"path": "/", "port": bases.PORT},
            "readiness_route": {"path": "/", "port": bases.PORT},
            "scoring_route": {"path": "/score", "port": bases.PORT},
        },
    }


def _endpoint(request: PlanRequest) -> dict[str, Any]:
    return {
        "$schema": f"{_SCHEMAS}/managedOnlineEndpoint.schema.json",
        "name": request.name,
        "auth_mode": "key",
    }


def _deployment(request: PlanRequest, variables: dict[str, str]) -> dict[str, Any]:
    model = {"model": {"path": os.path.relpath(request.model, request.output)}} if request.model else {}
    return {
        "$schema": f"{_SCHEMAS}/managedOnlineDeployment.schema.json",
        "name": DEPLOYMENT,
        "endpoint_name": request.name,
        **model,
        "environment": f"azureml:{request.name}@latest",
        "code_configuration": {
            "code": os.path.relpath(request.source, request.output),
            "scoring_script": request.entry,
        },
        "environment_variables": variables,
        "instance_type": INSTANCE,
        "instance_count": 1,
        "egress_public_network_access": "disabled",
    }
