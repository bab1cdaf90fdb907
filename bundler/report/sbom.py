"""`sbom.cdx.json`: the bundle's parts as a CycloneDX document, for scanners of licences and vulnerabilities.

What stands where: docs/sbom.md. The document is a function of the bill alone: no time, no random number.
This module is imported by every `create`; the library that writes the document only when one is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Protocol

from bundler.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bundler.bundle.manifest.values import Manifest, ManifestDistribution
    from bundler.model import FileFact, Lock

NAME = "sbom.cdx.json"
FORM = 1
"""Changes when the same bill gives another document."""
LIBRARIES = ("cyclonedx-python-lib", "packageurl-python", "packaging", "py-serializable")
"""What the text depends on besides the bill: another version may write it otherwise."""
REPAIRED = ".libs/"
"""auditwheel puts copies of a system's libraries into `NAME.libs`: https://github.com/pypa/auditwheel"""


class Texts(Protocol):
    """Keeps texts under a sha256 (`bundler.wheels.store.Store` does)."""

    def text(self, key: str) -> str | None:
        """Return a text, or `None`."""

    def keep_text(self, key: str, text: str) -> None:
        """Keep a text."""


@dataclass(frozen=True, kw_only=True)
class Copied:
    """A library of a system that a wheel carries a copy of."""

    path: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Part:
    """A distribution, as far as the document speaks of it."""

    name: str
    """Normalised."""
    version: str
    source: str
    """`index`, `url`, `vcs`, `local`; `image`: the bundle was made without it (`--thin`)."""
    filename: str = ""
    """Of the file that was fetched; of the wheel where it was made of a project or a repository."""
    url: str | None = None
    commit: str | None = None
    sha256: str | None = None
    """Of the file `filename`."""
    index: str | None = None
    built_from: str | None = None
    licence: str = ""
    copied: tuple[Copied, ...] = ()
    requires: tuple[str, ...] = ()
    """Names of the parts that it needs, sorted."""


@dataclass(frozen=True, kw_only=True)
class Bill:
    """All that the document is made of."""

    tool_version: str
    digest: str
    """Of the tree."""
    python: str
    implementation: str
    machine: str
    glibc: str
    image: str | None
    requested: tuple[str, ...]
    """Names of the parts that were asked for, sorted."""
    parts: tuple[Part, ...]
    """Sorted by name."""

    @property
    def sha256(self) -> str:
        """Of all of it: names the document."""
        text = json.dumps([FORM, asdict(self)], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()


def render(bill: Bill, *, texts: Texts | None = None) -> str:
    """Return the document, CycloneDX 1.6 in JSON (https://cyclonedx.org/docs/1.6/json/), in ASCII.

    :param texts: where it may have been kept since the last time, and is kept for the next.
    """
    versions = {name: version(name) for name in LIBRARIES}
    key = hashlib.sha256(json.dumps([bill.sha256, versions], sort_keys=True).encode("ascii")).hexdigest()
    if texts and (kept := texts.text(key)) is not None:
        return kept
    from bundler.report.sbom_cyclonedx import document  # noqa: PLC0415 - a tenth of a second that most runs save

    text = document(bill)
    if texts:
        # It can be made again: no reason to give up a bundle that is proved.
        with contextlib.suppress(MachineError):
            texts.keep_text(key, text)
    return text


def bill(manifest: Manifest, *, lock: Lock, wheels: Mapping[str, tuple[str, str]]) -> Bill:
    """Collect what the document says.

    :param manifest: of the bundle; its `documents` do not matter.
    :param lock: of all that was resolved, what was left to the image included.
    :param wheels: normalised name → filename and sha256 of the wheel in the store.
    """
    requires: dict[str, list[str]] = defaultdict(list)
    for dist in lock.distributions:
        for parent in dist.required_by:
            if parent != dist.name:  # what asks for an extra of its own
                requires[parent].append(dist.name)
    files = {file.path: file for file in manifest.files}
    parts = [
        _part(dist, files=files, wheel=wheels[dist.name], requires=requires[dist.name])
        for dist in manifest.distributions
    ]
    parts += [
        Part(name=name, version=found, source="image", requires=tuple(sorted(requires[name])))
        for name, found in manifest.relies_on.items()
    ]
    names = {part.name for part in parts}
    target = manifest.target
    return Bill(
        tool_version=manifest.tool_version,
        digest=manifest.digest,
        python=target.python,
        implementation=target.implementation,
        machine=target.machine,
        glibc=target.glibc,
        image=manifest.image,
        requested=tuple(
            sorted(dist.name for dist in lock.distributions if dist.requested and dist.name in names)
        ),
        parts=tuple(sorted(parts, key=lambda part: part.name)),
    )


def _part(
    dist: ManifestDistribution,
    *,
    files: Mapping[str, FileFact],
    wheel: tuple[str, str],
    requires: list[str],
) -> Part:
    # A project or a repository has no file: what there is of it is the wheel.
    filename, sha256 = (dist.filename, dist.sha256) if dist.sha256 else wheel
    return Part(
        name=dist.name,
        version=dist.version,
        source=dist.source,
        filename=filename,
        url=dist.url,
        commit=dist.commit,
        sha256=sha256,
        index=dist.index,
        built_from=dist.built_from,
        licence=dist.licence,
        copied=tuple(
            Copied(path=path, sha256=files[path].sha256)
            for path in dist.native
            if REPAIRED in path and path in files
        ),
        requires=tuple(sorted(requires)),
    )
