"""Libraries that native files need: which are missing, and where the loader looks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from bundler.checks.imports.evidence import ImportEvidence, ImportFailure, Reached
from bundler.checks.rules import libraries, loader, system_libraries
from bundler.checks.rules.libraries import KnownLibraries
from bundler.model import Obligation

from tests.support.nativefacts import EXTENSION, LIBS, SITE, check, found, native, pack, profile

# --- EB303: needed libraries ----------------------------------------------------------------------

CORE = (
    *("libc.so.6", "libm.so.6", "libmvec.so.1", "libpthread.so.0", "libdl.so.2", "librt.so.1"),
    *("libutil.so.1", "libresolv.so.2", "libcrypt.so.1", "libnsl.so.1", "ld-linux-x86-64.so.2"),
    *("libgcc_s.so.1", "libstdc++.so.6", "libz.so.1", "libuuid.so.1", "liblzma.so.5", "libudev.so.1"),
)


def test_core_is_known_to_be_there() -> None:
    assert found(pack(native(needed=CORE))) == []


@pytest.mark.parametrize(
    ("missing", "advice"),
    [
        ("libGL.so.1", "libgl1"),
        ("libxcb.so.1", "libxcb1"),
        ("libglib-2.0.so.0", "libglib2.0-0"),
        ("libgomp.so.1", "libgomp1"),
        ("libyaml-0.so.2", "PyYAML>=5.4"),
        ("libpq.so.5", "psycopg2-binary"),
        ("libssl.so.1.1", "OpenSSL"),
        ("libpython3.8.so.1.0", "must not be linked with libpython"),
        ("libc.musl-x86_64.so.1", "manylinux"),
        ("libc.so", "another distribution"),
        ("libfoo.so.1", "another distribution"),
    ],
)
def test_missing_library(missing: str, advice: str) -> None:
    (one,) = check(pack(native(needed=("libc.so.6", missing))))
    assert (one.code, one.severity, one.subject, one.chain) == ("EB303", "error", "pack", ("top", "pack"))
    assert f"needs {missing}," in one.cause
    assert advice in one.remedy
    assert f"--assume-lib {missing}" in one.remedy


@pytest.mark.parametrize(
    ("name", "library", "words"),
    [
        ("opencv-python", "libGL.so.1", "use opencv-python-headless, or install libgl1 in the image"),
        ("vtk", "libGL.so.1", "install libgl1 in the image"),
        ("vtk", "libXss.so.1", "use an image with a desktop's libraries"),
        (
            "psycopg2",
            "libpq.so.5",
            "require psycopg2-binary instead of psycopg2, or install libpq5 in the image",
        ),
        (
            "psycopg-c",
            "libpq.so.5",
            "require psycopg[binary] instead of psycopg[c], or install libpq5 in the image",
        ),
        ("cairosvg", "libcairo.so.2", "install libcairo2 in the image, or choose another distribution"),
        ("cairosvg", "libfoo.so.1", None),
    ],
)
def test_advice_is_for_the_distribution_that_needs_it(name: str, library: str, words: str | None) -> None:
    assert system_libraries.advice(library, distribution=name) == words


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (KnownLibraries(assumed=("libgomp.so.1",)), []),
        (KnownLibraries(image=profile("libgomp.so.1")), []),
        (KnownLibraries(image=profile("libGL.so.1")), [("EB303", "error")]),
        (KnownLibraries(image=replace(profile(), libraries=None)), [("EB303", "error")]),
        (KnownLibraries(assumed=("libgomp.so",)), [("EB303", "error")]),
    ],
)
def test_image_has_it(known: KnownLibraries, expected: list[tuple[str, str]]) -> None:
    assert found(pack(native(needed=("libgomp.so.1",))), known=known) == expected


@pytest.mark.parametrize(
    ("search", "where", "expected"),
    [
        ({"rpath": ("$ORIGIN/../pack.libs",)}, LIBS, []),
        ({"runpath": ("${ORIGIN}/../pack.libs/",)}, LIBS, []),
        ({"rpath": ("/opt/x", "$ORIGIN")}, f"{SITE}/pack", [("EB120", "info")]),
        ({"rpath": ("$ORIGIN/../../..",)}, "lib", []),
        ({"rpath": ("$ORIGIN/../../../..",)}, "", []),
        ({"rpath": ("$ORIGIN/../../../../$LIB",)}, "lib64", []),
        ({"runpath": ("$ORIGIN/nowhere",)}, LIBS, [("EB303", "info")]),
        ({}, LIBS, [("EB303", "info")]),
        ({}, None, [("EB303", "error")]),
        ({"runpath": ("$ORIGIN/../pack.libs",), "rpath": ("$ORIGIN",)}, f"{SITE}/pack", [("EB303", "info")]),
    ],
)
def test_search_path(search: dict[str, Any], where: str | None, expected: list[tuple[str, str]]) -> None:
    files = [native(needed=("libfoo.so.1",), **search)]
    if where is not None:
        files.append(native(f"{where}/libfoo.so.1".lstrip("/"), soname="libfoo.so.1"))
    assert found(pack(*files)) == expected


def test_rpath_is_inherited_and_runpath_is_not() -> None:
    middle = native(f"{LIBS}/libmiddle.so.1", needed=("libleaf.so.1",))
    leaf = native(f"{LIBS}/libleaf.so.1")
    first = native(needed=("libmiddle.so.1",))
    assert found(pack(replace(first, rpath=("$ORIGIN/../pack.libs",)), middle, leaf)) == []
    own = replace(first, runpath=("$ORIGIN/../pack.libs",))
    assert found(pack(own, middle, leaf)) == [("EB303", "info")]


def test_library_for_another_machine_is_passed_over() -> None:
    first = native(needed=("libfoo.so.1",), rpath=("$ORIGIN",))
    other = native(f"{SITE}/pack/libfoo.so.1", machine="aarch64")
    resolution = loader.resolve([first, other])
    assert resolution.found == {}
    assert dict(loader.resolve([first, replace(other, machine="x86_64")]).found) == {
        (EXTENSION, "libfoo.so.1"): f"{SITE}/pack/libfoo.so.1"
    }


def test_preloaded_library_unless_the_system_gave_it() -> None:
    files = pack(native(needed=("libfoo.so.1",)), native(f"{LIBS}/libfoo.so.1"))
    assert found(files) == [("EB303", "info")]
    assert found(files, known=KnownLibraries(mapped=("libfoo.so.1",))) == [("EB303", "error")]


@pytest.mark.parametrize(
    ("name", "path", "needed", "known", "severity"),
    [
        ("pack", f"{SITE}/pack/libplain.so", "libgomp.so.1", KnownLibraries(), "warning"),
        (
            "pack",
            f"{SITE}/pack/libplain.so",
            "libgomp.so.1",
            KnownLibraries(mapped=("libgomp.so.1",)),
            "error",
        ),
        (
            "pack",
            f"{SITE}/pack/libplain.so",
            "libgomp.so.1.0.0",
            KnownLibraries(mapped=("libgomp.so.1",)),
            "error",
        ),
        ("pack", f"{SITE}/pack/Qt/plugins/libq.so", "libodbc.so.2", KnownLibraries(), "info"),
        ("pack", "bin/tool", "libodbc.so.2", KnownLibraries(), "warning"),
        ("pack", EXTENSION, "libcuda.so.1", KnownLibraries(), "info"),
        ("pack", EXTENSION, "libnvidia-ml.so.1", KnownLibraries(), "info"),
        ("numba", EXTENSION, "libgomp.so.1.0.0", KnownLibraries(), "info"),
        ("tbb", "lib/libtbbbind.so.3", "libhwloc.so.15", KnownLibraries(), "info"),
        ("pack", EXTENSION, "libhwloc.so.15", KnownLibraries(), "error"),
    ],
)
def test_what_an_import_does_without(
    name: str, path: str, needed: str, known: KnownLibraries, severity: str
) -> None:
    file = native(path, needed=(needed,), program=path == "bin/tool")
    assert found(pack(file, name=name), known=known) == [("EB303", severity)]


@pytest.mark.parametrize(
    ("name", "path", "modules", "roots", "severity"),
    [
        ("uwsgi", "bin/uwsgi", ("uwsgidecorators",), ("uwsgi",), "error"),
        ("tool-box", "bin/tool_box", (), ("tool-box",), "error"),
        ("uwsgi", "bin/uwsgi", ("uwsgidecorators",), ("flask",), "warning"),
        ("uwsgi", "bin/helper", ("uwsgidecorators",), ("uwsgi",), "warning"),
        ("uwsgi", "lib/uwsgi", ("uwsgidecorators",), ("uwsgi",), "warning"),
        ("cmake", "bin/cmake", ("cmake",), ("cmake",), "warning"),
    ],
)
@pytest.mark.parametrize(
    ("lacks", "code"),
    [({"needed": ("libxml2.so.2",)}, "EB303"), ({"versions": ("libc.so.6:GLIBC_2.39",)}, "EB301")],
)
def test_the_program_that_was_asked_for(
    name: str,
    path: str,
    modules: tuple[str, ...],
    roots: tuple[str, ...],
    severity: str,
    lacks: dict[str, Any],
    code: str,
) -> None:
    """Of uwsgi, built from source, nothing is of use but its program."""
    facts = pack(native(path, program=True, **lacks), name=name)
    facts = {key: replace(one, modules=modules) for key, one in facts.items()}
    assert (code, severity) in found(facts, roots=roots)


def test_what_a_failed_import_asked_for() -> None:
    text = "OSError: libgomp.so.1: cannot open shared object file: No such file or directory"
    failure = ImportFailure(module="pack", exception="OSError", missing="", detail=text)
    main = Obligation(kind="main", subject="pack", modules=("pack",), reason="pack is asked for")
    proof = ImportEvidence(
        modules=(), reached=(Reached(obligation=main, failures=(failure,)),), libraries=("libGL.so.1",)
    )
    assert libraries.asked_for(proof) == ("libGL.so.1", "libgomp.so.1")


def test_one_finding_a_library() -> None:
    files = [
        native(f"{SITE}/pack/m{number}.abi3.so", needed=("libfoo.so.1", "libbar.so")) for number in range(9)
    ]
    findings = check(pack(*files) | pack(native(f"{SITE}/o.abi3.so", needed=("libfoo.so.1",)), name="other"))
    assert [(one.subject, one.code) for one in findings] == [("other", "EB303"), *[("pack", "EB303")] * 2]


# --- EB120: search paths that lead out ------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "needed", "built", "expected"),
    [
        ("/opt/conda/lib", "libc.so.6", (), [("EB120", "info")]),
        ("/opt/conda/lib", "libc.so.6", ("pack",), [("EB120", "warning")]),
        ("/opt/conda/lib", "libfoo.so.1", (), [("EB303", "error"), ("EB120", "error")]),
        ("/opt/conda/lib", "libffi.so.8", (), [("EB303", "error"), ("EB120", "info")]),
        ("/opt/conda/lib", "libffi.so.8", ("pack",), [("EB303", "error"), ("EB120", "error")]),
        ("$ORIGIN/../../../../../lib", "libfoo.so.1", (), [("EB303", "error"), ("EB120", "error")]),
        ("/usr/lib64", "libfoo.so.1", (), [("EB303", "error"), ("EB120", "info")]),
        ("pack.libs", "libfoo.so.1", (), [("EB303", "error"), ("EB120", "info")]),
        ("", "libc.so.6", (), [("EB120", "info")]),
        ("$ORIGIN", "libc.so.6", (), []),
    ],
)
def test_path_that_leads_out(
    entry: str, needed: str, built: tuple[str, ...], expected: list[tuple[str, str]]
) -> None:
    findings = check(pack(native(needed=(needed,), runpath=(entry,))), built=built)
    assert [(one.code, one.severity) for one in findings] == expected
    if expected:
        assert (entry or "(the current folder)") in findings[-1].cause


@pytest.mark.parametrize(
    ("entry", "kind", "path"),
    [
        ("$ORIGIN", "inside", "a/b"),
        ("$ORIGIN/../c/.", "inside", "a/c"),
        ("$ORIGIN/../..", "inside", ""),
        ("$ORIGIN/../../..", "outside", ""),
        ("$ORIGINAL", "relative", ""),
        ("/x/$ORIGIN", "absolute", ""),
        ("lib", "relative", ""),
    ],
)
def test_expansion(entry: str, kind: str, path: str) -> None:
    (folder,) = loader.expand(entry, origin="a/b/x.so")
    assert (folder.kind, folder.path) == (kind, path)
