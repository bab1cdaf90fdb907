"""Writes a bill as CycloneDX 1.6; kept apart because its library takes long to import."""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit, urlunsplit

from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.license import DisjunctiveLicense, LicenseAcknowledgement, LicenseExpression
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.spdx import is_supported_id
from packageurl import PackageURL
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

if TYPE_CHECKING:
    from cyclonedx.model.bom_ref import BomRef
    from cyclonedx.model.license import License

    from bundler.report.sbom import Bill, Part

ROOT = "envbundle:bundle"
"""Reference of the bundle itself; no distribution can be named so."""
HEAD = ("$schema", "bomFormat", "specVersion", "serialNumber", "version", "metadata")
_HOST = re.compile(r"([^@]*@)?(%[0-9A-F]{2}|[A-Za-z0-9._~-])+(:[0-9]+)?")
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SAFE = "%/:?@&=+$,;!~*()"
"""Characters that a URL keeps; what the library and RFC 3987 do not take is escaped."""


def document(bill: Bill) -> str:
    """Return the document in JSON."""
    root = Component(
        type=ComponentType.APPLICATION,
        name="envbundle bundle",
        version=bill.digest,
        bom_ref=ROOT,
        properties=_properties(
            {
                "python": bill.python,
                "implementation": bill.implementation,
                "machine": bill.machine,
                "glibc": bill.glibc,
                "image": bill.image,
            }
        ),
    )
    components = {part.name: _component(part) for part in bill.parts}
    tool = Component(type=ComponentType.APPLICATION, name="envbundle", version=bill.tool_version)
    bom = Bom(
        # The same bundle has the same document, and another has another: so the number is of the content.
        serial_number=uuid.uuid5(uuid.NAMESPACE_OID, f"envbundle:sbom:{bill.sha256}"),
        metadata=BomMetaData(component=root, tools=ToolRepository(components=[tool])),
        components=components.values(),
        dependencies=[
            _dependency(root.bom_ref, bill.requested, components),
            *(_dependency(components[part.name].bom_ref, part.requires, components) for part in bill.parts),
        ],
    )
    written = json.loads(JsonV1Dot6(bom).output_as_string())
    del written["metadata"]["timestamp"]  # the library knows no document without one; the schema does
    head = {key: written.pop(key) for key in HEAD}
    return json.dumps({**head, **written}, indent=2) + "\n"


def _dependency(ref: BomRef, names: tuple[str, ...], components: dict[str, Component]) -> Dependency:
    # A lock of another tool may name a parent or a child that it does not have.
    children = (components[name].bom_ref for name in names if name in components)
    return Dependency(ref=ref, dependencies=[Dependency(ref=child) for child in children])


def _component(part: Part) -> Component:
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=part.sha256)] if part.sha256 else []
    references = _references(part, hashes)
    return Component(
        type=ComponentType.LIBRARY,
        name=part.name,
        version=part.version or None,
        bom_ref=part.name,
        scope=ComponentScope.REQUIRED,
        purl=_purl(part),
        hashes=hashes,
        licenses=[_licence(part.licence)] if part.licence else [],
        external_references=references,
        properties=_properties(
            {
                "file": part.filename,
                "url": part.url if part.url and not references else None,
                "index": part.index,
                "built-from": part.built_from,
                "provided-by": "image" if part.source == "image" else None,
            }
        ),
        components=[
            Component(
                type=ComponentType.FILE,
                name=copied.path.rpartition("/")[2],
                bom_ref=f"{part.name}:{copied.path}",
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=copied.sha256)],
                properties=_properties({"path": copied.path}),
            )
            for copied in part.copied
        ],
    )


def _purl(part: Part) -> PackageURL:
    """Return the package URL; what is not from an index has a qualifier that says from where.

    https://github.com/package-url/purl-spec/blob/main/PURL-SPECIFICATION.rst, known qualifiers.
    """
    qualifiers = {}
    if part.source == "url" and part.url:
        qualifiers = {"download_url": part.url}
    elif part.source == "vcs" and part.url:
        qualifiers = {"vcs_url": f"{part.url}@{part.commit}" if part.commit else part.url}
    elif part.source in {"vcs", "url", "local"}:
        # It has no address that means anything elsewhere, and is not what the index has under this name.
        qualifiers = {"file_name": part.filename, "checksum": f"sha256:{part.sha256}"}
    return PackageURL(type="pypi", name=part.name, version=part.version or None, qualifiers=qualifiers)


def _references(part: Part, hashes: list[HashType]) -> list[ExternalReference]:
    repository = part.source == "vcs"
    # `git+https` is pip's spelling; the scheme of the repository is what follows.
    url = _uri((part.url or "").removeprefix("git+") if repository else part.url or "")
    if url is None:
        return []
    if repository:
        comment = f"commit {part.commit}" if part.commit else None
        return [ExternalReference(type=ExternalReferenceType.VCS, url=url, comment=comment)]
    return [ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=url, hashes=hashes)]


def _uri(url: str) -> XsUri | None:
    """Return a URL with everything escaped that a URI cannot hold, and without its fragment.

    `None` for what no document can hold: the library escapes the brackets of an IPv6 address, and
    `ssh://git@host:organisation/…`, which git takes, is no URI.
    """
    parts = urlsplit(url)
    fields = (parts.scheme, parts.netloc, parts.path, parts.query)
    scheme, host, *rest = (quote(_NO_ESCAPE.sub("%25", field), safe=_SAFE) for field in fields)
    return XsUri(urlunsplit((scheme, host, *rest, ""))) if _HOST.fullmatch(host) else None


def _licence(text: str) -> License:
    """Return what METADATA says: an SPDX identifier or expression where it is one, else a name."""
    declared = LicenseAcknowledgement.DECLARED
    try:
        expression = str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        return DisjunctiveLicense(name=text, acknowledgement=declared)
    if is_supported_id(expression):
        return DisjunctiveLicense(id=expression, acknowledgement=declared)
    return LicenseExpression(expression, acknowledgement=declared)


def _properties(values: dict[str, str | None]) -> list[Property]:
    return [Property(name=f"envbundle:{name}", value=value) for name, value in values.items() if value]
