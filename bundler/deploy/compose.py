"""Compose: a service that mounts the bundle read-only (https://github.com/compose-spec/compose-spec/blob/main/spec.md)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bundler.deploy import bases, docker, limits, render, start_script, trust
from bundler.deploy.bases import Base
from bundler.deploy.docker import ImagePaths
from bundler.deploy.platform import Plan, PlanRequest
from bundler.system.writing import File

SUMMARY = "Compose: compose.yaml with the bundle mounted read-only"
VERIFIER = "verify-bundle"
"""Name of the service that verifies it."""
TAKES = frozenset({"code", "entry", "model", "base", "python", "variables", "trust"})


def plan(request: PlanRequest) -> Plan:
    """Return the files to write; bundle, code and model are mounted from where they are.

    :raises InputError: no image is named, or a path or name breaks its rules.
    """
    base = docker.require_base(request)
    paths = docker.paths_in_image(request, base)
    volumes = [_bind(request, request.bundle, paths.bundle)]
    if request.code is not None and paths.code is not None:
        # The code folder holds the bundle: one mount brings both.
        volumes = [_bind(request, request.code, paths.code)]
    if request.model is not None and paths.model is not None:
        volumes.append(_bind(request, request.model, paths.model))
    service: dict[str, Any] = {
        "image": base.reference,
        "environment": {name: render.for_compose(value) for name, value in paths.variables.items()},
        "volumes": volumes,
    }
    if base.azureml:
        service["ports"] = [{"target": bases.PORT, "published": str(docker.LOCAL_PORT)}]
    services = {request.name: service}
    docker.require_use_of_python(request)
    if request.trust is not None:
        services[VERIFIER] = _verifier(request, base, paths)
        service["depends_on"] = {VERIFIER: {"condition": "service_completed_successfully"}}
    text = render.as_yaml(
        {"name": request.name, "services": services},
        comment=render.COMMENT,
    )
    return Plan(
        files=(File(path="compose.yaml", text=text), *(request.trust.files() if request.trust else ())),
        folders=(trust.FOLDER,) if request.trust else (),
        variables=paths.variables,
        commands=("docker compose up",),
        findings=limits.glibc(request, has=base.glibc, platform=base.reference),
        notes=start_script.notes(request, base) if request.code else (),
    )


def _verifier(request: PlanRequest, base: Base, paths: ImagePaths) -> dict[str, Any]:
    """Return the service that verifies the bundle, and ends."""
    python, *words = map(render.for_compose, docker.verification(request, base, paths))
    return {
        "image": base.reference,
        "entrypoint": [python],
        "command": words,
        "network_mode": "none",
        "volumes": [
            _bind(request, request.bundle, paths.bundle),
            _bind(request, request.output / trust.FOLDER, trust.ROOT),
        ],
    }


def _bind(request: PlanRequest, source: Path, target: str) -> dict[str, Any]:
    # A relative path must begin with a dot: otherwise compose takes it for the name of a volume.
    relative = os.path.relpath(source, request.output)
    return {
        "type": "bind",
        "source": render.for_compose(relative if relative.startswith("..") else f"./{relative}"),
        "target": target,
        "read_only": True,
        "bind": {"create_host_path": False},
    }
