"""Verifies a bundle that is there already: as its place would, and by the checks of its making.

bundle → its verifier's findings, by our own copy → facts, read back from the tree → the same checks
"""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundler import formats
from bundler.bundle import manifest, tree, verifier
from bundler.checks import installed, policy, proof
from bundler.checks.imports import evidence as mounted
from bundler.checks.rules import lost
from bundler.checks.rules.codes import finding
from bundler.errors import EnvbundleError, InputError, MachineError
from bundler.model import Artifact, Finding, Ignore, Lock, LockedDistribution, Policy
from bundler.system import json_values
from bundler.targets import catalogue, fit, interpreters, target

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bundler.bundle.manifest import Manifest, ManifestDistribution
    from bundler.bundle.tree import Tree
    from bundler.model import Interpreter, Target
    from bundler.system.json_values import Value
    from bundler.system.progress import Progress
    from bundler.targets.image import Image
    from bundler.wheels.store import Store

DAMAGE = frozenset({"EB511", "EB512", "EB513", "EB514"})
ECHOES = frozenset({"EB105", "EB202", "EB203", "EB514"})
"""What the RECORDs say of a file of which the manifest says as much."""
WORD = frozenset({"EB363", "EB364"})
"""What the image is said to have."""
PLACE = WORD | {"EB361", "EB362"}
"""What the place is, whatever the files are."""
WHAT_TO_NAME = "name the folder that `create` made, or an archive of it that envbundle has packed"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is to be said of a bundle."""

    bundle: Path
    interpreter: Interpreter
    checked: tuple[str, ...]
    """`files`, `target`, `imports`, `static`."""
    files: int
    isolation: tuple[str, ...]
    """What was in force while the verifier ran: see `checks/mounted.py`."""
    findings: tuple[Finding, ...]
    format: str = "dir"
    """Of `bundler.formats.NAMES`."""

    @property
    def ok(self) -> bool:
        """Whether nothing stands against the bundle."""
        return not policy.stops(Policy(), self.findings)


def verify(
    bundle: Path,
    *,
    python: str | None,
    imports: bool,
    image: str | None = None,
    store: Store,
    progress: Progress,
    environ: Mapping[str, str],
) -> Report:
    """Verify a bundle in any format; nothing in it is changed, believed, or run by the host's Python.

    An archive is read as a stream. Only for imports, and for the checks that look into files, it is mounted
    or unpacked, in a private folder.

    :param python: the interpreter to use; by default one is found for the Python that the manifest names.
    :param imports: import every module, in the isolation that the machine allows.
    :param image: name or file of the profile of the image where it is to run.
    :raises InputError: it is no bundle, or not for this Python, or that image has another one.
    :raises MachineError: there is no interpreter for it, or the verifier broke.
    """
    kind = formats.kind_of(bundle)
    if kind is None and not bundle.is_dir():
        raise InputError(f"{bundle} is not a bundle, nor an archive of one", hint=WHAT_TO_NAME)
    bundle = bundle.resolve()
    said = _said(bundle, kind)
    profile = catalogue.load(image) if image else None
    with progress.stage("target") as stage:
        interpreter = interpreters.find(
            python or _minor(said["target"]["python"].text(r"\d+\.\d+(\.\d+[a-z0-9+.]*)?")),
            cache_dir=store.probes,
            managed_dir=store.python,
            allow_download=False,
            announce=progress.note,
            environ=environ,
        )
        stage.result = f"CPython {interpreter.version} ({interpreter.origin})"
    with tempfile.TemporaryDirectory(prefix="envbundle-") as folder, progress.stage("verify") as stage:
        if imports and said["relies_on"].raw:
            progress.note("it leaves distributions to the image: only there its modules can be imported")
            imports = False
        case = _Case(interpreter=interpreter, imports=imports, image=profile, scratch=Path(folder))
        report = _folder(bundle, case) if kind in (None, "dir") else _archive(bundle, kind, case)
        stage.result = f"{report.files} files; checked: {', '.join(report.checked)}"
    return report


@dataclass(frozen=True, kw_only=True)
class _Case:
    interpreter: Interpreter
    imports: bool
    image: Image | None
    scratch: Path


def _said(bundle: Path, kind: str | None) -> Value:
    """What the manifest says, unbelieved."""
    if kind in (None, "dir"):
        return json_values.load(bundle / manifest.NAME)
    return json_values.parse(
        formats.read_document(bundle, manifest.NAME), source=f"{bundle}: {manifest.NAME}"
    )


def _folder(bundle: Path, case: _Case) -> Report:
    said, isolation = _run_verifier(bundle, case.interpreter, imports=case.imports, scratch=case.scratch)
    found = tuple(_finding(one, bundle=bundle, root=said["bundle"]) for one in said["findings"])
    checked = tuple(said["checked"])
    described = _manifest(bundle, found)
    if described is not None and _minor(described.target.python) == case.interpreter.minor:
        static = _static(bundle, described, case.interpreter, case.image)
        found = policy.apply(_policy(described), (*found, *_without_echoes(static, found)))
        checked = (*checked, "static")
    return Report(
        bundle=bundle,
        interpreter=case.interpreter,
        checked=checked,
        files=said["files"],
        isolation=isolation,
        findings=found,
    )


def _archive(bundle: Path, kind: str, case: _Case) -> Report:
    """Verify an archive: its members as a stream, and the rest as of a folder, where it becomes one."""
    streamed = formats.check(bundle, kind=kind)
    if case.imports or case.image:
        with formats.opened(bundle, scratch=case.scratch) as folder:
            try:
                report = _folder(folder.resolve(), case)
            except EnvbundleError as error:
                error.message = error.message.replace(str(folder.resolve()), str(bundle))
                raise
    else:
        report = _described_alone(streamed.manifest, case)
    known = {(one.code, one.subject) for one in report.findings}
    more = tuple(one for one in streamed.findings if (one.code, one.subject) not in known)
    return replace(report, bundle=bundle, format=kind, findings=(*more, *report.findings))


def _described_alone(data: bytes, case: _Case) -> Report:
    """Compare this place with the target that a manifest names; no file of the bundle is there."""
    folder = case.scratch / "described"
    folder.mkdir()
    (folder / manifest.NAME).write_bytes(data)
    said, isolation = _run_verifier(folder, case.interpreter, imports=False, scratch=case.scratch)
    found = (_finding(one, bundle=folder, root=said["bundle"]) for one in said["findings"])
    return Report(
        bundle=folder,
        interpreter=case.interpreter,
        checked=tuple(said["checked"]),
        files=said["files"],
        isolation=isolation,
        findings=tuple(one for one in found if one.code in PLACE),
    )


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _run_verifier(
    bundle: Path, interpreter: Interpreter, *, imports: bool, scratch: Path
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Run our own verifier on the bundle, not the one in it, which may have been changed."""
    script = scratch / "verify.py"
    script.write_text(verifier.source(), encoding="utf-8")
    words = [str(interpreter.executable), "-I", "-S", str(script), "--json"]
    words += [] if imports else ["--no-imports"]
    done = mounted.isolated(words, prefix=bundle, scratch=scratch, check=False)
    try:
        said: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise MachineError("the verifier gave no result", hint=done.stderr[-400:] or None) from error
    if "error" in said:
        message = str(said["error"]["message"]).replace(f"{said['bundle']}/", f"{bundle}/")
        kind = InputError if said["error"]["exit_code"] == InputError.exit_code else MachineError
        raise kind(f"{bundle}: {message}" if str(bundle) not in message else message, hint=_hint(kind))
    return said, done.isolation


def _hint(kind: type[InputError | MachineError]) -> str:
    if kind is InputError:
        return "name a bundle's folder; with --python, an interpreter of the version that it is for"
    return "see to the machine, then run it again"


def _finding(said: Mapping[str, Any], *, bundle: Path, root: str) -> Finding:
    """Make a finding of what the verifier said, with the bundle's own path in it."""
    return Finding(
        code=said["code"],
        # This machine need not be the image: what the image is said to have may be missing here.
        severity="warning" if said["code"] in WORD else "error",
        subject=said["subject"],
        cause=said["cause"].replace(f"{root}/", "").replace(root, str(bundle)),
        remedy=said["remedy"],
    )


def _manifest(bundle: Path, found: Iterable[Finding]) -> Manifest | None:
    """Read the manifest; `None` where it cannot be read and the verifier has said so already."""
    try:
        return manifest.read(bundle)
    except InputError:
        if any(one.code == "EB515" for one in found):
            return None
        raise


def _static(
    bundle: Path, described: Manifest, interpreter: Interpreter, image: Image | None
) -> tuple[Finding, ...]:
    """Run the checks of `create` on the tree as it is now."""
    aim = _target(described, interpreter)
    if image:
        aim = replace(aim, **_figures(catalogue.target(image, interpreter, glibc=None), image))
    site_packages = aim.site_packages
    if not (bundle / site_packages).is_dir() or (bundle / site_packages).resolve() != bundle / site_packages:
        return ()  # each of its files is missing, which the verifier has found
    scanned = _without_documents(tree.scan(bundle), described)
    lock = _lock(described)
    wheels = installed.read_wheels(
        installed.Layout(
            prefix=bundle,
            site_packages=site_packages,
            files={file.path: file for file in scanned.files},
            extension_suffixes=interpreter.extension_suffixes,
        ),
        lock.distributions,
        built_from={one.name: one.built_from for one in described.distributions if one.built_from},
    )
    exhibit = proof.Exhibit(
        prefix=bundle,
        lock=lock,
        wheels=wheels,
        target=aim,
        interpreter=interpreter,
        policy=_policy(described),
        profile=image,
        relied=tuple(_left_to_image(name, version) for name, version in described.relies_on.items()),
    )
    # What imports bring is asked by the verifier; what they brought when it was made stands in the manifest.
    evidence = described.evidence
    seen = mounted.ImportEvidence(
        modules=evidence.modules, libraries=evidence.libraries, without=evidence.without
    )
    around = lost.dropped_from_upload([file.path for file in scanned.files], lost.ignore_files(bundle))
    beside = _beside(exhibit, image) if image else ()
    return (
        *proof.examine(exhibit, scanned),
        *proof.examine_imports(exhibit, seen),
        *around,
        *beside,
    )


def _figures(aim: Target, image: Image) -> dict[str, Any]:
    """What the image says of itself; what it does not say is as the bundle was made for."""
    known: dict[str, Any] = (
        {"glibc": aim.glibc, "glibc_reason": aim.glibc_reason} if image.target.glibc else {}
    )
    if aim.python_version == image.target.python:
        known |= {"python_version": aim.python_version, "markers": aim.markers}
    return known


def _beside(exhibit: proof.Exhibit, image: Image) -> tuple[Finding, ...]:
    """Compare with the image's server, and with what the bundle leaves to the image."""
    demands = fit.server_demands(image, exhibit.target.markers)
    unfit = tuple(
        finding(
            "EB404",
            subject=one.demand.name,
            cause=f"the image's {' → '.join(one.demand.chain)} requires {one.demand.text}, and the bundle "
            f"puts {one.demand.name} {one.brings} before the image's",
            remedy=f"pin {one.demand.text}, or create it with --image",
            lock=exhibit.lock,
        )
        # A known image's every requirement is compared by the checks.
        for one in (() if image.distributions is not None else fit.breaks(exhibit.lock, demands))
    )
    had = {name: one.version for name, one in (image.distributions or {}).items()}
    lacking = tuple(
        finding(
            "EB364",
            subject=dist.name,
            cause=f"the bundle was made without {dist.name} {dist.version}; the image {image.name} has "
            f"{had.get(dist.name, 'none')}",
            remedy="make the bundle without --thin, or with the profile of this image",
        )
        for dist in exhibit.relied
        if image.distributions is not None and had.get(dist.name) != dist.version
    )
    return (*unfit, *lacking)


def _left_to_image(name: str, version: str) -> LockedDistribution:
    return LockedDistribution(
        name=name, version=version, artifact=Artifact(kind="wheel", filename="", url=None)
    )


def _target(described: Manifest, interpreter: Interpreter) -> Target:
    """The target of the making, whichever release of its Python is at hand here."""
    version = described.target.python
    aim = target.for_interpreter(interpreter, glibc=described.target.glibc)
    markers = {**aim.markers, "python_full_version": version, "implementation_version": version}
    return replace(aim, python_version=version, markers=markers)


def _without_documents(scanned: Tree, described: Manifest) -> Tree:
    beside = {manifest.NAME, manifest.SUMS, *(file.path for file in described.documents)}
    return replace(scanned, files=tuple(file for file in scanned.files if file.path not in beside))


def _policy(described: Manifest) -> Policy:
    """What was accepted when the bundle was made is accepted still."""
    ignores = [
        Ignore(code=one.code, subject=one.subject, reason=one.accepted)
        for one in described.findings
        if one.accepted is not None
    ]
    return Policy(ignores=tuple(ignores), assumed_libraries=described.assumed_libraries)


def _without_echoes(static: Iterable[Finding], found: Iterable[Finding]) -> list[Finding]:
    """Leave out what a RECORD says of a file that the manifest has shown to be damaged.

    Where a RECORD itself is damaged or gone, its files belong to nobody, which is no news.
    """
    damaged = {one.subject for one in found if one.code in DAMAGE}
    lost_record = any(re.search(r"\.dist-info/RECORD$", subject) for subject in damaged)
    return [
        one
        for one in static
        if not (one.code in ECHOES and (one.subject in damaged or (one.code == "EB105" and lost_record)))
    ]


def _lock(described: Manifest) -> Lock:
    glibc = described.target.glibc.split(".")
    return Lock(
        python_version=described.target.python,
        machine=described.target.machine,
        glibc=(int(glibc[0]), int(glibc[1])),
        distributions=tuple(_locked(one) for one in described.distributions),
        requirements=described.inputs.requirements,
        constraints=described.inputs.constraints,
    )


def _locked(one: ManifestDistribution) -> LockedDistribution:
    return LockedDistribution(
        name=one.name,
        version=one.version,
        artifact=Artifact(
            kind=one.kind,  # type: ignore[arg-type]  # `manifest.read` checked it
            filename=one.filename,
            url=one.url,
            sha256=one.sha256,
            size=one.size,
            commit=one.commit,
        ),
        source=one.source,  # type: ignore[arg-type]  # `manifest.read` checked it
        requested=one.requested,
        extras=one.extras,
        required_by=one.required_by,
        yanked=one.yanked,
        index=one.index,
    )
