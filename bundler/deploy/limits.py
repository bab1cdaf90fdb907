"""What a platform cannot hold, as findings: sizes, glibc, libraries beside site-packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.model import Finding
from bundler.targets import catalogue
from bundler.wheels import elf

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bundler.deploy.order import Order
    from bundler.model import FileFact, Severity

LARGEST = 5
EXAMPLES = 3


def size(
    order: Order, files: Iterable[FileFact], *, limit: int, platform: str, severity: Severity = "error"
) -> tuple[Finding, ...]:
    """Compare what will be unpacked with a limit in bytes (EB516)."""
    total = sum(file.size for file in files)
    if total <= limit:
        return ()
    largest = sorted(order.manifest.distributions, key=lambda dist: (-dist.bytes, dist.name))[:LARGEST]
    names = ", ".join(f"{dist.name} {dist.version} ({dist.bytes / 1e6:.1f} MB)" for dist in largest)
    return (
        Finding(
            code="EB516",
            severity=severity,
            subject=platform,
            cause=f"{platform} takes {limit:,} bytes, the bundle has {total:,}: {total - limit:,} too many",
            remedy=f"leave out what the service does not need, or split it; the largest are {names}",
        ),
    )


def count(order: Order, *, limit: int, platform: str, severity: Severity) -> tuple[Finding, ...]:
    """Compare the number of files with a limit (EB516)."""
    files = len(order.manifest.files) + len(order.manifest.documents) + 2
    if files <= limit:
        return ()
    largest = sorted(order.manifest.distributions, key=lambda dist: (-dist.files, dist.name))[:LARGEST]
    names = ", ".join(f"{dist.name} {dist.version} ({dist.files})" for dist in largest)
    return (
        Finding(
            code="EB516",
            severity=severity,
            subject=platform,
            cause=f"{platform} takes {limit:,} files, the bundle has {files:,}: {files - limit:,} too many",
            remedy=f"deploy with v2, or build an image (--to docker); most files are of {names}",
        ),
    )


def glibc_of(image: str) -> tuple[int, int] | None:
    """What the catalogue says of an image's glibc; `None`: nothing."""
    return catalogue.load(image).target.glibc if image in catalogue.names() else None


def glibc(order: Order, *, has: tuple[int, int] | None, platform: str) -> tuple[Finding, ...]:
    """Look for native files that need a newer glibc than the platform has (EB301).

    The symbol versions in the files decide, not the tags of the wheels nor the bundle's target.

    :param has: `None` where it is not known; then nothing is said.
    """
    wanted = tuple(int(part) for part in order.manifest.target.glibc.split("."))
    if has is None or wanted <= has:
        return ()
    found: dict[str, tuple[int, int]] = {}
    for fact in elf.scan(order.bundle, order.manifest.files):
        needed = max((version for name in fact.versions if (version := _version(name))), default=(0, 0))
        if needed > has:
            found[fact.path] = needed
    if not found:
        return ()
    worst = sorted(found, key=lambda path: (found[path], path), reverse=True)
    shown = ", ".join(f"{path} (GLIBC_{found[path][0]}.{found[path][1]})" for path in worst[:EXAMPLES])
    return (
        Finding(
            code="EB301",
            severity="error",
            subject=platform,
            cause=f"{platform} has glibc {has[0]}.{has[1]}; {len(found)} files need a newer one: {shown}",
            remedy=f"create the bundle with --glibc {has[0]}.{has[1]}",
        ),
    )


def _version(name: str) -> tuple[int, int] | None:
    """`libc.so.6:GLIBC_2.17` → (2, 17)."""
    _, mark, version = name.partition(":GLIBC_")
    parts = version.split(".")
    return (
        (int(parts[0]), int(parts[1])) if mark and len(parts) > 1 and all(map(str.isdigit, parts)) else None
    )


def outside(order: Order, *, platform: str) -> tuple[Finding, ...]:
    """Look for libraries beside site-packages, where the platform takes site-packages alone (EB517).

    They are found by paths relative to the files that need them, which the other layout breaks.
    """
    lost = [
        file.path
        for file in order.manifest.files
        if not file.path.startswith(f"{order.site_packages}/") and elf.NAMED_SO.search(file.path)
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
