"""EB2xx: RECORDs, requirements, extras and imports that fail."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bundler.bundle import tree
from bundler.checks import installed
from bundler.checks.imports.evidence import ImportEvidence, ImportFailure, Reached
from bundler.checks.rules import incomplete, leaks, records
from bundler.model import NativeFact, Obligation
from bundler.wheels.facts import LACKING, OTHER_HASH, UNHASHED, UNLISTED

from tests.support.bundlemaker import facts, lock, locked, target, unpack
from tests.support.findings import brief
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from pathlib import Path


SITE = "lib/python3.8/site-packages"


# --- RECORD ----------------------------------------------------------------------------------------


def findings_of(prefix: Path) -> list[tuple[str, str]]:
    found = installed.read(prefix / SITE)
    rows = installed.read_records(prefix, SITE, found)
    scanned = tree.scan(prefix)
    findings = list(records.of_tree(rows, scanned.files))
    findings += leaks.unowned((one.path for one in scanned.files), owned={row.path for row in rows})
    findings += leaks.odd_entries(found, site_packages=SITE, owned=set(), irregular=scanned.irregular)
    return [(code, subject.removeprefix(SITE + "/")) for code, subject in brief(findings)]


def test_records(tmp_path: Path) -> None:
    files = {
        "alpha.py": "VALUE = 1\n",
        "alpha/.hidden": "x",
        "beta.py": "",
        "gamma.py": "",
    }
    site_packages = unpack(tmp_path / "tree", make_wheel(tmp_path, "alpha", files=files))
    record = site_packages / "alpha-1.0.dist-info/RECORD"
    record.write_text(record.read_text() + '../../../bin/run,,\n"with,comma.txt",,\n')
    (site_packages / "with,comma.txt").touch()
    (tmp_path / "tree/bin").mkdir()
    (tmp_path / "tree/bin/run").touch()
    assert findings_of(tmp_path / "tree") == []
    (site_packages / "alpha.py").write_text("VALUE = 2\n")
    (site_packages / "beta.py").write_text("longer")
    (site_packages / "gamma.py").unlink()
    (site_packages / "stray.py").touch()
    (site_packages / "link.py").symlink_to("alpha.py")
    record.write_text(record.read_text() + "../../../../outside,,\n/etc/passwd,,\n")
    assert findings_of(tmp_path / "tree") == [
        ("EB203", "alpha.py"),
        ("EB203", "beta.py"),
        ("EB202", "gamma.py"),
        ("EB202", "../outside"),
        ("EB202", "/etc/passwd"),
        ("EB105", "stray.py"),
        ("EB514", "link.py"),
    ]


@pytest.mark.parametrize(
    "record",
    ["", "\0", "a\n" * 5, '"' + "x" * 200_000, "a,sha256=!,x\n", "a,md5=00,-1\n", f"a,,{'9' * 5000}\n"],
)
def test_hostile_record_is_only_wrong(tmp_path: Path, record: str) -> None:
    unpack(tmp_path / "tree", make_wheel(tmp_path, "alpha", record=record))
    assert {code for code, _ in findings_of(tmp_path / "tree")} <= {"EB105", "EB202", "EB203"}
    assert findings_of(tmp_path / "tree")


def test_path_with_two_owners_must_fit_one(tmp_path: Path) -> None:
    wheels = [
        make_wheel(tmp_path, name, files={"ns/__init__.py": text}) for name, text in (("a", "1"), ("b", "22"))
    ]
    unpack(tmp_path / "tree", *wheels)
    assert findings_of(tmp_path / "tree") == []


# --- complete --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requires", "extras", "others", "expected"),
    [
        (["beta>=1"], (), {"beta": "1.0"}, ""),
        (["Be_ta>=1"], (), {"be-ta": "1.0"}, ""),
        (["beta>=1"], (), {}, "alpha requires beta>=1, which is not in the bundle"),
        (["beta>=2"], (), {"beta": "1.0"}, "alpha requires beta>=2, the bundle has 1.0"),
        (["beta>=2"], (), {"beta": "2.0rc1"}, "alpha requires beta>=2, the bundle has 2.0rc1"),
        (["beta>=1"], (), {"beta": "2.0rc1"}, ""),
        (["beta==1.0"], (), {"beta": "1.0+cpu"}, ""),
        (["beta; python_version < '3.8'"], (), {}, ""),
        (["beta; python_version == '3.8'"], (), {}, "alpha requires beta, which is not in the bundle"),
        (["beta; sys_platform == 'win32'"], (), {}, ""),
        (["beta; extra == 'more'"], (), {}, ""),
        (["beta; extra == 'more'"], ("more",), {}, "alpha[more] requires beta, which is not in the bundle"),
        (
            ["beta; extra == 'So_Much'"],
            ("so.much",),
            {},
            "alpha[so-much] requires beta, which is not in the bundle",
        ),
        (["beta; extra == 'more' and python_version < '3'"], ("more",), {}, ""),
        (["beta @ https://host.example/beta.zip"], (), {"beta": "0"}, ""),
        (["this is not valid", "beta >= "], (), {}, ""),
    ],
)
def test_closure(requires: list[str], extras: tuple[str, ...], others: dict[str, str], expected: str) -> None:
    locked_ = lock(
        locked("alpha", extras=extras),
        *(locked(name, v, required_by=("alpha",)) for name, v in others.items()),
    )
    known = {
        "alpha": facts("alpha", requires=requires),
        **{name: facts(name, v) for name, v in others.items()},
    }
    assert [one.cause for one in incomplete.closure(locked_, known, target())] == (
        [expected] if expected else []
    )


def test_closure_follows_extras_of_extras() -> None:
    locked_ = lock(locked("alpha", extras=("all",)), locked("beta", required_by=("alpha",)))
    known = {
        "alpha": facts("alpha", requires=["alpha[some]; extra == 'all'", "beta[fast]; extra == 'some'"]),
        "beta": facts("beta", requires=["gamma>1; extra == 'fast'", "delta; extra == 'slow'"]),
    }
    (found,) = incomplete.closure(locked_, known, target())
    assert found.cause == "beta[fast] requires gamma>1, which is not in the bundle"
    assert found.chain == ("alpha", "beta")


@pytest.mark.parametrize(
    ("extra", "provided", "requires", "remedy"),
    [
        ("socks", ("socks",), [], None),
        ("So_Cks", ("so-cks",), [], None),
        ("old", (), ['beta; (python_version>"3") and (extra=="old")'], None),
        ("sockz", ("socks", "use-chardet-on-py3"), [], "did you mean socks?"),
        ("zzz", ("socks",), [], "it has: socks"),
        ("zzz", (), [], "it has no extras at all: ask for it without"),
    ],
)
def test_unknown_extra(
    extra: str, provided: tuple[str, ...], requires: list[str], remedy: str | None
) -> None:
    known = {"requests": facts("requests", "2.28.2", extras=provided, requires=requires)}
    found = list(incomplete.extras(lock(locked("requests", "2.28.2", extras=(extra,))), known))
    assert [one.remedy for one in found] == ([remedy] if remedy else [])
    assert {one.severity for one in found} <= {"error" if extra == "sockz" else "warning"}
    assert [one.subject for one in found] == ([f"requests[{extra}]"] if remedy else [])


MAIN = Obligation(kind="main", subject="beta", modules=("ns.beta",), reason="beta is asked for")
SCRIPT = Obligation(
    kind="script", subject="beta", modules=("ns.beta.cli",), reason="the script beta starts there"
)
HELPER = replace(SCRIPT, optional=True)
SERVICE = Obligation(
    kind="service",
    subject="score.py",
    modules=("ns.beta", "ns.beta:thing"),
    reason="the service's own code imports it",
    places=("score.py:3", "score.py:9"),
)


BETA = {"beta": facts("beta", modules=["ns.beta"])}


def failed(module: str, last: str, *, missing: str = "") -> ImportFailure:
    return ImportFailure(
        module=module, exception=last.partition(":")[0], missing=missing, detail=f"File x\n{last}"
    )


UNKNOWN = ("ModuleNotFoundError: No module named 'matplotlib'", "matplotlib")
BROKEN = ("ImportError: cannot import name 'escape' from 'jinja2'", "")
LIBRARY = ("OSError: libfuse.so.2: cannot open shared object file: No such file or directory", "")


@pytest.mark.parametrize(
    ("last", "missing", "main", "helper", "unreached"),
    [
        (*UNKNOWN, "error", "info", "info"),
        (*BROKEN, "error", "warning", "warning"),
        (*LIBRARY, "error", "info", "info"),
        ("ModuleNotFoundError: No module named 'ns.gone'", "ns.gone", "error", "warning", "warning"),
        ("AttributeError: module 'numpy' has no attribute 'bool'", "", "error", "warning", "warning"),
        ("OSError: Unable to find libfuse", "", "error", "info", "info"),
        ("OSError: Unable to find libquux", "", "error", "warning", "info"),
        ("ImproperlyConfigured: settings are not configured", "", "info", "info", "info"),
        ("KeyError: 'DISPLAY'", "", "info", "info", "info"),
        ("ImportError: this platform is not supported: failed to acquire X", "", "info", "info", "info"),
        ('DisplayNameError: Bad display name ""', "", "info", "info", "info"),
        ("ImportError: libcuda.so.1: cannot open shared object file", "", "info", "info", "info"),
    ],
)
def test_how_far_a_failure_reaches(last: str, missing: str, main: str, helper: str, unreached: str) -> None:
    locked_ = lock(locked("alpha"), locked("beta"))
    known = {"alpha": facts("alpha", modules=["alpha"]), "beta": facts("beta", modules=["ns.beta"])}
    failure = failed("ns.beta", last, missing=missing)
    for evidence, severity in (
        (ImportEvidence(modules=(), reached=(Reached(obligation=MAIN, failures=(failure,)),)), main),
        (ImportEvidence(modules=(), reached=(Reached(obligation=HELPER, failures=(failure,)),)), helper),
        (ImportEvidence(modules=(), failures=(failure,)), unreached),
    ):
        found = list(incomplete.imports(evidence, locked_, known))
        assert [one.severity for one in found] == [severity]


@pytest.mark.parametrize(
    ("by", "last", "severity"),
    [
        (SCRIPT, "MissingOptionalDependenciesError: install it with `pip install 'beta[cli]'`", "info"),
        (SCRIPT, "MissingOptionalDependenciesError", "info"),
        (MAIN, "MissingOptionalDependenciesError: install it with `pip install 'beta[cli]'`", "error"),
        (SCRIPT, "RuntimeError: install it with `pip install 'other[gui]'`", "error"),
        # evaluate: its only script is for evaluate[template].
        (SCRIPT, "ModuleNotFoundError: No module named 'cookiecutter'", "info"),
        (MAIN, "ModuleNotFoundError: No module named 'cookiecutter'", "error"),
        (SCRIPT, "ModuleNotFoundError: No module named 'click'", "error"),
        (SCRIPT, "ModuleNotFoundError: No module named 'other'", "error"),
    ],
)
def test_a_script_that_asks_for_an_extra(by: Obligation, last: str, severity: str) -> None:
    missing = last.split("'")[1] if last.startswith("Module") else ""
    failure = failed("ns.beta", last, missing=missing)
    evidence = ImportEvidence(modules=(), reached=(Reached(obligation=by, failures=(failure,)),))
    requires = ["cookiecutter; extra == 'cli'", "click"]
    known = {"beta": facts("beta", modules=["ns.beta"], extras=["cli"], requires=requires)}
    (found,) = incomplete.imports(evidence, lock(locked("beta")), known)
    assert found.severity == severity


@pytest.mark.parametrize(
    ("native", "missing", "severity"),
    [
        (NativeFact(path="bin/uwsgi", program=True), "uwsgi", "info"),
        (NativeFact(path="bin/uwsgi", program=True), "other", "error"),
        (NativeFact(path="bin/uwsgi"), "uwsgi", "error"),
        (NativeFact(path="lib/uwsgi", program=True), "uwsgi", "error"),
    ],
)
def test_a_module_inside_of_a_program(native: NativeFact, missing: str, severity: str) -> None:
    main = Obligation(kind="main", subject="uwsgi", modules=("uwsgidecorators",), reason="uwsgi is asked for")
    failure = failed("uwsgidecorators", f"ModuleNotFoundError: No module named {missing!r}", missing=missing)
    evidence = ImportEvidence(modules=(), reached=(Reached(obligation=main, failures=(failure,)),))
    known = {"uwsgi": replace(facts("uwsgi", modules=["uwsgidecorators"]), native=(native,))}
    (found,) = incomplete.imports(evidence, lock(locked("uwsgi")), known)
    assert found.severity == severity


@pytest.mark.parametrize(
    ("by", "where", "last", "severity"),
    [
        (SCRIPT, 'argparse.py", line 2521, in error', "SystemExit: 2", "info"),
        (SCRIPT, 'argparse.py", line 2521, in error', "KeyError: 2", "error"),
        (SCRIPT, 'beta.py", line 2, in error', "SystemExit: 2", "error"),
        (MAIN, 'argparse.py", line 2521, in error', "SystemExit: 2", "error"),
    ],
)
def test_a_program_that_reads_its_command_line(by: Obligation, where: str, last: str, severity: str) -> None:
    """pint-convert parses its arguments at its top: the import ends there, the program runs."""
    failure = replace(failed("ns.beta", last), detail=f'File "lib/python3.8/{where}\n  x()\n{last}')
    evidence = ImportEvidence(modules=(), reached=(Reached(obligation=by, failures=(failure,)),))
    assert [one.severity for one in incomplete.imports(evidence, lock(locked("beta")), BETA)] == [severity]


BELOW = Obligation(
    kind="main",
    subject="beta",
    modules=("ns.beta.one", "ns.beta.two", "ns.beta.three"),
    reason="beta is asked for, whose empty package ns.beta is of use only for what is below",
    optional=True,
)
UNSET = ("ImproperlyConfigured: settings are not configured", "")


@pytest.mark.parametrize(
    ("lasts", "expected"),
    [
        ([], []),
        ([UNKNOWN], ["info"]),
        ([BROKEN], ["warning"]),
        ([UNKNOWN, BROKEN], ["error", "error"]),
        ([BROKEN, BROKEN], ["error"]),
        ([UNKNOWN, UNSET], ["info", "info"]),
        ([UNSET, UNSET, UNSET], ["info"]),
    ],
)
def test_what_is_below_an_empty_package(lasts: list[tuple[str, str]], expected: list[str]) -> None:
    """Wand's modules need MagickWand, tritonclient's two of three an extra: nobody can use the rest."""
    failures = tuple(
        failed(module, last, missing=missing)
        for module, (last, missing) in zip(BELOW.modules, lasts, strict=False)
    )
    evidence = ImportEvidence(modules=(), reached=(Reached(obligation=BELOW, failures=failures),))
    found = list(incomplete.imports(evidence, lock(locked("beta")), BETA))
    assert [one.severity for one in found] == expected
    for one in found:
        if one.severity == "error":
            assert one.cause.startswith(f"{BELOW.reason}, and most of that does not import:")


@pytest.mark.parametrize(
    ("lasts", "expected"),
    [
        ([BROKEN], ["error"]),
        ([UNKNOWN], ["info"]),
        ([UNSET], ["info"]),
        ([("ImportError: MLflow's basic auth app requires Flask-WTF", "")], ["info"]),
        ([BROKEN, BROKEN, None], ["error"]),
        ([BROKEN, None], ["warning"]),
    ],
)
def test_what_others_load_by_entry_points(lasts: list[tuple[str, str] | None], expected: list[str]) -> None:
    """opentelemetry-exporter-otlp 1.11 with protobuf 5: no exporter loads, its empty package does."""
    modules = tuple(f"ns.beta:Part{number}" for number in range(len(lasts)))
    by = replace(HELPER, modules=modules)
    told = zip(modules, lasts, strict=True)
    failures = tuple(failed(module, last[0], missing=last[1]) for module, last in told if last)
    reached = Reached(obligation=by, failures=failures)
    evidence = ImportEvidence(modules=(), reached=(reached,))
    found = list(incomplete.imports(evidence, lock(locked("beta")), BETA))
    assert [one.severity for one in found] == expected


@pytest.mark.parametrize(
    ("modules", "severity"), [(("beta", "beta_checks"), "info"), (("beta_checks",), "error")]
)
def test_a_module_beside_others_that_lacks_a_test_tool(modules: tuple[str, ...], severity: str) -> None:
    failure = failed("beta_checks", "ModuleNotFoundError: No module named 'pytest'", missing="pytest")
    reached = Reached(obligation=replace(MAIN, modules=modules), failures=(failure,))
    evidence = ImportEvidence(modules=(), reached=(reached,))
    (found,) = incomplete.imports(evidence, lock(locked("beta")), BETA)
    assert found.severity == severity


@pytest.mark.parametrize(
    ("last", "remedy"),
    [
        ("RuntimeError: no http support. Specify 'http' or 'all'", "ask for beta[http], as its message says"),
        (
            "ImportError: re-install beta with `pip install beta[http]`",
            "ask for beta[http], as its message says",
        ),
        ("RuntimeError: no http support", "See the last lines of the traceback"),
    ],
)
def test_an_extra_that_the_message_names(last: str, remedy: str) -> None:
    evidence = ImportEvidence(
        modules=(), reached=(Reached(obligation=MAIN, failures=(failed("ns.beta", last),)),)
    )
    known = {"beta": replace(BETA["beta"], extras=("cuda", "http"))}
    (found,) = incomplete.imports(evidence, lock(locked("beta")), known)
    assert found.remedy.startswith(remedy)


@pytest.mark.parametrize(
    ("module", "last", "missing", "remedy"),
    [
        ("ns.beta", "OSError: protocol not found", "", "install netbase in the image"),
        ("ns.beta", "OSError: protocol not supported", "", "See the last lines of the traceback"),
        ("ns.storage:Client", "No module named 'ns.storage'", "ns.storage", "such as ns-storage"),
        ("ns.x:storage", "No module named 'ns.x'", "ns.x", "such as ns-x-storage"),
        ("ns.beta:Part", "No module named 'ns.gone'", "ns.gone", "such as ns-gone"),
        ("ns:storage", "cannot import name 'storage' from 'ns'", "", "such as ns-storage"),
        ("ns.beta:x", "cannot import name 'x' from 'ns.beta'", "", "See the last lines of the traceback"),
        # What beta itself lost is no other distribution's.
        ("ns.beta", "No module named 'ns.beta.gone'", "ns.beta.gone", "See the last lines of the traceback"),
    ],
)
def test_what_to_do_about_a_failure(module: str, last: str, missing: str, remedy: str) -> None:
    by = replace(SERVICE, modules=(module,))
    failure = failed(module, last, missing=missing)
    evidence = ImportEvidence(modules=(), reached=(Reached(obligation=by, failures=(failure,)),))
    (found,) = incomplete.imports(evidence, lock(locked("beta")), BETA)
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("modules", "last", "missing", "severity"),
    [
        (("ns.a", "ns.b", "ns.obsolete"), "No module named 'pkg_resources'", "pkg_resources", "info"),
        (("ns.a", "ns.obsolete"), "No module named 'pkg_resources'", "pkg_resources", "error"),
        (("ns.a", "ns.b", "ns.obsolete"), "No module named 'ns.gone'", "ns.gone", "error"),
        (("ns.a", "ns.b", "ns.obsolete"), "cannot import name 'x' from 'y'", "", "error"),
        (("ns.obsolete",), "No module named 'pkg_resources'", "pkg_resources", "error"),
    ],
)
def test_a_module_aside_of_those_of_use(
    modules: tuple[str, ...], last: str, missing: str, severity: str
) -> None:
    failure = failed("ns.obsolete", last, missing=missing)
    by = replace(MAIN, modules=modules)
    evidence = ImportEvidence(modules=(), reached=(Reached(obligation=by, failures=(failure,)),))
    known = {"beta": facts("beta", modules=[*modules])}
    (found,) = incomplete.imports(evidence, lock(locked("beta")), known)
    assert found.severity == severity


def test_what_fails_behind_settings_is_told() -> None:
    unset = failed("ns.beta", "ImproperlyConfigured: settings are not configured")
    old = replace(unset, module="ns.old", behind="File y\nImportError: cannot import name 'force_text'")
    reached = [
        Reached(obligation=replace(MAIN, modules=(one.module,)), failures=(one,)) for one in (unset, old)
    ]
    evidence = ImportEvidence(modules=(), reached=tuple(reached))
    found = list(incomplete.imports(evidence, lock(locked("beta")), BETA))
    assert [one.severity for one in found] == ["info", "warning"]
    assert found[1].cause.endswith("ends with:\nFile y\nImportError: cannot import name 'force_text'")


def test_a_failure_says_who_reaches_it_and_is_told_once() -> None:
    last = "ImportError: cannot import name 'a' from 'b'"
    evidence = ImportEvidence(
        modules=(),
        reached=(
            Reached(obligation=MAIN, failures=(failed("ns.beta", last),)),
            Reached(obligation=SCRIPT, failures=(failed("ns.beta.cli", last),)),
        ),
        failures=(failed("ns.more", last),),
    )
    (found,) = incomplete.imports(
        evidence, lock(locked("beta")), {"beta": facts("beta", modules=["ns.beta"])}
    )
    assert found.cause.startswith("beta is asked for, and does not import:\nFile x\nImportError")
    assert found.cause.endswith("the same stops: the script beta starts there; ns.more")


@pytest.mark.parametrize("by", [HELPER, replace(MAIN, modules=("ns.beta", "ns.old", "ns.older"))])
def test_what_one_can_do_without_may_stop_another(by: Obligation) -> None:
    """google.cloud.obsolete lacks setuptools, beside modules that do without; another root cannot."""
    failure = failed(
        "ns.old", "ModuleNotFoundError: No module named 'pkg_resources'", missing="pkg_resources"
    )
    other = replace(MAIN, subject="omega", modules=("omega",), reason="omega is asked for")
    rows = [Reached(obligation=by, failures=(failure,))]
    known = {**BETA, "omega": facts("omega", modules=["omega"])}
    locked_ = lock(locked("beta"), locked("omega"))
    (mild,) = incomplete.imports(ImportEvidence(modules=(), reached=tuple(rows)), locked_, known)
    rows.append(Reached(obligation=other, failures=(replace(failure, module="omega"),)))
    (found,) = incomplete.imports(ImportEvidence(modules=(), reached=tuple(rows)), locked_, known)
    assert (mild.severity, found.severity, found.subject) == ("info", "error", "omega")
    assert found.cause.endswith(f"the same stops: {by.reason}")


def test_a_broken_distribution_that_a_root_imports_later() -> None:
    """mlflow 1.14 with Jinja2 3.1: Flask fails, which `mlflow server` imports, and an extension of Flask."""
    last = "ImportError: cannot import name 'escape' from 'jinja2'"
    detail = f"File flask_ext\nFile flask\n{last}"
    failures = (
        replace(failed("exporter", last), detail=detail),
        failed("flask", last),
        failed("odd", *UNKNOWN[:1], missing=UNKNOWN[1]),
    )
    mlflow = facts("mlflow", modules=["mlflow"])
    server = (("flask", f"{SITE}/mlflow/server/__init__.py"),)
    known = {name: facts(name, modules=[name]) for name in ("exporter", "flask", "odd")}
    locked_ = lock(locked("mlflow"), *(locked(name, required_by=("mlflow",)) for name in known))
    for imports, words in (
        (server, "imports it yet, but mlflow does, in mlflow/server/__init__.py; by"),
        ((), "imports it; by"),
    ):
        told = {"mlflow": replace(mlflow, imports=imports), **known}
        found = list(incomplete.imports(ImportEvidence(modules=(), failures=failures), locked_, told))
        assert [(one.subject, one.severity) for one in found] == [("flask", "warning"), ("odd", "info")]
        assert found[0].cause.startswith(f"nothing that was asked for {words} itself it fails:\nFile x")
        assert found[0].cause.endswith("the same stops: exporter")


def test_the_services_own_import_is_named_by_file_and_line() -> None:
    failure = failed("ns.beta:thing", "ImportError: cannot import name 'thing' from 'ns.beta'")
    evidence = ImportEvidence(modules=(), reached=(Reached(obligation=SERVICE, failures=(failure,)),))
    (found,) = incomplete.imports(
        evidence, lock(locked("beta")), {"beta": facts("beta", modules=["ns.beta"])}
    )
    assert (found.severity, found.chain) == ("error", ("beta",))
    assert found.cause.startswith("score.py:9 imports it, and it does not import:")


def test_what_an_assumed_library_would_bring_is_left_to_the_image() -> None:
    evidence = ImportEvidence(
        modules=(), reached=(Reached(obligation=MAIN, failures=(failed("ns.beta", LIBRARY[0]),)),)
    )
    known = {"beta": facts("beta", modules=["ns.beta"])}
    assumed = ["libfuse.so.2"]
    (found,) = incomplete.imports(evidence, lock(locked("beta")), known, assumed=assumed)
    assert found.severity == "warning"
    assert "not proved here" in found.remedy
    assert incomplete.unproved(evidence, assumed) == ("ns.beta",)
    assert incomplete.unproved(evidence, ["libother.so.1"]) == ()


def test_imports() -> None:
    locked_ = lock(locked("alpha"), locked("beta", required_by=("alpha",)))
    known = {"alpha": facts("alpha", modules=["alpha"]), "beta": facts("beta", modules=["ns.beta"])}
    assert list(incomplete.imports(ImportEvidence(modules=("alpha", "ns.beta")), locked_, known)) == []
    failures = [
        ImportFailure(module="ns.beta", exception="ModuleNotFoundError", missing="pkg_resources", detail="…"),
        ImportFailure(module="alpha", exception="ModuleNotFoundError", missing="ns.other", detail="..."),
    ]
    reached = (Reached(obligation=MAIN, failures=(failures[0],)), Reached(obligation=SCRIPT))
    evidence = ImportEvidence(modules=(), failures=(failures[1],), reached=reached)
    found = list(incomplete.imports(evidence, locked_, known))
    assert [(one.subject, one.severity) for one in found] == [("ns.beta", "error"), ("alpha", "warning")]
    assert found[0].chain == ("alpha", "beta")
    assert "nothing in the lock brings a module 'pkg_resources': add setuptools" in found[0].remedy
    assert "beta uses it and does not require it" in found[0].remedy
    assert "such as ns-other" in found[1].remedy
    dead = list(
        incomplete.imports(ImportEvidence(modules=(), startup="AttributeError: IntFlag"), locked_, known)
    )
    assert brief(dead) == [("EB201", "python")]


@pytest.mark.parametrize(
    ("module", "others", "severity"),
    [
        ("mpl_toolkits.tests", ["matplotlib"], "info"),
        ("tests", ["alpha"], "info"),
        ("tests", [], "warning"),
        ("alpha.testing", ["matplotlib"], "warning"),
    ],
)
def test_tests_that_do_not_import(module: str, others: list[str], severity: str) -> None:
    failure = ImportFailure(module=module, exception="NameError", missing="", detail="NameError: x")
    known = {"alpha": facts("alpha", modules=[module, *others])}
    found = list(
        incomplete.imports(ImportEvidence(modules=(), failures=(failure,)), lock(locked("alpha")), known)
    )
    assert [(one.code, one.severity) for one in found] == [("EB201", severity)]


@pytest.mark.parametrize(
    ("exception", "detail", "option"),
    [
        ("MemoryError", "MemoryError", "--memory-limit"),
        ("numpy.core._exceptions._ArrayMemoryError", "Unable to allocate 8 GiB", "--memory-limit"),
        ("", "terminate called: std::bad_alloc\nkilled the interpreter: SIGABRT", "--memory-limit"),
        ("RuntimeError", "RuntimeError: can't start new thread", "--process-limit"),
        ("", "did not end within 300 seconds", "--import-timeout"),
        ("ValueError", "  except MemoryError:\nValueError: no", None),
        ("ValueError", "ValueError: it did not end within 300 seconds", None),
    ],
)
def test_the_remedy_of_a_limit_names_its_option(exception: str, detail: str, option: str | None) -> None:
    failure = ImportFailure(module="alpha", exception=exception, missing="", detail=detail)
    evidence = ImportEvidence(modules=(), failures=(failure,))
    (found,) = incomplete.imports(evidence, lock(locked("alpha")), {"alpha": facts("alpha")})
    assert [
        one for one in ("--memory-limit", "--process-limit", "--import-timeout") if one in found.remedy
    ] == ([option] if option else [])


# --- RECORD of a wheel -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("misrecorded", "severity", "words"),
    [
        ([], None, ""),
        ([("torch-1.0.dist-info/METADATA", OTHER_HASH)], "warning", "METADATA has another hash"),
        ([("torch-1.0.dist-info/LICENSE", LACKING)], "warning", "LICENSE stands in RECORD, and the archive"),
        ([("torch/new.py", UNLISTED)], "warning", "torch/new.py is not in RECORD"),
        ([("torch/new.py", UNHASHED)], "warning", "torch/new.py has no hash"),
        ([("torch.libs/libgomp-a34b.so.1", OTHER_HASH)], "warning", "libgomp-a34b.so.1 has another hash"),
        ([("torch.libs/libgomp-a34b.so.1", LACKING)], "error", "libgomp-a34b.so.1 stands in RECORD"),
        ([("torch.libs/start.py", OTHER_HASH)], "error", "start.py has another hash"),
        ([("torch/_C.so", OTHER_HASH)], "error", "_C.so has another hash"),
        ([("torch/gone.py", LACKING)], "error", "torch/gone.py stands in RECORD, and the archive lacks it"),
        (
            [(f"torch/{one}.py", OTHER_HASH) for one in "abcd"],
            "error",
            "torch/c.py has another hash than RECORD",
        ),
    ],
)
def test_record_that_is_wrong_upstream(
    misrecorded: list[tuple[str, str]], severity: str | None, words: str
) -> None:
    known = {"torch": replace(facts("torch"), misrecorded=tuple(misrecorded))}
    found = list(records.of_wheels(lock(locked("torch")), known))
    assert [(one.code, one.subject, one.severity) for one in found] == (
        [("EB207", "torch", severity)] if severity else []
    )
    for one in found:
        assert words in one.cause
        assert one.cause.endswith(" …") == (len(misrecorded) > 3)
