"""Docker: a build context that needs no network, and the command that mounts the bundle without a build.

Rules of the prebuilt inference images (folders, user, variables, command): Azure ML's documentation,
how-to-extend-prebuilt-docker-image-inference. The built image proves itself: the verifier runs in it, with
its own Python, as its own user.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.deploy import bases, limits, render, start_script
from bundler.deploy import copies as contents
from bundler.deploy.order import Order, Plan
from bundler.errors import InputError
from bundler.system.writing import File

if TYPE_CHECKING:
    from bundler.deploy.bases import Base

SUMMARY = "Docker: a context to build from without a network, and run.sh, which mounts instead"
TAKES = frozenset({"code", "entry", "model", "base", "python", "variables"})
PLAIN_ROOT = "/opt/envbundle"
"""Where the bundle lies in an image that has no rules of its own."""
CODE_ROOT = "/srv"
LOCAL_PORT = 6789
"""On the machine where it is tried, as in Azure ML's documentation."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where things lie in the image, and the variables that say so."""

    bundle: str
    variables: dict[str, str]
    code: str | None = None
    model: str | None = None


def require_base(order: Order) -> Base:
    """The image that the caller named.

    :raises InputError: none is named, or it is for another Python.
    """
    if order.base is None:
        raise InputError("no base image is named", hint="add --base IMAGE")
    return bases.for_order(order)


def layout(order: Order, base: Base) -> Layout:
    """Lay an image out: by the rules of the prebuilt images, or in folders of our own.

    :raises InputError: the bundle is not where the rules want it, or a name cannot be in a path.
    """
    if order.code is None:
        bundle = f"{PLAIN_ROOT}/{start_script.image_path(order.bundle.name)}"
        variables = {"PYTHONPATH": f"{bundle}/{order.site_packages}"}
        code = None
    else:
        start_script.code(order)
        root = base.app_root if base.azureml else CODE_ROOT
        code = posixpath.join(root, order.code.name)
        bundle = posixpath.join(code, order.bundle.relative_to(order.code).as_posix())
        variables = dict(start_script.mounted(order, root=root))
        if base.azureml:
            variables["AZUREML_ENTRY_SCRIPT"] = posixpath.join(order.code.name, order.entry)
        else:
            del variables[bases.MOUNT]
    model = None
    if order.model is not None:
        name = start_script.image_path(order.model.name)
        model = f"{base.app_root if base.azureml else CODE_ROOT}/azureml-models/{name}/1"
        variables["AZUREML_MODEL_DIR"] = model
    return Layout(bundle=bundle, code=code, model=model, variables={**variables, **order.variables})


def plan(order: Order) -> Plan:
    """Say what to write: Dockerfile, copies of bundle, code and model, and run.sh.

    :raises InputError: no image is named, or a path or name breaks its rules.
    """
    base = require_base(order)
    places = layout(order, base)
    files = [*contents.bundle(order, "bundle")]
    if order.code is not None:
        files += contents.folder(order.code, "code", without=order.bundle)
    if order.model is not None:
        files += contents.folder(order.model, "model")
    return Plan(
        files=(
            File(path="Dockerfile", text=_dockerfile(order, base, places)),
            File(path="run.sh", text=_run(base, places), executable=True),
            *files,
        ),
        folders=("bundle", "code", "model"),
        variables=places.variables,
        commands=(
            render.shell(["docker", "build", "--network", "none", "-t", order.name, "."]),
            render.shell(["docker", "run", "--rm", *_port(base), order.name]),
            "./run.sh",
        ),
        findings=limits.glibc(order, has=base.glibc, platform=base.reference),
        notes=bases.notes(order, base) if order.code else (),
    )


def _dockerfile(order: Order, base: Base, places: Layout) -> str:
    copies = [("bundle/", places.bundle)]
    copies += [("model/", places.model)] if places.model else []
    copies += [("code/", places.code)] if places.code else []
    python = order.python or base.python
    lines = [
        "# Written by envbundle deploy; needs no network to build.",
        f"FROM {base.reference}",
        *(render.words("COPY", source, f"{place}/") for source, place in copies),
        *([f"USER {base.user}"] if base.azureml and base.user else []),
        "# Every file, every import, in this image, with its own Python: what does not fit, fails here.",
        render.words("RUN", python, "-I", f"{places.bundle}/verify.py"),
        *(render.env(name, value) for name, value in places.variables.items()),
    ]
    if base.azureml:
        lines += [f"EXPOSE {bases.PORT}", render.words("CMD", "runsvdir", "/var/runit")]
    return render.dockerfile(lines)


def _port(base: Base) -> list[str]:
    return ["-p", f"{LOCAL_PORT}:{bases.PORT}"] if base.azureml else []


def _run(base: Base, places: Layout) -> str:
    """The base image as it is, with everything mounted read-only."""
    inside = places.code and posixpath.relpath(places.bundle, places.code)
    # In a folder that is mounted read-only nobody can make the place for another mount.
    place_for = f"mkdir -p {render.shell([f'code/{inside}'])}\n" if inside else ""
    mounts = [(name, place) for name, place in (("code", places.code), ("model", places.model)) if place]
    # The bundle comes last, since it lies below the code.
    mounts += [("bundle", places.bundle)]
    argv = ["docker", "run", "--rm", *_port(base)]
    for source, place in mounts:
        argv += ["-v", f"$PWD/{source}:{place}:ro"]
    for name, value in places.variables.items():
        argv += ["-e", f"{name}={value}"]
    return (
        "#!/bin/sh\n# Written by envbundle deploy: the base image as it is, the bundle mounted read-only.\n"
        f'set -eu\ncd -- "$(dirname -- "$0")"\n{place_for}exec {render.shell([*argv, base.reference])} "$@"\n'
    )
