"""EB201: what to do about a module that nothing brings."""

from __future__ import annotations

import pytest
from bundler.checks.imports.evidence import ImportEvidence, ImportFailure, Reached
from bundler.checks.rules import incomplete
from bundler.model import Obligation

from tests.support.bundlemaker import facts, lock, locked

SITE = "lib/python3.8/site-packages"
MAIN = Obligation(kind="main", subject="alpha", modules=("alpha",), reason="alpha is asked for")


@pytest.mark.parametrize(
    ("importer", "missing", "files", "meant"),
    [
        ("beta/__init__.py", "_beta", ["beta/_beta.py"], "beta/_beta.py"),
        ("beta/sub/two.py", "three", ["beta/sub/three/__init__.py"], "beta/sub/three/__init__.py"),
        ("beta/__init__.py", "_beta", ["beta/sub/_beta.py", "_beta/data.txt"], ""),  # not in that folder
        ("beta/_gamma.py", "_gamma", ["beta/_gamma.py"], ""),  # that file itself
        ("beta.py", "_beta", ["_beta.py"], ""),  # that folder is on the path
        ("beta/__init__.py", "six", ["beta/six.py"], ""),  # a distribution is known that brings it
    ],
)
def test_an_import_that_python_2_found_beside_the_importer_lacks_no_distribution(
    importer: str, missing: str, files: list[str], meant: str
) -> None:
    said = f"ModuleNotFoundError: No module named {missing!r}"
    detail = f'File "{SITE}/beta/earlier.py", line 3, in <module>\n  import x\n'
    detail += f'File "{SITE}/{importer}", line 1, in <module>\n  import {missing}\n{said}'
    failure = ImportFailure(module="alpha", exception="ModuleNotFoundError", missing=missing, detail=detail)
    evidence = ImportEvidence(modules=(), reached=(Reached(obligation=MAIN, failures=(failure,)),))
    paths = {f"{SITE}/{path}": "a" for path in [importer, *files]}
    known = {"alpha": facts("alpha", modules=["alpha"]), "beta": facts("beta", modules=["beta"], files=paths)}
    locked_ = lock(locked("alpha"), locked("beta", required_by=("alpha",)))
    (found,) = incomplete.imports(evidence, locked_, known)
    assert found.severity == "error"
    if meant:
        assert found.remedy.startswith(f"beta means its {meant}, as Python 2 read the import")
    else:
        assert found.remedy.startswith(f"nothing in the lock brings a module {missing!r}")
