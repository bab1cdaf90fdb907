"""EB3xx: what does not fit the target."""

from __future__ import annotations

from bundler.checks.codes.code import Code

CODES: tuple[Code, ...] = (
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
)
