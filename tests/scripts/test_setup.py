"""The scripts say what the machine lacks before they install anything, and clean removes what they left."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import machine

ROOT = Path(__file__).resolve().parents[2]
BASIC = (
    "sh",
    "env",
    "cat",
    "cut",
    "dirname",
    "du",
    "find",
    "mktemp",
    "rm",
    "sleep",
    "tail",
    "tr",
    "date",
    "cksum",
)
CLOSED = "http://127.0.0.1:9/"
"""A place for managed builds that nothing serves."""
Done = subprocess.CompletedProcess[str]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The scripts, in a checkout of their own, for a sample of a Python that no machine has."""
    folder = tmp_path / "checkout"
    (folder / "samples" / "scoring").mkdir(parents=True)
    (folder / "samples" / "scoring" / "requirements-3.99.txt").touch()
    for name in ("setup", "demo", "test", "clean", "attack", "truth"):
        (folder / "scripts").mkdir(exist_ok=True)
        shutil.copy(ROOT / "scripts" / name, folder / "scripts" / name)
    for name in ("bundler", "tests"):
        (folder / name).mkdir()
    return folder


def script(checkout: Path, *words: str, **environ: str) -> Done:
    """Run one with a PATH that has the host's Python and the most ordinary programs."""
    tools = checkout.parent / "bin"
    tools.mkdir(exist_ok=True)
    for name in BASIC:
        if not (tools / name).exists():
            (tools / name).symlink_to(str(shutil.which(name)))
    base = {"PATH": str(tools), "HOME": str(checkout.parent), "PYTHON": sys.executable}
    return subprocess.run(
        words, cwd=checkout, env={**base, "UV_PYTHON_INSTALL_MIRROR": CLOSED, **environ},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip


def interpreter(path: Path, version: str) -> None:
    """A program that answers as an interpreter of the version does."""
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)


def test_demo_says_first_which_python_lacks(checkout: Path) -> None:
    done = script(checkout, "scripts/demo", "3.99")
    assert done.returncode == 3
    assert "error: no CPython 3.99 on this machine: a managed build is out of reach: " in done.stderr
    assert "hint: pyenv install 3.99" in done.stderr
    assert not list(checkout.glob(".*"))


def test_tests_name_all_that_lacks_at_once(checkout: Path) -> None:
    done = script(checkout, "scripts/test", CI="true")
    assert done.returncode == 3
    assert "the programs git gcc g++ unzip zstd mksquashfs unsquashfs unshare ssh-keygen ps" in done.stderr
    debian = "git gcc g++ unzip zstd squashfs-tools util-linux openssh-client procps"
    fedora = "git gcc gcc-c++ unzip zstd squashfs-tools util-linux openssh-clients procps-ng"
    assert f"apt-get install {debian}\n" in done.stderr
    assert f"dnf install {fedora}\n" in done.stderr
    assert not list(checkout.glob(".*"))


def test_the_image_for_ci_has_what_the_tests_run() -> None:
    rows = (ROOT / "scripts/test").read_text().partition("done <<'END'\n")[2].partition("\nEND\n")[0]
    installed = (ROOT / ".ci/Containerfile").read_text().partition("apt-get install ")[2].partition("&&")[0]
    packages = {row.split()[1] for row in rows.splitlines()}
    assert "openssh-client" in packages
    assert packages - set(installed.split()) == set()


def test_a_host_without_venv_is_told(checkout: Path) -> None:
    stub = checkout.parent / "other" / "python3"
    interpreter(stub, "3.12")
    stub.write_text("#!/bin/sh\nexit 1\n")
    (checkout / "samples" / "scoring" / "requirements-3.8.txt").touch()
    done = script(checkout, "scripts/demo", PYTHON=str(stub))
    assert (done.returncode, "with ensurepip and ssl" in done.stderr) == (3, True)


@pytest.mark.parametrize(
    ("kept", "environ"),
    [
        (".local/share/uv/python/cpython-3.99.0-linux/bin", {}),
        (".pyenv/versions/3.99.0/bin", {}),
        ("elsewhere/x/bin", {"UV_PYTHON_INSTALL_DIR": "elsewhere"}),
        ("checkout/.pythons/cpython-3.99.0/bin", {}),
    ],
)
def test_interpreters_are_found_where_managers_keep_them(
    checkout: Path, kept: str, environ: dict[str, str]
) -> None:
    path = checkout.parent / kept / "python3.99"
    interpreter(path, "3.99")
    given = {name: str(checkout.parent / value) for name, value in environ.items()}
    done = script(checkout, "sh", "-c", ". scripts/setup; find_python 3.99", **given)
    assert done.stdout.strip() == str(path)
    other = script(checkout, "sh", "-c", ". scripts/setup; find_python 3.98", **given)
    assert (other.returncode, other.stdout) == (1, "")


def test_a_managed_build_in_reach_is_planned(checkout: Path) -> None:
    asked = '. scripts/setup; python=x; plan_target 3.99 "$PYTHON" && printf "<%s>" "$python"'
    mirror = {"UV_PYTHON_INSTALL_MIRROR": checkout.as_uri()}
    assert script(checkout, "sh", "-c", asked, **mirror).stdout == "<>"
    assert script(checkout, "sh", "-c", asked).returncode == 1


@pytest.mark.parametrize(("command", "code"), [("true", 0), ("echo my own words; exit 5", 5)])
def test_a_failed_step_shows_what_it_said(checkout: Path, command: str, code: int) -> None:
    done = script(checkout, "sh", "-c", f". scripts/setup; watch Step sh -c '{command}'")
    assert done.returncode == code
    assert ("my own words" in done.stderr) is (code != 0)
    assert "Step …" in done.stderr


@pytest.mark.parametrize("how", ["activated", "named"])
def test_a_virtualenv_is_not_made_with_itself(checkout: Path, how: str) -> None:
    """The stamp of a changed checkout differs, and the virtualenv is removed before it is made again."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", checkout / ".venv"], check=True)
    inside = checkout / ".venv" / "bin"
    stubbed = {"PATH": f"{inside}:{checkout.parent / 'bin'}", "PYTHON": ""}
    environ = stubbed if how == "activated" else {"PYTHON": str(inside / "python")}
    done = script(checkout, "sh", "-c", ". scripts/setup; host_python", **environ)
    assert done.returncode == 0, done.stderr
    found = Path(done.stdout.strip())
    assert inside not in found.parents
    assert found.resolve() == Path(sys.executable).resolve()


@pytest.mark.parametrize(("name", "package"), [("attack", "attacks"), ("truth", "truth_method")])
def test_a_program_runs_in_the_virtualenv_from_the_callers_folder(
    checkout: Path, name: str, package: str
) -> None:
    for path in ("setup.cfg", "pyproject.toml"):
        (checkout / path).touch()
    program = checkout / "scripts" / package / "__main__.py"
    program.parent.mkdir()
    program.write_text("import os, sys\nprint(sys.executable, os.getcwd(), sys.argv[1:])\n")
    python = checkout / "kept" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    stamp = script(checkout, "sh", "-c", '. scripts/setup; stamp_of "$PYTHON"').stdout
    (checkout / "kept" / "stamp").write_text(stamp)
    run = f"cd samples && exec ../scripts/{name} --only 'a b'"
    done = script(checkout, "sh", "-c", run, VENV="kept")
    assert done.stdout == f"{python} {checkout / 'samples'} ['--only', 'a b']\n", done.stderr


def test_clean_removes_what_was_left_and_nothing_else(checkout: Path) -> None:
    for name in (".venv/bin", ".venv-3.10/bin", ".pythons", "build/cache", "samples/scoring/model", "mine"):
        (checkout / name).mkdir(parents=True)
    done = script(checkout, "scripts/clean")
    assert done.returncode == 0
    assert sorted(line.split()[1] for line in done.stdout.splitlines()) == [
        ".pythons", ".venv", ".venv-3.10", "build", "samples/scoring/model",
    ]  # fmt: skip
    assert sorted(path.name for path in checkout.iterdir()) == [
        "bundler",
        "mine",
        "samples",
        "scripts",
        "tests",
    ]


def test_skips_are_counted_by_reason() -> None:
    reasons = ["Skipped: this machine has no zstd", "Skipped: only root may mount"]
    reasons += ["Skipped: this machine has no C compiler (gcc)"] * 2
    assert machine.counted(reasons) == [
        "2 skipped: no C compiler (gcc)", "1 skipped: no zstd", "1 skipped: only root may mount",
    ]  # fmt: skip


def test_only_what_the_machine_lacks_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "error: no CPython 3.7 on this machine, and …"
    monkeypatch.setattr(machine, "CI", False)
    monkeypatch.setattr(machine, "find_python", lambda _: None)
    machine.skip_without_python(2, said)
    machine.skip_without_python(3, "error: no CPython 3.99 on this machine, and …")
    with pytest.raises(pytest.skip.Exception, match=r"no CPython 3\.7"):
        machine.skip_without_python(3, said)
    monkeypatch.setattr(machine, "CI", True)
    with pytest.raises(pytest.fail.Exception, match="demands all"):
        machine.skip_without_python(3, said)
    monkeypatch.setattr(machine, "find_python", lambda _: Path(os.devnull))
    machine.skip_without_python(3, said)
