"""What `envbundle deploy` does: write the files with which a platform runs a bundle.

Read the bundle and compare it with its manifest, check the options, collect the wheels (for a wheelhouse),
ask the platform's module for its plan, look for files that the upload would leave out, write the files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path

from bundler.bundle import integrity, wheelhouse
from bundler.bundle.manifest import Manifest
from bundler.bundle.wheelhouse import WheelFile
from bundler.checks.rules import lost
from bundler.create import pipeline
from bundler.create.request import LockRequest
from bundler.deploy import PLATFORMS, bases, start_script, trust
from bundler.deploy.platform import Plan, PlanRequest
from bundler.deploy.trust import Trust
from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.model import Finding, IndexSettings
from bundler.system import workspace, writing
from bundler.system.files import real_path
from bundler.system.progress import Progress
from bundler.system.workspace import Workspace
from bundler.wheels.store import Store

IGNORE_FILES: Mapping[str, tuple[str, ...]] = {
    "azureml-v2": (".amlignore", ".gitignore"),
    "azure-functions": (".funcignore",),
}
"""The ignore files that a platform's client reads in the folder that it uploads; the first one counts."""
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
    "verify_with": "--verify-with",
    "signed_as": "--signed-as",
}
SAME = {"image": "base", "verify_with": "trust", "signed_as": "trust"}
"""Options that are another field of a `PlanRequest`."""
_PROGRAM = re.compile(r"/?[A-Za-z0-9_.+-]+(/[A-Za-z0-9_.+-]+)*")


@dataclass(frozen=True, kw_only=True)
class DeployRequest:
    """The arguments of `envbundle deploy`, as the caller gave them."""

    bundle: Path
    platform: str
    output: Path
    name: str | None = None
    code: Path | None = None
    entry: str | None = None
    model: Path | None = None
    base: str | None = None
    """Name of the base image, as it is pulled."""
    image: str | None = None
    """Name or file of the base image's profile."""
    python: str | None = None
    variables: tuple[str, ...] = ()
    """`NAME=VALUE`, for the service."""
    bundle_image: str | None = None
    wheels_at: str | None = None
    verify_with: Path | None = None
    """File of the signers whose signature the deployment demands before its service starts."""
    signed_as: str | None = None
    """The name with which the bundle must be signed; `None`: that of its folder."""
    index: IndexSettings = field(default_factory=IndexSettings)
    """Where wheels that are no longer in the store may be had."""
    cache_dir: Path


@dataclass(frozen=True, kw_only=True)
class DeployResult:
    """What was written, or why nothing was."""

    output: Path
    written: tuple[str, ...]
    """Files and folders at the top of the output; empty: nothing was written, for a finding is an error."""
    plan: Plan
    findings: tuple[Finding, ...]
    """The plan's own, and those of the upload."""

    @property
    def ok(self) -> bool:
        """Whether the output was written."""
        return bool(self.written)


def deploy(request: DeployRequest, *, progress: Progress, environ: Mapping[str, str]) -> DeployResult:
    """Write the files that a platform takes into `request.output`.

    :raises InputError: the bundle is none or damaged, an option breaks a rule, or the output has another file
        of the same name.
    :raises MachineError: a wheel cannot be fetched, or a file cannot be written.
    """
    checked = _check(request)
    if request.verify_with is not None:
        found = trust.read(checked.bundle, request.verify_with, request.signed_as)
        if not isinstance(found, Trust):
            return DeployResult(output=request.output, written=(), plan=Plan(), findings=found)
        checked = replace(checked, trust=found)
    with workspace.claim(request.output) as work:
        if request.platform == "wheelhouse":
            wheels = _wheels(checked, request, work, progress=progress, environ=environ)
            checked = replace(checked, wheels=wheels)
        plan = PLATFORMS[request.platform].plan(checked)
        findings = (*plan.findings, *_lint(request.platform, checked, plan))
        written: tuple[str, ...] = ()
        if not any(finding.severity == "error" for finding in findings):
            writing.stage(plan.files, work.bundle, archives=plan.archives)
            findings = (*findings, *_too_large(plan, work.bundle))
            writing.check(work.bundle, request.output, folders=plan.folders)
            written = tuple(sorted(path.name + "/" * path.is_dir() for path in work.bundle.iterdir()))
            writing.publish(work.bundle, request.output)
    return DeployResult(output=request.output, written=written, plan=plan, findings=findings)


def _check(request: DeployRequest) -> PlanRequest:
    """Check a request as far as that is the same for every platform.

    :raises InputError: names the option and the rule.
    """
    bundle = real_path(request.bundle)
    if not bundle.is_dir():
        raise InputError(
            f"{request.bundle} is not a bundle's folder", hint="name the folder that `create` made"
        )
    if request.platform not in PLATFORMS:
        raise InputError(f"{request.platform!r} is no platform", hint=f"one of {', '.join(PLATFORMS)}")
    _refuse_options(request)
    if request.signed_as is not None and request.verify_with is None:
        raise InputError("--signed-as says nothing without --verify-with", hint="add --verify-with FILE")
    described = _read(bundle)
    name = request.name or start_script.default_name(bundle)
    start_script.check_name(name)
    if request.python is not None and not _PROGRAM.fullmatch(request.python):
        raise InputError(
            f"--image-python {request.python!r} is no path in an image", hint="for example /usr/bin/python3.8"
        )
    checked = PlanRequest(
        bundle=bundle,
        manifest=described,
        # Symlinks are resolved: the files that are written hold paths relative to this folder.
        output=real_path(request.output),
        name=name,
        code=real_path(request.code) if request.code else None,
        entry=request.entry or ENTRY,
        model=real_path(request.model) if request.model else None,
        base=bases.choose(request.base, request.image),
        python=request.python,
        variables=start_script.variables(request.variables),
        bundle_image=request.bundle_image,
        wheels_at=request.wheels_at,
    )
    start_script.check_placement(checked)
    return checked


def _refuse_options(request: DeployRequest) -> None:
    """Refuse an option that has no effect on the platform.

    :raises InputError: names the option.
    """
    takes = PLATFORMS[request.platform].TAKES
    for field_name, option in OPTIONS.items():
        if getattr(request, field_name) and SAME.get(field_name, field_name) not in takes:
            raise InputError(
                f"{option} means nothing for --to {request.platform}",
                hint="`envbundle deploy --help` says what it is for",
            )


def _read(bundle: Path) -> Manifest:
    """Read the manifest and compare every file with it.

    :raises InputError: one is missing, changed or too many.
    """
    described = integrity.require(bundle).manifest
    if described.environment.get("PYTHONPATH") != f"lib/python{described.target.minor}/site-packages":
        raise InputError(
            f"{bundle}: its manifest names another PYTHONPATH than bundles have", hint="create it again"
        )
    return described


def _wheels(
    checked: PlanRequest,
    request: DeployRequest,
    work: Workspace,
    *,
    progress: Progress,
    environ: Mapping[str, str],
) -> tuple[WheelFile, ...]:
    """Return the wheels of a bundle from the store; if one is missing, fetch all again through the lock."""
    store = Store(request.cache_dir)
    distributions = checked.manifest.distributions
    paths = [
        store.file(dist.sha256, dist.filename) if dist.kind == "wheel" and dist.sha256 else None
        for dist in distributions
    ]
    if all(paths):
        return tuple(
            WheelFile(
                name=dist.name,
                version=dist.version,
                extras=dist.extras,
                filename=dist.filename,
                path=path,
                sha256=dist.sha256,
            )
            for dist, path in zip(distributions, paths, strict=True)
            if path and dist.sha256
        )
    wanted = LockRequest(
        lock_file=checked.bundle / "pylock.toml",
        python=checked.minor,
        glibc=checked.manifest.target.glibc,
        index=request.index,
        cache_dir=request.cache_dir,
    )
    fetched = pipeline.wheels(wanted, work, progress=progress, environ=environ)
    different = {(dist.name, dist.version) for dist in distributions} ^ {
        (wheel.locked.name, wheel.facts.version) for wheel in fetched
    }
    if different:
        name, version = min(different)
        raise InputError(
            f"{checked.bundle}: lock and manifest differ in {name} {version}", hint="create the bundle again"
        )
    return wheelhouse.files(fetched, store)


def _lint(platform: str, request: PlanRequest, plan: Plan) -> tuple[Finding, ...]:
    """Look for files that the platform's client would leave out of the upload without a word (EB507)."""
    copied = [file.path for file in plan.files if file.path.startswith(plan.folders)] if plan.folders else []
    root = request.output if copied else request.source
    for name in IGNORE_FILES.get(platform, ()):
        path = root / name
        if not path.is_file():
            continue
        if copied:
            paths, top = [one.partition("/")[2] for one in copied], plan.folders[0]
        else:
            paths = [file.path for file in (*request.manifest.files, *request.manifest.documents)]
            top = request.bundle.relative_to(root).as_posix()
        with path.open("rb") as stream:
            text = stream.read(lost.IGNORE_FILE_LIMIT).decode("utf-8", "replace")
        ignore = lost.IgnoreFile(path=os.fspath(path), text=text, bundle=top)
        # An error here: this is the folder that is uploaded, and the service would lack the file.
        return tuple(replace(one, severity="error") for one in lost.dropped_from_upload(paths, [ignore]))
    return ()


def _too_large(plan: Plan, staged: Path) -> tuple[Finding, ...]:
    """Warn of archives that are too large for a direct upload (EB516)."""
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
