"""`manifest.json`: what is in a bundle, for which target, and what was proved of it.

Format: docs/manifest.md and manifest.schema.json. It is a function of the inputs, the lock, the target
and the tree alone: no time, no path of the builder, no variable of its caller, so that the same bundle made
again has the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import bundler
from bundler import filerows, redact
from bundler.model import CheckResult, Evidence, FileFact, Finding, Isolation
from bundler.ontarget import files as ontarget_files
from bundler.untrusted import Value, load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bundler.model import (
        Interpreter,
        Lock,
        LockedDistribution,
        Target,
        WheelFacts,
    )

KIND = "envbundle-manifest"
SCHEMA_VERSION = "1.0"
NAME = ontarget_files.MANIFEST
SUMS = ontarget_files.SUMS


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What was asked for, as written, without credentials and local paths."""

    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    sha256: str
    """Of both lists: tells at a glance whether two bundles were asked for alike."""


@dataclass(frozen=True, kw_only=True)
class ManifestTarget:
    """The target as the verifier compares it."""

    python: str
    """Full version."""
    implementation: str
    abi: str
    machine: str
    glibc: str
    glibc_reason: str


@dataclass(frozen=True, kw_only=True)
class Builder:
    """The interpreter that built it, as far as that is no fact of the builder's disk."""

    version: str
    conda: bool
    managed: bool
    """Fetched by envbundle, not found on the machine."""


@dataclass(frozen=True, kw_only=True)
class ManifestDistribution:
    """A distribution of the bundle."""

    name: str
    version: str
    source: str
    kind: str
    filename: str
    url: str | None
    index: str | None
    commit: str | None
    sha256: str | None
    size: int | None
    requested: bool
    extras: tuple[str, ...]
    required_by: tuple[str, ...]
    yanked: str | None
    built_from: str | None
    """sha256 or commit of the source that it was built from by envbundle; `None`: a wheel was fetched."""
    files: int
    bytes: int
    """Installed."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of a manifest.json."""

    tool_version: str
    inputs: Inputs
    target: ManifestTarget
    interpreter: Builder
    environment: Mapping[str, str]
    """Variable → path relative to the bundle."""
    distributions: tuple[ManifestDistribution, ...]
    checks: tuple[CheckResult, ...]
    findings: tuple[Finding, ...]
    evidence: Evidence
    assumed_libraries: tuple[str, ...]
    """SONAMEs that the image is said to have; the verifier looks for them there."""
    relies_on: Mapping[str, str]
    """Normalised name → version of what the image must have (`--thin`); the verifier looks for it there."""
    image: str | None
    """Name of the image's profile; `None`: none was named."""
    documents: tuple[FileFact, ...]
    """The files beside the tree: lock, verifier …, without manifest and checksums."""
    files: tuple[FileFact, ...]
    """The tree."""

    @property
    def digest(self) -> str:
        """The one digest of the tree: the same for the same lock and target."""
        return ontarget_files.tree_digest(filerows.rows(self.files))


def _inputs(lock: Lock) -> Inputs:
    text = json.dumps([lock.requirements, lock.constraints])
    return Inputs(
        requirements=lock.requirements,
        constraints=lock.constraints,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


def _target(target: Target) -> ManifestTarget:
    return ManifestTarget(
        python=target.python_version,
        implementation=target.implementation,
        abi=target.abi,
        machine=target.machine,
        glibc=f"{target.glibc[0]}.{target.glibc[1]}",
        glibc_reason=target.glibc_reason,
    )


def document(path: str, text: str) -> FileFact:
    """Return the row of a file that is written beside the tree as UTF-8."""
    data = text.encode()
    return FileFact(path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def build(
    *,
    target: Target,
    interpreter: Interpreter,
    lock: Lock,
    facts: Mapping[str, WheelFacts],
    built_from: Mapping[str, str],
    files: Sequence[FileFact],
    documents: Sequence[FileFact],
    checks: Sequence[CheckResult],
    findings: Sequence[Finding],
    evidence: Evidence,
    environment: Mapping[str, str],
    assumed_libraries: Sequence[str] = (),
    relies_on: Mapping[str, str] | None = None,
    image: str | None = None,
) -> Manifest:
    """Put a manifest together.

    :param facts: normalised name → facts of its wheel.
    :param built_from: normalised name → source, for what was built here.
    :param files: the tree (`bundler.tree.scan`), without the documents.
    :param environment: variable → path relative to the bundle.
    :param assumed_libraries: SONAMEs that the caller says the image has.
    :param relies_on: normalised name → version of what was left to the image.
    :param image: name of the image's profile.
    """
    # Whose variables and pip settings were held back depends on the caller, and the result must not.
    quiet = Isolation(proof=tuple(sorted(evidence.isolation.proof)))
    return Manifest(
        tool_version=bundler.__version__,
        inputs=_inputs(lock),
        target=_target(target),
        interpreter=Builder(
            version=interpreter.version, conda=interpreter.conda, managed=interpreter.origin == "managed"
        ),
        environment=dict(sorted(environment.items())),
        distributions=tuple(
            _distribution(dist, facts[dist.name], built_from.get(dist.name)) for dist in lock.distributions
        ),
        checks=tuple(checks),
        findings=tuple(findings),
        evidence=Evidence(
            baseline_freeze=evidence.baseline_freeze,
            freeze=evidence.freeze,
            expected=tuple(sorted(evidence.expected)),
            modules=tuple(sorted(evidence.modules)),
            libraries=tuple(sorted(evidence.libraries)),
            without=evidence.without,
            isolation=quiet,
        ),
        assumed_libraries=tuple(sorted(set(assumed_libraries))),
        relies_on=dict(sorted((relies_on or {}).items())),
        image=image,
        documents=filerows.ordered(documents),
        files=filerows.ordered(files),
    )


def _distribution(
    dist: LockedDistribution, facts: WheelFacts, built_from: str | None
) -> ManifestDistribution:
    artifact = dist.artifact
    return ManifestDistribution(
        name=dist.name,
        version=dist.version,
        source=dist.source,
        kind=artifact.kind,
        filename=artifact.filename,
        url=redact.url(artifact.url) if artifact.url and not artifact.url.startswith("file:") else None,
        index=redact.url(dist.index) if dist.index and not dist.index.startswith("file:") else None,
        commit=artifact.commit,
        sha256=artifact.sha256,
        size=artifact.size,
        requested=dist.requested,
        extras=tuple(sorted(dist.extras)),
        required_by=tuple(sorted(dist.required_by)),
        yanked=dist.yanked,
        built_from=built_from,
        files=len(facts.files),
        bytes=sum(file.size for file in facts.files),
    )


def as_dict(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest as JSON's values, digests included."""
    evidence = asdict(manifest.evidence)
    evidence["proof"] = evidence.pop("isolation")["proof"]
    content = {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "tool": {"name": "envbundle", "version": manifest.tool_version},
        "digest": manifest.digest,
        "target": asdict(manifest.target),
        "interpreter": asdict(manifest.interpreter),
        "inputs": asdict(manifest.inputs),
        "environment": dict(manifest.environment),
        "distributions": [asdict(one) for one in manifest.distributions],
        "checks": [asdict(one) for one in manifest.checks],
        "findings": [asdict(one) for one in manifest.findings],
        "evidence": evidence,
        "assumed_libraries": list(manifest.assumed_libraries),
        "relies_on": dict(manifest.relies_on),
        "image": manifest.image,
        "documents": [list(row) for row in filerows.rows(manifest.documents)],
        "files": [list(row) for row in filerows.rows(manifest.files)],
    }
    content["manifest_digest"] = ontarget_files.manifest_digest(content)
    return content


def render(manifest: Manifest) -> str:
    """Return the text of manifest.json: ASCII, a file a line, so that two of them can be compared."""
    content = as_dict(manifest)
    lists = {key: content.pop(key) for key in ("documents", "files")}
    head = json.dumps(content, indent=2).removesuffix("\n}")
    return (
        ",\n".join([head, *(f'  "{key}": {filerows.render(rows)}' for key, rows in lists.items())]) + "\n}\n"
    )


def checksums(manifest: Manifest, text: str) -> str:
    """Return the SHA256SUMS of every file of a bundle but itself.

    :param text: what `render` gave for the manifest.
    """
    rows = [(file.path, file.sha256) for file in (*manifest.files, *manifest.documents)]
    return ontarget_files.sums_text([*rows, (NAME, hashlib.sha256(text.encode()).hexdigest())])


def is_bundle(folder: Path) -> bool:
    """Tell whether a folder holds a manifest of ours, of whatever version; symlinks count for nothing."""
    path = folder / NAME
    try:
        if path.is_symlink() or not path.is_file():
            return False
        with path.open("rb") as stream:
            head = stream.read(200)
    except OSError:
        return False
    return head.startswith(b"{") and f'"kind": "{KIND}"'.encode() in head


def read(path: Path) -> Manifest:
    """Read a manifest, or the one of the bundle folder `path`; believe nothing in it.

    :raises InputError: unreadable, not a manifest of major version 1, or wrong at a place that is named;
        also where one of its digests does not fit.
    """
    value, _ = load(path / NAME if path.is_dir() else path)
    if value["kind"].text() != KIND:
        value["kind"].fail("is not envbundle's")
    if value["schema_version"].text(r"\d{1,4}\.\d{1,4}").partition(".")[0] != "1":
        value["schema_version"].fail("is not one that this envbundle reads; use a newer one")
    if ontarget_files.manifest_digest(value.raw) != value["manifest_digest"].sha256():
        value["manifest_digest"].fail("does not fit the content")
    tool = value["tool"]
    tool["name"].choice("envbundle")
    manifest = Manifest(
        tool_version=tool["version"].text(),
        inputs=_read_inputs(value["inputs"]),
        target=_read_target(value["target"]),
        interpreter=Builder(
            version=value["interpreter"]["version"].text(),
            conda=value["interpreter"]["conda"].flag(),
            managed=value["interpreter"]["managed"].flag(),
        ),
        environment={one: value["environment"][one].path() for one in _names(value["environment"])},
        distributions=tuple(_read_distribution(one) for one in value["distributions"]),
        checks=tuple(_read_check(one) for one in value["checks"]),
        findings=tuple(_read_finding(one) for one in value["findings"]),
        evidence=_read_evidence(value["evidence"]),
        assumed_libraries=value["assumed_libraries"].texts(),
        relies_on={one: value["relies_on"][one].text(r"[^\s/\\\0]+") for one in _names(value["relies_on"])},
        image=_text_or_none(value["image"]),
        documents=filerows.read(value["documents"], forbidden=(NAME, SUMS)),
        files=filerows.read(value["files"], forbidden=(NAME, SUMS)),
    )
    twice = {file.path for file in manifest.files} & {file.path for file in manifest.documents}
    if twice:
        value["documents"].fail(f"{min(twice)!r} is in `files` as well")
    if manifest.digest != value["digest"].sha256():
        value["digest"].fail("does not fit the files")
    return manifest


def _names(value: Value) -> list[str]:
    if not isinstance(value.raw, dict):
        value.fail("must be an object")
    return sorted(value.raw)


def _read_inputs(value: Value) -> Inputs:
    return Inputs(
        requirements=value["requirements"].texts(),
        constraints=value["constraints"].texts(),
        sha256=value["sha256"].sha256(),
    )


def _read_target(value: Value) -> ManifestTarget:
    return ManifestTarget(
        python=value["python"].text(r"\d+\.\d+\.\d+[a-z0-9+.]*"),
        implementation=value["implementation"].text(r"\w+"),
        abi=value["abi"].text(r"\w+"),
        machine=value["machine"].text(r"\w+"),
        glibc=value["glibc"].text(r"\d{1,4}\.\d{1,4}"),
        glibc_reason=value["glibc_reason"].text(),
    )


def _text_or_none(value: Value) -> str | None:
    return None if value.raw is None else value.text()


def _read_distribution(value: Value) -> ManifestDistribution:
    return ManifestDistribution(
        name=value["name"].text(r"[a-z0-9]+(-[a-z0-9]+)*"),
        version=value["version"].text(r"[^\s/\\\0]+"),
        source=value["source"].choice("index", "url", "vcs", "local"),
        kind=value["kind"].choice("wheel", "sdist", "vcs", "directory"),
        filename=value["filename"].text(r"[^/\0]*"),
        url=_text_or_none(value["url"]),
        index=_text_or_none(value["index"]),
        commit=_text_or_none(value["commit"]),
        sha256=None if value["sha256"].raw is None else value["sha256"].sha256(),
        size=None if value["size"].raw is None else value["size"].number(),
        requested=value["requested"].flag(),
        extras=value["extras"].texts(),
        required_by=value["required_by"].texts(),
        yanked=_text_or_none(value["yanked"]),
        built_from=_text_or_none(value["built_from"]),
        files=value["files"].number(),
        bytes=value["bytes"].number(),
    )


def _read_check(value: Value) -> CheckResult:
    outcome = value["outcome"].choice("passed", "warned", "failed")
    return CheckResult(code=value["code"].text(r"EB\d{3}"), outcome=outcome)  # type: ignore[arg-type]  # `choice` checked it


def _read_finding(value: Value) -> Finding:
    severity = value["severity"].choice("error", "warning", "info")
    return Finding(
        code=value["code"].text(r"EB\d{3}"),
        severity=severity,  # type: ignore[arg-type]  # `choice` checked it
        subject=value["subject"].text(),
        cause=value["cause"].text(),
        remedy=value["remedy"].text(),
        chain=value["chain"].texts(),
        accepted=_text_or_none(value["accepted"]),
    )


def _read_evidence(value: Value) -> Evidence:
    return Evidence(
        baseline_freeze=value["baseline_freeze"].texts(),
        freeze=value["freeze"].texts(),
        expected=value["expected"].texts(),
        modules=value["modules"].texts(),
        libraries=value["libraries"].texts(),
        without=value["without"].texts(),
        isolation=Isolation(proof=value["proof"].texts()),
    )
