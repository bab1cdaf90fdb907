"""Files of two distributions that do the same, and such that do not."""

from __future__ import annotations

import pytest
from bundler.checks.rules import same_text

INIT = "lib/python3.8/site-packages/azureml/__init__.py"
MODULE = "lib/python3.8/site-packages/azureml/core.py"
PKGUTIL = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)"
PKG_RESOURCES = "__import__('pkg_resources').declare_namespace(__name__)"
EITHER = """\
try:
    import pkg_resources
    pkg_resources.declare_namespace(__name__)
except ImportError:
    import pkgutil
    __path__ = pkgutil.extend_path(__path__, __name__)
"""
PASSED_OVER = f"try:\n    {PKG_RESOURCES}\nexcept ImportError:\n    pass  # no setuptools\n"
IMPORTED = "from pkgutil import extend_path\n__path__: list = extend_path(__path__, __name__)  # mypy\n"
GUARD = "if __name__ == '__main__':\n"
IDIOMS = (PKGUTIL, PKG_RESOURCES, EITHER, PASSED_OVER, IMPORTED)


@pytest.mark.parametrize("right", IDIOMS)
@pytest.mark.parametrize("left", IDIOMS)
def test_idioms_of_a_namespace_are_the_same(left: str, right: str) -> None:
    assert same_text.same(INIT, left.encode(), f"# Copyright\n\n\n{right}\n\n# end".encode())


@pytest.mark.parametrize(
    ("path", "left", "right", "same"),
    [
        (INIT, f"# one\n\n{PKGUTIL}", f"# two\n{PKGUTIL}\n", True),
        (INIT, f"'''Azure'''\n{PKGUTIL}", PKGUTIL, True),
        (INIT, "", f"# nothing\n{PKGUTIL}", True),
        (INIT, "from __future__ import absolute_import\n", PKGUTIL, True),
        (INIT, "x = 1  # one\n\ny = 2", "x = 1\ny = 2 # two", True),
        (INIT, "x = 1", "x = 2", False),
        (INIT, "'one'\nx = 1", "'two'\nx = 1", True),
        (INIT, f"{PKGUTIL}\n__version__ = '1'", PKGUTIL, False),
        (INIT, PKGUTIL, "__path__ = __import__('evil').extend_path(__path__, __name__)", False),
        (INIT, PKGUTIL, "try:\n    import core\nexcept ImportError:\n    pass", False),
        (INIT, PKGUTIL, "from .core import Run", False),
        (INIT, "def broken(:", "def  broken(:", False),  # not Python: compared as text
        (INIT, "x =" + "(" * 5000, PKGUTIL, False),
        (INIT, "x = " + "1+" * 20000 + "1", PKGUTIL, False),
        (MODULE, "x = 1\n\n# one", "# two\nx = 1", True),
        # A parser reads its grammar from docstrings (ply, docopt).
        (MODULE, "'''usage: a'''\nx = 1", "'''usage: b'''\nx = 1", False),
        (MODULE, PKGUTIL, PKG_RESOURCES, False),
        (MODULE, f"'''a'''\n__version__ = '1'\n{GUARD}    one()", f"{GUARD}    import two", True),
        (MODULE, f"import one\n{GUARD}    one()", f"{GUARD}    import two", False),
        (MODULE, f"{GUARD}    one()\nelse:\n    x = 1", f"{GUARD}    two()", False),
        (MODULE, "__version__ = '1'", "__version__ = '2'", False),
        ("share/data.txt", "# one\nx", "# two\nx", False),
        ("lib/python3.8/site-packages/x.py", "x\0", "x\0 ", False),
    ],
)
def test_same(path: str, left: str, right: str, same: bool) -> None:  # noqa: FBT001 - a parameter of the table
    assert same_text.same(path, left.encode(), right.encode()) == same
    assert same_text.same(path, right.encode(), left.encode()) == same


def test_long_files_are_compared_as_text() -> None:
    filling = b"x = 1\n" * (same_text.SIZE_LIMIT // 6)
    assert same_text.same(MODULE, filling + b"# one", filling + b"# one\n\n")
    assert not same_text.same(MODULE, filling + b"# one", filling + b"# two")


def block(number: int, content: bytes) -> bytes:
    """A field that holds bytes, as protocol buffers write it."""
    return bytes([number << 3 | 2, len(content)]) + content


def descriptor(*, value: bytes = b"OPTIONAL", options: bytes = b"", name: bytes = b"a.proto") -> bytes:
    """A file with an enum, a message with one field, and an extension that may have options."""
    enum = block(1, b"Behavior") + block(2, block(1, value) + b"\x10\x01")
    message = block(1, b"Text") + block(2, block(1, b"body") + b"\x18\x01") + block(7, options)
    extension = block(1, b"behavior") + b"\x18\x9c\x08" + (block(8, options) if options else b"")
    return block(1, name) + block(5, enum) + block(4, message) + block(7, extension)


def generated(content: bytes, first: str = "from google.protobuf import descriptor_pool as pool") -> bytes:
    return f"{first}\nDESCRIPTOR = pool.Default().AddSerializedFile({content!r})\n".encode()


LATER = "from google.protobuf import descriptor_pool as pool, runtime_version"


@pytest.mark.parametrize(
    ("right", "same"),
    [
        (generated(descriptor(), LATER), True),
        (generated(descriptor(options=b"\x10\x00"), LATER), True),
        (generated(descriptor(value=b"REQUIRED"), LATER), False),
        (generated(descriptor(name=b"b.proto"), LATER), False),
        (generated(descriptor() + b"\x22", LATER), False),
        (generated(descriptor()[:-1], LATER), False),
        (generated(descriptor() + b"\x25\x00\x00\x00\x00", LATER), False),
        (generated(descriptor(), LATER) + generated(descriptor()), False),
        (b"DESCRIPTOR = None\n", False),
    ],
)
def test_what_protoc_generated_of_one_file(right: bytes, *, same: bool) -> None:
    """field_behavior_pb2.py of googleapis-common-protos 1.63 and of google-cloud-alloydb-connector 0.4."""
    assert same_text.same(MODULE, generated(descriptor()), right) is same
    assert same_text.same(MODULE, right, generated(descriptor())) is same
