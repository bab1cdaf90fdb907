"""Judges a site-packages folder that somebody made by hand, for a Python and an image; changes nothing of it.

A copy of the folder, laid out as a bundle is, goes through the checks of `create` that need no lock, imports
included. What the checks would compare with a lock is read from the folder itself.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement
from packaging.utils import canonicalize_name

from bundler.bundle import tree
from bundler.checks import installed, policy, proof
from bundler.checks.imports import evidence_cache, library_needs
from bundler.checks.imports.evidence import ImportEvidence
from bundler.checks.rules import libraries
from bundler.errors import InputError, MachineError
from bundler.lazy_dataclass import dataclass
from bundler.model import Artifact, Finding, Lock, LockedDistribution
from bundler.system import pep508
from bundler.system import scratch as scratch_folders
from bundler.system.files import real_path
from bundler.wheels import facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bundler.model import Interpreter, Policy, RoomLimits, StoredWheel, Target
    from bundler.targets.image import Image
    from bundler.wheels.store import Store

WHAT_TO_NAME = "name a site-packages folder, or a folder with lib/python3.8/site-packages"

AGAIN = "Install its distribution anew: pip install --no-deps --upgrade --target FOLDER NAME==VERSION."


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The result of an audit."""

    folder: Path
    """The site-packages folder."""
    distributions: tuple[str, ...]
    """`name==version`."""
    modules: int
    """How many were imported."""
    findings: tuple[Finding, ...]
    isolation: tuple[str, ...]
    """How the imports were isolated."""


def find(path: Path, target: Target) -> Path:
    """Return the site-packages folder that a path names.

    :raises InputError: there is none for this Python, or nothing stands in it.
    """
    if not path.is_dir():
        raise InputError(f"no such folder: {path}", hint=WHAT_TO_NAME)
    inside = path / target.site_packages
    folder = inside if inside.is_dir() else path
    if not any(folder.glob("*.dist-info")):
        raise InputError(f"{path}: no distribution is installed there", hint=WHAT_TO_NAME)
    return folder


def audit(
    path: Path,
    *,
    target: Target,
    interpreter: Interpreter,
    image: Image | None,
    accepted: Policy,
    store: Store,
    limits: RoomLimits,
) -> Audit:
    """Run the checks on a copy of a folder.

    :param path: a site-packages folder, or a prefix of it.
    :param accepted: what the caller decides about findings.
    :param store: what is imported does not see it, wherever it is; nothing is kept there.
    :param limits: of what is imported.
    :raises InputError: nothing is installed there, or it cannot be read.
    :raises MachineError: it could not be copied, or the importing program failed.
    """
    folder = find(path, target)
    with scratch_folders.folder() as place:
        prefix, scratch = real_path(place) / "tree", place / "scratch"
        scratch.mkdir()
        try:
            shutil.copytree(folder, prefix / target.site_packages, symlinks=True)
        except (OSError, shutil.Error) as error:
            raise MachineError(
                f"{folder} could not be copied: {error}", hint="see to its permissions"
            ) from error
        importer = evidence_cache.Importer(
            prefix=prefix,
            site_packages=target.site_packages,
            interpreter=interpreter,
            scratch=scratch,
            store=store,
            limits=limits,
        )
        return _audit(importer, folder, target=target, image=image, accepted=accepted)


def _audit(
    importer: evidence_cache.Importer,
    folder: Path,
    *,
    target: Target,
    image: Image | None,
    accepted: Policy,
) -> Audit:
    prefix, interpreter = importer.prefix, importer.interpreter
    scanned = tree.scan(prefix)
    layout = installed.Layout(
        prefix=prefix,
        site_packages=target.site_packages,
        files={file.path: file for file in scanned.files},
        extension_suffixes=interpreter.extension_suffixes,
    )
    seen = installed.read(prefix / target.site_packages)
    bare = {one.name: _locked(one.name, one.version) for one in seen.distributions}
    wheels = installed.read_wheels(layout, bare.values(), built_from={})
    known = _with_parents(bare, wheels, target.markers)
    inputs = proof.CheckInputs(
        prefix=prefix,
        lock=Lock(
            python_version=target.python_version,
            machine=target.machine,
            glibc=target.glibc,
            distributions=tuple(known[name] for name in sorted(known)),
        ),
        wheels=tuple(replace(wheel, locked=known[wheel.locked.name]) for wheel in wheels),
        target=target,
        interpreter=interpreter,
        policy=accepted,
        image=image,
    )
    brought = {name: one.modules for name, one in inputs.facts.items()}
    brought[""] = _loose_modules(layout, seen)
    evidence = importer.import_modules(brought, obligations=inputs.obligations)

    def doubtful(seen: ImportEvidence) -> tuple[str, ...]:
        return libraries.doubtful(seen, inputs.facts, inputs.linkage(seen))

    evidence = library_needs.import_without(evidence, doubtful=doubtful, importer=importer)
    findings = (*proof.static_findings(inputs, scanned), *proof.import_findings(inputs, evidence))
    return Audit(
        folder=folder,
        distributions=tuple(f"{one.name}=={one.version}" for one in inputs.lock.distributions),
        modules=len(evidence.modules),
        findings=policy.apply(accepted, _as_of_folder(findings, target.site_packages)),
        isolation=evidence.isolation,
    )


def _loose_modules(layout: installed.Layout, seen: installed.Observed) -> tuple[str, ...]:
    """Return the modules of the files and folders at the top in which no RECORD lists anything."""
    inside = f"{layout.site_packages}/"
    rows = installed.read_records(layout.prefix, layout.site_packages, seen)
    listed = {row.path.removeprefix(inside).partition("/")[0] for row in rows}
    paths = [path.removeprefix(inside) for path in layout.files if path.startswith(inside)]
    return facts.modules(
        layout.prefix / layout.site_packages,
        [path for path in paths if path.partition("/")[0] not in listed],
        extension_suffixes=layout.extension_suffixes,
    )


def _as_of_folder(findings: Iterable[Finding], site_packages: str) -> Iterator[Finding]:
    """Say findings about a bundle as what they are for a folder that was made by hand.

    What a RECORD lists beside site-packages cannot be in the folder. What is in no RECORD is told once for
    each package, and only warned of: it may be the service's own code.
    """
    findings = tuple(findings)
    # `pip install --target` puts scripts into the folder itself, which the RECORD lists as ../../bin/NAME.
    scripts = {f"bin/{one.subject.rpartition('/')[2]}" for one in findings if one.code == "EB202"}
    strange: dict[str, int] = defaultdict(int)
    for one in findings:
        inner = one.subject.removeprefix(f"{site_packages}/")
        if one.code == "EB105" and inner in scripts:
            continue
        if one.code == "EB105":
            strange[inner.partition("/")[0]] += 1
        elif one.code != "EB202" or inner != one.subject:
            remedy = AGAIN if one.remedy.startswith("Create the bundle again") else one.remedy
            yield replace(one, subject=inner, remedy=remedy)
    for top, count in sorted(strange.items()):
        yield Finding(
            code="EB105",
            severity="warning",
            subject=top,
            cause=f"{count} of its files {'is' if count == 1 else 'are'} in no distribution's RECORD",
            remedy="If it is your own code, make a project of it and install that; if it was installed, "
            f"{AGAIN[0].lower()}{AGAIN[1:]}",
        )


def _locked(name: str, version: str) -> LockedDistribution:
    return LockedDistribution(
        name=name, version=version, artifact=Artifact(kind="wheel", filename="", url=None)
    )


def _with_parents(
    bare: Mapping[str, LockedDistribution], wheels: Iterable[StoredWheel], markers: Mapping[str, str]
) -> dict[str, LockedDistribution]:
    """Return the distributions with what requires each; one that nothing requires counts as asked for."""
    parents: dict[str, set[str]] = defaultdict(set)
    for wheel in wheels:
        for text in wheel.facts.requires:
            try:
                required = pep508.requirement(text)
            except InvalidRequirement:
                continue  # EB203 says what is wrong with it, where it counts
            if required.marker is None or required.marker.evaluate({**markers, "extra": ""}):
                parents[canonicalize_name(required.name)].add(wheel.locked.name)
    return {
        name: replace(
            one, required_by=tuple(sorted(parents[name] - {name})), requested=not parents[name] - {name}
        )
        for name, one in bare.items()
    }
