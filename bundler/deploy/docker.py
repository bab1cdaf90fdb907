"""Docker: a build context that needs no network, and a script that mounts the bundle without a build.

Rules of the prebuilt inference images (folders, user, variables, command): Azure ML's documentation,
how-to-extend-prebuilt-docker-image-inference. The verifier runs while the image is built, with the image's
Python, as its user.
"""

from __future__ import annotations

import posixpath

from bundler.deploy import bases, copies, limits, render, start_script, trust
from bundler.deploy.bases import Base
from bundler.deploy.platform import Plan, PlanRequest
from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.system.writing import File

SUMMARY = "Docker: a context to build from without a network, and run.sh, which mounts instead"
TAKES = frozenset({"code", "entry", "model", "base", "python", "variables", "trust"})
PLAIN_ROOT = "/opt/envbundle"
"""The folder of the bundle in an image other than Azure ML's."""
CODE_ROOT = "/srv"
LOCAL_PORT = 6789
"""The port on the caller's machine, as in Azure ML's documentation."""


@dataclass(frozen=True, kw_only=True)
class ImagePaths:
    """Folders in the image, and the variables that name them."""

    bundle: str
    variables: dict[str, str]
    code: str | None = None
    model: str | None = None


def require_base(request: PlanRequest) -> Base:
    """Return the image that the caller named.

    :raises InputError: none is named, or it is for another Python.
    """
    if request.base is None:
        raise InputError("no base image is named", hint="add --base IMAGE")
    return bases.require(request.base, minor=request.minor)


def require_use_of_python(request: PlanRequest) -> None:
    """Refuse --image-python where the image's interpreter is asked for nothing.

    :raises InputError: there is no --verify-with.
    """
    if request.python is not None and request.trust is None:
        raise InputError("--image-python says nothing here without --verify-with", hint="leave it out")


def paths_in_image(request: PlanRequest, base: Base) -> ImagePaths:
    """Return the paths in the image: by the rules of the prebuilt images, or below `/opt` and `/srv`.

    :raises InputError: the bundle is not below the scoring script's folder, or a name cannot be in a path.
    """
    if request.code is None:
        bundle = f"{PLAIN_ROOT}/{start_script.image_path(request.bundle.name)}"
        variables = {"PYTHONPATH": f"{bundle}/{request.site_packages}"}
        code = None
    else:
        start_script.check_code(request)
        root = base.app_root if base.azureml else CODE_ROOT
        code = posixpath.join(root, request.code.name)
        bundle = posixpath.join(code, request.bundle.relative_to(request.code).as_posix())
        variables = dict(start_script.mounted(request, root=root))
        if base.azureml:
            variables["AZUREML_ENTRY_SCRIPT"] = posixpath.join(request.code.name, request.entry)
        else:
            del variables[bases.MOUNT]
    model = None
    if request.model is not None:
        name = start_script.image_path(request.model.name)
        model = f"{base.app_root if base.azureml else CODE_ROOT}/azureml-models/{name}/1"
        variables["AZUREML_MODEL_DIR"] = model
    return ImagePaths(bundle=bundle, code=code, model=model, variables={**variables, **request.variables})


def plan(request: PlanRequest) -> Plan:
    """Return the files to write: Dockerfile, copies of bundle, code and model, and run.sh.

    :raises InputError: no image is named, or a path or name breaks its rules.
    """
    base = require_base(request)
    paths = paths_in_image(request, base)
    files = [*copies.bundle(request, "bundle"), *(request.trust.files() if request.trust else ())]
    if request.code is not None:
        files += copies.folder(request.code, "code", without=request.bundle)
    if request.model is not None:
        files += copies.folder(request.model, "model")
    return Plan(
        files=(
            File(path="Dockerfile", text=_dockerfile(request, base, paths)),
            File(path="run.sh", text=_run(request, base, paths), executable=True),
            *files,
        ),
        folders=("bundle", "code", "model", trust.FOLDER),
        variables=paths.variables,
        commands=(
            render.shell(["docker", "build", "--network", "none", "-t", request.name, "."]),
            render.shell(["docker", "run", "--rm", *_port(base), request.name]),
            "./run.sh",
        ),
        findings=limits.glibc(request, has=base.glibc, platform=base.reference),
        notes=start_script.notes(request, base) if request.code else (),
    )


def _dockerfile(request: PlanRequest, base: Base, paths: ImagePaths) -> str:
    sources = [("bundle/", paths.bundle)]
    sources += [("model/", paths.model)] if paths.model else []
    sources += [("code/", paths.code)] if paths.code else []
    sources += [(f"{trust.FOLDER}/", trust.ROOT)] if request.trust else []
    lines = [
        "# Written by envbundle deploy; needs no network to build.",
        f"FROM {base.reference}",
        *(render.words("COPY", source, f"{place}/") for source, place in sources),
        *([f"USER {base.user}"] if base.azureml and base.user else []),
        "# Every file, every import, in this image, with its own Python: what does not fit, fails here.",
        render.words("RUN", *verification(request, base, paths)),
        *(render.env(name, value) for name, value in paths.variables.items()),
    ]
    if base.azureml:
        lines += [f"EXPOSE {bases.PORT}", render.words("CMD", "runsvdir", "/var/runit")]
    return render.dockerfile(lines)


def _port(base: Base) -> list[str]:
    return ["-p", f"{LOCAL_PORT}:{bases.PORT}"] if base.azureml else []


def verification(request: PlanRequest, base: Base, paths: ImagePaths) -> list[str]:
    """Return the command that verifies the bundle in the image, and its signature where that is asked for."""
    python = request.python or base.python
    if request.trust is None:
        return [python, "-I", f"{paths.bundle}/verify.py"]
    return request.trust.argv(python, paths.bundle)


def _verified(request: PlanRequest, base: Base, paths: ImagePaths) -> str:
    """Write the line of run.sh that verifies the bundle first; empty where nobody asked for it."""
    if request.trust is None:
        return ""
    python, *words = verification(request, base, paths)
    argv = ["docker", "run", "--rm", "--network", "none", "--entrypoint", python]
    for source, place in (("bundle", paths.bundle), (trust.FOLDER, trust.ROOT)):
        argv += ["-v", f"$PWD/{source}:{place}:ro"]
    return f"{render.shell([*argv, base.reference, *words])}\n"


def _run(request: PlanRequest, base: Base, paths: ImagePaths) -> str:
    """Write the script that runs the base image with everything mounted read-only."""
    inside = paths.code and posixpath.relpath(paths.bundle, paths.code)
    # The mount point of the bundle must exist: the engine cannot make it in a read-only mount.
    place_for = f"mkdir -p {render.shell([f'code/{inside}'])}\n" if inside else ""
    mounts = [(name, place) for name, place in (("code", paths.code), ("model", paths.model)) if place]
    # The bundle is last, for it lies below the code.
    mounts += [("bundle", paths.bundle)]
    argv = ["docker", "run", "--rm", *_port(base)]
    for source, place in mounts:
        argv += ["-v", f"$PWD/{source}:{place}:ro"]
    for name, value in paths.variables.items():
        argv += ["-e", f"{name}={value}"]
    return (
        "#!/bin/sh\n# Written by envbundle deploy: the base image as it is, the bundle mounted read-only.\n"
        f'set -eu\ncd -- "$(dirname -- "$0")"\n{place_for}'
        f'{_verified(request, base, paths)}exec {render.shell([*argv, base.reference])} "$@"\n'
    )
