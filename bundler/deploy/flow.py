"""Brings a bundle to a platform's form: what `envbundle deploy` does, in order.

bundle → is it what its manifest says? → order → wheels, where these are taken → plan → upload lint → files
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bundler.bundle import manifest, tree, wheelhouse
from bundler.checks.rules import upload
from bundler.create import pipeline
from bundler.create.request import LockRequest
from bundler.deploy import PLATFORMS, bases, start_script
from bundler.deploy.order import Order
from bundler.errors import InputError
from bundler.model import Finding, IndexSettings
from bundler.system import workspace, writing
from bundler.wheels.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bundler.bundle.manifest import Manifest
    from bundler.deploy.order import Plan
    from bundler.system.progress import Progress
    from bundler.system.workspace import Workspace

IGNORE_FILES: Mapping[str, tuple[str, ...]] = {
    "azureml-v2": (".amlignore", ".gitignore"),
    "azure-functions": (".funcignore",),
}
"""What the platform's client reads in the folder that it uploads; the first one that is there counts."""


ENTRY = "score.py"
OPTIONS: Mapping[str, str] = {
    "code": "--code",
    "entry": "--entry",
    "model": "--model",
    "base": "--base",
    "image": "--image",
    "python": "--image-python",
    "variables": "--env",
    "bundle_image": "--bundle-image",
    "wheels_at": "--wheels-at",
}
_PROGRAM = re.compile(r"/?[A-Za-z0-9_.+-]+(/[A-Za-z0-9_.+-]+)*")


@dataclass(frozen=True, kw_only=True)
class DeployRequest:
    """What the caller wants deployed."""

    bundle: Path
    platform: str
    output: Path
    name: str | None = None
    code: Path | None = None
    entry: str | None = None
    model: Path | None = None
    base: str | None = None
    """What is pulled."""
    image: str | None = None
    """Name or file of its profile."""
    python: str | None = None
    variables: tuple[str, ...] = ()
    """`NAME=VALUE`, for the service."""
    bundle_image: str | None = None
    wheels_at: str | None = None
    index: IndexSettings = field(default_factory=IndexSettings)
    """Where wheels that are no longer in the store may be had."""
    cache_dir: Path


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What was written, or what stands against it."""

    output: Path
    written: tuple[str, ...]
    """Files and folders at the top of what was written; empty where a finding forbids it."""
    variables: Mapping[str, str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it was written."""
        return bool(self.written)


def deploy(request: DeployRequest, *, progress: Progress, environ: Mapping[str, str]) -> Delivery:
    """Write what a platform takes.

    :raises InputError: it is no bundle or a damaged one, an option breaks a rule, or a file is in the way.
    :raises MachineError: wheels cannot be fetched, or files not be written.
    """
    order = _order(request)
    with workspace.claim(request.output) as work:
        if request.platform == "wheelhouse":
            order = replace(order, wheels=_wheels(order, request, work, progress=progress, environ=environ))
        plan = PLATFORMS[request.platform].plan(order)
        findings = (*plan.findings, *_lint(request.platform, order, plan))
        if not any(finding.severity == "error" for finding in findings):
            writing.stage(plan.files, work.bundle, archives=plan.archives)
            findings = (*findings, *_detours(plan, work.bundle))
            writing.check(work.bundle, request.output, folders=plan.folders)
            written = tuple(sorted(path.name + "/" * path.is_dir() for path in work.bundle.iterdir()))
            writing.publish(work.bundle, request.output)
        else:
            written = ()
    return Delivery(
        output=request.output,
        written=written,
        variables=plan.variables,
        commands=plan.commands,
        findings=findings,
        notes=plan.notes,
    )


def _order(request: DeployRequest) -> Order:
    bundle = request.bundle.resolve()
    if not bundle.is_dir():
        raise InputError(
            f"{request.bundle} is not a bundle's folder", hint="name the folder that `create` made"
        )
    if request.platform not in PLATFORMS:
        raise InputError(f"{request.platform!r} is no platform", hint=f"one of {', '.join(PLATFORMS)}")
    _refuse_options(request)
    described = _read(bundle)
    name = request.name or start_script.default_name(bundle)
    start_script.check_name(name)
    if request.python is not None and not _PROGRAM.fullmatch(request.python):
        raise InputError(
            f"--image-python {request.python!r} is no path in an image", hint="for example /usr/bin/python3.8"
        )
    order = Order(
        bundle=bundle,
        manifest=described,
        # Parts of it that are symlinks would put relative paths in the wrong place.
        output=request.output.resolve(),
        name=name,
        code=request.code.resolve() if request.code else None,
        entry=request.entry or ENTRY,
        model=request.model.resolve() if request.model else None,
        base=bases.choose(request.base, request.image),
        python=request.python,
        variables=start_script.variables(request.variables),
        bundle_image=request.bundle_image,
        wheels_at=request.wheels_at,
    )
    start_script.placement(order)
    return order


def _refuse_options(request: DeployRequest) -> None:
    """An option that has no effect is a misunderstanding.

    :raises InputError: names it.
    """
    takes = PLATFORMS[request.platform].TAKES
    for field_name, option in OPTIONS.items():
        if getattr(request, field_name) and (field_name if field_name != "image" else "base") not in takes:
            raise InputError(
                f"{option} means nothing for --to {request.platform}",
                hint="`envbundle deploy --help` says what it is for",
            )


def _read(bundle: Path) -> Manifest:
    """Read the manifest and compare every file with it.

    :raises InputError: one is missing, changed or too many.
    """
    described = manifest.read(bundle)
    minor = ".".join(described.target.python.split(".")[:2])
    if described.environment.get("PYTHONPATH") != f"lib/python{minor}/site-packages":
        raise InputError(
            f"{bundle}: its manifest names another PYTHONPATH than bundles have", hint="create it again"
        )
    scanned = tree.scan(bundle)
    there = {file.path: file.sha256 for file in scanned.files}
    expected = {file.path: file.sha256 for file in (*described.files, *described.documents)}
    beside = {manifest.NAME, manifest.SUMS}
    wrong = sorted(
        {path for path in there.keys() | expected.keys() if there.get(path) != expected.get(path)} - beside
        | set(scanned.irregular)
    )
    if wrong:
        raise InputError(
            f"{bundle} is not as it was made: {wrong[0]}"
            + (f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""),
            hint="`envbundle verify` says what is wrong; copy or create it again",
        )
    return described


def _wheels(
    order: Order, request: DeployRequest, work: Workspace, *, progress: Progress, environ: Mapping[str, str]
) -> tuple[wheelhouse.WheelFile, ...]:
    """The wheels of a bundle, from the store; what is not there is fetched again, through the lock."""
    store = Store(request.cache_dir)
    found = []
    for dist in order.manifest.distributions:
        path = store.file(dist.sha256, dist.filename) if dist.kind == "wheel" and dist.sha256 else None
        if path is None or dist.sha256 is None:
            return _fetched(order, request, work, progress=progress, environ=environ)
        found.append(
            wheelhouse.WheelFile(
                name=dist.name,
                version=dist.version,
                extras=dist.extras,
                filename=dist.filename,
                path=path,
                sha256=dist.sha256,
            )
        )
    return tuple(found)


def _fetched(
    order: Order, request: DeployRequest, work: Workspace, *, progress: Progress, environ: Mapping[str, str]
) -> tuple[wheelhouse.WheelFile, ...]:
    asked = LockRequest(
        lock_file=order.bundle / "pylock.toml",
        python=order.minor,
        glibc=order.manifest.target.glibc,
        index=request.index,
        cache_dir=request.cache_dir,
    )
    wheels = pipeline.wheels(asked, work, progress=progress, environ=environ)
    described = {(dist.name, dist.version) for dist in order.manifest.distributions}
    locked = {(wheel.locked.name, wheel.facts.version) for wheel in wheels}
    if described != locked:
        name, version = min(described ^ locked)
        raise InputError(
            f"{order.bundle}: lock and manifest differ in {name} {version}", hint="create the bundle again"
        )
    return wheelhouse.files(wheels, Store(request.cache_dir))


def _lint(platform: str, order: Order, plan: Plan) -> tuple[Finding, ...]:
    """Look for what the platform's client would leave out of the upload, in silence (EB507)."""
    copied = [file.path for file in plan.files if file.path.startswith(plan.folders)] if plan.folders else []
    root = order.output if copied else order.source
    for name in IGNORE_FILES.get(platform, ()):
        path = root / name
        if not path.is_file():
            continue
        if copied:
            paths, top = [one.partition("/")[2] for one in copied], plan.folders[0]
        else:
            paths = [file.path for file in (*order.manifest.files, *order.manifest.documents)]
            top = order.bundle.relative_to(root).as_posix()
        with path.open("rb") as stream:
            text = stream.read(upload.LIMIT).decode("utf-8", "replace")
        ignore = upload.IgnoreFile(path=os.fspath(path), text=text, bundle=top)
        # This is the folder that is uploaded: what is left out is missing in the service.
        return tuple(replace(one, severity="error") for one in upload.upload(paths, [ignore]))
    return ()


def _detours(plan: Plan, staged: Path) -> tuple[Finding, ...]:
    """Say which archives are too large for the direct way (EB516)."""
    findings = []
    for archive in plan.archives:
        size = (staged / archive.path).stat().st_size
        if size > archive.direct_limit:
            findings.append(
                Finding(
                    code="EB516",
                    severity="warning",
                    subject=archive.path,
                    cause=f"it has {size:,} bytes; a direct upload takes {archive.direct_limit:,}: "
                    f"{size - archive.direct_limit:,} too many",
                    remedy=archive.detour,
                )
            )
    return tuple(findings)
