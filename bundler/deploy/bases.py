"""What is known of a base image by its name: the rules of Azure ML's prebuilt inference images.

Sources: https://learn.microsoft.com/azure/machine-learning/concept-prebuilt-docker-images-inference (names),
https://github.com/Azure/azureml-assets/tree/main/assets/inference/environments (curated ones),
https://github.com/mayeut/pep600_compliance (glibc of a distribution), how-to-extend-prebuilt-docker-image-inference
of the same documentation (user, folders, command). A name proves nothing: the built Dockerfile runs the verifier.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.errors import InputError

if TYPE_CHECKING:
    from bundler.deploy.plan import Order

_PART = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?P<name>(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
"""https://github.com/distribution/reference/blob/main/reference.go; no user or password can stand in one."""
_AZUREML = re.compile(r"(?:^|/)azureml/(?P<curated>curated/)?(?P<image>[^/]*-inference)$")
"""In Microsoft's registry, or mirrored under the same path in one's own."""
_PYTHON = re.compile(r"-py(?P<major>3)(?P<minor>[0-9]{1,2})(?:-|$)")
GLIBC = {"ubuntu18.04": (2, 27), "ubuntu20.04": (2, 31), "ubuntu22.04": (2, 35), "ubuntu24.04": (2, 39)}
REGISTRY = "mcr.microsoft.com/azureml"
DEFAULTS = {
    "3.7": f"{REGISTRY}/minimal-ubuntu18.04-py37-cpu-inference:latest",
    "3.8": f"{REGISTRY}/minimal-ubuntu20.04-py38-cpu-inference:latest",
    "3.9": f"{REGISTRY}/minimal-ubuntu22.04-py39-cpu-inference:latest",
    "3.12": f"{REGISTRY}/minimal-py312-inference:latest",
}
"""Per Python, the image without a framework that is, or was last, in the list."""
CUT_OUT = re.compile(
    r"curated/minimal-(ubuntu20\.04-py39-cpu|py311|py312-cuda1[12]\.\d|ubuntu22\.04-py311-[a-z]+)-inference$"
)
"""Their Dockerfiles cut the lines that read the variables out of the start script (`sed -i '66,148d'`)."""
APP_ROOT = "/var/azureml-app"
PORT = 5001
"""Of scoring, liveness and readiness, in every prebuilt image."""
USER = "dockeruser"


@dataclass(frozen=True, kw_only=True)
class Base:
    """A base image."""

    reference: str
    azureml: bool
    """It is a prebuilt inference image, and runs by their rules."""
    python: str
    """The interpreter in it."""
    minor: str | None
    """`3.8`, as the name says it."""
    glibc: tuple[int, int] | None
    """By the distribution in the name; `None`: unknown."""
    ignores_variables: bool
    """Its start script does not read AZUREML_EXTRA_*."""


def parse(reference: str) -> Base:
    """Read the name of an image.

    :raises InputError: it is no name of an image; one with a user and password is none.
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None or len(reference) > 400:
        raise InputError(
            f"{reference.rpartition('@')[2][:120]!r} is no name of an image",
            hint="write registry/path/name:tag, without a user and password: `docker login` keeps these",
        )
    azureml = _AZUREML.search(found["name"])
    image = azureml["image"] if azureml else ""
    python = _PYTHON.search(image.removesuffix("inference"))
    curated = bool(azureml and azureml["curated"])
    folder = "/azureml-envs/minimal" if curated else "/opt/miniconda/envs/amlenv"
    return Base(
        reference=reference,
        azureml=azureml is not None,
        python=f"{folder}/bin/python" if azureml else "python3",
        minor=f"{python['major']}.{python['minor']}" if python else None,
        glibc=next((glibc for name, glibc in GLIBC.items() if f"-{name}-" in image), None),
        ignores_variables=CUT_OUT.search(found["name"]) is not None,
    )


def default(minor: str) -> Base | None:
    """The prebuilt image without a framework for a Python; `None` where there was never one."""
    return parse(DEFAULTS[minor]) if minor in DEFAULTS else None


def for_order(order: Order) -> Base:
    """The image that the caller named, or else the prebuilt one for the bundle's Python.

    :raises InputError: there is none, or its name says another Python.
    """
    base = order.base or default(order.minor)
    if base is None:
        raise InputError(
            f"no prebuilt inference image has Python {order.minor}", hint="name the image with --base"
        )
    if base.minor not in {None, order.minor}:
        raise InputError(
            f"{base.reference} has Python {base.minor}, and the bundle is for {order.minor}",
            hint="create the bundle for the image's Python, or name another image",
        )
    return base


def notes(order: Order, base: Base) -> tuple[str, ...]:
    """What one should know of an image."""
    found = []
    if order.base is None:
        found.append(f"no --base: {base.reference}, the prebuilt image of Python {order.minor}; pin its tag")
    if base.ignores_variables:
        found.append(
            f"the start script of {base.reference} does not read AZUREML_EXTRA_PYTHON_LIB_PATH: "
            "PYTHONPATH alone puts the bundle on the path"
        )
    if (order.source / order.entry).with_name("requirements.txt").is_file():
        found.append("requirements.txt beside the scoring script is not installed: the mount wins")
    return tuple(found)
