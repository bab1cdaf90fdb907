"""Verifies an existing bundle: by the verifier, as in the image, and by the checks of `create` once more.

bundle → findings of our own copy of the verifier → facts of its wheels, read from the tree → the checks
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from bundler.bundle import manifest, standalone, tree
from bundler.bundle.manifest import Manifest, ManifestDistribution
from bundler.bundle.tree import Tree
from bundler.checks import installed, policy, proof
from bundler.checks.imports.evidence import ImportEvidence, Reached, run_isolated
from bundler.checks.isolation import lacking
from bundler.checks.rules import conflicts, lost, misfits
from bundler.checks.rules.codes import finding
from bundler.errors import EnvbundleError, InputError, MachineError
from bundler.formats import checking, reading, referrers, unpacking
from bundler.lazy_dataclass import dataclass
from bundler.model import (
    DEFAULT_LIMITS,
    Artifact,
    Finding,
    Ignore,
    Interpreter,
    Lock,
    LockedDistribution,
    Policy,
    RoomLimits,
    Target,
)
from bundler.ontarget.signatures import FOLDER_ENDING, Rules, check_signatures
from bundler.system import json_values, room
from bundler.system import scratch as scratch_folders
from bundler.system.files import real_path
from bundler.system.json_values import Value
from bundler.system.progress import Progress
from bundler.targets import catalogue, interpreters, target
from bundler.targets.image import Image
from bundler.wheels.store import Store

DAMAGE = frozenset({"EB511", "EB512", "EB513", "EB514"})
ECHOES = frozenset({"EB105", "EB202", "EB203", "EB514"})
"""What the RECORDs show of a file whose damage the manifest shows already."""
ASSUMED = frozenset({"EB363", "EB364"})
"""Findings about what the image is said to have."""
PLACE = ASSUMED | {"EB361", "EB362"}
"""Findings about this machine, which need no file of the bundle."""
FURTHER = (Path("/opt"),)
"""Where libraries of an image may be beside the system's folders."""
WHAT_TO_NAME = "name the folder that `create` made, or an archive of it that envbundle has packed"


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of verifying a bundle."""

    bundle: Path
    interpreter: Interpreter
    checked: tuple[str, ...]
    """`files`, `target`, `imports`, `static`."""
    files: int
    isolation: tuple[str, ...]
    """What was in force while the verifier ran: see `ontarget/isolate.py`."""
    findings: tuple[Finding, ...]
    format: str = "dir"
    """Of `bundler.formats.NAMES`."""

    @property
    def not_isolated(self) -> tuple[str, ...]:
        """Parts of the isolation that were not in force while modules were imported."""
        return lacking(self.isolation) if "imports" in self.checked else ()

    @property
    def ok(self) -> bool:
        """Whether no finding is an error that nobody accepted."""
        return not policy.stops(Policy(), self.findings)


def verify(
    bundle: Path,
    *,
    python: str | None,
    imports: bool,
    image: str | None = None,
    rules: Rules | None = None,
    signatures: Path | None = None,
    limits: RoomLimits = DEFAULT_LIMITS,
    store: Store,
    progress: Progress,
    environ: Mapping[str, str],
) -> Verification:
    """Verify a bundle in any format; nothing in it is changed, trusted, or run by the host's Python.

    An archive is read as a stream. It is mounted or unpacked, in a private folder, only for imports and for
    the checks that read files.

    :param python: the interpreter to use; by default one is found for the Python that the manifest names.
    :param imports: import every module, in the isolation that the machine allows.
    :param image: name or file of the profile of the image where it is to run.
    :param rules: what its signature must fulfil; where it does not, nothing is imported.
    :param signatures: the folder with its signatures; `None`: beside the bundle, or in an OCI layout.
    :param limits: of what is imported.
    :raises InputError: it is no bundle, or not for this Python, or that image has another one.
    :raises MachineError: there is no interpreter for it, or the verifier broke.
    """
    kind = reading.kind_of(bundle)
    if kind is None and not bundle.is_dir():
        raise InputError(f"{bundle} is not a bundle, nor an archive of one", hint=WHAT_TO_NAME)
    bundle = real_path(bundle)
    document = _document(bundle, kind)
    minor = ".".join(document["target"]["python"].text(r"\d+\.\d+(\.\d+[a-z0-9+.]*)?").split(".")[:2])
    profile = catalogue.load(image) if image else None
    with progress.stage("target") as stage:
        interpreter = interpreters.find(
            python or minor,
            cache_dir=store.probes,
            managed_dir=store.python,
            allow_download=False,
            announce=progress.note,
            environ=environ,
        )
        stage.result = f"CPython {interpreter.version} ({interpreter.origin})"
    with scratch_folders.folder() as folder, progress.stage("verify") as stage:
        unsigned = _unsigned(bundle, rules, signatures, Path(folder)) if rules else ()
        imports = imports and not unsigned
        if imports and document["relies_on"].raw:
            progress.note("it leaves distributions to the image: only there its modules can be imported")
            imports = False
        place = _Place(scratch=Path(folder), store=store.root, limits=limits)
        context = _Context(interpreter=interpreter, imports=imports, image=profile, place=place)
        result = _folder(bundle, context) if kind in (None, "dir") else _archive(bundle, kind, context)
        if rules:
            checked = ("signature", *result.checked)
            result = replace(result, checked=checked, findings=(*unsigned, *result.findings))
        stage.result = f"{result.files} files; checked: {', '.join(result.checked)}"
    return result


def _unsigned(bundle: Path, rules: Rules, given: Path | None, scratch: Path) -> tuple[Finding, ...]:
    """Compare the signatures with the rules: of those in an OCI layout and beside it one will do."""
    data = reading.read_document(bundle, manifest.NAME)
    folders = [given or Path(f"{reading.stem(bundle)}{FOLDER_ENDING}")]
    if given is None and reading.kind_of(bundle) == "oci":
        folders = [*referrers.extracted(bundle, scratch), *folders]
    wrong = [check_signatures(data, str(folder), rules) for folder in folders]
    return tuple(
        finding(code, subject=subject, cause=cause)
        for code, subject, cause in (wrong[0] if all(wrong) else ())
    )


@dataclass(frozen=True, kw_only=True)
class _Place:
    scratch: Path
    store: Path
    """Nothing of the bundle sees it."""
    limits: RoomLimits


@dataclass(frozen=True, kw_only=True)
class _Context:
    interpreter: Interpreter
    imports: bool
    image: Image | None
    place: _Place


def _document(bundle: Path, kind: str | None) -> Value:
    """Read the manifest as JSON, without the check of its digest."""
    if kind in (None, "dir"):
        return json_values.load(bundle / manifest.NAME)
    return json_values.parse(
        reading.read_document(bundle, manifest.NAME), source=f"{bundle}: {manifest.NAME}"
    )


def _folder(bundle: Path, context: _Context) -> Verification:
    result = _run_verifier(bundle, context, imports=context.imports)
    described = _manifest(bundle, result.findings)
    if described is None or described.target.minor != context.interpreter.minor:
        return result
    static = _static(bundle, described, context.interpreter, context.image)
    findings = (*result.findings, *_without_echoes(static, result.findings))
    return replace(
        result,
        checked=(*result.checked, "static"),
        findings=policy.apply(_policy(described), findings),
    )


def _archive(bundle: Path, kind: str, context: _Context) -> Verification:
    """Verify an archive: its members as a stream; for imports or an image, also as a folder."""
    streamed = checking.check(bundle, kind=kind)
    if context.imports or context.image:
        with unpacking.opened(bundle, scratch=context.place.scratch) as folder:
            try:
                result = _folder(real_path(folder), context)
            except EnvbundleError as error:
                error.message = error.message.replace(str(real_path(folder)), str(bundle))
                raise
    else:
        result = _manifest_alone(streamed.manifest, context)
    known = {(one.code, one.subject) for one in result.findings}
    more = tuple(one for one in streamed.findings if (one.code, one.subject) not in known)
    return replace(result, bundle=bundle, format=kind, findings=(*more, *result.findings))


def _manifest_alone(data: bytes, context: _Context) -> Verification:
    """Compare this machine with the target in a manifest, without the files of the bundle."""
    folder = context.place.scratch / "described"
    folder.mkdir()
    (folder / manifest.NAME).write_bytes(data)
    result = _run_verifier(folder, context, imports=False)
    return replace(result, findings=tuple(one for one in result.findings if one.code in PLACE))


def _run_verifier(bundle: Path, context: _Context, *, imports: bool) -> Verification:
    """Run our copy of the verifier on the bundle: the one in it may have been changed."""
    script = context.place.scratch / "verify.py"
    script.write_text(standalone.source(), encoding="utf-8")
    words = [str(context.interpreter.executable), "-I", "-S", str(script), "--json"]
    words += [f"--import-timeout={context.place.limits.import_seconds}"] if imports else ["--no-imports"]
    show = [script, *(folder for folder in FURTHER if folder.is_dir())]
    done = run_isolated(
        words,
        prefix=bundle,
        scratch=context.place.scratch,
        interpreter=context.interpreter,
        show=show,
        cover=[context.place.store],
        limits=context.place.limits,
        check=False,
    )
    try:
        said: dict[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        raise MachineError("the verifier gave no result", hint=done.stderr[-400:] or None) from error
    root = said["bundle"]
    if "error" in said:
        message = str(said["error"]["message"]).replace(f"{root}/", f"{bundle}/")
        kind = InputError if said["error"]["exit_code"] == InputError.exit_code else MachineError
        raise kind(f"{bundle}: {message}" if str(bundle) not in message else message, hint=_hint(kind))
    return Verification(
        bundle=bundle,
        interpreter=context.interpreter,
        checked=tuple(said["checked"]),
        files=said["files"],
        isolation=done.isolation,
        findings=tuple(_finding(one, bundle=bundle, root=root) for one in said["findings"]),
    )


def _hint(kind: type[InputError | MachineError]) -> str:
    if kind is InputError:
        return "name a bundle's folder; with --python, an interpreter of the version that it is for"
    return "see to the machine, then run it again"


def _finding(said: Mapping[str, Any], *, bundle: Path, root: str) -> Finding:
    """Make a finding of one that the verifier printed, with the bundle's own path in it."""
    return Finding(
        code=said["code"],
        # This machine need not be the image, and may lack what the image is said to have.
        severity="warning" if said["code"] in ASSUMED else "error",
        subject=said["subject"],
        cause=said["cause"].replace(f"{root}/", "").replace(root, str(bundle)),
        remedy=room.limit_hit(said["cause"].rpartition("\n")[2]) or said["remedy"],
    )


def _manifest(bundle: Path, found: Iterable[Finding]) -> Manifest | None:
    """Read the manifest; `None` where it cannot be read and the verifier has reported it (EB515)."""
    try:
        return manifest.read(bundle)
    except InputError:
        if any(one.code == "EB515" for one in found):
            return None
        raise


def _static(
    bundle: Path, described: Manifest, interpreter: Interpreter, image: Image | None
) -> tuple[Finding, ...]:
    """Run the checks of `create` on the tree as it is now, with the import evidence of the manifest."""
    aim = _target(described, interpreter)
    if image:
        aim = replace(aim, **_figures(catalogue.target(image, interpreter, glibc=None), image))
    site_packages = aim.site_packages
    if not (bundle / site_packages).is_dir() or real_path(bundle / site_packages) != bundle / site_packages:
        return ()  # the verifier has reported each of its files as missing
    sizes = {file.path: file.size for file in (*described.files, *described.documents)}
    scanned = _without_documents(tree.scan(bundle, sizes=sizes), described)
    lock = _lock(described)
    wheels = installed.read_wheels(
        installed.Layout(
            prefix=bundle,
            site_packages=site_packages,
            # What has another size than the manifest says was not read, and is not: it may be endless.
            files={file.path: file for file in scanned.files if file.sha256},
            extension_suffixes=interpreter.extension_suffixes,
        ),
        lock.distributions,
        built_from={one.name: one.built_from for one in described.distributions if one.built_from},
    )
    inputs = proof.CheckInputs(
        prefix=bundle,
        lock=lock,
        wheels=wheels,
        target=aim,
        interpreter=interpreter,
        policy=_policy(described),
        image=image,
        relied=tuple(
            LockedDistribution(
                name=name, version=version, artifact=Artifact(kind="wheel", filename="", url=None)
            )
            for name, version in described.relies_on.items()
        ),
    )
    made = described.evidence
    evidence = ImportEvidence(
        modules=made.modules,
        libraries=made.libraries,
        without=made.without,
        reached=tuple(Reached(obligation=one) for one in made.reached),
    )
    return (
        *proof.static_findings(inputs, scanned),
        *proof.import_findings(inputs, evidence),
        *lost.dropped_from_upload([file.path for file in scanned.files], lost.ignore_files(bundle)),
        *(conflicts.server(lock, image, aim) if image else ()),
        *(misfits.relied(inputs.relied, image) if image else ()),
    )


def _figures(aim: Target, image: Image) -> dict[str, Any]:
    """Return the fields of a target that the image's profile tells; the others stay as in the manifest."""
    known: dict[str, Any] = (
        {"glibc": aim.glibc, "glibc_reason": aim.glibc_reason} if image.target.glibc else {}
    )
    if aim.python_version == image.target.python:
        known |= {"python_version": aim.python_version, "markers": aim.markers}
    return known


def _target(described: Manifest, interpreter: Interpreter) -> Target:
    """Return the target that the bundle was made for, though another release of its Python is used here."""
    version = described.target.python
    aim = target.for_interpreter(interpreter, glibc=described.target.glibc)
    markers = {**aim.markers, "python_full_version": version, "implementation_version": version}
    return replace(aim, python_version=version, markers=markers)


def _without_documents(scanned: Tree, described: Manifest) -> Tree:
    beside = {manifest.NAME, manifest.SUMS, *(file.path for file in described.documents)}
    return replace(scanned, files=tuple(file for file in scanned.files if file.path not in beside))


def _policy(described: Manifest) -> Policy:
    """Return the policy that accepts what was accepted when the bundle was made."""
    ignores = [
        Ignore(code=one.code, subject=one.subject, reason=one.accepted)
        for one in described.findings
        if one.accepted is not None
    ]
    return Policy(ignores=tuple(ignores), assumed_libraries=described.assumed_libraries)


def _without_echoes(static: Iterable[Finding], found: Iterable[Finding]) -> list[Finding]:
    """Leave out what the RECORDs show of files whose damage the manifest shows already.

    Where a RECORD itself is damaged or missing, that its files belong to no distribution is left out too.
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
    artifact = Artifact(**_shared_fields(Artifact, one))
    return LockedDistribution(artifact=artifact, **_shared_fields(LockedDistribution, one))


def _shared_fields(kind: type[Artifact | LockedDistribution], one: ManifestDistribution) -> dict[str, Any]:
    return {field.name: getattr(one, field.name) for field in fields(kind) if hasattr(one, field.name)}
