"""Makes a build: proved beside the current one, packed, compared with it, and only then put in its place."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import bundler
from bundler.bundle import manifest
from bundler.create import pipeline
from bundler.errors import InputError
from bundler.rebuild import record as records
from bundler.rebuild import wholeness
from bundler.rebuild.outcome import Archive
from bundler.rebuild.record import Record
from bundler.report.compare.compare import compare
from bundler.report.compare.sides import of_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bundler.bundle.manifest import Manifest
    from bundler.create.request import Resolved
    from bundler.rebuild.plan import Job
    from bundler.rebuild.shelf import Shelf
    from bundler.report.compare.difference import Difference
    from bundler.system.progress import Progress


def make(
    job: Job,
    shelf: Shelf,
    before: Record | None,
    resolved: Resolved,
    *,
    made_from: str,
    locked: str,
    progress: Progress,
    environ: Mapping[str, str],
) -> tuple[Record, Difference | None]:
    """Build from a lock, prove, and make it the current build.

    :param made_from: digest of all that decides it (`inputs.digest`).
    :param locked: digest of the lock alone.
    :returns: its record, and what changed since the build before; `None`: there was none that can be read.
    :raises ProofError: findings of severity error; the current build stays.
    :raises InputError: the caller must act; the current build stays.
    :raises MachineError: whoever looks after the machine must act; the current build stays.
    """
    old = _manifest(shelf, before)
    with shelf.workplace() as work:
        request = replace(job.request, written_to=work / "bundle")
        pipeline.create(request, resolved=resolved, progress=progress, environ=environ)
        described = manifest.read(work / "bundle")
        digest = wholeness.manifest_digest(work / "bundle") or ""
        build = records.identity(digest)
        packed = _pack(job, work, build, progress)
        record = Record(
            name=job.name,
            build=build,
            input=made_from,
            lock=locked,
            tool=bundler.__version__,
            made=datetime.now(timezone.utc).isoformat(timespec="microseconds"),
            digest=described.digest,
            manifest_digest=digest,
            size=sum(file.size for file in described.files),
            files=len(described.files),
            archives=tuple(one for one, _ in packed),
            findings=tuple(one for one in described.findings if one.severity != "info"),
        )
        changes = _changes(old, described, before, record)
        extras = {one.name: path for one, path in packed}
        extras |= _documents(described, changes, folder=work, build=build, title=job.name)
        shelf.put(work / "bundle", record, extras)
    return record, changes


def _manifest(shelf: Shelf, record: Record | None) -> Manifest | None:
    try:
        return shelf.manifest(record) if record else None
    except InputError:
        return None


def _pack(job: Job, work: Path, build: str, progress: Progress) -> list[tuple[Archive, Path]]:
    """Make the archives; each with where it lies in the workplace."""
    if not job.formats:
        return []
    from bundler import formats  # noqa: PLC0415 - many bundles have no archives

    scratch = work / "packing"
    scratch.mkdir()
    packed = formats.pack(
        work / "bundle", kinds=job.formats, output=work / build, scratch=scratch, progress=progress
    )
    return [
        (Archive(kind=one.kind, name=one.path.name, sha256=one.sha256, size=one.size), one.path)
        for one in packed
    ]


def _changes(old: Manifest | None, new: Manifest, before: Record | None, record: Record) -> Difference | None:
    if old is None or before is None:
        return None
    return compare(of_manifest(old, name=before.build), of_manifest(new, name=record.build)).without_paths()


def _documents(
    described: Manifest, changes: Difference | None, *, folder: Path, build: str, title: str
) -> dict[str, Path]:
    """Write what stands beside the build: its report, and what changed since the one before."""
    from bundler.report.compare.markdown import as_markdown  # noqa: PLC0415 - only where there is a build before
    from bundler.report.pages.bundle_page import bundle_html  # noqa: PLC0415 - jinja2

    texts = {f"{build}.html": bundle_html(described, changes=changes, title=title)}
    if changes is not None:
        texts[f"{build}.changes.json"] = json.dumps(changes.as_json(), indent=2) + "\n"
        texts[f"{build}.changes.md"] = as_markdown(changes)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return {name: folder / name for name in texts}
