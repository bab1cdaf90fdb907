"""`manifest.json`: what is in a bundle, for which target, and what was proved of it.

Format: docs/manifest.md and manifest.schema.json. It is a function of the inputs, the lock, the target
and the tree alone: no time, no path of the builder, no variable of its caller, so that the same bundle made
again has the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Container, Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import bundler
from bundler.bundle import needs
from bundler.bundle.manifest.reader import parse, read
from bundler.bundle.manifest.values import (
    KIND,
    NAME,
    SCHEMA_VERSION,
    SUMS,
    Builder,
    Content,
    Inputs,
    Manifest,
    ManifestAttestations,
    ManifestDistribution,
    ManifestTarget,
    Tool,
    file_rows,
    ordered,
    render_rows,
)
from bundler.model import (
    CheckResult,
    Evidence,
    FileFact,
    Finding,
    Interpreter,
    Isolation,
    Lock,
    StoredWheel,
    Target,
)
from bundler.ontarget.bounded import open_regular
from bundler.ontarget.checksums import manifest_digest, sums_text
from bundler.system import redact
from bundler.system.json_values import as_json
from bundler.wheels import elf

__all__ = [
    "KIND",
    "NAME",
    "SUMS",
    "Manifest",
    "ManifestAttestations",
    "ManifestDistribution",
    "build",
    "checksums",
    "document",
    "is_bundle",
    "parse",
    "read",
    "render",
]


def document(path: str, text: str) -> FileFact:
    """Return the row of a file that is written beside the tree as UTF-8."""
    data = text.encode()
    return FileFact(path=path, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def build(
    *,
    target: Target,
    interpreter: Interpreter,
    lock: Lock,
    wheels: Iterable[StoredWheel],
    files: Iterable[FileFact],
    checks: Iterable[CheckResult],
    findings: Iterable[Finding],
    evidence: Evidence,
    assumed_libraries: Iterable[str] = (),
    relies_on: Mapping[str, str] | None = None,
    image: str | None = None,
    notes: Iterable[str] = (),
    attestations: Iterable[ManifestAttestations] = (),
) -> Manifest:
    """Put a manifest together, as yet without documents.

    :param wheels: of the tree; `lock` may have more.
    :param files: the tree (`bundler.bundle.tree.scan`).
    :param assumed_libraries: SONAMEs that the caller says the image has.
    :param relies_on: normalised name → version of what was left to the image.
    :param image: name of the image's profile.
    :param notes: what the inputs told besides their requirements.
    """
    wheels = tuple(wheels)
    roots = replace(lock, distributions=tuple(wheel.locked for wheel in wheels)).roots
    asked = json.dumps([lock.requirements, lock.constraints])
    return Manifest(
        tool=Tool(version=bundler.__version__),
        target=_target(target),
        interpreter=Builder(
            version=interpreter.version, conda=interpreter.conda, managed=interpreter.origin == "managed"
        ),
        inputs=Inputs(
            requirements=lock.requirements,
            constraints=lock.constraints,
            sha256=hashlib.sha256(asked.encode()).hexdigest(),
            notes=tuple(notes),
        ),
        environment={"PYTHONPATH": target.site_packages},
        distributions=tuple(_distribution(wheel, roots, target.site_packages) for wheel in wheels),
        checks=tuple(checks),
        findings=tuple(findings),
        evidence=replace(
            evidence,
            expected=tuple(sorted(evidence.expected)),
            modules=tuple(sorted(evidence.modules)),
            libraries=tuple(sorted(evidence.libraries)),
            # Whose variables and pip settings were held back depends on the caller, and the result must not.
            isolation=Isolation(proof=tuple(sorted(evidence.isolation.proof))),
        ),
        assumed_libraries=tuple(sorted(set(assumed_libraries))),
        relies_on=dict(sorted((relies_on or {}).items())),
        image=image,
        needs=needs.of((fact for wheel in wheels for fact in wheel.facts.native), target),
        attestations=tuple(attestations),
        documents=(),
        files=ordered(files),
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


def _distribution(wheel: StoredWheel, roots: Container[str], site_packages: str) -> ManifestDistribution:
    dist, artifact, facts = wheel.locked, wheel.locked.artifact, wheel.facts
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
        root=dist.name in roots,
        extras=tuple(sorted(dist.extras)),
        required_by=tuple(sorted(dist.required_by)),
        yanked=dist.yanked,
        built_from=wheel.built_from,
        files=len(facts.files),
        bytes=sum(file.size for file in facts.files),
        licence=facts.licence,
        entry_points=facts.entry_points,
        native=tuple(sorted(fact.path for fact in facts.native if fact.problem != elf.NOT_ELF)),
        contents=_contents(facts.files, site_packages),
        built=dist.built,
    )


def _contents(files: Iterable[FileFact], site_packages: str) -> tuple[Content, ...]:
    """Add up files by what stands at the top: below site-packages, and beside it."""
    counts: dict[str, list[int]] = {}
    for file in files:
        inner = file.path.removeprefix(f"{site_packages}/")
        top, _, rest = inner.partition("/")
        if inner == file.path:
            top = f"{top}/" if rest else "./"
        elif top == "__pycache__" and "/" not in rest:
            top = f"{rest.rsplit('.', 2)[0]}.py"  # bytecode counts as its source
        one = counts.setdefault(top, [0, 0])
        one[0] += 1
        one[1] += file.size
    return tuple(Content(name=name, files=one[0], bytes=one[1]) for name, one in sorted(counts.items()))


def render(manifest: Manifest) -> str:
    """Return the text of manifest.json: ASCII, a file a line, so that two of them can be compared."""
    lists = {"documents": file_rows(manifest.documents), "files": file_rows(manifest.files)}
    content: dict[str, Any] = {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "tool": as_json(manifest.tool),
        "digest": manifest.digest,
        **{
            one.name: as_json(getattr(manifest, one.name))
            for one in fields(manifest)
            if one.name not in lists and (manifest.attestations or one.name != "attestations")
        },
    }
    content["evidence"]["proof"] = content["evidence"].pop("isolation")["proof"]
    content["manifest_digest"] = manifest_digest({**content, **lists})
    head = json.dumps(content, indent=2).removesuffix("\n}")
    return ",\n".join([head, *(f'  "{key}": {render_rows(rows)}' for key, rows in lists.items())]) + "\n}\n"


def checksums(manifest: Manifest, text: str) -> str:
    """Return the SHA256SUMS of every file of a bundle but itself.

    :param text: what `render` gave for the manifest.
    """
    files = (*manifest.files, *manifest.documents, document(NAME, text))
    return sums_text((file.path, file.sha256) for file in files)


def is_bundle(folder: Path) -> bool:
    """Tell whether a folder holds a manifest of ours, of whatever version; symlinks count for nothing."""
    try:
        with os.fdopen(open_regular(folder / NAME), "rb") as stream:
            head = stream.read(200)
    except OSError:
        return False
    return head.startswith(b"{") and f'"kind": "{KIND}"'.encode() in head
