"""`scripts/truth`: its sets, which modules it tries, how it compares; marked, a whole judgement."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundler.system import process
from bundler.wheels import elf
from packaging.requirements import Requirement
from scripts.truth_method import (
    command,
    installing,
    judging,
    main_modules,
    older_glibc,
    real_sets,
    trial,
    verdict_table,
)

from tests.support.bundlemaker import interpreter

if TYPE_CHECKING:
    from collections.abc import Mapping

SETS = real_sets.read()
ENVIRONMENT = {"python_version": "3.8", "python_full_version": "3.8.18", "sys_platform": "linux"}
PROGRAM = real_sets.ROOT / "scripts" / "truth_method"


def test_the_sets_are_many_and_of_many_pythons() -> None:
    assert len(SETS) >= 64
    assert {one.python for one in SETS} == {"3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13"}
    assert sum(one.python in ("3.7", "3.8") for one in SETS) > len(SETS) / 2
    assert sum(len(one.requirements.read_text(encoding="utf-8").splitlines()) >= 60 for one in SETS) >= 5


@pytest.mark.parametrize("one", SETS, ids=lambda one: one.id)
def test_a_set_holds_names_and_versions_and_says_where_from(one: real_sets.RealSet) -> None:
    lines = one.requirements.read_text(encoding="utf-8").splitlines()
    assert lines
    for line in lines:
        assert "#" not in line
        assert Requirement(line).url is None
    assert re.fullmatch(r"[\w.-]+/[\w.-]+", one.repository)
    assert re.fullmatch(r"[0-9a-f]{40}", one.commit)
    assert one.path.endswith(".txt")
    for use in one.use:
        compile(use, one.id, "exec")


def test_every_requirements_file_belongs_to_a_set() -> None:
    assert {one.requirements for one in SETS} == {*(real_sets.TABLE.parent / "requirements").iterdir()}


@pytest.mark.parametrize("row", ['id = "a"', 'id = "a"\npython = "3.8"\nfile = "a.txt"\ncolour = "red"'])
def test_a_table_that_lacks_something_or_says_too_much_is_refused(tmp_path: Path, row: str) -> None:
    table = tmp_path / "sets.toml"
    table.write_text(f"[[set]]\n{row}\n")
    with pytest.raises(ValueError, match=r"^a: "):
        real_sets.read(table)


def distribution(
    site: Path,
    name: str,
    files: Mapping[str, str],
    *,
    requires: tuple[str, ...] = (),
    extras: tuple[str, ...] = (),
) -> None:
    """Install made-up files as a distribution."""
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    lines = "".join(f"Requires-Dist: {one}\n" for one in requires)
    lines += "".join(f"Provides-Extra: {one}\n" for one in extras)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{lines}")
    for path, text in files.items():
        place = info / path if path == "top_level.txt" else site / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in files if path != "top_level.txt"))


MODULES = {
    "of its name, and not the alias beside it": (
        "mlflow-like",
        {"mlflow_like/__init__.py": "", "pylint_plugins/__init__.py": ""},
        ["mlflow_like"],
    ),
    "of its name without python-": (
        "python-magic",
        {"magic/__init__.py": "", "x/__init__.py": ""},
        ["magic"],
    ),
    "a module, not a package": ("six", {"six.py": ""}, ["six"]),
    "an extension module": ("fast", {"fast.cpython-38-x86_64-linux-gnu.so": ""}, ["fast"]),
    "another name": ("scikit-learn", {"sklearn/__init__.py": "", "sklearn/svm/__init__.py": ""}, ["sklearn"]),
    "no tests, nothing private": (
        "beautifulsoup4",
        {"bs4/__init__.py": "", "tests/__init__.py": "", "_bs4.py": ""},
        ["bs4"],
    ),
    "no tests under another name": (
        "libsass",
        {"sass.py": "", "sasstests.py": "", "top_level.txt": "sass\nsasstests\n"},
        ["sass"],
    ),
    "what top_level.txt says": (
        "shipped",
        {"real/__init__.py": "", "slip/__init__.py": "", "top_level.txt": "real\n"},
        ["real"],
    ),
    "a namespace without a file": ("azure-identity", {"azure/identity/__init__.py": ""}, ["azure.identity"]),
    "a namespace of pkgutil's idiom": (
        "azureml-core",
        {
            "azureml/__init__.py": "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n",
            "azureml/core/__init__.py": "",
            "azureml/_base/__init__.py": "",
        },
        ["azureml.core"],
    ),
    "nothing to import": ("only-data", {"share/x.txt": ""}, []),
}


@pytest.mark.parametrize(("name", "files", "expected"), MODULES.values(), ids=MODULES)
def test_main_modules(tmp_path: Path, name: str, files: dict[str, str], expected: list[str]) -> None:
    distribution(tmp_path, name, files)
    (one,) = metadata.distributions(path=[str(tmp_path)])
    assert main_modules.main_modules(one, tmp_path) == expected


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("gunicorn = gunicorn.app.wsgiapp:run", "gunicorn.app.wsgiapp"),
        ("gunicorn = gunicorn.app.wsgiapp:run [gevent]", None),
        ("helper = gunicorn.helper:main", None),
    ],
)
def test_the_script_of_the_name_starts_there(tmp_path: Path, script: str, expected: str | None) -> None:
    distribution(tmp_path, "gunicorn", {})
    info = tmp_path / "gunicorn-1.0.dist-info"
    (info / "entry_points.txt").write_text(f"[console_scripts]\n{script}\n")
    (one,) = metadata.distributions(path=[str(tmp_path)])
    assert main_modules.starting_module(one) == expected


@pytest.mark.parametrize(
    ("kind", "error", "expected"),
    [
        ("start", 'ImportError: install it with: pip install "PyLD[cli]"', True),
        ("start", "ModuleNotFoundError: No module named 'typer'", True),
        ("start", "ModuleNotFoundError: No module named 'typer.main'", True),
        ("start", "ModuleNotFoundError: No module named 'lxml'", False),
        ("start", "ModuleNotFoundError: No module named 'six'", False),
        ("start", "ImportError: libGL.so.1: cannot open shared object file", False),
        ("start", None, False),
        ("import", "ModuleNotFoundError: No module named 'typer'", False),
    ],
)
def test_a_script_that_asks_for_an_extra_is_passed_over(
    tmp_path: Path,
    kind: str,
    error: str | None,
    *,
    expected: bool,
) -> None:
    """pygeoapi works; it was called a MISS for a script of PyLD that its extra `cli` brings to life."""
    requires = ("lxml", 'typer>=0.27; extra == "cli"', 'lxml>4; extra == "cli"')
    distribution(tmp_path, "pyld", {"pyld/__init__.py": ""}, requires=requires, extras=("cli",))
    step = trial.Step(kind=kind, text="pyld.cli", by="pyld", error=error)
    assert trial.passed_over(step, site=tmp_path) is expected


def test_roots_are_what_no_other_requested_distribution_brings(tmp_path: Path) -> None:
    distribution(tmp_path, "flask", {}, requires=("jinja2", 'colorama; sys_platform == "win32"'))
    distribution(tmp_path, "jinja2", {}, requires=("markupsafe",))
    distribution(tmp_path, "markupsafe", {})
    distribution(tmp_path, "colorama", {})
    distribution(tmp_path, "one", {}, requires=("other",))
    distribution(tmp_path, "other", {}, requires=("one",))
    asked = ["markupsafe", "flask", "colorama", "one", "other", "absent"]
    installed = main_modules.installed_in(tmp_path)
    assert main_modules.roots(asked, installed, ENVIRONMENT) == ["flask", "colorama", "one", "other"]


def test_what_was_asked_for_and_is_not_there_fails(tmp_path: Path) -> None:
    requirements = tmp_path / "r.txt"
    requirements.write_text('absent\nelsewhere; python_version < "3"\n')
    (only,) = trial.steps(requirements, (), site=tmp_path, environment=ENVIRONMENT)
    assert only.by == "absent"
    assert not only.works


@pytest.mark.parametrize(
    ("error", "works"),
    [(None, True), ("ImproperlyConfigured: no settings", True), ("ImportError: libGL.so.1", False)],
)
def test_a_module_that_asks_for_settings_works(error: str | None, works: bool) -> None:  # noqa: FBT001 - a column of a table
    assert trial.Step(kind="import", text="x", error=error).works is works


@pytest.mark.parametrize(
    ("code", "works", "expected"),
    [
        (0, True, judging.RIGHT_YES),
        (0, False, judging.MISS),
        (1, True, judging.FALSE_REFUSAL),
        (1, False, judging.RIGHT_NO),
        (2, True, judging.FAILURE),
        (3, True, judging.FAILURE),
        (2, False, judging.OTHER_REASON),
        (4, False, judging.BROKEN),
        (None, True, judging.BROKEN),
    ],
)
def test_judgement(code: int | None, works: bool, expected: str) -> None:  # noqa: FBT001 - a column of a table
    assert judging.judgement(code, works=works) == expected


def test_what_pip_cannot_install_either_is_refused_rightly() -> None:
    assert judging.judgement(2, works=False, installed=False) == judging.RIGHT_NO


def judged(name: str, *, code: int, works: bool) -> judging.Judged:
    step = trial.Step(
        kind="import",
        text="cv2",
        by="opencv",
        error="ImportError: libGL.so.1",
        traceback=("Traceback", "last"),
    )
    row = {
        "code": "EB303",
        "severity": "error" if code else "warning",
        "subject": "opencv",
        "cause": "c",
        "remedy": "r",
    }
    return judging.Judged(
        id=name,
        tool="t",
        digest="d",
        said=judging.Said(code=code, seconds=1.0, message="no" if code else "", findings=(row,)),
        truth=judging.Truth(
            works=works, tree="bundle", root="bullseye", failed=() if works else (step,), tried=2
        ),
    )


def test_a_result_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    one = judged("a", code=0, works=False)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(one.document()))
    assert judging.read(path) == one


def test_the_table_counts_and_shows_the_evidence_of_wrong_verdicts_alone() -> None:
    rows = [
        judged("yes", code=0, works=True),
        judged("missed", code=0, works=False),
        judged("no", code=1, works=False),
    ]
    assert verdict_table.counts(rows) == {
        **dict.fromkeys(judging.JUDGEMENTS, 0),
        "right yes": 1,
        "MISS": 1,
        "right no": 1,
    }
    text = verdict_table.markdown(rows, {})
    assert "## MISS: missed" in text
    assert "ImportError: libGL.so.1" in text
    assert "## right no" not in text
    assert "- yes: EB303 opencv: c" in text


def test_the_short_table_has_a_line_for_each_set() -> None:
    sets = {one.id: one for one in real_sets.read()}
    known, other = list(sets)[:2]
    rows = [judged(other, code=1, works=False), judged(known, code=0, works=True)]
    lines = verdict_table.short(rows, sets).splitlines()
    assert lines[0] == "2 sets: 1 right yes, 1 right no."
    assert lines[4:] == [
        f"| {known} | {sets[known].python} | works | yes | right yes |",
        f"| {other} | {sets[other].python} | fails | EB303 | right no |",
    ]


def test_sets_that_are_judged_together_share_one_whole_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set was judged with a pip that another one's thread was still replacing."""
    ran: list[str] = []

    def run(words: list[str | Path], **_: object) -> None:
        if "venv" in words:
            python = Path(words[-1], "bin", "python")
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()
        waited.wait(0.2)
        ran.append("venv" if "venv" in words else "upgrade")

    waited, together = threading.Event(), threading.Barrier(3)
    monkeypatch.setattr(process, "run", run)
    target = interpreter(Path("python"))

    def get(_: int) -> list[str]:
        together.wait()
        installing._pip_of(target, work=tmp_path, env={})
        return list(ran)

    with ThreadPoolExecutor(3) as pool:
        seen = list(pool.map(get, range(3)))
    assert seen == [["venv", "upgrade"]] * 3


def test_an_error_that_nothing_failing_mentions_is_shown() -> None:
    right = judged("right", code=1, works=False)
    assert verdict_table.unborne(right) == []
    other = {**right.said.findings[0], "subject": "lxml", "cause": "lxml needs libxslt.so.1"}
    doubtful = replace(right, said=replace(right.said, findings=(other,)))
    assert verdict_table.unborne(doubtful) == ["EB303 lxml: lxml needs libxslt.so.1"]
    borne = {**other, "cause": "x needs libGL.so.1", "subject": "x"}
    assert verdict_table.unborne(replace(right, said=replace(right.said, findings=(borne,)))) == []


def test_the_tool_is_told_by_its_code(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    before = command.tool_digest(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("x")
    assert command.tool_digest(tmp_path) == before
    (tmp_path / "a.py").write_text("2")
    assert command.tool_digest(tmp_path) != before


@pytest.mark.skipif(shutil.which("gcc") is None, reason="not installed: gcc")
def test_a_program_loses_its_newer_versions_and_still_runs(tmp_path: Path) -> None:
    source, program = tmp_path / "x.c", tmp_path / "x"
    source.write_text('#include <stdio.h>\nint main(void) { puts("whole"); return 0; }\n')
    subprocess.run(["gcc", "-o", program, source], check=True)
    before = elf.read(str(program), path="x")
    assert before is not None
    assert not older_glibc.lower(program, minor=99)
    assert older_glibc.lower(program, minor=2) is any(newer(one, 2) for one in before.versions)
    after = elf.read(str(program), path="x")
    assert after is not None
    assert not any(newer(one, 2) for one in after.versions)
    assert subprocess.run([program], check=True, capture_output=True, text=True).stdout == "whole\n"


def newer(version: str, minor: int) -> bool:
    match = re.search(r":GLIBC_2\.([0-9]+)(\..*)?$", version)
    return match is not None and int(match[1]) > minor


def test_what_is_no_program_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\x7fELF\x02\x01" + bytes(40))
    with pytest.raises(ValueError, match="damaged"):
        older_glibc.lower(path, minor=31)
    path.write_text("no program")
    with pytest.raises(ValueError, match="no 64-bit ELF"):
        older_glibc.lower(path, minor=31)
    assert path.read_text() == "no program"


@pytest.mark.pypi
@pytest.mark.rootfs
@pytest.mark.skipif(
    any(shutil.which(name) is None for name in command.PROGRAMS),
    reason="bwrap, debootstrap or gcc is missing",
)
def test_a_set_is_judged_in_a_bare_debian(tmp_path: Path) -> None:
    folder = tmp_path / "requirements"
    folder.mkdir()
    (folder / "six.txt").write_text("six==1.16.0\n")
    row = 'python = "3.8"\nfile = "six.txt"\nrepository = "a/b"\npath = "six.txt"\ncommit = "0"\n'
    fails = "import socket; socket.create_connection(('127.0.0.1', 9))"
    uses = {"good": "import six, platform; assert platform.libc_ver()[1] == '2.31'", "bad": fails}
    table = tmp_path / "sets.toml"
    table.write_text("".join(f'[[set]]\nid = "{name}"\n{row}use = ["{use}"]\n' for name, use in uses.items()))
    words: list[str | Path] = [
        sys.executable,
        PROGRAM,
        "--sets",
        table,
        "--work",
        tmp_path / "work",
        "--roots",
        tmp_path / "roots",
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=1800)
    assert done.returncode == 1, done.stderr
    rows = json.loads((tmp_path / "work" / "results" / "table.json").read_text())
    assert [one["judgement"] for one in rows] == ["right yes", "MISS"]
    assert [one["error"].split(":")[0] for one in rows[1]["truth"]["failed"]] == ["ConnectionRefusedError"]
    assert not (tmp_path / "work" / "good").exists()
