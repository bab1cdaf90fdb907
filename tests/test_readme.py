"""What the README shows is run, in order, and must say what it shows; `…` stands for any text."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.command import Command

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
BLOCK = re.compile(r"<!-- run: (?P<needs>\w+) -->\n```console\n(?P<text>.*?)```", re.DOTALL)
FILE = re.compile(r"<!-- file: (?P<path>[\w./-]+) -->\n```\w+\n(?P<text>.*?)```", re.DOTALL)
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "PIP_CERT")


def steps(needs: str, text: str | None = None) -> list[tuple[str, str]]:
    """(command, expected output) of every block that needs the given thing."""
    found = []
    for block in BLOCK.finditer(README.read_text(encoding="utf-8") if text is None else text):
        if block["needs"] == needs:
            for step in re.split(r"^\$ ", block["text"], flags=re.MULTILINE)[1:]:
                command, _, expected = step.partition("\n")
                found.append((command, expected))
    return found


def fits(shown: str, said: str) -> bool:
    """Whether output is what a block shows; runs of spaces count as one."""
    pattern = "".join(
        r"[\s\S]*?" if part == "…" else re.escape(part) for part in re.split("(…)", " ".join(shown.split()))
    )
    return re.fullmatch(pattern.strip() or r"\s*", " ".join(said.split())) is not None


def run(command: str, envbundle: Command, python38: Path) -> str:
    programs = {"envbundle": [sys.executable, "-m", "bundler"], "python3.8": [str(python38)]}
    words = shlex.split(command)
    done = subprocess.run(
        [*programs[words[0]], *words[1:]],
        cwd=envbundle.folder,
        env=envbundle.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize(
    ("shown", "said", "expected"),
    [
        ("a … c", "a  b\n c", True),
        ("a … c", "a b d", False),
        ("ok: … files", "ok: 3 files", True),
        ("ok: … files", "2 findings: 3 files", False),
    ],
)
def test_fits(shown: str, said: str, *, expected: bool) -> None:
    assert fits(shown, said) is expected


def test_every_console_block_is_run() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(BLOCK.findall(text)) == text.count("```console") >= 5


@pytest.mark.parametrize(("command", "expected"), steps("offline"))
def test_offline_blocks(envbundle: Command, python38: Path, command: str, expected: str) -> None:
    assert fits(expected, run(command, envbundle, python38))


@pytest.mark.pypi
def test_guide(envbundle: Command, python38: Path, tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("requests==2.32.3\n")
    for file in FILE.finditer(README.read_text(encoding="utf-8")):
        (tmp_path / file["path"]).parent.mkdir(exist_ok=True)
        (tmp_path / file["path"]).write_text(file["text"])
    for command, expected in steps("network"):
        said = run(command, envbundle, python38)
        assert fits(expected, said), f"$ {command}\n{said}\n--- shown:\n{expected}"


@pytest.mark.pypi
@pytest.mark.parametrize("version", ["3.8", "3.7"])
def test_demo(tmp_path: Path, version: str) -> None:
    """The first command, as a newcomer runs it, in a copy of the checkout with nothing set up."""
    copy = tmp_path / "checkout"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
            (copy / name).chmod((ROOT / name).stat().st_mode)
    environ = {name: os.environ[name] for name in (*CERTIFICATES, "PATH", "HOME") if name in os.environ}
    environ |= {
        "PIP_CONFIG_FILE": os.devnull,
        "PYTHON": sys.executable,
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [copy / "scripts" / "demo", version], env=environ, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "{'predictions': ['class_0', 'class_1', 'class_2']}" in done.stdout
