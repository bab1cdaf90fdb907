"""Every check code, as data: what findings are titled with and what explains them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bundler.model import CheckResult, Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bundler.model import Lock, Outcome, Severity


@dataclass(frozen=True, kw_only=True)
class Code:
    """A thing that a check can find. Codes are stable: one that is given up is never used again."""

    code: str
    severity: Severity
    title: str
    cause: str
    """Why it happens and what follows from it."""
    remedy: str


_REBUILD = "Create the bundle again. If it comes back, report it with what `envbundle -v` showed."
_COPY = "Copy the bundle again, whole, from where it was made."

_ALL = (
    Code(
        code="EB101",
        severity="error",
        title="a distribution of the lock is not installed",
        cause="The installation took it for satisfied by something outside of the bundle, or lost it.",
        remedy=_REBUILD,
    ),
    Code(
        code="EB102",
        severity="error",
        title="a distribution is installed that is not in the lock",
        cause="Something got into the environment besides what was resolved.",
        remedy=_REBUILD,
    ),
    Code(
        code="EB103",
        severity="error",
        title="a distribution is installed in another version than the lock says",
        cause="It was resolved twice with two answers, or its file does not hold what its name says.",
        remedy="Create the bundle again, or pin another version of it.",
    ),
    Code(
        code="EB104",
        severity="error",
        title="the environment was not empty before the installation",
        cause="What is there already counts as installed, and is missing in the bundle.",
        remedy="Use an interpreter that creates empty environments (`envbundle doctor`).",
    ),
    Code(
        code="EB105",
        severity="error",
        title="a file belongs to no distribution",
        cause="No RECORD lists it, so nobody knows where it came from.",
        remedy=_REBUILD,
    ),
    Code(
        code="EB106",
        severity="error",
        title="an installation that is not a wheel's",
        cause="Editable installs, eggs and leftovers of a broken removal lead out of it, or are half.",
        remedy="Give the project as a path or a wheel, not as an editable one.",
    ),
    Code(
        code="EB107",
        severity="error",
        title="the metadata of a distribution is missing, doubled or contradicts itself",
        cause="Tools and packages that ask for their own version get a wrong answer, or an exception.",
        remedy="Choose another release of it; this one's wheel is damaged.",
    ),
    Code(
        code="EB110",
        severity="error",
        title="code was loaded from outside of the bundle",
        cause="While everything was imported, a module or shared object came from a place that "
        "is neither the bundle, nor the standard library, nor a system library. The image lacks it.",
        remedy="Require the distribution that brings it, or one that does not reach for it.",
    ),
    Code(
        code="EB201",
        severity="error",
        title="a module does not import",
        cause="Mounted as in the image (PYTHONPATH, no start-up files, no network, read-only), it fails.",
        remedy="See the last lines of the traceback: add what is missing, or pin another version.",
    ),
    Code(
        code="EB202",
        severity="error",
        title="a file of a distribution is missing",
        cause="The distribution's RECORD lists it.",
        remedy=_REBUILD,
    ),
    Code(
        code="EB203",
        severity="error",
        title="a file is not what its distribution says",
        cause="Hash or size differ from the distribution's RECORD.",
        remedy=_REBUILD,
    ),
    Code(
        code="EB204",
        severity="error",
        title="a requirement of a distribution is not met",
        cause="With the target's markers and the extras asked for, a distribution requires another that is "
        "missing, or in a version that it excludes.",
        remedy="Add the requirement, or loosen the constraint that keeps it out.",
    ),
    Code(
        code="EB205",
        severity="error",
        title="an extra that the distribution does not have",
        cause="Installers only warn, and leave out what the extra would have brought.",
        remedy="Correct the name of the extra.",
    ),
    Code(
        code="EB361",
        severity="error",
        title="another machine",
        cause="The bundle was made for another processor.",
        remedy="Make a bundle for this machine.",
    ),
    Code(
        code="EB362",
        severity="error",
        title="the C library is too old",
        cause="The bundle was made for a newer glibc than this place has.",
        remedy="Make the bundle for the glibc of this place (`envbundle create --glibc`).",
    ),
    Code(
        code="EB401",
        severity="error",
        title="two distributions own one file",
        cause="Their contents differ, and the one that was installed last wins.",
        remedy="Keep one of the two.",
    ),
    Code(
        code="EB511",
        severity="error",
        title="a file of the bundle is missing",
        cause="The manifest lists it; it was lost on the way.",
        remedy=_COPY,
    ),
    Code(
        code="EB512",
        severity="error",
        title="a file of the bundle was changed",
        cause="Hash or size differ from the manifest.",
        remedy=_COPY,
    ),
    Code(
        code="EB513",
        severity="error",
        title="a file that the bundle does not have",
        cause="The manifest does not list it. It was added afterwards.",
        remedy="Remove it.",
    ),
    Code(
        code="EB514",
        severity="error",
        title="a symlink or special file in the bundle",
        cause="A bundle has ordinary files only: links break on the way or point elsewhere.",
        remedy=_COPY,
    ),
    Code(
        code="EB515",
        severity="error",
        title="the manifest does not fit its own digest",
        cause="It was changed after it was written.",
        remedy=_COPY,
    ),
)

CODES = {code.code: code for code in _ALL}


def finding(
    code: str,
    *,
    subject: str,
    cause: str,
    remedy: str | None = None,
    lock: Lock | None = None,
    name: str = "",
    severity: Severity | None = None,
) -> Finding:
    """Make a finding, with the code's own severity and remedy where none are given.

    :param lock: tells by which requirements `name` (default: the subject) came in.
    """
    known = CODES[code]
    return Finding(
        code=code,
        severity=severity or known.severity,
        subject=subject,
        cause=cause,
        remedy=remedy or known.remedy,
        chain=lock.chain(name or subject) if lock else (),
    )


def outcomes(run: Iterable[str], findings: Iterable[Finding]) -> tuple[CheckResult, ...]:
    """Tell for every code that was checked what came of it, sorted by code."""
    worst: dict[str, Outcome] = {}
    for one in findings:
        if one.severity == "error":
            worst[one.code] = "failed"
        elif one.severity == "warning":
            worst.setdefault(one.code, "warned")
    return tuple(CheckResult(code=code, outcome=worst.get(code, "passed")) for code in sorted({*run, *worst}))
