"""Completion scripts and man pages are made from click, and installed where they are looked for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from bundler.cli import quick
from bundler.cli.commands import envbundle as envbundle_group
from click.shell_completion import BashComplete

from tests.support import machine
from tests.support.command import Command

PLACES = {
    "bash": "share/bash-completion/completions/envbundle",
    "zsh": "share/zsh/site-functions/_envbundle",
    "fish": "config/fish/completions/envbundle.fish",
}


@pytest.mark.parametrize("shell", PLACES)
def test_a_script_is_printed_or_installed(envbundle: Command, tmp_path: Path, shell: str) -> None:
    environ = {"XDG_DATA_HOME": str(tmp_path / "share"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    printed = envbundle("completion", shell)
    assert (printed.code, "_ENVBUNDLE_COMPLETE" in printed.stdout) == (0, True)
    done = envbundle("completion", shell, "--install", environ=environ)
    assert done.stdout == f"{tmp_path / PLACES[shell]}\n"
    assert (tmp_path / PLACES[shell]).read_text() == printed.stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n", tmp_path / PLACES[shell]], check=True)


@pytest.mark.parametrize(
    ("typed", "has", "lacks"),
    [
        ("envbundle re", {"rebuild", "report", "rehearse"}, {"create"}),
        ("envbundle create --py", {"--python"}, {"--pre"}),
        ("envbundle completion f", {"fish"}, {"bash"}),
    ],
)
def test_words_are_completed(envbundle: Command, typed: str, has: set[str], lacks: set[str]) -> None:
    environ = {"_ENVBUNDLE_COMPLETE": "bash_complete", "COMP_WORDS": typed}
    environ["COMP_CWORD"] = str(len(typed.split()) - 1)
    done = envbundle(environ=environ)
    said = {line.partition(",")[2] for line in done.stdout.splitlines()}
    assert has <= said, done.stderr
    assert not lacks & said


@pytest.mark.parametrize(
    ("typed", "quickly"),
    [
        ("envbundle ", True),
        ("envbundle re", True),
        ("envbundle zz", True),
        ("envbundle --v", False),
        ("envbundle -v create --lo", False),
        ("envbundle create --lo", True),
        ("envbundle create --lock a --lo", True),
        ("envbundle create -r a -r b --re", True),
        ("envbundle create -", True),
        ("envbundle create -o ", True),
        ("envbundle create -o x", True),
        ("envbundle create --link-mode h", True),
        ("envbundle create --python ", False),
        ("envbundle create -qo ", False),
        ("envbundle create --lock=", False),
        ("envbundle create -- --lo", False),
        ("envbundle create 'a b' --lo", False),
        ("envbundle nothing --lo", False),
        ("envbundle cache ", False),
        ("envbundle cache pr", False),
        ("envbundle cache prune --", True),
        ("envbundle verify ", False),
        ("envbundle verify --py", True),
        ("envbundle completion f", False),
    ],
)
def test_what_is_answered_quickly_is_what_click_answers(typed: str, quickly: object) -> None:
    words = typed.split(" ")
    environ = {"_ENVBUNDLE_COMPLETE": "bash_complete", "COMP_WORDS": typed}
    said = quick.answer([], {**environ, "COMP_CWORD": str(len(words) - 1)})
    assert (said is not None) is quickly
    if said is not None:
        complete = BashComplete(envbundle_group, {}, "envbundle", "_ENVBUNDLE_COMPLETE")
        found = complete.get_completions(words[1:-1], words[-1])
        # click prints an empty line where there is nothing
        assert said.splitlines() == ([complete.format_completion(one) for one in found] or [""])


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("--version",)])
def test_help_and_version_are_those_of_click(envbundle: Command, words: tuple[str, ...]) -> None:
    shown = envbundle(*words, environ={"COLUMNS": "80"})
    plain = envbundle("-v", *words, environ={"COLUMNS": "80"})  # with -v, click answers
    assert (shown.code, shown.stdout) == (plain.code, plain.stdout) == (0, quick.answer(list(words), {}))
    narrow = envbundle(*words, environ={"COLUMNS": "60"}).stdout
    assert (narrow == shown.stdout) is (words == ("--version",))


def test_every_command_has_a_man_page(envbundle: Command, tmp_path: Path) -> None:
    done = envbundle("completion", "man", "--install", environ={"XDG_DATA_HOME": str(tmp_path)})
    assert done.code == 0, done.stderr
    names = {Path(line).name for line in done.stdout.splitlines()}
    assert {"envbundle.1", "envbundle-create.1", "envbundle-images-probe.1"} <= names
    page = (tmp_path / "man/man1/envbundle-create.1").read_text()
    assert page.startswith(".TH ENVBUNDLE-CREATE 1 ")
    assert r".B \-\-python VERSION|PATH" in page
    assert r"envbundle create \-r requirements.txt" in page


@pytest.mark.thorough
def test_man_pages_are_roff(envbundle: Command, tmp_path: Path) -> None:
    machine.need("groff")
    envbundle("completion", "man", "--install", environ={"XDG_DATA_HOME": str(tmp_path)})
    for page in (tmp_path / "man/man1").iterdir():
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", page], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), page.name


def test_an_unknown_shell_is_refused(envbundle: Command) -> None:
    done = envbundle("completion", "tcsh")
    assert (done.code, "fish" in done.stderr) == (2, True)
