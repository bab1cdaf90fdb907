"""Manifests and differences for reports, made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bundler.bundle.manifest.values import (
    Content,
    Inputs,
    Manifest,
    ManifestDistribution,
    Needs,
)
from bundler.checks.import_times import ImportTime, ImportTimes
from bundler.model import Evidence, FileFact, Finding, Isolation
from bundler.report.pages.run_page import RunRow

from tests.support import differencemaker

if TYPE_CHECKING:
    from collections.abc import Sequence

ERROR = Finding(
    code="EB301", severity="error", subject="numpy", cause="needs `GLIBC_2.34`", remedy="Pin an older one.",
    chain=("pandas", "numpy"),
)  # fmt: skip
WARNING = Finding(code="EB602", severity="warning", subject="six", cause="is yanked", remedy="Pin another.")
ACCEPTED = Finding(
    code="EB501",
    severity="error",
    subject="colours",
    cause="a .pth",
    remedy="Do without.",
    accepted="not used",
)
REMARK = Finding(code="EB503", severity="info", subject="bin", cause="has scripts", remedy="Call by path.")
NATIVE = "lib/python3.8/site-packages/numpy"


def dist(name: str, size: int = 1000, *required_by: str, **more: Any) -> ManifestDistribution:
    """A distribution; asked for where nothing requires it."""
    made = differencemaker.dist(
        name,
        bytes=size,
        requested=not required_by,
        required_by=required_by,
        contents=(Content(name=name, files=1, bytes=size),),
    )
    return replace(made, **more)


SERVICE = (
    dist("idna", 300_000, "requests", built_from="a" * 64),
    dist(
        "numpy", 60_000_000, "pandas", requested=True, native=(f"{NATIVE}/x.cpython-38-x86_64-linux-gnu.so",
        f"{NATIVE}.libs/libopenblas.so.3"),
        contents=(Content("numpy", 900, 25_000_000), Content("numpy.libs", 3, 35_000_000)),
    ),
    dist("pandas", 50_000_000, licence="BSD-3-Clause"),
    dist("python-dateutil", 500_000, "pandas", licence=""),
    dist("requests", 200_000),
    dist("six", 60_000, "python-dateutil", yanked="broken", licence="UNKNOWN"),
    dist("urllib3", 700_000, "requests", extras=("socks",)),
)  # fmt: skip


def described(distributions: Sequence[ManifestDistribution] = SERVICE, **more: Any) -> Manifest:
    """A manifest of a proved bundle."""
    files = (FileFact(path=f"lib/{one.name}.py", sha256="1" * 64, size=one.bytes) for one in distributions)
    made = replace(
        differencemaker.bundle(),
        distributions=tuple(distributions),
        inputs=Inputs(requirements=("pandas",), constraints=(), sha256="2" * 64),
        evidence=evidence(),
        needs=Needs(libraries=("libc.so.6", "libz.so.1"), symbols=("GLIBC_2.17",)),
        documents=(FileFact(path="pylock.toml", sha256="3" * 64, size=1),),
        files=tuple(sorted(files, key=lambda file: file.path)),
    )
    return replace(made, **more)


def evidence(*proof: str) -> Evidence:
    """Of an import proof; by default of one that was isolated in every way."""
    return Evidence(
        baseline_freeze=(),
        freeze=(),
        expected=(),
        modules=("numpy", "pandas"),
        libraries=(),
        isolation=Isolation(proof=proof or ("moved", "no-network", "read-only")),
    )


def times(module: str = "pandas") -> ImportTimes:
    """Import times of a few modules."""
    return ImportTimes(
        slowest=(
            ImportTime(module=module, own=0.3, cumulative=0.5),
            ImportTime(module="numpy", own=0.1, cumulative=0.1),
        ),
        modules=2,
        total=0.7,
        standard=0.3,
        how="Measured by hand.",
    )


def many(count: int) -> tuple[ManifestDistribution, ...]:
    """Hundreds of distributions, each required by one or two before it."""
    return tuple(
        dist(
            f"dist-{number:03}",
            10_000_000 // (number + 1),
            *(() if number < 5 else {f"dist-{number // 3:03}", f"dist-{number // 2:03}"}),
        )
        for number in range(count)
    )


def rows() -> tuple[RunRow, ...]:
    """A run with a bundle in each state."""
    return (
        RunRow(name="a-py37", bundle="a", state="unchanged", size=4_000_000, build="1" * 16, seconds=0.2),
        RunRow(name="a-py38", bundle="a", state="built", size=6_000_000, build="2" * 16, seconds=12.3,
               reason="the lock changed", findings=(WARNING,), report="a-py38/builds/2.html"),
        RunRow(name="b-py38", bundle="b", state="failed", exit_code=2, place="envbundle.toml:7",
               error="no such distribution: gone", hint="ask `pip`", size=2_000_000, build="3" * 16),
        RunRow(name="c-py38", bundle="c", state="not-proved", exit_code=1, error="not proved",
               findings=(WARNING, ERROR)),
        RunRow(name="d-py38", bundle="d", state="skipped"),
        RunRow(name="e-py38", bundle="e", state="would-build", reason="an option changed"),
    )  # fmt: skip
