"""EB5xx: what the mount or the upload loses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bundler.bundle import tree
from bundler.checks.rules import lost
from bundler.checks.rules.lost import IgnoreFile
from bundler.model import FileFact, StartupFact

from tests.support.bundlemaker import facts, lock, locked
from tests.support.findings import brief

if TYPE_CHECKING:
    from pathlib import Path

SITE = "lib/python3.8/site-packages"
NSPKG = (
    "import sys, types, os;has_mfs = sys.version_info > (3, 5);p = os.path.join(sys._getframe(1).f_locals"
    "['sitedir'], *('google',));importlib = has_mfs and __import__('importlib.util');m = m or "
    "sys.modules.setdefault('google', types.ModuleType('google'));mp = (m or []) and m.__dict__.setdefault"
    "('__path__',[]);(p not in mp) and mp.append(p)"
)
OLD_NSPKG = NSPKG.replace(
    "import sys, types, os;has_mfs = sys.version_info > (3, 5);", "import sys,types,os; "
)


@pytest.mark.parametrize(
    ("name", "lines", "severity"),
    [
        ("protobuf-3.20.1-py3.8-nspkg.pth", [NSPKG], ""),
        ("zope.interface-4.0-py2.7-nspkg.pth", [OLD_NSPKG], ""),
        ("distutils-precedence.pth", ["import os; __import__('_distutils_hack').add_shim()"], ""),
        ("empty.pth", [], ""),
        ("coloredlogs.pth", ["import os; exec('…')"], "warning"),
        ("aaaaa_future_fstrings.pth", ["import sys; exec('…')"], "warning"),
        ("unknown.pth", ["import\tunknown.hooks"], "warning"),
        ("pytest-cov.pth", ["import os, sys;exec('…')"], "info"),
        ("a1_coverage.pth", ["import sys; exec('…')"], "info"),
        ("pywin32.pth", ["win32", "win32/lib"], "error"),
        ("gone.pth", ["no-such-folder"], ""),
        ("out.pth", ["/home/me", "../../../../x"], ""),  # EB108
        ("__editable__.a.pth", ["import __editable___a_finder"], ""),  # EB106
    ],
)
def test_startup(name: str, lines: list[str], severity: str) -> None:
    fact = StartupFact(path=f"{SITE}/{name}", lines=tuple(lines))
    known = {"alpha": replace(facts("alpha"), startup=(fact,))}
    found = list(
        lost.startup(lock(locked("alpha")), known, site_packages=SITE, folders={f"{SITE}/win32", SITE})
    )
    expected = [("EB501", name, severity, ("alpha",))] if severity else []
    assert [(one.code, one.subject, one.severity, one.chain) for one in found] == expected
    brief(found)


@pytest.mark.parametrize(("asked", "severity"), [("coloredlogs", "warning"), ("onnxruntime", "info")])
def test_a_start_up_file_that_only_those_miss_who_asked_for_it(asked: str, severity: str) -> None:
    fact = StartupFact(path=f"{SITE}/coloredlogs.pth", lines=("import os; exec('…')",))
    known = {"coloredlogs": replace(facts("coloredlogs"), startup=(fact,))}
    by = () if asked == "coloredlogs" else (asked,)
    locked_ = lock(locked(asked), *(locked("coloredlogs", required_by=by) for _ in by))
    (found,) = lost.startup(locked_, known, site_packages=SITE, folders={SITE})
    assert found.severity == severity


PTH, START = f"{SITE}/alpha.pth", f"{SITE}/alpha.start"


@pytest.mark.parametrize(
    ("python", "files", "subjects"),
    [
        ("3.15.0", {START: ("alpha.hooks:install",)}, ["alpha.start"]),
        ("3.15.0rc1", {PTH: ("import alpha.hooks",), START: ("alpha.hooks:install",)}, ["alpha.start"]),
        ("3.15.0", {PTH: ("win32",), START: ("alpha.hooks:install",)}, ["alpha.pth", "alpha.start"]),
        ("3.15.0", {PTH: ("import alpha.hooks",)}, ["alpha.pth"]),
        ("3.15.0", {START: ("__editable___alpha_finder:install",)}, []),  # EB106
        ("3.14.0", {PTH: ("import alpha.hooks",), START: ("alpha.hooks:install",)}, ["alpha.pth"]),
        ("3.14.0", {START: ("alpha.hooks:install",)}, []),
    ],
)
def test_start_files(python: str, files: dict[str, tuple[str, ...]], subjects: list[str]) -> None:
    startup = tuple(StartupFact(path=path, lines=lines) for path, lines in files.items())
    known = {"alpha": replace(facts("alpha"), startup=startup)}
    asked = replace(lock(locked("alpha")), python_version=python)
    found = list(lost.startup(asked, known, site_packages=SITE, folders={f"{SITE}/win32", SITE}))
    assert [one.subject for one in found] == subjects


@pytest.mark.parametrize(
    ("path", "severity"),
    [
        (f"{SITE}/alpha/data.json", ""),
        ("bin/alpha", ""),
        ("lib/libtbb.so.12", ""),
        ("lib/libmkl_rt.so.1", ""),
        ("lib/pkgconfig/alpha.pc", ""),
        ("include/site/python3.8/greenlet/greenlet.h", ""),
        ("share/man/man1/ttx.1", "info"),
        ("share/doc/alpha/README.rst", "info"),
        ("share/jupyter/labextensions/alpha/package.json", "info"),
        ("etc/jupyter/nbconfig/alpha.json", "info"),
        ("LICENSE", "info"),
        ("tests/test_alpha.py", "info"),
        ("share/alpha/tables.dat", "warning"),
        ("data/alpha.csv", "warning"),
    ],
)
def test_data_files(path: str, severity: str) -> None:
    known = {"alpha": facts("alpha", files={path: "aa", f"{SITE}/alpha.py": "bb"})}
    found = list(lost.data_files(lock(locked("alpha")), known, site_packages=SITE))
    assert [(one.code, one.subject, one.severity) for one in found] == (
        [("EB502", "alpha", severity)] if severity else []
    )


def test_scripts() -> None:
    assert list(lost.scripts({"alpha": facts("alpha")})) == []
    (found,) = lost.scripts({"alpha": replace(facts("alpha"), scripts=("run", "serve"))})
    assert (found.code, found.severity, found.cause) == ("EB503", "info", "the bundle has run, serve")


def test_modes(tmp_path: Path) -> None:
    (tmp_path / "alpha").mkdir()
    (tmp_path / "alpha/__init__.py").touch(0o644)
    (tmp_path / "link").symlink_to("alpha")
    assert list(lost.modes(tree.scan(tmp_path))) == []
    (tmp_path / "alpha/__init__.py").chmod(0o600)
    (tmp_path / "beta").mkdir()
    (tmp_path / "alpha").chmod(0o700)
    assert sorted(brief(lost.modes(tree.scan(tmp_path)))) == [
        ("EB504", "beta"),
        ("EB509", "alpha"),
        ("EB509", "alpha/__init__.py"),
    ]


def test_programs() -> None:
    files = (
        FileFact(path=f"{SITE}/ffmpeg/binaries/ffmpeg-linux64-v4", sha256="0" * 64, size=1, executable=True),
        FileFact(path=f"{SITE}/ffmpeg/tool.py", sha256="0" * 64, size=1, executable=True),
        FileFact(path=f"{SITE}/ffmpeg/core.so", sha256="0" * 64, size=1, executable=True),
        FileFact(path="bin/run", sha256="0" * 64, size=1, executable=True),
    )
    known = {"ffmpeg": replace(facts("ffmpeg"), files=files)}
    (found,) = lost.programs(lock(locked("ffmpeg")), known, site_packages=SITE)
    assert (found.code, found.severity) == ("EB509", "info")
    assert "ffmpeg-linux64-v4" in found.cause
    known = {"ffmpeg": replace(facts("ffmpeg"), files=files[1:])}
    assert list(lost.programs(lock(locked("ffmpeg")), known, site_packages=SITE)) == []


def fact(path: str, size: int = 1) -> FileFact:
    return FileFact(path=path, sha256="0" * 64, size=size)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("lib/alpha/Lorem ipsum.txt", []),
        ("lib/alpha/script (dev).tmpl", []),
        ("lib/alpha/.hidden", []),
        ("lib/console/consent.py", []),
        ("lib/alpha/" + "a" * 240, []),
        ("lib/alpha/" + "a/" * 130, [("EB505", "info")]),
        ("lib/alpha/" + "a/" * 400 + "b", [("EB505", "warning")]),
        ("lib/alpha/12:30.txt", [("EB508", "info")]),
        ("lib/alpha/trailing. ", [("EB508", "info")]),
        ("lib/alpha/dot./x", [("EB508", "info")]),
        ("lib/alpha/aux.txt", [("EB508", "info")]),
        ("lib/NUL", [("EB508", "info")]),
        ("lib/alpha/com1.d/x", [("EB508", "info")]),
    ],
)
def test_names(path: str, expected: list[tuple[str, str]]) -> None:
    assert [(one.code, one.severity) for one in lost.names([fact("lib/a.py"), fact(path)])] == expected


def test_amounts() -> None:
    assert list(lost.amounts([fact("a", 300_000_000)])) == []
    assert brief(lost.amounts([fact("a", 300_000_001)])) == [("EB506", "bundle")]
    (found,) = lost.amounts([fact(str(number)) for number in range(2001)])
    assert found.severity == "info"
    assert "2001 files" in found.cause


# --- uploads --------------------------------------------------------------------------------------

FILES = (
    "lib/python3.8/site-packages/alpha/__init__.py",
    "lib/python3.8/site-packages/alpha/__pycache__/__init__.cpython-38.pyc",
    "lib/python3.8/site-packages/alpha/core.so",
    "lib/python3.8/site-packages/alpha/build/x.py",
    "manifest.json",
)


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        ("lib/\n", 4),
        ("*.so\n", 1),
        ("__pycache__/\n", 1),
        ("*.py[cod]\n", 1),
        ("build/\n", 1),
        ("dist/\n.venv\n*.log\n/lib/\n", 0),
        ("# lib/\n\n", 0),
        ("lib/\n!lib/\n", 0),
        ("lib/\n!**/lib/**\n", 0),
        ("!\n[z-a]\na\\\n", 0),  # none of them is a pattern
        ("myenv\n", 5),
        ("/src/\n", 0),
    ],
)
def test_upload(text: str, dropped: int) -> None:
    found = list(lost.dropped_from_upload(FILES, [IgnoreFile(path=".gitignore", text=text, bundle="myenv")]))
    assert [(one.code, one.severity, one.subject) for one in found] == (
        [("EB507", "warning", ".gitignore")] if dropped else []
    )
    assert all(f"drops {dropped} of 5 files" in one.cause for one in found)


def test_ignore_file_further_up_is_information() -> None:
    found = list(
        lost.dropped_from_upload(FILES, [IgnoreFile(path="../.gitignore", text="lib/\n", bundle="src/myenv")])
    )
    assert [(one.code, one.severity) for one in found] == [("EB507", "info")]
    assert "by: lib/" in found[0].cause


def test_ignore_files_are_found_up_to_the_repository(tmp_path: Path) -> None:
    output = tmp_path / "repo/src/myenv"
    (tmp_path / "repo/src").mkdir(parents=True)
    assert lost.ignore_files(output) == ()
    (tmp_path / ".gitignore").write_text("not mine\n")
    (tmp_path / "repo/.git").mkdir()
    (tmp_path / "repo/.gitignore").write_text("lib/\n")
    (tmp_path / "repo/src/.gitignore").write_text("lib/\n")
    (tmp_path / "repo/src/.amlignore").write_text("*.log\n")
    assert lost.ignore_files(output) == (
        IgnoreFile(path=".amlignore", text="*.log\n", bundle="myenv"),
        IgnoreFile(path="../.gitignore", text="lib/\n", bundle="src/myenv"),
    )
    assert list(lost.dropped_from_upload(FILES, lost.ignore_files(output)[:1])) == []


def test_upload_of_many_files_is_quick() -> None:
    text = "\n".join(f"*.ext{number}\nfolder{number}/" for number in range(60))
    files = [f"lib/python3.8/site-packages/alpha/folder/module{number}.py" for number in range(2000)]
    assert (
        list(lost.dropped_from_upload(files, [IgnoreFile(path=".gitignore", text=text, bundle="myenv")]))
        == []
    )
