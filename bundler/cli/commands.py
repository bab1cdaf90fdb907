"""The group `envbundle`; a command's module is imported when it is called, which keeps the others fast."""

from __future__ import annotations

import importlib
import logging
import sys

import click
from click.shell_completion import CompletionItem

from bundler import __version__

_COMMANDS = {
    "create": "Make a proved bundle: a folder to put on PYTHONPATH.",
    "lock": "Write a lock: every file with its hash, for one target.",
    "inspect": "Show what a bundle is for and what is in it.",
    "verify": "Verify a bundle: every file, its target, every import.",
    "sign": "Sign a bundle: its manifest, and with it every file.",
    "deploy": "Write what a platform takes to run a bundle.",
    "rehearse": "Start the service here as the image would, and ask it.",
    "explain": "Say what a check code means, and what to do.",
    "doctor": "Say what on this machine would spoil a build or a mount.",
    "images": "Show what is known of images, and ask an image itself.",
    "cache": "Look after the folder where wheels are kept.",
    "audit": "Judge a site-packages folder that somebody made by hand.",
    "pack": "Pack a bundle; the same bundle is the same bytes.",
    "delta": "Write what makes a new bundle of an old one.",
    "apply": "Make a new bundle of an old one and a delta.",
    "diff": "Tell what is different between two bundles or locks.",
    "report": "Write a page about a bundle.",
    "rebuild": "Make every bundle of envbundle.toml again that changed.",
    "save": "Save what the other side of a gap has not yet.",
    "load": "Load what was saved, verified, into a shelf.",
    "matrix": "Print what a CI server takes to share a nightly's bundles.",
    "completion": "Print what completes envbundle in a shell; man pages.",
}
"""Each is a module of this package with a `command`, with its line in `--help`, in the order there."""


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name without importing any."""
        names = [name for name in _COMMANDS if name.startswith(incomplete)]
        found = [CompletionItem(name, help=_COMMANDS[name]) for name in names]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"bundler.cli.{cmd_name}").command
        keep_lines(command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them: some of them load half of envbundle."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


def keep_lines(command: click.Command) -> None:
    r"""Turn the two characters `\b` of raw docstrings into click's mark for a block that is not rewrapped."""
    command.help = (command.help or "").replace(r"\b", "\b")
    if isinstance(command, click.Group):
        for each in command.commands.values():
            keep_lines(each)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="envbundle", message="%(prog)s %(version)s")
@click.option("-v", "--verbose", count=True, help="Say every program that is run; -vv: what it says too.")
def envbundle(verbose: int) -> None:
    r"""Build site-packages directories that are proved to work where there is no network.

    \b
    Examples:
      envbundle create -r requirements.txt --python 3.8 -o src/myenv
      envbundle lock -r requirements.txt --python 3.8 -o pylock.toml
      envbundle create --lock pylock.toml -o src/myenv
      envbundle inspect src/myenv
      envbundle verify src/myenv
      envbundle deploy src/myenv --to docker -o context --base IMAGE
      envbundle rehearse src/myenv --entry score.py --request request.json
      envbundle explain EB204
      envbundle doctor
    """
    set_verbosity(verbose)


keep_lines(envbundle)


def set_verbosity(level: int) -> None:
    """Send envbundle's own log to stderr; the logs of libraries may hold credentials."""
    if level:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger = logging.getLogger("bundler")
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG if level > 1 else logging.INFO)
