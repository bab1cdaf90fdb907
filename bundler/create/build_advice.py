"""What is known to help when a source distribution does not build: data, most specific first."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """A pattern in a build's output, and what to do when it is there."""

    pattern: str
    advice: str


REMEDIES = (
    Remedy(
        pattern=r"cython_sources|AttributeError: .*cython",
        advice="its build breaks with Cython 3: pin a newer version, for PyYAML 6.0.1 or later",
    ),
    Remedy(
        pattern=r"use_2to3 is invalid|error in .* setup command: use_2to3",
        advice="it needs setuptools<58 to build: pin a version that does not use 2to3",
    ),
    Remedy(
        pattern=r"The 'sklearn' PyPI package is deprecated",
        advice="require scikit-learn instead of sklearn",
    ),
    Remedy(
        pattern=r"pg_config executable not found",
        advice="require psycopg2-binary, or install PostgreSQL's development files (libpq-dev)",
    ),
    Remedy(
        pattern=r"mysql_config.*not found|Can not find valid pkg-config name",
        advice="install MySQL's development files (default-libmysqlclient-dev), or require PyMySQL",
    ),
    Remedy(
        pattern=r"Python\.h: No such file",
        advice="install the headers of the target's Python (python3.X-dev)",
    ),
    Remedy(
        pattern=r"ffi\.h: No such file",
        advice="install libffi-dev, or pin a version that has a wheel",
    ),
    Remedy(
        pattern=r"libxml/xmlversion\.h|xml2-config",
        advice="install libxml2-dev and libxslt1-dev, or pin a version that has a wheel",
    ),
    Remedy(
        pattern=r"openssl/[a-z]+\.h: No such file|Could not find.*openssl",
        advice="install libssl-dev, or pin a version that has a wheel",
    ),
    Remedy(
        pattern=r"can't find Rust compiler|[Cc]argo.*not (?:found|installed)|rustc.*not found",
        advice="it needs Rust: pin a version that has a wheel for this Python, or install cargo",
    ),
    Remedy(
        pattern=r"CMake must be installed|cmake.*not found",
        advice="it needs CMake: install it, or pin a version that has a wheel",
    ),
    Remedy(
        pattern=r"command '\S*(?:gcc|cc|g\+\+|clang)' failed: No such file|unable to execute '[\w.-]*cc'"
        r"|No such file or directory: '(?:gcc|cc)'",
        advice="it needs a C compiler: install gcc (build-essential), or pin a version that has a wheel",
    ),
    Remedy(
        pattern=r"satisfies the requirement (?:setuptools|wheel|hatchling|flit|poetry)",
        advice="the index must also serve what builds need: setuptools, wheel, the build backend",
    ),
    Remedy(
        pattern=r"No module named 'distutils'",
        advice="it is older than this Python: pin a newer version",
    ),
)

GENERAL = "pin a version that has a wheel for this Python, or install what its build needs on the builder"

_NOISE = re.compile(
    r"^\s*(?:\[end of output\]|note: This .*|hint: (?:See above|This usually ).*"
    r"|ERROR: Failed (?:building wheel|to build).*|\u00d7 .*|╰─> .*|exit code: \d+|│|\[notice\].*"
    r"|\[\d+ lines of output\])?\s*$"
)


def advice(output: str) -> str:
    """Return the known remedy for a build's output, else the general one."""
    for remedy in REMEDIES:
        if re.search(remedy.pattern, output):
            return remedy.advice
    return GENERAL


def last_meaningful_lines(output: str, *, count: int = 6) -> list[str]:
    """The last lines of a build that say something, without pip's frame around them."""
    kept = [line.rstrip() for line in output.splitlines() if not _NOISE.match(line)]
    return kept[-count:]
