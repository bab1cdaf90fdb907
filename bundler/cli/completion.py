"""`envbundle completion`: completion of a shell, and man pages, both made from click."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from bundler import __version__
from bundler.system import files

PROGRAM = "envbundle"
VARIABLE = "_ENVBUNDLE_COMPLETE"
HOMES = {
    "bash": ("XDG_DATA_HOME", ".local/share", "bash-completion/completions/envbundle"),
    "zsh": ("XDG_DATA_HOME", ".local/share", "zsh/site-functions/_envbundle"),
    "fish": ("XDG_CONFIG_HOME", ".config", "fish/completions/envbundle.fish"),
    "man": ("XDG_DATA_HOME", ".local/share", "man/man1/envbundle.1"),
}
"""Variable, its default below the home folder, and where the shell (or man) looks below that."""


@click.command()
@click.argument("what", metavar="bash|zsh|fish|man", type=click.Choice(list(HOMES)))
@click.option("--install", is_flag=True, help="Write it where the shell, or man, looks.")
@click.pass_context
def command(context: click.Context, *, what: str, install: bool) -> None:
    r"""Print the completion of a shell, or the man page; --install writes it where it is looked for.

    `man --install` writes a page for each command. zsh reads what is in its fpath: add
    `fpath+=~/.local/share/zsh/site-functions` before `compinit` in ~/.zshrc.

    \b
    Examples:
      envbundle completion bash --install
      envbundle completion zsh > ~/.zfunc/_envbundle
      envbundle completion man --install
    """
    root = context.find_root()
    group = root.command
    variable, default, place = HOMES[what]
    target = Path(os.environ.get(variable) or Path.home() / default) / place
    if what == "man":
        texts = dict(pages(group))
    else:
        shell = get_completion_class(what)
        assert shell is not None, "click has the three of HOMES"  # noqa: S101 - a fact of click
        made = shell(group, {}, PROGRAM, VARIABLE)
        # Its own source() asks bash for its version; every bash of the last ten years will do.
        texts = {target.name: made.source_template % made.source_vars()}
    if not install:
        click.echo(next(iter(texts.values())), nl=False)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        files.write(target.with_name(name), text)
        click.echo(str(target.with_name(name)))


def pages(group: click.Command) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of the man page of a command and of all below it."""
    yield from _pages(click.Context(group, info_name=PROGRAM))


def _pages(context: click.Context) -> Iterator[tuple[str, str]]:
    command = context.command
    name = context.command_path.replace(" ", "-")
    yield f"{name}.1", _page(context, name)
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            found = command.get_command(context, each)
            if found is not None:
                yield from _pages(click.Context(found, info_name=each, parent=context))


def _page(context: click.Context, name: str) -> str:
    command = context.command
    usage = " ".join(command.collect_usage_pieces(context))
    options = [record for one in command.get_params(context) if (record := one.get_help_record(context))]
    lines = [f'.TH {name.upper()} 1 "" "envbundle {__version__}"', ".SH NAME"]
    lines.append(f"{_roff(name)} \\- {_roff(command.get_short_help_str(200))}")
    lines += [".SH SYNOPSIS", f".B {_roff(context.command_path)}", _roff(usage), ".SH DESCRIPTION"]
    for block in re.split(r"\n\s*\n", command.help or ""):
        kept = block.lstrip("\n").startswith("\b")
        lines += [".PP", ".nf", _roff(block.replace("\b\n", "")), ".fi"] if kept else [".PP", _roff(block)]
    if options:
        lines.append(".SH OPTIONS")
        for option, told in options:
            lines += [".TP", f".B {_roff(option)}", _roff(told)]
    if isinstance(command, click.Group):
        lines.append(".SH COMMANDS")
        for each in command.list_commands(context):
            found = command.get_command(context, each)
            if found is not None:
                lines += [".TP", f".B {_roff(each)}", _roff(found.get_short_help_str(200))]
    return "\n".join(lines) + "\n"


def _roff(text: str) -> str:
    """Return a text in which roff sees no command of its own."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    escaped = "".join(one if one.isascii() else f"\\[u{ord(one):04X}]" for one in escaped)
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in escaped.split("\n"))
