"""EB1xx: what the bundle has or uses besides what was resolved, and what leads out of it."""

from __future__ import annotations

import json
import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.utils import canonicalize_name

from bundler.checks.installed import HEAD, read_bytes, same_version
from bundler.checks.rules.codes import finding
from bundler.wheels.facts import build_paths

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from bundler.checks.imports.evidence import Elsewhere
    from bundler.checks.installed import Observed
    from bundler.model import Finding, Interpreter, Lock, StartupFact, StoredWheel

NEVER_FROZEN = frozenset({"argparse", "wsgiref", "python"})
"""pip's `stdlib_pkgs` (pip/_internal/utils/compat.py): no listing of pip shows them, `--all` or not."""
CODES = tuple(f"EB1{number:02}" for number in range(1, 13))


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """The lines of a `pip freeze`, parsed."""

    versions: Mapping[str, str | None]
    """Normalised name → version; `None` where the line gives a URL instead."""
    editable: tuple[str, ...] = ()
    """`-e …` lines."""


def parse_freeze(lines: Iterable[str]) -> Frozen:
    """Parse `pip freeze --all`: `name==version`, `name @ URL`, `-e …` and comments."""
    versions: dict[str, str | None] = {}
    editable = []
    for line in lines:
        text = line.strip()
        pinned = re.fullmatch(r"([A-Za-z0-9._-]+)\s*={2,3}\s*(\S+)", text)
        direct = re.match(r"([A-Za-z0-9._-]+)\s*@\s", text)
        if text.startswith(("-e ", "--editable")):
            editable.append(text)
        elif pinned:
            versions[canonicalize_name(pinned[1])] = pinned[2]
        elif direct:
            versions[canonicalize_name(direct[1])] = None
    return Frozen(versions=versions, editable=tuple(editable))


def installed(lock: Lock, observed: Observed) -> tuple[Finding, ...]:
    """Compare what our own reader found with the lock (EB101, EB102, EB103)."""
    seen = {one.name: one.version for one in observed.distributions}
    return _compare(lock, seen, hidden=frozenset(), source="its folder of metadata")


def freeze(lock: Lock, lines: Sequence[str]) -> tuple[Finding, ...]:
    """Compare `pip freeze --all` with the lock (EB101, EB102, EB103; EB106 for editable installs)."""
    frozen = parse_freeze(lines)
    findings = [
        finding("EB106", subject=line, cause="`pip freeze` shows an editable install")
        for line in frozen.editable
    ]
    return (*_compare(lock, frozen.versions, hidden=NEVER_FROZEN, source="`pip freeze`"), *findings)


def _compare(
    lock: Lock, seen: Mapping[str, str | None], *, hidden: frozenset[str], source: str
) -> tuple[Finding, ...]:
    expected = {dist.name: dist.version for dist in lock.distributions}
    findings = []
    for name, version in expected.items():
        if name in seen:
            real = seen[name]
            if real is not None and not same_version(version, real):
                cause = f"the lock says {version}, {source} says {real}"
                findings.append(finding("EB103", subject=name, cause=cause, lock=lock))
        elif name not in hidden:
            cause = f"the lock has {name} {version}; {source} does not show it"
            findings.append(finding("EB101", subject=name, cause=cause, lock=lock))
    for name in sorted(set(seen) - set(expected)):
        cause = f"{source} shows {name} {seen[name] or ''}".rstrip() + "; nothing in the lock brings it"
        findings.append(finding("EB102", subject=name, cause=cause))
    return tuple(findings)


def baseline(lines: Sequence[str]) -> tuple[Finding, ...]:
    """Check that the environment was empty before anything was installed (EB104)."""
    return tuple(
        finding("EB104", subject=line, cause=f"`pip freeze` of the new environment already showed {line}")
        for line in lines
        if line.strip() and not line.startswith("#")
    )


def unowned(paths: Iterable[str], *, owned: Collection[str]) -> tuple[Finding, ...]:
    """Check that every file of the prefix is in a RECORD (EB105)."""
    return tuple(
        finding("EB105", subject=path, cause="is in no distribution's RECORD")
        for path in paths
        if path not in owned
    )


def odd_entries(
    observed: Observed, *, site_packages: str, owned: Collection[str], irregular: Iterable[str] = ()
) -> tuple[Finding, ...]:
    """Check the entries that are no sound distribution (EB106, EB107), and for symlinks (EB514).

    An egg-info that a wheel itself brings is nobody's harm: what a RECORD owns is passed over.
    """
    findings = [
        finding("EB514", subject=path, cause="is a symlink or no ordinary file") for path in irregular
    ]
    folders = {path[len(site_packages) + 1 :].split("/", 1)[0] for path in owned}
    for one in observed.odd:
        if one.kind == "metadata":
            findings.append(finding("EB107", subject=one.entry, cause=one.reason))
        elif one.entry not in folders:
            findings.append(finding("EB106", subject=one.entry, cause=one.reason))
    return tuple(findings)


def loaded_elsewhere(elsewhere: Sequence[Elsewhere]) -> tuple[Finding, ...]:
    """Report the code that the import proof saw coming from outside (EB110)."""
    return tuple(
        finding("EB110", subject=one.name, cause=f"the {one.kind} {one.name} was loaded from {one.path}")
        for one in elsewhere
    )


EDITABLE = re.compile(r"__editable__|easy-install\.pth$|easy_install\.pth$")
"""Names of what setuptools leaves of an editable install (PEP 660, and `setup.py develop` before it)."""
FINDER = re.compile(r"import\s+__editable__")
CONDA = re.compile(r"/feedstock_root/|/conda-bld/|/croot/|/conda/")
CODE_LINE = re.compile(r"import[ \t]")
"""How `site` tells a line that it runs from a path: https://docs.python.org/3/library/site.html."""
EVERYBODYS = frozenset({"", "/", "/usr", "/usr/local", "/opt", "/home", "/root", "/srv", "/var"})
"""Folders that every machine has; a program may name them."""


def startup(lines: Iterable[StartupFact], *, site_packages: str) -> tuple[Finding, ...]:
    """Report `.pth` lines of editable installs (EB106), and paths that lead out of the bundle (EB108).

    :param lines: the `.pth` files of the tree, as they are there.
    """
    findings = []
    for fact in lines:
        for line in fact.lines:
            editable = EDITABLE.search(fact.path) or FINDER.match(line)
            if CODE_LINE.match(line):
                if editable:
                    cause = f"its line {line[:80]!r} starts the finder of an editable install"
                    findings.append(finding("EB106", subject=fact.path, cause=cause))
            elif leaves(line, folder=site_packages):
                code = "EB106" if editable else "EB108"
                findings.append(finding(code, subject=fact.path, cause=f"it leads to {line}"))
    return tuple(findings)


def leaves(path: str, *, folder: str) -> bool:
    """Tell whether a path, relative to a folder of the tree, leads out of the tree."""
    if path.startswith("/"):
        return True
    return posixpath.normpath(posixpath.join(folder, path)).split("/")[0] == ".."


def finders(paths: Iterable[str], *, site_packages: str) -> tuple[Finding, ...]:
    """Report the finder modules of editable installs (EB106)."""
    return tuple(
        finding("EB106", subject=path, cause="it is the finder of an editable install")
        for path in paths
        if path.startswith(f"{site_packages}/__editable__") and path.endswith(".py")
    )


def leaving_links(prefix: Path, irregular: Iterable[str]) -> tuple[Finding, ...]:
    """Report symlinks whose target is outside of the tree (EB108).

    :param irregular: paths of what is no ordinary file.
    """
    findings = []
    for path in irregular:
        try:
            target = os.readlink(prefix / path)  # noqa: PTH115 - as it is written, not as a Path cleans it
        except OSError:
            continue  # a socket, a pipe
        if leaves(target, folder=posixpath.dirname(path)):
            findings.append(finding("EB108", subject=path, cause=f"is a symlink to {target}"))
    return tuple(findings)


def origins(prefix: Path, site_packages: str, observed: Observed) -> tuple[Finding, ...]:
    """Report what INSTALLER and direct_url.json say of another machine (EB106, EB108, EB111).

    Format of the latter: https://packaging.python.org/en/latest/specifications/direct-url/
    """
    findings = []
    for one in observed.distributions:
        folder = f"{prefix}/{site_packages}/{one.dist_info}"
        if _text(f"{folder}/INSTALLER").strip().lower() == "conda":
            findings.append(finding("EB111", subject=one.name, cause="its INSTALLER is conda"))
            continue
        value = _json(_text(f"{folder}/direct_url.json"))
        url = str(value.get("url", ""))
        details = value.get("dir_info")
        if not url.startswith("file:"):
            continue
        if isinstance(details, dict) and details.get("editable") is True:
            code, cause = "EB106", f"its direct_url.json says that it is an editable install of {url}"
        elif CONDA.search(url):
            code, cause = "EB111", f"its direct_url.json says {url}"
        else:
            code, cause = "EB108", f"its direct_url.json says {url}"
        findings.append(finding(code, subject=one.name, cause=cause))
    return tuple(findings)


def _text(path: str) -> str:
    try:
        return read_bytes(path, HEAD).decode("utf-8", "replace")
    except OSError:
        return ""


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def builders(lock: Lock, wheels: Iterable[StoredWheel], *, builder: Sequence[str]) -> tuple[Finding, ...]:
    """Report paths of the machine that built a wheel, in its scripts, text and binary files (EB109).

    A wheel that was fetched is as its publisher made it, and works for everybody else: information. One
    that was built here tells where, and may look there when it runs.

    :param builder: folders of this machine: of the build, the store, the interpreter, the caller's home.
    """
    marks = [f"{folder}/".encode() for folder in sorted({*builder} - EVERYBODYS)]
    findings = []
    for wheel in wheels:
        name, facts = wheel.locked.name, wheel.facts
        if wheel.built_from is not None and marks:
            paths = [file.path for file in facts.files]
            for path, inside in build_paths(Path(wheel.tree), paths, marks):
                cause = f"{name}, which was built here, has {inside} in it"
                findings.append(finding("EB109", subject=path, cause=cause, lock=lock, name=name))
        if facts.build_paths:
            path, inside = facts.build_paths[0]
            count = f" and {len(facts.build_paths) - 1} further files" if len(facts.build_paths) > 1 else ""
            cause = f"{path}{count} of {name}: {inside}, a path of the machine that built it"
            findings.append(
                finding("EB109", subject=name, cause=cause, remedy="Nothing.", lock=lock, severity="info")
            )
    return tuple(findings)


def interpreter(python: Interpreter) -> tuple[Finding, ...]:
    """Say that the interpreter is conda's (EB112): it is only where it was named by its path."""
    if not python.conda:
        return ()
    cause = f"CPython {python.version} is of a conda installation"
    return (finding("EB112", subject="python", cause=cause),)
