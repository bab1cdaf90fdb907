"""The list of commands is told without loading them."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click
import pytest
from bundler.cli import commands, options
from bundler.create.request import LockRequest

if TYPE_CHECKING:
    from pathlib import Path

LISTING = """
import sys
from bundler.cli.boundary import run
from bundler.cli.commands import envbundle
run(envbundle, ["--help"])
slow = ("bundler.create", "bundler.checks", "bundler.deploy")
loaded = [name for name in sys.modules if name.startswith(slow)]
assert not loaded, loaded
"""


def test_help_lists_every_command_and_loads_none() -> None:
    done = subprocess.run([sys.executable, "-c", LISTING], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    listed = done.stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == commands.envbundle.list_commands(
        click.Context(commands.envbundle)
    )
    assert not [line for line in listed if line.endswith("...")], "each fits its line"


RARE = ("requests", "virtualenv", "yaml", "bundler.formats.packing", "bundler.report.compare.sections")
"""What a usual `create` with a lock does without, and what takes long to load."""


def test_create_loads_what_it_needs() -> None:
    source = f"import sys, bundler.create.pipeline, bundler.cli.create; print({{*{RARE}}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("name", commands.envbundle.list_commands(click.Context(commands.envbundle)))
def test_every_command_is_a_module(name: str) -> None:
    assert isinstance(importlib.import_module(f"bundler.cli.{name}").command, click.Command)
    assert commands.envbundle.get_command(click.Context(commands.envbundle), name) is not None
    assert commands.envbundle.get_command(click.Context(commands.envbundle), f"{name}x") is None


def test_completion_of_a_command() -> None:
    found = commands.envbundle.shell_complete(click.Context(commands.envbundle), "re")
    assert {one.value for one in found} >= {"rehearse", "report", "rebuild"}
    assert all(one.value.startswith("re") for one in found)


class _Asked(dict[str, Any]):
    """Values of options that tell which of them were looked at."""

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.names.add(name)
        return super().__getitem__(name)


def test_no_option_of_a_lock_is_ignored(tmp_path: Path) -> None:
    @click.command()
    def command(**_: object) -> None: ...

    for decorate in (*options.REQUIREMENT_OPTIONS, options.CACHE_DIR):
        command = decorate(command)
    context = command.make_context("x", ["six", "--python", "3.8", "--cache-dir", str(tmp_path)])
    asked = _Asked(context.params)
    LockRequest(**options.lock_request_fields(asked))
    assert set(context.params) - asked.names == set()
