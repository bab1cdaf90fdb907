"""What stands where in a rehearsal: the code folder, the bundle, the model, and the image's stand-in.

Azure ML puts a code folder to /var/azureml-app itself (SDK v1, and a container that mounts it there), or
into a folder of its name below (v2), and a model to azureml-models/NAME/VERSION.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bundler.deploy.rehearsal.servers import CONDA
from bundler.errors import InputError
from bundler.ontarget import isolate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundler.deploy.rehearsal.servers import Server
    from bundler.targets.image import Image

Layout = Literal["v1", "v2"]
APP_ROOT = "/var/azureml-app"
VARIABLE = "AZUREML_EXTRA_PYTHON_LIB_PATH"
_KERNEL = ("/proc", "/dev", "/tmp", "/etc")  # noqa: S108 - of the new root
_OWN = frozenset({"PATH", "HOME", "HOSTNAME", "LD_LIBRARY_PATH", "PYTHONHOME", "AML_APP_ROOT"})
"""Variables of an image that name places in it which have others here."""


@dataclass(frozen=True, kw_only=True)
class Props:
    """What a deployment is made of; every path is absolute and there."""

    bundle: Path
    site_packages: str
    """Relative to the bundle."""
    entry: Path
    code: Path
    """The folder that is uploaded; holds the entry script."""
    model: Path | None = None
    layout: Layout = "v1"
    lib_path: str | None = None
    """AZUREML_EXTRA_PYTHON_LIB_PATH, where it is not to be the bundle's own; empty: not set."""
    image: Image | None = None


@dataclass(frozen=True, kw_only=True)
class _Ways:
    """Where an image has what."""

    root: str = APP_ROOT
    conda: str = CONDA
    variables: Mapping[str, str] = field(default_factory=dict)
    honours: bool = True
    """Whether its start script reads AZUREML_EXTRA_PYTHON_LIB_PATH; some images cut that part out."""


def _ways(image: Image | None) -> _Ways:
    if image is None:
        return _Ways()
    variables = image.environment or {}
    # What other platforms mount, and where, says nothing of this server's folders.
    azure = image.mount is not None and VARIABLE in image.mount.variables
    base = image.mount.base if image.mount and azure else None
    return _Ways(
        root=_free(variables.get("AML_APP_ROOT") or base, APP_ROOT),
        conda=_free(image.conda.prefix if image.conda else None, CONDA),
        variables={name: value for name, value in variables.items() if name not in _OWN},
        honours=image.honours_variables != "no",
    )


def _free(path: str | None, otherwise: str) -> str:
    """Return a path that the new root file system can have without hiding the system's folders."""
    wanted = os.path.normpath(path or otherwise)
    taken = any(wanted == one or wanted.startswith(f"{one}/") for one in (*isolate.SYSTEM, *_KERNEL))
    return otherwise if taken or wanted.count("/") < 2 or not wanted.startswith("/") else wanted


def find(
    *, bundle: Path, entry: Path, code: Path | None, model: Path | None
) -> tuple[Path, Path, Path | None]:
    """Return the entry script, the code folder and the model, as absolute paths.

    :param entry: as given: a path, or relative to the code folder, or to the folder that holds the bundle.
    :raises InputError: one of them is not there, or lies where Azure ML does not take it from.
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
    if model is not None and not model.exists():
        raise InputError(f"there is no model {model}", hint="name its folder or file with --model")
    model = Path(os.path.abspath(model)) if model else None  # noqa: PTH100 - symlinks stay
    if model is not None and bundle.is_relative_to(model):
        raise InputError(
            f"the bundle lies inside of the model's folder {model}",
            hint="Azure ML registers the model alone: put the bundle beside the entry script",
        )
    return found, folder, model


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A deployment as the container sees it."""

    shown: dict[str, Path]
    """Path in the container → what is shown there."""
    entry: str
    """AZUREML_ENTRY_SCRIPT."""
    conda: str
    """Where the image has its environment."""
    place: dict[str, Any]
    """For `ontarget/rehearsal.py`."""


def build(props: Props) -> Scene:
    """Lay out a deployment.

    :raises InputError: two things want the same place.
    """
    ways = _ways(props.image)
    top = ways.root if props.layout == "v1" else f"{ways.root}/{props.code.name}"
    script = props.entry.relative_to(props.code).as_posix()
    inside = props.bundle.is_relative_to(props.code)
    bundle = f"{top}/{props.bundle.relative_to(props.code) if inside else props.bundle.name}"
    # Each entry on its own, so that the bundle and the model find room among them.
    shown = {f"{top}/{path.name}": path for path in sorted(props.code.iterdir()) if path.exists()}
    if not inside:
        _put(shown, bundle, props.bundle)
    model = f"{ways.root}/azureml-models/{props.model.name}/1" if props.model else None
    if props.model:
        _put(shown, f"{model}/{props.model.name}", props.model)
    place = _place(props, ways, bundle=bundle, entry=f"{top}/{script}", model=model)
    return Scene(
        shown=shown,
        entry=script if props.layout == "v1" else f"{props.code.name}/{script}",
        conda=ways.conda,
        place={**place, "conda": ways.conda, "app_root": ways.root},
    )


def in_place(props: Props, server: Server) -> dict[str, Any]:
    """Return the place of a deployment that stays where it is, with the server's environment."""
    place = _place(
        props,
        _ways(props.image),
        bundle=str(props.bundle),
        entry=str(props.entry),
        model=str(props.model.parent) if props.model else None,
    )
    root = props.code if props.layout == "v1" else props.code.parent
    return {**place, "conda": str(server.prefix), "app_root": str(root)}


def _place(props: Props, ways: _Ways, *, bundle: str, entry: str, model: str | None) -> dict[str, Any]:
    site_packages = f"{bundle}/{props.site_packages}"
    variables = dict(ways.variables)
    if model is not None:
        variables["AZUREML_MODEL_DIR"] = model
    lib_path = props.lib_path
    if lib_path is None and not ways.honours:
        # As a deployment for such an image must: PYTHONPATH itself.
        variables["PYTHONPATH"] = site_packages
    elif lib_path is None:
        lib_path = os.path.relpath(site_packages, os.path.dirname(entry))  # noqa: PTH120 - text
    return {"lib_path": lib_path or "", "honours": ways.honours, "variables": variables}


def _put(shown: dict[str, Path], path: str, source: Path) -> None:
    taken = next((one for one in shown if path == one or path.startswith(f"{one}/")), None)
    if taken:
        raise InputError(
            f"{source} and {shown[taken]} would both be {taken} in the container",
            hint="rename one of them, or put the bundle into the code folder",
        )
    shown[path] = source
