"""Bundles and requests for the tests of `deploy`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bundler.bundle import manifest
from bundler.bundle.manifest import ManifestDistribution
from bundler.bundle.tree import scan
from bundler.deploy import flow
from bundler.deploy.flow import DeployRequest, DeployResult
from bundler.system.progress import Progress

from tests.support import bundlemaker
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bundler.model import FileFact

AML38 = "mcr.microsoft.com/azureml/minimal-ubuntu20.04-py38-cpu-inference:20240122.v1"
PLAIN = "myregistry.example:5000/team/base:1"
HOSTILE = 'it\'s "$HOME" $(id) `id` ${x} #: {a} %s \\ é'
"""A value that means something to a shell, YAML, compose, Kubernetes, Dockerfiles and `%`."""
SITE_PACKAGES = "lib/python3.8/site-packages"


@dataclass(frozen=True, kw_only=True)
class Service:
    """A code folder with a scoring script and a bundle in it."""

    folder: Path
    """What holds the code folder."""
    code: Path
    bundle: Path
    output: Path

    def deploy(self, platform: str, **fields: Any) -> DeployResult:
        """Deploy it, quietly."""
        fields = {"bundle": self.bundle, "output": self.output, "cache_dir": self.folder / "cache", **fields}
        request = DeployRequest(platform=platform, **fields)
        return flow.deploy(request, progress=Progress(stream=sys.stderr, quiet=True), environ={})

    def text(self, path: str) -> str:
        """Of a file that was written."""
        return (self.output / path).read_text(encoding="utf-8")


def make_service(
    folder: Path,
    *,
    code: str = "src",
    bundle: str = "myenv",
    minor: str = "3.8",
    files: Mapping[str, str | bytes] | None = None,
) -> Service:
    """Make a service whose bundle has one wheel: alpha."""
    wheels = folder / "made"
    wheels.mkdir(parents=True)
    root = folder / code
    root.mkdir(parents=True)
    (root / "score.py").write_text(
        "import alpha\ndef init():\n    pass\ndef run(data):\n    return alpha.VALUE\n"
    )
    wheel = make_wheel(wheels, "alpha", files=files)
    made = bundlemaker.make_bundle(root / bundle, wheel, minor=minor, modules=["alpha"])
    return Service(folder=folder, code=root, bundle=made, output=folder / "out")


def rewrite(service: Service, **changes: Any) -> None:
    """Change a bundle's manifest so that it is sound again."""
    bundlemaker.write_manifest(service.bundle, replace(manifest.read(service.bundle), **changes))


def files_of(service: Service) -> tuple[FileFact, ...]:
    """What a bundle's tree has now."""
    beside = {manifest.NAME, manifest.SUMS, "verify.py"}
    return tuple(file for file in scan(service.bundle).files if file.path not in beside)


def distribution(name: str, *, size: int, files: int = 1) -> ManifestDistribution:
    """A row of a manifest."""
    return ManifestDistribution(
        name=name, version="1.0", source="index", kind="wheel", filename=f"{name}-1.0-py3-none-any.whl",
        url=None, index=None, commit=None, sha256="0" * 64, size=1, requested=True, extras=(), required_by=(),
        yanked=None, built_from=None, files=files, bytes=size,
    )  # fmt: skip


def listed(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def read_json(service: Service, path: str) -> Any:
    """A JSON file that was written."""
    return json.loads(service.text(path))
