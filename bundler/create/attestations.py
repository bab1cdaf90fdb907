"""Verifies provenance objects (PEP 740) offline, against a trust root of Sigstore.

The libraries take a second to import: only what was not verified before needs them.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import parse_sdist_filename, parse_wheel_filename

from bundler.bundle import identities
from bundler.checks.rules.publishers import Attested
from bundler.errors import EnvbundleError, InputError, MachineError
from bundler.lazy_dataclass import dataclass
from bundler.model import Claims
from bundler.ontarget.bounded import parse_json
from bundler.system import json_values, redact

if TYPE_CHECKING:
    from pypi_attestations import AttestationBundle
    from sigstore.verify import Verifier

MOST = 64
"""Attestations of one file above which none is verified."""
_SHIPPED = "_store/https%3A%2F%2Ftuf-repo-cdn.sigstore.dev/trusted_root.json"
"""The trust root of the public instance in the package `sigstore`."""
_STATEMENT = "https://in-toto.io/Statement/v1"
_NEEDED = ("pypi-attestations", "sigstore")


def require() -> None:
    """Check that what verifies is installed, without importing it.

    :raises MachineError: it is not.
    """
    if find_spec("pypi_attestations") is None or find_spec("sigstore") is None:
        raise MachineError(
            "--provenance needs a package that is not installed",
            hint="from a checkout of envbundle: pip install '.[provenance]'",
        )


@dataclass(frozen=True, kw_only=True)
class Attestations:
    """Verifies the attestations of files."""

    scratch: Path
    """Without a file that is called `trusted_root.json`."""
    trusted_root: str = field(default="", repr=False)
    """The content of a trust root; empty: the one that sigstore ships."""
    known: dict[str, tuple[Claims, ...]] = field(default_factory=dict, repr=False)
    """What was verified: sha256 of file and object → the identities; it is added to."""

    def verified(self, document: bytes, *, filename: str, sha256: str) -> Attested:
        """Return the identities for which a provenance object vouches for a file, or why not.

        :param document: the object as it was fetched; anybody may have written it.
        :raises InputError: the trust root is none.
        """
        try:
            text = document.decode()
        except UnicodeDecodeError as error:
            return Attested(problem=f"it is no text: {error}")
        about = json.dumps([filename, sha256, hashlib.sha256(document).hexdigest()])
        key = hashlib.sha256(about.encode()).hexdigest()
        if key in self.known:
            return Attested(identities=self.known[key], document=text)
        found = self._verify(text, filename=filename, sha256=sha256)
        if found.identities:
            self.known[key] = found.identities
        return found

    @functools.cached_property
    def by(self) -> tuple[str, ...]:
        """What decides a verdict beside file and object: versions of what verifies, and the trust root."""
        versions = [f"{name} {importlib.metadata.version(name)}" for name in _NEEDED]
        return (*versions, hashlib.sha256(self._root.encode()).hexdigest())

    @functools.cached_property
    def _root(self) -> str:
        if self.trusted_root:
            return self.trusted_root
        shipped = importlib.metadata.distribution("sigstore").locate_file(f"sigstore/{_SHIPPED}")
        try:
            return Path(str(shipped)).read_text(encoding="utf-8")
        except OSError as error:
            raise MachineError(
                f"this sigstore ships no trust root: {shipped}", hint="name one with --trusted-root FILE"
            ) from error

    @functools.cached_property
    def _verifier(self) -> Verifier:
        from sigstore.errors import Error  # noqa: PLC0415 - it takes a second
        from sigstore.models import TrustedRoot  # noqa: PLC0415 - as above
        from sigstore.verify import Verifier  # noqa: PLC0415 - as above

        path = self.scratch / "trusted_root.json"
        path.write_text(self._root, encoding="utf-8")
        try:
            return Verifier(trusted_root=TrustedRoot.from_file(str(path)))
        # A member that is missing, a key that is none.
        except (Error, ValueError, TypeError, AttributeError) as error:
            raise InputError(
                f"the trust root is none: {_first_line(error)}",
                hint="give --trusted-root the trusted_root.json of a Sigstore instance, or leave it out",
            ) from error

    def _verify(self, text: str, *, filename: str, sha256: str) -> Attested:
        from pydantic import ValidationError  # noqa: PLC0415 - it comes with the next one
        from pypi_attestations import AttestationBundle  # noqa: PLC0415 - it takes a second

        try:
            bundles = _bundles(text)
        except (InputError, ValueError) as error:
            return Attested(problem=_first_line(error))
        found: list[dict[str, object]] = []
        unknown: list[str] = []
        for raw in bundles:
            try:
                bundle = AttestationBundle.model_validate(raw)
            except ValidationError as error:
                if any(one["type"] == "union_tag_invalid" for one in error.errors()):
                    unknown.append(str(raw["publisher"]["kind"])[:40])
                    continue
                return Attested(problem=_first_line(error))
            if problem := self._problem(bundle, filename=filename, sha256=sha256):
                return Attested(problem=problem)
            found.append(bundle.publisher.model_dump(exclude_none=True))
        if not found:
            why = f"no pypi-attestations here knows publishers of the kind {unknown[0]}" if unknown else ""
            return Attested(unknown=why or "the index offers an empty provenance")
        return Attested(identities=identities.read(found), document=text)

    def _problem(self, bundle: AttestationBundle, *, filename: str, sha256: str) -> str:
        """Say why the attestations of a publisher do not vouch for a file; empty: they do."""
        if not bundle.attestations:
            return f"nothing is attested by {identities.spelled(_claims(bundle))}"
        for attestation in bundle.attestations:
            try:
                _, payload = self._verifier.verify_dsse(
                    attestation.to_bundle(),
                    bundle.publisher._as_policy(),  # noqa: SLF001 - its own `verify` takes no trust root
                )
                problem = _other_subject(payload, filename=filename, sha256=sha256)
            except EnvbundleError:
                raise
            except Exception as error:  # noqa: BLE001 - hostile certificates decide what their parsers raise
                problem = f"of {identities.spelled(_claims(bundle))}: {_first_line(error)}"
            if problem:
                return problem
        return ""


def _bundles(text: str) -> list[dict[str, Any]]:
    """Return the attestation bundles of a provenance object, each of which names the kind of its publisher.

    :raises InputError: it has another form.
    :raises ValueError: it is no JSON, or has too many of them.
    """
    value = json_values.parse(text.encode(), source="the provenance")
    if value["version"].raw != 1:
        value["version"].fail("is not 1")
    bundles = list(value["attestation_bundles"])
    count = 0
    for one in bundles:
        one["publisher"]["kind"].text()
        count += len(list(one["attestations"]))
    if count > MOST:
        raise ValueError(f"it has {count} attestations, which are too many")
    return [one.raw for one in bundles]


def _claims(bundle: AttestationBundle) -> Claims:
    return identities.read([bundle.publisher.model_dump(exclude_none=True)])[0]


def _other_subject(payload: bytes, *, filename: str, sha256: str) -> str:
    """Say what is attested in the place of a file; empty: the file.

    :param payload: an in-toto statement, which was signed.
    """
    from pypi_attestations import AttestationType  # noqa: PLC0415 - it takes a second

    statement: Mapping[str, Any] = parse_json(payload)
    (subject,) = statement["subject"]
    attested = subject["digest"].get("sha256")
    known = {one.value for one in AttestationType}
    if statement["_type"] != _STATEMENT or statement["predicateType"] not in known:
        return f"what it states is unknown: {statement['predicateType']!r} in {statement['_type']!r}"
    if attested != sha256:
        return f"it is about a file with the sha256 {attested}, not {sha256}"
    if _parsed(subject["name"]) != _parsed(filename):
        return f"it is about {subject['name']!r}"
    return ""


def _parsed(filename: str) -> tuple[object, ...]:
    """Return what the name of a wheel or source distribution says, however it is spelled."""
    return parse_wheel_filename(filename) if filename.endswith(".whl") else parse_sdist_filename(filename)


def _first_line(error: Exception) -> str:
    lines = str(error.message if isinstance(error, EnvbundleError) else error).strip().splitlines()
    text = redact.text(lines[0][:300]) if lines else ""
    # Python's own say little without their name: `KeyError: 'subject'`.
    return f"{type(error).__name__}: {text}" if type(error).__module__ == "builtins" or not text else text
