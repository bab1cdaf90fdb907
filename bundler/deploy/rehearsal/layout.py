"""Where the code folder, the bundle, the model and the server's environment lie in a rehearsal.

Azure ML puts a code folder into /var/azureml-app itself (SDK v1, and a container that mounts it there) or
into a folder of its name below (v2), and a model into azureml-models/NAME/VERSION.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

from bundler.deploy.bases import APP_ROOT, MOUNT
from bundler.deploy.rehearsal.servers import CONDA, ServerEnvironment
from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.ontarget import isolate
from bundler.targets.image import Image

CodeLayout = Literal["v1", "v2"]
_KERNEL = ("/proc", "/dev", "/tmp", "/etc")  # noqa: S108 - of the new root
_OWN = frozenset({"PATH", "HOME", "HOSTNAME", "LD_LIBRARY_PATH", "PYTHONHOME", "AML_APP_ROOT"})
"""Variables of an image with paths in it that are others in the rehearsal."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A deployment to rehearse; its paths are absolute and exist."""

    bundle: Path
    site_packages: str
    """Relative to the bundle."""
    entry: Path
    code: Path
    """The folder that is uploaded; holds the entry script."""
    model: Path | None
    layout: CodeLayout
    lib_path: str | None
    """AZUREML_EXTRA_PYTHON_LIB_PATH; empty: not set; `None`: the path that leads to the bundle."""
    variables: Mapping[str, str]
    image: Image | None
    body: str | None
    """Of the request to `/score`; `None`: no request."""
    port: int
    timeout: float
    """Seconds until the server must be healthy, and again for the answer."""

    def job(self, entry: str, **settings: dict[str, Any]) -> str:
        """Return the job for `ontarget/run_service.py`.

        :param entry: AZUREML_ENTRY_SCRIPT.
        :param settings: the word that `run_service.py` gets as its argument → the settings that hold then.
        """
        return json.dumps(
            {
                "entry": entry,
                "settings": settings,
                "variables": dict(self.variables),
                "request": self.body,
                "port": self.port,
                "timeout": self.timeout,
            }
        )


def find(
    *, bundle: Path, entry: Path, code: Path | None, model: Path | None
) -> tuple[Path, Path, Path | None]:
    """Return the entry script, the code folder and the model, as absolute paths.

    :param entry: as given: a path, or relative to the code folder, or to the folder that holds the bundle.
    :raises InputError: one of them does not exist, or lies where Azure ML does not take it from.
    """
    candidates = [folder / entry for folder in (code, Path.cwd(), bundle.parent) if folder is not None]
    found = next((Path(os.path.abspath(path)) for path in candidates if path.is_file()), None)  # noqa: PTH100 - symlinks stay
    if found is None:
        looked = ", ".join(dict.fromkeys(str(path) for path in candidates))
        raise InputError(
            f"there is no entry script {entry}; looked at: {looked}", hint="name it with --entry"
        )
    folder = Path(os.path.abspath(code)) if code else found.parent  # noqa: PTH100 - symlinks stay
    if not found.is_relative_to(folder):
        raise InputError(
            f"{found} is not in the code folder {folder}",
            hint="Azure ML uploads that folder and nothing else",
        )
    if found.is_relative_to(bundle):
        raise InputError(f"{found} lies inside of the bundle", hint="put it beside the bundle")
    if model is None:
        return found, folder, None
    if not model.exists():
        raise InputError(f"there is no model {model}", hint="name its folder or file with --model")
    model = Path(os.path.abspath(model))  # noqa: PTH100 - symlinks stay
    if bundle.is_relative_to(model):
        raise InputError(
            f"the bundle lies inside of the model's folder {model}",
            hint="Azure ML registers the model alone: put the bundle beside the entry script",
        )
    return found, folder, model


@dataclass(frozen=True, kw_only=True)
class ContainerLayout:
    """A deployment's files in the container."""

    mounts: dict[str, Path]
    """Path in the container → the file or folder that is mounted there."""
    entry: str
    """AZUREML_ENTRY_SCRIPT."""
    conda: str
    """The folder of the image's environment."""
    settings: dict[str, Any]
    """For `ontarget/run_service.py`."""


def in_container(deployment: Deployment) -> ContainerLayout:
    """Lay out a deployment as the container sees it.

    :raises InputError: two files or folders would have the same path.
    """
    folders = _folders(deployment.image)
    code = deployment.code
    top = folders.root if deployment.layout == "v1" else f"{folders.root}/{code.name}"
    script = deployment.entry.relative_to(code).as_posix()
    inside = deployment.bundle.is_relative_to(code)
    bundle = f"{top}/{deployment.bundle.relative_to(code) if inside else deployment.bundle.name}"
    # Each entry of the code folder has a mount of its own, so that bundle and model can stand among them.
    mounts = {f"{top}/{path.name}": path for path in sorted(code.iterdir()) if path.exists()}
    if not inside:
        _add(mounts, bundle, deployment.bundle)
    model = f"{folders.root}/azureml-models/{deployment.model.name}/1" if deployment.model else None
    if deployment.model:
        _add(mounts, f"{model}/{deployment.model.name}", deployment.model)
    settings = _settings(deployment, folders, bundle=bundle, entry=f"{top}/{script}", model=model)
    return ContainerLayout(
        mounts=mounts,
        entry=script if deployment.layout == "v1" else f"{code.name}/{script}",
        conda=folders.conda,
        settings={**settings, "conda": folders.conda, "app_root": folders.root},
    )


def in_place(deployment: Deployment, server: ServerEnvironment) -> dict[str, Any]:
    """Return the settings of a deployment that runs from the builder's own paths."""
    settings = _settings(
        deployment,
        _folders(deployment.image),
        bundle=str(deployment.bundle),
        entry=str(deployment.entry),
        model=str(deployment.model.parent) if deployment.model else None,
    )
    root = deployment.code if deployment.layout == "v1" else deployment.code.parent
    return {**settings, "conda": str(server.prefix), "app_root": str(root)}


@dataclass(frozen=True, kw_only=True)
class _Folders:
    """Where an image has its folders, and what its start script does."""

    root: str = APP_ROOT
    conda: str = CONDA
    variables: Mapping[str, str] = field(default_factory=dict)
    honours: bool = True
    """Whether its start script reads AZUREML_EXTRA_PYTHON_LIB_PATH; some images cut that part out."""


def _folders(image: Image | None) -> _Folders:
    if image is None:
        return _Folders()
    variables = image.environment or {}
    # The mounts of other platforms' images say nothing about the folders of this server.
    azure = image.mount is not None and MOUNT in image.mount.variables
    base = image.mount.base if image.mount and azure else None
    return _Folders(
        root=_usable(variables.get("AML_APP_ROOT") or base, APP_ROOT),
        conda=_usable(image.conda.prefix if image.conda else None, CONDA),
        variables={name: value for name, value in variables.items() if name not in _OWN},
        honours=image.honours_variables != "no",
    )


def _usable(path: str | None, otherwise: str) -> str:
    """Return the path if it hides none of the system's folders in the new root file system."""
    wanted = os.path.normpath(path or otherwise)
    taken = any(wanted == one or wanted.startswith(f"{one}/") for one in (*isolate.SYSTEM, *_KERNEL))
    return otherwise if taken or wanted.count("/") < 2 or not wanted.startswith("/") else wanted


def _settings(
    deployment: Deployment, folders: _Folders, *, bundle: str, entry: str, model: str | None
) -> dict[str, Any]:
    site_packages = f"{bundle}/{deployment.site_packages}"
    variables = dict(folders.variables)
    if model is not None:
        variables["AZUREML_MODEL_DIR"] = model
    lib_path = deployment.lib_path
    if lib_path is None and not folders.honours:
        # A real deployment for such an image has to set PYTHONPATH itself.
        variables["PYTHONPATH"] = site_packages
    elif lib_path is None:
        lib_path = os.path.relpath(site_packages, os.path.dirname(entry))  # noqa: PTH120 - text
    return {"lib_path": lib_path or "", "honours": folders.honours, "variables": variables}


def _add(mounts: dict[str, Path], path: str, source: Path) -> None:
    taken = next((one for one in mounts if path == one or path.startswith(f"{one}/")), None)
    if taken:
        raise InputError(
            f"{source} and {mounts[taken]} would both be {taken} in the container",
            hint="rename one of them, or put the bundle into the code folder",
        )
    mounts[path] = source
