"""EB202, EB203, EB207: what RECORD says of installed files, and of the files of its own wheel."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from bundler.checks.installed import RecordRow
from bundler.checks.rules.codes import finding
from bundler.model import FileFact, Finding, Lock, WheelFacts
from bundler.wheels.facts import LACKING, OTHER_HASH

_GRAFTED = re.compile(r"[^/]+\.libs/[^/]+\.so[^/]*$")
"""Where auditwheel puts libraries of the system, which it changes: their names, and where they look."""


def of_tree(rows: Iterable[RecordRow], files: Iterable[FileFact]) -> Iterator[Finding]:
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


def of_wheels(lock: Lock, facts: Mapping[str, WheelFacts]) -> Iterator[Finding]:
    """Report wheels whose own RECORD is wrong (EB207): what the archive holds was installed.

    An error where code may have been changed after it was recorded, or been lost. A wheel that was given
    another METADATA (torch 1.8.1), libraries of others that were changed when they were put into it (eckitlib
    2.5), or a file that nobody recorded, is a warning.

    :param facts: normalised name → facts of its wheel.
    """
    for name in sorted(facts):
        wheel = facts[name]
        if not wheel.misrecorded:
            continue
        harmful = any(
            (problem == LACKING or (problem == OTHER_HASH and not _GRAFTED.match(path)))
            and not path.startswith(f"{wheel.dist_info}/")
            for path, problem in wheel.misrecorded
        )
        told = "; ".join(f"{path} {problem}" for path, problem in wheel.misrecorded[:3])
        more = " …" if len(wheel.misrecorded) > 3 else ""
        yield finding(
            "EB207",
            subject=name,
            cause=f"the RECORD that {wheel.filename} brings is wrong: {told}{more}",
            lock=lock,
            severity="error" if harmful else "warning",
        )
