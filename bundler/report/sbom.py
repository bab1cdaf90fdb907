"""`sbom.cdx.json`: the bundle's parts as a CycloneDX document, for scanners of licences and vulnerabilities.

What stands where: docs/sbom.md. The document is a function of the bill alone: no time, no random number.
Every `create` imports this module; the libraries that write the document take a tenth of a second to import,
so the functions that use them import them.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit, urlunsplit

from bundler.bundle.manifest.values import Manifest, ManifestDistribution
from bundler.errors import MachineError
from bundler.lazy_dataclass import dataclass
from bundler.model import FileFact, Lock
from bundler.system.installed_versions import version

NAME = "sbom.cdx.json"
FORM = 1
"""Changes when the same bill gives another document."""
LIBRARIES = ("cyclonedx-python-lib", "packageurl-python", "packaging", "py-serializable")
"""What the text depends on besides the bill: another version may write it otherwise."""
REPAIRED = ".libs/"
"""auditwheel puts copies of a system's libraries into `NAME.libs`: https://github.com/pypa/auditwheel"""
ROOT = "envbundle:bundle"
"""Reference of the bundle itself; no distribution can be named so."""
HEAD = ("$schema", "bomFormat", "specVersion", "serialNumber", "version", "metadata")
_HOST = re.compile(r"([^@]*@)?(%[0-9A-F]{2}|[A-Za-z0-9._~-])+(:[0-9]+)?")
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SAFE = "%/:?@&=+$,;!~*()"
"""Characters that a URL keeps; what the library and RFC 3987 do not take is escaped."""


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
    return made_once(key, lambda: _document(bill), texts=texts)


def made_once(key: str, make: Callable[[], str], *, texts: Texts | None) -> str:
    """Return the text that is kept under a key, or make it and keep it."""
    if texts is None:
        return make()
    text = texts.text(key)
    if text is None:
        text = make()
        # It can be made again: a store that is full must not stop a bundle that is proved.
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
        tool_version=manifest.tool.version,
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


def load() -> None:
    """Load the libraries that write a new document."""
    part = Part(name="x", version="1", source="index", licence="MIT", sha256="0" * 64)
    _document(
        Bill(
            tool_version="1",
            digest="0" * 64,
            python="3.8",
            implementation="cpython",
            machine="x86_64",
            glibc="2.31",
            image=None,
            requested=("x",),
            parts=(part,),
        )
    )


def _document(bill: Bill) -> str:
    """Return the document in JSON, sorted and checked by the library."""
    from cyclonedx.model.bom import Bom  # noqa: PLC0415 - see above
    from cyclonedx.output.json import JsonV1Dot6  # noqa: PLC0415 - see above

    about = ("python", "implementation", "machine", "glibc", "image")
    root = {
        "type": "application",
        "name": "envbundle bundle",
        "version": bill.digest,
        "bom-ref": ROOT,
        "properties": _properties({name: getattr(bill, name) for name in about}),
    }
    tool = {"type": "application", "name": "envbundle", "version": bill.tool_version}
    needs = {ROOT: bill.requested, **{part.name: part.requires for part in bill.parts}}
    bom = Bom.from_json(  # type: ignore[attr-defined]  # the class gets it from a decorator
        {
            # Made of the content: the same bundle always gets the same number.
            "serialNumber": uuid.uuid5(uuid.NAMESPACE_OID, f"envbundle:sbom:{bill.sha256}").urn,
            "metadata": {"component": root, "tools": {"components": [tool]}},
            "components": [_component(part) for part in bill.parts],
            "dependencies": [
                # A lock of another tool may name a parent or a child that it does not have.
                {"ref": name, "dependsOn": [child for child in children if child in needs]}
                for name, children in needs.items()
            ],
        }
    )
    written = json.loads(JsonV1Dot6(bom).output_as_string())
    del written["metadata"]["timestamp"]  # the library knows no document without one; the schema does
    head = {key: written.pop(key) for key in HEAD}
    return json.dumps({**head, **written}, indent=2) + "\n"


def _component(part: Part) -> dict[str, Any]:
    hashes = _hashes(part.sha256) if part.sha256 else []
    references = _references(part, hashes)
    return {
        "type": "library",
        "name": part.name,
        "version": part.version or None,
        "bom-ref": part.name,
        "scope": "required",
        "purl": _purl(part),
        "hashes": hashes,
        "licenses": [_licence(part.licence)] if part.licence else [],
        "externalReferences": references,
        "properties": _properties(
            {
                "file": part.filename,
                "url": part.url if part.url and not references else None,
                "index": part.index,
                "built-from": part.built_from,
                "provided-by": "image" if part.source == "image" else None,
            }
        ),
        "components": [
            {
                "type": "file",
                "name": copied.path.rpartition("/")[2],
                "bom-ref": f"{part.name}:{copied.path}",
                "hashes": _hashes(copied.sha256),
                "properties": _properties({"path": copied.path}),
            }
            for copied in part.copied
        ],
    }


def _purl(part: Part) -> str:
    """Return the package URL; what is not from an index has a qualifier that says from where.

    https://github.com/package-url/purl-spec/blob/main/PURL-SPECIFICATION.rst, known qualifiers.
    """
    from packageurl import PackageURL  # noqa: PLC0415 - see above

    qualifiers = {}
    if part.source == "url" and part.url:
        qualifiers = {"download_url": part.url}
    elif part.source == "vcs" and part.url:
        qualifiers = {"vcs_url": f"{part.url}@{part.commit}" if part.commit else part.url}
    elif part.source in {"vcs", "url", "local"}:
        # It has no address that means anything elsewhere, and is not what the index has under this name.
        qualifiers = {"file_name": part.filename, "checksum": f"sha256:{part.sha256}"}
    return PackageURL(
        type="pypi", name=part.name, version=part.version or None, qualifiers=qualifiers
    ).to_string()


def _references(part: Part, hashes: list[dict[str, str]]) -> list[dict[str, Any]]:
    repository = part.source == "vcs"
    # `git+https` is pip's spelling; the scheme of the repository is what follows.
    url = _uri((part.url or "").removeprefix("git+") if repository else part.url or "")
    if url is None:
        return []
    if repository:
        return [{"type": "vcs", "url": url, "comment": f"commit {part.commit}" if part.commit else None}]
    return [{"type": "distribution", "url": url, "hashes": hashes}]


def _uri(url: str) -> str | None:
    """Return a URL with everything escaped that a URI cannot hold, and without its fragment.

    `None` for what no document can hold: the library escapes the brackets of an IPv6 address, and
    `ssh://git@host:organisation/…`, which git takes, is no URI.
    """
    parts = urlsplit(url)
    fields = (parts.scheme, parts.netloc, parts.path, parts.query)
    scheme, host, *rest = (quote(_NO_ESCAPE.sub("%25", field), safe=_SAFE) for field in fields)
    return urlunsplit((scheme, host, *rest, "")) if _HOST.fullmatch(host) else None


def _licence(text: str) -> dict[str, Any]:
    """Return what METADATA says: an SPDX identifier or expression where it is one, else a name."""
    from packaging.licenses import (  # noqa: PLC0415 - see above
        InvalidLicenseExpression,
        canonicalize_license_expression,
    )

    declared = {"acknowledgement": "declared"}
    try:
        expression = str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return {"license": {"name": text, **declared}}
    if _is_identifier(expression):
        return {"license": {"id": expression, **declared}}
    return {"expression": expression, **declared}


def _is_identifier(licence: str) -> bool:
    """Tell whether the document's schema knows a licence by this identifier."""
    # `cyclonedx.spdx` reads the same file, but takes as long as all else that makes the document: it also
    # loads what judges expressions, which `packaging` has done.
    try:
        from cyclonedx.schema._res import SPDX_JSON  # noqa: PLC0415 - see above

        return licence in _identifiers(SPDX_JSON)
    except (ImportError, OSError, ValueError, KeyError):
        from cyclonedx.spdx import is_supported_id  # noqa: PLC0415 - as the comment says

        return is_supported_id(licence)


@functools.cache
def _identifiers(schema: str) -> frozenset[str]:
    return frozenset(json.loads(Path(schema).read_text(encoding="utf-8"))["enum"])


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]


def _properties(values: dict[str, str | None]) -> list[dict[str, str]]:
    return [{"name": f"envbundle:{name}", "value": value} for name, value in values.items() if value]
