"""A library of the builder that the image may lack: an error, unless only an optional part misses it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest
from bundler.checks.imports import library_needs
from bundler.checks.imports.evidence import ImportEvidence, ImportFailure, Reached
from bundler.model import Obligation

from tests.support.nativemaker import extension
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bundler.checks.imports.evidence_cache import Importer

    from tests.support.command import Command

FALLBACK = "try:\n    import _fast\nexcept ImportError:\n    _fast = None\n"
LAZY = "def answer():\n    import _fast\n    return _fast\n"
NEEDED = "import _fast\n"
SETTINGS = "class ImproperlyConfigured(Exception):\n    pass\n\n\nimport _fast\nraise ImproperlyConfigured\n"


@pytest.mark.parametrize(
    ("detail", "line"),
    [
        (
            'File "a.py", line 1\n  x\nImportError: no Magick.\nTry:\n  https://docs.test/',
            "ImportError: no Magick.",
        ),
        (
            "ImportError: none.\n- c: not there\n- python: libpq.so.5: too short",
            "- python: libpq.so.5: too short",
        ),
        ("  load('libpq.so.5')\nImportError: none.", "ImportError: none."),
        ("killed the interpreter: SIGSEGV", "killed the interpreter: SIGSEGV"),
        ("", ""),
    ],
)
def test_the_line_that_says_most(detail: str, line: str) -> None:
    failure = ImportFailure(module="a", exception="ImportError", missing="", detail=detail)
    assert library_needs.told(failure, "libpq.so.5") == line


MAIN = Obligation(kind="main", subject="alpha", modules=("alpha",), reason="alpha is asked for")
BRINGS = {"libgdk-3.so.0": {"libcairo.so.2"}, "libtop.so.1": {"libcairo.so.2"}}
"""What a library of this system needs."""


@dataclass
class Imports:
    """Imports a module that loads libraries if they are there, and some in any case."""

    loads: set[str]
    needs: set[str]
    hidden: list[list[str]] = field(default_factory=list)

    def import_modules(
        self, _: Mapping[str, Sequence[str]], *, obligations: Sequence[Obligation], hidden: Sequence[str] = ()
    ) -> ImportEvidence:
        self.hidden += [sorted(hidden)] if hidden else []
        direct = (self.loads | self.needs).difference(hidden)
        indirect = {low for one in direct for low in BRINGS.get(one, ())}
        lacking = sorted(self.needs.intersection(hidden))
        failures = [
            ImportFailure(module="alpha", exception="OSError", missing="", detail=f"OSError: no {one}")
            for one in lacking
        ]
        seen = tuple(sorted(direct | indirect))
        return ImportEvidence(
            modules=(),
            reached=tuple(
                Reached(obligation=one, failures=(*failures,), libraries=seen) for one in obligations
            ),
            libraries=seen,
            indirect=tuple(sorted(indirect)),
            isolation=("read-only", library_needs.HIDDEN),
        )


@pytest.mark.parametrize(
    ("loads", "needs", "without", "lacking", "times"),
    [
        ({"libgdk-3.so.0"}, {"libcairo.so.2"}, ["libgdk-3.so.0"], ["libcairo.so.2"], 3),
        ({"libgdk-3.so.0", "libtop.so.1"}, {"libcairo.so.2"}, [*BRINGS], ["libcairo.so.2"], 4),
        ({"libgdk-3.so.0"}, set(), ["libgdk-3.so.0"], [], 2),  # libcairo comes with it alone
        (set(), {"libgdk-3.so.0", "libcairo.so.2"}, [], ["libgdk-3.so.0"], 1),  # and comes with it
        ({"libyaml-0.so.2"}, set(), ["libyaml-0.so.2"], [], 1),  # which brings nothing: asked once
    ],
)
def test_what_comes_with_a_library_that_is_not_needed_may_be_needed_by_itself(
    loads: set[str], needs: set[str], without: list[str], lacking: list[str], times: int
) -> None:
    imports = Imports(loads, needs)
    found = library_needs.import_without(
        imports.import_modules({}, obligations=[MAIN]),
        doubtful=lambda seen: [one for one in seen.libraries if one not in seen.indirect],
        importer=cast("Importer", imports),
    )
    assert (list(found.without), [one.library for one in found.needs]) == (without, lacking)
    assert len(imports.hidden) == times


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("package", "code", "severity"),
    [
        pytest.param(FALLBACK, 0, "warning", id="does without it, as PyYAML does"),
        pytest.param(LAZY, 1, "error", id="loads it later, as cffi does: nothing is proved"),
        pytest.param(NEEDED, 1, "error", id="cannot do without it"),
        pytest.param(SETTINGS, 1, "error", id="asks for settings, after it has loaded it"),
    ],
)
def test_library_of_the_builder(
    envbundle: Command, wheels: Path, tmp_path: Path, package: str, code: int, severity: str
) -> None:
    module = extension(tmp_path / "_fast.so", "_fast", flags=["-Wl,--no-as-needed", "-lgomp"])
    files: dict[str, str | bytes] = {
        "pack.py": package,
        "_fast.cpython-38-x86_64-linux-gnu.so": module.read_bytes(),
    }
    make_wheel(wheels, "pack", files=files, tag="cp38-cp38-linux_x86_64", root_is_purelib=False)
    done = envbundle(
        "create",
        "pack",
        "--python",
        "3.8",
        "--glibc",
        "2.36",
        "-o",
        "b",
        "--json",
        *envbundle.offline(wheels),
    )
    said = {one["code"]: one["severity"] for one in done.json()["findings"] if one["code"] == "EB303"}
    assert (done.code, said) == (code, {"EB303": severity}), done.stderr
    if code == 0:
        again = envbundle("verify", "b", "--json")
        assert again.code == 0, again.stderr
        assert {one["code"]: one["severity"] for one in again.json()["findings"]}["EB303"] == "warning"
