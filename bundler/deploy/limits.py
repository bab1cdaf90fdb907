"""Checks a bundle against the limits of a platform: sizes, glibc, libraries beside site-packages."""

from __future__ import annotations

from collections.abc import Iterable

from bundler.bundle import needs
from bundler.deploy.platform import PlanRequest
from bundler.model import FileFact, Finding, Severity
from bundler.targets import catalogue
from bundler.wheels import elf

LARGEST = 5
EXAMPLES = 3


def size(
    request: PlanRequest,
    files: Iterable[FileFact],
    *,
    limit: int,
    platform: str,
    severity: Severity = "error",
) -> tuple[Finding, ...]:
    """Compare the size of what the platform unpacks with its limit in bytes (EB516)."""
    total = sum(file.size for file in files)
    if total <= limit:
        return ()
    largest = sorted(request.manifest.distributions, key=lambda dist: (-dist.bytes, dist.name))[:LARGEST]
    names = ", ".join(f"{dist.name} {dist.version} ({dist.bytes / 1e6:.1f} MB)" for dist in largest)
    remedy = f"leave out what the service does not need, or split it; the largest are {names}"
    return (_too_many(platform, severity, (total, limit, "bytes"), remedy),)


def count(request: PlanRequest, *, limit: int, platform: str, severity: Severity) -> tuple[Finding, ...]:
    """Compare the number of files with the platform's limit (EB516)."""
    files = len(request.manifest.files) + len(request.manifest.documents) + 2
    if files <= limit:
        return ()
    largest = sorted(request.manifest.distributions, key=lambda dist: (-dist.files, dist.name))[:LARGEST]
    names = ", ".join(f"{dist.name} {dist.version} ({dist.files})" for dist in largest)
    remedy = f"deploy with v2, or build an image (--to docker); most files are of {names}"
    return (_too_many(platform, severity, (files, limit, "files"), remedy),)


def _too_many(platform: str, severity: Severity, numbers: tuple[int, int, str], remedy: str) -> Finding:
    has, limit, unit = numbers
    cause = f"{platform} takes {limit:,} {unit}, the bundle has {has:,}: {has - limit:,} too many"
    return Finding(code="EB516", severity=severity, subject=platform, cause=cause, remedy=remedy)


def glibc_of(image: str) -> tuple[int, int] | None:
    """Return an image's glibc from the catalogue; `None`: unknown."""
    return catalogue.load(image).target.glibc if image in catalogue.names() else None


def glibc(request: PlanRequest, *, has: tuple[int, int] | None, platform: str) -> tuple[Finding, ...]:
    """Look for native files that need a newer glibc than the platform has (EB301).

    The symbol versions in the files decide, not the tags of the wheels nor the bundle's target.

    :param has: the platform's glibc; `None`: unknown, and nothing is checked.
    """
    wanted = tuple(int(part) for part in request.manifest.target.glibc.split("."))
    if has is None or wanted <= has:
        return ()
    found: list[tuple[tuple[int, ...], str]] = []
    for fact in elf.scan(request.bundle, request.manifest.files):
        versions = (version for _, family, version in needs.symbols(fact) if family == "GLIBC")
        highest = max(versions, default=(0,))
        if highest > has:
            found.append((highest, fact.path))
    if not found:
        return ()
    worst = sorted(found, reverse=True)[:EXAMPLES]
    shown = ", ".join(f"{path} (GLIBC_{'.'.join(map(str, version))})" for version, path in worst)
    return (
        Finding(
            code="EB301",
            severity="error",
            subject=platform,
            cause=f"{platform} has glibc {has[0]}.{has[1]}; {len(found)} files need a newer one: {shown}",
            remedy=f"create the bundle with --glibc {has[0]}.{has[1]}",
        ),
    )


def outside(request: PlanRequest, *, platform: str) -> tuple[Finding, ...]:
    """Look for libraries beside site-packages, where the platform takes site-packages alone (EB517).

    They are found by paths relative to the files that need them, which the other layout breaks.
    """
    lost = [
        file.path
        for file in request.manifest.files
        if not file.path.startswith(f"{request.site_packages}/") and elf.NAMED_SO.search(file.path)
    ]
    if not lost:
        return ()
    return (
        Finding(
            code="EB517",
            severity="error",
            subject=platform,
            cause=f"{platform} takes site-packages alone, and {len(lost)} libraries lie beside it: "
            f"{', '.join(lost[:EXAMPLES])}",
            remedy="use a platform that takes the whole bundle (docker, kubernetes, aws-lambda), or a "
            "distribution whose wheel keeps its libraries inside",
        ),
    )
