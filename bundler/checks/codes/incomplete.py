"""EB2xx: what the bundle lacks."""

from __future__ import annotations

from bundler.checks.codes.code import REBUILD, Code

CODES: tuple[Code, ...] = (
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
        remedy=REBUILD,
    ),
    Code(
        code="EB203",
        severity="error",
        title="a file is not what its distribution says",
        cause="Hash or size differ from the distribution's RECORD.",
        remedy=REBUILD,
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
)
