"""The checks: each with what it must find and what it must leave alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from bundler.bundle import tree
from bundler.checks import installed
from bundler.checks.imports import evidence
from bundler.checks.imports.evidence import CodeOrigins, Elsewhere, ImportEvidence, ImportFailure
from bundler.checks.installed import ObservedDistribution
from bundler.checks.rules import codes, conflicts, incomplete, leaks

from tests.support.bundlemaker import facts, lock, locked, target, unpack
from tests.support.wheelmaker import make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from bundler.model import Finding

SITE = "lib/python3.8/site-packages"


def brief(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    found = list(findings)
    assert all(one.cause and one.remedy and one.code in codes.CODES for one in found)
    return [(one.code, one.subject) for one in found]


# --- observed -------------------------------------------------------------------------------------


def dist_info(folder: Path, entry: str, metadata: str | None) -> None:
    (folder / entry).mkdir(parents=True)
    if metadata is not None:
        (folder / entry / "METADATA").write_text(metadata, encoding="utf-8")


def head(name: str, version: str) -> str:
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nName: not-this\n"


@pytest.mark.parametrize(
    ("entry", "metadata", "expected", "reason"),
    [
        ("Odd.Name_x-1.0.dist-info", head("Odd.Name_x", "1.0.0"), ("odd-name-x", "1.0.0"), ""),
        ("alpha-1.0+cu113.dist-info", head("alpha", "1.0+cu113"), ("alpha", "1.0+cu113"), ""),
        ("alpha-1.0_1.dist-info", head("alpha", "1.0-1"), ("alpha", "1.0-1"), ""),
        ("alpha-1.0.dist-info", "name : x\r\nNAME: alpha\r\nVERSION: 1.0\r\n", ("alpha", "1.0"), ""),
        ("badver-1.0_foo.dist-info", head("badver", "1.0-foo"), ("badver", "1.0-foo"), ""),
        ("argparse-1.4.dist-info", head("argparse", "1.4"), ("argparse", "1.4"), ""),
        ("mismatch-1.0.dist-info", head("other", "9.9"), ("other", "9.9"), "its METADATA says other 9.9"),
        ("alpha-1.0.dist-info", head("alpha", "2.0"), ("alpha", "2.0"), "its METADATA says alpha 2.0"),
        ("nometa-1.0.dist-info", None, ("nometa", "1.0"), "has no METADATA that could be read"),
        ("empty-1.0.dist-info", "", ("empty", "1.0"), "its METADATA names no distribution or no version"),
        ("nodash.dist-info", None, ("nodash", ""), "has no METADATA that could be read"),
    ],
)
def test_reader_of_dist_info(
    tmp_path: Path, entry: str, metadata: str | None, expected: tuple[str, str], reason: str
) -> None:
    dist_info(tmp_path, entry, metadata)
    found = installed.read(tmp_path)
    assert [(one.name, one.version) for one in found.distributions] == [expected]
    assert [one.reason for one in found.odd] == ([reason] if reason else [])


def test_reader_of_odd_entries(tmp_path: Path) -> None:
    dist_info(tmp_path, "twice-1.0.dist-info", head("twice", "1.0"))
    dist_info(tmp_path, "Twice-2.0.dist-info", head("Twice", "2.0"))
    for name in ("a.egg-link", "b.egg-info", "c.egg", "~roken", "d.pth", "__editable__.e-1.pth", "module.py"):
        (tmp_path / name).touch()
    (tmp_path / "linked-1.0.dist-info").symlink_to(tmp_path / "twice-1.0.dist-info")
    (tmp_path / "file-1.0.dist-info").touch()
    dist_info(tmp_path, "pipe-1.0.dist-info", None)
    (tmp_path / "pipe-1.0.dist-info/METADATA").symlink_to("/etc/passwd")
    found = installed.read(tmp_path)
    assert [(one.entry, one.kind) for one in found.odd] == [
        ("a.egg-link", "egg-link"),
        ("b.egg-info", "egg-info"),
        ("c.egg", "egg"),
        ("file-1.0.dist-info", "metadata"),
        ("linked-1.0.dist-info", "metadata"),
        ("pipe-1.0.dist-info", "metadata"),
        ("~roken", "leftover"),
        ("twice-1.0.dist-info", "metadata"),
    ]
    assert found.pth == ("__editable__.e-1.pth", "d.pth")
    assert brief(leaks.odd_entries(found, site_packages=SITE, owned={f"{SITE}/b.egg-info/PKG-INFO"})) == [
        ("EB106", "a.egg-link"),
        ("EB106", "c.egg"),
        ("EB107", "file-1.0.dist-info"),
        ("EB107", "linked-1.0.dist-info"),
        ("EB107", "pipe-1.0.dist-info"),
        ("EB106", "~roken"),
        ("EB107", "twice-1.0.dist-info"),
    ]


# --- leaks ----------------------------------------------------------------------------------------

LOCK = lock(locked("alpha"), locked("argparse", "1.4", required_by=("alpha",)), locked("odd-name", "1.0"))
SOUND = ["alpha==1.0", "# a comment", "", "Odd.Name @ file:///x/odd.whl#sha256=00"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (SOUND, []),
        (["alpha===1.0.0", "odd_name==1.0"], []),
        (["odd-name==1.0"], [("EB101", "alpha")]),
        (["alpha==2.0", "odd-name==1.0"], [("EB103", "alpha")]),
        ([*SOUND, "pip==24.0"], [("EB102", "pip")]),
        ([*SOUND, "# Editable install (ed==1.0)", "-e /home/me/ed"], [("EB106", "-e /home/me/ed")]),
        (["alpha==1.0+cpu", "odd-name==1.0"], [("EB103", "alpha")]),
    ],
)
def test_freeze_against_lock(lines: list[str], expected: list[tuple[str, str]]) -> None:
    assert brief(leaks.freeze(LOCK, lines)) == expected


def test_reader_against_lock_hides_nothing() -> None:
    seen = [("alpha", "1.0.0"), ("odd-name", "1.1"), ("extra", "3")]
    found = installed.Observed(
        distributions=tuple(ObservedDistribution(name=name, version=v, dist_info="x") for name, v in seen)
    )
    findings = list(leaks.installed(LOCK, found))
    assert brief(findings) == [("EB101", "argparse"), ("EB103", "odd-name"), ("EB102", "extra")]
    assert findings[0].chain == ("alpha", "argparse")


def test_baseline() -> None:
    assert list(leaks.baseline(["", "# nothing"])) == []
    assert brief(leaks.baseline(["pip==24.0"])) == [("EB104", "pip==24.0")]


def test_elsewhere() -> None:
    assert list(leaks.loaded_elsewhere(())) == []
    found = list(leaks.loaded_elsewhere([Elsewhere(kind="module", name="yaml", path="/opt/yaml.py")]))
    assert brief(found) == [("EB110", "yaml")]
    assert "/opt/yaml.py" in found[0].cause


# --- RECORD ---------------------------------------------------------------------------------------


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


# --- complete -------------------------------------------------------------------------------------


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


# --- conflicts ------------------------------------------------------------------------------------

EXTEND = b"__path__ = __import__('pkgutil').extend_path(__path__, __name__)"


@pytest.mark.parametrize(
    ("path", "contents", "severity"),
    [
        (f"{SITE}/cv2/__init__.py", (b"1", b"2"), "error"),
        (f"{SITE}/cv2/cv2.so", (b"\0\n", b"\0"), "error"),
        (f"{SITE}/shared.py", (b"1", b"2"), "error"),
        ("bin/tool", (b"1", b"2"), "error"),
        ("lib/libx.so", (b"1\0", b"2\0"), "error"),
        (f"{SITE}/pkg/data.json", (b"1", b"2"), "error"),
        (f"{SITE}/opencensus/__init__.py", (EXTEND + b"\r\n", EXTEND + b"\n"), None),
        (f"{SITE}/opencensus/__pycache__/__init__.cpython-38.pyc", (b"1", b"2"), None),
        (f"{SITE}/tests/__init__.py", (b"1", b"2"), "info"),
        (f"{SITE}/LICENSE", (b"1", b"2"), "info"),
        ("share/doc/README", (b"1", b"2"), "info"),
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


def test_same_content_is_no_conflict() -> None:
    known = {name: facts(name, files={"lib/x.py": "a", f"lib/{name}.py": name}) for name in ("alpha", "beta")}
    assert (
        list(conflicts.shared_paths(lock(locked("alpha")), known, site_packages=SITE, read=lambda *_: b""))
        == []
    )


# --- the judge of origins -------------------------------------------------------------------------

ORIGINS = CodeOrigins(
    bundle="/tmp/p/mount",
    stdlib=("/opt/py/lib/python3.8", "/opt/py/lib/python3.8/lib-dynload", "/opt/py/lib/python38.zip"),
    own=frozenset({"/home/linuxbrew/lib/libssl.so.3"}),
    executable="/opt/py/bin/python3.8",
)


@pytest.mark.parametrize(
    ("path", "place"),
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
    ],
)
def test_judge(path: str, place: str) -> None:
    assert ORIGINS.of_shared_object(path) == place


def test_sonames() -> None:
    paths = [
        "libgomp.so.1.0.0",
        "libstdc++.so.6.0.30",
        "libc.so.6",
        "libc-2.31.so",
        "ld-linux-x86-64.so.2",
        "libpthread.so.0",
    ]
    paths += ["libnss_files.so.2", "libcrypto.so.1.1", "libGL.so.1.7.0", "libmvec.so.1"]
    assert evidence.sonames(f"/usr/lib/{name}" for name in paths) == (
        "libGL.so.1",
        "libcrypto.so.1",
        "libgomp.so.1",
        "libstdc++.so.6",
    )


# --- codes ----------------------------------------------------------------------------------------


def test_codes_are_in_order_and_every_check_names_its_own() -> None:
    assert list(codes.CODES) == sorted(codes.CODES)
    assert set(leaks.CODES + incomplete.CODES + conflicts.CODES) <= set(codes.CODES)


def test_outcomes() -> None:
    findings = [
        codes.finding("EB101", subject="x", cause="y"),
        codes.finding("EB401", subject="x", cause="y", severity="info"),
        codes.finding("EB105", subject="x", cause="y", severity="warning"),
    ]
    found = codes.outcomes(["EB102", "EB401", "EB101", "EB105"], findings)
    assert [(one.code, one.outcome) for one in found] == [
        ("EB101", "failed"),
        ("EB102", "passed"),
        ("EB105", "warned"),
        ("EB401", "passed"),
    ]
