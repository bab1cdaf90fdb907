"""Writes a bundle's documents and puts it in its place: whole or not at all, and only over a bundle."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.bundle import lock as locks
from bundler.bundle import manifest, standalone
from bundler.bundle.manifest import Manifest, ManifestAttestations
from bundler.checks.rules.publishers import Publishing
from bundler.errors import InputError
from bundler.lazy_dataclass import dataclass
from bundler.model import Lock, StoredWheel
from bundler.report import sbom
from bundler.report.pages import embedded_page as report
from bundler.system import files

if TYPE_CHECKING:
    from bundler.create.request import CreateRequest


@dataclass(frozen=True, kw_only=True)
class Documents:
    """What is written beside the tree."""

    manifest: Manifest
    texts: Mapping[str, str]
    """Name → text, the manifest's own included."""


def load() -> None:
    """Load what new documents are made with, 0.4 s of work: beside something that is waited for."""
    sbom.load()
    report.load()


def require_free_destinations(request: CreateRequest) -> None:
    """Refuse early what could never be put in its place.

    :raises InputError: something is in the way of the bundle or of an archive of it, or its path has a colon.
    :raises MachineError: a tool is missing.
    """
    if ":" in str(request.destination.absolute()):
        raise InputError(
            f"{request.destination}: a colon in its path", hint="PYTHONPATH cannot hold it: choose another -o"
        )
    if "dir" in request.formats:
        check_destination(request.destination, force=request.force)
    if request.formats != ("dir",):
        from bundler.formats.packing import require  # noqa: PLC0415 - a folder alone needs none of it

        require(request.formats, output=request.destination, force=request.force)


def check_destination(output: Path, *, force: bool) -> None:
    """Refuse early what could never be replaced.

    :raises InputError: a file, a folder that is not a bundle, or a bundle without `force`.
    """
    if output.is_symlink() or (output.exists() and not output.is_dir()):
        raise InputError(f"{output} is not a folder", hint="choose another -o, or move it away")
    if not output.exists() or not any(output.iterdir()):
        return
    if not manifest.is_bundle(output):
        raise InputError(f"{output} exists and is not a bundle: it is not touched", hint="choose another -o")
    if not force:
        raise InputError(
            f"{output} exists", hint="--force replaces a bundle, and only once the new one is proved"
        )


def attested(lock: Lock, known: Publishing | None) -> tuple[tuple[ManifestAttestations, ...], dict[str, str]]:
    """Return what the manifest says of those who published the files, and the documents that prove it."""
    rows, texts = [], {}
    for dist in lock.distributions:
        if known and (document := known.attested[dist.name].document):
            path = f"attestations/{dist.name}.provenance"
            texts[path] = document
            found = tuple(map(dict, dist.identities))
            sha256 = dist.artifact.sha256 or ""
            rows.append(ManifestAttestations(name=dist.name, sha256=sha256, document=path, identities=found))
    return tuple(rows), texts


def emit(written: Documents, *, bundle: Path, output: Path, force: bool) -> None:
    """Write the documents of the bundle beside its tree, and put the bundle in its place.

    :raises InputError: something that is not a bundle has appeared at `output` meanwhile.
    """
    described, documents = written.manifest, written.texts
    taken = sorted({file.path for file in described.files} & documents.keys())
    if taken:
        raise InputError(
            f"a distribution brings {taken[0]} to the top of the bundle, where envbundle's own stands",
            hint="leave that distribution out; its RECORD lists the file",
        )
    for name, text in documents.items():
        path = bundle / name
        if path.parent != bundle:
            path.parent.mkdir(exist_ok=True)
            path.parent.chmod(0o755)
        path.write_text(text, encoding="utf-8", newline="\n")
        path.chmod(0o644)
    publish(bundle, output, force=force)


def render(
    described: Manifest,
    *,
    lock: Lock,
    wheels: Sequence[StoredWheel],
    texts: sbom.Texts | None,
    further: Mapping[str, str],
) -> Documents:
    """Return the manifest and the text of every document, in the layout of docs/manifest.md.

    :param described: the manifest, as yet without the documents that are made from it.
    :param lock: all that was resolved.
    :param wheels: of all of `lock`, what was left to the image included.
    :param texts: where documents that take long to make are kept between runs.
    :param further: name → text of documents besides those that every bundle has.
    """
    files = {wheel.locked.name: (wheel.facts.filename, wheel.facts.sha256) for wheel in wheels}
    documents = {
        **further,
        "pylock.toml": locks.to_pylock(lock),
        "requirements.lock": locks.to_requirements(
            lock, {name: sha256 for name, (_, sha256) in files.items()}
        ),
        "verify.py": standalone.source(),
        sbom.NAME: sbom.render(sbom.bill(described, lock=lock, wheels=files), texts=texts),
    }
    rows = [manifest.document(name, text) for name, text in documents.items()]
    described = described.with_documents(rows)
    # The report lists the other documents, and the manifest all of them.
    documents[report.NAME] = report.render(described, texts=texts)
    rows.append(manifest.document(report.NAME, documents[report.NAME]))
    described = described.with_documents(rows)
    documents[manifest.NAME] = manifest.render(described)
    documents[manifest.SUMS] = manifest.checksums(described, documents[manifest.NAME])
    return Documents(manifest=described, texts=documents)


def write_file(path: Path, text: str) -> None:
    """Write one file whole or not at all.

    :raises InputError: its folder does not exist, or a folder has its name.
    """
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InputError(f"{path} cannot be written", hint="name a file in a folder that exists")
    files.write(path, text)


def publish(bundle: Path, output: Path, *, force: bool) -> None:
    """Flush the bundle to disk and rename it into place; an older bundle goes only then.

    :raises InputError: something else has appeared there meanwhile.
    """
    files.sync_filesystem(bundle)
    check_destination(output, force=force)
    files.place(bundle, output)


@contextlib.contextmanager
def flushing(bundle: Path) -> Iterator[None]:
    """Write the tree to the disk while it is verified, so that `publish` has little left to write."""

    def begin() -> None:
        # `publish` meets the same error, and reports it.
        with contextlib.suppress(OSError):
            files.sync_filesystem(bundle)

    writer = threading.Thread(target=begin)
    writer.start()
    try:
        yield
    finally:
        writer.join()
