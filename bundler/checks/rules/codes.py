"""Every check code with its texts, from the `*_texts.py` of the families, and the findings that have them.

`envbundle explain` and docs/checks.md are made of these texts.
"""

from __future__ import annotations

from collections.abc import Iterable

from bundler.checks.rules import (
    conflicts_texts,
    incomplete_texts,
    leaks_texts,
    lost_texts,
    misfits_texts,
    supply_texts,
)
from bundler.model import CheckResult, Finding, Lock, Outcome, Severity

_TEXTS = (leaks_texts, incomplete_texts, misfits_texts, conflicts_texts, lost_texts, supply_texts)
CODES = {code.code: code for texts in _TEXTS for code in texts.CODES}


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
    """Return the outcome of every code that was checked, sorted by code.

    An error that the caller accepts counts as a warning.
    """
    worst: dict[str, Outcome] = {}
    for one in findings:
        if one.severity == "error" and one.accepted is None:
            worst[one.code] = "failed"
        elif one.severity != "info":
            worst.setdefault(one.code, "warned")
    return tuple(CheckResult(code=code, outcome=worst.get(code, "passed")) for code in sorted({*run, *worst}))
