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
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from packaging.markers import Marker

    from bundler.checks.imports.evidence import ImportEvidence, ImportFailure
    from bundler.checks.installed import RecordRow
    from bundler.model import FileFact, Finding, Lock, Severity, Target, WheelFacts

CODES = ("EB201", "EB202", "EB203", "EB204", "EB205")
TESTS = frozenset({"test", "tests"})
"""Tests in a wheel may need files that it does not have: mpl_toolkits.tests of matplotlib 3.5.3 does."""
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
"""Module → the distribution that brings it, where the names differ."""


def imports(evidence: ImportEvidence, lock: Lock, facts: Mapping[str, WheelFacts]) -> Iterator[Finding]:
    """Report every module that did not import in mount mode (EB201).

    A module that fails just as one of the standard library does is passed over: what hides that one is
    reported by `conflicts.shadows`.

    :param facts: normalised name → facts of its wheel.
    """
    if evidence.startup:
        yield finding(
            "EB201",
            subject="python",
            cause=f"with the bundle on its path the interpreter does not start:\n{evidence.startup}",
            remedy="one distribution hides a module of the standard library: see the traceback, and leave it "
            "out",
        )
        return
    owners = {module: name for name, one in facts.items() for module in one.modules}
    failed = {failure.module for failure in evidence.failures}
    hidden = {_last_line(failure.detail) for failure in evidence.standard}
    for failure in evidence.failures:
        if _last_line(failure.detail) in hidden:
            continue
        owner = owners.get(failure.module, "")
        remedy, severity = _advice(failure, owner, facts, owners=owners, failed=failed)
        yield finding(
            "EB201",
            subject=failure.module,
            cause=failure.detail,
            remedy=remedy,
            lock=lock if owner else None,
            name=owner,
            severity=severity,
        )


def _advice(
    failure: ImportFailure,
    owner: str,
    facts: Mapping[str, WheelFacts],
    *,
    owners: Mapping[str, str],
    failed: Collection[str],
) -> tuple[str | None, Severity | None]:
    """Return remedy and severity of a failed import, where they are not those of the code.

    :param owner: the distribution of the module; may be empty.
    :param owners: module → the distribution that brings it.
    :param failed: every module that did not import.
    """
    others = set(facts[owner].modules) - set(failed) if owner else set()
    if others and failure.module.rpartition(".")[2] in TESTS:
        return "nothing: only those who develop it import its tests", "info"
    missing = failure.missing.partition(".")[0]
    if not missing or missing in {module.partition(".")[0] for module in owners}:
        return None, None
    provider = canonicalize_name(BY_MODULE.get(missing, missing))
    required = [one for text in facts[owner].requires if (one := _requirement(text))] if owner else []
    names = {canonicalize_name(one.name) for one in required}
    extra = {canonicalize_name(one.name) for one in required if one.marker and "extra" in str(one.marker)}
    # Of the hundred modules of googleapis-common-protos three need grpcio, which its extra `grpc` brings.
    if others and provider in extra:
        return f"nothing, unless the service uses it: an extra of {owner} brings {provider}", "info"
    undeclared = f" ({owner} uses it and does not require it)" if owner and provider not in names else ""
    add = f"nothing in the lock brings a module {missing!r}: add {provider} to the requirements{undeclared}"
    return f"{add}, or pin a version of {owner or failure.module} that works without it", None


def _last_line(text: str) -> str:
    return text.rpartition("\n")[2]


def records(rows: Iterable[RecordRow], files: Iterable[FileFact]) -> Iterator[Finding]:
    """Compare every RECORD line with the files of the tree (EB202, EB203).

    A path with several owners must fit one of them; `conflicts` compares what they bring.
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
    yield from (problem for path, problem in wrong.items() if path not in right)


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


def closure(lock: Lock, facts: Mapping[str, WheelFacts], target: Target) -> Iterator[Finding]:
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
                cause = f"{via} requires {_plain(requirement)}, {cause}"
                found.setdefault((name, needed), finding("EB204", subject=name, cause=cause, lock=lock))
                continue
            for further in sorted(requirement.extras):
                pair = (needed, canonicalize_name(further))
                if pair not in asked:
                    asked.add(pair)
                    work.append(pair)
    yield from (found[key] for key in sorted(found))


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


def extras(lock: Lock, facts: Mapping[str, WheelFacts]) -> Iterator[Finding]:
    """Check that every extra that the requirements ask for exists (EB205).

    :param facts: normalised name → facts of its wheel.
    """
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
            yield finding("EB205", subject=f"{dist.name}[{extra}]", cause=cause, remedy=remedy)


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
