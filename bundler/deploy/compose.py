"""Compose: a service that mounts the bundle read-only (https://github.com/compose-spec/compose-spec/blob/main/spec.md)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from bundler.deploy import bases, docker, limits, render
from bundler.deploy.order import Order, Plan
from bundler.system.writing import File

if TYPE_CHECKING:
    from pathlib import Path

SUMMARY = "Compose: compose.yaml with the bundle mounted read-only"
TAKES = frozenset({"code", "entry", "model", "base", "variables"})


def plan(order: Order) -> Plan:
    """Say what to write; bundle, code and model are mounted from where they are.

    :raises InputError: no image is named, or a path or name breaks its rules.
    """
    base = docker.require_base(order)
    places = docker.layout(order, base)
    volumes = [_bind(order, order.bundle, places.bundle)]
    if order.code is not None and places.code is not None:
        # The bundle lies in it.
        volumes = [_bind(order, order.code, places.code)]
    if order.model is not None and places.model is not None:
        volumes.append(_bind(order, order.model, places.model))
    service: dict[str, Any] = {
        "image": base.reference,
        "environment": {name: render.for_compose(value) for name, value in places.variables.items()},
        "volumes": volumes,
    }
    if base.azureml:
        service["ports"] = [{"target": bases.PORT, "published": str(docker.LOCAL_PORT)}]
    text = render.as_yaml(
        {"name": order.name, "services": {order.name: service}},
        comment=render.COMMENT,
    )
    return Plan(
        files=(File(path="compose.yaml", text=text),),
        variables=places.variables,
        commands=("docker compose up",),
        findings=limits.glibc(order, has=base.glibc, platform=base.reference),
        notes=bases.notes(order, base) if order.code else (),
    )


def _bind(order: Order, source: Path, target: str) -> dict[str, Any]:
    # Relative to the file, and with a dot: otherwise it would be the name of a volume.
    relative = os.path.relpath(source, order.output)
    return {
        "type": "bind",
        "source": render.for_compose(relative if relative.startswith("..") else f"./{relative}"),
        "target": target,
        "read_only": True,
        "bind": {"create_host_path": False},
    }
