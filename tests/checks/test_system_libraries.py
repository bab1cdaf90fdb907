"""What is known of system libraries: those that a distribution looks for by name, without a SONAME."""

from __future__ import annotations

import pytest
from bundler.checks.imports.evidence import ImportEvidence, ImportFailure, Reached
from bundler.checks.rules import incomplete, system_libraries
from bundler.model import Obligation

from tests.support.bundlemaker import facts, lock, locked

WAND = """\
    raise ImportError('MagickWand shared library not found.\\n'
ImportError: MagickWand shared library not found.
You probably had not installed ImageMagick library.
Try to install:
  https://docs.wand-py.org/en/latest/guide/install.html"""
GOBJECT = (
    "OSError: cannot load library 'gobject-2.0-0': gobject-2.0-0: cannot open shared object file: No such "
    "file or directory.  Additionally, ctypes.util.find_library() did not manage to locate a library"
)


@pytest.mark.parametrize(
    ("detail", "library", "package"),
    [
        (WAND, "libMagickWand-6.Q16.so.6", "libmagickwand-6.q16-6"),
        (GOBJECT, "libgobject-2.0.so.0", "libglib2.0-0"),
        ('OSError: no library called "cairo-2" was found', "libcairo.so.2", "libcairo2"),
        ("LibraryNotFound: sndfile library not found", "libsndfile.so.1", "libsndfile1"),
        ("OSError: libfuse.so.2: cannot open shared object file: No such file", "libfuse.so.2", "libfuse2"),
        # What the code could say is not what it says, and what nobody knows stays unknown.
        ("raise ImportError('PortAudio library not found')\nValueError: other", "", ""),
        ("OSError: quux library not found", "", ""),
    ],
)
def test_a_library_that_an_import_cannot_find(detail: str, library: str, package: str) -> None:
    failure = ImportFailure(module="beta", exception="OSError", missing="", detail=detail)
    main = Obligation(kind="main", subject="beta", modules=("beta",), reason="beta is asked for")
    evidence = ImportEvidence(modules=(), reached=(Reached(obligation=main, failures=(failure,)),))
    known = {"beta": facts("beta", modules=["beta"])}
    (found,) = incomplete.imports(evidence, lock(locked("beta")), known)
    assert found.severity == "error"
    assert (f"install {package} in the image" in found.remedy) == bool(library)
    assert (f"; if the image has it: --assume-lib {library}" in found.remedy) == bool(library)
    assumed = [library or "libquux.so.1"]
    (found,) = incomplete.imports(evidence, lock(locked("beta")), known, assumed=assumed)
    assert found.severity == ("warning" if library else "error")
    assert incomplete.unproved(evidence, assumed) == (("beta",) if library else ())


def test_every_library_that_is_looked_for_has_a_package() -> None:
    for library in system_libraries._LOOKED_FOR.values():
        assert "in the image" in (system_libraries.advice(library) or ""), library
