"""Makes values and small real bundles by hand, without the code that creates bundles."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.bundle import manifest, standalone
from bundler.bundle.tree import scan
from bundler.model import (
    Artifact,
    CheckResult,
    Evidence,
    FileFact,
    Finding,
    Interpreter,
    Isolation,
    Lock,
    LockedDistribution,
    StoredWheel,
    Target,
    WheelFacts,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MARKERS = {
    "implementation_name": "cpython",
    "implementation_version": "3.8.18",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_release": "",
    "platform_system": "Linux",
    "platform_version": "",
    "python_full_version": "3.8.18",
    "python_version": "3.8",
    "sys_platform": "linux",
}


def target(minor: str = "3.8") -> Target:
    return Target(
        python_version={"3.7": "3.7.16", "3.8": "3.8.18"}.get(minor, f"{minor}.1"),
        implementation="cpython",
        abi=f"cp{minor.replace('.', '')}" + ("m" if minor == "3.7" else ""),
        machine="x86_64",
        glibc=(2, 17),
        glibc_reason="a test",
        markers=MARKERS,
    )


def interpreter(python: Path, minor: str = "3.8") -> Interpreter:
    return Interpreter(
        executable=python.resolve(),
        version=target(minor).python_version,
        implementation="cpython",
        cache_tag=f"cpython-{minor.replace('.', '')}",
        magic="",
        abi=target(minor).abi,
        extension_suffixes=(),
        machine="x86_64",
        glibc="2.36",
        base_prefix=python.resolve().parent.parent,
        stdlib=(),
        stdlib_modules=frozenset(),
        markers=MARKERS,
        conda=False,
        origin="given",
    )


def locked(
    name: str,
    version: str = "1.0",
    *,
    extras: tuple[str, ...] = (),
    required_by: tuple[str, ...] = (),
    url: str | None = None,
) -> LockedDistribution:
    return LockedDistribution(
        name=name,
        version=version,
        artifact=Artifact(
            kind="wheel", filename=f"{name}-{version}-py3-none-any.whl", url=url, sha256="0" * 64
        ),
        requested=not required_by,
        extras=extras,
        required_by=required_by,
    )


def lock(*distributions: LockedDistribution, requirements: tuple[str, ...] = ()) -> Lock:
    return Lock(
        python_version="3.8.18",
        machine="x86_64",
        glibc=(2, 17),
        distributions=tuple(sorted(distributions, key=lambda dist: dist.name)),
        requirements=requirements,
    )


def facts(
    name: str,
    version: str = "1.0",
    *,
    requires: Sequence[str] = (),
    extras: Sequence[str] = (),
    modules: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
) -> WheelFacts:
    """Facts with files given as path → a hash's first digits."""
    return WheelFacts(
        name=name,
        version=version,
        filename=f"{name}-{version}-py3-none-any.whl",
        sha256="0" * 64,
        dist_info=f"{name}-{version}.dist-info",
        tags=("py3-none-any",),
        requires_python=None,
        requires=tuple(requires),
        extras=tuple(extras),
        modules=tuple(modules),
        scripts=(),
        files=tuple(
            FileFact(path=path, sha256=digits.ljust(64, "0"), size=1)
            for path, digits in (files or {}).items()
        ),
    )


def unpack(prefix: Path, *wheels: Path, minor: str = "3.8") -> Path:
    """Lay wheels out in a prefix as an installer does, and return the site-packages."""
    site_packages = prefix / target(minor).site_packages
    site_packages.mkdir(parents=True, exist_ok=True)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site_packages)
    return site_packages


def stored_wheel(dist: LockedDistribution, known: WheelFacts, built_from: str | None = None) -> StoredWheel:
    """A wheel of which nothing but the facts is there."""
    return StoredWheel(locked=dist, facts=known, tree=Path("/nowhere"), built_from=built_from)


def make_manifest(
    prefix: Path,
    *,
    minor: str = "3.8",
    modules: Sequence[str] = (),
    findings: Sequence[Finding] = (),
    isolation: Isolation | None = None,
) -> manifest.Manifest:
    alpha = locked("alpha", url="https://user:secret@index.example/alpha-1.0-py3-none-any.whl")
    return manifest.build(
        target=target(minor),
        interpreter=interpreter(Path("/usr/bin/python3"), minor),
        lock=lock(alpha, requirements=("alpha",)),
        wheels=[stored_wheel(alpha, facts("alpha", files={"lib/alpha.py": "aa"}))],
        files=scan(prefix).files,
        checks=[CheckResult(code="EB101", outcome="passed")],
        findings=findings,
        evidence=Evidence(
            baseline_freeze=(),
            freeze=("alpha==1.0",),
            expected=("alpha==1.0",),
            modules=tuple(modules),
            libraries=(),
            isolation=isolation or Isolation(proof=("no-network", "read-only")),
        ),
    ).with_documents([manifest.document("verify.py", standalone.source())])


def make_bundle(prefix: Path, *wheels: Path, minor: str = "3.8", modules: Sequence[str] = ()) -> Path:
    """Make a whole bundle of wheels: tree, manifest, checksums and verifier."""
    unpack(prefix, *wheels, minor=minor)
    write_manifest(prefix, make_manifest(prefix, minor=minor, modules=modules))
    (prefix / "verify.py").write_text(standalone.source(), encoding="utf-8")
    return prefix


def write_manifest(bundle: Path, content: manifest.Manifest) -> None:
    """Write manifest.json and the checksums that go with it."""
    text = manifest.render(content)
    (bundle / manifest.NAME).write_text(text, encoding="utf-8")
    (bundle / manifest.SUMS).write_text(manifest.checksums(content, text), encoding="utf-8")
