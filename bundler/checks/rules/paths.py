"""EB1xx: what leads out of the tree, or tells of the machine where it was built; conda included."""

from __future__ import annotations

import json
import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bundler.checks.observed import HEAD, read_bytes
from bundler.checks.rules.codes import finding
from bundler.wheels import facts as contents

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bundler.checks.observed import Observed
    from bundler.model import Finding, Interpreter, Lock, StartupFact, StoredWheel

CODES = ("EB106", "EB108", "EB109", "EB111", "EB112")
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
            for path, inside in contents.build_paths(Path(wheel.tree), paths, marks):
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
