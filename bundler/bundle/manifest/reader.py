"""Reads a manifest.json that anybody may have written (docs/manifest.md, manifest.schema.json)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.bundle.manifest import file_rows
from bundler.bundle.manifest.values import (
    KIND,
    NAME,
    SUMS,
    Builder,
    Content,
    Inputs,
    Manifest,
    ManifestDistribution,
    ManifestTarget,
    Needs,
)
from bundler.model import CheckResult, Evidence, Finding, Isolation
from bundler.ontarget import checksums as ontarget_files
from bundler.system import json_values

if TYPE_CHECKING:
    from pathlib import Path

    from bundler.system.json_values import Value


def read(path: Path) -> Manifest:
    """Read a manifest, or the one of the bundle folder `path`; believe nothing in it.

    :raises InputError: unreadable, not a manifest of major version 1, or wrong at a place that is named;
        also where one of its digests does not fit.
    """
    value = json_values.load(path / NAME if path.is_dir() else path)
    return _manifest(value)


def parse(data: bytes, *, source: str) -> Manifest:
    """Read a manifest that came out of an archive; believe nothing in it.

    :param source: what it came from, for messages.
    :raises InputError: as `read`.
    """
    return _manifest(json_values.parse(data, source=source))


def _manifest(value: Value) -> Manifest:
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
        needs=_read_needs(value.get("needs")),
        documents=file_rows.read(value["documents"], forbidden=(NAME, SUMS)),
        files=file_rows.read(value["files"], forbidden=(NAME, SUMS)),
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
        licence=licence.text() if (licence := value.get("licence")) else "",
        entry_points=_texts(value.get("entry_points")),
        native=tuple(one.path() for one in value.get("native") or ()),
        contents=tuple(_read_content(one) for one in value.get("contents") or ()),
    )


def _texts(value: Value | None) -> tuple[str, ...]:
    """Read a member that a manifest of schema 1.0 does not have."""
    return value.texts() if value else ()


def _read_content(row: Value) -> Content:
    if not isinstance(row.raw, list) or len(row.raw) != 3:
        row.fail("must be [name, files, bytes]")
    name, files, size = row
    top = name.text()
    if top != "./" and ("/" in top[:-1] or json_values.path_problem(top.removesuffix("/"))):
        name.fail(f"{top[:80]!r} is no name of a file or folder")
    return Content(name=top, files=files.number(), bytes=size.number())


def _read_needs(value: Value | None) -> Needs:
    if value is None:
        return Needs()
    return Needs(libraries=value["libraries"].texts(), symbols=value["symbols"].texts())


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
