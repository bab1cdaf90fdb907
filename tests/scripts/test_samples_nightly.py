"""samples/nightly: what runs on a machine of one's own, and that all commands are what `envbundle` knows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest
from bundler.errors import InputError
from bundler.rebuild import config

from tests.support.nightlysamples import (
    AZURE,
    CRON,
    GITHUB,
    NAMES,
    NIGHTLY,
    ROOT,
    SAMPLE,
    SERVICE,
    TIMER,
    calls,
    jobs_of,
    require_options,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("file", "count"), [(GITHUB, 2), (AZURE, 2), (CRON, 1), (SERVICE, 1)])
def test_the_command_lines_are_known(file: Path, count: int) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(calls(text)) == count
    require_options(text)
    broken = re.sub(r"(envbundle\.toml)(.*)$", r"\1 --nightly\2", text, flags=re.MULTILINE)
    with pytest.raises(click.UsageError, match="--nightly"):
        require_options(broken)


def test_the_file_asks_for_four_jobs(tmp_path: Path) -> None:
    assert jobs_of(SAMPLE / "envbundle.toml", []) == NAMES
    for bundle in config.read(SAMPLE / "envbundle.toml").bundles:
        assert bundle.requirements
        assert all(path.is_file() for path in bundle.requirements)
    broken = tmp_path / "envbundle.toml"
    broken.write_text((SAMPLE / "envbundle.toml").read_text().replace("[defaults]", "[default]"))
    with pytest.raises(InputError, match="default"):
        jobs_of(broken, [])


def test_the_readme_names_what_is_there() -> None:
    text = (SAMPLE / "README.md").read_text(encoding="utf-8")
    for path in SAMPLE.rglob("[a-z]*"):
        if path.is_file() and "bundles" not in path.relative_to(SAMPLE).parts:
            assert str(path.relative_to(SAMPLE)) in text
    named = re.findall(r"(?<![/.])\b(?:systemd|cron|github|azure|kubernetes)/[a-z][a-z./-]+[a-z]\b", text)
    assert len(named) >= 6
    assert [name for name in named if not (SAMPLE / name).is_file()] == []


# systemd


def installed(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not on this machine")
    return path


def verified(folder: Path, name: str) -> subprocess.CompletedProcess[str]:
    words = [installed("systemd-analyze"), "verify", "--man=no", str(folder / name)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def units(folder: Path, *, program: Path, old: str = "", new: str = "") -> Path:
    """Copies of both, with a program that is there, and one change."""
    for unit in (SERVICE, TIMER):
        text = unit.read_text(encoding="utf-8").replace("/opt/envbundle/scripts/nightly", str(program))
        (folder / unit.name).write_text(text.replace(old, new) if old else text)
    return folder


@pytest.mark.parametrize("unit", [SERVICE, TIMER])
def test_systemd_takes_the_units(tmp_path: Path, unit: Path) -> None:
    done = verified(units(tmp_path, program=NIGHTLY), unit.name)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("ProtectSystem=", "ProtektSystem=", "ProtektSystem"),
        ("=user mnt net", "=user mount", "Failed to parse namespace type string"),
        ("@mount", "@mounts", "mounts"),
        ("Type=oneshot", "Type=once", "Failed to parse service type"),
        ("*-*-* 03:30:00", "*-*-* 25:30:00", "Failed to parse calendar"),
        ("DelaySec=15min", "Delay=15min", "RandomizedDelay"),
        ("scripts/nightly ", "scripts/nighly ", "nighly"),
    ],
)
def test_systemd_refuses_broken_units(tmp_path: Path, old: str, new: str, says: str) -> None:
    folder = units(tmp_path, program=NIGHTLY, old=old, new=new)
    assert any(new in path.read_text() for path in folder.iterdir())
    said = "".join(verified(folder, unit.name).stderr for unit in (SERVICE, TIMER))
    assert says in said


@pytest.mark.parametrize(("change", "good"), [(("", ""), True), (("03:30", "3:61"), False)])
def test_the_timer_has_a_next_time(change: tuple[str, str], *, good: bool) -> None:
    (said,) = re.findall(r"^OnCalendar=(.*)$", TIMER.read_text(encoding="utf-8"), re.MULTILINE)
    words = [installed("systemd-analyze"), "calendar", said.replace(*change)]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"}
    )
    assert (done.returncode == 0) is good
    assert ("Next elapse:" in done.stdout) is good


def test_the_service_is_confined() -> None:
    said = dict(re.findall(r"^([A-Za-z]+)=(.*)$", SERVICE.read_text(encoding="utf-8"), re.MULTILINE))
    assert {
        "ProtectSystem": "strict",
        "PrivateTmp": "true",
        "NoNewPrivileges": "true",
        "CapabilityBoundingSet": "",
        "ReadWritePaths": "/srv/envbundle",
        "User": "envbundle",
    }.items() <= said.items()
    # What ontarget/isolate.py asks for around an import.
    source = (ROOT / "bundler" / "ontarget" / "isolate.py").read_text(encoding="utf-8")
    made = {name.lower() for name in re.findall(r"CLONE_NEW([A-Z]+)", source)}
    assert set(said["RestrictNamespaces"].split()) == {"mnt" if name == "ns" else name for name in made}


# cron

FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def require_crontab(text: str) -> list[list[str]]:
    """Read a file of /etc/cron.d (man 5 crontab) and return user and command of each entry.

    :raises ValueError: what cron would not take, or take as something else.
    """
    entries = []
    for line in text.splitlines():
        if not line or line.startswith("#") or re.fullmatch(r"[A-Z_]+=[^\s\"'%$]*", line):
            continue
        words = line.split(None, 6)
        if len(words) != 7:
            raise ValueError(f"too few fields: {line}")
        for word, (least, most) in zip(words, FIELDS, strict=False):
            if word != "*" and not (word.isdigit() and least <= int(word) <= most):
                raise ValueError(f"no such time: {word}")
        if not re.fullmatch(r"[a-z_][a-z0-9_-]*", words[5]):
            raise ValueError(f"no name of a user: {words[5]}")
        if "%" in words[6]:
            raise ValueError("cron takes % for a line's end")
        entries.append(words[5:])
    if not text.endswith("\n"):
        raise ValueError("cron passes over a last line that does not end")
    return entries


def test_the_cron_line() -> None:
    text = CRON.read_text(encoding="utf-8")
    assert require_crontab(text) == [
        ["envbundle", "/opt/envbundle/scripts/nightly /srv/envbundle/envbundle.toml --quiet"]
    ]
    settings = dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE))
    assert {"MAILTO", "PATH", "VENV", "HOME", "ENVBUNDLE_CACHE_DIR"} <= set(settings)


BROKEN_CRON = [
    ("30 3", "61 3"),
    ("30 3", "30"),
    ("30 3", "30 3h"),
    ("MAILTO=", "MAILTO "),
    ("--quiet", "--quiet %"),
    (" envbundle /opt", " /opt"),
    ("--quiet\n", "--quiet"),
]


@pytest.mark.parametrize(("old", "new"), BROKEN_CRON)
def test_a_broken_cron_line(old: str, new: str) -> None:
    broken = CRON.read_text(encoding="utf-8").replace(old, new)
    with pytest.raises(ValueError, match=r"cron|field|time|user"):
        require_crontab(broken)


@pytest.mark.parametrize(("change", "good"), [(("", ""), True), (("30 3", "61 3"), False)])
def test_cron_itself_takes_the_times(tmp_path: Path, change: tuple[str, str], *, good: bool) -> None:
    crontab = installed("crontab")
    file = tmp_path / "crontab"
    file.write_text(CRON.read_text(encoding="utf-8").replace(*change))
    # Debian's `-n` and cronie's `-T` look at a file and install nothing.
    usage = subprocess.run([crontab, "-h"], capture_output=True, text=True, check=False)
    said = usage.stdout + usage.stderr
    flag = next((flag for flag, known in (("-T", "-T"), ("-n", "[-n]")) if known in said), None)
    if flag is None:
        pytest.skip("this crontab installs all that it reads")
    done = subprocess.run([crontab, flag, str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is good, done.stderr


# scripts/nightly


def test_the_script_says_what_it_lacks(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "PYTHON": "/bin/false", "VENV": str(tmp_path / "venv")}
    done = subprocess.run([NIGHTLY], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "PYTHON=/bin/false is no CPython 3.10" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_the_script_removes_nothing_but_its_own(tmp_path: Path) -> None:
    precious = tmp_path / "work" / "precious"
    precious.parent.mkdir()
    precious.touch()
    environ = {"PATH": os.environ["PATH"], "PYTHON": sys.executable, "VENV": "work"}
    done = subprocess.run([NIGHTLY], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"{tmp_path}/work is there and is no virtualenv" in done.stderr
    assert precious.exists()


@pytest.mark.pypi
@pytest.mark.thorough
def test_two_nights(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE, tmp_path / "nightly", ignore=shutil.ignore_patterns("bundles"))
    environ = {**os.environ, "VENV": str(tmp_path / "venv"), "PYTHON": sys.executable}

    def night(*options: str) -> subprocess.CompletedProcess[str]:
        words = [str(NIGHTLY), "nightly/envbundle.toml", *options]
        return subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)

    for state in ("built", "unchanged"):
        done = night("--json")
        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout)
        assert {name: count for name, count in summary["counts"].items() if count} == {state: 4}
    assert sorted(path.parent.name for path in (tmp_path / "nightly" / "bundles").glob("*/current")) == NAMES
    quiet = night("--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    (tmp_path / "nightly" / "pages.txt").write_text("nothing-has-this-name==99\n")
    assert night("--only", "pages", "--quiet").returncode == 2
