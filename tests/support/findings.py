"""Findings in short, for comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bundler.checks.rules.codes import CODES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bundler.model import Finding


def brief(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    """Return (code, subject) of findings, each of which says all that a finding must say."""
    found = list(findings)
    assert all(one.cause and one.remedy and one.code in CODES for one in found)
    return [(one.code, one.subject) for one in found]
