"""Answers without click what scripts and shells ask often: `--version`, `--help`, and what bash completes.

To load click takes four times as long as to start Python. What it would answer stands in `words.py`, which
`scripts/docs` makes of it. What is not certain here is left to click.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence

from bundler import __version__
from bundler.cli.words import HELP, HELP_COLUMNS, WORDS

VARIABLE = "_ENVBUNDLE_COMPLETE"
_QUOTING = frozenset("\"'\\=")
"""What words mean that have these, click knows."""


def answer(arguments: Sequence[str], environ: Mapping[str, str]) -> str | None:
    """Return what `envbundle` prints; `None`: it takes click to know that.

    :param arguments: of the command line.
    """
    if environ.get(VARIABLE) == "bash_complete":
        return _complete(environ.get("COMP_WORDS", ""), environ.get("COMP_CWORD", ""))
    if VARIABLE in environ:
        return None
    if arguments == ["--version"]:
        return f"envbundle {__version__}\n"
    if arguments in (["--help"], ["-h"]) and _columns(environ) >= HELP_COLUMNS:
        return HELP
    return None


def tell(text: str) -> bool:
    """Print a text; returns whether standard output took it."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):  # full, of another encoding, closed
        return False
    return True


def _columns(environ: Mapping[str, str]) -> int:
    """The width of the terminal, as `shutil.get_terminal_size` finds it."""
    try:
        columns = int(environ.get("COLUMNS", 0))
    except ValueError:
        columns = 0
    try:
        return columns if columns > 0 else os.get_terminal_size(1).columns or HELP_COLUMNS
    except OSError:
        return HELP_COLUMNS


def _complete(typed: str, number: str) -> str | None:
    """What bash may complete, a line each: `plain,--lock`.

    :param typed: the line.
    :param number: of the word to complete.
    """
    if not number.isdecimal() or _QUOTING.intersection(typed):
        return None
    words = typed.split()
    before, incomplete = words[1 : int(number)], "".join(words[int(number) : int(number) + 1])
    if not before and not incomplete.startswith("-"):
        names = (line for line in WORDS.splitlines() if line and " " not in line)
        return _plain(names, incomplete)
    command = " ".join(before[:1])
    if f"\n{' '.join(before[:2])}\n" in WORDS:
        command = " ".join(before[:2])
    given = before[command.count(" ") + 1 :]
    bundled = any(word[:1] == "-" and len(word) > 2 and word[:2] != "--" for word in given)
    if bundled or "--" in given or f"\n{command}\n" not in WORDS:
        return None
    options = list(_options(command))
    if incomplete.startswith("-"):
        free = (names for names, _, again in options if again or not set(names) & set(given))
        return _plain((name for names in free for name in names), incomplete)
    kind = next((kind for names, kind, _ in options if given and given[-1] in names), "")
    if kind in {"file", "dir"}:
        return f"{kind},{incomplete}\n"
    return _plain(kind.split("|"), incomplete) if "|" in kind else None


def _plain(words: Iterator[str] | list[str], incomplete: str) -> str:
    # click ends even an empty answer with a line
    return "\n".join(f"plain,{word}" for word in words if word.startswith(incomplete)) + "\n"


def _options(command: str) -> Iterator[tuple[list[str], str, bool]]:
    """The options of a command: names, what completes a value, and whether it may be given again."""
    for line in WORDS.partition(f"\n{command}\n")[2].splitlines():
        if not line.startswith(" "):
            return
        words = line.split()
        again = words[-1] == "*"
        names = [word for word in words if word.startswith("-")]
        kind = " ".join(words[len(names) : len(words) - again])
        yield names, kind, again
