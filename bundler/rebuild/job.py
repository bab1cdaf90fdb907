"""One bundle of a run: resolve again, and build only if something changed.

    job → lock → input digest ┬ as before, and the build is whole → unchanged, nothing is written
                              └ otherwise → build beside → prove → compare → put → prune

A bundle that cannot be made stops no other one: what went wrong is its outcome.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import bundler
from bundler.bundle import manifest as manifests
from bundler.bundle.manifest import Manifest
from bundler.checks import isolation
from bundler.create import pipeline
from bundler.create.request import CreateRequest, Resolved
from bundler.errors import EnvbundleError, InputError
from bundler.formats import packing, referrers
from bundler.lazy_dataclass import dataclass
from bundler.model import Lock
from bundler.ontarget.signatures import FOLDER_ENDING
from bundler.rebuild import input_digest, outcome, wholeness
from bundler.rebuild import record as records
from bundler.rebuild.outcome import Outcome
from bundler.rebuild.plan import Job
from bundler.rebuild.record import Archive, Record
from bundler.rebuild.shelf import Shelf
from bundler.rebuild.shelf.local import LocalShelf
from bundler.report.compare.compare import compare
from bundler.report.compare.difference import Difference
from bundler.report.compare.markdown import as_markdown
from bundler.report.compare.sides import of_lock, of_manifest
from bundler.system import files
from bundler.system.progress import Progress
from bundler.wheels.store import Store


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is asked of a run, for all of its bundles; picklable."""

    full: bool = False
    """Hash every file of the builds that are there."""
    dry_run: bool = False
    """Say what would change, and write nothing."""
    publish: str | None = None
    """URL to which builds are sent as well."""
    store: str | None = None
    """URL of a store through which machines share wheels."""


Resolve = Callable[..., Resolved]
"""`pipeline.resolve`, or what does the same."""


def rebuild_one(
    job: Job,
    shelf: Shelf,
    options: Options,
    *,
    progress: Progress,
    environ: Mapping[str, str],
    resolve: Resolve = pipeline.resolve,
) -> Outcome:
    """Do one job and tell what became of it; never raises for what is the matter with this bundle alone.

    :raises KeyboardInterrupt: the run is to stop; what was begun is undone.
    """
    rebuild = _Rebuild(
        job=job, shelf=shelf, options=options, progress=progress, environ=environ, resolve=resolve
    )
    return outcome.attempt(job, shelf, rebuild.run)


def resolving_once() -> Resolve:
    """Return `pipeline.resolve` for several jobs of one run: equal requests are resolved once.

    What cannot be resolved is tried again for each: its error may be the network's.
    """
    known: dict[tuple[object, ...], Resolved] = {}

    def resolve(request: CreateRequest, *, progress: Progress, environ: Mapping[str, str]) -> Resolved:
        question = request.question
        if question is not None and question in known:
            return known[question]
        resolved = pipeline.resolve(request, progress=progress, environ=environ)
        if question is not None:
            known[question] = resolved
        return resolved

    return resolve


@dataclass(frozen=True, kw_only=True)
class _Rebuild:
    """The work on one job."""

    job: Job
    shelf: Shelf
    options: Options
    progress: Progress
    environ: Mapping[str, str]
    resolve: Resolve

    def run(self, known: Outcome, before: Record | None) -> Outcome:
        """Resolve, and make the build where something changed.

        :param known: the outcome as far as it is known.
        :param before: the record of the current build.
        """
        job, shelf, options = self.job, self.shelf, self.options
        if not options.dry_run:
            shelf.sweep()
        if options.store:
            from bundler.rebuild import shared_store  # noqa: PLC0415 - fsspec

            shared_store.pull_tools(options.store, job.request.cache_dir)
        with ThreadPoolExecutor(max_workers=1) as pool:
            # The resolver waits for the index meanwhile.
            damage = pool.submit(lambda: shelf.damage(before, full=options.full) if before else "")
            resolved = self.resolve(job.request, progress=self.progress, environ=self.environ)
            wrong = damage.result()
        locked = input_digest.lock_digest(resolved.lock, store=Store(job.request.cache_dir).root)
        made_from = input_digest.digest(job.request, resolved, locked=locked, formats=job.formats)
        reason = _reason(before, wrong, made_from=made_from, locked=locked, request=job.request)
        if before is not None and not reason:
            if not options.dry_run:
                if isinstance(shelf, LocalShelf):
                    shelf.refresh(before)
                    self._sign_again(shelf, before)
                known = self._prune_and_publish(known, before)
            return known if known.error else replace(known, state="unchanged")
        if options.dry_run:
            changes = self._changes_of_lock(before, resolved)
            return replace(known, state="would-build", reason=reason, changes=changes)
        with self._shared_wheels(resolved.lock):
            record, changes = self._make(before, resolved, made_from=made_from, locked=locked)
        built = replace(
            known.with_record(record),
            state="built",
            reason=reason,
            previous=before.build if before else None,
            changes=changes,
        )
        return self._prune_and_publish(built, record)

    def _shared_wheels(self, lock: Lock) -> AbstractContextManager[None]:
        """Share the wheels of a lock through the store at the run's URL, where there is one."""
        if self.options.store is None:
            return contextlib.nullcontext()
        from bundler.rebuild import shared_store  # noqa: PLC0415 - fsspec

        return shared_store.shared(self.options.store, self.job.request.cache_dir, lock, self.progress)

    def _make(
        self, before: Record | None, resolved: Resolved, *, made_from: str, locked: str
    ) -> tuple[Record, Difference | None]:
        """Build from a lock, prove, and make it the current build; on every error the current build stays.

        :param made_from: digest of all that decides it (`input_digest.digest`).
        :param locked: digest of the lock alone.
        :returns: its record, and changes since the build before; `None`: there is none that can be read.
        """
        old = self._manifest(before)
        with self.shelf.workplace() as work:
            bundle = work / "bundle"
            request = replace(self.job.request, written_to=bundle)
            pipeline.create(request, resolved=resolved, progress=self.progress, environ=self.environ)
            new = manifests.read(bundle)
            digest = wholeness.manifest_digest(bundle) or ""
            build = records.identity(digest)
            signatures = self._signatures(bundle, build, work)
            packed = self._pack(work, build, next(iter(signatures.values()), None))
            record = Record(
                name=self.job.name,
                build=build,
                input=made_from,
                lock=locked,
                tool=bundler.__version__,
                made=datetime.now(timezone.utc).isoformat(timespec="microseconds"),
                digest=new.digest,
                manifest_digest=digest,
                size=sum(file.size for file in new.files),
                files=len(new.files),
                archives=tuple(packed),
                findings=tuple(one for one in new.findings if one.severity != "info"),
                not_isolated=isolation.lacking(new.evidence.isolation.proof),
            )
            changes = None
            if old is not None and before is not None:
                sides = of_manifest(old, name=before.build), of_manifest(new, name=build)
                changes = compare(*sides).without_paths()
            extras = {one.name: path for one, path in packed.items()}
            extras |= signatures
            extras |= _documents(new, changes, folder=work, build=build, title=self.job.name)
            self.shelf.put(bundle, record, extras)
        return record, changes

    def _manifest(self, record: Record | None) -> Manifest | None:
        try:
            return self.shelf.manifest(record) if record else None
        except InputError:
            return None

    def _pack(self, work: Path, build: str, signatures: Path | None) -> dict[Archive, Path]:
        """Make the archives; each with where it lies in the workplace. OCI layouts get the signatures too."""
        if not self.job.formats:
            return {}
        scratch = work / "packing"
        scratch.mkdir()
        packed = packing.pack(
            work / "bundle",
            kinds=self.job.formats,
            output=work / build,
            scratch=scratch,
            progress=self.progress,
        )
        for one in packed:
            if one.kind == "oci" and signatures:
                referrers.attach(one.path, signatures)
        return {
            Archive(kind=one.kind, name=one.path.name, sha256=one.sha256, size=one.size): one.path
            for one in packed
        }

    def _signatures(self, bundle: Path, build: str, work: Path) -> dict[str, Path]:
        """Sign a build, if its file says with which key; return where the signatures lie in the workplace."""
        if self.job.sign is None:
            return {}
        from bundler.bundle import signing  # noqa: PLC0415 - it brings cryptography: 30 ms

        now = datetime.now(timezone.utc)
        name = f"{build}{FOLDER_ENDING}"
        request = signing.SigningRequest(
            manifest=(bundle / manifests.NAME).read_bytes(),
            name=self.job.name,
            key=self.job.sign,
            signed_on=now,
            counter=int(now.timestamp()),
            environ=self.environ,
        )
        signing.sign(request, work / name)
        return {name: work / name}

    def _sign_again(self, shelf: LocalShelf, record: Record) -> None:
        """Sign a build that has not changed, where the key of the file has not signed it yet."""
        if self.job.sign is None:
            return
        from bundler.bundle import signing  # noqa: PLC0415 - it brings cryptography: 30 ms

        bundle = shelf.builds / record.build
        there = Path(f"{bundle}{FOLDER_ENDING}")
        document = (bundle / manifests.NAME).read_bytes()
        if not signing.is_signed(document, there, name=self.job.name, key=self.job.sign):
            with shelf.workplace() as work:
                for path in self._signatures(bundle, record.build, work).values():
                    for one in record.archives:
                        if one.kind == "oci":
                            referrers.attach(shelf.builds / one.name, path)
                    files.place(path, there)

    def _changes_of_lock(self, before: Record | None, resolved: Resolved) -> Difference | None:
        """Compare the current build with a lock that is not built; `None`: there is nothing to compare."""
        old = self._manifest(before)
        if before is None or old is None:
            return None
        lock = resolved.lock
        # What was left to the image is in the lock, and not in the bundle.
        brought = tuple(dist for dist in lock.distributions if old.relies_on.get(dist.name) != dist.version)
        return compare(
            of_manifest(old, name=before.build),
            of_lock(replace(lock, distributions=brought), name="the lock"),
        )

    def _prune_and_publish(self, known: Outcome, record: Record) -> Outcome:
        """Remove old builds, and send the current one to the URL of the run, if it is not there already."""
        if removed := self.shelf.prune(self.job.keep):
            self.progress.note(f"{'prune':<12} {', '.join(removed)}")
        if self.options.publish is None:
            return known
        from bundler.rebuild.shelf.sending import publish  # noqa: PLC0415 - fsspec

        try:
            url = publish(self.job, self.shelf, record, self.options.publish, progress=self.progress)
        except EnvbundleError as error:
            # The build is there and is whole: only the sending is to be done again.
            failed = known.failed(error)
            return replace(failed, error=f"it stands here, but was not published: {failed.error}")
        return replace(known, published=url)


def _reason(before: Record | None, wrong: str, *, made_from: str, locked: str, request: CreateRequest) -> str:
    """Tell why a bundle is to be built; empty: nothing changed, and it is whole."""
    if before is None:
        return "there is no current build"
    if wrong:
        return f"the current build is damaged: {wrong}"
    if before.input == made_from:
        weak = request.require_isolation and before.not_isolated
        return "the proof of the current build was not isolated" if weak else ""
    if before.lock != locked:
        return "the lock changed"
    if before.tool != bundler.__version__:
        return f"the current build was made by envbundle {before.tool}"
    return "target, image or options changed"


def _documents(
    described: Manifest, changes: Difference | None, *, folder: Path, build: str, title: str
) -> dict[str, Path]:
    """Write what stands beside the build: its report, and what changed since the one before."""
    from bundler.report.pages.bundle_page import bundle_html  # noqa: PLC0415 - jinja2

    texts = {f"{build}.html": bundle_html(described, changes=changes, title=title)}
    if changes is not None:
        texts[f"{build}.changes.json"] = json.dumps(changes.as_json(), indent=2) + "\n"
        texts[f"{build}.changes.md"] = as_markdown(changes)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return {name: folder / name for name in texts}
