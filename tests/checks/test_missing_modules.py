"""EB201: what to do about a module that nothing brings, or that is for another Python."""

from __future__ import annotations

from dataclasses import replace

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


@pytest.mark.parametrize(
    ("said", "python", "since"),
    [
        ("'type' object is not subscriptable", "3.8.18", "3.9 (`list[str]`)"),
        ("'ABCMeta' object is not subscriptable", "3.7.16", "3.9 (`list[str]`)"),
        ("'type' object is not subscriptable", "3.9.1", ""),
        ("'NoneType' object is not subscriptable", "3.8.18", ""),
        ("unsupported operand type(s) for |: 'type' and 'NoneType'", "3.9.1", "3.10 (`int | None`)"),
        ("unsupported operand type(s) for |: '_GenericAlias' and 'type'", "3.8.18", "3.10 (`int | None`)"),
        ("unsupported operand type(s) for |: 'type' and 'NoneType'", "3.10.1", ""),
        ("unsupported operand type(s) for |: 'str' and 'int'", "3.8.18", ""),
    ],
)
def test_an_annotation_that_needs_a_later_python_says_so(said: str, python: str, since: str) -> None:
    detail = f'File "{SITE}/alpha.py", line 1, in <module>\n  def f(x: list[str]):\nTypeError: {said}'
    failure = ImportFailure(module="alpha", exception="TypeError", missing="", detail=detail)
    evidence = ImportEvidence(modules=(), reached=(Reached(obligation=MAIN, failures=(failure,)),))
    on = replace(lock(locked("alpha")), python_version=python)
    (found,) = incomplete.imports(evidence, on, {"alpha": facts("alpha", modules=["alpha"])})
    assert found.severity == "error"
    if since:
        assert found.remedy == f"it is written for Python {since}: pin an older alpha"
    else:
        assert "written for Python" not in found.remedy
