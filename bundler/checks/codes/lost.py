"""EB5xx: what the mount or the upload loses."""

from __future__ import annotations

from bundler.checks.codes.code import COPY, Code

CODES: tuple[Code, ...] = (
    Code(
        code="EB511",
        severity="error",
        title="a file of the bundle is missing",
        cause="The manifest lists it; it was lost on the way.",
        remedy=COPY,
    ),
    Code(
        code="EB512",
        severity="error",
        title="a file of the bundle was changed",
        cause="Hash or size differ from the manifest.",
        remedy=COPY,
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
        remedy=COPY,
    ),
    Code(
        code="EB515",
        severity="error",
        title="the manifest does not fit its own digest",
        cause="It was changed after it was written.",
        remedy=COPY,
    ),
)
