"""`deploy`: what a platform cannot hold is said with figures, and the largest distributions by name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bundler.bundle import manifest
from bundler.deploy import aws_lambda, azureml_v1, limits
from bundler.deploy.platform import PlanRequest
from bundler.model import FileFact

from tests.support.deploymaker import SITE_PACKAGES, distribution, files_of, make_service, rewrite

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command
    from tests.support.deploymaker import Service


def plan_request(service: Service, *, sizes: dict[str, int], files: int | None = None) -> PlanRequest:
    """A request for a bundle that says to have files of these sizes, one a distribution."""
    described = manifest.read(service.bundle)
    facts = [
        FileFact(path=f"{SITE_PACKAGES}/{name}.py", sha256="0" * 64, size=size)
        for name, size in sizes.items()
    ]
    facts += [
        FileFact(path=f"{SITE_PACKAGES}/x{number}", sha256="0" * 64, size=0) for number in range(files or 0)
    ]
    return PlanRequest(
        bundle=service.bundle,
        output=service.output,
        name="myenv",
        manifest=replace(
            described,
            files=tuple(facts),
            distributions=tuple(distribution(name, size=size) for name, size in sizes.items()),
        ),
    )


@pytest.mark.parametrize(
    ("sizes", "cause"),
    [
        ({"a": 262_144_000}, None),
        ({"a": 200_000_000, "b": 62_144_001}, "262,144,000 bytes, the bundle has 262,144,001: 1 too many"),
        ({"a": 300_000_000}, "262,144,000 bytes, the bundle has 300,000,000: 37,856,000 too many"),
    ],
)
def test_a_layer_has_250_mb(tmp_path: Path, sizes: dict[str, int], cause: str | None) -> None:
    findings = aws_lambda.plan(plan_request(make_service(tmp_path), sizes=sizes)).findings
    assert [finding.cause for finding in findings] == ([f"AWS Lambda takes {cause}"] if cause else [])
    if cause:
        assert findings[0].severity == "error"
        assert f"a 1.0 ({sizes['a'] / 1e6:.1f} MB)" in findings[0].remedy


def test_the_largest_are_named_in_order(tmp_path: Path) -> None:
    sizes = {f"d{number}": number * 50_000_000 for number in range(1, 8)}
    (finding,) = limits.size(
        plan_request(make_service(tmp_path), sizes=sizes),
        [FileFact(path="x", sha256="", size=11)],
        limit=10,
        platform="X",
    )
    assert finding.remedy.endswith(
        "d7 1.0 (350.0 MB), d6 1.0 (300.0 MB), d5 1.0 (250.0 MB), d4 1.0 (200.0 MB), d3 1.0 (150.0 MB)"
    )


@pytest.mark.parametrize(
    ("sizes", "files", "expected"),
    [
        ({"a": 300_000_000}, 0, []),
        ({"a": 300_000_001}, 0, ["300,000,000 bytes"]),
        ({}, 1997, []),
        ({}, 1998, ["2,000 files"]),
        ({"a": 300_000_001}, 2000, ["300,000,000 bytes", "2,000 files"]),
    ],
)
def test_a_snapshot_of_v1(tmp_path: Path, sizes: dict[str, int], files: int, expected: list[str]) -> None:
    """Three files of a bundle from the test are documents: verifier, manifest and checksums."""
    findings = azureml_v1.plan(plan_request(make_service(tmp_path), sizes=sizes, files=files)).findings
    assert [finding.severity for finding in findings] == ["warning"] * len(expected)
    assert all(words in finding.cause for words, finding in zip(expected, findings, strict=True))


@pytest.mark.thorough
def test_a_bundle_that_is_too_large_is_exit_1(tmp_path: Path, envbundle: Command) -> None:
    service = make_service(tmp_path)
    large = service.bundle / SITE_PACKAGES / "weights.bin"
    with large.open("wb") as file:
        file.truncate(262_144_000)  # a hole: it takes no room
    rewrite(service, files=files_of(service))
    done = envbundle("deploy", service.bundle, "--to", "aws-lambda", "-o", service.output, "--json")
    assert done.code == 1, done.stderr
    assert "error EB516 AWS Lambda" in done.stderr
    assert done.json()["ok"] is False
    assert not service.output.exists()


def test_a_zip_over_the_direct_limit_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = make_service(tmp_path)
    monkeypatch.setattr(aws_lambda, "ZIPPED", 100)
    done = service.deploy("aws-lambda")
    assert [(finding.code, finding.severity, finding.subject) for finding in done.findings] == [
        ("EB516", "warning", "layer.zip")
    ]
    assert "S3Bucket" in done.findings[0].remedy
    assert (service.output / "layer.zip").is_file()


def native(tmp_path: Path, module: Path, *, place: str = "alpha") -> Service:
    """A service whose bundle has a real extension module of CPython 3.8's own."""
    service = make_service(
        tmp_path, files={f"{place}/{module.name}": module.read_bytes(), "alpha.py": "VALUE = 1\n"}
    )
    described = manifest.read(service.bundle)
    rewrite(service, target=replace(described.target, glibc="2.36"))
    return service


def extension(python38: Path, name: str) -> Path:
    root = python38.resolve().parent.parent / "lib" / "python3.8" / "lib-dynload"
    return next(root.glob(f"{name}.*.so"))


@pytest.mark.parametrize(("module", "fits"), [("math", False), ("_bisect", True)])
def test_symbol_versions_decide_about_glibc(
    tmp_path: Path, python38: Path, module: str, *, fits: bool
) -> None:
    """`math` needs GLIBC_2.29 where it was built on a newer system; Lambda's python3.8 has 2.26."""
    done = native(tmp_path, extension(python38, module)).deploy("aws-lambda")
    assert done.ok is fits
    if not fits:
        assert [finding.code for finding in done.findings] == ["EB301"]
        assert "AWS Lambda's python3.8 has glibc 2.26; 1 files need a newer one" in done.findings[0].cause
        assert "--glibc 2.26" in done.findings[0].remedy


@pytest.mark.parametrize(
    ("platform", "fits"), [("azure-functions", False), ("sagemaker", False), ("aws-lambda", True)]
)
def test_libraries_beside_site_packages(tmp_path: Path, platform: str, *, fits: bool) -> None:
    service = make_service(tmp_path)
    (service.bundle / "lib" / "libmkl_rt.so.2").write_bytes(b"\x7fELF")
    rewrite(service, files=files_of(service))
    done = service.deploy(platform)
    assert done.ok is fits
    assert [finding.code for finding in done.findings] == ([] if fits else ["EB517"])
