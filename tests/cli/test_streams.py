"""What reaches a terminal, and what happens where standard streams are closed, full or gone."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from bundler.cli import streams
from bundler.system import scratch

from tests.support.bundlemaker import make_bundle
from tests.support.command import Command
from tests.support.wheelmaker import make_wheel

HOLD = """
import sys
from bundler.system import scratch
with scratch.folder() as at:
    print(at, flush=True)
    sys.stdin.read()
"""
HOSTILE = "\x1b]0;owned\x07\x9b2J\rok\u202e\x1b[8m"


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(cache=tmp_path / "cache", pips=tmp_path, folder=tmp_path)


def on_a_terminal(command: Command, *words: str | Path) -> str:
    master, slave = pty.openpty()
    child = subprocess.Popen(
        command.argv(*words),
        env=command.environment(),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=command.folder,
    )
    os.close(slave)
    said = b""
    while True:
        try:
            block = os.read(master, 65536)
        except OSError:
            break
        if not block:
            break
        said += block
    child.wait()
    os.close(master)
    return said.decode()


@pytest.mark.thorough
def test_no_text_from_outside_controls_the_terminal(command: Command, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_wheel(tmp_path, "alpha"))
    (bundle / HOSTILE).touch()
    commands: list[list[str | Path]] = [
        ["verify", "--no-imports", bundle],
        ["inspect", tmp_path / HOSTILE],
        ["pack", bundle, "--format", "zip", "-o", "x.zip"],
    ]
    for words in commands:
        said = on_a_terminal(command, *words)
        for part in ("\x1b]", "\x07", "\x9b", "\rok", "\u202e", "\x1b[8m"):
            assert part not in said, (words, said)
        assert "\\x1b]0;owned" in said, (words, said)
    assert "\x1b[31m" in said, "our own colours are there"


def test_styles_and_texts(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as plain:
        stream = streams.PlainStream(plain)
        stream.write("a\tü\u3000\n\x1b[31mred\udcff\x85\r\n")
        stream.flush()
        stream.detach()
    text = (tmp_path / "out").read_text(encoding="utf-8")
    assert text == "a\tü\u3000\n\\x1b[31mred\\udcff\\x85\\r\n"


@pytest.mark.parametrize(
    ("words", "how", "code"),
    [
        ("inspect bundle", "2>&-", 0),
        ("inspect bundle", ">&-", 0),
        ("inspect bundle", "<&- >&- 2>&-", 0),
        ("inspect bundle", ">/dev/full", 3),
        ("inspect bundle", "2>/dev/full", 0),
        ("inspect bundle --json", ">/dev/full", 3),
        ("inspect bundle", "| sleep 0", 0),
        ("inspect nothing", "2>/dev/full", 2),
        ("inspect nothing", "2>&1 >/dev/null | sleep 0", 2),
        ("inspect nothing --json", ">/dev/full", 2),
        ("inspect nothing --json", "| sleep 0", 2),
        ("--help", ">/dev/full", 3),
        ("--help", ">&-", 0),
        ("--help", "| sleep 0", 0),
        ("--version", ">/dev/full", 3),
        ("--version", "| sleep 0", 0),
        ("-v --version", "| sleep 0", 0),
    ],
)
def test_streams_that_are_closed_or_full(
    command: Command, tmp_path: Path, words: str, how: str, code: int
) -> None:
    make_bundle(tmp_path / "bundle", make_wheel(tmp_path, "alpha"))
    # what is written to a pipe is written when its reader is gone
    late = f'{{ {"sleep 0.2;" if "|" in how else ""} "$@"; echo $? >code; }} {how}'
    done = subprocess.run(
        ["sh", "-c", late, "sh", *command.argv(*words.split())],
        env=command.environment(),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert int((tmp_path / "code").read_text()) == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_what_a_killed_run_left_is_removed_by_any_command(command: Command, tmp_path: Path) -> None:
    left = tmp_path / f"{scratch.PREFIX}dead"
    (left / "deep").mkdir(parents=True)
    other = tmp_path / "envbundle-mine"
    other.mkdir()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            HOLD,
        ],
        env={**command.environment(), "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    used = Path(holder.stdout.readline().strip())
    assert used.parent == tmp_path
    assert command("explain", "EB101", environ={"TMPDIR": str(tmp_path)}).code == 0
    assert not left.exists()
    assert used.exists(), "another run works in it"
    assert other.exists(), "it is none of ours"
    holder.kill()
    holder.communicate()
    assert command("explain", "EB101", environ={"TMPDIR": str(tmp_path)}).code == 0
    assert not used.exists()
