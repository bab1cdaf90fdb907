"""EB4xx: modules that hide others, names that differ in case, and what the image has already."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bundler.checks.imports.evidence import (
    ImportEvidence,
    ImportFailure,
    Reached,
    import_modules,
)
from bundler.checks.rules import conflicts, incomplete
from bundler.model import Obligation
from bundler.targets.image import Image, ImageTarget, Installed

from tests.support.bundlemaker import facts, interpreter, lock, locked, target, unpack
from tests.support.findings import brief
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from bundler.model import Interpreter

SITE = "lib/python3.8/site-packages"
SOUND = ImportEvidence(modules=())


@pytest.fixture
def python(python38: Path) -> Interpreter:
    known = interpreter(python38)
    stdlib = known.base_prefix / "lib/python3.8"
    names = {
        "enum",
        "typing",
        "concurrent",
        "test",
        "itertools",
        "configparser",
        "distutils",
        "uuid",
        "_bisect",
    }
    return replace(known, stdlib=(stdlib, stdlib / "lib-dynload"), stdlib_modules=frozenset(names))


def failing(module: str, detail: str) -> ImportFailure:
    return ImportFailure(module=module, exception="AttributeError", missing="", detail=detail)


@pytest.mark.parametrize(
    ("name", "module", "severity"),
    [
        ("enum34", "enum", "warning"),
        ("typing", "typing", "warning"),
        ("futures", "concurrent", "warning"),
        ("uuid", "uuid", "warning"),
        ("fake", "enum", "error"),  # no backport that is known
        ("fake", "_bisect", "error"),  # an extension module in lib-dynload
        ("alpha", "concurrent.alpha", ""),  # a part of a namespace
        ("setuptools", "_distutils_hack", ""),
        ("pathlib2", "pathlib2", ""),
        ("importlib-metadata", "importlib_metadata", ""),
        ("typing-extensions", "typing_extensions", ""),
        ("enum-compat", "alpha.enum", ""),
        ("configparser", "configparser", "info"),
        ("alpha", "configparser", "error"),
        ("alpha", "test", "info"),
        ("alpha", "itertools", "info"),  # built in: nothing on the path comes before it
    ],
)
def test_hidden_standard_library(python: Interpreter, name: str, module: str, severity: str) -> None:
    known = {name: facts(name, modules=[module])}
    found = list(conflicts.shadows(lock(locked(name)), known, python, SOUND))
    assert [(one.code, one.subject, one.severity) for one in found] == (
        [("EB402", name, severity)] if severity else []
    )


def test_remedy_for_a_backport(python: Interpreter) -> None:
    known = {"enum34": facts("enum34", "1.1.10", modules=["enum"]), "alpha": facts("alpha")}
    (asked,) = conflicts.shadows(lock(locked("enum34", "1.1.10")), known, python, SOUND)
    assert asked.remedy == 'write `enum34; python_version < "3.4"` in the requirements, or leave it out'
    brought = lock(locked("alpha"), locked("enum34", "1.1.10", required_by=("alpha",)))
    (found,) = conflicts.shadows(brought, known, python, SOUND)
    assert found.chain == ("alpha", "enum34")
    assert found.remedy.startswith("alpha 1.0 requires it: choose a version that does not")


@pytest.mark.parametrize(
    ("evidence", "severities"),
    [
        (ImportEvidence(modules=()), ["warning", "warning"]),
        (
            ImportEvidence(modules=(), standard=(failing("re", "module 'enum' has no x"),)),
            ["error", "warning"],
        ),
        (
            ImportEvidence(modules=(), standard=(failing("re", "IntFlag"),)),
            ["error", "error"],
        ),  # nobody is named
        (ImportEvidence(modules=(), failures=(failing("uuid", "SyntaxError"),)), ["warning", "error"]),
        (
            ImportEvidence(
                modules=(),
                reached=(
                    Reached(
                        obligation=Obligation(
                            kind="main", subject="a", modules=("a",), reason="a is asked for"
                        ),
                        failures=(failing("a", 'File "x/site-packages/uuid.py", line 3'),),
                    ),
                ),
            ),
            ["warning", "error"],
        ),
    ],
)
def test_a_backport_is_judged_by_what_works_with_it(
    python: Interpreter, evidence: ImportEvidence, severities: list[str]
) -> None:
    known = {"enum34": facts("enum34", modules=["enum"]), "uuid": facts("uuid", modules=["uuid"])}
    found = conflicts.shadows(lock(locked("enum34"), locked("uuid")), known, python, evidence)
    assert [one.severity for one in found if one.code == "EB402"] == severities


def test_a_backport_is_blamed_for_what_names_it(python: Interpreter) -> None:
    known = {"enum34": facts("enum34", modules=["enum"]), "uuid": facts("uuid", modules=["uuid"])}
    evidence = ImportEvidence(
        modules=(), standard=(failing("re", "'enum' lacks it"),), failures=(failing("uuid", "SyntaxError"),)
    )
    found = conflicts.shadows(lock(locked("enum34"), locked("uuid")), known, python, evidence)
    assert [one.cause.partition(", and ")[2].partition(":")[0] for one in found] == [
        "`import re` fails",
        "`import uuid` fails",
    ]


BROKEN = ImportFailure(
    module="re", exception="AttributeError", missing="", detail="File …\nAttributeError: IntFlag"
)


def test_what_the_imports_show(python: Interpreter) -> None:
    failures = (replace(BROKEN, module="six"), replace(BROKEN, module="b", detail="x"))
    evidence = ImportEvidence(modules=(), standard=(BROKEN,), failures=failures)
    known = {"enum34": facts("enum34", modules=["enum"]), "six": facts("six", modules=["six", "b"])}
    locked_ = lock(locked("enum34"), locked("six"))
    (found,) = conflicts.shadows(locked_, known, python, evidence)
    assert "`import re` fails" in found.cause
    assert "IntFlag" in found.cause
    # What fails for the same reason is not told again.
    assert brief(incomplete.imports(evidence, locked_, known)) == [("EB201", "b")]
    # Without anybody to blame it is an error all the same.
    assert brief(conflicts.shadows(locked_, {}, python, evidence)) == [("EB402", "re")]


def test_standard_library_is_imported_behind_the_bundle(tmp_path: Path, target_python: Path) -> None:
    minor = "3.7" if "3.7" in target_python.name else "3.8"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for name, files, broken in (
        ("sound", {"mine.py": "import enum\n"}, False),
        ("enum34", {"enum/__init__.py": "class Enum: pass\n", "mine.py": "import re\n"}, True),
        # It imports, and its first use fails; one that can be used does no harm.
        ("dataclasses", {"dataclasses.py": "def make_dataclass(): pass\n", "mine.py": ""}, True),
        ("uuid", {"uuid.py": "def uuid4(): pass\n", "mine.py": ""}, False),
    ):
        prefix = tmp_path / name
        unpack(prefix, make_wheel(tmp_path, name, files=files), minor=minor)
        found = import_modules(
            prefix,
            site_packages=f"lib/python{minor}/site-packages",
            modules={name: ["mine"]},
            interpreter=interpreter(target_python, minor),
            scratch=scratch,
        )
        assert bool({"json", "dataclasses"} & {one.module for one in found.standard}) == broken
        assert bool(found.failures) == (name == "enum34")
        assert not any(str(target_python.resolve().parent.parent) in one.detail for one in found.standard)


# --- pip, setuptools, wheel; sitecustomize --------------------------------------------------------


@pytest.mark.parametrize(
    ("requested", "parents", "requires", "severity"),
    [
        (False, (), [], "error"),
        (True, (), [], "info"),
        (False, ("alpha",), [], "info"),
        (False, (), ["setuptools>=40"], "info"),  # a lock that does not say who requires what
        (False, (), ["setuptools; python_version < '3'"], "error"),
        (False, (), ["setuptools; extra == 'dev'", "not valid !"], "error"),
    ],
)
def test_seeds(requested: bool, parents: tuple[str, ...], requires: list[str], severity: str) -> None:  # noqa: FBT001 - a parameter of the table
    dist = replace(locked("setuptools", "56.0.0", required_by=parents), requested=requested)
    known = {"alpha": facts("alpha", requires=requires), "setuptools": facts("setuptools")}
    (found,) = conflicts.seeds(lock(locked("alpha"), dist), known, target())
    assert (found.code, found.subject, found.severity) == ("EB406", "setuptools", severity)


def test_no_seeds() -> None:
    assert list(conflicts.seeds(lock(locked("alpha"), locked("pipx")), {}, target())) == []


@pytest.mark.parametrize(
    ("module", "found"),
    [("sitecustomize", True), ("usercustomize", True), ("ddtrace.bootstrap.sitecustomize", False)],
)
def test_customizers(module: str, found: bool) -> None:  # noqa: FBT001 - as above
    known = {"alpha": facts("alpha", modules=["alpha", module])}
    assert brief(conflicts.customizers(lock(locked("alpha")), known)) == (
        [("EB407", "alpha")] if found else []
    )


# --- names that differ in case only ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "severity"),
    [
        ("Crypto/__init__.py", "crypto/aes.py", "warning"),
        ("alpha/Tools.py", "alpha/tools.py", "warning"),
        ("alpha/README", "alpha/readme", "info"),
        ("alpha/a.py", "beta/A.py", ""),
        ("alpha/a.py", "alpha/a.py", ""),
        ("stra\u00dfe.py", "STRASSE.py", "warning"),
    ],
)
def test_case_twins(first: str, second: str, severity: str) -> None:
    known = {
        "one": facts("one", files={f"{SITE}/{first}": "aa"}),
        "two": facts("two", files={f"{SITE}/{second}": "bb"}),
    }
    listed = {file.path for one in known.values() for file in one.files}
    found = list(conflicts.case_twins(lock(locked("one"), locked("two")), known, listed, site_packages=SITE))
    assert [(one.code, one.subject, one.severity) for one in found] == (
        [("EB403", "two", severity)] if severity else []
    )


# --- the image ------------------------------------------------------------------------------------

IMAGE = Image(
    name="ours",
    target=ImageTarget(),
    named={},
    distributions={
        "flask": Installed(
            version="2.1.3",
            requires=("Werkzeug>=2.0", "click>=8.0", "asgiref>=3.2; extra == 'async'", "not valid !"),
        ),
        "werkzeug": Installed(version="2.0.3"),
        "server": Installed(
            version="0.8",
            requires=("flask<2.3", "pydantic~=1.10", "gone; python_version < '3'", "missing<2"),
        ),
        "pydantic": Installed(version="1.10.2"),
        "lonely": Installed(version="1.0"),
        "click": Installed(version="8.1"),
    },
)


@pytest.mark.parametrize(
    ("brought", "expected"),
    [
        ({"werkzeug": "2.0.3"}, []),
        ({"six": "1.16"}, []),
        ({"werkzeug": "3.0.3"}, [("EB404", "error")]),  # allowed, and known to break
        ({"werkzeug": "2.2.3"}, [("EB405", "info")]),
        ({"werkzeug": "1.0"}, [("EB404", "error")]),
        ({"pydantic": "2.5"}, [("EB404", "error")]),
        ({"pydantic": "1.10.13"}, [("EB405", "info")]),
        ({"click": "9.0"}, [("EB405", "warning")]),  # another major version than flask was tried with
        ({"click": "8.0"}, [("EB405", "warning")]),  # an older one
        ({"lonely": "2.0"}, [("EB405", "info")]),  # nobody of the image uses it
        ({"missing": "3.0"}, [("EB404", "error")]),
        ({"asgiref": "1.0"}, []),
        # The server itself comes along: its requirements are the bundle's own matter.
        ({"server": "1.0", "pydantic": "2.5"}, [("EB405", "info"), ("EB405", "info")]),
        ({"flask": "2.2.5", "werkzeug": "3.0.3"}, [("EB405", "info"), ("EB405", "info")]),
    ],
)
def test_image(brought: dict[str, str], expected: list[tuple[str, str]]) -> None:
    locked_ = lock(*(locked(name, version) for name, version in brought.items()))
    found = list(conflicts.image(locked_, IMAGE, target()))
    assert [(one.code, one.severity) for one in found] == expected
    brief(found)


# --- files of two distributions --------------------------------------------------------------------


EXTEND = b"__path__ = __import__('pkgutil').extend_path(__path__, __name__)"


@pytest.mark.parametrize(
    ("path", "contents", "severity"),
    [
        (f"{SITE}/cv2/__init__.py", (b"1", b"2"), "error"),
        (f"{SITE}/cv2/cv2.so", (b"\0\n", b"\0"), "error"),
        (f"{SITE}/shared.py", (b"1", b"2"), "error"),
        ("bin/tool", (b"1", b"2"), "warning"),
        (f"{SITE}/conftest.py", (b"1", b"2"), "info"),
        (f"{SITE}/samples/a.py", (b"1", b"2"), "info"),
        ("lib/libx.so", (b"1\0", b"2\0"), "error"),
        (f"{SITE}/pkg/data.json", (b"1", b"2"), "error"),
        (f"{SITE}/opencensus/__init__.py", (EXTEND + b"\r\n", EXTEND + b"\n"), None),
        (f"{SITE}/opencensus/__pycache__/__init__.cpython-38.pyc", (b"1", b"2"), None),
        (f"{SITE}/tests/__init__.py", (b"1", b"2"), "info"),
        (f"{SITE}/LICENSE", (b"1", b"2"), "info"),
        ("share/doc/README", (b"1", b"2"), "info"),
        ("LICENSE.md", (b"1", b"2"), "info"),  # of databases and of starlette, both in `data_files`
        ("share/alpha/tables.dat", (b"1", b"2"), "error"),
        (f"{SITE}/pandas/_libs/index.pyi", (b"1", b"2"), "info"),  # of pandas and pandas-stubs
        (f"{SITE}/pandas/py.typed", (b"1", b"partial"), "info"),
    ],
)
def test_two_owners_of_one_path(path: str, contents: tuple[bytes, bytes], severity: str | None) -> None:
    known = {"alpha": facts("alpha", files={path: "a"}), "beta": facts("beta", files={path: "b"})}
    content = dict(zip(("alpha", "beta"), contents, strict=True))
    found = list(
        conflicts.shared_paths(
            lock(locked("alpha"), locked("beta")),
            known,
            site_packages=SITE,
            read=lambda name, _: content[name],
        )
    )
    assert [one.severity for one in found] == ([severity] if severity else [])
    assert all(path in one.cause for one in found)


@pytest.mark.parametrize(
    ("module", "severity"),
    [(b"", "info"), (b"_, __dir__, __all__ = lazy.attach_stub(__name__, __file__)", "error")],
)
def test_stub_that_a_package_reads(module: bytes, severity: str) -> None:
    stub, code = f"{SITE}/skimage/__init__.pyi", f"{SITE}/skimage/__init__.py"
    content = {("alpha", stub): b"1", ("beta", stub): b"2", ("beta", code): module}
    known = {"alpha": facts("alpha", files={stub: "a"}), "beta": facts("beta", files={stub: "b", code: "c"})}
    both = lock(locked("alpha"), locked("beta"))
    (one,) = conflicts.shared_paths(both, known, site_packages=SITE, read=lambda *at: content[at])
    assert one.severity == severity


def test_same_content_is_no_conflict() -> None:
    known = {name: facts(name, files={"lib/x.py": "a", f"lib/{name}.py": name}) for name in ("alpha", "beta")}
    assert (
        list(conflicts.shared_paths(lock(locked("alpha")), known, site_packages=SITE, read=lambda *_: b""))
        == []
    )
