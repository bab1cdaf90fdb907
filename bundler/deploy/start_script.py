"""The rules of Azure ML's start script for names, variables and paths; each has its message.

Source: how-to-prebuilt-docker-images-inference-python-extensibility of Azure ML's documentation, and the
start script itself (`/var/runit/gunicorn/run`), of which a public copy stands in
https://github.com/Azure/azureml-assets, assets/training/model_management/environments/mlflow-model-inference.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from bundler.deploy.bases import APP_ROOT, MOUNT, Base
from bundler.deploy.platform import PlanRequest
from bundler.errors import InputError
from bundler.system import redact

NAME = re.compile(r"[a-z](?:-?[a-z0-9]){2,31}")
"""What an endpoint of Azure ML, a Kubernetes object and a compose service may all be called."""
FOLDER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")
"""Names of folders that become part of a path in the image, and so of PYTHONPATH, where `:` separates."""
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
REQUIREMENTS = "AZUREML_EXTRA_REQUIREMENTS_TXT"
_SECRET = re.compile(
    r"PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|(ACCESS|ACCOUNT|API|PRIVATE)_?KEY", re.IGNORECASE
)
_OURS = (
    "PYTHONPATH",
    "AZUREML_ENTRY_SCRIPT",
    "AZUREML_MODEL_DIR",
    "AZUREML_SOURCE_DIRECTORY",
    "AML_APP_ROOT",
)


def default_name(bundle: Path) -> str:
    """Return a name for the object on the platform, after the bundle's folder."""
    plain = re.sub(r"[^a-z0-9]+", "-", bundle.name.lower()).strip("-")[:32].rstrip("-")
    return plain if NAME.fullmatch(plain) else f"envbundle-{plain}"[:32].rstrip("-")


def check_name(name: str) -> None:
    """Check the name of the object on the platform.

    :raises InputError: a platform would refuse it.
    """
    if not (NAME.fullmatch(name) and len(name) <= 32):
        raise InputError(
            f"--name {name!r}: not a name that every platform takes",
            hint="3 to 32 lower-case letters, digits and single hyphens, a letter first",
        )


def variables(given: Sequence[str]) -> dict[str, str]:
    """Read the caller's `NAME=VALUE`, and refuse what breaks the mount or discloses a secret.

    :raises InputError: names the variable and the rule.
    """
    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not (equals and VARIABLE.fullmatch(name)):
            raise InputError(
                f"--env {name[:80]!r}: not of the form NAME=VALUE", hint="write --env LOG_LEVEL=info"
            )
        if not value.isprintable():
            raise InputError(
                f"--env {name}: a line end or control character", hint="one line of text, please"
            )
        problem = _problem(name, value)
        if problem:
            raise InputError(f"--env {name}: {problem[0]}", hint=problem[1])
        found[name] = value
    return found


def _problem(name: str, value: str) -> tuple[str, str] | None:
    """Return what is wrong with a variable and what to do instead; `None`: nothing is wrong."""
    if _SECRET.search(name) or ("://" in value and redact.has_credentials(value)):
        return (
            "a secret does not belong in a file that is written and uploaded",
            "give it to the platform's secret store (Azure ML: a workspace connection or Key Vault)",
        )
    if name == MOUNT and value.startswith("/"):
        return (
            "it is joined to the scoring script's folder even if absolute; the container ends (exit code 97)",
            "leave it out: deploy sets it, relative to the scoring script",
        )
    if name in {MOUNT, *_OURS}:
        return "deploy sets it, or the platform does", "leave it out"
    if name == REQUIREMENTS:
        return (
            f"the mount wins: where {MOUNT} is set, the start script never reads the requirements file",
            "leave it out; for the dynamic installation instead use --to wheelhouse",
        )
    if name.replace("REQUIREMENTS", "REQUIRMENTS") == name and "AZUREML_EXTRA_REQUIR" in name:
        return (
            f"misspelt, as the documentation's prose has it; the script reads {REQUIREMENTS}",
            "leave it out",
        )
    if name.startswith(("AZUREML_EXTRA_CONDA", "CONDA_")) or name in {"PYTHONHOME", "VIRTUAL_ENV"}:
        return (
            "a mount and another environment do not go together: the mount wins, conda is not asked",
            "leave it out; what the service needs is in the bundle",
        )
    return None


def check_placement(request: PlanRequest) -> None:
    """Check where bundle, code, model and output lie.

    :raises InputError: a folder is missing, bundle and model lie in one another, or the output lies in one of
        the three.
    """
    if request.model is not None:
        if not request.model.is_dir():
            raise InputError(f"{request.model} is not a folder", hint="--model names the folder of the model")
        if request.bundle.is_relative_to(request.model):
            raise InputError(
                f"the bundle lies in the model's folder {request.model}",
                hint="put it beside the scoring script: a registered model must not contain it",
            )
        if request.model.is_relative_to(request.bundle):
            raise InputError(
                f"the model's folder lies in the bundle {request.bundle}", hint="move it out of it"
            )
    if request.code is not None and not request.code.is_dir():
        raise InputError(f"{request.code} is not a folder", hint="--code names the folder of the service")
    for folder, what in (
        (request.bundle, "the bundle"),
        (request.model, "the model's folder"),
        (request.code, "the code folder"),
    ):
        if folder is not None and request.output.is_relative_to(folder):
            raise InputError(f"-o {request.output} lies in {what}", hint="choose a folder outside of it")


def check_code(request: PlanRequest) -> None:
    """Check the code folder: it has the scoring script, and the bundle beside or below that.

    :raises InputError: says what is missing, or where the bundle has to be.
    """
    folder, script = request.source, request.source / request.entry
    problem = _path_problem(request.entry)
    if problem:
        raise InputError(f"--entry {request.entry!r} {problem}", hint="a path relative to the code folder")
    if not script.is_file():
        raise InputError(
            f"{script} does not exist",
            hint="name the code folder with --code, and the scoring script with --entry",
        )
    if request.output.is_relative_to(folder):
        raise InputError(
            f"-o {request.output} lies in the code folder {folder}, and would be uploaded with it",
            hint="choose a folder outside of it",
        )
    if not request.bundle.is_relative_to(script.parent):
        raise InputError(
            f"the bundle is not below the scoring script's folder {script.parent}",
            hint=f"{MOUNT} is relative to that folder: put the bundle there; "
            "--to docker without --code copies it",
        )
    image_path(folder.name, *request.bundle.relative_to(folder).parts)


def _path_problem(path: str) -> str:
    parts = path.split("/")
    if path.startswith("/") or any(part in ("", ".", "..") for part in parts):
        return "leaves the code folder or is not normal"
    if not all(FOLDER.fullmatch(part) for part in parts):
        return "has characters that an image's path cannot take safely"
    return ""


def image_path(*names: str) -> str:
    """Join names of folders to a path in the image.

    :raises InputError: a name would break PYTHONPATH, a shell or a Dockerfile.
    """
    for name in names:
        if not FOLDER.fullmatch(name):
            raise InputError(
                f"the folder's name {name!r} becomes part of a path in the image, and cannot",
                hint="rename it: letters, digits and . _ + - only",
            )
    return posixpath.join(*names)


def mounted(request: PlanRequest, *, root: str) -> Mapping[str, str]:
    """Return the two variables for a bundle in the code folder.

    :param root: the folder in the image into which Azure ML puts the code folder.
    :returns: the relative path for the start script, and PYTHONPATH for images that do not read it.
    """
    relative = request.bundle.relative_to((request.source / request.entry).parent)
    inside = request.bundle.relative_to(request.source)
    return {
        MOUNT: posixpath.join(relative.as_posix(), request.site_packages),
        "PYTHONPATH": posixpath.join(root, request.source.name, inside.as_posix(), request.site_packages),
    }


def uploaded(request: PlanRequest, base: Base) -> dict[str, str]:
    """Return the variables of a service whose code folder Azure ML uploads.

    If the image's start script looks for the code in another folder, the relative path is left out: the
    container ends where the path leads to no folder.
    """
    variables = dict(mounted(request, root=APP_ROOT))
    if base.azureml and base.app_root != APP_ROOT:
        del variables[MOUNT]
    return {**variables, **request.variables}


def notes(request: PlanRequest, base: Base) -> tuple[str, ...]:
    """Return what the caller should know of the base image."""
    found = []
    if request.base is None:
        found.append(
            f"no --base: {base.reference}, the prebuilt image of Python {request.minor}; pin its tag"
        )
    if base.profile and base.profile.honours_variables == "no":
        found.append(f"the start script of {base.reference} does not read {MOUNT}: PYTHONPATH alone counts")
    if base.azureml and base.app_root != APP_ROOT:
        found.append(
            f"the start script of {base.reference} looks below {base.app_root}, and the code folder lands in "
            f"{APP_ROOT}: PYTHONPATH alone is set"
        )
    if (request.source / request.entry).with_name("requirements.txt").is_file():
        found.append("requirements.txt beside the scoring script is not installed: the mount wins")
    return tuple(found)
