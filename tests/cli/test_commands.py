"""The list of commands is told without loading them."""

from __future__ import annotations

import importlib
import subprocess
import sys

import click
import pytest
from bundler.cli import commands

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


def test_what_needs_no_network_loads_none() -> None:
    source = "import sys, bundler.create.pipeline; print({'requests', 'virtualenv'} & {*sys.modules})"
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
