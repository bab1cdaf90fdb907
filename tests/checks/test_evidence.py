"""Where imported code came from, and what libraries are called."""

from __future__ import annotations

import pytest
from bundler.checks.imports.evidence import CodeOrigins

ORIGINS = CodeOrigins(
    bundle="/tmp/p/mount",
    stdlib=("/opt/py/lib/python3.8", "/opt/py/lib/python3.8/lib-dynload", "/opt/py/lib/python38.zip"),
    own=frozenset({"/home/linuxbrew/lib/libssl.so.3", "/srv/sid/usr/lib/ld-linux-x86-64.so.2"}),
    executable="/opt/py/bin/python3.8",
)


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        ("/tmp/p/mount/lib/python3.8/site-packages/six.py", "bundle"),
        ("/tmp/p/mounted/six.py", "elsewhere"),
        ("/opt/py/lib/python3.8/json/__init__.py", "standard library"),
        ("/opt/py/lib/python38.zip/json/__init__.py", "standard library"),
        ("/opt/py/lib/python3.8/lib-dynload/_ssl.so", "standard library"),
        ("/opt/py/lib/python3.8/site-packages/pip/__init__.py", "elsewhere"),
        ("/opt/py/bin/python3.8", "interpreter"),
        ("/opt/py/lib/libpython3.8.so.1.0", "interpreter"),
        ("/opt/py/lib/libgomp.so.1.0.0", "elsewhere"),
        ("/home/linuxbrew/lib/libssl.so.3", "interpreter"),
        ("/usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30", "system"),
        ("/lib64/ld-linux-x86-64.so.2", "system"),
        ("/usr/lib/python3/dist-packages/numpy/core/x.so", "elsewhere"),
        ("/usr/local/lib/libfoo.so.1", "elsewhere"),
        ("/memfd:libffi (deleted)", "interpreter"),
        ("/srv/sid/usr/lib/libz.so.1", "system"),  # beside the loader that the interpreter runs by
        ("/srv/sid/usr/libz.so.1", "elsewhere"),
        ("/srv/sid/usr/lib/python3/dist-packages/x.so", "elsewhere"),
    ],
)
def test_origins(path: str, origin: str) -> None:
    assert ORIGINS.of_shared_object(path) == origin
