"""EB1xx: what the bundle has or uses besides what was resolved, and what leads out of it."""

from __future__ import annotations

import json
import os
import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from bundler.checks.imports.evidence import Elsewhere
from bundler.checks.installed import HEAD, Observed, read_bytes, same_version
from bundler.checks.rules.codes import finding
from bundler.model import Finding, Interpreter, Lock, StartupFact, StoredWheel
from bundler.wheels.facts import build_paths

CODES = tuple(f"EB1{number:02}" for number in range(1, 13))
NEVER_FROZEN = frozenset({"argparse", "wsgiref", "python"})
"""pip's `stdlib_pkgs` (pip/_internal/utils/compat.py): no listing of pip shows them, `--all` or not."""
EDITABLE = re.compile(r"__editable__|easy-install\.pth$|easy_install\.pth$")
"""Names of what setuptools leaves of an editable install (PEP 660, and `setup.py develop` before it)."""
FINDER = re.compile(r"(import\s+)?__editable__")
CONDA = re.compile(r"/feedstock_root/|/conda-bld/|/croot/|/conda/")
CODE_LINE = re.compile(r"import[ \t]")
"""How `site` tells a line that it runs from a path: https://docs.python.org/3/library/site.html."""
START = ".start"
"""How the name of a file ends whose every line is run: `package.module:callable` (PEP 829, Python 3.15)."""
EVERYBODYS = frozenset({"", "/", "/usr", "/usr/local", "/opt", "/home", "/root", "/srv", "/var"})
"""Folders that every machine has; a program may name them."""


def installed(lock: Lock, observed: Observed) -> Iterator[Finding]:
    """Compare the .dist-info folders with the lock (EB101, EB102, EB103)."""
    seen = {one.name: one.version for one in observed.distributions}
    return _compare(lock, seen, hidden=frozenset(), source="its folder of metadata")


def freeze(lock: Lock, lines: Iterable[str]) -> Iterator[Finding]:
    """Compare `pip freeze --all` with the lock (EB101, EB102, EB103; EB106 for editable installs).

    :param lines: `name==version`, `name @ URL`, `-e …` and comments.
    """
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
    yield from _compare(lock, versions, hidden=NEVER_FROZEN, source="`pip freeze`")
    for line in editable:
        yield finding("EB106", subject=line, cause="`pip freeze` shows an editable install")


def _compare(
    lock: Lock, seen: Mapping[str, str | None], *, hidden: frozenset[str], source: str
) -> Iterator[Finding]:
    """:param seen: normalised name → version; `None` where the source does not tell it."""
    expected = {dist.name: dist.version for dist in lock.distributions}
    for name, version in expected.items():
        if name in seen:
            real = seen[name]
            if real is not None and not same_version(version, real):
                cause = f"the lock says {version}, {source} says {real}"
                yield finding("EB103", subject=name, cause=cause, lock=lock)
        elif name not in hidden:
            cause = f"the lock has {name} {version}; {source} does not show it"
            yield finding("EB101", subject=name, cause=cause, lock=lock)
    for name in sorted(set(seen) - set(expected)):
        cause = f"{source} shows {name} {seen[name] or ''}".rstrip() + "; nothing in the lock brings it"
        yield finding("EB102", subject=name, cause=cause)


def baseline(lines: Iterable[str]) -> Iterator[Finding]:
    """Check that the environment was empty before anything was installed (EB104)."""
    for line in lines:
        if line.strip() and not line.startswith("#"):
            cause = f"`pip freeze` of the new environment already showed {line}"
            yield finding("EB104", subject=line, cause=cause)


def unowned(paths: Iterable[str], *, owned: Collection[str]) -> Iterator[Finding]:
    """Check that every file of the prefix is in a RECORD (EB105)."""
    for path in paths:
        if path not in owned:
            yield finding("EB105", subject=path, cause="is in no distribution's RECORD")


def odd_entries(
    observed: Observed, *, site_packages: str, owned: Collection[str], irregular: Iterable[str] = ()
) -> Iterator[Finding]:
    """Check the entries that are no sound distribution (EB106, EB107), and for symlinks (EB514).

    An egg-info that a wheel brings itself does no harm: what a RECORD owns is passed over.
    """
    for path in irregular:
        yield finding("EB514", subject=path, cause="is a symlink or no ordinary file")
    folders = {path[len(site_packages) + 1 :].split("/", 1)[0] for path in owned}
    for one in observed.odd:
        if one.kind == "metadata":
            yield finding("EB107", subject=one.entry, cause=one.reason)
        elif one.entry not in folders:
            yield finding("EB106", subject=one.entry, cause=one.reason)


def loaded_elsewhere(elsewhere: Iterable[Elsewhere]) -> Iterator[Finding]:
    """Report code that the imports loaded from outside of the bundle (EB110)."""
    for one in elsewhere:
        cause = f"the {one.kind} {one.name} was loaded from {one.path}"
        yield finding("EB110", subject=one.name, cause=cause)


def startup(pth_files: Iterable[StartupFact], *, site_packages: str) -> Iterator[Finding]:
    """Report start-up lines of editable installs (EB106), and paths that lead out of the bundle (EB108).

    :param pth_files: of the tree, as they are there.
    """
    for fact in pth_files:
        for line in fact.lines:
            editable = EDITABLE.search(fact.path) or FINDER.match(line)
            if fact.path.endswith(START) or CODE_LINE.match(line):
                if editable:
                    cause = f"its line {line[:80]!r} starts the finder of an editable install"
                    yield finding("EB106", subject=fact.path, cause=cause)
            elif leaves(line, folder=site_packages):
                code = "EB106" if editable else "EB108"
                yield finding(code, subject=fact.path, cause=f"it leads to {line}")


def leaves(path: str, *, folder: str) -> bool:
    """Tell whether a path, relative to a folder of the tree, leads out of the tree."""
    if path.startswith("/"):
        return True
    return posixpath.normpath(posixpath.join(folder, path)).split("/")[0] == ".."


def finders(paths: Iterable[str], *, site_packages: str) -> Iterator[Finding]:
    """Report the finder modules of editable installs (EB106)."""
    for path in paths:
        if path.startswith(f"{site_packages}/__editable__") and path.endswith(".py"):
            yield finding("EB106", subject=path, cause="it is the finder of an editable install")


def leaving_links(prefix: Path, irregular: Iterable[str]) -> Iterator[Finding]:
    """Report symlinks whose target is outside of the tree (EB108).

    :param irregular: paths of what is no ordinary file.
    """
    for path in irregular:
        try:
            target = os.readlink(prefix / path)  # noqa: PTH115 - as it is written, not as a Path cleans it
        except OSError:
            continue  # a socket, a pipe
        if leaves(target, folder=posixpath.dirname(path)):
            yield finding("EB108", subject=path, cause=f"is a symlink to {target}")


def origins(prefix: Path, site_packages: str, observed: Observed) -> Iterator[Finding]:
    """Report what INSTALLER and direct_url.json say of another machine (EB106, EB108, EB111).

    Format of the latter: https://packaging.python.org/en/latest/specifications/direct-url/
    """
    for one in observed.distributions:
        folder = f"{prefix}/{site_packages}/{one.dist_info}"
        if _text(f"{folder}/INSTALLER").strip().lower() == "conda":
            yield finding("EB111", subject=one.name, cause="its INSTALLER is conda")
            continue
        value = _json(_text(f"{folder}/direct_url.json"))
        url = str(value.get("url", ""))
        details = value.get("dir_info")
        if not url.startswith("file:") or isinstance(value.get("vcs_info"), dict):
            continue  # a commit of a repository is in the bundle, wherever the repository is
        if isinstance(details, dict) and details.get("editable") is True:
            code, cause = "EB106", f"its direct_url.json says that it is an editable install of {url}"
        elif CONDA.search(url):
            code, cause = "EB111", f"its direct_url.json says {url}"
        else:
            code, cause = "EB108", f"its direct_url.json says {url}"
        yield finding(code, subject=one.name, cause=cause)


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


def builders(lock: Lock, wheels: Iterable[StoredWheel], *, builder: Sequence[str]) -> Iterator[Finding]:
    """Report paths of the machine that built a wheel, in its scripts, text and binary files (EB109).

    In a wheel that was fetched they are information: it is as its publisher made it, and works elsewhere.
    A wheel that was built here may look for them when it runs.

    :param builder: folders of this machine: of the build, the store, the interpreter, the caller's home.
    """
    marks = [os.fsencode(f"{folder}/") for folder in sorted({*builder} - EVERYBODYS)]
    for wheel in wheels:
        name, known = wheel.locked.name, wheel.facts.build_paths
        if wheel.built_from is not None and marks:
            paths = [file.path for file in wheel.facts.files]
            for path, inside in build_paths(Path(wheel.tree), paths, marks):
                cause = f"{name}, which was built here, has {inside} in it"
                yield finding("EB109", subject=path, cause=cause, lock=lock, name=name)
        if known:
            path, inside = known[0]
            count = f" and {len(known) - 1} further files" if len(known) > 1 else ""
            cause = f"{path}{count} of {name}: {inside}, a path of the machine that built it"
            yield finding("EB109", subject=name, cause=cause, remedy="Nothing.", lock=lock, severity="info")


def interpreter(python: Interpreter) -> Iterator[Finding]:
    """Report an interpreter of conda (EB112): it is used only where the caller named it by its path."""
    if python.conda:
        cause = f"CPython {python.version} is of a conda installation"
        yield finding("EB112", subject="python", cause=cause)
