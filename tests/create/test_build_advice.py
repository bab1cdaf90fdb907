"""What failing builds print, and the one remedy that is named for each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from bundler.create import build_advice

OUTPUTS = {
    "Cython 3": """
  File "<string>", line 201, in get_source_files
AttributeError: cython_sources
""",
    "Cython 3, inline": "AttributeError: module 'Cython.Compiler' has no attribute 'cython_inline'",
    "2to3": "error in demjson setup command: use_2to3 is invalid.",
    "sklearn": """
The 'sklearn' PyPI package is deprecated, use 'scikit-learn'
rather than 'sklearn' for pip commands.
""",
    "psycopg2": """
Error: pg_config executable not found.

pg_config is required to build psycopg2 from source.  Please add the directory
""",
    "mysqlclient": """
/bin/sh: 1: mysql_config: not found
Exception: Can not find valid pkg-config name.
Specify MYSQLCLIENT_CFLAGS and MYSQLCLIENT_LDFLAGS env vars manually
""",
    "Python.h": """
src/x.c:4:10: fatal error: Python.h: No such file or directory
    4 | #include <Python.h>
error: command '/usr/bin/gcc' failed with exit code 1
""",
    "ffi.h": "c/_cffi_backend.c:15:10: fatal error: ffi.h: No such file or directory",
    "lxml": """
Error: Please make sure the libxml2 and libxslt development packages are installed.
/tmp/xmlXPathInit.c:1:10: fatal error: libxml/xmlversion.h: No such file or directory
""",
    "lxml, no script": "/bin/sh: 1: xml2-config: not found",
    "OpenSSL": "build/temp/_openssl.c:575:10: fatal error: openssl/opensslv.h: No such file or directory",
    "OpenSSL of Rust": """
  Could not find directory of OpenSSL installation, and this `-sys` crate cannot proceed.
  Could not find openssl via pkg-config
""",
    "Rust": """
error: can't find Rust compiler

If you are using an outdated pip version, it is possible a prebuilt wheel is available
""",
    "Rust, maturin": """
Cargo, the Rust package manager, is not installed or is not on PATH.
This package requires Rust and Cargo to compile extensions. Install it through
""",
    "Rust, a shell": "/bin/sh: 1: rustc: not found",
    "CMake": "RuntimeError: CMake must be installed to build the following extensions: dlib",
    "CMake, a shell": "/bin/sh: 1: cmake: not found",
    "no compiler": """
unable to execute 'gcc': No such file or directory
error: command 'gcc' failed: No such file or directory
""",
    "no compiler, a long name": "error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory",
    "no compiler, newer": "FileNotFoundError: [Errno 2] No such file or directory: 'cc'",
    "no setuptools": """
ERROR: Could not find a version that satisfies the requirement setuptools>=40.8.0 (from versions: none)
ERROR: No matching distribution found for setuptools>=40.8.0
""",
    "no backend": """
ERROR: Could not find a version that satisfies the requirement poetry-core>=1.0 (from versions: none)
""",
    "curl": "ConfigurationError: Could not run curl-config: [Errno 2] No such file: 'curl-config'",
    "Python 2": """
    print "Setuptools version",version,"or greater has been installed."
SyntaxError: Missing parentheses in call to 'print'. Did you mean print("Setuptools version",version)?
""",
    "Feature": "ImportError: cannot import name 'Feature' from 'setuptools' (…/setuptools/__init__.py)",
    "distutils": "ModuleNotFoundError: No module named 'distutils'",
    "torch-scatter": "ModuleNotFoundError: No module named 'torch'",
    "unknown": "ValueError: invalid literal for int() with base 10: 'x'",
    "unknown, of a compiler": "error: command '/usr/bin/gcc' failed with exit code 1",
}
WORDS = {
    "torch-scatter": "wheels for your torch",
    "Cython 3": "Cython 3",
    "2to3": "2to3",
    "sklearn": "scikit-learn instead",
    "psycopg2": "psycopg2-binary",
    "mysqlclient": "default-libmysqlclient-dev",
    "Python.h": "python3.X-dev",
    "ffi.h": "libffi-dev",
    "lxml": "libxml2-dev",
    "OpenSSL": "libssl-dev",
    "OpenSSL of Rust": "libssl-dev",
    "Rust": "needs Rust",
    "CMake": "needs CMake",
    "no compiler": "C compiler",
    "no setuptools": "what builds need",
    "no backend": "what builds need",
    "curl": "libcurl4-openssl-dev",
    "Python 2": "for Python 2",
    "Feature": "setuptools<46",
    "distutils": "older than this Python",
    "unknown": build_advice.GENERAL,
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_the_known_remedy_and_no_other(name: str) -> None:
    framed = (
        f"  error: subprocess-exited-with-error\n{OUTPUTS[name]}\n  [end of output]\nERROR: Failed to build x"
    )
    given = build_advice.advice(framed)
    assert WORDS[name.partition(",")[0]] in given
    matching = [remedy for pattern, remedy in build_advice.REMEDIES.items() if re.search(pattern, framed)]
    assert matching == ([] if given == build_advice.GENERAL else [given])


def test_every_remedy_has_its_case() -> None:
    given = {build_advice.advice(output) for output in OUTPUTS.values()}
    assert given == {*build_advice.REMEDIES.values(), build_advice.GENERAL}


def test_the_last_lines_that_say_something() -> None:
    output = """\
Processing ./x
  error: subprocess-exited-with-error

  \u00d7 Building wheel did not run successfully.
  │ exit code: 1
  ╰─> [3 lines of output]
      one
      two
      ValueError: three
      [end of output]

  note: This error originates from a subprocess, and is likely not a problem with pip.
  ERROR: Failed building wheel for x
ERROR: Failed to build one or more wheels
"""
    lines = [line.strip() for line in build_advice.last_meaningful_lines(output, count=3)]
    assert lines == ["one", "two", "ValueError: three"]
    assert build_advice.last_meaningful_lines("") == []


@pytest.mark.parametrize(
    ("job", "what", "name"),
    [
        ("", "six-1.0", "build-six-1.0.log"),
        ("web-py38", "six-1.0", "web-py38-build-six-1.0.log"),
        ("web-py37", "for-requirements", "web-py37-build-for-requirements.log"),
        ("", "../x-1!2.0+local", "build-.._x-1_2.0_local.log"),
    ],
)
def test_a_log_is_named_after_its_job(tmp_path: Path, job: str, what: str, name: str) -> None:
    log = build_advice.write_log("it broke\n", cache=tmp_path, job=job, what=what)
    assert log == tmp_path / "logs" / name
    assert log.read_text() == "it broke\n"
