"""EB2xx: RECORDs, requirements, extras and imports that fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bundler.bundle import tree
from bundler.checks import installed
from bundler.checks.imports.evidence import ImportEvidence, ImportFailure
from bundler.checks.rules import incomplete, leaks

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
    findings = list(incomplete.records(rows, scanned.files))
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
    "record", ["", "\0", "a\n" * 5, '"' + "x" * 200_000, "a,sha256=!,x\n", "a,md5=00,-1\n"]
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
    assert [one.subject for one in found] == ([f"requests[{extra}]"] if remedy else [])


def test_imports() -> None:
    locked_ = lock(locked("alpha"), locked("beta", required_by=("alpha",)))
    known = {"alpha": facts("alpha", modules=["alpha"]), "beta": facts("beta", modules=["ns.beta"])}
    assert list(incomplete.imports(ImportEvidence(modules=("alpha", "ns.beta")), locked_, known)) == []
    failures = [
        ImportFailure(module="ns.beta", exception="ModuleNotFoundError", missing="pkg_resources", detail="…"),
        ImportFailure(module="alpha", exception="ModuleNotFoundError", missing="ns.other", detail="…"),
    ]
    found = list(incomplete.imports(ImportEvidence(modules=(), failures=tuple(failures)), locked_, known))
    assert brief(found) == [("EB201", "ns.beta"), ("EB201", "alpha")]
    assert found[0].chain == ("alpha", "beta")
    assert "nothing in the lock brings a module 'pkg_resources': add setuptools" in found[0].remedy
    assert "beta uses it and does not require it" in found[0].remedy
    assert "nothing in the lock" not in found[1].remedy
    dead = list(
        incomplete.imports(ImportEvidence(modules=(), startup="AttributeError: IntFlag"), locked_, known)
    )
    assert brief(dead) == [("EB201", "python")]


@pytest.mark.parametrize(
    ("module", "others", "severity"),
    [
        ("mpl_toolkits.tests", ["matplotlib"], "info"),
        ("tests", ["alpha"], "info"),
        ("tests", [], "error"),
        ("alpha.testing", ["matplotlib"], "error"),
    ],
)
def test_tests_that_do_not_import(module: str, others: list[str], severity: str) -> None:
    failure = ImportFailure(module=module, exception="OSError", missing="", detail="OSError: no such file")
    known = {"alpha": facts("alpha", modules=[module, *others])}
    found = list(
        incomplete.imports(ImportEvidence(modules=(), failures=(failure,)), lock(locked("alpha")), known)
    )
    assert [(one.code, one.severity) for one in found] == [("EB201", severity)]
