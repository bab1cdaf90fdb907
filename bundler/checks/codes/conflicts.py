"""EB4xx: what gets into another's way."""

from __future__ import annotations

from bundler.checks.codes.code import Code

CODES: tuple[Code, ...] = (
    Code(
        code="EB401",
        severity="error",
        title="two distributions own one file",
        cause="Their contents differ, and the one that was installed last wins.",
        remedy="Keep one of the two.",
    ),
)
