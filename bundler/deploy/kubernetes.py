"""Kubernetes: three ways to bring the bundle to a container, each a Deployment of its own.

Image volumes: https://kubernetes.io/docs/tasks/configure-pod-container/image-volumes (on by default from
1.35, a feature gate from 1.31). Azure ML's own Kubernetes endpoints mount no claims.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from bundler.deploy import bases, docker, limits, render, trust
from bundler.deploy.bases import Base
from bundler.deploy.platform import Plan, PlanRequest
from bundler.deploy.trust import Trust
from bundler.errors import InputError
from bundler.system.writing import File

if TYPE_CHECKING:
    from bundler.deploy.docker import ImagePaths

SUMMARY = "Kubernetes: image-volume.yaml, claim.yaml and init-container.yaml, one of them to choose"
TAKES = frozenset({"base", "python", "variables", "bundle_image", "trust"})
VOLUME = "bundle"
COPY_FROM = "/bundle"
MIB = 1 << 20
SPARE = 1.25
"""Factor for the size of a claim or an emptyDir: file systems take some of it."""


def plan(request: PlanRequest) -> Plan:
    """Return the files to write.

    :raises InputError: no image is named, or the name of the carrier has a tag.
    """
    base = docker.require_base(request)
    docker.require_use_of_python(request)
    paths = docker.paths_in_image(request, base)
    repository = bases.check_reference(request.bundle_image or request.name, tagged=False)
    digest = request.manifest.digest[:12]
    carrier, copier = f"{repository}:bundle-{digest}", f"{repository}:copy-{digest}"
    context = render.shell([os.path.relpath(request.bundle, request.output)])
    return Plan(
        files=(
            File(path="image-volume.yaml", text=_image_volume(request, base, paths, carrier)),
            File(path="claim.yaml", text=_claim(request, base, paths)),
            File(path="init-container.yaml", text=_init_container(request, base, paths, copier)),
            File(path="Dockerfile.image-volume", text=_carrier("scratch", "/")),
            File(path="Dockerfile.init-container", text=_carrier(base.reference, f"{COPY_FROM}/")),
        ),
        variables=paths.variables,
        commands=(
            f"docker build -f Dockerfile.image-volume -t {carrier} {context}",
            f"docker push {carrier}",
            "kubectl apply -f image-volume.yaml",
        ),
        findings=limits.glibc(request, has=base.glibc, platform=base.reference),
        notes=(
            "image-volume.yaml needs Kubernetes 1.35, or 1.31 and later with the feature gate ImageVolume",
            f"init-container.yaml works everywhere; it needs {copier}, built of Dockerfile.init-container",
            "claim.yaml: fill the claim once, with `kubectl cp` from a pod that mounts it writable",
            "Azure ML's own Kubernetes endpoints mount no claims: bring the bundle in the code or the image",
        ),
    )


def _carrier(base: str, place: str) -> str:
    return render.dockerfile(
        [f"# {render.COMMENT} The context is the bundle.", f"FROM {base}", f'COPY [".", "{place}"]']
    )


def _image_volume(request: PlanRequest, base: Base, paths: ImagePaths, carrier: str) -> str:
    volume = {"name": VOLUME, "image": {"reference": carrier, "pullPolicy": "IfNotPresent"}}
    return render.as_yaml(*_keys(request), _deployment(request, base, paths, volume), comment=render.COMMENT)


def _claim(request: PlanRequest, base: Base, paths: ImagePaths) -> str:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": request.name, "labels": _labels(request)},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": _room(request)}}},
    }
    volume = {"name": VOLUME, "persistentVolumeClaim": {"claimName": request.name, "readOnly": True}}
    return render.as_yaml(
        claim, *_keys(request), _deployment(request, base, paths, volume), comment=render.COMMENT
    )


def _init_container(request: PlanRequest, base: Base, paths: ImagePaths, copier: str) -> str:
    copy = {
        "name": "copy-bundle",
        "image": copier,
        "command": ["cp", "-R", f"{COPY_FROM}/.", f"{paths.bundle}/"],
        "volumeMounts": [{"name": VOLUME, "mountPath": paths.bundle}],
    }
    volume = {"name": VOLUME, "emptyDir": {"sizeLimit": _room(request)}}
    deployment = _deployment(request, base, paths, volume)
    template = deployment["spec"]["template"]
    others = template["spec"].get("initContainers", [])
    template["spec"] = {**template["spec"], "initContainers": [copy, *others]}
    return render.as_yaml(*_keys(request), deployment, comment=render.COMMENT)


def _keys(request: PlanRequest) -> list[dict[str, Any]]:
    """Return the ConfigMap with verifier, keys and signature; nothing where nobody asked for them."""
    if request.trust is None:
        return []
    # No key of a ConfigMap has a slash: `_verifier` gives each its path.
    data = {path.replace("/", "."): text for path, text in sorted(request.trust.texts.items())}
    if sum(len(text.encode()) for text in data.values()) > MIB:
        raise InputError(
            "verifier, keys and signature are larger than the 1 MiB of a ConfigMap",
            hint="shorten the file of --verify-with: a line for each key that may sign",
        )
    keys = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{request.name}-trust", "labels": _labels(request)},
        "immutable": True,
        "data": data,
    }
    return [keys]


def _verifier(
    request: PlanRequest, verified: Trust, base: Base, paths: ImagePaths
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the container that verifies the bundle before the others start, and the volume of its keys."""
    container = {
        "name": "verify-bundle",
        "image": base.reference,
        "command": [render.for_kubernetes(word) for word in docker.verification(request, base, paths)],
        "volumeMounts": [
            {"name": VOLUME, "mountPath": paths.bundle, "readOnly": True},
            {"name": trust.FOLDER, "mountPath": trust.ROOT, "readOnly": True},
        ],
    }
    items = [{"key": path.replace("/", "."), "path": path} for path in sorted(verified.texts)]
    volume = {"name": trust.FOLDER, "configMap": {"name": f"{request.name}-trust", "items": items}}
    return container, volume


def _room(request: PlanRequest) -> str:
    """Return the space that the bundle needs, as a quantity of Kubernetes."""
    size = sum(file.size for file in (*request.manifest.files, *request.manifest.documents))
    return f"{max(64, int(size * SPARE / MIB) + 1)}Mi"


def _labels(request: PlanRequest) -> dict[str, str]:
    return {"app.kubernetes.io/name": request.name, "app.kubernetes.io/managed-by": "envbundle"}


def _deployment(
    request: PlanRequest, base: Base, paths: ImagePaths, volume: dict[str, Any]
) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": request.name,
        "image": base.reference,
        "env": [
            {"name": name, "value": render.for_kubernetes(value)} for name, value in paths.variables.items()
        ],
        "volumeMounts": [{"name": VOLUME, "mountPath": paths.bundle, "readOnly": True}],
    }
    if base.azureml:
        probe = {"httpGet": {"path": "/", "port": bases.PORT}, "initialDelaySeconds": 10}
        container |= {
            "ports": [{"containerPort": bases.PORT}],
            "readinessProbe": {**probe, "failureThreshold": 30},
            "livenessProbe": {**probe, "failureThreshold": 30},
        }
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [volume],
    }
    if request.trust is not None:
        verifier, keys = _verifier(request, request.trust, base, paths)
        pod = {"initContainers": [verifier], **pod, "volumes": [volume, keys]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": request.name, "labels": _labels(request)},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app.kubernetes.io/name": request.name}},
            "template": {
                "metadata": {"labels": _labels(request)},
                "spec": pod,
            },
        },
    }
