"""EB2xx: what the bundle lacks."""

from __future__ import annotations

import difflib
import functools
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from bundler.checks.rules.codes import finding

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from packaging.markers import Marker

    from bundler.checks.imports.evidence import ImportEvidence
    from bundler.checks.installed import RecordRow
    from bundler.model import FileFact, Finding, Lock, Severity, Target, WheelFacts

TESTS = frozenset({"test", "tests"})
"""Tests that a wheel brings want files that it does not: mpl_toolkits.tests of matplotlib 3.5.3 does."""
CODES = ("EB201", "EB202", "EB203", "EB204", "EB205")


def imports(evidence: ImportEvidence, lock: Lock, facts: Mapping[str, WheelFacts]) -> tuple[Finding, ...]:
    """Report every module that did not import in mount mode (EB201).

    What fails just as a module of the standard library does is left to the finding of what hides it.

    :param facts: normalised name → facts of its wheel.
    """
    if evidence.startup:
        remedy = (
            "one distribution hides a module of the standard library: see the traceback, and leave it out"
        )
        cause = f"with the bundle on its path the interpreter does not start:\n{evidence.startup}"
        return (finding("EB201", subject="python", cause=cause, remedy=remedy),)
    owners = {module: name for name, one in facts.items() for module in one.modules}
    provided = {module.partition(".")[0] for module in owners}
    failed = {failure.module for failure in evidence.failures}
    hidden = {_last(failure.detail) for failure in evidence.standard}
    findings = []
    for failure in evidence.failures:
        if _last(failure.detail) in hidden:
            continue
        owner = owners.get(failure.module, "")
        missing = failure.missing.partition(".")[0]
        advice: str | None = None
        severity: Severity | None = None
        if missing and missing not in provided:
            bringer = provider(missing)
            advice = (
                f"nothing in the lock brings a module {missing!r}: add {bringer} to the requirements"
                + (
                    f" ({owner} uses it and does not require it)"
                    if _undeclared(facts, owner, bringer)
                    else ""
                )
                + f", or pin a version of {owner or failure.module} that works without it"
            )
            if owner and _is_optional(facts[owner], bringer, failed):
                severity = "info"
                advice = f"nothing, unless the service uses it: an extra of {owner} brings {bringer}"
        if owner and failure.module.rpartition(".")[2] in TESTS and set(facts[owner].modules) - failed:
            severity, advice = "info", "nothing: only those who develop it import its tests"
        findings.append(
            finding(
                "EB201",
                subject=failure.module,
                cause=failure.detail,
                remedy=advice,
                lock=lock if owner else None,
                name=owner,
                severity=severity,
            )
        )
    return tuple(findings)


def _undeclared(facts: Mapping[str, WheelFacts], owner: str, bringer: str) -> bool:
    if not owner:
        return False
    parsed = [_requirement(text) for text in facts[owner].requires]
    return bringer not in {canonicalize_name(one.name) for one in parsed if one}


def _last(text: str) -> str:
    return text.rpartition("\n")[2]


def _is_optional(facts: WheelFacts, bringer: str, failed: Collection[str]) -> bool:
    """Tell whether a module may fail for lack of `bringer`: an extra would bring it, and the rest works.

    googleapis-common-protos is the model: of its hundred modules three need grpcio, by its extra `grpc`.
    """
    if not set(facts.modules) - set(failed):
        return False
    parsed = [_requirement(text) for text in facts.requires]
    optional = {
        canonicalize_name(one.name) for one in parsed if one and one.marker and "extra" in str(one.marker)
    }
    return bringer in optional


def records(rows: Sequence[RecordRow], files: Iterable[FileFact]) -> tuple[Finding, ...]:
    """Compare every RECORD line with the files of the tree (EB202, EB203).

    A path with several owners must fit one of them: whether they agree is asked by `conflicts`.
    """
    real = {file.path: file for file in files}
    wrong: dict[str, Finding] = {}
    right = set()
    for row in rows:
        problem = _record_problem(row, real.get(row.path))
        if problem is None:
            right.add(row.path)
        else:
            wrong.setdefault(row.path, problem)
    return tuple(problem for path, problem in wrong.items() if path not in right)


def _record_problem(row: RecordRow, file: FileFact | None) -> Finding | None:
    if file is None:
        return finding("EB202", subject=row.path, cause=f"the RECORD of {row.owner} lists it")
    if row.size is not None and row.size != file.size:
        cause = f"has {file.size} bytes; the RECORD of {row.owner} says {row.size}"
        return finding("EB203", subject=row.path, cause=cause)
    if row.sha256 is not None and row.sha256 != file.sha256:
        cause = f"its sha256 is not the one in the RECORD of {row.owner}"
        return finding("EB203", subject=row.path, cause=cause)
    return None


def closure(lock: Lock, facts: Mapping[str, WheelFacts], target: Target) -> tuple[Finding, ...]:
    """Check that every requirement of every distribution is met by the lock (EB204).

    Markers are the target's. An extra counts where the requirements ask for it, or where a requirement
    that counts asks for it. Lines that are not valid are passed over, as pip does.

    :param facts: normalised name → facts of its wheel.
    """
    versions = {dist.name: dist.version for dist in lock.distributions}
    asked = {(dist.name, "") for dist in lock.distributions}
    asked |= {(dist.name, canonicalize_name(extra)) for dist in lock.distributions for extra in dist.extras}
    work = sorted(asked)
    found: dict[tuple[str, str], Finding] = {}
    while work:
        name, extra = work.pop()
        for text in facts[name].requires if name in facts else ():
            requirement = _requirement(text)
            if requirement is None or not _applies(requirement.marker, target, extra):
                continue
            needed = canonicalize_name(requirement.name)
            cause = _unmet(requirement, versions.get(needed))
            if cause:
                via = f"{name}[{extra}]" if extra else name
                one = finding(
                    "EB204", subject=name, cause=f"{via} requires {_plain(requirement)}, {cause}", lock=lock
                )
                found.setdefault((name, needed), one)
                continue
            for further in sorted(requirement.extras):
                pair = (needed, canonicalize_name(further))
                if pair not in asked:
                    asked.add(pair)
                    work.append(pair)
    return tuple(found[key] for key in sorted(found))


@functools.lru_cache(maxsize=4096)
def _requirement(text: str) -> Requirement | None:
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def _applies(marker: Marker | None, target: Target, extra: str) -> bool:
    if marker is None:
        return not extra  # already counted for the distribution without extras
    without = marker.evaluate({**target.markers, "extra": ""})
    return marker.evaluate({**target.markers, "extra": extra}) and not without if extra else without


def _unmet(requirement: Requirement, version: str | None) -> str:
    if version is None:
        return "which is not in the bundle"
    if requirement.url:
        return ""
    try:
        # Pre-releases count: whoever asked for one got it.
        met = requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        met = True
    return "" if met else f"the bundle has {version}"


def _plain(requirement: Requirement) -> str:
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


def extras(lock: Lock, facts: Mapping[str, WheelFacts]) -> tuple[Finding, ...]:
    """Check that every extra that the requirements ask for exists (EB205).

    :param facts: normalised name → facts of its wheel.
    """
    findings = []
    for dist in lock.distributions:
        if not dist.extras or dist.name not in facts:
            continue
        known = known_extras(facts[dist.name])
        for extra in dist.extras:
            if canonicalize_name(extra) in known:
                continue
            near = difflib.get_close_matches(canonicalize_name(extra), sorted(known), n=3)
            if near:
                remedy = f"did you mean {' or '.join(near)}?"
            elif known:
                remedy = f"it has: {', '.join(sorted(known))}"
            else:
                remedy = "it has no extras at all: ask for it without"
            cause = f"{dist.name} {dist.version} has no extra {extra!r}"
            findings.append(finding("EB205", subject=f"{dist.name}[{extra}]", cause=cause, remedy=remedy))
    return tuple(findings)


def known_extras(facts: WheelFacts) -> frozenset[str]:
    """Return the normalised extras of a wheel: those it provides, and those that its requirements name."""
    named = {canonicalize_name(extra) for extra in facts.extras}
    for text in facts.requires:
        _, _, marker = text.partition(";")
        if "extra" not in marker:
            continue
        words = marker.replace("(", " ").replace(")", " ").replace("==", " == ").split()
        for before, equals, value in zip(words, words[1:], words[2:], strict=False):
            if equals == "==" and before == "extra":
                named.add(canonicalize_name(value.strip("\"'")))
    return frozenset(named)


BY_MODULE = {
    "Crypto": "pycryptodome",
    "Cython": "cython",
    "IPython": "ipython",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "absl": "absl-py",
    "apt_pkg": "python-apt",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cairo": "pycairo",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "distutils": "setuptools",
    "dns": "dnspython",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "git": "gitpython",
    "gi": "pygobject",
    "grpc": "grpcio",
    "grpc_status": "grpcio-status",
    "grpc_tools": "grpcio-tools",
    "jose": "python-jose",
    "jwt": "pyjwt",
    "ldap": "python-ldap",
    "lmdb": "lmdb",
    "magic": "python-magic",
    "markdown": "markdown",
    "mpl_toolkits": "matplotlib",
    "multipart": "python-multipart",
    "nacl": "pynacl",
    "osgeo": "gdal",
    "pkg_resources": "setuptools",
    "pptx": "python-pptx",
    "psycopg2": "psycopg2-binary",
    "pylab": "matplotlib",
    "pythoncom": "pywin32",
    "_distutils_hack": "setuptools",
    "ruamel": "ruamel.yaml",
    "serial": "pyserial",
    "shapefile": "pyshp",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "socks": "pysocks",
    "sentry_sdk": "sentry-sdk",
    "tensorflow": "tensorflow-cpu",
    "tlz": "toolz",
    "usb": "pyusb",
    "win32api": "pywin32",
    "wx": "wxpython",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}


def provider(module: str) -> str:
    """Normalised name of the distribution that brings a top-level module, as far as names tell."""
    return canonicalize_name(BY_MODULE.get(module, module))
