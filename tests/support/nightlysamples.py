"""What the tests of samples/nightly share: where its files are, and how their command lines are read."""

from __future__ import annotations

import re
import shlex
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from bundler.cli import matrix as matrix_command
from bundler.cli import rebuild as rebuild_command
from bundler.rebuild import config, plan

if TYPE_CHECKING:
    import click

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "samples" / "nightly"
NIGHTLY = ROOT / "scripts" / "nightly"
GITHUB = SAMPLE / "github" / "nightly.yml"
AZURE = SAMPLE / "azure" / "azure-pipelines.yml"
CRONJOB = SAMPLE / "kubernetes" / "cronjob.yaml"
CRON = SAMPLE / "cron" / "envbundle"
SERVICE = SAMPLE / "systemd" / "envbundle-nightly.service"
TIMER = SAMPLE / "systemd" / "envbundle-nightly.timer"
NAMES = ["feeds-py37", "feeds-py38", "pages-py37", "pages-py38"]
COMMANDS: dict[str, click.Command] = {
    "rebuild": rebuild_command.command,
    "matrix": matrix_command.command,
}
CALL = re.compile(r"^.*?(?:envbundle (?P<name>rebuild|matrix)|/scripts/nightly)(?: (?P<words>.*))?$")
ARGUMENTS = ("${{ matrix.arguments }}", "$(arguments)")


def jobs_of(file: Path, words: list[str]) -> list[str]:
    """The jobs that `envbundle rebuild` does with these options."""
    values = rebuild_command.command.make_context("rebuild", [str(file), *words]).params
    shard = plan.parse_shard(values["shard"]) if values["shard"] else None
    now = datetime.now(timezone.utc)
    return [job.name for job in plan.plan(config.read(file), only=values["only"], shard=shard, now=now)]


def calls(text: str) -> list[tuple[str, list[str]]]:
    """Every command line of a file: its name, and its words."""
    found = []
    for line in text.splitlines():
        match = CALL.match(line)
        if not match or line.lstrip().startswith("#"):
            continue
        said = match["words"] or ""
        for placeholder in ARGUMENTS:
            said = said.replace(placeholder, "--only feeds-py37")
        found.append((match["name"] or "rebuild", shlex.split(said.removesuffix(")"))))
    return found


def require_options(text: str) -> None:
    """Let click read every command line.

    :raises click.UsageError: an option that is not there, or a value that it does not take.
    """
    for name, words in calls(text):
        COMMANDS[name].make_context(name, words)
