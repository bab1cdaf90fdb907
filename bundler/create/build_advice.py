"""What a build that failed printed: its log, its last lines, and what is known to help (specific first)."""

from __future__ import annotations

import re
from pathlib import Path

from bundler.wheels.store import LOGS

REMEDIES = {
    r"cython_sources|AttributeError: .*cython":
        "its build breaks with Cython 3: pin a newer version, for PyYAML 6.0.1 or later",
    r"use_2to3 is invalid|error in .* setup command: use_2to3":
        "it needs setuptools<58 to build: pin a version that does not use 2to3",
    r"The 'sklearn' PyPI package is deprecated":
        "require scikit-learn instead of sklearn",
    r"pg_config executable not found":
        "require psycopg2-binary, or install PostgreSQL's development files (libpq-dev)",
    r"mysql_config.*not found|Can not find valid pkg-config name":
        "install MySQL's development files (default-libmysqlclient-dev), or require PyMySQL",
    r"curl-config":
        "install libcurl4-openssl-dev and libssl-dev, or pin a version that has a wheel",
    r"Missing parentheses in call to 'print'":
        "it is for Python 2: pin a newer version, or leave out what the standard library has (wsgiref)",
    r"cannot import name 'Feature' from 'setuptools'":
        "it needs setuptools<46 to build: pin a newer version",
    r"Python\.h: No such file":
        "install the headers of the target's Python (python3.X-dev)",
    r"ffi\.h: No such file":
        "install libffi-dev, or pin a version that has a wheel",
    r"libxml/xmlversion\.h|xml2-config":
        "install libxml2-dev and libxslt1-dev, or pin a version that has a wheel",
    r"openssl/[a-z]+\.h: No such file|Could not find.*openssl":
        "install libssl-dev, or pin a version that has a wheel",
    r"can't find Rust compiler|[Cc]argo.*not (?:found|installed)|rustc.*not found":
        "it needs Rust: pin a version that has a wheel for this Python, or install cargo",
    r"CMake must be installed|cmake.*not found":
        "it needs CMake: install it, or pin a version that has a wheel",
    r"command '\S*(?:gcc|cc|g\+\+|clang)' failed: No such file|unable to execute '[\w.-]*cc'"
    r"|No such file or directory: '(?:gcc|cc)'":
        "it needs a C compiler: install gcc (build-essential), or pin a version that has a wheel",
    r"satisfies the requirement (?:setuptools|wheel|hatchling|flit|poetry)":
        "the index must also serve what builds need: setuptools, wheel, the build backend",
    r"No module named 'torch'":
        "its build imports torch and does not say so: name wheels for your torch with --find-links (PyTorch "
        "Geometric's: https://data.pyg.org/whl)",
    r"No module named 'distutils'":
        "it is older than this Python: pin a newer version",
}  # fmt: skip
"""Pattern in a build's output → what to do when it is there."""

GENERAL = "pin a version that has a wheel for this Python, or install what its build needs on the builder"

_NOISE = re.compile(
    r"^\s*(?:\[end of output\]|note: This .*|hint: (?:See above|This usually ).*"
    r"|ERROR: Failed (?:building wheel|to build).*|\u00d7 .*|╰─> .*|exit code: \d+|│|\[notice\].*"
    r"|\[\d+ lines of output\])?\s*$"
)


def advice(output: str) -> str:
    """Return the known remedy for a build's output, else the general one."""
    return next((remedy for pattern, remedy in REMEDIES.items() if re.search(pattern, output)), GENERAL)


def last_meaningful_lines(output: str, *, count: int = 6) -> list[str]:
    """The last lines of a build that say something, without pip's frame around them."""
    kept = [line.rstrip() for line in output.splitlines() if not _NOISE.match(line)]
    return kept[-count:]


def write_log(output: str, *, cache: Path, job: str, what: str) -> Path:
    """Write all that a build printed to a file in the cache, and return the file.

    :param output: without credentials.
    :param job: of a run of `rebuild`, whose bundles would else write one file; empty: there is none.
    :param what: what was built.
    """
    name = "-".join([*([job] if job else []), "build", what])
    log = cache / LOGS / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(output, encoding="utf-8")
    return log
