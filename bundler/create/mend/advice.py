"""Remedies that name versions: for findings and errors of which the table or the index knows what works."""

from __future__ import annotations

from dataclasses import replace

from bundler.create.mend import breakages
from bundler.create.mend.failure import Defect, defects, of_finding
from bundler.create.mend.observed import Observed
from bundler.errors import EnvbundleError, ProofError
from bundler.model import Finding


def advise(error: EnvbundleError, observed: Observed) -> None:
    """Name in the remedies of an error what works; warnings and information stay as they are."""
    if isinstance(error, ProofError):
        error.findings = tuple(_advised(one, observed) for one in error.findings)
        return
    for defect in defects(error, observed):
        if known := _known(defect, observed):
            error.hint = "; ".join([known, *([error.hint] if error.hint else [])])


def _advised(finding: Finding, observed: Observed) -> Finding:
    defect = of_finding(finding, observed) if finding.severity == "error" else None
    known = _known(defect, observed) if defect else ""
    return replace(finding, remedy=known) if known else finding


def _known(defect: Defect, observed: Observed) -> str:
    """What is known to cure a defect, in words; empty for nothing."""
    versions = defect.versions(observed)
    for row in breakages.matching(defect.text, versions):
        cures = [f"{name}{specifier}" for name, specifier in row.cures(versions).items()]
        added = [name for name in cures if row.adds and row.adds not in observed.versions]
        if cures:
            verb = "add" if added else "pin"
            return f"{verb} {' '.join(cures)}: {row.why} ({row.sources[0]})"
        if defect.kind == "build" and row.builds:
            held = " ".join(f"{name}{specifier}" for name, specifier in row.builds.items())
            return f"hold its build to {held} with --build-constraint: {row.why} ({row.sources[0]})"
        if not row.pins:
            why = row.why.replace("{importer}", defect.importer or "what imports it")
            return f"{why} ({row.sources[0]})"
    return "" if defect.kind == "import" else _of_index(defect, observed)


def _of_index(defect: Defect, observed: Observed) -> str:
    """The last version that has a wheel for the target, and for what this one has wheels."""
    from bundler.create import releases  # noqa: PLC0415 - it brings requests: 40 ms

    if observed.target is None or observed.settings is None or not defect.culprit:
        return ""
    name = defect.culprit
    version = observed.versions.get(name, defect.version)
    listed = releases.Releases(settings=observed.settings, target=observed.target).of(name)
    own = next((one for one in listed if str(one.version) == version), None)
    words = []
    last = releases.last_with_wheel(listed)
    if last is not None and str(last.version) != version:
        words.append(f"pin {name}=={last.version}, the last version with a wheel for the target")
    needs = releases.needs_of_wheels(own, observed.target) if own else ""
    if needs:
        words.append(f"{name} {version} has a wheel for {needs}")
    return "; ".join(words)
