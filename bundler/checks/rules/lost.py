"""EB5xx: what the mount or the upload loses."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from packaging.version import Version

from bundler.bundle.tree import Tree
from bundler.checks.rules.codes import finding
from bundler.checks.rules.leaks import CODE_LINE, EDITABLE, FINDER, START, leaves
from bundler.lazy_dataclass import dataclass
from bundler.model import FileFact, Finding, Lock, Severity, StartupFact, WheelFacts

CODES = ("EB501", "EB502", "EB503", "EB504", "EB505", "EB506", "EB508", "EB509")
"""Without EB507, which is not about the bundle but about what lies beside it."""
NAMESPACE = re.compile(r"import sys,\s*types.*sitedir.*__path__")
"""The line that setuptools writes for `namespace_packages`; without it PEP 420 does the same."""
HARMLESS = frozenset({"distutils-precedence.pth"})
"""setuptools' own distutils instead of the standard library's: for those who build, not for a service."""
STRUCTURED = (3, 15)
"""The first Python that reads `.start` files."""
KNOWN_STARTUP = {
    "aaaaa_future_fstrings.pth": "modules that say `coding: future_fstrings` are a SyntaxError; the service "
    "must `import future_fstrings; future_fstrings.register()` before it imports one",
    "coloredlogs.pth": "COLOREDLOGS_AUTO_INSTALL has no effect; call `coloredlogs.install()` instead",
}
OF_TESTS = frozenset({"a1_coverage.pth", "init_cov_core.pth", "pytest-cov.pth"})
"""They measure which lines tests run, in the processes that these start: of no use to a service."""
DOCUMENTS = re.compile(
    r"share/(doc|man|info|licenses?|locale|applications|icons|pixmaps|metainfo|mime|bash-completion|zsh|fish)/"
    r"|(man|docs?|licenses?|tests?|examples?)/|(.*/)?(LICEN[CS]E|README|CHANGE|COPYING|AUTHORS|NOTICE)[^/]*$",
    re.IGNORECASE,
)
TOOLS = re.compile(r"(share|etc)/(jupyter|ipython)/|etc/")
LIBRARY = re.compile(r".*\.so(\.[0-9.]+)?$|lib/(pkgconfig|cmake)/|include/")
NAMED_LONG = 255
BLOB_NAME = 1024
"""Characters of a blob's name, its path in the container included:
https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata"""
SNAPSHOT_FILES, SNAPSHOT_SIZE = 2000, 300_000_000
"""What a snapshot of Azure ML's SDK v1 may hold; for v2 no limit is documented."""
UNPORTABLE = re.compile(
    r'[:*?"<>|\\\x00-\x1f]|[ .](/|$)|(^|/)(con|nul|prn|aux|com[1-9]|lpt[1-9])(\.|/|$)', re.IGNORECASE
)
"""https://learn.microsoft.com/windows/win32/fileio/naming-a-file; SMB shares keep to the same rules."""
IGNORE_FILES = (".amlignore", ".gitignore")
"""Azure ML's client reads the first of them in the folder that it uploads, and no other:
https://learn.microsoft.com/azure/machine-learning/how-to-save-write-experiment-files"""
IGNORE_FILE_LIMIT = 1 << 20
HIGHEST = 8
"""How many folders above the bundle can be the one that is uploaded."""


def startup(
    lock: Lock, facts: Mapping[str, WheelFacts], *, site_packages: str, folders: Collection[str]
) -> Iterator[Finding]:
    """Report the start-up files of the wheels, which a mount never runs (EB501): one finding a file.

    Python 3.15 also reads `.start` files, and runs no code of a `.pth` beside one of its name (PEP 829).

    Lines of namespace packages are passed over: the imports show whether these work. Lines that lead out
    of the tree, or are of editable installs, are `leaks.startup`'s.

    :param folders: every folder of the tree, relative to the prefix.
    """
    structured = Version(lock.python_version).release >= STRUCTURED
    for name in sorted(facts):
        started = {fact.path for fact in facts[name].startup if structured and fact.path.endswith(START)}
        for fact in facts[name].startup:
            if fact.path.endswith(START) and fact.path not in started:
                continue
            replaced = fact.path.removesuffix(".pth") + START in started
            lines = [line for line in fact.lines if not (replaced and CODE_LINE.match(line))]
            shown = replace(fact, lines=tuple(lines))
            yield from list(_dead_lines(lock, name, shown, site_packages, folders))[:1]


def _dead_lines(
    lock: Lock, name: str, fact: StartupFact, site_packages: str, folders: Collection[str]
) -> Iterator[Finding]:
    base = posixpath.basename(fact.path)
    if base in HARMLESS or EDITABLE.search(base):
        return
    severity: Severity | None = None
    for line in fact.lines:
        if fact.path.endswith(START) or CODE_LINE.match(line):
            if NAMESPACE.match(line) or FINDER.match(line):
                continue
            cause = f"it does not run on a mount: {KNOWN_STARTUP.get(base, f'it runs {line[:100]!r}')}"
            remedy = (
                f"do in the service what it would have done, or accept it: --ignore 'EB501:{name}=reason'"
            )
            if base in OF_TESTS:
                severity = "info"
                remedy = "nothing: only who tests the service measures the coverage of its subprocesses"
            elif base == "coloredlogs.pth" and name not in lock.roots:
                severity = "info"  # onnxruntime brings it
                remedy = "nothing, unless the variable is set: nobody asked for coloredlogs"
        else:
            inside = posixpath.normpath(f"{site_packages}/{line}")
            if leaves(line, folder=site_packages) or inside not in folders:
                continue
            severity = "error"
            cause = f"{base} puts {line} on the path, which does not happen on a mount"
            remedy = f"add {inside} to PYTHONPATH as well, or choose a distribution that does without"
        yield finding(
            "EB501", subject=base, cause=cause, remedy=remedy, lock=lock, name=name, severity=severity
        )


def data_files(lock: Lock, facts: Mapping[str, WheelFacts], *, site_packages: str) -> Iterator[Finding]:
    """Report files that wheels put outside of site-packages (EB502), one finding a distribution.

    Libraries are found through RPATH and are not meant, nor scripts (`scripts`) and headers. Documents
    and what only tools read are information.
    """
    for name in sorted(facts):
        outside = [
            file.path
            for file in facts[name].files
            if not file.path.startswith((f"{site_packages}/", "bin/")) and not LIBRARY.match(file.path)
        ]
        wanted = [path for path in outside if not DOCUMENTS.match(path) and not TOOLS.match(path)]
        if not outside:
            continue
        shown = wanted or outside
        count = f"{len(shown)} files" if len(shown) > 1 else "a file"
        more = " …" if shown[3:] else ""
        yield finding(
            "EB502",
            subject=name,
            cause=f"{name} has {count} outside of site-packages: {', '.join(shown[:3])}{more}",
            remedy=None if wanted else "Nothing: a service does not read them.",
            lock=lock,
            severity="warning" if wanted else "info",
        )


def scripts(facts: Mapping[str, WheelFacts]) -> Iterator[Finding]:
    """Report console scripts, which are not on PATH (EB503): one finding for all."""
    if names := sorted({script for one in facts.values() for script in one.scripts}):
        cause = f"the bundle has {', '.join(names[:8])}{' …' if names[8:] else ''}"
        yield finding("EB503", subject="bin", cause=cause)


def modes(scanned: Tree) -> Iterator[Finding]:
    """Check folders and modes of a tree: an empty folder (EB504), what not everybody may read (EB509)."""
    for path in scanned.empty:
        yield finding("EB504", subject=path, cause="is an empty folder")
    for path, mode in scanned.closed:
        yield finding("EB509", subject=path, cause=f"has mode {mode:o}")


def programs(lock: Lock, facts: Mapping[str, WheelFacts], *, site_packages: str) -> Iterator[Finding]:
    """Report packages with programs of their own, which an upload makes unexecutable (EB509)."""
    for name in sorted(facts):
        found = [
            file.path
            for file in facts[name].files
            if file.executable
            and file.path.startswith(f"{site_packages}/")
            and "." not in posixpath.basename(file.path)
        ]
        if found:
            cause = f"{name} has programs: {', '.join(found[:3])}; an upload loses that they are executable"
            remedy = "if the service runs one of them, `chmod +x` it where it starts, or ship an archive"
            yield finding("EB509", subject=name, cause=cause, remedy=remedy, lock=lock, severity="info")


def names(files: Sequence[FileFact]) -> Iterator[Finding]:
    """Check the lengths of paths (EB505), and for names that Windows or a file share cannot hold (EB508)."""
    if long := [file.path for file in files if len(file.path) > NAMED_LONG]:
        longest = max(long, key=len)
        cause = f"{len(long)} paths have more than {NAMED_LONG} characters"
        cause += f", the longest {len(longest)}: {longest}"
        severity: Severity = "warning" if len(longest) > BLOB_NAME - NAMED_LONG else "info"
        yield finding("EB505", subject=longest, cause=cause, severity=severity)
    # Many paths share their parts: each part is looked at once.
    parts = {part for file in files for part in file.path.split("/")}
    if any(UNPORTABLE.search(part) for part in parts):
        odd = [file.path for file in files if UNPORTABLE.search(file.path)]
        cause = f"{len(odd)} names: {', '.join(odd[:3])}{' …' if odd[3:] else ''}"
        yield finding("EB508", subject=odd[0], cause=cause)


def amounts(files: Sequence[FileFact]) -> Iterator[Finding]:
    """Compare number and size of the files with the known limits of uploads (EB506)."""
    size = sum(file.size for file in files)
    if len(files) > SNAPSHOT_FILES or size > SNAPSHOT_SIZE:
        cause = f"the bundle has {len(files)} files and {size / 1e6:.0f} MB; a snapshot of Azure ML's SDK v1 "
        cause += f"holds {SNAPSHOT_FILES} files and {SNAPSHOT_SIZE / 1e6:.0f} MB"
        yield finding("EB506", subject="bundle", cause=cause)


@dataclass(frozen=True, kw_only=True)
class IgnoreFile:
    """An ignore file in a folder above the bundle."""

    path: str
    """Relative to the folder that holds the bundle: `.gitignore`, `../.gitignore`."""
    text: str
    bundle: str
    """The bundle's folder relative to that of the ignore file: `myenv`, `src/myenv`."""

    @property
    def nearest(self) -> bool:
        """Whether it is in the folder that holds the bundle, which is the one that is uploaded as a rule."""
        return "/" not in self.bundle


def ignore_files(output: Path) -> tuple[IgnoreFile, ...]:
    """Find the ignore files that an upload could apply, the nearest first.

    One a folder, from the one that holds the bundle up to the root of its repository.

    :param output: the bundle's folder, absolute; it need not be there yet.
    """
    found = []
    for folder in output.parents[:HIGHEST]:
        for name in IGNORE_FILES:
            path = folder / name
            if path.is_file():
                with path.open("rb") as file:
                    text = file.read(IGNORE_FILE_LIMIT).decode("utf-8", "replace")
                bundle = output.relative_to(folder).as_posix()
                shown = Path(os.path.relpath(path, output.parent)).as_posix()
                found.append(IgnoreFile(path=shown, text=text, bundle=bundle))
                break
        if (folder / ".git").exists():
            break
    return tuple(found)


def _means_something(line: str) -> bool:
    """Tell whether a line is a pattern; git passes over those that are none, such as `!` and `***`."""
    from pathspec import PathSpec  # noqa: PLC0415 - 10 ms, and most bundles stand beside no ignore file

    try:
        return PathSpec.from_lines("gitignore", [line]).patterns[0].include is not None
    except (IndexError, ValueError, re.error):
        return False


def dropped_from_upload(files: Sequence[str], ignores: Sequence[IgnoreFile]) -> Iterator[Finding]:
    """Report ignore files that drop files of the bundle (EB507).

    A warning where the file stands beside the bundle; further up it counts only if that folder is the
    one that is uploaded, which is information.

    :param files: paths below the bundle.
    """
    if not ignores:
        return
    from pathspec import PathSpec  # noqa: PLC0415 - as above

    for ignore in ignores:
        # The last pattern that matches decides. Unlike git, the client asks of each file alone, so that
        # `!lib/x` brings back what `lib/` excludes.
        lines = [line for line in ignore.text.splitlines() if _means_something(line)]
        spec = PathSpec.from_lines("gitignore", lines)
        dropped: dict[int, list[str]] = {}
        for path in files:
            result = spec.check_file(f"{ignore.bundle}/{path}")
            if result.include and result.index is not None:
                dropped.setdefault(result.index, []).append(path)
        if not dropped:
            continue
        count = sum(map(len, dropped.values()))
        worst = sorted(dropped, key=lambda index: -len(dropped[index]))
        patterns = ", ".join(lines[index].strip() for index in worst[:5])
        cause = (
            f"{ignore.path} drops {count} of {len(files)} files of {ignore.bundle} from an upload, "
            f"such as {dropped[worst[0]][0]}, by: {patterns}{' …' if worst[5:] else ''}"
        )
        severity: Severity = "warning" if ignore.nearest else "info"
        yield finding("EB507", subject=ignore.path, cause=cause, severity=severity)
